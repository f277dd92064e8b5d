"""Like stages as a ladder of levels: a bound, and the chunks that faster plans may have.

Statement and proof: ``formulations/ladder.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.ladder_costs import LadderCosts
from mocap_opt.bounds.ladder_search import LadderRegion, LadderSearch
from mocap_opt.bounds.stage_work import LeastTotal
from mocap_opt.flow_shop.arc_set import ArcSet
from mocap_opt.flow_shop.chunk_times import alike
from mocap_opt.formulations.chunk_graph import ChunkGraph, chunk_graph
from mocap_opt.lower_bound import Bound, Evidence
from mocap_opt.stopping import AskedToStop, StoppedError, never
from mocap_opt.tables.cost_tables import Tables

GROWTH = 8
"""Without a plan, targets lie this part above what is proved."""

MOST_TARGETS = 60
"""Targets that are tried without a plan."""


@dataclass(frozen=True, eq=False)
class Ladder:
    """What the ladder proves about plans faster than a target.

    Attributes
    ----------
    costs : LadderCosts
        What it goes by, and with that the executions it covers.
    target : int, ticks
    ticks : int
        At most the target; no feasible plan is faster.
    arcs : ArcSet
        Chunks of feasible plans faster than the target; empty where there are none.
    regions : tuple of LadderRegion
        Intervals of the longest chunk that are left.
    all_arcs : int
        Chunks that limits on lengths and counts allow.
    """

    costs: LadderCosts
    target: int
    ticks: int
    arcs: ArcSet
    regions: tuple[LadderRegion, ...]
    all_arcs: int

    @property
    def partitions(self) -> list[IntArray]:
        """Partitions that were come upon, int64[chunks + 1], least latency with KV at home first."""
        found = [listed for region in self.regions for listed in region.partitions]
        return [boundaries for _, boundaries in sorted(found, key=lambda each: (each[0], each[1].tolist()))]

    def bound(self) -> Bound:
        """What no plan beats."""
        note = f"{self.arcs.size} of {self.all_arcs} arcs left"
        return Bound(self.costs.name, self.ticks, self.costs.scope, Evidence.SEARCH, note)


def climb(
    tables: Tables,
    target: int,
    asked_to_stop: AskedToStop = never,
    kind: Callable[[Tables], LadderCosts] = LadderCosts,
) -> Ladder | None:
    """Bound plans and list the chunks of those that are faster than a target.

    Parameters
    ----------
    tables : Tables
    target : int, ticks
        Any number: a feasible plan faster than it makes the bound lower than it.
    asked_to_stop : callable
        Asked often; what was proved until then stands.
    kind : callable
        Makes the costs of an instance: those of lockstep, or of another execution.

    Returns
    -------
    Ladder or None
        None if stages are unlike, or no plan keeps to the limits on lengths.

    Raises
    ------
    StoppedError
        If asked to stop before anything was proved.
    OverBudgetError
        If tables of all chunks, or of all boundaries and levels, would outgrow the memory budget.
    """
    setting = Setting(tables)
    if not setting.counts or not alike(tables):
        return None
    costs = kind(tables)
    search = LadderSearch(setting, costs, target, asked_to_stop)
    regions = search.run()
    nothing = np.empty(0, dtype=np.int64)
    arcs = ArcSet.of(tables.steps, [(nothing, nothing)] * search.positions)
    for region in regions:
        arcs = arcs.joined(region.arcs)
    ticks = min((region.ticks for region in regions), default=target)
    return Ladder(costs, target, min(ticks, target), arcs, regions, search.all_arcs)


def ladder(
    tables: Tables,
    asked_to_stop: AskedToStop = never,
    kind: Callable[[Tables], LadderCosts] = LadderCosts,
) -> Bound | None:
    """Bound like stages without a plan, by rising targets.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        Asked often; what was proved until then stands.
    kind : callable
        As for `climb`.

    Raises
    ------
    OverBudgetError
        As for `climb`.
    """
    setting = Setting(tables)
    if not setting.counts or not alike(tables):
        return None
    total = LeastTotal.of(tables, setting.limits, setting.counts, 0, 0)
    works = [total.at(setting.limits.least_boundaries(count)) for count in setting.counts]
    guesses = [work + (tables.stages - 1) * work // m for m, work in zip(setting.counts, works, strict=True)]
    target, best = min(guesses) + 1, None
    for _ in range(MOST_TARGETS):
        target += target // GROWTH + 1
        try:
            found = climb(tables, target, asked_to_stop, kind)
        except StoppedError:
            break
        if found is None:
            break
        bound = found.bound()
        best = bound if best is None or bound.ticks > best.ticks else best
        if found.ticks < target or asked_to_stop():
            break
    return best


def lockstep_graph(
    tables: Tables, no_worse_than: int | None, asked_to_stop: AskedToStop = never
) -> ChunkGraph:
    """Chunks that feasible plans no worse than a lockstep latency may have, as a program walks through them.

    Parameters
    ----------
    tables : Tables
    no_worse_than : int or None, ticks
        None: of all plans.
    asked_to_stop : callable
        Once it says True, more chunks than need be are left.

    Returns
    -------
    ChunkGraph
        By the ladder where stages are alike, else by `chunk_graph`.

    Raises
    ------
    OverBudgetError
        If the tables of all chunks would outgrow the memory budget.
    """
    if no_worse_than is not None:
        try:
            found = climb(tables, no_worse_than + 1, asked_to_stop)
        except StoppedError:
            found = None
        if found is not None:
            return ChunkGraph.of(found.arcs)
    return chunk_graph(tables, no_worse_than=no_worse_than)
