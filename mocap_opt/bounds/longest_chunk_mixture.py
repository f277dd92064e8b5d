"""Branch and bound on the time of the longest chunk, around mixtures of paths that cross the stages there.

Statement and proof: ``formulations/bounds.md``, `longest_chunk_mixture`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.longest_chunk_paths import (
    CrossingTimes,
    LongestChunkRegion,
    MarkedPartition,
    cheapest_partitions,
    longest_chunk_region,
)
from mocap_opt.bounds.longest_chunk_program import LongestChunkProgram, Point
from mocap_opt.bounds.multiplier_program import PathProgram
from mocap_opt.bounds.partition_pricing import PartitionPricer
from mocap_opt.bounds.partition_region import PartitionRegion, PathWeights
from mocap_opt.bounds.path_relaxation import whole_region
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables

MOST_STEPS = 1024
"""Grid steps up to which the times of all chunks are tabulated."""

MOST_CELLS = 1024
"""Stages x positions up to which a linear program takes well under a second."""

NARROWEST = 0.0005
"""Width of the first intervals of the longest chunk, relatively; each is twice as wide as the one below."""

UNASKED, MOST_PROGRAMS = 200, 100_000
"""Linear programs in all, without and with somebody to stop them."""

PROGRAMS = 40
"""Linear programs for one interval before it is split."""

SEEN = 8
"""Partitions that every evaluation adds to the program."""

MOST_CUTS = 600
"""Partitions in a program; beyond, the half that bind least is dropped."""

ENOUGH = 0.3
"""Part of what a program promises that has to come true for weights to move farther."""

LEAST_RADIUS, FIRST_RADIUS = 0.005, 0.1
"""How far weights may move from the best ones, in parts of one: at least, and at first."""


def is_small(tables: Tables) -> bool:
    """Whether the times of all chunks can be tabulated, and a program takes well under a second.

    Parameters
    ----------
    tables : Tables
    """
    counts = Setting(tables).counts
    small = bool(counts) and tables.steps <= MOST_STEPS and tables.stages * counts[-1] <= MOST_CELLS
    return small and tables.stages > 1


def longest_chunk_mixture(
    tables: Tables, *, incumbent: int | None = None, asked_to_stop: AskedToStop = never
) -> Bound | None:
    """Bound any execution by paths that cross the stages at the longest chunk, for every time that takes.

    Parameters
    ----------
    tables : Tables
    incumbent : int or None, ticks
        Latency of a known plan, rounded down.
    asked_to_stop : callable
        Checked between linear programs; the bound is valid whenever the search stops.

    Returns
    -------
    Bound or None
        None if no plan keeps to count, lengths and pooled memory, or the instance is too large.
    """
    if not is_small(tables):
        return None
    search = LongestChunkSearch.of(tables)
    found = [None, *search.bounds(incumbent, asked_to_stop, UNASKED)]
    return found[-1]


@dataclass(order=True)
class _Open:
    """An interval of the longest chunk's time, and what is known of it."""

    value: int
    order: int
    within: LongestChunkRegion = field(compare=False)
    point: Point = field(compare=False)
    seen: list[MarkedPartition] = field(compare=False)
    solved: bool = field(compare=False)


