"""Latency against period: the plans that no other plan found beats in both (formulations/tradeoffs.md)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain, combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from mocap_opt.bounds import Scope, prove_infeasible
from mocap_opt.bounds.period import PartitionBound, closed_forms, period_bounds
from mocap_opt.errors import InputError
from mocap_opt.formulations.presolve import local_homes_always_fit
from mocap_opt.homes.greedy import home_orders, periodic_schedule
from mocap_opt.questions.max_context.upper_bounds import path_bound
from mocap_opt.questions.tradeoffs.axes import front
from mocap_opt.questions.tradeoffs.curve import Curve, Point, Variant
from mocap_opt.questions.tradeoffs.layout_choices import laid_out, layout_choices, own_layout
from mocap_opt.questions.tradeoffs.result import (
    FIRST_PLAN,
    INFEASIBLE,
    NO_PLAN,
    NOT_PLACED,
    NOT_REACHED,
    PRUNED,
    SEARCHED,
)
from mocap_opt.replay.evaluation import Assessment, Execution, assess_schedule
from mocap_opt.replay.steady_state import EventPeriod
from mocap_opt.search.period_starts import starts
from mocap_opt.solving.incumbent import Progress
from mocap_opt.solving.period_search import best_period
from mocap_opt.stopping import Deadline
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables, require_bounded_queues

if TYPE_CHECKING:
    from mocap_opt.instance import Instance

MOST_PLANS = 300
"""Boundaries x spacings of a variant up to which all of them are replayed."""

LOOKING = 0.3
"""Part of the time in which layouts are laid out and get a first plan each."""

BOUNDING = 0.4
"""Part of the time left that the bounds of all counts may take."""

PLANNING = 0.5
"""Part of the time left after the bounds in which counts get a first plan each, before any is searched."""

SHARE = 0.2
"""Part of the time of a step that a variant may take at least, however many are still waiting."""


def latency_and_period(
    instance: Instance,
    *,
    layouts: bool,
    time_limit_s: float = 60.0,
    gap: float = 1e-4,
    seed: int = 0,
    stop: threading.Event | None = None,
    tell: Callable[[Variant], None] | None = None,
    begin: Callable[[str], None] = lambda doing: None,
    callback: Callable[[Progress], None] | None = None,
) -> Curve:
    """Look for the plans of small latency and small period, count of chunks by count of chunks.

    Parameters
    ----------
    instance : Instance
    layouts : bool
        Whether stages and dies per stage vary too.
    time_limit_s : float
        Wall time; a look at every layout may take `LOOKING` of it, bounds of counts `BOUNDING` of what is
        left, first plans of counts `PLANNING` of the rest, and searches share what remains.
    gap, seed
        As for `mocap_opt.solving.period_search.best_period`.
    stop : threading.Event, optional
        Set it from outside to stop early.
    tell : callable, optional
        Called with every variant as it is settled.
    begin : callable
        Called, in words, with what is being done.
    callback : callable, optional
        Told how the search of a variant gets on.

    Raises
    ------
    InputError
        If queues are unbounded, or the layout cannot be varied.
    """
    deadline = Deadline(time_limit_s, stop)
    search = _Search(deadline, begin)
    search.look_at_layouts(instance, layouts)
    search.bound_counts()
    search.plan_first()
    search.search(lambda each, late: _explored(each, late, gap, seed, callback), tell)
    return Curve(search.points, tuple(each.variant for each in search.waiting))


@dataclass(eq=False)
class _Waiting:
    """A variant, its tables (None where it was not laid out) and what is known of it.

    Attributes
    ----------
    variant : Variant
    tables : Tables or None
    known : dict of Scope to PartitionBound
    """

    variant: Variant
    tables: Tables | None = None
    known: dict[Scope, PartitionBound] = field(default_factory=dict)

    @property
    def planned(self) -> bool:
        """Whether a plan of it was found."""
        return self.variant.outcome in (FIRST_PLAN, SEARCHED)

    def settle(self, outcome: str) -> None:
        """Say how it ended, or how far it got."""
        self.variant = replace(self.variant, outcome=outcome)


class _Search:
    """Variants with what is known of them, and the curve so far.

    A plan without a search takes as long as a bound.  So every layout gets one first, then every count of
    the layouts of the least bounds, and what time is left goes to searches.

    Parameters
    ----------
    deadline : Deadline
    begin : callable
        Called, in words, with what is being done.
    """

    def __init__(self, deadline: Deadline, begin: Callable[[str], None]) -> None:
        self._deadline, self._begin = deadline, begin
        self.waiting: list[_Waiting] = []
        self.points: tuple[Point, ...] = ()

    def _shares(
        self, waiting: Sequence[_Waiting], part: float, doing: str, least: float = SHARE
    ) -> Iterator[tuple[_Waiting, Deadline]]:
        """Each with its share of a part of the time left, never less than `least` of what is left of it."""
        whole = self._deadline.share(part)
        for number, each in enumerate(waiting):
            so_far = f", {len(self.points)} points so far" if self.points else ""
            self._begin(f"{doing} {number + 1} of {len(waiting)}{so_far}")
            yield each, whole.share(max(1 / (len(waiting) - number), least))

    def look_at_layouts(self, instance: Instance, layouts: bool) -> None:
        """Lay out what there is time for: is it hopeless, a bound, and a first plan of any count.

        The first layout is looked at in any case.

        Parameters
        ----------
        instance : Instance
        layouts : bool
            Whether other layouts than its own are looked at.

        Raises
        ------
        InputError
            If queues are unbounded, or the layout cannot be varied.
        """
        swept = layouts or instance.pipeline.free
        for layout in layout_choices(instance) if swept else [own_layout(instance)]:
            shape = layout.overrides, layout.stages, layout.dies_per_stage, instance.chunking.max_chunks
            outcome = NOT_PLACED if layout.problem else NOT_REACHED
            self.waiting.append(_Waiting(Variant(*shape, None, None, outcome, layout.problem)))
        placed = tuple(each for each in self.waiting if each.variant.outcome == NOT_REACHED)
        for each, late in self._shares(placed, LOOKING, "layout", 1.0):
            first = each is placed[0]
            if late.interrupted or (late.expired and not first):
                # Laying out hundreds may take longer than there is time.
                continue
            try:
                each.tables = build_tables(laid_out(instance, each.variant.overrides))
            except InputError as error:
                if not each.variant.overrides:
                    raise
                each.variant = replace(each.variant, outcome=NOT_PLACED, reason=str(error))
                continue
            require_bounded_queues(each.tables)
            if prove_infeasible(each.tables, late) is not None:
                each.settle(INFEASIBLE)
            elif not late.expired:
                least = max(bound.ticks for bound in closed_forms(each.tables)) * each.tables.tick_s
                each.variant = replace(each.variant, period_bound=least)
                self._plan(each, late)

    def bound_counts(self) -> None:
        """Take layouts apart into exact counts with bounds of their own, by the layouts' bounds."""
        order = sorted(self.waiting, key=lambda each: _last_if_unknown(each.variant.period_bound))
        found: list[_Waiting] = []
        planned = {(point.variant.overrides, point.variant.chunks) for point in self.points}
        for each, late in self._shares(order, BOUNDING, "bounds of layout"):
            if each.tables is None or late.expired or each.variant.outcome == INFEASIBLE:
                found.append(each)
                continue
            by_slots = period_bounds(each.tables, late.share(BOUNDING))[1]
            for chunks in each.tables.counts:
                found.append(_bounded(each, chunks, by_slots, late))
                if (each.variant.overrides, chunks) in planned:
                    found[-1].settle(FIRST_PLAN)
        self.waiting = _alternating(found)

    def plan_first(self) -> None:
        """Give every variant that can still win a plan without a search."""
        for each, late in self._shares(self.waiting, PLANNING, "first plan of variant"):
            if not late.expired and not self._beaten(each.variant):
                self._plan(each, late)

    def _plan(self, each: _Waiting, late: Deadline) -> None:
        if each.tables is None or each.variant.outcome != NOT_REACHED:
            return
        made = next((periodic for periodic, _ in starts(each.tables, (), late)), None)
        each.settle(NO_PLAN)
        if made is not None:
            self._take(each, [assess_schedule(made)], FIRST_PLAN)

    def search(
        self,
        explore: Callable[[_Waiting, Deadline], Iterable[Assessment]],
        tell: Callable[[Variant], None] | None,
    ) -> None:
        """Search what can still win; nothing is left to gain where a point meets both bounds.

        Parameters
        ----------
        explore : callable
            Searches a variant until a deadline, and returns the plans it replayed.
        tell : callable or None
            Told of every variant as it is settled.
        """
        for each, late in self._shares(self.waiting, 1.0, "variant"):
            if each.tables is not None and each.variant.outcome != INFEASIBLE:
                if self._beaten(each.variant):
                    each.settle(each.variant.outcome if each.planned else PRUNED)
                elif not late.expired:
                    self._take(each, explore(each, late), SEARCHED)
            if tell is not None:
                tell(each.variant)

    def _take(self, each: _Waiting, found: Iterable[Assessment], outcome: str) -> None:
        """Add plans to the curve; the outcome is as said if there are any."""
        assert each.tables is not None
        plans = list(found)
        each.settle(outcome if plans or each.planned else NO_PLAN)
        every = [*self.points, *_points(plans, each.variant, each.tables)]
        self.points = front(every, lambda point: (point.latency, point.period))

    def _beaten(self, variant: Variant) -> bool:
        """Whether some point is no worse than what the bounds leave to any plan of the variant."""
        latency, period = variant.latency_bound, variant.period_bound
        if latency is None or period is None:
            return False
        return any(point.latency <= latency and point.period <= period for point in self.points)


