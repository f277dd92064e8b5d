"""A solver's outcome checks its own invariants."""

from __future__ import annotations

import math

import pytest

from mocap_opt.schedule.plan import Plan
from mocap_opt.solvers.outcome import (
    ProgramResult,
    Progress,
    SolveOutcome,
    Status,
    StopReason,
    relative_gap,
)


def test_gap_is_relative_to_the_objective() -> None:
    outcome = SolveOutcome("highs", Status.FEASIBLE, StopReason.TIME_LIMIT, objective=80, bound=60)
    assert outcome.gap == 0.25
    assert Progress(1.0, 80, 60).gap == 0.25


@pytest.mark.parametrize(("objective", "bound"), [(None, 3), (3, None), (0, 0)])
def test_gap_of_the_unknown_is_unknown(objective: float | None, bound: float | None) -> None:
    assert relative_gap(objective, bound) is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"status": Status.OPTIMAL, "objective": 5}, "without a bound"),
        ({"status": Status.OPTIMAL, "objective": 5, "bound": 4}, "objective 5 and bound 4"),
        ({"status": Status.FEASIBLE, "bound": 4}, "objective None"),
        ({"status": Status.UNKNOWN, "objective": 4}, "objective 4"),
        ({"status": Status.FEASIBLE, "objective": 5, "bound": 6}, "bound 6 above objective 5"),
        ({"status": Status.FEASIBLE, "objective": math.inf}, "objective is inf"),
        ({"status": Status.UNKNOWN, "bound": -math.inf}, "bound is -inf"),
        ({"status": Status.INFEASIBLE}, "stop reason time_limit"),
        ({"status": Status.INFEASIBLE, "stop": StopReason.INFEASIBLE, "bound": 3}, "infeasible with bound"),
        ({"status": Status.UNKNOWN, "solve_s": -1.0}, "negative time"),
    ],
)
def test_contradictions_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SolveOutcome(**{"solver": "highs", "stop": StopReason.TIME_LIMIT, **fields})


def test_plan_and_objective_come_together() -> None:
    unknown = SolveOutcome("highs", Status.UNKNOWN, StopReason.TIME_LIMIT)
    assert ProgramResult(None, unknown).plan is None
    with pytest.raises(ValueError, match="objective None"):
        ProgramResult(Plan((0, 4)), unknown)
