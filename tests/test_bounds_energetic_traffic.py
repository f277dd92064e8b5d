"""Traffic in windows of time: no plan's replays beat the bound, and each of its parts is needed."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from builders import make_tables
from oracle import chunks_of, contention_free_price, feasible_homes, partitions, price_plan
from random_tables import TINY_PAIR, TINY_TRIPLE, random_tables

from mocap_opt.baselines import METHODS
from mocap_opt.bounds.admission_gate import gated_path
from mocap_opt.bounds.energetic_traffic import Windows, energetic_traffic
from mocap_opt.bounds.enumerated_partitions import PartitionEnumeration
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.instance import Instance
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.studies.bench.family import make
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

MOST_PLANS = 150


def latency(tables: Tables, plan: Plan) -> Fraction:
    return min(Fraction(replay_event(tables, plan).latency), Fraction(replay_lockstep(tables, plan).latency))


def all_plans(tables: Tables) -> list[Plan]:
    """Every feasible plan; none at all if they are many."""
    plans: list[Plan] = []
    for marks in partitions(tables):
        for homes in feasible_homes(tables, marks, lambda _: True):
            plans.append(Plan(marks, tuple(sorted(Home(i, j, k, n) for (i, j, k), n in homes.items()))))
            if len(plans) > MOST_PLANS:
                return []
    return plans


@cache
def with_scarce_links() -> list[Tables]:
    rng = np.random.default_rng(2027)
    drawn = [random_tables(rng, TINY_TRIPLE if n % 3 == 0 else TINY_PAIR, f"tiny {n}") for n in range(60)]
    slower = (1, 2, 4, 16)
    return [
        replace(tables, link_rate=np.maximum(tables.link_rate // slower[n % 4], 1))
        for n, tables in enumerate(drawn)
    ]


@cache
def pipelines() -> list[Tables]:
    """Memory 0 too small, links so slow that what has to leave it lengthens every plan."""
    return [
        make_tables(
            len(pages),
            tokens,
            token_bytes=30,
            capacity=[30 * room for room in pages],
            link_rate=rate,
            activation_bytes=activations,
        )
        for pages in ((1, 3), (2, 6), (2, 3, 6), (2, 2, 6), (3, 3, 3))
        for rate in (1, 3)
        for tokens in (3, 4)
        for activations in (0, 3)
    ]


@cache
def proved() -> list[tuple[Tables, int]]:
    """Instances on which the bound has something to say, and what it says."""
    found = [(tables, energetic_traffic(tables)) for tables in [*pipelines(), *with_scarce_links()]]
    return [(tables, bound.ticks) for tables, bound in found if bound is not None]


def test_no_plan_of_a_tiny_instance_beats_it_and_two_per_cent_more_would_be_wrong() -> None:
    checked = near = 0
    for tables, ticks in proved():
        plans = all_plans(tables)
        if not plans:
            continue
        best = min(latency(tables, plan) for plan in plans)
        assert ticks <= best, tables.name
        checked += 1
        near += best >= 50 and ticks * Fraction(102, 100) > best
    assert checked >= 10
    assert near >= 1


def test_no_target_rules_out_the_partition_of_a_plan_that_meets_it() -> None:
    # Sharper than the bound itself: every plan's own partition, at the very next tick.
    checked = 0
    for tables in [*pipelines(), *with_scarce_links()[::3]]:
        setting, memory = Setting(tables), PooledMemory.of(tables)
        best: dict[tuple[int, ...], Fraction] = {}
        for plan in all_plans(tables):
            marks = plan.boundaries
            best[marks] = min(best.get(marks, latency(tables, plan)), latency(tables, plan))
        for marks, least in list(best.items())[:3]:
            target = int(least) + 1
            indices = Plan(marks).grid_indices(tables)
            assert not Windows(setting, memory, indices, target).ruled_out(), tables.name
            if checked % 10 == 0:
                listed = {tuple(found) for _, found in PartitionEnumeration(setting, memory).below(target)}
                assert tuple(indices) in listed
            checked += 1
    assert checked > 25


def test_all_partitions_below_a_target_are_listed_once() -> None:
    for tables in with_scarce_links()[:60]:
        setting, memory = Setting(tables), PooledMemory.of(tables)
        prices = {}
        for marks in partitions(tables):
            indices = Plan(marks).grid_indices(tables)
            longest = max(b - a for a, b in chunks_of(marks))
            if memory.fits(indices, longest):
                price = price_plan(tables, Plan(marks), contention_free_price)
                prices[tuple(indices.tolist())] = max(price, gated_path(memory, indices, setting.send))
        if not prices:
            continue
        target = sorted(prices.values())[len(prices) // 2]
        listed = [tuple(found.tolist()) for _, found in PartitionEnumeration(setting, memory).below(target)]
        assert len(set(listed)) == len(listed)
        # The least send may be a little less than the table, so a few more may be listed.
        assert {marks for marks, price in prices.items() if price < target} <= set(listed) <= set(prices)


class WithoutMemory(Windows):
    """Memories have room for everything."""

    @property
    def memory_rows(self) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[override]
        rows, room = Windows.memory_rows.func(self)
        return rows, np.full_like(room, int(self.tables.pages[-1]) * int(self.tables.page_bytes.sum()))


class WithoutActivations(Windows):
    """Links are there for KV alone."""

    @property
    def room(self) -> list[list[int]]:  # type: ignore[override]
        lengths = self.spans[0][:, 1] - self.spans[0][:, 0]
        return [[rate * int(length) for length in lengths] for rate in self.rates]


class OneJobAtATime(Windows):
    """Every chunk's traffic has the links for itself."""

    @property
    def spans(self) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[override]
        ends, inside = Windows.spans.func(self)
        alone = inside.sum(axis=1) == 1
        return ends[alone], inside[alone]


