"""The period: verifier, replays, programs and bounds against brute force and known cases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from builders import make_tables
from period_oracle import PeriodOptimum, brute_force_period, period_price
from random_plans import descend, random_plan
from random_tables import random_instances, random_tables, with_unlimited_rates

from mocap_opt.bounds import Bound, Scope
from mocap_opt.errors import InputError
from mocap_opt.period import program, program_cpsat
from mocap_opt.period.assess import assess_period
from mocap_opt.period.bounds import period_bounds
from mocap_opt.period.cycle import PeriodicPlan, memory_use, smallest_slots, violations
from mocap_opt.period.event import replay_event_period
from mocap_opt.period.heuristics import starts
from mocap_opt.period.homes import home_orders, placed, pooled_fit
from mocap_opt.period.local_search import climb, shake
from mocap_opt.period.lockstep import replay_lockstep_period
from mocap_opt.period.program_cpsat import PeriodResult
from mocap_opt.period.search import best_period, period_of_method
from mocap_opt.period.steady import steady_period
from mocap_opt.period.terms import slot_range
from mocap_opt.plan import Plan
from mocap_opt.replay.accounting import ReplayError
from mocap_opt.replay.event import run_messages
from mocap_opt.replay.messages import sequence_messages
from mocap_opt.solvers.outcome import Status
from mocap_opt.streams.sequence import identical_requests
from mocap_opt.tables import Tables

COUNT = 200
QUICK = 30


def bounded(tables: Tables) -> Tables:
    """The same instance with a queue depth: the period needs one."""
    return replace(tables, queue_depth=1) if tables.queue_depth is None else tables


@cache
def instances() -> list[Tables]:
    return [bounded(tables) for tables in random_instances(seed=9, count=COUNT)]


@cache
def optima(number: int) -> dict[int, PeriodOptimum | None]:
    """Brute force by W."""
    tables = instances()[number]
    return {slots: brute_force_period(tables, slots) for slots in slot_range(tables)}


def least(found: dict[int, PeriodOptimum | None]) -> PeriodOptimum | None:
    return min((each for each in found.values() if each), key=lambda each: each.value, default=None)


def check(tables: Tables, known: PeriodOptimum | None, result: PeriodResult, slots: int) -> None:
    where = f"{tables.name}, W = {slots}"
    if known is None:
        assert result.outcome.status is Status.INFEASIBLE, where
        assert result.periodic is None
        return
    assert result.outcome.status is Status.OPTIMAL, where
    assert result.outcome.objective == result.outcome.bound == known.value, where
    assert result.periodic is not None
    assert violations(tables, result.periodic) == []
    assert replay_lockstep_period(tables, result.periodic).period == known.value, where


def agree(numbers: range) -> None:
    for number in numbers:
        tables = instances()[number]
        for slots, known in optima(number).items():
            check(tables, known, program_cpsat.solve_period(tables, slots, threads=1), slots)
            check(tables, known, program.solve_period(tables, slots), slots)


def test_brute_force_highs_and_cpsat_agree_for_every_spacing() -> None:
    agree(range(QUICK))


@pytest.mark.slow
def test_they_agree_on_all_instances() -> None:
    agree(range(QUICK, COUNT))


def test_instances_are_of_many_kinds() -> None:
    found = [optima(number) for number in range(COUNT)]
    best = [least(each) for each in found]
    needs_idle = [b is not None and b.slots > b.plan.chunks for b in best]
    dense = [
        b is not None and violations(t, PeriodicPlan(b.plan, b.plan.chunks)) == []
        for t, b in zip(instances(), best, strict=True)
    ]
    unlimited = [
        b is not None
        and period_price(with_unlimited_rates(t), b.plan.boundaries, b.slots)(_homes(b.plan)) < b.value
        for t, b in zip(instances(), best, strict=True)
    ]
    shares = {
        "KV away from home": np.mean([b is not None and bool(b.plan.homes) for b in best]),
        "idle slots at the optimum": np.mean(needs_idle),
        "its plan does not fit without": np.mean(
            [i and not d for i, d in zip(needs_idle, dense, strict=True)]
        ),
        "infeasible": np.mean([b is None for b in best]),
        "prefix": np.mean([t.prefix > 0 and b is not None for t, b in zip(instances(), best, strict=True)]),
        "a link or port binds": np.mean(unlimited),
    }
    assert shares["KV away from home"] >= 0.1, shares
    assert shares["idle slots at the optimum"] >= 0.05, shares
    assert shares["its plan does not fit without"] >= 0.03, shares
    assert shares["infeasible"] >= 0.1, shares
    assert shares["prefix"] >= 0.1, shares
    assert shares["a link or port binds"] >= 0.1, shares


def _homes(plan: Plan) -> dict[tuple[int, int, int], int]:
    return {(home.stage, home.chunk, home.memory): home.pages for home in plan.homes}


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
            plans = [PeriodicPlan(b.plan, b.slots) for b in found.values() if b is not None]
            reported = min(assess_period(tables, plan).period for plan in plans)
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


@cache
def adversaries() -> tuple[tuple[Tables, PeriodicPlan], ...]:
    return tuple(_adversaries())


def _adversaries() -> Iterator[tuple[Tables, PeriodicPlan]]:
    """Random and locally optimal feasible plans of middling instances."""
    rng = np.random.default_rng(4)
    for number in range(14):
        tables = bounded(random_tables(rng, name=f"instance {number}"))
        for turn in range(4):
            plan = random_plan(tables, rng)
            if plan is None:
                break
            if turn % 2:
                plan, _ = descend(
                    tables, plan, lambda t, p: int(np.sum(t.tau(0, *_ends(t, p)))), rng, steps=8
                )
            periodic = smallest_slots(tables, plan)
            if periodic is not None:
                if turn == 3 and number % 2:
                    periodic, _ = climb(tables, periodic, home_orders(tables)[0], rng=rng)
                yield tables, periodic


def _ends(tables: Tables, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    index = plan.grid_indices(tables)
    return index[:-1], index[1:]


def test_no_random_or_locally_optimal_plan_beats_a_bound_in_either_replay() -> None:
    checked = 0
    bounds: dict[str, list[Bound]] = {}
    for tables, periodic in adversaries():
        if tables.name not in bounds:
            bounds[tables.name] = period_bounds(tables)[0]
        found = assess_period(tables, periodic)
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


def test_the_cap_of_one_requests_tokens_is_too_small() -> None:
    # One chunk of four tokens, Q = 1: a request's queues hold at most its four tokens, those of endless
    # requests two chunks of four, one computed and one arriving, of different requests.
    tables = make_tables(
        stages=2, tokens=4, max_chunks=1, queue_depth=1, working_bytes=1, token_bytes=1, capacity=[8, 8]
    )
    plan = PeriodicPlan(Plan((0, 4)), 1)
    assert tables.reserve(4).tolist() == [4, 4]
    assert [v.bytes_short for v in violations(tables, plan)] == [4, 4]
    # In the run, stage 1 holds the chunk of one request while that of the next has arrived.
    slow = replace(tables, phi=tables.phi * np.array([[1], [3]]), capacity=np.array([100, 100]))
    sequence = identical_requests(slow, plan.plan, 4, 1)
    run = run_messages(slow, sequence_messages(sequence), log=False, refinement=512)
    held = max(sum(4 for r in range(4) if run.arrival[1][r] <= at < run.end[1][r]) for at in run.arrival[1])
    assert held == 8 > tables.reserve(4)[1]


def test_unbounded_queues_are_refused() -> None:
    tables = make_tables(queue_depth=None)
    for call in (
        lambda: violations(tables, PeriodicPlan(Plan((0, 4)), 1)),
        lambda: best_period(tables),
        lambda: period_of_method(tables, "gpipe"),
        lambda: program.build(tables, 1),
        lambda: program_cpsat.build(tables, 1),
    ):
        with pytest.raises(InputError, match=r"pipeline\.queue_depth: .* unbounded"):
            call()


def equal_chunks(stages: int, chunks: int, capacity: int) -> Tables:
    return make_tables(
        stages, chunks, max_chunks=chunks, exact=True, token_bytes=1, capacity=capacity, queue_depth=1
    )


def partner_plan(stages: int, chunks: int, kept: int) -> Plan:
    """Each stage keeps its first chunks and sends the others half the pipeline away."""
    tables = equal_chunks(stages, chunks, 10**6)
    pages = np.zeros((stages, chunks, stages), dtype=np.int64)
    for i in range(stages):
        pages[i, kept:, (i + stages // 2) % stages] = 1
    return Plan.from_arrays(tables, range(chunks + 1), pages)


@pytest.mark.parametrize("stages", [4, 8])
def test_back_to_back_pairing_gains_nothing(stages: int) -> None:
    # W = M = N/2: partners are in the same cyclic slot, so what one sends the other sends as well.
    chunks = stages // 2
    tables = equal_chunks(stages, chunks, 10**6)
    peaks = [
        int(memory_use(tables, PeriodicPlan(partner_plan(stages, chunks, kept), chunks)).max())
        for kept in range(chunks + 1)
    ]
    assert peaks == [chunks] * (chunks + 1)


def test_peaks_of_equal_chunks_at_home() -> None:
    # M equal chunks, W = M: every stage's own KV peaks at M chunks, whatever the idle slots.
    for slots in range(4, 8):
        use = memory_use(equal_chunks(4, 4, 100), PeriodicPlan(Plan((0, 1, 2, 3, 4)), slots))
        assert use.max(axis=1).tolist() == [4] * 4
        assert sorted(use[0].tolist()) == [0] * (slots - 4) + [1, 2, 3, 4]


def test_slots_past_the_last_overlap_change_nothing() -> None:
    for number in range(20):
        tables = instances()[number]
        known = optima(number)
        last = max(known, default=0)
        if last and known[last] is not None:
            beyond = brute_force_period(tables, last + 1)
            assert beyond is not None
            assert beyond.value == known[last].value


def test_a_single_stage_never_waits() -> None:
    tables = make_tables(stages=1, tokens=4, linear=10, constant=2, queue_depth=1)
    found = assess_period(tables, PeriodicPlan(Plan((0, 2, 4)), 2))
    assert found.period == found.lockstep.period == found.event.period == 44
    assert found.latency == found.lockstep.latency == found.event.latency == 44


def test_a_slow_second_stage_sets_the_pace() -> None:
    tables = make_tables(stages=2, tokens=4, linear=[10, 30], queue_depth=1)
    event = replay_event_period(tables, PeriodicPlan(Plan((0, 2, 4)), 2))
    assert (event.period, event.cycle, event.steady) == (120, 1, True)
    # Stage 0 starts a chunk when the one before it starts on stage 1, which takes 60: 60 in the queue,
    # 60 on stage 1, and 60 for the second chunk.
    assert event.latency == 180
    lockstep = replay_lockstep_period(tables, PeriodicPlan(Plan((0, 2, 4)), 2))
    assert (lockstep.period, lockstep.latency) == (120, 180)


def test_the_proved_period_is_that_of_a_long_run() -> None:
    rng = np.random.default_rng(12)
    steady = 0
    for number in range(8):
        tables = bounded(random_tables(rng, name=f"long {number}"))
        plan = random_plan(tables, rng)
        periodic = None if plan is None else smallest_slots(tables, plan)
        if periodic is None:
            continue
        found = replay_event_period(tables, periodic)
        if found.period is None or found.cycle is None:
            continue
        steady += 1
        reached = len(found.completions)
        sequence = identical_requests(tables, periodic.plan, reached + 2 * found.cycle + 30, periodic.slots)
        run = run_messages(tables, sequence_messages(sequence), log=False, refinement=512)
        at = [run.end[-1][(r + 1) * periodic.plan.chunks - 1] for r in range(reached + found.cycle)]
        assert tuple(at[:reached]) == found.completions
        # Later ones have started after the transient, too.
        each, late = periodic.plan.chunks, range(reached + 10, reached + 10 + found.cycle)
        took = [run.end[-1][(r + 1) * each - 1] - run.start[0][r * each] for r in late]
        assert found.latency == Fraction(sum(took), found.cycle)
        assert at[-1] - at[-1 - found.cycle] == found.period * found.cycle
    assert steady >= 4


def test_an_overfull_memory_ends_the_run() -> None:
    tables = make_tables(stages=2, tokens=4, token_bytes=1, capacity=[3, 100], queue_depth=1)
    with pytest.raises(ReplayError, match="memory 0 is 1 bytes over"):
        replay_event_period(tables, PeriodicPlan(Plan((0, 4)), 1))


def test_a_run_that_may_not_go_on_long_enough_is_not_called_steady() -> None:
    tables = make_tables(stages=2, tokens=4, linear=[10, 30], queue_depth=2)
    found = replay_event_period(tables, PeriodicPlan(Plan((0, 2, 4)), 2), requests=2)
    assert (found.period, found.steady) == (None, False)


def test_too_few_slots_are_named() -> None:
    tables = make_tables(queue_depth=1)
    assert [v.rule for v in violations(tables, PeriodicPlan(Plan((0, 2, 4)), 1))] == ["slots"]


def test_best_period_of_tiny_instances_is_never_worse_than_brute_force_in_lockstep() -> None:
    for number in range(0, 60, 3):
        best = least(optima(number))
        search = best_period(instances()[number], time_limit_s=20.0, gap=0.0)
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
        found = placed(tables, np.array([0, 2, 4, 6, 8]), 4, order)
        assert found is not None
        assert found.plan.homes
        assert violations(tables, found) == []


def test_the_estimate_is_the_replay_where_nothing_contends() -> None:
    compared = waited = 0
    for tables, periodic in adversaries():
        free = with_unlimited_rates(tables)
        event = replay_event_period(free, periodic)
        if event.period is None or event.cycle != 1:
            continue
        # The estimate rounds every chunk's traffic up to a tick, and a cycle may pass each a few times.
        more = steady_period(free, periodic.plan, periodic.slots) - float(event.period)
        assert -1e-6 <= more <= 2 * tables.stages * periodic.plan.chunks, tables.name
        compared += 1
        local = PeriodicPlan(Plan(periodic.plan.boundaries), periodic.slots)
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
                assert fits or violations(tables, PeriodicPlan(plan, slots)), tables.name
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
        for periodic, order in list(starts(tables))[:8]:
            before = steady_period(tables, periodic.plan, periodic.slots)
            found, estimate = climb(tables, periodic, order, rng=rng)
            assert violations(tables, found) == []
            assert estimate == steady_period(tables, found.plan, found.slots) <= before
            better += estimate < before
            away += bool(found.plan.homes)
            shaken = shake(tables, found, order, rng)
            assert shaken is None or violations(tables, shaken[0]) == []
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
    search = best_period(tables, time_limit_s=120.0)
    assert search.best is not None
    repeated = [m.period for m in search.methods if m.period is not None]
    assert search.best.period < Fraction(97, 100) * min(repeated)
    assert search.headline is not None
    assert search.headline.ticks <= search.best.period


@pytest.mark.parametrize("solver", ["cpsat", "highs"])
def test_either_solver_runs_the_programs(solver: str) -> None:
    proved = 0
    for number in range(0, 30, 3):
        search = best_period(instances()[number], time_limit_s=20.0, gap=0.0, solver=solver)
        found = [bound.ticks for bound in search.bounds if bound.name == "period_program"]
        best = least(optima(number))
        if found and best is not None:
            assert found == [best.value]
            proved += 1
    assert proved >= 3
