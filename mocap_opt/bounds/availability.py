"""Paths that begin where tokens come to exist: a bound for any execution.

Statement and proof: ``formulations/availability.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_times import least_sends
from mocap_opt.flow_shop.partitions import NEVER
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.memory_budget import require_memory
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables

#: Grid steps up to which all chunks are looked at; beyond, the last one alone.
MOST_STEPS = 2048
#: The bound is found to one part in so many.
PRECISION = 10_000


def availability(tables: Tables, *, asked_to_stop: AskedToStop = never) -> Bound | None:
    """Bound any execution by the paths from every chunk's availability on.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        Checked between targets; the bound is valid whenever the search stops.

    Returns
    -------
    Bound or None
        None if all tokens exist from the start on, or no chunks keep to the limits.
    """
    if tables.available is None:
        return None
    ticks = last_chunk(tables, tables.available)
    if ticks is None:
        return None
    note = "the last chunk"
    if tables.steps <= MOST_STEPS:
        paths = _Paths.of(tables, tables.available)
        found = paths.search(ticks, asked_to_stop)
        if found is None:
            return None
        ticks, note = found, "all chunks"
    return Bound("availability", ticks, Scope.ANY_EXECUTION, Evidence.SEARCH, note)


def last_chunk(tables: Tables, exist: IntArray) -> int | None:
    """When all tokens exist, and the cheapest last chunk's way through all stages after that, ticks.

    Parameters
    ----------
    tables : Tables
    exist : int64[G + 1], ticks
        ``tables.available``.

    Returns
    -------
    int or None
        None if no last chunk keeps to the limits.
    """
    start = np.arange(tables.steps)
    start = start[tables.chunk_allowed(start, tables.steps)]
    if not start.size:
        return None
    stage = np.arange(tables.stages)[:, None]
    sends = least_sends(tables)[:, 1, tables.steps - start]
    through = (tables.tau(stage, start, tables.steps) + sends).sum(axis=0)
    return int(exist[-1] + through.min())


@dataclass(frozen=True, eq=False)
class _Paths:
    """Times of all chunks [a, b), int64[G + 1, G + 1] each, ticks; `NEVER` where there is none.

    Attributes
    ----------
    first, last, through : int64[start, end], ticks
        On the first stage, on the last one, and through all stages with least sends between them.
    exist : int64[G + 1], ticks
    begin : int64[G + 1], ticks
        No execution has a chunk that starts at a boundary begin earlier than this, its own tokens aside.
    """

    first: IntArray
    last: IntArray
    through: IntArray
    exist: IntArray
    begin: IntArray

    @classmethod
    def of(cls, tables: Tables, exist: IntArray) -> _Paths:
        """Times of all chunks that keep to the limits.

        Parameters
        ----------
        tables : Tables
        exist : int64[G + 1], ticks
            ``tables.available``.
        """
        points = tables.steps + 1
        require_memory("the times of all chunks", 8 * points**2)
        a, b = np.triu_indices(points, 1)
        kept = tables.chunk_allowed(a, b)
        a, b = a[kept], b[kept]
        sends, tail = least_sends(tables), (b == tables.steps).astype(np.int64)
        first, last, through = (np.full((points, points), NEVER, dtype=np.int64) for _ in range(3))
        first[a, b], last[a, b] = tables.tau(0, a, b), tables.tau(tables.stages - 1, a, b)
        total = np.zeros(a.size, dtype=np.int64)
        for i in range(tables.stages):
            total += tables.tau(i, a, b) + sends[i, tail, b - a]
        through[a, b] = total
        begin = np.full(points, NEVER, dtype=np.int64)
        begin[0] = 0
        for end in range(1, points):
            ends = np.maximum(begin[:end], exist[end]) + first[:end, end]
            begin[end] = min(int(ends.min()), NEVER)
        return cls(first, last, through, exist, begin)

    def reaches(self, target: int) -> bool:
        """Whether boundaries may exist of which no path takes longer than a target.

        From the end backwards: the least over partitions of what the paths from each boundary on still
        take, and of what the last stage alone does.
        """
        points = self.exist.size
        onward, alone = (np.full(points, NEVER, dtype=np.int64) for _ in range(2))
        onward[-1] = alone[-1] = 0
        for a in range(points - 2, -1, -1):
            after = slice(a + 1, None)
            path = np.maximum(self.first[a, after] + onward[after], self.through[a, after] + alone[after])
            kept = np.maximum(self.begin[a], self.exist[after]) + path <= target
            if kept.any():
                onward[a] = path[kept].min()
                alone[a] = (self.last[a, after] + alone[after])[kept].min()
        return bool(onward[0] < NEVER)

    def search(self, known: int, asked_to_stop: AskedToStop) -> int | None:
        """The least target that may be reached, to one part in `PRECISION`; None if there is none.

        Parameters
        ----------
        known : int, ticks
            No execution is faster.
        asked_to_stop : callable
        """
        excluded, allowed = known - 1, known
        while not self.reaches(allowed):
            excluded, allowed = allowed, 2 * allowed + 1
            if allowed >= NEVER:
                return None
            if asked_to_stop():
                return excluded + 1
        while allowed - excluded > max(1, excluded // PRECISION) and not asked_to_stop():
            middle = (excluded + allowed) // 2
            if self.reaches(middle):
                allowed = middle
            else:
                excluded = middle
        return excluded + 1
