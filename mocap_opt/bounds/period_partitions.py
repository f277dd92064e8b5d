"""Bounds on the period partition by partition, where these are few (formulations/period.md, Bounds).

What all partitions together only share on average is known exactly of one: how often each chunk keeps the
others waiting for room in queues, and which chunks all memories together can hold at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
from scipy.optimize import linprog

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.forced_traffic import ForcedTraffic
from mocap_opt.bounds.period_cycles import queue_starts
from mocap_opt.flow_shop.chunk_times import least_sends
from mocap_opt.flow_shop.partitions import divisions
from mocap_opt.formulations.presolve import free_bytes, pooled_room
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.stopping import AskedToStop, StoppedError, never, stop_if
from mocap_opt.tables.cost_tables import Tables

MOST_PARTITIONS = 2_000
"""Partitions up to which the bound is tried."""

MOST_STATES = 4_096
"""Choices of a chunk or none for every stage up to which all are gone through."""

SPAN = 8
"""Requests after which starts are compared at most."""

SETTLING = 6
"""Requests, for each stage and as many as fill a queue, before starts are compared."""

PARTS = 1 << 20
"""Whole parts of a weight."""


@dataclass(frozen=True, eq=False)
class _Partition:
    """A partition and what its chunks take.

    Attributes
    ----------
    taken, send : int64[stage, chunk], ticks
    held : int64[stage, chunk], bytes
        KV and prefix alive while a stage works on a chunk.
    room : int, bytes
        For these, in all memories together.
    """

    taken: IntArray
    send: IntArray
    held: IntArray
    room: int


def listed_partitions(tables: Tables, asked_to_stop: AskedToStop = never) -> Bound | None:
    """Bound the period of any execution by the least over all partitions of what each takes.

    Parameters
    ----------
    tables : Tables
        With bounded queues.
    asked_to_stop : callable
        Asked before each partition.

    Returns
    -------
    Bound or None
        None if there are more than `MOST_PARTITIONS`, or none fits, or it was asked to stop.
    """
    if sum(comb(tables.steps - 1, count - 1) for count in tables.counts) > MOST_PARTITIONS:
        return None
    listed = list(divisions(tables))
    try:
        cases = _cases(tables, listed, asked_to_stop)
        least: int | None = None
        for known, case in cases:
            if least is not None and known >= least:
                break
            stop_if(asked_to_stop)
            value = max(known, room_in_time(case.taken, case.held, case.room))
            least = value if least is None else min(least, value)
    except StoppedError:
        return None
    if not least:
        return None
    note = f"{len(listed)} partitions"
    return Bound("listed_partitions", least, Scope.ANY_EXECUTION, Evidence.SEARCH, note)


def _cases(
    tables: Tables, listed: list[IntArray], asked_to_stop: AskedToStop
) -> list[tuple[int, _Partition]]:
    """Partitions that fit, with what stages and queues prove of each, least first."""
    assert tables.queue_depth is not None
    sends = least_sends(tables)
    # Weights on links and ports are good for any room, and found once.
    traffic: ForcedTraffic | None = None
    weighed: set[int] = set()
    cases = []
    for indices in listed:
        stop_if(asked_to_stop)
        start, end = indices[:-1], indices[1:]
        longest = int((tables.grid[end] - tables.grid[start]).max())
        room, free = pooled_room(tables, longest), free_bytes(tables, longest, endless=True)
        if room is None or (free < tables.prefix_bytes).any():
            continue
        if traffic is None and longest not in weighed:
            weighed.add(longest)
            traffic = ForcedTraffic.of(tables, free, asked_to_stop)
        if traffic is None:
            taken = tables.tau(np.arange(tables.stages)[:, None], start, end)
        else:
            taken = traffic.occupancy(start, end, free)
        prefix = tables.prefix_bytes[: tables.stages, None]
        held = tables.page_bytes[:, None] * tables.pages[end] + prefix
        if int(held.max(initial=0)) > room:
            continue
        send = sends[:, (end == tables.steps).astype(np.int64), end - start]
        case = _Partition(taken, send, held, room)
        cases.append((cycle_time(taken, send, tables.queue_depth), case))
    return sorted(cases, key=lambda each: each[0])


def cycle_time(taken: IntArray, send: IntArray, depth: int) -> int:
    """Bound the period by the recursion of stages and queues, rounded down to ticks.

    Parameters
    ----------
    taken, send : int64[stage, chunk], ticks
    depth : int
        Q.
    """
    stages, chunks = taken.shape
    requests = SPAN + SETTLING * (stages + -(-depth // chunks))
    # What follows depends on the last Q columns alone, grows with them and shifts with them.
    reached = np.array(queue_starts(taken, send, depth, requests)).T
    last = reached[:, -depth:]
    best = int(taken.sum(axis=1).max())
    for span in range(1, SPAN + 1):
        first = reached.shape[1] - span * chunks
        best = max(best, int((last - reached[:, first - depth : first]).min()) // span)
    return best


def room_in_time(taken: IntArray, held: IntArray, room: int) -> int:
    """Bound the period by the chunks that all memories can hold at the same time, rounded down to ticks.

    Parameters
    ----------
    taken : int64[stage, chunk], ticks
    held : int64[stage, chunk], bytes
        While the stage works on the chunk.
    room : int, bytes
    """
    stages, chunks = taken.shape
    if (chunks + 1) ** stages > MOST_STATES or int(held.max(axis=1).sum()) <= room:
        return 0
    # 0 is no chunk.
    state = np.stack(np.meshgrid(*[np.arange(chunks + 1)] * stages, indexing="ij"), axis=-1)
    state = state.reshape(-1, stages)
    holding = np.concatenate([np.zeros((stages, 1), dtype=np.int64), held], axis=1)
    state = state[holding[np.arange(stages), state].sum(axis=1) <= room]
    works = (state[:, :, None] == np.arange(1, chunks + 1)).reshape(state.shape[0], -1)
    need = taken.reshape(-1)
    scale = float(max(int(need.max()), 1))
    answer = linprog(
        -need / scale, A_ub=works.astype(np.float64), b_ub=np.ones(state.shape[0]), bounds=(0, None)
    )
    if answer.x is None:
        return 0
    # Any weights are valid; the states that count most say how much they may be.
    weights = np.floor(np.maximum(answer.x, 0.0) * PARTS).astype(np.int64)
    most = int((works @ weights).max(initial=0))
    total = sum(w * t for w, t in zip(weights.tolist(), need.tolist(), strict=True))
    return total // most if most else 0