@pytest.mark.parametrize("relaxed", [WithoutMemory, WithoutActivations, OneJobAtATime])
def test_without_any_of_its_parts_it_is_weaker(relaxed: type[Windows]) -> None:
    weaker = 0
    for tables, ticks in proved():
        setting, memory = Setting(tables), PooledMemory.of(tables)
        for _, indices in PartitionEnumeration(setting, memory).below(ticks):
            assert Windows(setting, memory, indices, ticks).ruled_out()
            weaker += not relaxed(setting, memory, indices, ticks).ruled_out()
        if weaker:
            return
    pytest.fail(f"{relaxed.__name__} rules out as much")


def test_higher_targets_rule_out_less_and_more_memory_rules_out_less() -> None:
    for tables, ticks in proved()[:15]:
        setting, memory = Setting(tables), PooledMemory.of(tables)
        ample = replace(tables, capacity=tables.capacity + 2 * tables.page_bytes.sum() * tables.pages[-1])
        for _, indices in list(PartitionEnumeration(setting, memory).below(ticks))[:3]:
            assert Windows(setting, memory, indices, ticks - 1).ruled_out()
            assert not Windows(Setting(ample), PooledMemory.of(ample), indices, ticks).ruled_out()


def test_asked_to_stop_it_says_nothing() -> None:
    tables, _ = proved()[0]
    assert energetic_traffic(tables, lambda: True) is None


def test_an_incumbent_is_no_premise() -> None:
    for tables, ticks in proved()[:20]:
        aimed = energetic_traffic(tables, incumbent=ticks + 1)
        assert aimed is not None
        assert aimed.ticks <= ticks + 1
        low = energetic_traffic(tables, incumbent=ticks - 1)
        assert low is None or low.ticks <= ticks - 1


def test_plans_by_brute_force_are_feasible() -> None:
    tables = next(tables for tables in pipelines() if all_plans(tables))
    assert not any(violations(tables, plan) for plan in all_plans(tables))


def test_where_no_route_crosses_a_link_there_is_nothing_to_say() -> None:
    tables = build_tables(Instance.from_dict(make("S-links", 0)))
    assert energetic_traffic(replace(tables, share=np.zeros_like(tables.share))) is None


def test_pages_of_a_few_bytes_among_large_ones_are_no_failure() -> None:
    # In parts of what a link moves they are less than 1e-9, coefficients that HiGHS does not take.
    tables = build_tables(Instance.from_dict(make("S-links", 0)))
    size, capacity = tables.page_bytes.copy(), tables.capacity.copy()
    size[1] = 3
    plan = METHODS["search-greedy"].propose(replace(tables, page_bytes=size.copy())).plan
    assert plan is not None
    longest = max(np.diff(plan.boundaries))
    capacity[1] = int((tables.static + tables.reserve(int(longest)))[1]) + 1000
    tiny = replace(tables, page_bytes=size, capacity=capacity)
    found, feasible = energetic_traffic(tiny), METHODS["search-greedy"].propose(tiny).plan
    assert found is None or feasible is None or found.ticks <= replay_event(tiny, feasible).latency


def test_no_partition_is_ruled_out_twice_and_no_target_fails_twice(monkeypatch) -> None:
    proved: dict[tuple[int, ...], int] = {}
    failed: list[int] = []
    ask = Windows.ruled_out

    def ruled_out(windows: Windows, asked_to_stop: object) -> bool:
        key = tuple(windows.indices.tolist())
        assert windows.target > proved.get(key, 0)
        assert windows.target < min(failed, default=10**18)
        found = ask(windows, asked_to_stop)
        if found:
            proved[key] = windows.target
        else:
            failed.append(windows.target)
        return found

    monkeypatch.setattr(Windows, "ruled_out", ruled_out)
    instance = Instance.from_dict(make("S-links", 0)).replace("chunking.max_chunks=6")
    found = energetic_traffic(build_tables(instance))
    assert found is not None
    assert len(failed) >= 2
    # Between what was proved and what failed lies a thousandth of what was known before at most.
    assert min(failed) - found.ticks < found.ticks / 1000
