"""Mixtures of paths that know the longest chunk: never above any plan, whatever the weights."""

from __future__ import annotations

import numpy as np
import pytest
from builders import make_tables
from oracle import brute_force, least_price
from random_tables import random_instances

from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.longest_chunk_mixture import LongestChunkSearch, longest_chunk_mixture
from mocap_opt.bounds.longest_chunk_paths import (
    ConditionalPaths,
    CrossingTimes,
    cheapest_partitions,
    longest_chunk_region,
)
from mocap_opt.bounds.partition_pricing import PartitionPricer
from mocap_opt.bounds.path_relaxation import path_relaxation, whole_region
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.lower_bound import Scope
from mocap_opt.tables.cost_tables import Tables

UNLIKE = {"linear": [100, 130, 130, 90], "quadratic": [5, 6, 7, 4], "constant": [40, 50, 60, 30]}


def pricer_of(tables: Tables) -> PartitionPricer:
    return PartitionPricer(Setting(tables), PooledMemory.of(tables))


@pytest.mark.parametrize(
    ("seed", "number"), [(20261201, 40), pytest.param(20261202, 1000, marks=pytest.mark.slow)]
)
def test_never_above_brute_force_and_often_close(seed: int, number: int) -> None:
    close = total = 0
    for tables in random_instances(seed, number):
        optimum = brute_force(tables, least_price)
        if optimum is None or tables.stages < 2:
            continue
        bound = longest_chunk_mixture(tables)
        assert bound is not None
        assert bound.scope is Scope.ANY_EXECUTION
        assert bound.ticks <= optimum.value, tables.name
        # An incumbent that no plan reaches is no premise: what is proved below the optimum stays so.
        inflated = longest_chunk_mixture(tables, incumbent=int(optimum.value) * 2 + 10)
        assert inflated is not None
        assert inflated.ticks <= optimum.value, tables.name
        total += 1
        close += bound.ticks * 1.02 > optimum.value
    assert close > total / 2  # 2 % more would be above the optimum there


def random_paths(rng: np.random.Generator, stages: int, positions: int, slots: int) -> ConditionalPaths:
    parts = int(rng.integers(1, 200))

    def rising() -> np.ndarray:
        along = np.sort(rng.integers(0, parts + 1, (positions, stages - 1)), axis=1)
        return np.minimum.accumulate(along, axis=0)

    before = rising()
    before[0] = parts
    after = np.minimum(before, rising())
    after[-1] = 0
    return ConditionalPaths(parts, before, after, rng.integers(0, 9, slots) * rng.integers(0, 2))


def test_any_weights_are_valid_on_any_interval() -> None:
    # The program's mistakes do not matter: what it proposes is evaluated exactly.
    rng = np.random.default_rng(5)
    proved = 0
    for tables in random_instances(7, 60):
        optimum = brute_force(tables, least_price)
        counts = Setting(tables).counts
        if optimum is None or not counts or tables.stages < 2:
            continue
        pricer = pricer_of(tables)
        region, times = whole_region(pricer, counts[0], counts[-1]), CrossingTimes(pricer)
        middle = int(rng.integers(0, times.by_end.max() + 1))
        for _ in range(4):
            paths = random_paths(rng, tables.stages, region.positions, region.positions + tables.stages - 1)
            values = []
            for least, most in ((0, middle), (middle + 1, int(times.by_end.max()))):
                within = longest_chunk_region(times, region, least, most)
                found = None if within is None else cheapest_partitions(pricer, within, paths, 3)
                if found is not None:
                    values.append(found[0])
                    assert [each.cost for each in found[1]] == sorted(each.cost for each in found[1])
            assert min(values) <= optimum.value, tables.name
            proved += min(values) > 0
    assert proved > 50


def test_paths_that_lead_back_are_refused() -> None:
    good = np.array([[4, 4], [1, 3]]), np.array([[0, 2], [0, 0]]), np.zeros(4, dtype=np.int64)
    ConditionalPaths(4, *good)
    for before, after in (
        (np.array([[4, 4], [3, 1]]), good[1]),  # more parts on the first stage than on the first two
        (np.array([[3, 4], [1, 3]]), good[1]),  # not all start on the first stage
        (good[0], np.array([[0, 2], [0, 1]])),  # not all end on the last stage
        (np.array([[4, 4], [1, 1]]), np.array([[2, 4], [0, 0]])[::-1]),
    ):
        with pytest.raises(ValueError, match="never lead back"):
            ConditionalPaths(4, before, after, good[2])


def test_two_chunks_by_hand() -> None:
    # Two stages, Phi = 10 x and 20 x, c = 2, three tokens, chunks of at most 2: cut at 1 or at 2.  Stay on
    # stage 0 before the longest chunk, cross at it, stay on stage 1 behind it.
    tables = make_tables(2, 3, max_chunks=2, exact=True, linear=[10, 20], constant=2, max_length=2)
    pricer = pricer_of(tables)
    times = CrossingTimes(pricer)
    paths = ConditionalPaths(1, np.array([[1], [1]]), np.array([[0], [0]]), np.zeros(3, dtype=np.int64))
    within = longest_chunk_region(times, whole_region(pricer, 2, 2), 35, 10**6)
    assert within is not None
    found = cheapest_partitions(pricer, within, paths, 5)
    assert found is not None
    # Cut at 1: 12 + (22 + 42) = 76; at 2: (22 + 42) + 22 = 86.
    assert found[0] == 76
    assert [(each.longest, each.boundaries.tolist()) for each in found[1]] == [(1, [0, 1, 3]), (0, [0, 2, 3])]


def test_beats_paths_that_do_not_know_the_longest_chunk_where_rounding_costs() -> None:
    tables = make_tables(4, 24, max_chunks=5, **UNLIKE)
    plain, found = path_relaxation(tables), longest_chunk_mixture(tables)
    assert plain is not None
    assert found is not None
    assert found.ticks > plain.ticks


def test_it_goes_on_where_it_was_stopped() -> None:
    tables = make_tables(4, 48, max_chunks=8, **UNLIKE)
    search = LongestChunkSearch.of(tables)
    first = next(search.bounds(None, lambda: False))
    opened = search.opened
    assert not list(search.bounds(None, lambda: True))
    assert search.opened == opened
    later = list(search.bounds(None, lambda: search.programs > 40))
    assert later[-1].ticks >= first.ticks


def test_one_stage_and_large_instances_are_declined() -> None:
    assert longest_chunk_mixture(make_tables(1, 8, max_chunks=3)) is None
    assert longest_chunk_mixture(make_tables(4, 400, max_chunks=300)) is None
