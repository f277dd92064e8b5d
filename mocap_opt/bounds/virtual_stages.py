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
"""Devices whose work is followed through the search for chunks: those that bound most by themselves."""


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
    work, send = pipeline.times(indices)
    head, tail = longest_ways(work, send)
    return max(
        least_latest_delivery(
            [
                (int(head[u, j]), int(work[u, j]), int(tail[u, j]))
                for u in hosted
                for j in range(work.shape[1])
            ]
        )
        for hosted in pipeline.hosted
    )


def longest_ways(work: IntArray, send: IntArray) -> tuple[IntArray, IntArray]:
    """Longest paths to the start and from the end of every piece of work, two int64[V, chunk], ticks.

    Parameters
    ----------
    work, send : int64[V, chunk], ticks
    """
    stages, chunks = work.shape
    head, tail = np.zeros_like(work), np.zeros_like(work)
    for u in range(stages):
        for j in range(chunks):
            ways = [int(head[u, j - 1] + work[u, j - 1])] if j else []
            ways += [int(head[u - 1, j] + work[u - 1, j] + send[u - 1, j])] if u else []
            head[u, j] = max(ways, default=0)
    for u in range(stages - 1, -1, -1):
        for j in range(chunks - 1, -1, -1):
            ways = [int(work[u, j + 1] + tail[u, j + 1])] if j + 1 < chunks else []
            ways += [int(send[u, j] + work[u + 1, j] + tail[u + 1, j])] if u + 1 < stages else []
            tail[u, j] = max(ways, default=0)
    return head, tail


def virtual_stages(pipeline: VirtualPipeline, asked_to_stop: AskedToStop = never) -> Bound | None:
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
    return (
        None if found is None else Bound("virtual_stages", found, Scope.ANY_EXECUTION, Evidence.SEARCH, note)
    )


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

    alone = [cheapest(cost) for cost in costs]
    kept = np.argsort(alone, kind="stable")[::-1][:MOST_DEVICES].tolist()
    followed = [*(costs[i] for i in kept), ends]

    def within(limit: int) -> Sums:
        return tuple(cheapest(np.where(across <= limit, cost, NEVER)) for cost in followed)

    def _value(sums: Sums, limit: int) -> int:
        return max(*sums[:-1], sums[-1] + limit)

    programs = ALL_SUMS // (sums_of(tables) * len(followed))
    return least_over_limits(np.unique(across), within, _value, programs, asked_to_stop)
