"""Branching on boundaries: never above any plan, whatever the target; each way to narrow earns its place."""

from dataclasses import replace

import numpy as np
import pytest
from builders import make_tables
from oracle import brute_force, least_price, price_plan
from random_plans import descend, random_plan
from random_tables import random_instances, random_tables

from mocap_opt.bounds import boundary_branching as branching
from mocap_opt.bounds import crossing as pairs_of_stages
from mocap_opt.bounds.boundary_branching import BoundarySearch, boundary_branching, branch_on_boundaries
from mocap_opt.bounds.crossing_search import PairSearch
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.partition_pricing import PartitionPricer
from mocap_opt.bounds.path_relaxation import path_relaxation
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.tables.cost_tables import Tables

UNEQUAL = {"linear": [100, 130, 130, 90], "quadratic": [5, 6, 7, 4], "constant": [40, 50, 60, 30]}


def search_of(tables: Tables) -> BoundarySearch:
    setting = Setting(tables)
    pairs = [PairSearch.of(setting, s, e) for s, e in pairs_of_stages.promising_pairs(setting)]
    return BoundarySearch(PartitionPricer(setting, PooledMemory.of(tables)), pairs)


def tight_tables() -> Tables:
    tables = make_tables(4, 48, max_chunks=8, **UNEQUAL)
    return replace(tables, capacity=np.full(4, 36))


def test_never_above_brute_force_whatever_the_target():
    # A target above the optimum must not be proved: two per cent more, or ten times as much.
    exact = total = 0
    for tables in random_instances(20261122, 25):
        optimum = brute_force(tables, least_price)
        if optimum is None:
            continue
        least = optimum.value
        search = search_of(tables)
        for target in (least + 1, -(-least * 102 // 100) + 1, 10 * least + 10):
            assert search.prove(target, 30) <= least, tables.name
        bound = branch_on_boundaries(tables, incumbent=int(least), most_programs=60)
        if bound is not None:
            assert bound.ticks <= least, tables.name
        total += 1
        exact += bound is not None and bound.ticks * 1.02 > least
    assert exact > total / 2  # 2 % more would be above the optimum there


def test_splitting_before_solving_is_as_valid_and_proves_as_much(monkeypatch):
    # As with large instances: no program before counts and longest chunks are close together.
    monkeypatch.setattr(branching, "MOST_CELLS", 0)
    exact = total = 0
    for tables in random_instances(20261123, 12):
        optimum = brute_force(tables, least_price)
        if optimum is None:
            continue
        search = search_of(tables)
        assert search.prove(-(-optimum.value * 102 // 100) + 1, 30) <= optimum.value, tables.name
        total += 1
        exact += search.prove(int(optimum.value), 60) * 1.02 > optimum.value
    assert exact > total / 2
    tables = tight_tables()
    search = search_of(tables)
    search.prove(10**12, 6)
    solved = [found.region for found in search.heap if found.weights is not None]
    assert solved
    assert all(search.pricer.ample(region) or region.long <= 1.5 * region.short for region in solved)


def test_never_above_random_and_descended_plans():
    rng = np.random.default_rng(12)
    checked = 0
    for number in range(6):
        tables = random_tables(rng, name=f"instance {number}")
        plans = [random_plan(tables, rng) for _ in range(4)]
        search = search_of(tables)
        for turn, plan in enumerate(plans):
            if plan is None:
                continue
            if turn % 2:
                plan, _ = descend(tables, plan, lambda t, p: price_plan(t, p, least_price), rng, steps=10)
            latency = price_plan(tables, plan, least_price)
            assert search.prove(int(latency * 1.02) + 2, 12) <= latency, tables.name
            checked += 1
    assert checked > 10


def test_feels_the_grid_and_the_memory_where_the_mixture_does_not():
    for tables in (make_tables(4, 48, max_chunks=8, **UNEQUAL), tight_tables()):
        whole = path_relaxation(tables)
        assert whole is not None
        better = branch_on_boundaries(tables, incumbent=whole.ticks * 2, known=whole.ticks, most_programs=60)
        assert better is not None
        assert better.ticks > whole.ticks


@pytest.mark.parametrize("left_out", ["within_crossings", "within_memory"])
def test_each_way_to_narrow_strengthens_the_bound(monkeypatch, left_out):
    # No bound is sure to be weaker within so many programs, as another tree is searched; here it is.
    tables = tight_tables()
    root = search_of(tables).prove(10**12, 1)
    kept = search_of(tables)
    reached = [kept.prove(root * part // 100, 12) for part in (110, 120)]
    monkeypatch.setattr(branching, left_out, lambda first, second, *rest: _region_of(first, second))
    without = search_of(tables)
    weaker = [without.prove(root * part // 100, 12) for part in (110, 120)]
    assert max(weaker) < min(reached)


def _region_of(first, second):
    return first if hasattr(first, "positions") else second


def test_bounds_rise_and_stop_when_asked():
    tables = make_tables(4, 48, max_chunks=8, **UNEQUAL)
    seen: list[int] = []
    last = branch_on_boundaries(
        tables, incumbent=10**6, most_programs=60, on_bound=lambda bound: seen.append(bound.ticks)
    )
    assert last is not None
    assert seen == sorted(set(seen))
    assert seen[-1] == last.ticks
    assert branch_on_boundaries(tables, incumbent=10**6, asked_to_stop=lambda: True) is None


def test_declines_large_instances_unasked():
    assert boundary_branching(make_tables(4, 400, max_chunks=300)) is None
