"""The loop that runs steps: shares kept, failures noted, rounds ended, steps chosen and recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from step_searches import LATE, STEP_NAMES, TickingClock, search_of, tables_of

from mocap_opt import errors, load_instance, solve
from mocap_opt.bounds import Bound, Evidence, Scope
from mocap_opt.cli.main import main
from mocap_opt.cli.outputs import load_progress
from mocap_opt.errors import InputError
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.solving.joint import STEPS, solve_jointly
from mocap_opt.solving.report import BoundBeatenError
from mocap_opt.solving.search_state import PROGRAM_STEPS
from mocap_opt.solving.steps import RESERVED, STALLED, Raises, Step, chosen_steps, run_steps
from mocap_opt.solving.strategy import choose
from mocap_opt.stopping import STOPPED, Deadline, StoppedError

TINY = Path(__file__).parent.parent / "instances" / "tiny-unequal.json"


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
    assert [step.name for step in chosen_steps(STEPS, without=STEP_NAMES[1:])] == STEP_NAMES[:1]
    assert [step.name for step in chosen_steps(STEPS, only=[STEP_NAMES[2], STEP_NAMES[0]])] == [
        STEP_NAMES[0],
        STEP_NAMES[2],
    ]
    with pytest.raises(InputError, match=r"without: expected one of first_heuristics, .*, got 'climb'"):
        chosen_steps(STEPS, without=["climb"])
    with pytest.raises(InputError, match="a step to be left"):
        chosen_steps(STEPS, without=STEP_NAMES[:1], only=STEP_NAMES[:1])


def test_a_solve_records_its_steps_and_leaves_out_what_it_is_told_to():
    whole = solve(load_instance(TINY), gap=0.0)
    assert [run.step for run in whole.report.steps] == STEP_NAMES
    first = whole.report.steps[0]
    assert first.latency_before_s is None
    assert first.latency_after_s is not None
    (plan,) = [run for run in whole.report.steps if run.final_plan]
    (bound,) = [run for run in whole.report.steps if run.final_bound]
    assert plan.latency_after_s == whole.report.latency_s
    assert bound.bound_after_s == whole.report.lower_bound_s
    part = solve(load_instance(TINY), gap=0.0, without=["first_heuristics"], only=STEP_NAMES[:3])
    assert [run.step for run in part.report.steps] == STEP_NAMES[1:3]
    assert list(part.report.settings["without"]) == ["first_heuristics"]
    assert part.report.latency_s is None
    assert "contention_free, decomposition and joint not run: its step was left out" in part.report.notes[0]


def test_methods_without_steps_refuse_to_choose_some():
    with pytest.raises(InputError, match="only: expected no step with method mocap, got quick_bounds"):
        solve(load_instance(TINY), "mocap", only=["quick_bounds"])


@pytest.mark.parametrize("without", STEP_NAMES)
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
    assert all(name in printed for name in STEP_NAMES)
    with pytest.raises(SystemExit, match="0"):
        main(["steps", "--json"])
    assert [row["step"] for row in json.loads(capsys.readouterr().out)] == STEP_NAMES


def test_an_unknown_step_is_bad_input(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["solve", str(TINY), "--without", "climb"])
    assert "without: expected one of first_heuristics" in capsys.readouterr().err


def test_without_time_limit_steps_are_given_no_seconds():
    state = SearchState(tables_of("S-tight"), Deadline(), 1.0)
    solve_jointly(state, choose(state.tables, None, "auto", by_size=True), seed=0)
    assert {run.allowed_s for run in state.steps} == {None}