def _last_if_unknown(bound: Fraction | None) -> tuple[bool, Fraction]:
    return bound is None, bound or Fraction(0)


def _alternating(waiting: Sequence[_Waiting]) -> list[_Waiting]:
    """Least period bound and least latency bound in turn, those without a bound last."""
    by_period = sorted(waiting, key=lambda each: _last_if_unknown(each.variant.period_bound))
    by_latency = sorted(waiting, key=lambda each: _last_if_unknown(each.variant.latency_bound))
    return list(dict.fromkeys(chain.from_iterable(zip(by_period, by_latency, strict=True))))


def _bounded(
    layout: _Waiting, chunks: int, by_slots: Mapping[Scope, PartitionBound], late: Deadline
) -> _Waiting:
    """A count of a layout with the bounds that there is time for."""
    assert layout.tables is not None
    tables = replace(layout.tables, max_chunks=chunks, exact_chunks=True)
    known = {scope: partition.only(chunks) for scope, partition in by_slots.items()}
    variant = replace(layout.variant, chunks=chunks, outcome=NOT_REACHED)
    over_all = known.get(Scope.ANY_EXECUTION)
    period = None if over_all is None else over_all.at()
    # Bounds that know the count are silent only where they leave it no plan at all.
    hopeless = over_all is not None and period is None
    if hopeless or (not late.expired and prove_infeasible(tables, late) is not None):
        variant = replace(variant, period_bound=None, outcome=INFEASIBLE)
        return _Waiting(variant, tables, known)
    latency = None if late.expired else path_bound(tables, late)
    if latency is not None:
        variant = replace(variant, latency_bound=latency * tables.tick_s)
    if period is not None:
        least = max(period * tables.tick_s, layout.variant.period_bound or Fraction(0))
        variant = replace(variant, period_bound=least)
    return _Waiting(variant, tables, known)


