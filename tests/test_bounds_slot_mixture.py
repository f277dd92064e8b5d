"""Mixtures of slots: never above any static plan, never below mixtures of paths, more where slots differ."""

from dataclasses import replace

import numpy as np
import pytest
from builders import make_tables
from oracle import brute_force, lockstep_price
from random_tables import random_instances

from mocap_opt.bounds import Scope
from mocap_opt.bounds.boundary_branching import branch_on_boundaries
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.multiplier_program import PathProgram, SlotProgram
from mocap_opt.bounds.partition_pricing import PartitionPricer
from mocap_opt.bounds.partition_region import Multipliers, PathWeights, SlotWeights, shares_of_slots
from mocap_opt.bounds.path_relaxation import MixtureSearch, path_relaxation, slot_mixture, whole_region
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.tables.cost_tables import Tables

UNEQUAL = {"linear": [100, 130, 130, 90], "quadratic": [5, 6, 7, 4], "constant": [40, 50, 60, 30]}


def pricer_of(tables: Tables, scope: Scope = Scope.LOCKSTEP) -> PartitionPricer:
    return PartitionPricer(Setting(tables, scope), PooledMemory.of(tables))


def crossed() -> Tables:
    """The example of formulations/bounds.md: lockstep takes 11, no path more than 8."""
    tables = make_tables(2, 3, max_chunks=3, exact=True)
    return replace(tables, phi=np.array([[0, 1, 2, 7], [0, 4, 5, 6]]))


def test_the_worked_example():
    tables = crossed()
    pricer = pricer_of(tables)
    region, nothing = whole_region(pricer, 3, 3), np.zeros(4, dtype=np.int64)
    slots = SlotWeights(1, np.array([[1, 0, 1], [1, 0, 1]]), np.zeros((1, 3), dtype=np.int64))
    path = PathWeights(1, np.array([[0, 0, 1]]), np.array([[1, 1], [0, 0]]), np.zeros((1, 0), dtype=np.int64))
    search = MixtureSearch(pricer)
    assert search.value(region, Multipliers(slots, nothing, nothing[:3])) == 11
    assert search.value(region, Multipliers(path, nothing, nothing[:3])) == 8
    bound = slot_mixture(tables)
    optimum = brute_force(tables, lockstep_price)
    assert bound is not None
    assert optimum is not None
    assert bound.ticks == optimum.value == 11
    assert bound.scope is Scope.LOCKSTEP


@pytest.mark.parametrize(
    ("seed", "count"),
    [(20261201, 60), pytest.param(20261202, 1000, marks=pytest.mark.slow)],
    ids=["fast", "slow"],
)
def test_never_above_brute_force_and_often_close(seed, count):
    close = total = 0
    for tables in random_instances(seed, count):
        optimum = brute_force(tables, lockstep_price)
        if optimum is None:
            continue
        bound = slot_mixture(tables)
        assert bound is not None
        assert bound.ticks <= optimum.value, tables.name
        better = branch_on_boundaries(
            tables, scope=Scope.LOCKSTEP, incumbent=int(optimum.value) + 5, most_programs=30
        )
        if better is not None:
            assert better.ticks <= optimum.value, tables.name
            assert better.scope is Scope.LOCKSTEP
        total += 1
        close += max(bound.ticks, better.ticks if better else 0) * 1.05 > optimum.value
    assert close > total / 3


def test_any_weights_are_valid_and_heavier_ones_are_not():
    rng = np.random.default_rng(8)
    proved = exceeded = 0
    for tables in random_instances(20261203, 60):
        optimum = brute_force(tables, lockstep_price)
        counts = Setting(tables).counts
        if optimum is None or not counts:
            continue
        pricer = pricer_of(tables)
        region = whole_region(pricer, counts[0], counts[-1])
        shape = tables.stages, region.positions
        for parts in (7, 64):
            nodes, down = rng.exponential(size=shape), rng.exponential(size=(shape[0] - 1, shape[1]))
            weights = SlotWeights(parts, shares_of_slots(nodes, parts), shares_of_slots(down, parts))
            prices = rng.integers(0, 9, sum(shape) - 1) * rng.integers(0, 2)
            nothing = np.zeros(region.positions, dtype=np.int64)
            value = MixtureSearch(pricer).value(region, Multipliers(weights, prices, nothing))
            assert value is None or value <= optimum.value, tables.name
            proved += value is not None and value > 0
        # Twice the whole of every slot, as if two stages could take it all.
        best = SlotProgram(pricer).weights(region)
        doubled = replace(
            best.flow, nodes=2 * best.flow.nodes, down=2 * best.flow.down, parts=2 * best.flow.parts
        )
        object.__setattr__(doubled, "parts", best.flow.parts)
        value = MixtureSearch(pricer).value(region, replace(best, flow=doubled))
        exceeded += value is not None and value > optimum.value
    assert proved > 30
    assert exceeded > 10


def test_no_weaker_than_mixtures_of_paths():
    rng = np.random.default_rng(5)
    stronger = 0
    for n in range(30):
        stages = int(rng.integers(2, 6))
        tables = make_tables(
            stages,
            24,
            max_chunks=int(rng.integers(2, 9)),
            linear=rng.integers(50, 150, stages).tolist(),
            quadratic=rng.integers(1, 9, stages).tolist(),
            constant=rng.integers(5, 60, stages).tolist(),
            capacity=rng.integers(20, 40, stages).tolist(),
            queue_depth=1 + n % 3,
        )
        path, slot = path_relaxation(tables), slot_mixture(tables)
        assert (path is None) == (slot is None)
        if path is None or slot is None:
            continue
        # Weights are rounded to parts, and fitted costs may favour either.
        assert slot.ticks >= path.ticks * 0.999
        stronger += slot.ticks > path.ticks * 1.001
    assert stronger > 5


def test_no_weaker_in_the_same_region_by_the_programs_own_weights():
    tables = make_tables(4, 48, max_chunks=8, hop=3, **UNEQUAL)
    pricer = pricer_of(tables)
    region = whole_region(pricer, 6, 8)
    slot, path = (
        MixtureSearch(pricer).value(region, program(pricer).weights(region))
        for program in (SlotProgram, PathProgram)
    )
    assert slot is not None
    assert path is not None
    assert slot > path


def test_refuses_more_than_the_whole_of_a_slot():
    one, none = np.ones((2, 2), dtype=np.int64), np.zeros((1, 2), dtype=np.int64)
    with pytest.raises(ValueError, match="whole of every slot"):
        SlotWeights(1, one, none)
    with pytest.raises(ValueError, match="parts >= 0"):
        SlotWeights(1, 0 * one, none - 1)
