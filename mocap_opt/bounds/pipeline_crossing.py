"""A lower bound on several pipelines: work, and on each its longest chunk (formulations/pipelines.md)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.makespan import LeastTimes
from mocap_opt.flow_shop.partitions import NEVER
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.schedule.requests import Request
from mocap_opt.stopping import AskedToStop, never, stop_if
from mocap_opt.tables.cost_tables import Tables

MOST_CHUNKS = 2**26
"""Counts x steps^2 of a request up to which its divisions are gone through; else a mean chunk counts."""


def longest_chunks(
    requests: Sequence[Request],
    needs: Sequence[LeastTimes],
    pipelines: int,
    starts: Sequence[int],
    asked_to_stop: AskedToStop = never,
) -> Bound:
    """Bound the makespan by work and by the way of the longest chunk, on as many pipelines as must take it.

    Parameters
    ----------
    requests : sequence of Request
    needs : sequence of LeastTimes
        Of each.
    pipelines : int
    starts : sequence of int, ticks
        Releases to look at the requests from.
    asked_to_stop : callable
        Asked before each unlike request.

    Raises
    ------
    StoppedError
        If asked to stop.
    """
    known: dict[int, int] = {}
    for request, each in zip(requests, needs, strict=True):
        if id(request.tables) not in known:
            stop_if(asked_to_stop)
            mean = int(each.crossing.min())
            known[id(request.tables)] = max(mean, least_longest_crossing(request.tables))
    release = np.array([request.release for request in requests], dtype=np.int64)
    path = np.array([int(each.path.min()) for each in needs], dtype=np.int64)
    crossing = np.array([known[id(request.tables)] for request in requests], dtype=np.int64)
    best, note = 0, ""
    for x in starts:
        inside = release >= x
        value = x + least_end(path[inside], crossing[inside], pipelines)
        if value > best:
            best, note = value, f"{int(inside.sum())} requests"
    return Bound("longest_chunks", best, Scope.ANY_EXECUTION, Evidence.SEARCH, note)


def least_longest_crossing(tables: Tables) -> int:
    """Least over all divisions of the most that a chunk takes on all stages after the first, ticks.

    Parameters
    ----------
    tables : Tables

    Returns
    -------
    int
        0, which always holds, if there are too many divisions to say.
    """
    points, counts = tables.steps + 1, tables.counts
    if max(counts, default=0) * points**2 > MOST_CHUNKS:
        return 0
    start, end = np.triu_indices(points, 1)
    allowed = np.asarray(tables.length_allowed[(end == tables.steps).astype(np.int64), end - start])
    start, end = start[allowed].astype(np.int64), end[allowed].astype(np.int64)
    cost = np.full((points, points), NEVER, dtype=np.int64)
    cost[end, start] = 0
    for stage in range(1, tables.stages):
        cost[end, start] += tables.tau(stage, start, end)
    # By where so many chunks end: the least that the longest of them takes.
    longest = np.full(points, NEVER, dtype=np.int64)
    longest[0], least = 0, NEVER
    for count in range(1, max(counts, default=0) + 1):
        longest = np.maximum(longest[None, :], cost).min(axis=1)
        if count in counts:
            least = min(least, int(longest[-1]))
    return 0 if least == NEVER else least


def least_end(path: IntArray, crossing: IntArray, machines: int) -> int:
    """Bound when machines are done that take, each, the paths of their jobs and the largest crossing.

    Jobs of at least some crossing are on so many machines that their paths have room beside it; each of
    these machines ends on such a crossing.

    Parameters
    ----------
    path, crossing : int64[job], ticks
        At least one job.
    machines : int

    Returns
    -------
    int, ticks
        Rounded down, as ends need not be whole.
    """
    order = np.argsort(-crossing, kind="stable")
    by_size = crossing[order]
    last = np.flatnonzero(np.append(by_size[1:] != by_size[:-1], True))
    level, held = by_size[last], np.cumsum(path[order])[last]
    low, high = int(level[0]) - 1, int(level[0] + held[-1])
    while high - low > 1:
        middle = (low + high) // 2
        if _fits(level, held, machines, middle, below=False):
            high = middle
        else:
            low = middle
    return high - 1 if _fits(level, held, machines, high, below=True) else high


def _fits(level: IntArray, held: IntArray, machines: int, end: int, *, below: bool) -> bool:
    """Whether all may be done by `end`, or by some time just below it.

    Parameters
    ----------
    level : int64[level], ticks
        Unlike crossings, the largest first.
    held : int64[level], ticks
        The paths of jobs of that crossing or more.
    machines, end : int
    below : bool
    """
    room = end - level
    if (room < below).any() or (held[room == 0] > 0).any():
        return False
    apart = np.maximum(room, 1)
    touched = held // apart + 1 if below else -(-held // apart)
    touched = np.where(below & (held % apart > 0), -(-held // apart), touched)
    touched = np.where(held == 0, 1, np.maximum(touched, 1))
    # A machine without jobs is done no sooner than one that has some.
    touched[-1] = max(machines, int(touched[-1]))
    rise = level - np.append(level[1:], 0)
    needed, there = int(held[-1]) + int((rise * touched).sum()), machines * end
    return bool((touched <= machines).all()) and (needed < there if below else needed <= there)
