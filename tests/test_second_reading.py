"""What HiGHS claims closes an instance only once a second reading agrees; no bound outlives a better plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import make_tables
from command_line import run
from oracle import brute_force
from test_solver_canaries import FALSELY_INFEASIBLE, LOST_OPTIMUM
from test_solver_highs import SMALL, knapsack, program

from mocap_opt import build_tables, load_instance, solve
from mocap_opt.formulations.joint import solve_joint
from mocap_opt.formulations.kv_placement import solve_kv_placement
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.solvers import highs
from mocap_opt.solvers.highs import solve_mip
from mocap_opt.solvers.outcome import Status, StopReason
from mocap_opt.solvers.safe_dual import CERTIFIED_BY
from mocap_opt.solvers.second_reading import SECOND_READINGS, Reading, reconcile
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.stopping import Deadline

CONFIRMED_BY = SECOND_READINGS[0][0]
CASES = Path(__file__).resolve().parent / "cases"
LATENCY_S = {"cx4-1": 41.72, "cx4-2": 44.1, "cx4-3": 33.556}
"""Least lockstep latency, seconds, by CP-SAT and brute force."""


@pytest.fixture
def readings_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run with presolve, which is wrong on the canaries, the second without."""
    monkeypatch.setattr(highs, "FIRST_READING", {"presolve": "on"})
    monkeypatch.setattr(highs, "SECOND_READINGS", (("a run without presolve", {"presolve": "off"}),))


# --- instances that presolve got wrong --------------------------------------------------------


@pytest.mark.parametrize("name", LATENCY_S)
def test_the_plain_program_of_highs_is_right_and_says_what_confirms_it(name: str) -> None:
    instance = load_instance(CASES / f"{name}.json")
    report = solve(instance, "plain-highs", execution="lockstep").report
    assert report.latency_s == pytest.approx(LATENCY_S[name], abs=1e-6)
    assert report.lower_bound_s == pytest.approx(LATENCY_S[name], abs=1e-4)
    assert report.status is Status.OPTIMAL
    assert report.lockstep_bound_evidence == "solver_confirmed"
    assert [run.confirmed_by for run in report.programs] == [CONFIRMED_BY]


@pytest.mark.parametrize("name", LATENCY_S)
def test_brute_force_agrees_on_them(name: str) -> None:
    tables = build_tables(load_instance(CASES / f"{name}.json"))
    optimum = brute_force(tables)
    assert optimum is not None
    assert tables.seconds(optimum.value) == pytest.approx(LATENCY_S[name], abs=1e-6)
    outcome = solve_joint(tables).outcome
    assert outcome.status is Status.OPTIMAL
    assert outcome.objective == optimum.value


def test_the_printed_line_says_what_confirms_it(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ("--method", "plain-highs", "--execution", "lockstep")
    code, printed, _ = run("solve", CASES / "cx4-3.json", *wanted, capsys=capsys)
    assert code == 0
    assert f"confirmed by {CONFIRMED_BY}" in " ".join(printed.split())


# --- readings that disagree -------------------------------------------------------------------


@pytest.mark.usefixtures("readings_swapped")
@pytest.mark.parametrize("wrong", [LOST_OPTIMUM, FALSELY_INFEASIBLE], ids=["optimum", "infeasible"])
def test_a_contradicted_claim_is_dropped(wrong: Any) -> None:
    result = solve_mip(wrong)
    assert (result.outcome.status, result.outcome.stop) == (Status.FEASIBLE, StopReason.UNCONFIRMED)
    assert (result.outcome.objective, result.outcome.bound) == (0.0, None)
    assert result.outcome.confirmed_by is None
    assert "has a solution of 0" in result.outcome.message
    assert result.values is not None
    assert wrong.violation(result.values)[0] == 0


@pytest.mark.usefixtures("readings_swapped")
def test_a_contradicted_claim_closes_no_instance() -> None:
    report = solve(load_instance(CASES / "cx4-2.json"), "plain-highs", execution="lockstep").report
    assert report.status is Status.FEASIBLE
    assert report.latency_s == pytest.approx(LATENCY_S["cx4-2"], abs=1e-6)
    assert report.lower_bound_s is None
    assert any("dropped what HiGHS claims" in note for note in report.notes)


def stopped(*_: object, **__: object) -> Reading:
    return Reading(Status.UNKNOWN, StopReason.TIME_LIMIT)


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        (Reading(Status.OPTIMAL, StopReason.OPTIMAL, 91.0, 91.0, np.array([1.0, 1.0, 0.0])), Status.FEASIBLE),
        (Reading(Status.INFEASIBLE, StopReason.INFEASIBLE), Status.UNKNOWN),
    ],
    ids=["optimal", "infeasible"],
)
def test_a_claim_that_nothing_confirms_closes_nothing(claim: Reading, status: Status) -> None:
    left = reconcile(SMALL, claim, stopped(), 0.0, "a second run")
    assert (left.status, left.stop) == (status, StopReason.UNCONFIRMED)
    assert (left.objective, left.bound, left.confirmed_by) == (claim.objective, claim.bound, None)
    assert "ended without (time_limit)" in left.message


