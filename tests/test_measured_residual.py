"""Tables with a residual, as measured times have: no bound beaten, and every exact method exact."""

from __future__ import annotations

import json
from dataclasses import replace

import foreign_checker
import numpy as np
import pytest
from builders import make_tables
from contention_free_oracle import contention_free_latency
from oracle import brute_force, least_price, price_plan
from period_oracle import brute_force_period
from random_plans import random_plan
from random_tables import TINY_PAIR, TINY_TRIPLE, random_tables

from mocap_opt.baselines import METHODS
from mocap_opt.bounds import Scope, lower_bounds, prove_infeasible
from mocap_opt.bounds.period import period_bounds
from mocap_opt.chunking.bottleneck_partition import min_max_partition
from mocap_opt.chunking.longest_chunk_time import BottleneckTimes
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.formulations import contention_free_cpsat
from mocap_opt.formulations import period as program
from mocap_opt.formulations import period_cpsat as program_cpsat
from mocap_opt.formulations.contention_free import solve_contention_free
from mocap_opt.formulations.joint import solve_joint as solve_with_highs
from mocap_opt.formulations.joint_cpsat import solve_joint as solve_with_cpsat
from mocap_opt.formulations.presolve import slot_range
from mocap_opt.questions.max_context.instance_family import shorten
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan_file import plan_to_dict
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.tables_file import tables_from_dict, tables_to_dict


def with_residual(rng: np.random.Generator, tables: Tables) -> Tables:
    """Add a residual as ragged as can be: large or small, alike or not, often 0."""
    points = tables.steps + 1
    alike = rng.random() < 0.4
    most = int(rng.choice([1, 5, 40, 200]))
    drawn = rng.integers(0, most + 1, (1 if alike else tables.stages, points, points))
    drawn[rng.random(drawn.shape) < rng.choice([0.0, 0.5])] = 0
    residual = np.triu(np.broadcast_to(drawn, (tables.stages, points, points)), 1)
    return replace(tables, residual=np.ascontiguousarray(residual))


def measured(seed: int, count: int, *sizes: object) -> list[Tables]:
    rng = np.random.default_rng(seed)
    drawn = []
    for n in range(count):
        size = [sizes[n % len(sizes)]] if sizes else []
        drawn.append(with_residual(rng, random_tables(rng, *size, name=f"measured {n}")))  # type: ignore[arg-type]
    return drawn


def test_tau_adds_the_residual_and_the_file_keeps_it() -> None:
    tables = measured(1, 1)[0]
    plain = replace(tables, residual=None)
    a, b = np.triu_indices(tables.steps + 1, 1)
    assert tables.residual is not None
    for i in range(tables.stages):
        assert np.array_equal(tables.tau(i, a, b), plain.tau(i, a, b) + tables.residual[i, a, b])
    again = tables_from_dict(json.loads(json.dumps(tables_to_dict(tables))))
    assert again.residual is not None
    assert np.array_equal(again.residual, tables.residual)
    assert "residual" not in tables_to_dict(plain)["fields"]


def test_a_checker_that_is_not_ours_agrees() -> None:
    rng = np.random.default_rng(9)
    for tables in measured(10, 10):
        plan = random_plan(tables, rng)
        if plan is None:
            continue
        written = json.loads(json.dumps(tables_to_dict(tables)))
        answer = foreign_checker.check(written, plan_to_dict(plan, tables.name, tables))
        assert answer["latency_ticks"] == replay_lockstep(tables, plan).latency


def test_wrong_residuals_are_refused() -> None:
    tables = measured(2, 1)[0]
    points = tables.steps + 1
    with pytest.raises(ValueError, match="residual: expected no negative entry"):
        replace(tables, residual=np.full((tables.stages, points, points), -1))
    with pytest.raises(ValueError, match="residual: expected int64"):
        replace(tables, residual=np.zeros((tables.stages, points), dtype=np.int64))


