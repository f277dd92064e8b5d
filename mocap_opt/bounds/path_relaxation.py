"""Mixtures of paths or slots and of pooled memory rows, minimised over all partitions.

Statements and proofs: ``formulations/bounds.md``, `path_relaxation` and `slot_mixture`.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace

import numpy as np

from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.multiplier_program import program_for
from mocap_opt.bounds.partition_pricing import PartitionPricer
from mocap_opt.bounds.partition_region import (
    Multipliers,
    OpenRegion,
    PartitionRegion,
    halves_of_counts,
    halves_of_lengths,
)
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.flow_shop.partitions import NEVER
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables

#: Linear programs before the search settles for what it has.
MOST_PROGRAMS = 40
#: Positions x steps^2 (32 x 1024^2) up to which that takes a few seconds.
MOST_WORK = 2**25
#: Stages x positions up to which a linear program takes well under a second.
MOST_CELLS = 1024


def path_relaxation(
    tables: Tables,
    *,
    most_work: int = MOST_WORK,
    most_cells: int = MOST_CELLS,
    asked_to_stop: AskedToStop = never,
) -> Bound | None:
    """Bound any execution by mixtures of paths and of pooled memory rows.

    Parameters
    ----------
    tables : Tables
    most_work : int
        Decline instances with more positions x steps^2.
    most_cells : int
        Decline instances with more stages x positions.
    asked_to_stop : callable
        Checked between linear programs; the bound is valid whenever the search stops.

    Returns
    -------
    Bound or None
        None if no plan keeps to count, lengths and pooled memory, or the instance is too large.
    """
    return _relaxation(
        "path_relaxation", Setting(tables), most_work=most_work, most_cells=most_cells, stop=asked_to_stop
    )


def slot_mixture(
    tables: Tables,
    *,
    most_work: int = MOST_WORK,
    most_cells: int = MOST_CELLS,
    asked_to_stop: AskedToStop = never,
) -> Bound | None:
    """Bound lockstep by mixtures of the stages of every slot and of pooled memory rows.

    Parameters
    ----------
    tables, most_work, most_cells, asked_to_stop
        As of `path_relaxation`.

    Returns
    -------
    Bound or None
        None if no plan keeps to count, lengths and pooled memory, or the instance is too large.
    """
    return _relaxation(
        "slot_mixture",
        Setting(tables, Scope.LOCKSTEP),
        most_work=most_work,
        most_cells=most_cells,
        stop=asked_to_stop,
    )


def _relaxation(
    name: str, setting: Setting, *, most_work: int, most_cells: int, stop: AskedToStop
) -> Bound | None:
    tables = setting.tables
    if not setting.counts or setting.counts[-1] * tables.steps**2 > most_work:
        return None
    if tables.stages * setting.counts[-1] > most_cells:
        return None
    search = MixtureSearch(PartitionPricer(setting, PooledMemory.of(tables)), asked_to_stop=stop)
    found = search.run()
    if found is None:
        return None
    return Bound(name, found.value, setting.scope, Evidence.LP_DUAL, found.note)


def whole_region(pricer: PartitionPricer, fewest: int, most: int) -> PartitionRegion:
    """All partitions with a range of counts.

    Parameters
    ----------
    pricer : PartitionPricer
    fewest, most : int
        Range of the counts.
    """
    limits = pricer.setting.limits
    low = np.concatenate([np.zeros(most - fewest, dtype=np.int64), limits.least_boundaries(fewest)])
    return PartitionRegion(
        fewest,
        low,
        np.maximum(low, limits.greatest_boundaries(most)),
        min(limits.shortest_longest(m) for m in range(fewest, most + 1)),
        max(limits.most if most > 1 else 0, limits.last_most),
    )


@dataclass(eq=False)
class MixtureSearch:
    """Best-first search over counts and lengths of the longest chunk.

    Attributes
    ----------
    pricer : PartitionPricer
    most_programs : int
        Linear programs to solve at most; the bound is valid whenever it stops.
    asked_to_stop : callable
        Checked between programs.
    programs : int
        Solved so far.
    """

    pricer: PartitionPricer
    most_programs: int = MOST_PROGRAMS
    asked_to_stop: AskedToStop = never
    programs: int = 0
    heap: list[OpenRegion] = field(default_factory=list)
    opened: int = 0

    def run(self) -> OpenRegion | None:
        """Search until the least region cannot be split to any avail; None if all are empty."""
        counts = self.pricer.setting.counts
        program = program_for(self.pricer)
        self.programs, self.heap, self.opened = 0, [], 0
        self._push(0, whole_region(self.pricer, counts[0], counts[-1]), None)
        while self.heap:
            least = heapq.heappop(self.heap)
            if least.weights is None:
                if self.programs == self.most_programs or self.asked_to_stop():
                    return least
                self.programs += 1
                weights = program.weights(least.region)
                value = self.value(least.region, weights)
                if value is not None:
                    self._push(max(value, least.value), least.region, weights)
            elif not self._split(least):
                return least
        return None

    def value(self, region: PartitionRegion, weights: Multipliers) -> int | None:
        """Ticks that weights prove for all plans of a region; None if it has no partition.

        Parameters
        ----------
        region : PartitionRegion
            With room in every memory.
        multipliers : Multipliers
            Any are valid; how much they prove depends on them.
        """
        priced = self.pricer.price(region, weights)
        cost = priced.least_cost()
        return None if cost == NEVER else max(0, priced.ticks(cost))

    def _push(self, value: int, region: PartitionRegion, weights: Multipliers | None) -> None:
        if region.short <= region.long and self.pricer.room(region) is not None:
            self.opened += 1
            heapq.heappush(self.heap, OpenRegion(value, self.opened, region, weights))

    def _split(self, parent: OpenRegion) -> bool:
        """Halve the counts, then the lengths of the longest chunk; False if neither is of use."""
        region, weights = parent.region, parent.weights
        assert weights is not None
        if region.optional:
            for fewest, most in halves_of_counts(region):
                part = whole_region(self.pricer, fewest, most)
                part = replace(part, short=max(part.short, region.short), long=min(part.long, region.long))
                self._push(parent.value, part, None)
            return True
        if region.short >= region.long or self.pricer.ample(region):
            return False
        for part in halves_of_lengths(region, (region.short + region.long) // 2):
            if self.pricer.room(part) is None:
                continue
            # The parent's weights prove something for the part at once.
            value = self.value(part, weights)
            if value is not None:
                self._push(max(value, parent.value), part, None)
        return True
