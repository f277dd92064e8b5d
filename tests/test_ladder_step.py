"""The step of a solve that proves static plans: it closes their gap, also beside another, and only once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from step_searches import search_of, step_named

from mocap_opt import load_instance, solve
from mocap_opt.bounds import Scope
from mocap_opt.replay.evaluation import Execution
from mocap_opt.solving.steps import run_steps
from mocap_opt.stopping import StoppedError

INSTANCES = Path(__file__).parent.parent / "instances"
STEP = step_named("ladder")


@pytest.mark.parametrize(
    ("name", "optimum"),
    [
        ("gpt3-175b-watos-tight", 32.172050223),
        ("gpt3-175b-watos-slack", 12.101635104),
        ("bench/M-slack", 22.554848443),
    ],
)
def test_static_plans_of_shipped_instances_are_proved_optimal(name: str, optimum: float) -> None:
    instance = load_instance(INSTANCES / f"{name}.json")
    answer = solve(instance, execution="lockstep", only=["first_heuristics", "ladder"], time_limit_s=60.0)
    assert answer.report.status.value == "optimal"
    assert answer.report.bound_name == "ladder"
    assert answer.report.latency_s == pytest.approx(optimum, rel=1e-8)
    assert answer.report.lower_bound_s == pytest.approx(optimum, rel=1e-8)


def test_a_static_plan_is_proved_once_the_gap_is_closed() -> None:
    instance = load_instance(INSTANCES / "gpt3-175b-watos-tight.json")
    answer = solve(instance, time_limit_s=60.0)
    assert answer.report.execution == Execution.EVENT
    static = [bound for bound in answer.lower_bounds if bound.scope is Scope.LOCKSTEP]
    assert [bound.name for bound in static] == ["ladder"]
    assert answer.tables.seconds(static[0].ticks) == pytest.approx(32.172050223, rel=1e-4)
    assert answer.report.static_latency_s == pytest.approx(32.172050223)
    assert answer.report.static_gap <= 1e-4
    assert ("best static plan", "32.17 s") in answer.report.figure_texts


def test_it_finds_better_static_plans_and_stops_there() -> None:
    search = search_of("S-slack", 60.0, execution=Execution.LOCKSTEP)
    state = search.state
    assert state.best_lockstep is not None
    before = state.best_lockstep.lockstep.latency
    assert STEP.obstacle(search) is None
    run_steps([STEP], search)
    assert state.best_lockstep.lockstep.latency < before
    assert state.best_source == "ladder"
    assert state.lockstep_closed()
    assert state.steps[0].runs == 1


def test_what_it_left_open_it_leaves_until_there_is_a_better_plan() -> None:
    search = search_of("M-tight", 60.0, execution=Execution.LOCKSTEP)
    STEP.run(search, lambda: search.state.deadline.expired)
    assert not search.state.lockstep_closed()
    assert search.ladder is not None
    assert STEP.obstacle(search) == "the best static plan is the one it knows"


def test_unlike_stages_and_unknown_plans_have_no_ladder() -> None:
    assert STEP.obstacle(search_of("S-unequal", 60.0)) == "stages are unlike"
    assert STEP.obstacle(search_of("S-slack", 60.0, started=False)) == "no plan is known"


def test_what_did_not_end_in_its_share_is_not_tried_again() -> None:
    search = search_of("M-tight", 60.0, execution=Execution.LOCKSTEP)
    with pytest.raises(StoppedError, match="stopped"):
        STEP.run(search, after_first_look())
    assert STEP.obstacle(search) == "it took more than its share of the time"


def after_first_look() -> Callable[[], bool]:
    """Ask to stop from the second time on."""
    left = iter([False])
    return lambda: next(left, True)
