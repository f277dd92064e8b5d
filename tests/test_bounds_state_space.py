"""The state-space relaxation: by hand, against brute force, and where it is sharper than mixtures."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from builders import make_tables
from oracle import brute_force, least_price, lockstep_price
from random_tables import random_instances
from varied_instances import varied_instance

from mocap_opt.bounds.crossing import crossing
from mocap_opt.bounds.path_relaxation import path_relaxation
from mocap_opt.bounds.state_space import is_affordable, slot_state_space, state_space
from mocap_opt.flow_shop.chunk_times import chunk_times, least_sends
from mocap_opt.flow_shop.recursion import flow_shop_makespan
from mocap_opt.instance import Instance
from mocap_opt.lower_bound import Scope
from mocap_opt.tables import build_tables


def test_the_worked_example_of_the_page() -> None:
    tables = make_tables(2, 4, max_chunks=2, exact=True, linear=[1, 2])
    best, bound = brute_force(tables, least_price), state_space(tables)
    assert best is not None
    assert best.value == 10
    assert bound is not None
    assert (bound.ticks, bound.scope) == (10, Scope.ANY_EXECUTION)


@pytest.mark.parametrize(("seed", "number"), [(31, 60), pytest.param(32, 1000, marks=pytest.mark.slow)])
def test_no_optimum_beats_it_and_it_is_often_reached(seed: int, number: int) -> None:
    plans = reached = 0
    for n, drawn in enumerate(random_instances(seed, number)):
        tables = replace(drawn, queue_depth=(1, 2, None)[n % 3])
        best = brute_force(tables, least_price)
        if best is None:
            continue
        plans += 1
        alone = state_space(tables)
        assert alone is not None
        aimed = state_space(tables, incumbent=math.floor(best.value))
        above = state_space(tables, incumbent=math.floor(best.value) + 10)
        ticks = max(bound.ticks for bound in (alone, aimed, above) if bound is not None)
        assert ticks <= best.value, tables.name
        reached += ticks * 1.02 > best.value  # two per cent more would be wrong
    assert reached > plans / 2 > 0


def test_the_worked_example_of_lockstep() -> None:
    tables = make_tables(2, 3, max_chunks=3, exact=True)
    tables = replace(tables, phi=np.array([[0, 1, 2, 7], [0, 4, 5, 6]]))
    bound, loose = slot_state_space(tables), state_space(tables)
    assert bound is not None
    assert loose is not None
    assert (bound.ticks, bound.scope, loose.ticks) == (11, Scope.LOCKSTEP, 8)


@pytest.mark.parametrize(("seed", "number"), [(34, 60), pytest.param(35, 1000, marks=pytest.mark.slow)])
def test_no_static_plan_beats_it_and_it_is_often_reached(seed: int, number: int) -> None:
    plans = reached = higher = 0
    for tables in random_instances(seed, number):
        best = brute_force(tables, lockstep_price)
        if best is None:
            continue
        plans += 1
        latency = math.floor(best.value)
        found = [
            state_space(tables, scope=Scope.LOCKSTEP, incumbent=incumbent)
            for incumbent in (None, latency, latency + 1, latency + 10)
        ]
        ticks = max(bound.ticks for bound in found if bound is not None)
        assert ticks <= best.value, tables.name
        reached += ticks * 1.02 > best.value  # two per cent more would be wrong
        anywhere = state_space(tables, incumbent=latency)
        higher += anywhere is None or ticks > anywhere.ticks
    assert reached > plans / 2 > 0
    assert higher > plans / 4


def test_queues_never_lower_it() -> None:
    higher = 0
    for drawn in random_instances(33, 60):
        tables = replace(drawn, working_bytes=np.zeros_like(drawn.working_bytes))
        short, deep = (state_space(replace(tables, queue_depth=depth)) for depth in (1, None))
        if short is None or deep is None:
            continue
        # Prices of memory come from programs of their own: a tick is theirs.
        assert short.ticks >= deep.ticks - 1
        higher += short.ticks > deep.ticks
    assert higher >= 5


def test_knows_ragged_measured_times_that_mixtures_cannot_see() -> None:
    tables = build_tables(Instance.from_dict(varied_instance(2)))
    bounds = [find(tables) for find in (crossing, path_relaxation, state_space)]
    ticks = [bound.ticks for bound in bounds if bound is not None]
    assert len(ticks) == 3
    assert ticks[2] > 1.1 * max(ticks[:2])


def test_a_partition_it_likes_takes_what_it_proves_where_the_relaxation_is_exact() -> None:
    tables, liked = build_tables(Instance.from_dict(varied_instance(14))), []
    bound = state_space(tables, on_partition=liked.append)
    assert bound is not None
    paths = []
    for boundaries in liked:
        work, send = chunk_times(tables, boundaries, least_sends(tables))
        paths.append(flow_shop_makespan(work, send, tables.queue_depth))
    assert min(paths) == bound.ticks


def test_large_and_hopeless_instances_are_declined_and_stopping_proves_nothing_wrong() -> None:
    assert state_space(make_tables(2, 8, static=5, capacity=4)) is None
    large = make_tables(2, 2000, max_chunks=40)
    assert state_space(large) is None
    # Those that leave all partitions room are looked at where the time is limited.
    assert not is_affordable(large)
    assert is_affordable(large, limited=True)
    assert not is_affordable(make_tables(2, 2000, max_chunks=40, token_bytes=1, capacity=1900), limited=True)
    tables = make_tables(3, 12, max_chunks=4, quadratic=1)
    assert state_space(tables, asked_to_stop=lambda: True) is None
