"""Every step of a solve keeps its share, makes nothing worse, and runs where it applies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from step_searches import LATE, STEP_NAMES, TickingClock, search_of, starts_of, step_named, tables_of

from mocap_opt import load_instance
from mocap_opt.baselines import METHODS
from mocap_opt.bounds import Bound, Evidence, Scope
from mocap_opt.formulations.contention_free_terms import schedule
from mocap_opt.replay.contention_free_makespan import contention_free_latency
from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers.outcome import ProgramResult, SolveOutcome, Status, StopReason
from mocap_opt.solving import link_steps, program_steps
from mocap_opt.solving import start_steps as starts
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.solving.joint import STEPS
from mocap_opt.solving.report import relative_gap
from mocap_opt.solving.search_state import PROGRAM_STEPS, JointSearch
from mocap_opt.solving.start_steps import AGAIN, FIRST, LAST, OTHERS
from mocap_opt.solving.steps import run_steps
from mocap_opt.solving.strategy import choose
from mocap_opt.stopping import Deadline
from mocap_opt.tables import build_tables

TINY = Path(__file__).parent.parent / "instances" / "tiny-unequal.json"
LOCKSTEP_STEPS = {"iterated_local_search"}
SEARCHES = [name for name in STEP_NAMES if name not in PROGRAM_STEPS.values()]


def test_names_are_unlike_and_shares_are_parts_of_the_time_left():
    assert len(set(STEP_NAMES)) == len(STEP_NAMES)
    for step in STEPS:
        assert 0 < step.share < 1
        assert step.share_without_programs is None or step.share < step.share_without_programs < 1
        assert step.summary
        assert step.when
    assert set(PROGRAM_STEPS.values()) <= set(STEP_NAMES)


def ran_within_its_share(name, search, looks):
    """Whether a step ran; if so, it kept its share.  The state is never worse."""
    step = replace(step_named(name), rounds=False)
    state = search.state
    before, proved = state.best_latency, state.proved_anywhere
    run_steps([step], search)
    (record,) = state.steps
    assert (record.runs == 1) == (record.skipped is None)
    if record.runs:
        assert 0 < record.allowed_s <= max(step.share, step.share_without_programs or 0.0) * looks
        assert record.cost_s <= record.allowed_s + LATE
    assert state.infeasible_reason is None
    assert before is None or state.best_latency <= before
    assert proved is None or state.proved_anywhere >= proved
    if state.best is not None:
        assert violations(state.tables, state.best.plan) == []
        assert relative_gap(state.best_latency, state.headline) == state.current_gap()
    return record.runs


@pytest.mark.parametrize("name", SEARCHES)
def test_a_step_keeps_its_share_and_makes_nothing_worse(name, monkeypatch):
    if name == "grouped_home_search":
        # It is for instances too large for a quick test.
        monkeypatch.setattr(link_steps, "MOST_HOMES", 0)
    started = name != "infeasibility_proof"
    execution = Execution.LOCKSTEP if name in LOCKSTEP_STEPS else None
    ran = [
        ran_within_its_share(
            name, search_of(instance, float(looks), TickingClock(), execution, started=started), looks
        )
        for instance in ("S-links", "M-unequal", "S-slack at depth 1", "S-unequal with ample memory")
        for looks in (40, 200)
    ]
    assert any(ran)


@pytest.mark.parametrize("name", PROGRAM_STEPS.values())
def test_a_program_makes_nothing_worse(name):
    tables = build_tables(load_instance(TINY))
    state = SearchState(tables, Deadline(60.0), 0.0)
    state.offer(METHODS["uniform-greedy"].propose(tables).plan, "uniform-greedy")
    before = state.best_latency
    run_steps([step_named(name)], JointSearch(state, choose(tables, None, "auto", by_size=True)))
    (record,) = state.steps
    assert record.runs == 1
    assert state.best_latency <= before
    assert state.headline is None or state.headline.ticks <= state.best_latency
    assert violations(tables, state.best.plan) == []


@pytest.mark.parametrize("program", PROGRAM_STEPS)
def test_a_program_is_given_the_share_of_its_step(program, monkeypatch):
    given = []

    def run(state, program, solver, *, start, seed):
        given.append((program.name, state.deadline.left_s))
        assert not state.done
        while not state.deadline.expired:
            pass
        return ProgramResult(None, SolveOutcome("cpsat", Status.UNKNOWN, StopReason.TIME_LIMIT))

    monkeypatch.setattr(program_steps, "run_program", run)
    search = search_of("S-links", 200.0, TickingClock())
    run_steps([step_named(PROGRAM_STEPS[program])], search)
    (record,) = search.state.steps
    ((name, limit),) = given
    assert name == program
    assert record.allowed_s - LATE <= limit <= record.allowed_s
    assert record.cost_s <= record.allowed_s + LATE


def test_steps_together_keep_the_time_limit():
    search = search_of("S-links", 400.0, TickingClock())
    run_steps([step for step in STEPS if step.name in SEARCHES], search)
    assert [run.step for run in search.state.steps] == SEARCHES
    for run in search.state.steps:
        assert run.cost_s <= (run.allowed_s or 0.0) + LATE * run.runs
    assert search.state.deadline.elapsed_s <= 400 + LATE * sum(run.runs for run in search.state.steps)


@pytest.mark.parametrize("name", ["boundary_branching", "partition_enumeration", "traffic_proofs"])
def test_a_bound_on_lockstep_is_no_premise_of_one_on_any_execution(name):
    search = search_of("S-links", 3.0, execution=Execution.LOCKSTEP)
    state = search.state
    lockstep = state.best_lockstep.lockstep.latency
    state.add_bounds([Bound("joint", lockstep - 1, Scope.LOCKSTEP, Evidence.SOLVER)])
    run_steps([replace(step_named(name), unless=lambda search: None, rounds=False)], search)
    assert min(found.event.latency for found in [state.best]) >= state.proved_anywhere


def test_heuristics_that_gain_nothing_are_asked_only_while_there_is_no_plan(monkeypatch):
    asked = []

    def ask(search, names, asked_to_stop):
        asked.extend(names)
        if LAST[2] in names:
            search.state.offer(starts_of("S-links")[0][1], LAST[2])

    monkeypatch.setattr(starts, "ask_heuristics", ask)
    run_steps([step_named("other_heuristics")], search_of("S-links", 60.0))
    assert asked == list(OTHERS)
    asked.clear()
    state = SearchState(tables_of("S-links"), Deadline(60.0), 0.0)
    run_steps(
        [step_named("other_heuristics")],
        JointSearch(state, choose(state.tables, None, "auto", by_size=True)),
    )
    assert asked == [*OTHERS, *LAST[:3]]
    assert {*FIRST, *OTHERS, *LAST} == set(METHODS)


@pytest.mark.parametrize(
    ("name", "least", "why"),
    [
        (
            "contention_free_program",
            lambda tables, plan: schedule(tables, plan).latency,
            "without contention the best plan takes no longer than is proved",
        ),
        (
            "boundary_branching",
            lambda tables, plan: contention_free_latency(tables, Plan(plan.boundaries)),
            "the boundaries of the best plan alone take no longer than is proved",
        ),
    ],
)
def test_relaxations_that_cannot_close_anything_leave_their_time_to_others(name, least, why):
    search = search_of("S-links", 60.0)
    state, step = search.state, step_named(name)
    search.passed |= set(PROGRAM_STEPS.values())
    ticks = int(least(state.tables, state.best.plan))
    assert ticks < state.best_latency
    state.add_bounds([Bound("traffic", ticks - 1, Scope.ANY_EXECUTION, Evidence.SEARCH)])
    assert step.unless(search) is None
    state.add_bounds([Bound("traffic", ticks, Scope.ANY_EXECUTION, Evidence.SEARCH)])
    assert step.unless(search) == why


def test_a_slow_first_heuristic_does_not_cost_the_plan_of_a_quick_one(monkeypatch):
    asked = []
    plan = starts_of("S-links")[0][1]

    def ask(search, names, asked_to_stop):
        for name in names:
            asked.append(name)
            while name == FIRST[0] and not asked_to_stop():
                pass
            if asked_to_stop():
                break
            search.state.offer(plan, name)

    monkeypatch.setattr(starts, "ask_heuristics", ask)
    state = SearchState(tables_of("S-links"), Deadline(200.0, clock=TickingClock()), 0.0)
    search = JointSearch(state, choose(state.tables, None, "auto", by_size=True))
    run_steps([step_named("first_heuristics")], search)
    assert asked == [FIRST[0], AGAIN[0]]
    assert state.best_source == AGAIN[0]
    assert set(AGAIN) == set(FIRST)


def test_in_lockstep_boundaries_get_exact_homes_wherever_kv_lives_away():
    # S-unequal: traffic costs nothing, but whole pages of unlike stages leave greedy homes a page short.
    step = step_named("placed_boundary_search")
    assert step.unless(search_of("S-unequal", 60.0, execution=Execution.LOCKSTEP)) is None
    assert "traffic costs" in step.unless(search_of("S-unequal", 60.0))
    assert "at home" in step.unless(search_of("S-slack", 60.0, execution=Execution.LOCKSTEP))
