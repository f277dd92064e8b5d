"""Lower bounds for virtual stages, whatever the orders of the devices (formulations/virtual_stages.md)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.crossing import ALL_SUMS, MOST_SUMS, Sums, least_over_limits
from mocap_opt.bounds.one_machine import least_latest_delivery
from mocap_opt.bounds.stage_work import admissible_chunks, by_end_and_steps, sums_of
from mocap_opt.flow_shop.partitions import NEVER, cheapest_by_count
from mocap_opt.flow_shop.virtual_pipeline import VirtualPipeline
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables

MOST_DEVICES = 4
"""Devices whose work is followed through the search for chunks: those that take longest on equal chunks."""


def given_chunks_bound(pipeline: VirtualPipeline, indices: IntArray) -> int:
    """Bound every order of the devices for given chunks, ticks.

    Each device by itself: its pieces of work have heads and tails, the longest paths to and from them, and
    may be interrupted (Jackson's rule).

    Parameters
    ----------
    pipeline : VirtualPipeline
    indices : int64[chunk + 1]
        Boundaries as grid indices.
    """
    work, send = (each.tolist() for each in pipeline.times(indices))
    head, tail = longest_ways(work, send)
    jobs = [list(zip(*rows, strict=True)) for rows in zip(head, work, tail, strict=True)]
    return max(least_latest_delivery([job for u in hosted for job in jobs[u]]) for hosted in pipeline.hosted)


def longest_ways(work: list[list[int]], send: list[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """Longest paths to the start and from the end of every piece of work, ticks.

    Parameters
    ----------
    work, send : list of list of int, ticks
        By virtual stage and chunk.
    """
    stages, chunks = len(work), len(work[0])
    head = [[0] * chunks for _ in range(stages)]
    tail = [[0] * chunks for _ in range(stages)]
    for u in range(stages):
        for j in range(chunks):
            before = head[u][j - 1] + work[u][j - 1] if j else 0
            arrived = head[u - 1][j] + work[u - 1][j] + send[u - 1][j] if u else 0
            head[u][j] = max(before, arrived)
    for u in range(stages - 1, -1, -1):
        for j in range(chunks - 1, -1, -1):
            after = work[u][j + 1] + tail[u][j + 1] if j + 1 < chunks else 0
            onward = send[u][j] + work[u + 1][j] + tail[u + 1][j] if u + 1 < stages else 0
            tail[u][j] = max(after, onward)
    return head, tail


def any_order(pipeline: VirtualPipeline, asked_to_stop: AskedToStop = never) -> Bound | None:
    """Bound every order of the devices and every partition; None if no plan keeps to count and lengths.

    The greater of a device's work between the first chunk's way to it and the last one's from it, and the
    first and last virtual stage's work around the chunk that crosses longest; the least over partitions.

    Parameters
    ----------
    pipeline : VirtualPipeline
    asked_to_stop : callable
        What was proved until then stands.
    """
    tables = pipeline.tables
    if not 0 < sums_of(tables) <= MOST_SUMS:
        return None
    end, steps = admissible_chunks(tables)
    start = end - steps
    tau = np.stack([pipeline.tau(u, start, end) for u in range(pipeline.stages)])
    lengths = tables.grid[end] - tables.grid[start]
    send = np.stack([pipeline.send_time(u, lengths) for u in range(pipeline.stages)])
    first, last = start == 0, end == tables.steps
    costs = []
    for hosted in pipeline.hosted:
        u, v = hosted[0], hosted[-1]
        head = (tau[:u] + send[:u]).sum(axis=0) * first
        tail = (send[v:-1] + tau[v + 1 :]).sum(axis=0) * last
        costs.append(tau[list(hosted)].sum(axis=0) + head + tail)
    ends = np.minimum(tau[0], tau[-1])
    across = (tau + send).sum(axis=0) - ends
    found = _least(tables, costs, ends, across, asked_to_stop)
    note = f"{pipeline.runs} runs on each of {pipeline.devices} devices, any order"
    return None if found is None else Bound("any_order", found, Scope.ANY_EXECUTION, Evidence.SEARCH, note)


def any_arrangement(tables: Tables, asked_to_stop: AskedToStop = never) -> Bound | None:
    """Bound every arrangement in which each device does the work of its stage, in however many runs.

    A device's work, and one chunk's work on all devices: neither asks where runs begin and end.  It holds for
    the ordinary pipeline and for all virtual ones.  None if no plan keeps to count and lengths.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        What was proved until then stands.
    """
    if not 0 < sums_of(tables) <= MOST_SUMS:
        return None
    end, steps = admissible_chunks(tables)
    tau = np.stack([tables.tau(i, end - steps, end) for i in range(tables.stages)])
    found = _least(tables, list(tau), np.zeros_like(end), tau.sum(axis=0), asked_to_stop)
    note = "each device's work, each chunk's work on all devices"
    return (
        None if found is None else Bound("any_arrangement", found, Scope.ANY_EXECUTION, Evidence.SEARCH, note)
    )


def _least(
    tables: Tables, costs: Sequence[IntArray], ends: IntArray, across: IntArray, asked_to_stop: AskedToStop
) -> int | None:
    """Least over partitions of the greatest sum of a cost, or the sum of `ends` and the most `across`."""
    if not across.size:
        return None

    def cheapest(values: IntArray) -> int:
        times = by_end_and_steps(tables, values)
        return min(cheapest_by_count(times, tables.counts).values(), default=NEVER)

    equal = _on_equal_chunks(tables)
    kept = np.argsort([cost[equal].sum() for cost in costs], kind="stable")[::-1][:MOST_DEVICES].tolist()
    followed = [*(costs[i] for i in kept), ends]

    def within(limit: int) -> Sums:
        return tuple(cheapest(np.where(across <= limit, cost, NEVER)) for cost in followed)

    def _value(sums: Sums, limit: int) -> int:
        return max(*sums[:-1], sums[-1] + limit)

    programs = ALL_SUMS // (sums_of(tables) * len(followed))
    return least_over_limits(np.unique(across), within, _value, programs, asked_to_stop)


def _on_equal_chunks(tables: Tables) -> IntArray:
    """Places among `admissible_chunks` of those of about equal lengths, as many as allowed."""
    end, steps = admissible_chunks(tables)
    count = min(tables.counts[-1], tables.steps)
    cuts = np.arange(count + 1, dtype=np.int64) * tables.steps // count
    before = np.full(tables.steps + 1, -1, dtype=np.int64)
    before[cuts[1:]] = cuts[:-1]
    return np.flatnonzero(before[end] == end - steps)
