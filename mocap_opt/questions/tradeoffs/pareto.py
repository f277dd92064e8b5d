"""Latency against period: the plans that no other plan found beats in both (formulations/tradeoffs.md)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from mocap_opt.bounds import Scope, prove_infeasible
from mocap_opt.bounds.period import PartitionBound, period_bounds
from mocap_opt.errors import InputError
from mocap_opt.formulations.memory_limits import local_homes_always_fit
from mocap_opt.homes.greedy import home_orders, placed
from mocap_opt.questions.max_context.upper_bounds import path_bound
from mocap_opt.questions.tradeoffs.sweep import BOUNDING, LEAST_SHARE, NOT_REACHED, layout_choices
from mocap_opt.replay.evaluation import Execution, PeriodAssessment, assess_period
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.solving.incumbent import Progress
from mocap_opt.solving.period_search import best_period
from mocap_opt.stopping import Deadline
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables, require_bounded_queues

if TYPE_CHECKING:
    from mocap_opt.instance import Instance

MOST_PLANS = 300
"""Boundaries x spacings of a variant up to which all of them are replayed."""


@dataclass(frozen=True)
class Variant:
    """A layout with an exact count of chunks, and what is known of its plans.

    Attributes
    ----------
    overrides : tuple of str
        What makes the layout of the instance; empty for its own.
    stages, dies_per_stage, chunks : int
    latency_bound, period_bound : Fraction or None
        No plan of this variant has less in any execution, seconds; None if there is none to say so.
    outcome : str
        ``"searched"``, ``"pruned"`` (a plan found is no worse than both bounds), ``"infeasible"``,
        ``"no plan"`` or ``"not reached"``.
    """

    overrides: tuple[str, ...]
    stages: int
    dies_per_stage: int
    chunks: int
    latency_bound: Fraction | None
    period_bound: Fraction | None
    outcome: str = NOT_REACHED


@dataclass(frozen=True, eq=False)
class Point:
    """A plan in one of its executions.

    Attributes
    ----------
    latency, period : Fraction
        Of a request once requests follow each other, and from one request to the next, seconds.
    execution : Execution
    periodic : Schedule
    variant : Variant
    """

    latency: Fraction
    period: Fraction
    execution: Execution
    periodic: Schedule
    variant: Variant


@dataclass(frozen=True)
class Curve:
    """The plans found that no other one beats in both, and what no plan can do.

    Attributes
    ----------
    points : tuple of Point
        Latency rising, period falling.
    variants : tuple of Variant
        All of them, in the order they were looked at.
    """

    points: tuple[Point, ...]
    variants: tuple[Variant, ...]

    def period_bound(self, latency: Fraction) -> Fraction | None:
        """No plan of at most this latency has a smaller period, seconds; None if that is not known.

        A variant whose latency bound is above has no such plan; the others have their period bounds.
        """
        least: list[Fraction] = []
        for variant in self.variants:
            if variant.outcome == "infeasible":
                continue
            if variant.latency_bound is not None and variant.latency_bound > latency:
                continue
            if variant.period_bound is None:
                return None
            least.append(variant.period_bound)
        return min(least, default=None)

    def gap(self, point: Point) -> float | None:
        """(period - bound at its latency) / period; None if there is no bound."""
        bound = self.period_bound(point.latency)
        return (
            None if bound is None or not point.period else float(max(1 - bound / point.period, Fraction(0)))
        )


def front(points: Iterable[Point]) -> tuple[Point, ...]:
    """The points that no other one beats: as good in both and better in one; of equal ones the first."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.latency, p.period)):
        if not kept or point.period < kept[-1].period:
            kept.append(point)
    return tuple(kept)


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
        Wall time; the bounds of all variants may take `BOUNDING` of it, what they leave is shared.
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
    found_variants = _variants(instance, layouts, deadline.share(BOUNDING), begin)
    waiting = sorted(found_variants, key=lambda each: each[0].period_bound or 0)
    points: tuple[Point, ...] = ()
    settled: list[Variant] = []
    for number, (variant, tables, known) in enumerate(waiting):
        begin(f"variant {number + 1} of {len(waiting)}, {len(points)} points so far")
        # The first ones, of the least bounds, have time for a plan, however many are still waiting.
        share = deadline.share(max(1 / (len(waiting) - number), LEAST_SHARE))
        if variant.outcome != "infeasible" and _beaten(variant, points):
            variant = replace(variant, outcome="pruned")
        elif variant.outcome != "infeasible" and tables is not None and not deadline.expired:
            found = list(_explored(tables, share, gap, seed, known, callback))
            variant = replace(variant, outcome="searched" if found else "no plan")
            points = front([*points, *_points(found, variant, tables)])
        settled.append(variant)
        if tell is not None:
            tell(variant)
    return Curve(points, tuple(settled))