def test_a_shorter_prompt_keeps_its_part() -> None:
    tables = next(t for t in measured(3, 20) if t.tokens % t.quantum == 0)
    short = shorten(tables, tables.steps - 1)
    start, end = np.triu_indices(short.steps, 1)  # not the last chunk, whose end was not the last before
    assert np.array_equal(short.tau(0, start, end), tables.tau(0, start, end))


def test_the_clock_reads_the_residual() -> None:
    for tables in measured(4, 10):
        clock = BottleneckTimes(tables)
        for a, b in ((0, 1), (0, tables.steps), (tables.steps // 2, tables.steps)):
            stages = np.arange(tables.stages)
            assert clock.time(a, b) == (tables.tau(stages, a, b) + tables.send_time(stages, a, b)).max()


def test_no_random_plan_beats_a_bound() -> None:
    rng, checked = np.random.default_rng(5), 0
    for tables in measured(6, 15):
        bounds = lower_bounds(tables)
        for _ in range(3):
            plan = random_plan(tables, rng)
            if plan is None:
                break
            checked += 1
            price, lockstep = price_plan(tables, plan, least_price), replay_lockstep(tables, plan).latency
            event = replay_event(tables, plan).latency
            for bound in bounds:
                limit = price if bound.scope is Scope.ANY_EXECUTION else lockstep
                assert bound.ticks <= limit, (bound, tables.name, plan)
                assert bound.scope is Scope.LOCKSTEP or bound.ticks <= event
    assert checked > 20


def test_no_optimum_beats_a_bound_and_programs_find_it() -> None:
    solved = 0
    for tables in measured(7, 24, TINY_PAIR, TINY_TRIPLE):
        best = brute_force(tables)
        answers = [solve_with_cpsat(tables, threads=1).outcome, solve_with_highs(tables, threads=1).outcome]
        if best is None:
            assert [answer.objective for answer in answers] == [None, None]
            continue
        solved += 1
        assert prove_infeasible(tables) is None
        assert [answer.objective for answer in answers] == [best.value] * 2
        anywhere = brute_force(tables, least_price)
        assert anywhere is not None
        for bound in lower_bounds(tables, quick=False):
            limit = anywhere.value if bound.scope is Scope.ANY_EXECUTION else best.value
            assert bound.ticks <= limit, (bound, tables.name)
        least = brute_force(tables, contention_free_latency)
        assert least is not None
        assert solve_contention_free(tables).outcome.objective == least.value
        assert contention_free_cpsat.solve_contention_free(tables, threads=1).outcome.objective == least.value
    assert solved > 10


def test_the_period_too() -> None:
    solved = 0
    for tables in measured(12, 6, TINY_PAIR):
        tables = tables if tables.queue_depth else replace(tables, queue_depth=1)
        bounds, _ = period_bounds(tables)
        for slots in slot_range(tables):
            known = brute_force_period(tables, slots)
            if known is None:
                continue
            solved += 1
            answers = [
                program_cpsat.solve_period(tables, slots, threads=1),
                program.solve_period(tables, slots),
            ]
            assert [answer.outcome.objective for answer in answers] == [known.value] * 2
            assert all(bound.ticks <= known.value for bound in bounds)
    assert solved > 5


def test_a_search_ends_although_shorter_chunks_are_slower() -> None:
    # Three chunks of one step each, as it must be; the last takes 241, the whole prompt at once 30.
    tables = make_tables(2, 3, max_chunks=3, exact=True, linear=10)
    residual = np.zeros((2, 4, 4), dtype=np.int64)
    residual[:, 2, 3] = 231
    tables = replace(tables, residual=residual)
    walk = min_max_partition(BottleneckTimes(tables), LengthLimits.of(tables), 3, exact=True)
    assert walk is not None
    assert walk.indices is not None
    assert (walk.indices.tolist(), walk.longest) == ([0, 1, 2, 3], 241)


def test_every_heuristic_runs() -> None:
    found = 0
    for tables in measured(8, 3):
        for method in METHODS.values():
            plan = method.propose(tables)
            found += plan is not None
    assert found > 5
