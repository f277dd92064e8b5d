"""Bounds on the period: below brute force and every plan, and near it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from builders import make_tables
from period_cases import COUNT, adversaries, instances, least, optima

from mocap_opt.bounds import Bound, Scope
from mocap_opt.bounds.period import period_bounds
from mocap_opt.replay.evaluation import assess_period
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.solving.period_search import best_period
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True)
class Solved:
    tables: Tables
    bounds: list[Bound]
    lockstep: int
    reported: Fraction


@cache
def solved() -> list[Solved]:
    """Tiny instances with all their bounds, the best lockstep period and the best known of any execution."""
    cases = []
    for number in range(COUNT):
        tables, found = instances()[number], optima(number)
        best = least(found)
        if best is not None:
            plans = [Schedule.of(tables, b.plan, b.slots) for b in found.values() if b is not None]
            reported = min(assess_period(plan).period for plan in plans)
            cases.append(Solved(tables, period_bounds(tables)[0], best.value, reported))
    return cases


def test_no_optimum_beats_a_bound() -> None:
    for case in solved():
        for bound in case.bounds:
            limit = case.lockstep if bound.scope is Scope.LOCKSTEP else case.reported
            assert bound.ticks <= limit, (bound, case.tables.name)


def test_bounds_by_spacing_hold_for_every_spacing() -> None:
    for number in range(60):
        tables = instances()[number]
        _, by_slots = period_bounds(tables)
        for slots, known in optima(number).items():
            if known is not None:
                bound = by_slots[Scope.LOCKSTEP].at(slots)
                assert bound is not None
                assert bound <= known.value, tables.name


def test_no_random_or_locally_optimal_plan_beats_a_bound_in_either_replay() -> None:
    checked = 0
    bounds: dict[str, list[Bound]] = {}
    for tables, periodic in adversaries():
        if tables.name not in bounds:
            bounds[tables.name] = period_bounds(tables)[0]
        found = assess_period(periodic)
        checked += 1
        for bound in bounds[tables.name]:
            assert bound.ticks <= found.lockstep.period, (bound, tables.name)
            if bound.scope is Scope.ANY_EXECUTION and found.event.steady:
                assert bound.ticks <= found.period, (bound, tables.name)
    assert checked >= 20


def test_two_per_cent_more_would_be_wrong() -> None:
    # A link that carries activations all the time, and a stage that does nothing but compute.
    busy = make_tables(
        stages=2,
        tokens=40,
        quantum=20,
        activation_bytes=5,
        link_rate=1,
        linear=1,
        queue_depth=2,
        max_chunks=2,
    )
    even = make_tables(stages=2, tokens=40, quantum=20, linear=5, queue_depth=1, max_chunks=1)
    extra = []
    for tables in (busy, even):
        best = best_period(tables).best
        assert best is not None
        extra.append(Solved(tables, period_bounds(tables)[0], best.lockstep.period, best.period))
    near = {
        bound.name
        for case in [*solved(), *extra]
        for bound in case.bounds
        for limit in [case.lockstep if bound.scope is Scope.LOCKSTEP else case.reported]
        if limit >= 50 and bound.ticks * Fraction(102, 100) > limit
    }
    assert near == {"compute_total", "link_load", "work_and_memory", "slots_and_memory"}


def test_memory_time_bounds_more_than_work() -> None:
    # One chunk of 40 ticks a stage, four bytes there meanwhile; both memories together hold six.
    tables = make_tables(
        stages=2, tokens=4, linear=10, token_bytes=1, capacity=[3, 3], queue_depth=1, max_chunks=1
    )
    bounds = {bound.name: bound.ticks for bound in period_bounds(tables)[0]}
    assert bounds["compute_total"] == 40
    assert bounds["work_and_memory"] == 2 * 4 * 40 // 6
    best = best_period(tables).best
    assert best is not None
    # So the two stages take turns.
    assert (best.period, best.periodic.slots) == (80, 2)
