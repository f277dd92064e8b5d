"""Where links are scarce: homes that share them out, and moves of boundaries and homes that are replayed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from mocap_opt.assess import assess
from mocap_opt.heuristics import estimate
from mocap_opt.heuristics.contended_search import improve_contended
from mocap_opt.heuristics.estimate import contention_free_latency
from mocap_opt.heuristics.fluid import fluid
from mocap_opt.heuristics.home_search import improve_homes
from mocap_opt.plan import Plan
from mocap_opt.solving.state import SearchState
from mocap_opt.stopping import StoppedError

SHARE = 0.2
"""Part of the time left that each of these steps may take."""

WORTH = Fraction(1, 1000)
"""Least part of the latency that traffic has to cost for boundaries to get other homes."""


def without_traffic(state: SearchState, plan: Plan) -> Fraction:
    """What no homes of a plan's boundaries can beat, ticks."""
    return Fraction(contention_free_latency(state.tables, Plan(plan.boundaries)))


@dataclass(eq=False)
class LinkRelief:
    """Steps of a solve that make the best plan's traffic cost less.

    Attributes
    ----------
    state : SearchState
    placed : set of tuple of int
        Boundaries that have had homes by `fluid`.
    """

    state: SearchState
    placed: set[tuple[int, ...]] = field(default_factory=set)

    @property
    def congested(self) -> bool:
        """Whether traffic costs the best plan latency; waiting for memory is another matter."""
        best, latency = self.state.best, self.state.best_latency
        if best is None or latency is None or not best.plan.homes:
            return False
        return latency - estimate.without_traffic(self.state.tables, best.plan) > WORTH * latency

    def place(self, plans: Sequence[tuple[str, Plan]]) -> None:
        """Give the boundaries of plans homes that share out the links, where that can make a better plan.

        Parameters
        ----------
        plans : sequence of (str, Plan)
            Where they come from, and the plans; those that take least without traffic go first.
        """
        asked_to_stop = self.state.deadline(SHARE)
        for least, source, plan in sorted(
            ((without_traffic(self.state, plan), source, plan) for source, plan in plans if plan.homes),
            key=lambda entry: entry[:2],
        ):
            latency = self.state.best_latency
            if asked_to_stop() or latency is None or latency - least <= WORTH * latency:
                break
            if plan.boundaries in self.placed:
                continue
            self.placed.add(plan.boundaries)
            indices = plan.grid_indices(self.state.tables)
            try:
                pages = fluid(self.state.tables, indices, asked_to_stop).pages
            except StoppedError:
                break
            if pages is not None:
                found = Plan.from_arrays(self.state.tables, indices, pages, plan.fingerprint)
                self.state.offer(found, f"{source} + links shared out")

    def place_best(self) -> None:
        """The same for the boundaries of the best plan."""
        if self.state.best is not None and self.congested:
            self.place([(self.state.best_source or "", self.state.best.plan)])

    def move_boundaries(self, seed: int) -> None:
        """Local search on boundaries, each with homes that share out the links."""
        if self.state.done or self.state.best is None or not self.congested:
            return
        plan = self.state.best.plan
        better = improve_contended(
            self.state.tables, plan, self._latency, seed=seed, asked_to_stop=self.state.deadline(SHARE)
        )
        if better is not plan:
            self.state.offer(better, f"{self.state.best_source} + boundaries moved")

    def move_homes(self) -> None:
        """Move single homes of the best plan where contention holds it above what it takes without."""
        if self.state.done or self.state.best is None or not self.state.best.plan.homes:
            return
        plan = self.state.best.plan
        better = improve_homes(
            self.state.tables,
            plan,
            self._latency,
            target=without_traffic(self.state, plan),
            asked_to_stop=self.state.deadline(SHARE),
        )
        if better is not plan:
            self.state.offer(better, f"{self.state.best_source} + homes moved")

    def _latency(self, plan: Plan) -> Fraction:
        return assess(self.state.tables, plan).latency_in(self.state.execution)
