"""Partition and longest crossing together, by dynamic programs that need no structure of the tables.

Statement and proof: ``formulations/bounds.md``, `one_dimensional`, measured times.
"""

from __future__ import annotations

import heapq

import numpy as np

from mocap_opt.bounds.chunk_travel import NEVER, Setting
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables import IntArray, Tables

MOST_SUMS = 2**27
"""Sums of one dynamic program, M (G + 1)^2, beyond which there is no bound."""

ALL_SUMS = 2**29
"""Sums of all of them together: a second or so."""


def least_with_crossing(setting: Setting, s: int, e: int, asked_to_stop: AskedToStop = never) -> int | None:
    """Bound any execution by min over D of (cheapest partition whose chunks cross within D) + D.

    A chunk costs the smaller of the times on stages s and e, and crosses with E of
    formulations/bounds.md.  Best-first over intervals of D; stopped early, the least open interval's
    value is still a bound.

    Returns
    -------
    int or None, ticks
        None if the instance is too large, or no partition keeps to count and lengths.
    """
    tables = setting.tables
    sums = max(tables.counts, default=0) * (tables.steps + 1) ** 2
    if not 0 < sums <= MOST_SUMS:
        return None
    times, crossing = chunk_costs(tables, setting.send, s, e)
    possible = np.flatnonzero(times < NEVER)
    if not possible.size:
        return None
    thresholds = np.unique(crossing.ravel()[possible])
    programs = max(1, ALL_SUMS // sums)
    apart = int(setting.travel.head[s, 1] + setting.travel.tail[e, tables.steps - 1])

    def cheapest(limit: int) -> int:
        return _cheapest(np.where(crossing <= limit, times, NEVER), tables.counts)

    # Intervals by index of the threshold: value, first, last, cheapest partition within the last.
    last = int(thresholds.size - 1)
    whole = cheapest(int(thresholds[last]))
    heap = [(whole + int(thresholds[0]), 0, last, whole)]
    while heap and heap[0][3] < NEVER:
        value, first, last, cost = heap[0]
        if first == last or programs <= 0 or asked_to_stop():
            return value + apart
        heapq.heappop(heap)
        middle = (first + last) // 2
        programs -= 1
        lower = cheapest(int(thresholds[middle]))
        heapq.heappush(heap, (lower + int(thresholds[first]), first, middle, lower))
        heapq.heappush(heap, (cost + int(thresholds[middle + 1]), middle + 1, last, cost))
    return None


def chunk_costs(tables: Tables, send: IntArray, s: int, e: int) -> tuple[IntArray, IntArray]:
    """Cost and crossing of every chunk, two int64[start, end]; `NEVER` where it is not allowed."""
    points = tables.steps + 1
    a, b = np.triu_indices(points, 1)
    tail = (b == tables.steps).astype(np.int64)
    keep = tables.length_allowed[tail, b - a]
    a, b, tail = a[keep], b[keep], tail[keep]
    least = np.minimum(tables.tau(s, a, b), tables.tau(e, a, b))
    across = -least
    for i in range(s, e + 1):
        across += tables.tau(i, a, b)
        if i < e:
            across += send[i, tail, b - a]
    times, crossing = (np.full((points, points), NEVER, dtype=np.int64) for _ in range(2))
    times[a, b], crossing[a, b] = least, across
    return times, crossing


def cheapest_by_count(times: IntArray, counts: range) -> dict[int, int]:
    """Cost of the cheapest partition by its count of chunks; counts that none has are left out.

    Parameters
    ----------
    times : int64[G + 1, G + 1], ticks
        Cost of chunks by start and end; `NEVER` where there is none.
    counts : range
        Counts to look at.
    """
    reached = np.full(times.shape[0], NEVER, dtype=np.int64)
    reached[0] = 0
    found: dict[int, int] = {}
    for count in range(1, max(counts, default=0) + 1):
        reached = np.minimum((reached[:, None] + times).min(axis=0), NEVER)
        if count in counts and reached[-1] < NEVER:
            found[count] = int(reached[-1])
    return found


def _cheapest(times: IntArray, counts: range) -> int:
    return min(cheapest_by_count(times, counts).values(), default=NEVER)
