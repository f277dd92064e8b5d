"""Streamed weights, exports and prefix loads: tables, replays, programs, bounds; brute force is the judge."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from builders import make_tables
from contention_free_oracle import contention_free_latency
from oracle import brute_force, lockstep_price, price_plan
from random_fixed_messages import EXPORT, PREFIX, WEIGHTS, random_case, with_export, with_weights
from random_plans import random_plan
from random_pools import with_pool
from simpy_twin import twin

from mocap_opt.bounds import BOUNDS, Scope, lower_bounds
from mocap_opt.formulations import (
    benders,
    benders_cpsat,
    contention_free,
    contention_free_cpsat,
    joint,
    joint_cpsat,
)
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.solvers.outcome import Status
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.tables_file import tables_from_dict, tables_to_dict

LOCKSTEP = [
    joint.solve_joint,
    joint_cpsat.solve_joint,
    benders.solve_decomposition,
    benders_cpsat.solve_decomposition,
]
CONTENTION_FREE = [contention_free.solve_contention_free, contention_free_cpsat.solve_contention_free]

KINDS = pytest.mark.parametrize("kinds", [(WEIGHTS,), (EXPORT,), (PREFIX,), ()])


def exported_over_one_link() -> Tables:
    """Two stages, 10 ticks a token, pages of 30 bytes that all leave over one link of 2 bytes a tick."""
    tables = make_tables(2, 2, max_chunks=2, token_bytes=30)
    return with_export(with_pool(tables, 0, capacity=0, rate=2), 2)


@pytest.mark.parametrize("boundaries", [(0, 2), (0, 1, 2)])
def test_exports_over_one_link(boundaries: tuple[int, ...]):
    tables, plan = exported_over_one_link(), Plan(boundaries)
    assert replay_event(tables, plan).latency == replay_lockstep(tables, plan).latency == 60


@pytest.mark.parametrize(("overlap", "latency"), [(1, 10), (0, 16), (Fraction(1, 2), 11)])
def test_weights_ahead_and_on_demand(overlap: Fraction | int, latency: int):
    tables = with_pool(make_tables(1, 1, linear=6, max_chunks=1), 0, capacity=40, rate=4)
    tables, plan = with_weights(tables, [40], 1, overlap), Plan((0, 1))
    assert replay_event(tables, plan).latency == replay_lockstep(tables, plan).latency == latency


def test_the_bound_of_exports_over_one_link():
    assert BOUNDS["fixed_messages"](exported_over_one_link()).ticks == 60
    assert BOUNDS["fixed_messages"](make_tables(2, 2)) is None


@KINDS
@pytest.mark.parametrize("count", [6, pytest.param(300, marks=pytest.mark.slow)])
def test_replays_are_those_of_oracle_and_twin_and_beat_no_bound(kinds: tuple[int, ...], count: int):
    rng = np.random.default_rng([count, *kinds])
    moved = 0
    for n in range(count):
        tables = random_case(rng, kinds, name=f"tiny {n}")
        plan = random_plan(tables, rng, scatter=0.4)
        if plan is None:
            continue
        event, lockstep = replay_event(tables, plan), replay_lockstep(tables, plan)
        assert lockstep.latency == price_plan(tables, plan, lockstep_price), tables.name
        assert [[*row] for row in event.end] == twin(tables, plan)[1], tables.name
        without = replace(tables, fixed_messages=None)
        moved += event.latency > replay_event(without, plan).latency
        for bound in lower_bounds(tables, quick=False, without=("energetic_traffic",)):
            either = min(event.latency, lockstep.latency)
            limit = lockstep.latency if bound.scope is Scope.LOCKSTEP else either
            assert bound.ticks <= limit, (bound, tables.name)
    assert moved or count < 20


@KINDS
@pytest.mark.parametrize("count", [4, pytest.param(300, marks=pytest.mark.slow)])
def test_programs_agree_with_brute_force(kinds: tuple[int, ...], count: int):
    rng = np.random.default_rng([7, *kinds])
    for n in range(count):
        tables = random_case(rng, kinds, name=f"tiny {n}")
        for price, programs in ((lockstep_price, LOCKSTEP), (contention_free_latency, CONTENTION_FREE)):
            best = brute_force(tables, price)
            for solve_program in programs:
                result = solve_program(tables, None, time_limit_s=60.0, threads=1)
                if best is None:
                    assert result.outcome.status is Status.INFEASIBLE, tables.name
                    continue
                found = result.outcome.objective, result.outcome.bound
                assert found == (best.value, best.value), (tables.name, solve_program)
                if price is lockstep_price:
                    assert replay_lockstep(tables, result.plan).latency == best.value
                else:
                    assert best.value <= min(replay_event(tables, result.plan).latency, brute(tables))


def brute(tables: Tables) -> int:
    """The least lockstep latency."""
    return brute_force(tables, lockstep_price).value


def test_a_chunk_takes_at_least_what_its_messages_need_alone():
    tables = exported_over_one_link()
    assert tables.tau(0, [0, 0], [1, 2]).tolist() == [15, 30]
    assert tables.compute_time(0, [0, 0], [1, 2]).tolist() == [10, 20]
    assert replace(tables, fixed_messages=None).excess is None


def test_files_hold_messages_and_only_where_there_are_some():
    tables = exported_over_one_link()
    data = tables_to_dict(tables)
    assert (data["dimensions"]["message"], data["dimensions"]["entry"]) == (2, 7)
    assert np.array_equal(tables_from_dict(data).fixed_messages, tables.fixed_messages)
    plain = tables_to_dict(make_tables(2, 4))
    assert not {"message", "entry"} & {*plain["dimensions"]}
    assert "fixed_messages" not in plain["fields"]
