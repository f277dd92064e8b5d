"""Windows for boundaries: what they leave out is worse than the plan they come from."""

from __future__ import annotations

import numpy as np
import pytest
from builders import make_tables
from contention_free_oracle import contention_free_latency
from oracle import brute_force, lockstep_price
from random_tables import random_instances, random_tables

from mocap_opt.flow_shop.chunk_times import least_sends
from mocap_opt.formulations import chunk_graph as graphs
from mocap_opt.formulations import contention_free_cpsat, joint_cpsat
from mocap_opt.formulations.chunk_graph import windows_within
from mocap_opt.formulations.slot_times import message_table, message_times
from mocap_opt.solvers import cpsat
from mocap_opt.solvers.limits import Limits

ONE = Limits(threads=1)


@pytest.mark.parametrize("price", [lockstep_price, contention_free_latency])
def test_windows_keep_the_optimum_and_the_relaxation_below_it(price) -> None:
    in_lockstep, checked, narrowed = price is lockstep_price, 0, 0
    build = joint_cpsat.build if in_lockstep else contention_free_cpsat.build
    for tables in random_instances(seed=77, count=80):
        best = brute_force(tables, price)
        if best is None:
            continue
        optimum = int(best.value)
        windows = windows_within(tables, optimum, sends=None if in_lockstep else least_sends(tables))
        assert windows is not None, tables.name
        marks = [0] * (tables.counts[-1] - best.plan.chunks) + best.plan.grid_indices(tables).tolist()
        assert all(low <= mark <= high for (low, high), mark in zip(windows, marks, strict=True)), tables.name
        outcome = cpsat.solve(build(tables, windows=windows).program, limits=ONE).outcome
        assert outcome.objective == optimum, tables.name
        narrowed += windows != windows_within(tables, 10**15)
        checked += 1
    assert checked > 50
    assert narrowed > 25


def test_windows_narrow_with_the_target() -> None:
    tables = make_tables(4, 16, max_chunks=8, quadratic=1, constant=5)
    best = joint_cpsat.solve_joint(tables, threads=1).outcome.objective
    assert best is not None
    wide, tight = windows_within(tables, 2 * best), windows_within(tables, best)
    assert wide is not None
    assert tight is not None
    assert sum(b - a for a, b in tight) < sum(b - a for a, b in wide)
    assert windows_within(tables, 1) is None


def test_no_windows_for_graphs_that_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = make_tables(2, 8, max_chunks=4)
    assert windows_within(tables, 10**6) is not None
    monkeypatch.setattr(graphs, "MOST_ARCS", 4 * 9**2 - 1)
    assert windows_within(tables, 10**6) is None


def test_the_table_of_messages_holds_the_times_of_all_chunks():
    rng = np.random.default_rng(12)
    for _ in range(10):
        tables = random_tables(rng)
        a, b = np.triu_indices(tables.steps + 1, 1)
        stages = np.arange(tables.stages)[:, None]
        by_length = message_table(tables)[:, (b == tables.steps).astype(int), b - a]
        assert np.array_equal(by_length, message_times(tables, stages, a, b))
