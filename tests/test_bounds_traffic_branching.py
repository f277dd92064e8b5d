"""Mixtures with traffic: no plan's replay beats them, whatever the weights; heavier weights are caught."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from builders import make_tables
from oracle import brute_force, lockstep_price
from random_pools import with_random_pools
from test_bounds_energetic_traffic import all_plans, latency, pipelines, with_scarce_links

from mocap_opt.bounds import Scope
from mocap_opt.bounds.boundary_branching import branch_on_boundaries
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.partition_pricing import PartitionPricer
from mocap_opt.bounds.partition_region import Multipliers, PartitionRegion, PathWeights
from mocap_opt.bounds.path_relaxation import MixtureSearch, whole_region
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.bounds.traffic_flow import TrafficDuals, path_flow, slot_shares
from mocap_opt.bounds.traffic_weights import CountedTraffic, Delay, TrafficPrices, TrafficStep
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.tables.cost_tables import Tables

SCOPES = (Scope.ANY_EXECUTION, Scope.LOCKSTEP)
OVERLAPS = (Fraction(1), Fraction(1, 2), Fraction(0))


def least(tables: Tables, scope: Scope) -> Fraction | None:
    """The best plan's latency by brute force, if plans are few."""
    plans = all_plans(tables)
    if not plans:
        return None
    if scope is Scope.LOCKSTEP:
        return Fraction(min(replay_lockstep(tables, plan).latency for plan in plans))
    return min(latency(tables, plan) for plan in plans)


@cache
def optima() -> list[tuple[Tables, Scope, Fraction]]:
    """Tiny instances with scarce links, and the latency of their best plans."""
    drawn = [*pipelines()[1::3], *with_scarce_links()[1::9]]
    rng = np.random.default_rng(20261130)
    drawn += [with_random_pools(rng, tables) for tables in drawn[::4]]
    varied = [replace(tables, overlap=OVERLAPS[n % 3]) for n, tables in enumerate(drawn)]
    found = ((tables, scope, least(tables, scope)) for tables in varied for scope in SCOPES)
    return [(tables, scope, value) for tables, scope, value in found if value is not None]


def pricer_of(tables: Tables, scope: Scope) -> PartitionPricer:
    return PartitionPricer(Setting(tables, scope), PooledMemory.of(tables))


def regions(pricer: PartitionPricer) -> Iterator[PartitionRegion]:
    counts = pricer.setting.counts
    if counts and pricer.rooms(whole_region(pricer, counts[0], counts[-1])) is not None:
        yield whole_region(pricer, counts[0], counts[-1])


def example() -> Tables:
    """The example of formulations/contention_free.md: no plan takes less than 33."""
    return make_tables(
        2, 2, linear=1, constant=0, activation_bytes=4, token_bytes=12, capacity=[0, 48], link_rate=1
    )


def test_the_worked_example():
    tables = example()
    pricer = pricer_of(tables, Scope.ANY_EXECUTION)
    region = whole_region(pricer, 2, 2)
    zero = np.zeros((1, 2), dtype=np.int64)
    step = TrafficStep(tables.links.index("0>1"), (0, 0), (0, 1), 1, onward=True)
    flow = PathWeights(1, zero, np.zeros((2, 1), dtype=np.int64), np.zeros((1, 0), dtype=np.int64), (step,))
    assert flow.nodes.tolist() == [[0, 0], [0, 1]]
    nothing = np.zeros(3, dtype=np.int64)
    free = np.zeros((2, 3), dtype=np.int64)
    search = MixtureSearch(pricer)
    # Without a price of memory KV would stay: 8 bytes of activations, then 1 tick.
    assert search.value(region, Multipliers(flow, nothing, nothing[:2], memory_prices=free)) == 9
    dear = free.copy()
    dear[0] = [0, 12, 0]
    assert search.value(region, Multipliers(flow, nothing, nothing[:2], memory_prices=dear)) == 33
    # Had links to pass more, the same weights would prove too much.
    more = pricer_of(replace(tables, activation_bytes=np.array([5, 5])), Scope.ANY_EXECUTION)
    assert (
        MixtureSearch(more).value(region, Multipliers(flow, nothing, nothing[:2], memory_prices=dear)) == 35
    )
    for scope in SCOPES:
        bound = branch_on_boundaries(tables, scope=scope, incumbent=40, traffic=True)
        assert bound is not None
        assert bound.ticks == brute_force(tables, lockstep_price).value == 33
        assert bound.scope is scope