def test_infeasible_is_confirmed() -> None:
    outcome = solve_mip(program([1, 1], [[1, 1]], row_lower=[3])).outcome
    assert (outcome.status, outcome.confirmed_by) == (Status.INFEASIBLE, CONFIRMED_BY)


def test_a_gap_that_was_asked_for_is_confirmed_too() -> None:
    outcome = solve_mip(knapsack(20, 5), gap=0.5).outcome
    assert outcome.confirmed_by == CONFIRMED_BY


def test_a_limit_leaves_a_bound_that_closes_nothing() -> None:
    outcome = solve_mip(knapsack(), node_limit=1).outcome
    assert outcome.bound is not None
    assert outcome.confirmed_by is None
    assert not outcome.closes


def test_no_bound_is_told_while_the_claim_is_read_again() -> None:
    bounds: list[float | None] = []
    solve_mip(SMALL, callback=lambda progress: bool(bounds.append(progress.bound)))
    assert bounds[-1] is None


# --- bounds and plans in hand -----------------------------------------------------------------


def searching(ticks: int, evidence: Evidence) -> SearchState:
    tables = make_tables(constant=2)
    state = SearchState(tables, Deadline(), 0.0)
    state.add_bounds([Bound("joint", ticks, Scope.LOCKSTEP, evidence, "highs, not confirmed")])
    best = brute_force(tables)
    assert best is not None
    assert best.value == 60
    state.offer(best.plan, "brute force")
    return state


@pytest.mark.parametrize("evidence", [Evidence.SOLVER_CONFIRMED, Evidence.SOLVER_UNCONFIRMED])
def test_a_bound_of_highs_that_a_plan_beats_is_dropped_with_a_note(evidence: Evidence) -> None:
    state = searching(61, evidence)
    assert state.bounds == []
    assert state.notes == [
        "dropped the bound joint = 61 ticks (highs, not confirmed): a feasible plan takes 60"
    ]
    # The same the other way round.
    state.add_bounds([Bound("joint", 61, Scope.LOCKSTEP, evidence)])
    assert state.bounds == []
    state.add_bounds([Bound("joint", 60, Scope.LOCKSTEP, evidence)])
    assert [bound.ticks for bound in state.bounds] == [60]


def test_an_unconfirmed_bound_ends_no_search() -> None:
    state = searching(60, Evidence.SOLVER_UNCONFIRMED)
    state.add_bounds([Bound("contention_free", 60, Scope.ANY_EXECUTION, Evidence.SOLVER_UNCONFIRMED)])
    assert state.current_gap() == 0.0
    assert not state.done
    state.add_bounds([Bound("contention_free", 60, Scope.ANY_EXECUTION, Evidence.SOLVER_CONFIRMED)])
    assert state.done
    assert state.headline is not None
    assert state.headline.evidence is Evidence.SOLVER_CONFIRMED


def test_given_boundaries_are_closed_by_duals_in_exact_arithmetic() -> None:
    tables = make_tables(2, 8, max_chunks=4, constant=2, capacity=[6, 12])
    outcome = solve_kv_placement(tables, np.array([0, 4, 8])).outcome
    assert outcome.status is Status.OPTIMAL
    assert outcome.confirmed_by == CERTIFIED_BY
