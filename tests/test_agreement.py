"""HiGHS, CP-SAT and brute force find the same lockstep optimum, and agree on what has none."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from agreement_run import run
from random_tables import Traits, classify, random_instances

from mocap_opt.formulations import joint, joint_cpsat
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers.outcome import ProgramResult, Status
from mocap_opt.tables.cost_tables import Tables

COUNT = 300
QUICK = 60


@cache
def instances() -> list[Tables]:
    return random_instances(seed=2026, count=COUNT)


@cache
def traits(number: int) -> Traits:
    return classify(instances()[number])


def check(tables: Tables, known: Traits, result: ProgramResult) -> None:
    if known.optimum is None:
        assert result.outcome.status is Status.INFEASIBLE, tables.name
        assert result.plan is None
        return
    assert result.outcome.status is Status.OPTIMAL, tables.name
    assert result.outcome.objective == known.optimum.value, tables.name
    assert result.outcome.bound == known.optimum.value, tables.name
    assert result.plan is not None
    assert violations(tables, result.plan) == [], tables.name
    assert replay_lockstep(tables, result.plan).latency == known.optimum.value, tables.name


def agree(solve: Any, numbers: range) -> None:
    for number in numbers:
        tables = instances()[number]
        check(tables, traits(number), solve(tables, None, time_limit_s=60.0, seed=number, threads=1))


BACK_ENDS = pytest.mark.parametrize(
    "solve", [joint.solve_joint, joint_cpsat.solve_joint], ids=["highs", "cpsat"]
)


@BACK_ENDS
def test_some_instances(solve: Any) -> None:
    agree(solve, range(QUICK))


@pytest.mark.slow
@BACK_ENDS
def test_all_instances(solve: Any) -> None:
    agree(solve, range(QUICK, COUNT))


@pytest.mark.slow
@BACK_ENDS
def test_optimal_start_is_confirmed(solve: Any) -> None:
    for number in range(0, COUNT, 5):
        best = traits(number).optimum
        if best is not None:
            tables = instances()[number]
            check(tables, traits(number), solve(tables, best.plan, time_limit_s=60.0, threads=1))


def test_highs_as_it_stands_agrees_with_the_others() -> None:
    found = run(count=30, seed=1)
    assert found.disagreements == []
    assert found.counts["feasible"] >= 8
    assert found.counts["infeasible"] >= 5
    assert found.counts["confirmed by a second run, with presolve"] >= 15


@pytest.mark.slow
def test_highs_as_it_stands_agrees_with_the_others_on_many() -> None:
    assert run(count=600, seed=2).disagreements == []


@pytest.mark.parametrize("count", [100, pytest.param(COUNT, marks=pytest.mark.slow)])
def test_instances_are_of_many_kinds(count: int) -> None:
    # Agreement means little if all optima are alike: what they turn on has to vary.
    found = [traits(number) for number in range(count)]
    feasible = [t for t in found if t.optimum is not None]
    shares = {
        "remote homes at the optimum": sum(bool(t.optimum.plan.homes) for t in feasible if t.optimum) / count,
        "homes needed": sum(t.needs_remote for t in found) / count,
        "a link or port binds": sum(t.contended for t in found) / count,
        "infeasible": 1 - len(feasible) / count,
        "fewer chunks than allowed": sum(t.fewer_chunks for t in found) / count,
    }
    assert shares["remote homes at the optimum"] >= 0.25, shares
    assert shares["homes needed"] >= 0.25, shares
    assert shares["a link or port binds"] >= 0.15, shares
    assert shares["infeasible"] >= 0.15, shares
    assert shares["fewer chunks than allowed"] >= 0.15, shares