def test_no_plan_beats_it_and_two_per_cent_more_would_be_wrong():
    checked = exceeded = 0
    for tables, scope, optimum in optima():
        bound = branch_on_boundaries(
            tables, scope=scope, incumbent=int(optimum) + 5, traffic=True, most_programs=4
        )
        if bound is None:
            continue
        assert bound.ticks <= optimum, (tables.name, scope)
        checked += 1
        exceeded += bound.ticks * Fraction(102, 100) > optimum >= 50
    assert checked > 10, checked
    assert exceeded > 3, exceeded


def random_duals(
    tables: Tables, region: PartitionRegion, scope: Scope, rng: np.random.Generator
) -> TrafficDuals:
    stages, positions = tables.stages, region.positions
    steps, delays = [], []
    resources = len(tables.links) + stages
    for _ in range(12):
        resource = int(rng.integers(resources))
        rows, columns = sorted(rng.integers(stages, size=2).tolist()), sorted(rng.integers(positions, size=2))
        first, last = (rows[0], int(columns[0])), (rows[1], int(columns[1]))
        if scope is Scope.LOCKSTEP:
            slot = int(rng.integers(stages + positions - 1)), 0
            steps.append((resource, slot, slot, bool(rng.integers(2)), float(rng.random())))
        else:
            onward = bool(rng.integers(2)) and last[0] < stages - 1
            steps.append((resource, first, last, onward, float(rng.random())))
        if rng.random() < 0.5:
            delays.append((resource, first, 0.1 * float(rng.random())))
    depth = positions if tables.queue_depth is None else min(tables.queue_depth, positions)
    return TrafficDuals(
        rng.random((stages, positions)) + 1.5,
        rng.random((stages - 1, positions)),
        rng.random((stages, positions - 1)),
        rng.random((stages - 1, positions - depth)),
        steps,
        delays,
    )


def test_any_weights_are_valid():
    rng = np.random.default_rng(20261129)
    proved = 0
    for tables, scope, optimum in optima():
        pricer = pricer_of(tables, scope)
        for region in regions(pricer):
            for _ in range(3):
                duals, parts = random_duals(tables, region, scope, rng), 1 << 10
                depth = region.positions - duals.queue.shape[1]
                shape = tables.stages, region.positions
                flow = (
                    slot_shares(duals, parts)
                    if scope is Scope.LOCKSTEP
                    else path_flow(duals, shape, depth, parts)
                )
                slots = sum(shape) - 1
                prices = rng.integers(0, 200, size=(tables.memories, slots)) * (rng.random(slots) < 0.5)
                none = np.zeros(slots, dtype=np.int64)
                weights = Multipliers(flow, none, none[: region.positions], memory_prices=prices)
                value = MixtureSearch(pricer).value(region, weights)
                assert value is None or value <= optimum, (tables.name, scope)
                proved += value is not None and 2 * value > optimum
    assert proved > 10, proved


def test_what_is_no_mixture_is_refused():
    tables = example()
    zero, none = np.zeros((1, 2), dtype=np.int64), np.zeros((1, 0), dtype=np.int64)
    stay = np.zeros((2, 1), dtype=np.int64)
    step = TrafficStep(0, (0, 0), (0, 1), 1, onward=True)
    for bad in (
        replace(step, parts=2),
        replace(step, onward=False),
        replace(step, last=(1, 1)),
        replace(step, first=(0, 1), last=(0, 0)),
        replace(step, slot=1),
    ):
        with pytest.raises(ValueError, match="expected"):
            PathWeights(1, zero, stay, none, (bad,))
    with pytest.raises(ValueError, match="expected no chunk to be delayed by more"):
        PathWeights(1, zero, stay, none, (step,), (Delay(0, (0, 0), 1),))
    counted = CountedTraffic.of((2, 2), (step,), ())
    dear = np.full((2, 3), 2**56)
    with pytest.raises(ValueError, match=r"2\^57"):
        TrafficPrices.of(tables, counted, dear, np.ones((2, 3), dtype=np.int64), 12)
