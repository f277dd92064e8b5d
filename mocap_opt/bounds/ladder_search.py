"""The search behind the ladder: regions of the longest chunk, prices of memory, chunks deleted one by one.

Statement and proof: ``formulations/ladder.md``.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.ladder_costs import LadderCosts, thinned
from mocap_opt.bounds.ladder_memory import LadderMemory
from mocap_opt.bounds.ladder_programs import ArcLadder, IntervalLadder, Mask
from mocap_opt.bounds.stage_work import LeastTotal
from mocap_opt.flow_shop.arc_set import ArcSet
from mocap_opt.flow_shop.chunk_lengths import within_limits
from mocap_opt.flow_shop.partitions import NEVER
from mocap_opt.stopping import AskedToStop, StoppedError

LEVELS = (32, 256)
"""Levels, at most, of programs over intervals of starts: few first, to leave fewer boundaries to the next."""

FINEST = 1024
"""The same of the program over single chunks."""

MOST_CELLS = 300_000_000
"""Arcs x levels of one pass over single chunks, at most; beyond it there are fewer levels."""

MOST_ROUNDS = 6
"""Times that arcs are deleted and levels made finer."""

MOST_LISTED = 64
"""Partitions of a region that are priced one by one."""


@dataclass(frozen=True, eq=False)
class LadderRegion:
    """Plans whose longest chunk has a length in an interval.

    Attributes
    ----------
    short, long : int
        Interval of the longest chunk, grid steps.
    ticks : int
        No plan of the region is faster, or than the target.
    arcs : ArcSet
        Chunks of those that are faster than the target.
    partitions : tuple of (int, int64[chunks + 1])
        Partitions that were come upon, all of them where they are few: lockstep latency with KV at home,
        ticks, and boundaries as grid indices; least latency first.  They fit the pooled memory.
    """

    short: int
    long: int
    ticks: int
    arcs: ArcSet
    partitions: tuple[tuple[int, IntArray], ...] = ()


@dataclass(order=True, frozen=True)
class _Open:
    """A region with what its program over intervals proves.

    Attributes
    ----------
    ticks : int
    short, long : int, grid steps
    price : int
        Best price of memory known, parts of a tick for a unit of KV.
    settled : bool
        Whether halving the region would not help: its room is the same throughout, or the cheapest partition
        fits with its own longest chunk.
    nodes : bool[position + 1, G + 1]
        Boundaries of plans faster than the target.
    """

    ticks: int
    short: int
    long: int
    price: int = field(compare=False)
    settled: bool = field(compare=False)
    nodes: Mask = field(compare=False)


class LadderSearch:
    """The search for one target.

    Parameters
    ----------
    setting : Setting
        Of an instance with like stages.
    costs : LadderCosts
        Of its chunks.
    target : int, ticks
    asked_to_stop : callable
    """

    def __init__(self, setting: Setting, costs: LadderCosts, target: int, asked_to_stop: AskedToStop) -> None:
        self.setting, self.target, self.asked_to_stop = setting, target, asked_to_stop
        self.tables, self.limits = setting.tables, setting.limits
        self.costs = costs
        self.positions = max(setting.counts)
        works = self._works()
        self.counts = list(works)
        self.optional = self.positions - min(works, default=self.positions)
        left = target - 1 - min(works.values(), default=target)
        # The longest chunk of a plan faster than the target has to fit into N - 1 further slots; where there
        # are none, it is a part of the work.
        self.most_time = left // self.costs.ascent if self.costs.ascent else target - 1
        longest = int(self.times.max(initial=1))
        fewest = min(works, default=1)
        self.memory = LadderMemory(self.tables, self.costs, self.positions, fewest, longest, target)
        self._seen: dict[tuple[int, ...], int] = {}

    def _works(self) -> dict[int, int]:
        """Least sum of chunk times, ticks, by the counts whose longest chunk may be short enough."""
        total = LeastTotal.of(self.tables, self.limits, self.setting.counts, 0, 0)
        works = {m: total.at(self.limits.least_boundaries(m)) for m in self.setting.counts}
        return {
            m: work for m, work in works.items() if work + self.costs.ascent * -(-work // m) < self.target
        }

    @cached_property
    def times(self) -> IntArray:
        """Times of all chunks that are short enough."""
        times: IntArray = self.costs.times[self.costs.times <= self.most_time]
        return times

    def _nodes(self, long: int, counts: list[int]) -> Mask:
        """Boundaries that limits on lengths allow for some counts, bool[position + 1, G + 1]."""
        steps, positions = self.tables.steps, self.positions
        kept = np.zeros((positions + 1, steps + 1), dtype=np.bool_)
        limits = self.limits.at_most(long)
        for count in counts:
            windows = limits.windows(count)
            if windows is not None:
                for j, (low, high) in enumerate(zip(*windows, strict=True)):
                    kept[positions - count + j, low : high + 1] = True
                kept[: positions - count + 1, 0] = True
        return kept

    def _open(self, short: int, long: int, price: int, known: int) -> _Open | None:
        """A region with the bound of its program over intervals; None if it has no plan below the target."""
        nodes = self._nodes(long, self.counts)
        if not nodes.any(axis=1).all() or known >= self.target:
            return None
        ticks, settled = known, short == long or self.memory.room(long) == self.memory.room(short)
        for number in LEVELS:
            levels = thinned(self.times, number)
            program = IntervalLadder(self.costs, levels, long, self.most_time, nodes, self.optional)
            found = self.memory.best_price(program, short, long, price, self.asked_to_stop, self._look_at)
            if found is None or found.ticks >= self.target:
                return None
            ticks, price = max(ticks, found.ticks), found.price
            nodes = program.pruned(found.layers, found.prices, self.target)
            if not nodes.any(axis=1).all():
                return None
            if number == LEVELS[-1] and not settled and price == 0:
                chosen = program.boundaries(found.layers, found.prices)
                own = self.memory.room(min(max(int(np.diff(chosen).max()), short), long))
                settled = own is not None and self.memory.need(chosen) <= own
        return _Open(ticks, short, long, price, settled, nodes)

    def _regions(self) -> list[_Open]:
        """Regions that may hold plans faster than the target."""
        if not self.counts:
            return []
        least = min(self.limits.shortest_longest(count) for count in self.counts)
        start, end = np.nonzero(self.costs.times <= self.most_time)
        most = int((end - start).max(initial=0))
        if least > most:
            return []
        whole = self._open(least, most, 0, 0)
        heap = [] if whole is None else [whole]
        done: list[_Open] = []
        while heap:
            region = heap[0]
            if region.settled:
                done.append(heapq.heappop(heap))
                continue
            middle = (region.short + region.long) // 2
            try:
                halves = [
                    self._open(short, long, region.price, region.ticks)
                    for short, long in ((region.short, middle), (middle + 1, region.long))
                ]
            except StoppedError:
                break
            heapq.heappop(heap)
            for half in halves:
                if half is not None:
                    heapq.heappush(heap, half)
        return [*done, *heap]

    def _refined(self, region: _Open) -> LadderRegion | None:
        """Delete chunks one by one with ever finer levels; None if none are left."""
        arcs = self._arcs(region)
        ticks, price, size = region.ticks, region.price, -1
        try:
            for _ in range(MOST_ROUNDS):
                if arcs.empty or arcs.size == size:
                    break
                times = np.concatenate([self.costs.times[a[b > 0], b[b > 0]] for a, b in self._pairs(arcs)])
                levels = thinned(times, max(LEVELS[0], min(FINEST, MOST_CELLS // arcs.size)))
                exact = levels.size > np.unique(times).size
                program = ArcLadder(self.costs, levels, arcs)
                found = self.memory.best_price(
                    program, region.short, region.long, price, self.asked_to_stop, self._look_at
                )
                if found is None or found.ticks >= self.target:
                    return None
                ticks, price = max(ticks, found.ticks), found.price
                size = arcs.size if exact else -1
                arcs = program.pruned(found.layers, found.prices, self.target)
        except StoppedError:
            pass
        return None if arcs.empty else self._listed(region, ticks, arcs)

    def _look_at(self, path: IntArray) -> int | None:
        """Least latency of a partition; None if it keeps to no limits, or does not fit.

        Parameters
        ----------
        path : int64[position + 1]
            Grid indices.
        """
        boundaries = path[int(np.flatnonzero(path == 0)[-1]) :]
        known = tuple(boundaries.tolist())
        if known not in self._seen:
            if not within_limits(self.tables, boundaries):
                return None
            longest = int(np.diff(self.tables.grid[boundaries]).max())
            fits = self.memory.pool.fits(boundaries, longest)
            self._seen[known] = self.costs.latency(boundaries) if fits else NEVER
        return self._seen[known] if self._seen[known] < NEVER else None

    def _listed(self, region: _Open, ticks: int, arcs: ArcSet) -> LadderRegion | None:
        """A region with its partitions priced one by one, where they are few; None if none is left."""
        found = arcs.partitions(MOST_LISTED)
        if found is not None:
            kept: list[tuple[int, IntArray]] = []
            for path in found:
                latency = self._look_at(path)
                long_enough = region.short <= int(np.diff(path).max()) <= region.long
                if latency is not None and latency < self.target and long_enough:
                    kept.append((latency, path))
            if not kept:
                return None
            ticks = max(ticks, min(latency for latency, _ in kept))
            arcs = ArcSet.of(self.tables.steps, list(pairwise(np.array([path for _, path in kept]).T)))
        seen = (
            (latency, np.array(known, dtype=np.int64))
            for known, latency in self._seen.items()
            if latency < self.target and region.short <= max(np.diff(known)) <= region.long
        )
        partitions = tuple(sorted(seen, key=lambda each: (each[0], each[1].tolist())))
        return LadderRegion(region.short, region.long, ticks, arcs, partitions)

    @staticmethod
    def _pairs(arcs: ArcSet) -> list[tuple[IntArray, IntArray]]:
        """Starts and ends by position."""
        return list(zip(arcs.starts, arcs.ends, strict=True))

    def _arcs(self, region: _Open) -> ArcSet:
        """Chunks between the boundaries that are left of a region."""
        pairs = []
        for j in range(self.positions):
            a, b = np.flatnonzero(region.nodes[j]), np.flatnonzero(region.nodes[j + 1])
            start, end = (each.ravel() for each in np.meshgrid(a, b, indexing="ij"))
            chunk = (self.costs.times[start, end] <= self.most_time) & (end - start <= region.long)
            chunk |= (start == 0) & (end == 0) & (j < self.optional)
            pairs.append((start[chunk], end[chunk]))
        return ArcSet.of(self.tables.steps, pairs)

    def run(self) -> tuple[LadderRegion, ...]:
        """Regions that may hold plans faster than the target, with the chunks of these plans."""
        found = (self._refined(region) for region in self._regions())
        return tuple(region for region in found if region is not None)

    @property
    def all_arcs(self) -> int:
        """Chunks that limits on lengths and counts allow, by position."""
        nodes = self._nodes(self.tables.steps, self.setting.counts)
        possible = (self.costs.times < NEVER).astype(np.int64)
        return sum(int(nodes[j].astype(np.int64) @ possible @ nodes[j + 1]) for j in range(self.positions))
