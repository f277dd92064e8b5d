"""Random feasible plans: no deadlock, no overfull memory, no tick and no byte unaccounted for."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from builders import make_tables
from random_plans import random_plan
from random_tables import MIDDLING, TINY_PAIR, TINY_TRIPLE, Size, random_tables

from mocap_opt.replay.accounting import ReplayError
from mocap_opt.replay.event import EventReplay, replay_event
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.tables.cost_tables import Tables

# Fewer chunks than stages, mostly.
LONG = Size(stages=(5, 9), steps=(3, 20), max_chunks=(2, 5), quanta=(1, 2))
SIZES = (TINY_PAIR, TINY_TRIPLE, MIDDLING, LONG)


def scarce(tables: Tables, rng: np.random.Generator) -> Tables:
    """Some of the KV traffic of real instances: heavier, so that it is not hidden behind compute."""
    factor = int(rng.choice([1, 1, 10, 40]))
    return replace(
        tables,
        page_bytes=tables.page_bytes * factor,
        prefix_bytes=tables.prefix_bytes * factor,
        capacity=tables.capacity * factor,
        queue_depth=[1, 2, None][int(rng.integers(3))],
    )


def check(tables: Tables, plan: Plan, replay: EventReplay) -> None:
    """Whatever must hold of any run, computed from the tables once more."""
    assert all(account.total == replay.latency for account in replay.accounts)
    pages = plan.all_pages(tables) * tables.page_bytes[:, None, None]
    floor = tables.static + tables.reserve(plan.longest)
    for k, points in enumerate(replay.memory):
        times = [time for time, _ in points]
        assert times == sorted(set(times))
        assert max(held for _, held in points) <= tables.capacity[k]
        assert points[-1][1] == floor[k]
        # In the middle of a run: what has started, less the stages that are through.
        middle = replay.latency / 2
        held = int(floor[k])
        for i, (start, end) in enumerate(zip(replay.start, replay.end, strict=True)):
            if end[-1] > middle:
                held += sum(int(pages[i, j, k]) for j, time in enumerate(start) if time <= middle)
                held += int(tables.prefix_bytes[k]) * (i == k and start[0] <= middle)
        assert held == [size for time, size in points if time <= middle][-1]
    rows = [range(tables.stages), range(plan.chunks), range(tables.stages)]
    kept = np.where(np.eye(tables.stages, dtype=bool)[:, None, :], 0, pages)
    port = tables.own_traffic[:, plan.grid_indices(tables)[1:]].sum(axis=1).astype(object)
    link = np.zeros(len(tables.links), dtype=object)
    for i in rows[0]:
        for j in rows[1]:
            for k in rows[2]:
                back = int(kept[i, :j, k].sum())
                port[k] += int(kept[i, j, k]) + back
                link += tables.share[:, i, k] * int(kept[i, j, k]) + tables.share[:, k, i] * back
        if i + 1 < tables.stages:
            link += tables.share[:, i, i + 1] * int(tables.activation_bytes[i]) * tables.tokens
    assert replay.port_bytes == tuple(port)
    assert replay.link_bytes == tuple(Fraction(int(n), tables.share_denominator) for n in link)
    for moved, busy, rate in (
        (replay.port_bytes, replay.port_busy, tables.port_rate),
        (replay.link_bytes, replay.link_busy, tables.link_rate),
    ):
        for size, time, each in zip(moved, busy, rate.tolist(), strict=True):
            assert size / Fraction(each) <= time <= replay.latency


def run_many(seed: int, count: int, compare: bool) -> Counter[str]:
    rng = np.random.default_rng(seed)
    seen: Counter[str] = Counter()
    while seen["plans"] < count:
        tables = scarce(random_tables(rng, SIZES[int(rng.integers(len(SIZES)))]), rng)
        for _ in range(4):
            plan = random_plan(tables, rng, scatter=0.4, tries=2)
            if plan is None:
                break
            replay = replay_event(tables, plan)
            if compare:
                check(tables, plan, replay)
            seen["plans"] += 1
            seen[f"queue depth {tables.queue_depth}"] += 1
            seen["fewer chunks than stages"] += plan.chunks < tables.stages
            seen["empty chunks"] += plan.chunks < tables.max_chunks
            seen["unequal stages"] += "unequal stages" in tables.name
            seen["KV"] += any(account.kv_total for account in replay.accounts)
            seen["admission"] += any(account.admission for account in replay.accounts)
            seen["queue room"] += any(account.queue_room for account in replay.accounts)
            seen["remote"] += bool(plan.homes)
            seen["rounded"] += replay.rounded > 0
    return seen


def test_random_plans_run_and_add_up():
    seen = run_many(20_270, 200, compare=True)
    assert all(seen[f"queue depth {depth}"] >= 30 for depth in (1, 2, None)), seen
    for trait in ("fewer chunks than stages", "empty chunks", "unequal stages", "KV", "remote"):
        assert seen[trait] >= 40, seen
    assert seen["admission"] >= 10, seen
    assert seen["queue room"] >= 20, seen


@pytest.mark.slow
def test_no_deadlock_and_no_overfull_memory_in_5000_random_plans():
    seen = run_many(20_271, 5000, compare=False)
    assert all(seen[f"queue depth {depth}"] >= 1000 for depth in (1, 2, None)), seen
    for trait in ("fewer chunks than stages", "empty chunks", "unequal stages", "KV", "remote", "queue room"):
        assert seen[trait] >= 500, seen
    assert seen["admission"] >= 250, seen


def test_an_infeasible_plan_is_refused_when_it_overfills():
    tables = make_tables(2, 4, linear=1, capacity=[3, 9])
    with pytest.raises(ReplayError, match="memory 0 is 1 B over its capacity when stage 0 starts chunk 1"):
        replay_event(tables, Plan((0, 2, 4)))
    with pytest.raises(ReplayError, match="memory 1 is 1 B over its capacity before the first chunk"):
        replay_event(make_tables(2, 4, capacity=9, static=[0, 10]), Plan((0, 4)))


def test_homes_that_exceed_their_chunk_are_refused():
    with pytest.raises(ValueError, match="stage 0, chunk 1: negative pages in memory 0"):
        replay_event(make_tables(2, 4), Plan((0, 3, 4), (Home(0, 1, 1, 2),)))
    with pytest.raises(ValueError, match="not all on the grid"):
        replay_event(make_tables(2, 4, quantum=2), Plan((0, 3, 4)))


def test_runs_are_repeatable():
    rng = np.random.default_rng(20_272)
    tables = replace(random_tables(rng, MIDDLING), queue_depth=2)
    plan = random_plan(tables, rng, scatter=0.6)
    assert plan is not None
    first, second = (replay_event(tables, plan, log=True) for _ in range(2))
    assert first.start == second.start
    assert first.accounts == second.accounts
    assert first.log == second.log


def test_scaling_all_times_scales_the_latency():
    rng = np.random.default_rng(20_273)
    compared = 0
    while compared < 20:
        tables = scarce(random_tables(rng, MIDDLING), rng)
        plan = random_plan(tables, rng, scatter=0.4)
        if plan is None:
            continue
        # Three times the bytes at the same rates, three times the ticks for all else.
        times = ["phi", "full_block", "memory_side", "prefix_cost", "length_cost", "send", "hop_ticks"]
        sizes = ["page_bytes", "prefix_bytes", "activation_bytes", "own_traffic"]
        sizes += ["capacity", "static", "staging", "working_bytes"]
        slower = replace(tables, **{name: 3 * getattr(tables, name) for name in times + sizes})
        plain, scaled = replay_event(tables, plan), replay_event(slower, plan)
        if plain.rounded == scaled.rounded == 0:
            assert scaled.latency == 3 * plain.latency
            compared += 1