def _explored(
    each: _Waiting,
    deadline: Deadline,
    gap: float,
    seed: int,
    callback: Callable[[Progress], None] | None,
) -> Iterator[Assessment]:
    """Plans of a variant: all boundaries and spacings if they are few, and what the search replays.

    Where memory is no obstacle the former are all there is, since moving KV only adds traffic.
    """
    tables, known = each.tables, each.known or None
    assert tables is not None
    few = comb(tables.steps - 1, tables.max_chunks - 1) * tables.stages <= MOST_PLANS
    if tables.exact_chunks and few:
        yield from _all_plans(tables, deadline)
        if local_homes_always_fit(tables, endless=True):
            return
    search = best_period(tables, deadline=deadline, gap=gap, seed=seed, known=known, callback=callback)
    yield from search.judged


def _all_plans(tables: Tables, late: Deadline) -> Iterator[Assessment]:
    orders = home_orders(tables)
    for cuts in combinations(range(1, tables.steps), tables.max_chunks - 1):
        indices = np.array([0, *cuts, tables.steps], dtype=np.int64)
        for slots in range(tables.max_chunks, tables.max_chunks + tables.stages):
            for periodic in dict.fromkeys(
                periodic_schedule(tables, indices, slots, order) for order in orders
            ):
                if late.expired:
                    return
                if periodic is not None:
                    yield assess_schedule(periodic)


def _points(found: Iterable[Assessment], variant: Variant, tables: Tables) -> Iterator[Point]:
    """Either execution of every plan."""
    tick = tables.tick_s
    for each in found:
        lockstep, event, periodic = each.lockstep, each.event, each.schedule
        exact = replace(variant, chunks=periodic.plan.chunks)
        yield Point(lockstep.latency * tick, lockstep.period * tick, Execution.LOCKSTEP, periodic, exact)
        if isinstance(event, EventPeriod) and event.period is not None and event.latency is not None:
            yield Point(event.latency * tick, event.period * tick, Execution.EVENT, periodic, exact)
