"""Profiles, rings and mini-sequences: programs, replays and bounds against brute force."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from oracle import Optimum, brute_force, least_price, lockstep_price, price_plan
from period_oracle import brute_force_period
from random_plans import random_plan
from random_profiles import random_profiled_tables
from stream_oracle import brute_force as stream_optimum
from stream_oracle import random_stream

from mocap_opt.bounds import Scope, lower_bounds, prove_infeasible
from mocap_opt.bounds.makespan import makespan_bounds
from mocap_opt.bounds.period import period_bounds
from mocap_opt.formulations import joint, joint_cpsat, period, period_cpsat
from mocap_opt.formulations.benders import solve_decomposition
from mocap_opt.replay.event import replay_event, run_event
from mocap_opt.replay.lockstep import replay_lockstep, run_lockstep
from mocap_opt.schedule.verify import smallest_interval, violations
from mocap_opt.search.stream_enumeration import solve_exactly
from mocap_opt.solvers.outcome import Status
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.reserve import plain_reserve


@cache
def cases(seed: int, count: int) -> list[tuple[Tables, Optimum | None]]:
    """Tiny instances with a profile of every kind, windows and prefixes; and their lockstep optima."""
    rng = np.random.default_rng(seed)
    drawn = [random_profiled_tables(rng, name=f"profile {n}") for n in range(count)]
    return [(tables, brute_force(tables, lockstep_price)) for tables in drawn]


COUNTS = [10, pytest.param(300, marks=pytest.mark.slow)]
SOLVERS = {"highs": joint.solve_joint, "cpsat": joint_cpsat.solve_joint, "decomposition": solve_decomposition}


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_programs_agree_with_brute_force(solver: str, count: int):
    feasible, remote = 0, 0
    for tables, best in cases(11, count):
        result = SOLVERS[solver](tables, None, time_limit_s=60.0, threads=1)
        if best is None:
            assert result.outcome.status is Status.INFEASIBLE, tables.name
            continue
        assert (result.outcome.objective, result.outcome.bound) == (best.value, best.value), tables.name
        assert not violations(tables, result.plan)
        assert replay_lockstep(tables, result.plan).latency == best.value
        feasible += 1
        remote += bool(best.plan.homes)
    assert feasible > count / 3
    assert remote >= count // 20


@pytest.mark.parametrize("count", [25, pytest.param(300, marks=pytest.mark.slow)])
def test_no_optimum_beats_a_bound(count: int):
    seen = 0
    for tables, best in cases(12, count):
        if best is None:
            continue
        assert prove_infeasible(tables) is None, tables.name
        anywhere = brute_force(tables, least_price).value
        for bound in lower_bounds(tables, quick=count < 100, without=("energetic_traffic",)):
            limit = anywhere if bound.scope is Scope.ANY_EXECUTION else best.value
            assert bound.ticks <= limit, (bound, tables.name)
            seen += 50 * (limit - bound.ticks) <= limit
    assert seen > count


@pytest.mark.parametrize("count", [15, pytest.param(400, marks=pytest.mark.slow)])
def test_no_run_beats_a_bound(count: int):
    rng, seen = np.random.default_rng(count), 0
    for n in range(count):
        tables = random_profiled_tables(rng, name=f"run {n}")
        plan = random_plan(tables, rng)
        if plan is None:
            continue
        seen += 1
        event, lockstep = replay_event(tables, plan), replay_lockstep(tables, plan)
        assert price_plan(tables, plan, lockstep_price) == lockstep.latency
        for bound in lower_bounds(tables):
            either = min(event.latency, lockstep.latency)
            limit = either if bound.scope is Scope.ANY_EXECUTION else lockstep.latency
            assert bound.ticks <= limit, (bound, tables.name)
    assert seen > count / 3


@pytest.mark.parametrize("count", [6, pytest.param(100, marks=pytest.mark.slow)])
def test_periods_agree_with_brute_force_and_no_bound_is_beaten(count: int):
    rng, seen = np.random.default_rng(4), 0
    for n in range(count):
        tables = random_profiled_tables(rng, endless=True, name=f"period {n}")
        found, _ = period_bounds(tables)
        known = []
        for slots in range(1, max(tables.counts) + tables.stages):
            each = brute_force_period(tables, slots)
            for solve_period in (period.solve_period, period_cpsat.solve_period):
                result = solve_period(tables, slots, time_limit_s=60.0, threads=1)
                wanted = None if each is None else each.value
                assert result.outcome.objective == wanted, (tables.name, slots)
            known += [] if each is None else [each]
        best = min(known, key=lambda each: each.value, default=None)
        if best is None:
            continue
        seen += 1
        assert all(bound.ticks <= best.value for bound in found), tables.name
        assert run_lockstep(smallest_interval(tables, best.plan)).period >= best.value
    assert seen > count / 3


def with_rings(rng: np.random.Generator, tables: Tables, spans: list[int], capped: bool) -> Tables:
    """The tables with rings of these spans, and buffers that a limit caps."""
    size = (tables.memories, len(spans))
    found = replace(
        tables,
        ring_span=np.array(spans, dtype=np.int64),
        ring_bytes=rng.integers(0, 3, size).astype(np.int64),
    )
    if not capped:
        return found
    columns = {name: rng.integers(0, 4, tables.memories) for name in ("buffer_bytes", "logit_bytes")}
    return replace(found, buffer_limit=rng.integers(0, 9, tables.memories), **columns)


@pytest.mark.parametrize("count", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_streams_agree_with_brute_force_and_no_bound_is_beaten(count: int):
    rng, seen = np.random.default_rng(6), 0
    for _ in range(count):
        requests, order_given = random_stream(rng)
        spans, capped = sorted({int(n) for n in rng.integers(1, 6, 2)}), bool(rng.random() < 0.5)
        changed = [with_rings(rng, r.tables, spans, capped) for r in requests]
        spare = rng.integers(0, 12, changed[0].memories)
        changed = [replace(tables, capacity=tables.capacity + spare) for tables in changed]
        requests = tuple(replace(r, tables=t) for r, t in zip(requests, changed, strict=True))
        best, found = stream_optimum(requests, order_given), solve_exactly(requests, order_given)
        assert (best is None) == (found is None)
        if best is None:
            continue
        seen += 1
        assert run_lockstep(found).latency == best.makespan
        fastest = min(run_event(found).completion[-1], best.makespan)
        for bound in makespan_bounds(requests, order_given):
            assert bound.ticks <= (best.makespan if bound.scope is Scope.LOCKSTEP else fastest), bound
    assert seen > count / 3


def test_the_reserve_never_falls_with_the_longest_chunk():
    rng, rises = np.random.default_rng(8), 0
    for n in range(40):
        tables = random_profiled_tables(rng, name=f"reserve {n}")
        sizes = np.array([tables.reserve(length) for length in range(1, tables.tokens + 1)])
        assert (np.diff(sizes, axis=0) >= 0).all()
        rises += not plain_reserve(tables) and bool(np.diff(sizes, axis=0).any())
    assert rises > 10