def _beaten(variant: Variant, points: Sequence[Point]) -> bool:
    """Whether some point is no worse than what the bounds leave to any plan of the variant."""
    latency, period = variant.latency_bound, variant.period_bound
    if latency is None or period is None:
        return False
    return any(point.latency <= latency and point.period <= period for point in points)


def _variants(
    instance: Instance, layouts: bool, deadline: Deadline, begin: Callable[[str], None]
) -> Iterator[tuple[Variant, Tables | None, dict[Scope, PartitionBound]]]:
    """Every layout that can be laid out, with every exact count and its bounds as far as there is time."""
    choices = layout_choices(instance) if layouts else [()]
    for number, overrides in enumerate(choices):
        begin(f"bounds of layout {number + 1} of {len(choices)}")
        laid_out = instance.replace(*overrides) if overrides else instance
        shape = laid_out.pipeline.stages, laid_out.pipeline.dies[0]
        if deadline.interrupted or (number and deadline.expired):
            # Laying out hundreds takes longer than what is left; the first one is looked at in any case.
            yield Variant(overrides, *shape, laid_out.chunking.max_chunks, None, None), None, {}
            continue
        try:
            tables = build_tables(laid_out)
        except InputError:
            if not overrides:
                raise
            # Living dies may not form connected stages of this size: not a layout of this wafer.
            continue
        require_bounded_queues(tables)
        by_slots = period_bounds(tables, deadline.share(max(1 / (len(choices) - number), LEAST_SHARE)))[1]
        for chunks in tables.counts:
            exact = replace(tables, max_chunks=chunks, exact_chunks=True)
            known = {scope: partition.only(chunks) for scope, partition in by_slots.items()}
            over_all = known.get(Scope.ANY_EXECUTION)
            period = None if over_all is None else over_all.at()
            # Bounds that know the count are silent only where they leave it no plan at all.
            late = deadline.expired
            hopeless = over_all is not None and period is None
            if hopeless or (not late and prove_infeasible(exact, deadline) is not None):
                yield Variant(overrides, *shape, chunks, None, None, "infeasible"), exact, known
                continue
            least = [
                None if ticks is None else ticks * tables.tick_s
                for ticks in (None if late else path_bound(exact, deadline), period)
            ]
            yield Variant(overrides, *shape, chunks, least[0], least[1]), exact, known


def _explored(
    tables: Tables,
    deadline: Deadline,
    gap: float,
    seed: int,
    known: dict[Scope, PartitionBound],
    callback: Callable[[Progress], None] | None,
) -> Iterator[PeriodAssessment]:
    """Plans of a variant: all boundaries and spacings if they are few, and what the search replays.

    Where memory is no obstacle the former are all there is, since moving KV only adds traffic.
    """
    if comb(tables.steps - 1, tables.max_chunks - 1) * tables.stages <= MOST_PLANS:
        yield from _all_plans(tables)
        if local_homes_always_fit(tables, endless=True):
            return
    search = best_period(tables, deadline=deadline, gap=gap, seed=seed, known=known, callback=callback)
    yield from search.judged


def _all_plans(tables: Tables) -> Iterator[PeriodAssessment]:
    orders = home_orders(tables)
    for cuts in combinations(range(1, tables.steps), tables.max_chunks - 1):
        indices = np.array([0, *cuts, tables.steps], dtype=np.int64)
        for slots in range(tables.max_chunks, tables.max_chunks + tables.stages):
            for periodic in dict.fromkeys(placed(tables, indices, slots, order) for order in orders):
                if periodic is not None:
                    yield assess_period(periodic)


def _points(found: Iterable[PeriodAssessment], variant: Variant, tables: Tables) -> Iterator[Point]:
    """Either execution of every plan."""
    tick = tables.tick_s
    for each in found:
        lockstep, event = each.lockstep, each.event
        yield Point(
            lockstep.latency * tick, lockstep.period * tick, Execution.LOCKSTEP, each.periodic, variant
        )
        if event.period is not None and event.latency is not None:
            yield Point(event.latency * tick, event.period * tick, Execution.EVENT, each.periodic, variant)
