"""A solve is a table of steps: each keeps its share, none makes things worse, a failure is a note."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from mocap_opt import errors, load_instance, solve
from mocap_opt.baselines import METHODS
from mocap_opt.bounds import Bound, Evidence, Scope
from mocap_opt.cli.main import main
from mocap_opt.cli.outputs import load_progress
from mocap_opt.errors import InputError
from mocap_opt.formulations.contention_free_terms import schedule
from mocap_opt.instance import Instance
from mocap_opt.replay.contention_free_makespan import contention_free_latency
from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers.outcome import ProgramResult, SolveOutcome, Status, StopReason
from mocap_opt.solving import program_steps
from mocap_opt.solving import start_steps as starts
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.solving.joint import STEPS, solve_jointly
from mocap_opt.solving.report import BoundBeatenError, relative_gap
from mocap_opt.solving.search_state import PROGRAM_STEPS, JointSearch
from mocap_opt.solving.start_steps import AGAIN, FIRST, LAST, OTHERS
from mocap_opt.solving.steps import RESERVED, STALLED, Raises, Step, chosen_steps, run_steps
from mocap_opt.solving.strategy import choose
from mocap_opt.stopping import STOPPED, Deadline, StoppedError
from mocap_opt.studies.bench.family import make
from mocap_opt.tables import build_tables

INSTANCES = Path(__file__).parent.parent / "instances"
TINY = INSTANCES / "tiny-unequal.json"
NAMES = [step.name for step in STEPS]

SEARCHES = [name for name in NAMES if name not in PROGRAM_STEPS.values()]

LATE = 12
"""Looks at the clock that may follow the end of a step's share: those on the way out."""


