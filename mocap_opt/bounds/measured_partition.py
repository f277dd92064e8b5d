"""Partition and longest crossing together, by dynamic programs that need no structure of the tables.

Statement and proof: ``formulations/bounds.md``, `crossing`, measured times.
"""

from __future__ import annotations

import heapq

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.flow_shop.partitions import NEVER, least_by_count
from mocap_opt.memory_budget import require_memory
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables

MOST_SUMS = 2**27
"""Sums of one dynamic program, chunks x ends x lengths, beyond which there is no bound."""

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
    sums = sums_of(tables)
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


def sums_of(tables: Tables) -> int:
    """Sums of one dynamic program over the partitions of an instance."""
    return max(tables.counts, default=0) * (tables.steps + 1) * _longest(tables)


def _longest(tables: Tables) -> int:
    """Steps of the longest chunk that the limits allow."""
    return int(np.flatnonzero(tables.length_allowed.any(axis=0)).max(initial=0))


def chunk_costs(tables: Tables, send: IntArray, s: int, e: int) -> tuple[IntArray, IntArray]:
    """Cost and crossing of every chunk, two int64[end, steps - 1]; `NEVER` where it is not allowed."""
    points, longest = tables.steps + 1, _longest(tables)
    require_memory("the tables of chunk costs", 12 * points * longest)
    b, k = (each.ravel() for each in np.meshgrid(np.arange(points), np.arange(1, longest + 1), indexing="ij"))
    tail = (b == tables.steps).astype(np.int64)
    keep = (k <= b) & tables.length_allowed[tail, k]
    b, k, tail = b[keep], k[keep], tail[keep]
    least = np.minimum(tables.tau(s, b - k, b), tables.tau(e, b - k, b))
    across = -least
    for i in range(s, e + 1):
        across += tables.tau(i, b - k, b)
        if i < e:
            across += send[i, tail, k]
    times, crossing = (np.full((points, longest), NEVER, dtype=np.int64) for _ in range(2))
    times[b, k - 1], crossing[b, k - 1] = least, across
    return times, crossing


def cheapest_by_count(times: IntArray, counts: range) -> dict[int, int]:
    """Cost of the cheapest partition by its count of chunks; counts that none has are left out.

    Parameters
    ----------
    times : int64[end, steps - 1], ticks
        Cost of chunks; `NEVER` where there is none.
    counts : range
        Counts to look at.
    """
    layers = zip(range(1, max(counts, default=0) + 1), least_by_count(times), strict=False)
    return {count: int(row[-1]) for count, row in layers if count in counts and row[-1] < NEVER}


def _cheapest(times: IntArray, counts: range) -> int:
    return min(cheapest_by_count(times, counts).values(), default=NEVER)
