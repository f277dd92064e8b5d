"""Work of the end stages + the longest crossing, over all counts; with memory slack or pooled.

Statement and proof: ``formulations/bounds.md``, `one_dimensional` and `one_dimensional_pooled`.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np

from mocap_opt.bounds.base import Bound, Evidence, Scope
from mocap_opt.bounds.boundary_walk import Crossing, Walk
from mocap_opt.bounds.chunk_travel import NEVER, Setting
from mocap_opt.bounds.least_total import LeastTotal
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.tables import Tables

#: Grids with more steps are left to other bounds: the crossing table has their square.
MOST_STEPS = 6144
#: Walks per pair of stages before the search settles for what it has.
MOST_WALKS = 4000
#: Pairs of end stages to try, and how many unlike-stage rows (steps x stages) they may take together.
MOST_PAIRS = 3
PAIR_BUDGET = 2**17


def one_dimensional(tables: Tables) -> Bound | None:
    """Bound any execution with memory left out; None if no plan keeps to count and lengths."""
    return _best_over_pairs("one_dimensional", tables, None)


def one_dimensional_pooled(tables: Tables) -> Bound | None:
    """Bound any execution with all memories pooled; None also if nothing fits the pool."""
    return _best_over_pairs("one_dimensional_pooled", tables, PooledMemory.of(tables))


def _best_over_pairs(name: str, tables: Tables, memory: PooledMemory | None) -> Bound | None:
    setting = Setting(tables)
    if not setting.counts or tables.steps > MOST_STEPS:
        return None
    best: Bound | None = None
    for s, e in promising_pairs(setting):
        found = PairSearch.of(setting, s, e, memory).run()
        if found is None:
            return None
        ticks, chunks = found
        if best is None or ticks > best.ticks:
            note = f"stages {s}..{e}, {chunks} chunks"
            best = Bound(name, ticks, Scope.ANY_EXECUTION, Evidence.SEARCH, note)
    return best


def promising_pairs(setting: Setting) -> list[tuple[int, int]]:
    """Pairs of end stages, (0, N-1) first, then by what equal chunks of the largest count would give."""
    tables, most = setting.tables, setting.counts[-1]
    stages = tables.stages
    work = (tables.phi[:, -1] - tables.phi[:, 0]).astype(np.float64)
    crossing = np.concatenate([[0.0], np.cumsum(work)]) / most
    s, e = np.triu_indices(stages)
    least = np.minimum(work[s], work[e])
    # Outside s..e the first and the last chunk cross; they tend to be short, so half a chunk counts.
    value = least * (1 - 1 / most) + (crossing[e + 1] - crossing[s] + crossing[-1]) / 2
    order = np.lexsort((s - e, -value))
    ranked = [(0, stages - 1), *((int(s[n]), int(e[n])) for n in order)]
    budget = max(1, min(MOST_PAIRS, PAIR_BUDGET // (tables.steps * stages)))
    return list(dict.fromkeys(ranked))[:budget]


@dataclass(order=True, frozen=True)
class Region:
    """Plans of one count whose greatest crossing and longest chunk lie in intervals.

    Attributes
    ----------
    value : int, ticks
        No plan of the region is faster.
    chunks : int
    low, high : int, ticks
        Greatest crossing D.
    short, long : int, grid steps
        Longest chunk.
    base : int, ticks
        Least total, head and tail at the walk.
    walk : Walk
        At `high` and `long`.
    """

    value: int
    chunks: int
    low: int
    high: int
    short: int
    long: int
    base: int = field(compare=False)
    walk: Walk = field(compare=False)

    @property
    def settled(self) -> bool:
        """Whether the walk is the same for all of the crossings."""
        return self.low >= self.walk.tight


@dataclass(eq=False)
class PairSearch:
    """Best-first search for one pair of end stages.

    Attributes
    ----------
    setting : Setting
    s, e : int
        End stages.
    crossing : Crossing
    total : LeastTotal
    memory : PooledMemory or None
        None leaves memory out.
    walks : int
        Walks made so far.
    """

    setting: Setting
    s: int
    e: int
    crossing: Crossing
    total: LeastTotal
    memory: PooledMemory | None
    walks: int = 0
    heap: list[Region] = field(default_factory=list)

    @classmethod
    def of(cls, setting: Setting, s: int, e: int, memory: PooledMemory | None) -> PairSearch:
        """Tabulate the crossing and the least totals."""
        tables = setting.tables
        crossing = Crossing.of(tables, setting.send, s, e)
        total = LeastTotal.of(tables, setting.limits, setting.counts, s, e)
        return cls(setting, s, e, crossing, total, memory)

    def run(self) -> tuple[int, int] | None:
        """Search until the least region is settled.

        Returns
        -------
        tuple or None
            The bound, ticks, and the count it was found for; None if all regions are empty.
        """
        steps = self.setting.tables.steps
        self.walks, self.heap = 0, []
        for chunks in self.setting.counts:
            self._open(chunks, 0, NEVER - 1, self.setting.limits.shortest_longest(chunks), steps)
        while self.heap:
            region = heapq.heappop(self.heap)
            done = region.settled and self._fits(region)
            if done or self.walks >= MOST_WALKS:
                return region.value, region.chunks
            self._split(region)
        return None

    def _fits(self, region: Region) -> bool:
        """Whether the memory holds with the walk's own longest chunk, or no finer look is possible."""
        if self.memory is None or region.short == region.long:
            return True
        tables = self.setting.tables
        return self.memory.fits(
            region.walk.boundaries, int(np.diff(tables.grid[region.walk.boundaries]).max())
        )

    def _split(self, region: Region) -> None:
        """Replace a region by smaller ones that cover it."""
        if not self._fits(region):
            middle = (region.short + region.long) // 2
            self._open(region.chunks, region.low, region.high, region.short, middle)
            self._open(region.chunks, region.low, region.high, middle + 1, region.long)
            return
        tight = region.walk.tight
        settled = Region(
            region.base + tight,
            region.chunks,
            tight,
            region.high,
            region.short,
            region.long,
            region.base,
            region.walk,
        )
        heapq.heappush(self.heap, settled)
        if region.low < tight:
            middle = (region.low + tight - 1) // 2
            if self._open(region.chunks, middle + 1, tight - 1, region.short, region.long):
                self._open(region.chunks, region.low, middle, region.short, region.long)

    def _open(self, chunks: int, low: int, high: int, short: int, long: int) -> bool:
        """Add a region to the heap unless it is empty or it says so for all lower crossings too."""
        if low > high:
            return True
        self.walks += 1
        walk = self.crossing.walk(chunks, high, long, self.setting.limits)
        if walk is None or not self._holds(walk, short):
            return False
        base = self._base(walk)
        region = Region(base + low, chunks, low, high, short, long, base, walk)
        heapq.heappush(self.heap, region)
        return True

    def _holds(self, walk: Walk, short: int) -> bool:
        """Whether the least boundaries fit the pool with the least reserve of the region."""
        if self.memory is None:
            return True
        # The longest chunk may be the last one, whose final step may be shorter than the others.
        return self.memory.fits(walk.boundaries, int(self.setting.tables.lengths[1, short]))

    def _base(self, walk: Walk) -> int:
        """Least total + head + tail of plans with no boundary below the walk's."""
        limits, travel = self.setting.limits, self.setting.travel
        chunks = walk.boundaries.size - 1
        last_start = min((chunks - 1) * limits.high, limits.steps - limits.tail_low)
        head = int(travel.head[self.s, walk.boundaries[1]])
        tail = int(travel.tail[self.e, last_start])
        return self.total.at(walk.boundaries) + head + tail