class TickingClock:
    """Moves on by a second whenever it is looked at."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return float(self.looks)


@cache
def tables_of(name):
    return build_tables(Instance.from_dict(make(name, 0)))


@cache
def starts_of(name):
    found = ((each, METHODS[each].propose(tables_of(name)).plan) for each in ("search-greedy", "mocap"))
    return [(each, plan) for each, plan in found if plan is not None]


def search_of(name, time_limit_s, clock=time.perf_counter, execution=None, *, started=True):
    """A search in the middle of a solve, where two heuristics have their plans, or at its start."""
    state = SearchState(tables_of(name), Deadline(time_limit_s), 0.0, execution=execution)
    starts = starts_of(name) if started else []
    for source, plan in starts:
        state.offer(plan, source)
    search = JointSearch(state, choose(state.tables, execution, "auto", by_size=True))
    search.starts = list(starts)
    state.deadline = Deadline(time_limit_s, clock=clock)
    return search


def step_named(name):
    (step,) = (step for step in STEPS if step.name == name)
    return step


def test_names_are_unlike_and_shares_are_parts_of_the_time_left():
    assert len(set(NAMES)) == len(NAMES)
    for step in STEPS:
        assert 0 < step.share < 1
        assert step.share_without_programs is None or step.share < step.share_without_programs < 1
        assert step.summary
        assert step.when
    assert set(PROGRAM_STEPS.values()) <= set(NAMES)


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
def test_a_step_keeps_its_share_and_makes_nothing_worse(name):
    started = name != "infeasibility_proof"
    ran = [
        ran_within_its_share(name, search_of(instance, float(looks), TickingClock(), started=started), looks)
        for instance in ("S-links", "M-unequal")
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


def test_searches_that_use_up_their_shares_leave_programs_what_is_kept_for_them():
    search = search_of("S-links", 10000.0, TickingClock())
    left = []

    def greedy(search, asked_to_stop):
        while not asked_to_stop():
            pass

    def program(search, asked_to_stop):
        left.append(search.state.deadline.left_s)

    last = next(iter(PROGRAM_STEPS.values()))
    searches = [Step(f"search {n}", "", Raises.PLAN, 0.9, greedy) for n in range(5)]
    run_steps([*searches, Step(last, "", Raises.BOTH, 0.9, program)], search)
    assert left[0] > 0.9 * RESERVED * 10000.0 - LATE * len(searches)


def test_steps_together_keep_the_time_limit():
    search = search_of("S-links", 400.0, TickingClock())
    run_steps([step for step in STEPS if step.name in SEARCHES], search)
    assert [run.step for run in search.state.steps] == SEARCHES
    for run in search.state.steps:
        assert run.cost_s <= (run.allowed_s or 0.0) + LATE * run.runs
    assert search.state.deadline.elapsed_s <= 400 + LATE * sum(run.runs for run in search.state.steps)


def trial_steps(*rows):
    return tuple(Step(name, name, Raises.PLAN, 0.5, run, rounds=rounds) for name, run, rounds in rows)


def nothing(search, asked_to_stop):
    pass


def failing(error):
    def run(search, asked_to_stop):
        raise error

    return run


@pytest.mark.parametrize(
    "error", [RuntimeError("a solver gave up"), MemoryError("Unable to allocate 38.7 GiB"), KeyError("x")]
)
def test_a_failing_step_is_a_note_and_the_next_one_runs(error, monkeypatch):
    monkeypatch.setattr(errors, "raise_unexpected", False)
    search = search_of("S-links", 60.0)
    run_steps(trial_steps(("first", failing(error), False), ("second", nothing, False)), search)
    first, second = search.state.steps
    assert first.note.startswith(f"step first failed: {type(error).__name__}: ")
    assert str(error) in first.note
    assert "/steps.py:" in first.note
    assert search.state.notes == [first.note]
    assert (second.runs, second.note) == (1, "")


def test_in_tests_a_failing_step_raises():
    with pytest.raises(KeyError, match="x"):
        run_steps(trial_steps(("first", failing(KeyError("x")), False)), search_of("S-links", 60.0))


def test_a_broken_proof_is_never_a_note(monkeypatch):
    monkeypatch.setattr(errors, "raise_unexpected", False)
    bound = Bound("wrong", 10**18, Scope.ANY_EXECUTION, Evidence.SEARCH)

    def prove(search, asked_to_stop):
        search.state.add_bounds([bound])

    with pytest.raises(BoundBeatenError, match="wrong"):
        run_steps(trial_steps(("first", prove, False)), search_of("S-links", 60.0))


def test_a_stopped_step_says_so():
    search = search_of("S-links", 60.0)
    run_steps(trial_steps(("first", failing(StoppedError(STOPPED)), False)), search)
    assert search.state.steps[0].note == STOPPED


def test_rounds_end_when_they_no_longer_help():
    search, ran = search_of("S-links", 1e9), []
    table = trial_steps(
        ("first", nothing, False), ("again", lambda search, asked_to_stop: ran.append(search.seed), True)
    )
    run_steps(table, search)
    assert ran == list(range(STALLED + 1))
    assert [run.runs for run in search.state.steps] == [1, STALLED + 1]


def test_after_an_error_within_the_share_of_a_step_the_time_left_is_that_of_the_solve():
    search = search_of("S-links", 100.0, TickingClock())
    with pytest.raises(KeyError, match="x"):
        run_steps(trial_steps(("first", failing(KeyError("x")), False)), search)
    assert search.state.deadline.left_s > 80


def test_only_and_without_choose_steps():
    assert [step.name for step in chosen_steps(STEPS, without=NAMES[1:])] == NAMES[:1]
    assert [step.name for step in chosen_steps(STEPS, only=[NAMES[2], NAMES[0]])] == [NAMES[0], NAMES[2]]
    with pytest.raises(InputError, match=r"without: expected one of first_heuristics, .*, got 'climb'"):
        chosen_steps(STEPS, without=["climb"])
    with pytest.raises(InputError, match="a step to be left"):
        chosen_steps(STEPS, without=NAMES[:1], only=NAMES[:1])


def test_a_solve_records_its_steps_and_leaves_out_what_it_is_told_to():
    whole = solve(load_instance(TINY), gap=0.0)
    assert [run.step for run in whole.report.steps] == NAMES
    first = whole.report.steps[0]
    assert first.latency_before_s is None
    assert first.latency_after_s is not None
    part = solve(load_instance(TINY), gap=0.0, without=["first_heuristics"], only=NAMES[:3])
    assert [run.step for run in part.report.steps] == NAMES[1:3]
    assert part.report.settings["without"] == ["first_heuristics"]
    assert part.report.latency_s is None
    assert "contention_free and joint not run: its step was left out" in part.report.notes[0]


def test_methods_without_steps_refuse_to_choose_some():
    with pytest.raises(InputError, match="only: expected no step with method mocap, got quick_bounds"):
        solve(load_instance(TINY), "mocap", only=["quick_bounds"])


@pytest.mark.parametrize("without", NAMES)
def test_a_solve_goes_on_without_any_one_step(without):
    found = solve(load_instance(TINY), gap=0.0, without=[without], time_limit_s=20)
    assert found.report.latency_s is not None


def test_the_log_names_the_steps(tmp_path, capsys):
    log = tmp_path / "log.jsonl"
    with pytest.raises(SystemExit, match="0"):
        main(
            [
                "solve",
                str(TINY),
                "--log",
                str(log),
                "--show-steps",
                "--gap",
                "0",
                "--only",
                "first_heuristics",
            ]
        )
    news = load_progress(log)
    assert {each.doing for each in news} == {"first_heuristics"}
    assert news[0].source == "first_heuristics"
    assert news[0].latency_s is None
    assert news[-1].latency_s is not None
    assert "first_heuristics     1" in capsys.readouterr().out


def test_the_command_lists_the_table(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["steps"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in NAMES)
    with pytest.raises(SystemExit, match="0"):
        main(["steps", "--json"])
    assert [row["step"] for row in json.loads(capsys.readouterr().out)] == NAMES


def test_an_unknown_step_is_bad_input(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["solve", str(TINY), "--without", "climb"])
    assert "without: expected one of first_heuristics" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["boundary_branching", "partition_enumeration", "traffic_proofs"])
def test_a_bound_on_lockstep_is_no_premise_of_one_on_any_execution(name):
    search = search_of("S-links", 10.0, execution=Execution.LOCKSTEP)
    state = search.state
    lockstep = state.best_lockstep.lockstep.latency
    state.add_bounds([Bound("joint", lockstep - 1, Scope.LOCKSTEP, Evidence.SOLVER)])
    run_steps([replace(step_named(name), unless=lambda search: None, rounds=False)], search)
    assert min(found.event.latency for found in [state.best]) >= state.proved_anywhere


def test_without_time_limit_steps_are_given_no_seconds():
    state = SearchState(tables_of("S-tight"), Deadline(), 1.0)
    solve_jointly(state, choose(state.tables, None, "auto", by_size=True), seed=0)
    assert {run.allowed_s for run in state.steps} == {None}


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
