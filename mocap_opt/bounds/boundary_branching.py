"""Branch and bound on the boundaries, around mixtures of paths or, for lockstep, of slots.

Statement and proof: ``formulations/bounds.md``, `boundary_branching` and `slot_branching`.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.crossing import MOST_STEPS, crossing, promising_pairs
from mocap_opt.bounds.crossing_search import PairSearch
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.multiplier_program import MultiplierProgram, program_for
from mocap_opt.bounds.partition_pricing import PartitionPricer
from mocap_opt.bounds.partition_region import (
    Multipliers,
    OpenRegion,
    PartitionRegion,
    halves_of_counts,
    halves_of_lengths,
)
from mocap_opt.bounds.path_relaxation import whole_region
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.flow_shop.partitions import NEVER
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.stopping import AskedToStop, StoppedError, never
from mocap_opt.tables.cost_tables import Tables

#: Go over the boundaries again when a round takes more than this part of their intervals away.
REPEATED_ABOVE = 0.1


def within_crossings(
    region: PartitionRegion, pairs: Sequence[PairSearch], target: int
) -> PartitionRegion | None:
    """Leave out chunks that take too long to cross the stages between a pair of end stages.

    Parameters
    ----------
    region : PartitionRegion
    pairs : sequence of PairSearch
        Of one instance.
    target : int, ticks
        Plans that take as long or longer may be left out.

    Returns
    -------
    PartitionRegion or None
        None if nothing is left.
    """
    steps = int(region.low[-1])
    earliest = np.zeros(steps + 1, dtype=np.int64)
    for pair in pairs:
        limits = pair.setting.limits
        counts = [m for m in pair.setting.counts if region.fewest <= m <= region.positions]
        most = target - 1 - min(pair.base(limits.least_boundaries(m)) for m in counts)
        for b in range(1, steps + 1):
            earliest[b] = max(earliest[b], int(pair.crossing.minus[b].searchsorted(-most)))
    low, high = region.low.copy(), region.high.copy()
    for j in range(region.positions - 1, -1, -1):
        low[j] = max(low[j], earliest[low[j + 1]])
    for j in range(region.positions):
        high[j + 1] = min(high[j + 1], int(np.flatnonzero(earliest <= high[j])[-1]))
    if (low > high).any():
        return None
    starts = np.empty((2, region.positions, steps + 1), dtype=np.int32)
    starts[0], starts[1] = earliest, steps
    return replace(region, low=low, high=high, starts=starts)


def within_memory(pricer: PartitionPricer, region: PartitionRegion) -> PartitionRegion | None:
    """Lower the greatest boundaries to what the pool has room for; None if nothing is left.

    Parameters
    ----------
    pricer : PartitionPricer
    region : PartitionRegion

    Returns
    -------
    PartitionRegion or None
        None if nothing is left.
    """
    while True:
        region = replace(region, long=min(region.long, int(region.lengths()[1].max())))
        room = pricer.room(region) if region.short <= region.long else None
        if room is None:
            return None
        least = _least_lengths(pricer, region)
        low, high = region.low.copy(), region.high.copy()
        for j in range(region.positions):
            low[j + 1] = max(low[j + 1], low[j] + least[j])
        if (low > high).any() or not _fits(pricer, low, room):
            return None
        ahead = np.concatenate([[0], np.cumsum(least)])
        for j in range(region.positions - 1, 0, -1):
            high[j] = min(high[j], high[j + 1] - least[j])
            inside, beyond = int(low[j]), int(high[j]) + 1
            if inside < beyond and _fits(pricer, _from(low, ahead, j, beyond - 1), room):
                continue
            while beyond - inside > 1:
                middle = (inside + beyond) // 2
                if _fits(pricer, _from(low, ahead, j, middle), room):
                    inside = middle
                else:
                    beyond = middle
            high[j] = min(high[j], inside)
        if (low > high).any():
            return None
        before = int((region.high - region.low).sum())
        region = replace(region, low=low, high=high)
        if before - int((high - low).sum()) <= REPEATED_ABOVE * before:
            return region


def _least_lengths(pricer: PartitionPricer, region: PartitionRegion) -> IntArray:
    """Least steps of the chunk at each position, 0 where it may be empty, int64[position]."""
    limits = pricer.setting.limits
    allowed = np.full(region.positions, limits.least, dtype=np.int64)
    allowed[-1] = limits.last_least
    least: IntArray = np.maximum(region.lengths()[0], allowed)
    least[: region.optional] = 0
    return least


def _from(low: IntArray, ahead: IntArray, j: int, boundary: int) -> IntArray:
    """Least boundaries of partitions whose boundary j is at `boundary` or later."""
    least = low.copy()
    least[j:] = np.minimum(np.maximum(low[j:], boundary + ahead[j:] - ahead[j]), low[-1])
    return least


def _fits(pricer: PartitionPricer, boundaries: IntArray, room: IntArray) -> bool:
    """Whether boundaries keep to the room of every slot, in units."""
    return bool((pricer.memory.need(boundaries) // pricer.memory.unit <= room).all())


#: What the bound is called, by what it holds for.
BRANCHING = {Scope.ANY_EXECUTION: "boundary_branching", Scope.LOCKSTEP: "slot_branching"}
#: Linear programs in all, and for the first target; twice as many whenever targets came too close.
MOST_PROGRAMS = 100_000
FIRST_PROGRAMS = 100
#: Stages x positions up to which the bound is worth its time unasked, and programs it may take then.
MOST_CELLS = 1024
UNASKED = 20
#: Programs for one region, as long as each takes a fifth of the boundaries' intervals away.
ROUNDS = 4
WORTHWHILE = 0.2
#: Large programs are solved for counts and longest chunks no farther apart than this, relatively.
WIDE = 0.5
#: The longest chunk is split until it is so much better known than the count: it says more of the room.
LENGTHS_FIRST = 4
#: How far targets lie from the bound to the latency missed: halfway or, where programs are large and there
#: is time for few targets, farther; what is proved of a target that is missed counts as well.
HALF, MOST = Fraction(1, 2), Fraction(3, 4)
#: Targets are too close when one part in so many lies between them.
FINE = 5000


def boundary_branching(tables: Tables, asked_to_stop: AskedToStop = never) -> Bound | None:
    """Bound any execution by branch and bound; None if there is no plan, or the instance is large.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        As of `branch_on_boundaries`.
    """
    return _unasked(tables, Scope.ANY_EXECUTION, asked_to_stop)


def slot_branching(tables: Tables, asked_to_stop: AskedToStop = never) -> Bound | None:
    """Bound lockstep by branch and bound; None if there is no plan, or the instance is large.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        As of `branch_on_boundaries`.
    """
    return _unasked(tables, Scope.LOCKSTEP, asked_to_stop)


def _unasked(tables: Tables, scope: Scope, asked_to_stop: AskedToStop) -> Bound | None:
    counts = Setting(tables).counts
    if not counts or tables.stages * counts[-1] > MOST_CELLS:
        return None
    return branch_on_boundaries(tables, scope=scope, most_programs=UNASKED, asked_to_stop=asked_to_stop)


def branch_on_boundaries(
    tables: Tables,
    *,
    scope: Scope = Scope.ANY_EXECUTION,
    incumbent: int | None = None,
    known: int = 0,
    most_programs: int = MOST_PROGRAMS,
    asked_to_stop: AskedToStop = never,
    on_bound: Callable[[Bound], None] = lambda bound: None,
) -> Bound | None:
    """Prove higher and higher targets, each part of the way to the incumbent.

    Parameters
    ----------
    tables : Tables
    scope : Scope
        What the bound is to hold for: around mixtures of paths, or in lockstep of slots.
    incumbent : int or None, ticks
        Latency of a known plan, rounded down: no higher target is tried.  It tells where to aim and
        is no premise of the proof.
    known : int, ticks
        A bound on the same executions known already.
    most_programs : int
        Linear programs in all.
    asked_to_stop : callable
        Checked between linear programs; the bound is valid whenever the search stops.
    on_bound : callable
        Called with every better bound.

    Returns
    -------
    Bound or None
        None if no plan keeps to count, lengths and pooled memory, the grid is too fine for the
        crossing tables, or nothing was proved.
    """
    setting = Setting(tables, scope)
    if not setting.counts or tables.steps > MOST_STEPS:
        return None
    try:
        pairs = [PairSearch.of(setting, s, e, asked_to_stop) for s, e in promising_pairs(setting)]
    except StoppedError:
        return None
    search = BoundarySearch(PartitionPricer(setting, PooledMemory.of(tables)), pairs, asked_to_stop)
    whole = crossing(tables, asked_to_stop) if incumbent is None else None
    aim = incumbent if incumbent is not None else 2 * max(known, whole.ticks if whole else 0)
    fine = aim // FINE
    best: Bound | None = None
    large = tables.stages * setting.counts[-1] > MOST_CELLS
    reached, missed, programs = known, aim, FIRST_PROGRAMS
    part = MOST if large else HALF
    while reached < aim and search.programs < most_programs and not asked_to_stop():
        if missed - reached <= fine:
            missed, programs = aim, 2 * programs
        target = aim if aim - reached <= fine else reached + max(1, int((missed - reached) * part))
        value = search.prove(target, min(programs, most_programs - search.programs), reached)
        if value > reached:
            reached = value
            best = Bound(BRANCHING[scope], value, scope, Evidence.LP_DUAL, search.note)
            on_bound(best)
        if search.settled:
            break
        if value < target:
            missed = target
    return best


@dataclass(eq=False)
class BoundarySearch:
    """Best-first search for plans faster than a target.

    Attributes
    ----------
    pricer : PartitionPricer
    pairs : sequence of PairSearch
        Pairs of end stages whose crossings limit the chunks.
    asked_to_stop : callable
        Checked between linear programs.
    programs : int
        Solved so far, over all targets.
    settled : bool
        Whether the last search ended at a single partition: no finer look is possible.
    note : str
        How far the last search went.
    """

    pricer: PartitionPricer
    pairs: Sequence[PairSearch]
    asked_to_stop: AskedToStop = never
    programs: int = 0
    settled: bool = False
    note: str = ""
    heap: list[OpenRegion] = field(default_factory=list)
    opened: int = 0

    @cached_property
    def program(self) -> MultiplierProgram:
        """Finds weights."""
        return program_for(self.pricer)

    def prove(self, target: int, most_programs: int, known: int = 0) -> int:
        """Return the target if no plan is faster, else what holds for all that may be; ticks.

        Parameters
        ----------
        target : int, ticks
        most_programs : int
            Linear programs to solve at most.
        known : int, ticks
            No plan at all is faster.
        """
        counts = self.pricer.setting.counts
        self.heap, self.opened, self.settled = [], 0, False
        last = self.programs + most_programs
        self._counts(whole_region(self.pricer, counts[0], counts[-1]), target, known)
        while self.heap and not self.settled and self.programs < last and not self.asked_to_stop():
            self._split(heapq.heappop(self.heap), target)
        self.note = f"{self.opened} regions, {len(self.heap)} left open"
        return self.heap[0].value if self.heap else target

    def _counts(self, region: PartitionRegion, target: int, value: int) -> None:
        """Open partitions that are limited in their counts and longest chunks only."""
        within = within_crossings(region, self.pairs, target)
        if within is not None:
            self._open(within, target, value, None)

    def _open(self, region: PartitionRegion, target: int, value: int, weights: Multipliers | None) -> None:
        """Narrow a region to partitions below the target; keep it unless that leaves nothing."""
        if self.asked_to_stop():
            self._push(value, region, weights)
            return
        left = within_memory(self.pricer, region)
        if left is not None and weights is None and self._too_wide(left):
            self._push(value, left, None)
            return
        for _ in range(ROUNDS):
            if left is None:
                return
            solved = weights is None
            if weights is None:
                self.programs += 1
                weights = self.program.weights(left)
            priced = self.pricer.price(left, weights)
            before = priced.before()
            cost = int(before[-1][0])
            value = max(value, priced.ticks(cost))
            if cost == NEVER or value >= target:
                return
            width = int((left.high - left.low).sum())
            left = priced.below(before, (target - 1) * priced.parts + priced.room_value + 1)
            left = left and within_memory(self.pricer, left)
            stuck = left is not None and int((left.high - left.low).sum()) > (1 - WORTHWHILE) * width
            if (solved and stuck) or self.asked_to_stop():
                break
            proved, weights = weights, None
        if left is not None:
            self._push(value, left, weights or proved)

    def _push(self, value: int, region: PartitionRegion, weights: Multipliers | None) -> None:
        self.opened += 1
        heapq.heappush(self.heap, OpenRegion(value, self.opened, region, weights))

    def _too_wide(self, region: PartitionRegion) -> bool:
        """Whether a large program is better put off until the region is split."""
        if self.pricer.tables.stages * region.positions <= MOST_CELLS:
            return False
        counts, lengths = self._shares(region)
        return max(counts, lengths) > WIDE

    def _shares(self, region: PartitionRegion) -> tuple[float, float]:
        """How wide the counts and the lengths of the longest chunk are, as parts of their least."""
        lengths = (region.long - region.short) / region.short
        return region.optional / region.fewest, 0.0 if self.pricer.ample(region) else lengths

    def _split(self, parent: OpenRegion, target: int) -> None:
        """Halve the counts, the lengths of the longest chunk, or the interval of a boundary."""
        region, value, weights = parent.region, parent.value, parent.weights
        counts, lengths = self._shares(region)
        if region.optional and counts >= LENGTHS_FIRST * lengths:
            for fewest, most in halves_of_counts(region):
                part = whole_region(self.pricer, fewest, most)
                part = replace(part, short=max(part.short, region.short), long=min(part.long, region.long))
                if part.short <= part.long:
                    self._counts(part, target, value)
            return
        width = region.high - region.low
        split = int(width.argmax())
        if region.optional or lengths > width[split] / region.low[-1]:
            # Lengths far apart are halved by their ratio.
            for part in halves_of_lengths(region, math.isqrt(region.short * region.long)):
                self._open(part, target, value, weights)
        elif width[split]:
            if weights is not None and weights.scatter is not None:
                split = int(np.where(width > 0, weights.scatter, -np.inf).argmax())
            middle = int(region.low[split] + region.high[split]) // 2
            high, low = region.high.copy(), region.low.copy()
            high[split], low[split] = middle, middle + 1
            self._open(replace(region, high=high), target, value, weights)
            self._open(replace(region, low=low), target, value, weights)
        else:
            self.settled = True
            heapq.heappush(self.heap, parent)
