"""The search for the period and its parts: homes, the estimate, local search, the programs in it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from builders import make_tables
from period_cases import adversaries, instances, least, optima
from random_plans import random_plan
from random_tables import with_unlimited_rates

from mocap_opt.bounds import Scope
from mocap_opt.bounds.period import period_bounds
from mocap_opt.flow_shop.chunk_times import chunk_times
from mocap_opt.formulations.presolve import slot_range
from mocap_opt.homes.cyclic_reach import schedule_within_reach
from mocap_opt.homes.greedy import home_orders, periodic_schedule, pooled_fit
from mocap_opt.replay.steady_state import run_steady
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.search.period_homes import WithinReach, harmless_homes, housed
from mocap_opt.search.period_local_search import improve, perturb
from mocap_opt.search.period_pricing import Residence, steady_period, steady_periods
from mocap_opt.search.period_starts import starts, starts_within_reach
from mocap_opt.solving.period_search import PeriodSearch, best_period
from mocap_opt.stopping import Deadline
from mocap_opt.tables.cost_tables import Tables


@pytest.mark.parametrize("step", [12, pytest.param(3, marks=pytest.mark.slow)])
def test_best_period_of_tiny_instances_is_never_worse_than_brute_force_in_lockstep(step: int) -> None:
    for number in range(0, 60, step):
        best = least(optima(number))
        search = best_period(instances()[number], deadline=Deadline(20.0), gap=0.0)
        if best is None:
            assert search.best is None
            assert search.infeasible is not None
        else:
            assert search.best is not None
            assert search.best.period <= best.value


def test_homes_placed_in_a_cycle_fit() -> None:
    tables = make_tables(
        stages=4, tokens=8, max_chunks=4, token_bytes=1, capacity=[5, 5, 20, 20], queue_depth=1
    )
    for order in home_orders(tables):
        found = periodic_schedule(tables, np.array([0, 2, 4, 6, 8]), 4, order)
        assert found is not None
        assert found.plan.homes
        assert schedule_violations(found) == []


def test_homes_within_reach_keep_to_it() -> None:
    tables = make_tables(
        stages=4, tokens=8, max_chunks=4, token_bytes=1, capacity=[5, 5, 20, 20], queue_depth=1
    )
    indices = np.array([0, 2, 4, 6, 8])
    before = np.arange(4)[:, None] - np.arange(4)

    def found(reach: np.ndarray) -> Schedule | None:
        return schedule_within_reach(tables, indices, 4, np.repeat(reach[:, None], 4, axis=1))

    # Memories 0 and 1 are short of three pages each.
    assert found(before >= 0) is None
    near = found((before <= 0) & (before >= -2))
    assert near is not None
    assert schedule_violations(near) == []
    assert {home.memory - home.stage for home in near.plan.homes} <= {1, 2}
    assert sum(home.pages for home in near.plan.homes) == 6
    reached = [periodic for periodic, _ in starts_within_reach(tables, [near])]
    assert reached
    for periodic in reached:
        assert schedule_violations(periodic) == []
        assert periodic.plan.boundaries == near.plan.boundaries


def test_no_harmless_homes_make_a_chunk_wait() -> None:
    rng = np.random.default_rng(17)
    away = 0
    for number in range(12):
        tables = tight(rng, number)
        indices = np.array([0, *sorted(rng.choice(np.arange(1, 24), 7, replace=False).tolist()), 24])
        for back in range(3):
            slots = 8 + number % 2
            reach = harmless_homes(tables, indices, slots, back)
            work, send = (each[None] for each in chunk_times(tables, indices))
            base = steady_periods(tables, work, send, Residence.within(4, 8, back), slots)
            # All of them at once, and a few at a time.
            for part in (1.0, 0.5, 0.2):
                brings = reach & (rng.random(reach.shape) < part)
                residence = Residence(brings, brings.any(axis=1))
                away += int(brings.sum())
                assert steady_periods(tables, work, send, residence, slots) <= base
            found = housed(tables, indices, slots, WithinReach(back))
            assert found is None or schedule_violations(found) == []
    assert away >= 500


def test_the_estimate_is_the_replay_where_nothing_contends() -> None:
    compared = waited = 0
    for tables, periodic in adversaries():
        free = with_unlimited_rates(tables)
        event = run_steady(Schedule.of(free, periodic.plan, periodic.slots))
        if event.period is None or event.cycle != 1:
            continue
        # The estimate rounds every chunk's traffic up to a tick, and a cycle may pass each a few times.
        more = steady_period(free, periodic.plan, periodic.slots) - float(event.period)
        assert -1e-6 <= more <= 2 * tables.stages * periodic.plan.chunks, tables.name
        compared += 1
        local = Schedule.of(tables, Plan(periodic.plan.boundaries), periodic.slots)
        waited += steady_period(free, local.plan, local.slots) < event.period
    assert compared >= 15
    assert waited >= 1


def test_boundaries_of_feasible_plans_fit_the_memories_together() -> None:
    feasible = ruled_out = 0
    rng = np.random.default_rng(8)
    for number in range(60):
        tables = instances()[number]
        for slots, known in optima(number).items():
            if known is not None:
                assert pooled_fit(tables, known.plan.grid_indices(tables)[None], slots)[0], tables.name
                feasible += 1
        for _ in range(4):
            plan = random_plan(tables, rng)
            if plan is None:
                break
            for slots in range(plan.chunks, plan.chunks + tables.stages):
                fits = bool(pooled_fit(tables, plan.grid_indices(tables)[None], slots)[0])
                assert fits or schedule_violations(Schedule.of(tables, plan, slots)), tables.name
                ruled_out += not fits
    assert feasible >= 100
    assert ruled_out >= 10


def tight(rng: np.random.Generator, number: int) -> Tables:
    """Four stages that cannot keep what they make, together just enough room."""
    return make_tables(
        stages=4,
        tokens=24,
        max_chunks=8,
        linear=10,
        quadratic=1,
        constant=5,
        token_bytes=1,
        working_bytes=int(rng.integers(0, 2)),
        capacity=[int(c) for c in rng.integers(22, 32, 4)],
        queue_depth=2,
        name=f"tight {number}",
    )


def test_local_search_never_worsens_and_keeps_to_the_memory_rows() -> None:
    rng = np.random.default_rng(5)
    better = away = 0
    for number in range(6):
        tables = tight(rng, number)
        known = [periodic for periodic, _ in starts(tables)]
        reached = list(starts_within_reach(tables, known))[:2]
        for periodic, rule in [*list(starts(tables))[:8], *reached]:
            before = steady_period(tables, periodic.plan, periodic.slots)
            found, estimate = improve(tables, periodic, rule, rng=rng)
            assert schedule_violations(found) == []
            assert estimate == steady_period(tables, found.plan, found.slots) <= before
            better += estimate < before
            away += bool(found.plan.homes)
            perturbed = perturb(tables, found, rule, rng)
            assert perturbed is None or schedule_violations(perturbed[0]) == []
    assert better >= 5
    assert away >= 5


def test_the_search_does_better_than_repeating_latency_plans() -> None:
    tables = make_tables(
        stages=4,
        tokens=20,
        max_chunks=6,
        linear=10,
        quadratic=1,
        constant=5,
        token_bytes=1,
        capacity=[17, 18, 17, 18],
        queue_depth=2,
    )
    search = best_period(tables, deadline=Deadline(120.0))
    assert search.best is not None
    repeated = [m.period for m in search.methods if m.period is not None]
    assert search.best.period < Fraction(97, 100) * min(repeated)
    assert search.headline is not None
    assert search.headline.ticks <= search.best.period


@pytest.mark.parametrize("solver", ["cpsat", "highs"])
def test_either_solver_runs_the_programs(solver: str) -> None:
    proved = 0
    for number in range(0, 45, 3):
        tables, best = instances()[number], least(optima(number))
        _, by_slots = period_bounds(tables)
        if Scope.LOCKSTEP not in by_slots:
            continue
        search = PeriodSearch(tables, deadline=Deadline(20.0), gap=0.0)
        search.run_programs(by_slots[Scope.LOCKSTEP], 0, solver)
        if best is None:
            assert search.best is None
            assert search.infeasible is not None or not slot_range(tables)
            continue
        assert search.best is not None
        assert search.best.lockstep.period == best.value
        assert [bound.ticks for bound in search.bounds] == [best.value]
        proved += 1
    assert proved >= 5
