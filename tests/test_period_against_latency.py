"""The period against the latency of one request: a plan can always be repeated once it has ended."""

from __future__ import annotations

import numpy as np
import pytest
from builders import make_tables
from test_streams_one_request import random_prompt

import mocap_opt
from mocap_opt.bounds import Scope
from mocap_opt.homes.greedy import pooled_fit
from mocap_opt.instance import Instance
from mocap_opt.lower_bound import best
from mocap_opt.replay.evaluation import Execution
from mocap_opt.replay.lockstep import run_lockstep
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving import solve
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.solving.joint import solve_jointly
from mocap_opt.solving.period_search import best_period
from mocap_opt.solving.strategy import choose
from mocap_opt.stopping import Deadline
from mocap_opt.tables import build_tables

LIMIT_S = 20.0


@pytest.mark.parametrize("count", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_no_period_is_worse_than_a_plan_repeated_once_it_has_ended(count: int) -> None:
    rng = np.random.default_rng(41)
    repeated = 0
    for _ in range(count):
        data = random_prompt(rng)
        tables = build_tables(Instance.from_dict(data))
        alone = mocap_opt.solve(data, execution="lockstep", time_limit_s=LIMIT_S)
        found = solve(Instance.from_dict({**data, "objective": "period"}), time_limit_s=LIMIT_S)
        headline = best(found.lower_bounds, {Scope.ANY_EXECUTION})
        lockstep = best(found.lower_bounds, {Scope.ANY_EXECUTION, Scope.LOCKSTEP})
        if found.assessment is not None:
            assert headline is None or headline.ticks <= found.assessment.period
            assert lockstep is None or lockstep.ticks <= found.assessment.lockstep.period
        if alone.plan is None:
            continue
        # Queues of endless requests are not capped at one request's tokens: then the plan may not fit.
        length = alone.plan.chunks + tables.stages - 1
        again = Schedule.of(tables, alone.plan, length)
        if schedule_violations(again):
            continue
        repeated += 1
        assert found.report.status is not Status.INFEASIBLE
        assert found.assessment is not None
        latency = run_lockstep(Schedule.of(tables, alone.plan)).latency
        assert run_lockstep(again).period == latency
        assert found.assessment.period <= latency
        assert lockstep is None or lockstep.ticks <= latency
    assert repeated >= 0.25 * count


def test_where_no_two_requests_overlap_the_period_is_the_latency_with_its_bound() -> None:
    rng = np.random.default_rng(43)
    for _ in range(5):
        tokens = int(rng.integers(3, 8))
        # A chunk a request on two stages: at W = 1 both hold all their KV at once, at W = 2 they take turns.
        room = int(rng.integers(tokens, 2 * tokens))
        own = int(rng.integers(room // 2, room + 1))
        tables = make_tables(
            stages=2,
            tokens=tokens,
            max_chunks=1,
            linear=int(rng.integers(1, 20)),
            token_bytes=1,
            capacity=[own, room - own],
            queue_depth=1,
        )
        assert not pooled_fit(tables, np.array([[0, tables.steps]]), 1)[0]
        alone = SearchState(tables, Deadline(LIMIT_S), 0.0, execution=Execution.LOCKSTEP)
        solve_jointly(alone, choose(tables, Execution.LOCKSTEP, "auto", by_size=True), seed=0)
        search = best_period(tables, deadline=Deadline(LIMIT_S), gap=0.0)
        assert alone.best is not None
        assert search.best is not None
        assert search.best.schedule.slots == 2
        assert search.best.lockstep.period == alone.best.lockstep.latency
        bounds = [
            best(found, {Scope.ANY_EXECUTION, Scope.LOCKSTEP}) for found in (alone.bounds, search.bounds)
        ]
        assert [bound and bound.ticks for bound in bounds] == [alone.best.lockstep.latency] * 2
