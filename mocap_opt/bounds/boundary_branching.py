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
from mocap_opt.bounds.region_rules import within_crossings, within_memory
from mocap_opt.bounds.traffic_program import TrafficProgram
from mocap_opt.flow_shop.partitions import NEVER
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.stopping import AskedToStop, StoppedError, never
from mocap_opt.tables.cost_tables import Tables

#: What the bound is called, by what it holds for.
BRANCHING = {Scope.ANY_EXECUTION: "boundary_branching", Scope.LOCKSTEP: "slot_branching"}
TRAFFIC_BRANCHING = {
    Scope.ANY_EXECUTION: "traffic_branching",
    Scope.LOCKSTEP: "slot_traffic_branching",
}
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
    traffic: bool = False,
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
    traffic : bool
        Whether KV on links and ports, and memories one by one, are mixed in.
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
    search = BoundarySearch(PartitionPricer(setting, PooledMemory.of(tables)), pairs, asked_to_stop, traffic)
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
            name = (TRAFFIC_BRANCHING if traffic else BRANCHING)[scope]
            best = Bound(name, value, scope, Evidence.LP_DUAL, search.note)
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
    traffic : bool
        Whether traffic is mixed in.
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
    traffic: bool = False
    programs: int = 0
    settled: bool = False
    note: str = ""
    heap: list[OpenRegion] = field(default_factory=list)
    opened: int = 0

    @cached_property
    def program(self) -> MultiplierProgram:
        """Finds weights without traffic."""
        return program_for(self.pricer)

    @cached_property
    def traffic_program(self) -> TrafficProgram:
        """Finds weights with traffic."""
        return TrafficProgram(self.pricer, self.asked_to_stop)

    def _weights(self, region: PartitionRegion, target: int) -> Multipliers:
        if self.traffic:
            return self.traffic_program.weights(region, target)
        return self.program.weights(region)

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
                weights = self._weights(left, target)
            priced = self.pricer.price(left, weights)
            before = priced.before()
            cost = int(before[-1][0])
            value = max(value, priced.ticks(cost))
            if cost == NEVER or value >= target:
                return
            width = int((left.high - left.low).sum())
            left = priced.below(before, priced.limit(target))
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
