"""The brute force itself, by hand arithmetic; then the random instances and plans it measures."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import oracle
import pytest
from builders import make_tables
from oracle import brute_force, contention_free_price, least_price, lockstep_price
from random_plans import descend, random_partition, random_plan
from random_tables import classify, random_instances, random_tables

from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.verify import memory_use, violations


def test_partitions_by_hand():
    # Cuts of 4 tokens into at most 2 chunks: none, after 1, after 2, after 3.
    assert set(oracle.partitions(make_tables(max_chunks=2))) == {(0, 4), (0, 1, 4), (0, 2, 4), (0, 3, 4)}
    assert set(oracle.partitions(make_tables(max_chunks=2, exact=True))) == {(0, 1, 4), (0, 2, 4), (0, 3, 4)}
    assert set(oracle.partitions(make_tables(max_chunks=2, min_length=2))) == {(0, 4), (0, 2, 4)}
    assert set(oracle.partitions(make_tables(max_chunks=4, max_length=1))) == {(0, 1, 2, 3, 4)}
    assert set(oracle.partitions(make_tables(max_chunks=3, max_length=1))) == set()
    assert set(oracle.partitions(make_tables(tokens=5, quantum=2, max_chunks=2))) == {
        (0, 5),
        (0, 2, 5),
        (0, 4, 5),
    }


def test_plans_counted_by_hand():
    # Ample memory, 2 tokens.  One chunk of 2 pages: 3 ways on each stage, 9.  Two chunks of one page:
    # 2 ways for each of 4 (stage, chunk), 16.
    assert oracle.count_plans(make_tables(tokens=2, max_chunks=2)) == 25
    # Memory 0 holds one page, memory 1 two; one chunk.  Slot 0: stage 0's two pages lie 1 + 1 or 0 + 2;
    # slot 1: stage 1's likewise.  2 x 2.
    assert oracle.count_plans(make_tables(tokens=2, max_chunks=1, capacity=[1, 2])) == 4
    # One page in each: 1 + 1 is the only way.
    assert oracle.count_plans(make_tables(tokens=2, max_chunks=1, capacity=1)) == 1
    assert oracle.count_plans(make_tables(tokens=2, max_chunks=1, capacity=[0, 1])) == 0


# Two stages, two tokens of 30 bytes, 10 ticks a token, links of 2 bytes per tick, memory 0 for one
# page: one of stage 0's pages must go to memory 1 (slot 1: 1 + 1 pages there, slot 2: 2).
#   its second page: written in slot 1, 15 ticks.                     10 + 15 + 10 = 35
#   its first page: written in slot 0, read in slot 1.                15 + 15 + 10 = 40
#   one chunk: slot 0 takes max(20, 15), slot 1 20.                   20 + 20      = 40
LOPSIDED = {"tokens": 2, "max_chunks": 2, "token_bytes": 30, "capacity": [30, 90], "link_rate": 2}


def test_optimum_by_hand():
    best = brute_force(make_tables(**LOPSIDED))
    assert (best.value, best.plan) == (35, Plan((0, 1, 2), (Home(0, 1, 1, 1),)))
    tables = make_tables(**LOPSIDED)
    assert oracle.price_plan(tables, Plan((0, 1, 2), (Home(0, 0, 1, 1),))) == 40
    assert oracle.price_plan(tables, Plan((0, 2), (Home(0, 0, 1, 1),))) == 40
    assert memory_use(tables, best.plan).tolist() == [[30, 30, 0], [0, 60, 60]]
    (short,) = violations(tables, Plan((0, 1, 2)))
    assert (short.memory, short.slot, short.bytes_short) == (0, 1, 30)


def test_feasible_plans_of_that_instance_by_hand():
    # One chunk.  Slot 0: stage 0 keeps 0 or 1 of its 2 pages; slot 1: stage 1 has at most 1 of its 2 in
    # memory 0.  2 x 2 = 4.
    # Two chunks.  Slot 1: at most one page in memory 0 of stage 0's two and stage 1's first; slot 2: at
    # most one of stage 1's two.  In memory 1 there is room for 3: slot 1 has 3 in all, so always.
    # Stage 0's away (a0, a1), stage 1's in memory 0 (b0, b1): of the three pages stage 0's first, its
    # second and b0 at most one lies in memory 0 in slot 1 (in slot 0 stage 0's first alone: fits):
    # none, or one of three, 4 ways; b1 may be there unless b0 is.  3 ways without b0 x 2 + 1 = 7.
    assert brute_force(make_tables(**LOPSIDED)).feasible_plans == 4 + 7


def test_all_local_is_impossible_there_and_best_where_memory_is_ample():
    assert oracle.local_optimum(make_tables(**LOPSIDED)) is None
    ample = make_tables(**{**LOPSIDED, "capacity": 1000})
    assert brute_force(ample).plan == oracle.local_optimum(ample).plan == Plan((0, 1, 2))
    assert brute_force(ample).value == 30


def test_contention_free_optimum_by_hand():
    # Stage 0's second page goes: C_00 = 10, C_01 = 10 + max(10, 15) = 25, C_10 = 20, C_11 = 35.
    # Its first: C_00 = 15, C_01 = 15 + 15 = 30, C_10 = 25, C_11 = 40.
    best = brute_force(make_tables(**LOPSIDED), contention_free_price)
    assert (best.value, best.plan.homes) == (35, (Home(0, 1, 1, 1),))
    # Half of the transfer does not overlap: d = 10 + 15/2 = 35/2, above x itself: 10 + 35/2 + 10.
    half = make_tables(**LOPSIDED, overlap=Fraction(1, 2))
    plan = Plan((0, 1, 2), (Home(0, 1, 1, 1),))
    assert oracle.price_plan(half, plan, contention_free_price) == Fraction(75, 2)
    assert oracle.price_plan(half, plan, lockstep_price) == 10 + 18 + 10


def test_contention_free_sends_by_hand():
    # Sends take 1 hop of 4 + 6 bytes / 2 = 7 ticks; stage 1 is never idle after its first chunk:
    # 10 + 7 + 10 + 10.
    tables = make_tables(tokens=2, max_chunks=2, activation_bytes=6, link_rate=2, hop=4)
    assert oracle.price_plan(tables, Plan((0, 1, 2)), contention_free_price) == 37
    # Lockstep waits for both sends: 3 x 10 + 2 x 7.
    assert oracle.price_plan(tables, Plan((0, 1, 2))) == 44


def test_least_price_does_not_round_sends_by_hand():
    # 5 bytes at 2 per tick and a hop of 4: 6.5, tabulated as 7.
    tables = make_tables(tokens=2, max_chunks=2, activation_bytes=5, link_rate=2, hop=4)
    assert oracle.price_plan(tables, Plan((0, 1, 2)), contention_free_price) == 37
    assert oracle.price_plan(tables, Plan((0, 1, 2)), least_price) == Fraction(73, 2)


def test_identical_stages_cost_all_chunks_and_the_longest_again_per_stage():
    # 3 stages, Phi = x^2: chunks (0, 3), (3, 5) take 9 and 16: 25 + 2 x 16.
    tables = make_tables(3, 5, linear=0, quadratic=1)
    assert oracle.price_plan(tables, Plan((0, 3, 5)), contention_free_price) == 57


def test_infeasible_is_none():
    assert brute_force(make_tables(tokens=2, max_chunks=2, capacity=[0, 1])) is None
    assert brute_force(make_tables(max_chunks=3, max_length=1)) is None


@pytest.mark.parametrize("price", [lockstep_price, contention_free_price])
def test_skipping_loses_nothing(price):
    compared = 0
    for tables in random_instances(30, 80):
        plans, values = 0, []
        for marks in oracle.partitions(tables):
            cost = price(tables, marks)
            for homes in oracle.feasible_homes(tables, marks):
                plans += 1
                values.append(cost(homes))
                if plans > 600:
                    break
        if plans <= 600:
            best = brute_force(tables, price)
            assert (best.value if best else None) == min(values, default=None)
            assert best is None or oracle.price_plan(tables, best.plan, price) == best.value
            assert best is None or oracle.is_feasible(tables, best.plan)
            compared += 1
    assert compared > 40


@pytest.mark.parametrize("price", [lockstep_price, contention_free_price, least_price])
def test_moving_a_page_away_never_makes_a_plan_cheaper(price):
    rng, dearer = np.random.default_rng(31), 0
    for tables in random_instances(32, 100):
        for marks in list(oracle.partitions(tables))[-3:]:
            homes, sizes = {}, oracle.pages_of(tables, marks)
            cost = price(tables, marks)
            before = cost(homes)
            for _ in range(6):
                i, j, k = (int(x) for x in rng.integers([tables.stages, len(sizes), tables.stages]))
                away = sum(pages for (a, b, _), pages in homes.items() if (a, b) == (i, j))
                if i == k or away == sizes[j]:
                    continue
                homes[i, j, k] = homes.get((i, j, k), 0) + 1
                after = cost(homes)
                assert after >= before
                dearer += after > before
                before = after
    assert dearer > 200


def test_contention_free_is_never_above_lockstep():
    rng, strictly = np.random.default_rng(33), 0
    for tables in [*random_instances(34, 100), *(random_tables(rng) for _ in range(8))]:
        for _ in range(4):
            plan = random_plan(tables, rng, scatter=0.6)
            if plan is not None:
                free = oracle.price_plan(tables, plan, contention_free_price)
                assert oracle.price_plan(tables, plan, least_price) <= free
                strictly += free < oracle.price_plan(tables, plan)
                assert free <= oracle.price_plan(tables, plan)
    assert strictly > 100


def test_random_instances_are_varied():
    instances = random_instances(40, 300)
    found = [classify(tables) for tables in instances]
    share = Counter()
    for traits in found:
        share["infeasible"] += traits.optimum is None
        share["needs remote"] += traits.needs_remote
        share["contended"] += traits.contended
        share["both"] += traits.needs_remote and traits.contended
        share["fewer chunks"] += traits.fewer_chunks
        share["3 or more chunks"] += traits.optimum is not None and traits.optimum.plan.chunks >= 3
        share.update(traits.drawn)
    for trait in ("infeasible", "fewer chunks", "contended", "3 or more chunks", "overlap < 1", "both"):
        assert share[trait] >= 0.15 * len(found), share
    assert share["needs remote"] >= 0.25 * len(found), share
    for trait in ("dead link", "split routes", "unequal stages", "prefix", "exact count", "length limits"):
        assert share[trait] >= 0.1 * len(found), share
    for trait in ("short last step", "small page"):
        assert share[trait] >= 0.1 * len(found), share
    assert 0.25 <= np.mean([tables.stages == 3 for tables in instances]) <= 0.45


def test_random_instances_repeat_with_their_seed():
    first, second = random_instances(41, 20), random_instances(41, 20)
    for one, other in zip(first, second, strict=True):
        assert one.name == other.name
        assert np.array_equal(one.share, other.share)
        assert np.array_equal(one.capacity, other.capacity)


def test_random_links_carry_every_unit_of_every_transfer():
    # What leaves the source's dies, less what enters them, is the whole transfer; so at the target.
    rng = np.random.default_rng(42)
    for _ in range(60):
        tables = random_tables(rng)
        for a in range(tables.stages):
            for b in range(tables.stages):
                balance: Counter[str] = Counter()
                for name, part in zip(tables.links, tables.share[:, a, b].tolist(), strict=True):
                    source, target = name.split(">")
                    balance[source] -= part
                    balance[target] += part
                sent = sum(part for part in balance.values() if part > 0)
                assert sent == (tables.share_denominator if a != b else 0)


def test_random_partitions_keep_to_count_and_limits():
    rng, chunks = np.random.default_rng(43), Counter()
    for tables in random_instances(44, 200):
        indices = random_partition(tables, rng)
        if indices is None:
            assert (
                not set(oracle.partitions(tables))
                or tables.min_length > 1
                or tables.max_length < tables.tokens
            )
        else:
            assert tuple(int(tables.grid[g]) for g in indices) in set(oracle.partitions(tables))
            chunks[len(indices) - 1] += 1
    assert min(chunks[1], chunks[2], chunks[3]) > 10


def test_random_plans_are_feasible_and_often_remote():
    rng, homes, found = np.random.default_rng(45), 0, 0
    for _ in range(25):
        tables = random_tables(rng)
        plan = random_plan(tables, rng, scatter=0.1)
        if plan is not None:
            assert violations(tables, plan) == []
            assert oracle.is_feasible(tables, plan)
            found += 1
            homes += len(plan.homes) > 0
    assert found >= 15
    assert homes >= 10


def test_descent_never_leaves_feasible_plans_nor_climbs():
    rng, better, optimal, runs = np.random.default_rng(46), 0, 0, 0
    for tables in random_instances(47, 60):
        best, plan = brute_force(tables), random_plan(tables, rng)
        if plan is None:
            continue
        end, value = descend(tables, plan, oracle.price_plan, rng, steps=60)
        assert oracle.is_feasible(tables, end)
        assert value == oracle.price_plan(tables, end)
        assert best.value <= value <= oracle.price_plan(tables, plan)
        runs += 1
        better += value < oracle.price_plan(tables, plan)
        optimal += value == best.value
    assert better > runs / 3
    assert optimal > runs / 2


def test_more_memory_cures_every_instance_whose_lengths_allow_a_plan():
    # Where brute force finds no plan although lengths allow some, enough memory makes one.
    cured = 0
    for tables in random_instances(48, 100):
        if brute_force(tables) is None and set(oracle.partitions(tables)):
            assert brute_force(replace(tables, capacity=tables.capacity + 10**6)) is not None
            cured += 1
    assert cured > 15
