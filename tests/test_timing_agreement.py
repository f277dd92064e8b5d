"""Availability, decode loop, limit between tokens: programs, replays, bounds against brute force."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from contention_free_oracle import contention_free_latency
from oracle import brute_force, least_price, lockstep_price, price_plan
from random_plans import random_plan
from random_tables import TINY_PAIR, TINY_TRIPLE, random_tables
from random_timing import with_timing

from mocap_opt.bounds import Scope, lower_bounds, prove_infeasible
from mocap_opt.formulations import (
    benders,
    benders_cpsat,
    contention_free,
    contention_free_cpsat,
    joint,
    joint_cpsat,
)
from mocap_opt.replay.contention_free_makespan import contention_free_latency as no_faster
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers.outcome import Status
from mocap_opt.tables.cost_tables import Tables

WAITING = ("energetic_traffic", "enumerated_partitions")
"""Bounds that know more than the recursion: what links carry, and that memory has to be free."""

KINDS = {"availability": "a", "loop": "l", "between tokens": "b", "together": "alb"}


@cache
def instances(kind: str, count: int) -> list[Tables]:
    rng = np.random.default_rng([*kind.encode(), count])
    sizes = [TINY_TRIPLE if n % 3 == 0 else TINY_PAIR for n in range(count)]
    return [
        with_timing(rng, random_tables(rng, size, f"{kind} {n}"), KINDS[kind]) for n, size in enumerate(sizes)
    ]


@pytest.mark.parametrize("count", [8, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "solve",
    [
        joint.solve_joint,
        benders.solve_decomposition,
        joint_cpsat.solve_joint,
        benders_cpsat.solve_decomposition,
    ],
    ids=["highs", "highs-decomposed", "cpsat", "cpsat-decomposed"],
)
def test_lockstep_programs_agree_with_brute_force(solve, kind: str, count: int):
    for tables in instances(kind, count):
        best = brute_force(tables, lockstep_price)
        result = solve(tables, None, time_limit_s=60.0, threads=1)
        if best is None:
            assert result.outcome.status is Status.INFEASIBLE, tables.name
            continue
        assert (result.outcome.objective, result.outcome.bound) == (best.value, best.value), tables.name
        assert not violations(tables, result.plan)
        assert replay_lockstep(tables, result.plan).latency == best.value


@pytest.mark.parametrize("count", [8, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "solve",
    [contention_free.solve_contention_free, contention_free_cpsat.solve_contention_free],
    ids=["highs", "cpsat"],
)
def test_contention_free_programs_agree_with_brute_force(solve, kind: str, count: int):
    for tables in instances(kind, count):
        best = brute_force(tables, contention_free_latency)
        result = solve(tables, None, time_limit_s=60.0, threads=1)
        if best is None:
            assert result.outcome.status is Status.INFEASIBLE, tables.name
            continue
        assert (result.outcome.objective, result.outcome.bound) == (best.value, best.value), tables.name


@pytest.mark.parametrize("count", [15, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_no_optimum_beats_a_bound(kind: str, count: int):
    for tables in instances(kind, count):
        best = brute_force(tables, lockstep_price)
        if best is None:
            continue
        assert prove_infeasible(tables) is None
        fastest = brute_force(tables, least_price)
        for bound in lower_bounds(tables, quick=count < 100):
            limit = fastest.value if bound.scope is Scope.ANY_EXECUTION else best.value
            if bound.name in WAITING:
                runs = [replay_event(tables, each.plan).latency for each in (best, fastest)]
                limit = min(*runs, best.value)
            assert bound.ticks <= limit, (bound, tables.name)


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_run_beats_a_bound(count: int):
    rng = np.random.default_rng(count)
    priced = 0
    for n in range(count):
        tables = with_timing(rng, random_tables(rng, name=f"instance {n}"), "al")
        plan = random_plan(tables, rng)
        if plan is None:
            continue
        priced += 1
        event, lockstep = replay_event(tables, plan), replay_lockstep(tables, plan)
        assert price_plan(tables, plan, lockstep_price) == lockstep.latency, tables.name
        assert price_plan(tables, plan, least_price) <= min(event.latency, lockstep.latency)
        assert no_faster(tables, plan) <= min(event.latency, lockstep.latency)
        for bound in lower_bounds(tables):
            either = min(event.latency, lockstep.latency)
            limit = either if bound.scope is Scope.ANY_EXECUTION else lockstep.latency
            assert bound.ticks <= limit, (bound, tables.name)
        unlooped = replace(tables, loop=False)
        assert replay_lockstep(unlooped, plan).latency == lockstep.latency
    assert priced > count / 2
