"""The period: verifier, replays and programs against brute force and known cases."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from builders import make_tables
from period_cases import COUNT, bounded, instances, least, optima
from period_oracle import PeriodOptimum, brute_force_period, period_price
from random_plans import random_plan
from random_tables import random_tables, with_unlimited_rates

from mocap_opt.errors import InputError
from mocap_opt.formulations import period as program
from mocap_opt.formulations import period_cpsat as program_cpsat
from mocap_opt.formulations.period_cpsat import PeriodResult
from mocap_opt.formulations.pyomo_solution import start_values
from mocap_opt.replay.accounting import ReplayError
from mocap_opt.replay.evaluation import assess_schedule
from mocap_opt.replay.event import run_event
from mocap_opt.replay.lockstep import run_lockstep
from mocap_opt.replay.steady_state import run_steady
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule, identical_requests
from mocap_opt.schedule.verify import schedule_memory, schedule_violations, smallest_interval
from mocap_opt.solvers.linear_program import FEASIBILITY_TOLERANCE
from mocap_opt.solvers.outcome import Status
from mocap_opt.solvers.pyomo_form import compile_model
from mocap_opt.solving.period_search import best_period, period_of_method
from mocap_opt.tables.cost_tables import Tables

QUICK = 30


def check(tables: Tables, known: PeriodOptimum | None, result: PeriodResult, slots: int) -> None:
    where = f"{tables.name}, W = {slots}"
    if known is None:
        assert result.outcome.status is Status.INFEASIBLE, where
        assert result.periodic is None
        return
    assert result.outcome.status is Status.OPTIMAL, where
    assert result.outcome.objective == result.outcome.bound == known.value, where
    assert result.periodic is not None
    assert schedule_violations(result.periodic) == []
    assert run_lockstep(result.periodic).period == known.value, where


def agree(numbers: range) -> None:
    for number in numbers:
        tables = instances()[number]
        for slots, known in optima(number).items():
            check(tables, known, program_cpsat.solve_period(tables, slots, threads=1), slots)
            check(tables, known, program.solve_period(tables, slots), slots)


def test_brute_force_highs_and_cpsat_agree_for_every_spacing() -> None:
    agree(range(QUICK))


def test_plans_are_points_of_the_model_of_highs_with_their_period() -> None:
    shorter = 0
    for number in range(QUICK):
        for slots, known in optima(number).items():
            model = program.build(instances()[number], slots)
            if known is None or model is None:
                continue
            compiled, tables = compile_model(model), model.data.tables
            point = compiled.column_values(start_values(model, tables, known.plan))
            assert compiled.program.violation(point)[0] <= FEASIBILITY_TOLERANCE
            assert compiled.program.objective(point) * model.data.time_unit.ticks == known.value
            shorter += known.plan.chunks < model.data.chunks.count
    assert shorter


@pytest.mark.slow
def test_they_agree_on_all_instances() -> None:
    agree(range(QUICK, COUNT))


def test_instances_are_of_many_kinds() -> None:
    found = [optima(number) for number in range(COUNT)]
    best = [least(each) for each in found]
    needs_idle = [b is not None and b.slots > b.plan.chunks for b in best]
    dense = [
        b is not None and schedule_violations(Schedule.of(t, b.plan, b.plan.chunks)) == []
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


def test_the_cap_of_one_requests_tokens_is_too_small() -> None:
    # One chunk of four tokens, Q = 1: a request's queues hold at most its four tokens, those of endless
    # requests two chunks of four, one computed and one arriving, of different requests.
    tables = make_tables(
        stages=2, tokens=4, max_chunks=1, queue_depth=1, working_bytes=1, token_bytes=1, capacity=[8, 8]
    )
    plan = Schedule.of(tables, Plan((0, 4)), 1)
    assert tables.reserve(4).tolist() == [4, 4]
    assert [v.bytes_short for v in schedule_violations(plan)] == [4, 4]
    # In the run, stage 1 holds the chunk of one request while that of the next has arrived.
    slow = replace(tables, phi=tables.phi * np.array([[1], [3]]), capacity=np.array([100, 100]))
    sequence = identical_requests(slow, plan.plan, 4, 1)
    run = run_event(sequence)
    held = max(sum(4 for r in range(4) if run.arrival[1][r] <= at < run.end[1][r]) for at in run.arrival[1])
    assert held == 8 > tables.reserve(4)[1]


def test_unbounded_queues_are_refused() -> None:
    tables = make_tables(queue_depth=None)
    for call in (
        lambda: schedule_violations(Schedule.of(tables, Plan((0, 4)), 1)),
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
        int(schedule_memory(Schedule.of(tables, partner_plan(stages, chunks, kept), chunks)).max())
        for kept in range(chunks + 1)
    ]
    assert peaks == [chunks] * (chunks + 1)


def test_peaks_of_equal_chunks_at_home() -> None:
    # M equal chunks, W = M: every stage's own KV peaks at M chunks, whatever the idle slots.
    for slots in range(4, 8):
        use = schedule_memory(Schedule.of(equal_chunks(4, 4, 100), Plan((0, 1, 2, 3, 4)), slots))
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
    found = assess_schedule(Schedule.of(tables, Plan((0, 2, 4)), 2))
    assert found.period == found.lockstep.period == found.event.period == 44
    assert found.latency == found.lockstep.latency == found.event.latency == 44


def test_a_slow_second_stage_sets_the_pace() -> None:
    tables = make_tables(stages=2, tokens=4, linear=[10, 30], queue_depth=1)
    event = run_steady(Schedule.of(tables, Plan((0, 2, 4)), 2))
    assert (event.period, event.cycle, event.steady) == (120, 1, True)
    # Stage 0 starts a chunk when the one before it starts on stage 1, which takes 60: 60 in the queue,
    # 60 on stage 1, and 60 for the second chunk.
    assert event.latency == 180
    lockstep = run_lockstep(Schedule.of(tables, Plan((0, 2, 4)), 2))
    assert (lockstep.period, lockstep.latency) == (120, 180)


def test_the_proved_period_is_that_of_a_long_run() -> None:
    rng = np.random.default_rng(12)
    steady = 0
    for number in range(8):
        tables = bounded(random_tables(rng, name=f"long {number}"))
        plan = random_plan(tables, rng)
        periodic = None if plan is None else smallest_interval(tables, plan)
        if periodic is None:
            continue
        found = run_steady(periodic)
        if found.period is None or found.cycle is None:
            continue
        steady += 1
        reached = len(found.completions)
        sequence = identical_requests(tables, periodic.plan, reached + 2 * found.cycle + 30, periodic.slots)
        run = run_event(sequence)
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
    with pytest.raises(ReplayError, match="memory 0 is 1 B over"):
        run_steady(Schedule.of(tables, Plan((0, 4)), 1))


def test_a_run_that_may_not_go_on_long_enough_is_not_called_steady() -> None:
    tables = make_tables(stages=2, tokens=4, linear=[10, 30], queue_depth=2)
    found = run_steady(Schedule.of(tables, Plan((0, 2, 4)), 2), requests=2)
    assert (found.period, found.steady) == (None, False)


def test_too_few_slots_are_named() -> None:
    tables = make_tables(queue_depth=1)
    assert [v.rule for v in schedule_violations(Schedule.of(tables, Plan((0, 2, 4)), 1))] == ["slots"]
