"""Local search on homes alone."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from builders import make_tables
from random_plans import random_plan
from random_tables import MIDDLING, random_tables

from mocap_opt.homes.home_search import _group_moved, improve_grouped_homes, improve_homes, moves
from mocap_opt.replay.evaluation import Execution, assess
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.solving.link_steps import latency_at_home
from mocap_opt.tables.cost_tables import Tables


def price_of(tables: Tables):
    return lambda plan: assess(tables, plan).latency


def test_it_moves_kv_out_of_the_way_of_activations():
    # Two chunks of two tokens, 23 ticks each; a byte per tick; room for three tokens' KV of 2 bytes.
    # With the second chunk the moved token shares the link with the first chunk's activations
    # (2 + 2 bytes: both done after 4 ticks), with the first it has the link to itself.
    tables = make_tables(
        2, 4, linear=10, constant=3, max_chunks=2, token_bytes=2, capacity=6, activation_bytes=1, link_rate=1
    )
    late = Plan((0, 2, 4), (Home(0, 1, 1, 1), Home(1, 1, 0, 1)))
    assert assess(tables, late).event.latency == 23 + 4 + 23 + 23
    better = improve_homes(tables, late, price_of(tables), target=Fraction(71))
    assert assess(tables, better).event.latency == 23 + 23 + 2 + 23
    assert Home(0, 0, 1, 1) in better.homes


def test_moves_keep_all_pages_and_say_nothing_twice():
    plan = Plan((0, 2, 4), (Home(0, 0, 1, 1), Home(0, 1, 1, 2)))
    tables = make_tables(2, 4, max_chunks=2)
    found = list(moves(tables, plan))
    assert Plan((0, 2, 4), (Home(0, 1, 1, 3),)) in found
    assert Plan((0, 2, 4), (Home(0, 1, 1, 2),)) in found
    for candidate in found:
        places = [(home.stage, home.chunk, home.memory) for home in candidate.homes]
        assert len(set(places)) == len(places)
        assert sum(home.pages for home in candidate.homes) <= 3


@pytest.mark.parametrize("improved", [improve_homes, improve_grouped_homes])
def test_never_worse_and_always_feasible(improved):
    rng = np.random.default_rng(3)
    better = 0
    for _ in range(12):
        tables = random_tables(rng, MIDDLING)
        plan = random_plan(tables, rng)
        if plan is None or not plan.homes:
            continue
        price = price_of(tables)
        found = improved(tables, plan, price, target=Fraction(0), most=20)
        assert violations(tables, found) == []
        assert price(found) <= price(plan)
        better += price(found) < price(plan)
    assert better >= 2


def test_groups_move_whole_or_are_exchanged() -> None:
    rng, kinds = np.random.default_rng(5), set()
    pages = rng.integers(0, 3, (4, 3, 5)) * rng.integers(0, 2, (4, 1, 5))
    pages[np.arange(4), :, np.arange(4)] = 0
    for _ in range(300):
        moved = _group_moved(pages, rng)
        assert not moved[np.arange(4), :, np.arange(4)].any()
        changed = (moved != pages).any(axis=1)
        by_stage = changed.sum(axis=1)
        assert by_stage.max() <= 2
        assert (by_stage > 0).sum() <= 2
        for stage in np.flatnonzero(by_stage):
            # What leaves a memory leaves it whole, and nothing of it is lost unless it goes home.
            left, joined = moved[stage] - pages[stage], pages[stage].sum(axis=1) - moved[stage].sum(axis=1)
            gone = [k for k in range(5) if (left[:, k] < 0).any()]
            assert len(gone) == 1
            assert not moved[stage, :, gone[0]].any()
            assert joined.tolist() in ([0, 0, 0], pages[stage, :, gone[0]].tolist())
        kinds.add((int((by_stage > 0).sum()), bool(moved.sum() < pages.sum())))
    assert kinds >= {(1, False), (1, True), (2, False)}


@pytest.mark.parametrize("improve_homes", [improve_homes, improve_grouped_homes])
def test_it_stops_when_asked_or_at_the_target(improve_homes):
    tables = make_tables(
        2, 4, linear=10, constant=3, max_chunks=2, token_bytes=2, capacity=6, activation_bytes=1, link_rate=1
    )
    late = Plan((0, 2, 4), (Home(0, 1, 1, 1), Home(1, 1, 0, 1)))
    price = price_of(tables)
    assert improve_homes(tables, late, price, target=Fraction(0), asked_to_stop=lambda: True) is late
    assert improve_homes(tables, late, price, target=Fraction(73)) is late


def test_no_homes_beat_the_latency_at_home_and_some_cost_none() -> None:
    rng, plans = np.random.default_rng(20261203), 0
    slower = dict.fromkeys((None, Execution.LOCKSTEP), 0)
    while plans < 60:
        tables = random_tables(rng, MIDDLING)
        plan = random_plan(tables, rng, scatter=0.5)
        if plan is None or not plan.homes:
            continue
        plans += 1
        found = assess(tables, plan)
        for execution in slower:
            least = latency_at_home(tables, plan, execution)
            assert least <= found.latency_in(execution)
            slower[execution] += least < found.latency_in(execution)
        static = latency_at_home(tables, plan, Execution.LOCKSTEP)
        assert static >= latency_at_home(tables, plan, None)
    # Two per cent more would be wrong: many homes cost nothing, and many do.
    assert 10 < slower[Execution.LOCKSTEP] < 50
