"""Memories without a stage: files, programs, replays and bounds place KV there; brute force is the judge."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from builders import make_tables
from oracle import Optimum, brute_force, least_price, lockstep_price, price_plan
from random_plans import random_plan
from random_pools import with_pool, with_random_pools
from random_tables import TINY_PAIR, random_tables
from simpy_twin import twin

from mocap_opt.bounds import BOUNDS, Scope, lower_bounds, prove_infeasible
from mocap_opt.bounds.period import period_bounds
from mocap_opt.formulations import joint, joint_cpsat
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep, run_lockstep
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.verify import memory_use, smallest_interval, violations
from mocap_opt.solvers.outcome import Status
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.tables_file import tables_from_dict, tables_to_dict


@cache
def cases(seed: int, count: int) -> list[tuple[Tables, Optimum | None]]:
    """Tiny instances, every third of one stage, with a memory without a stage; and their lockstep optima."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(count):
        tables = random_tables(rng, TINY_PAIR, f"tiny {n}")
        if n % 3 == 0:
            each = int(rng.integers(1, 4))
            room = each * int(rng.integers(0, 5))
            tables = make_tables(1, 4, max_chunks=3, token_bytes=each, capacity=room)
        tables = with_random_pools(rng, tables, 1)
        found.append((tables, brute_force(tables, lockstep_price)))
    return found


COUNTS = [12, pytest.param(300, marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("solve", [joint.solve_joint, joint_cpsat.solve_joint], ids=["highs", "cpsat"])
def test_programs_agree_with_brute_force(solve, count: int):
    used = 0
    for tables, best in cases(3, count):
        result = solve(tables, None, time_limit_s=60.0, threads=1)
        if best is None:
            assert result.outcome.status is Status.INFEASIBLE, tables.name
            continue
        assert (result.outcome.objective, result.outcome.bound) == (best.value, best.value), tables.name
        assert not violations(tables, result.plan)
        assert replay_lockstep(tables, result.plan).latency == best.value
        used += any(home.memory >= tables.stages for home in result.plan.homes)
    assert used > count / 6


@pytest.mark.parametrize("count", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_no_optimum_beats_a_bound_and_two_per_cent_more_would(count: int):
    beaten = set()
    for tables, best in cases(4, count):
        if best is None:
            continue
        assert prove_infeasible(tables) is None
        anywhere = brute_force(tables, least_price).value
        for bound in lower_bounds(tables, quick=count < 100, without=("energetic_traffic",)):
            limit = anywhere if bound.scope is Scope.ANY_EXECUTION else best.value
            assert bound.ticks <= limit, (bound, tables.name)
            if limit >= 50 and bound.ticks * 1.02 > limit:
                beaten.add(bound.name)
        traffic = BOUNDS["energetic_traffic"](tables)
        run = min(replay_event(tables, best.plan).latency, best.value)
        assert traffic is None or traffic.ticks <= run, tables.name
    assert {"crossing_pooled_memory", "slot_mixture"} <= beaten if count < 100 else len(beaten) >= 8


@pytest.mark.parametrize("count", [20, pytest.param(400, marks=pytest.mark.slow)])
def test_no_run_beats_a_bound(count: int):
    rng = np.random.default_rng(count)
    seen = 0
    for n in range(count):
        tables = with_random_pools(rng, random_tables(rng, name=f"instance {n}"))
        plan = random_plan(tables, rng)
        if plan is None:
            continue
        seen += any(home.memory >= tables.stages for home in plan.homes)
        event, lockstep = replay_event(tables, plan), replay_lockstep(tables, plan)
        assert price_plan(tables, plan, lockstep_price) == lockstep.latency
        for bound in lower_bounds(tables):
            either = min(event.latency, lockstep.latency)
            limit = either if bound.scope is Scope.ANY_EXECUTION else lockstep.latency
            assert bound.ticks <= limit, (bound, tables.name)
        if n % 4 == 0:
            bounded = replace(tables, queue_depth=tables.queue_depth or 2)
            periodic = smallest_interval(bounded, plan)
            if periodic is not None:
                period = run_lockstep(periodic).period
                found, _ = period_bounds(bounded)
                assert all(b.ticks <= period for b in found), tables.name
    assert seen > count / 3


def test_event_runs_are_those_of_the_twin():
    rng = np.random.default_rng(8)
    for n in range(12):
        tables = with_random_pools(rng, random_tables(rng, TINY_PAIR, f"tiny {n}"), 1)
        plan = random_plan(tables, rng, scatter=0.6)
        if plan is not None:
            run = replay_event(tables, plan)
            assert [[*row] for row in run.end] == twin(tables, plan)[1], tables.name


def test_a_pool_alone_by_hand():
    # One stage, four chunks of one token, tau 2; all KV over links of a byte a tick: 2 + 2 + 2 + 3.
    tables = make_tables(1, 4, linear=2, max_chunks=4, exact=True, capacity=0)
    tables = with_pool(tables, 0, capacity=4, rate=1)
    plan = Plan((0, 1, 2, 3, 4), tuple(Home(0, j, 1, 1) for j in range(4)))
    assert not violations(tables, plan)
    assert memory_use(tables, plan).tolist() == [[0, 0, 0, 0], [1, 2, 3, 4]]
    assert replay_event(tables, plan).latency == replay_lockstep(tables, plan).latency == 9
    assert joint_cpsat.solve_joint(tables, None, time_limit_s=60.0, threads=1).outcome.objective == 9
    assert violations(tables, replace(plan, homes=()))[0].memory == 0
    crowded = replace(tables, capacity=np.array([0, 3]))
    (short,) = violations(crowded, plan)
    assert (short.memory, short.slot, short.bytes_short) == (1, 3, 1)
    assert str(short).startswith("memory 1 (pool 0), slot 3")


def test_a_pool_without_room_changes_no_optimum():
    for tables, _ in cases(5, 12):
        stages = tables.stages
        empty = replace(tables, capacity=np.append(tables.capacity[:stages], tables.static[stages:]))
        empty = replace(empty, staging=np.append(tables.staging[:stages], [0]))
        inner = slice(0, stages)
        without = replace(
            empty,
            pools=(),
            share=empty.share[:, inner, inner],
            hop_ticks=empty.hop_ticks[inner, inner],
            **{
                name: getattr(empty, name)[inner]
                for name in "prefix_bytes capacity static staging working_bytes port_rate".split()
            },
        )
        both = [brute_force(each, lockstep_price) for each in (empty, without)]
        assert len({None if best is None else best.value for best in both}) == 1


def test_files_name_pools_and_only_where_there_are_some():
    tables = with_pool(make_tables(2, 4), 1, capacity=7, rate=3)
    data = tables_to_dict(tables)
    assert data["fields"]["pools"]["value"] == ["pool 0"]
    assert [data["dimensions"][axis] for axis in ("stage", "memory", "pool")] == [2, 3, 1]
    again = tables_from_dict(data)
    assert again.pools == tables.pools
    assert np.array_equal(again.share, tables.share)
    plain = tables_to_dict(make_tables(2, 4))
    assert "pools" not in plain["fields"]
    assert "pool" not in plain["dimensions"]