@dataclass(eq=False)
class LongestChunkSearch:
    """Best-first search over intervals of the longest chunk's time; it can be stopped, and go on.

    Attributes
    ----------
    pricer : PartitionPricer
    incumbent : int or None, ticks
        Intervals that take as long are closed.
    programs, opened : int
        Linear programs solved so far, and intervals looked into.
    ended : bool
        Whether there is nothing left to prove.
    """

    pricer: PartitionPricer
    incumbent: int | None = None
    programs: int = 0
    opened: int = 0
    ended: bool = False
    _heap: list[_Open] = field(default_factory=list)
    _last: Point | None = None
    _root: tuple[Point, int] | None = None
    _unopened: list[tuple[int, int]] | None = None

    @classmethod
    def of(cls, tables: Tables) -> LongestChunkSearch:
        """Not begun yet."""
        return cls(PartitionPricer(Setting(tables), PooledMemory.of(tables)))

    @cached_property
    def times(self) -> CrossingTimes:
        """Times of all chunks on all stages together."""
        return CrossingTimes(self.pricer)

    @cached_property
    def whole(self) -> PartitionRegion:
        """All partitions."""
        counts = self.pricer.setting.counts
        return whole_region(self.pricer, counts[0], counts[-1])

    @cached_property
    def ample(self) -> bool:
        """Whether no partition lacks memory."""
        room = self.pricer.room(replace(self.whole, short=self.whole.long))
        need = self.pricer.memory.need(self.whole.high) // self.pricer.memory.unit
        return room is not None and bool((need <= room).all())

    @cached_property
    def program(self) -> LongestChunkProgram:
        """Finds weights; there is room in every memory."""
        room = self.pricer.room(self.whole)
        assert room is not None
        return LongestChunkProgram(self.pricer, room)

    def bounds(
        self, incumbent: int | None, asked_to_stop: AskedToStop, most_programs: int = MOST_PROGRAMS
    ) -> Iterator[Bound]:
        """Search, and yield every better bound.

        Parameters
        ----------
        incumbent : int or None, ticks
            Latency of a known plan, rounded down: intervals that are proved to take as long are closed.  It
            tells where to stop and is no premise of the proof.
        asked_to_stop : callable
            Checked between linear programs.
        most_programs : int
            Linear programs in all.

        Yields
        ------
        Bound
            On any execution, valid whenever the search stops.
        """
        self.incumbent, reached = incumbent, 0
        if self._root is None:
            if self.pricer.room(self.whole) is None:
                self.ended = True
                return
            self._root = self._solved_without_longest()
            reached = self._root[1]
            yield self._bound(reached)
        self._unopened = list(pairwise(self._edges())) if self._unopened is None else self._unopened
        while self._unopened:
            if asked_to_stop():
                return
            least, most = self._unopened.pop()
            self._open(least + 1, most, *self._root)
        while self._heap and self.programs < most_programs and not asked_to_stop():
            if self._heap[0].value > reached:
                reached = self._heap[0].value
                yield self._bound(reached)
            lowest = heapq.heappop(self._heap)
            if not lowest.solved:
                self._solve(lowest, asked_to_stop)
            elif not self._split(lowest):
                break
        self.ended = not self._heap or (self._heap[0].solved and self._heap[0].within.is_single)
        if self.ended and not self._heap and incumbent is not None and incumbent > reached:
            yield self._bound(incumbent)

    def _bound(self, ticks: int) -> Bound:
        note = f"{self.opened} intervals of the longest chunk's time, {len(self._heap)} left open"
        return Bound("longest_chunk_mixture", ticks, Scope.ANY_EXECUTION, Evidence.LP_DUAL, note)

    def _solved_without_longest(self) -> tuple[Point, int]:
        """Weights of the best paths that do not know the longest chunk, and what they prove, ticks."""
        weights = PathProgram(self.pricer).weights(self.whole)
        assert isinstance(weights.flow, PathWeights)
        priced = self.pricer.price(self.whole, weights)
        return self.program.point(weights.flow), max(0, priced.ticks(priced.least_cost()))

    def _edges(self) -> list[int]:
        """Ends of the first intervals, ticks: below the first no partition keeps to it."""
        low, high = -1, int(self.times.by_end.max())
        top = high
        while high - low > 1:
            middle = (low + high) // 2
            if longest_chunk_region(self.times, self.whole, 0, middle) is None:
                low = middle
            else:
                high = middle
        edges, width = [low], NARROWEST
        while edges[-1] < top:
            edges.append(min(top, edges[-1] + max(1, int(high * width))))
            width *= 2
        return edges

    def _open(
        self, least: int, most: int, point: Point, value: int, seen: Sequence[MarkedPartition] = ()
    ) -> None:
        """Evaluate the weights on an interval; keep it unless it is empty or closed."""
        within = longest_chunk_region(self.times, self.whole, least, most)
        if within is None:
            return
        found = cheapest_partitions(self.pricer, within, self.program.paths(point), SEEN)
        if found is not None:
            ticks, some = found
            known = [partition for partition in seen if self._is_inside(partition, within)]
            self._push(_Open(max(value, ticks), 0, within, point, [*known, *some], solved=False))

    def _is_inside(self, partition: MarkedPartition, within: LongestChunkRegion) -> bool:
        """Whether a partition with its longest chunk belongs to an interval."""
        times = self.times.by_end[partition.boundaries[1:], partition.boundaries[:-1]]
        return bool(times.max() <= within.most and times[partition.longest] >= within.least)

    def _push(self, interval: _Open) -> None:
        if self.incumbent is None or interval.value < self.incumbent:
            self.opened += 1
            interval.order = self.opened
            heapq.heappush(self._heap, interval)

    def _solve(self, interval: _Open, asked_to_stop: AskedToStop) -> None:
        """Improve the weights of an interval, within a radius that grows as long as that helps."""
        program, point, value, seen = self.program, interval.point, interval.value, interval.seen
        if self._last is not None:
            # Weights of the interval before it are often better than those it was opened with.
            found = cheapest_partitions(self.pricer, interval.within, program.paths(self._last), SEEN)
            assert found is not None
            seen = [*seen, *found[1]]
            if found[0] > value:
                point, value = self._last, found[0]
        cuts, radius = [program.cut(partition) for partition in seen], FIRST_RADIUS
        growing = program.growing()
        program.add(growing, cuts)
        for _ in range(PROGRAMS):
            if asked_to_stop() or (self.incumbent is not None and value >= self.incumbent):
                break
            self.programs += 1
            proposed = program.best(growing, point, radius)
            if proposed is None:
                break
            trial, hoped = proposed
            if hoped <= value + 1:
                if radius >= 1.0:
                    break
                radius = min(1.0, 4 * radius)
                continue
            found = cheapest_partitions(self.pricer, interval.within, program.paths(trial), SEEN)
            assert found is not None
            ticks, more = found
            good = ticks - value > ENOUGH * (hoped - value)
            if ticks > value:
                point, value = trial, ticks
            added = [program.cut(partition) for partition in more]
            program.add(growing, added)
            seen, cuts = [*seen, *more], [*cuts, *added]
            if len(cuts) > MOST_CUTS:
                loose = np.sort(np.argsort([cut.at(point) for cut in cuts])[MOST_CUTS // 2 :])
                growing.drop(loose)
                kept = np.setdiff1d(np.arange(len(cuts)), loose).tolist()
                seen, cuts = [seen[n] for n in kept], [cuts[n] for n in kept]
            radius = min(1.0, 2 * radius) if good else max(LEAST_RADIUS, radius / 2)
        self._last = point
        self._push(_Open(value, 0, interval.within, point, seen, solved=True))

    def _split(self, interval: _Open) -> bool:
        """Halve an interval; False if it is a single time."""
        least, most = interval.within.least, interval.within.most
        if interval.within.is_single:
            heapq.heappush(self._heap, interval)
            return False
        middle = (least + most) // 2
        for part in ((least, middle), (middle + 1, most)):
            self._open(*part, interval.point, interval.value, interval.seen)
        return True
