"""Admission in the recursion of the heuristics, and homes and boundaries that hold nobody up."""

from dataclasses import replace

import numpy as np
import pytest
from builders import make_tables
from random_plans import random_plan
from random_tables import random_tables

from mocap_opt.assess import Execution
from mocap_opt.heuristics.admission import gates, latest_starts, starts
from mocap_opt.heuristics.estimate import contention_free_latency, estimate
from mocap_opt.heuristics.greedy import greedy
from mocap_opt.heuristics.timely import harmless_ends, timely
from mocap_opt.heuristics.unhindered import unhindered
from mocap_opt.plan import Plan
from mocap_opt.replay.event import replay_event
from mocap_opt.solving.state import SearchState
from mocap_opt.solving.unhindering import unhinder
from mocap_opt.tables import IntArray, Tables
from mocap_opt.verify import violations

FAST = 10**12
LAYERS = [3, 4, 3, 3, 4, 3]
INDICES = np.arange(0, 33, 4)


def free_ways(tables: Tables) -> Tables:
    """The same with links and ports on which nothing takes any time worth speaking of."""
    return replace(
        tables,
        link_rate=np.where(tables.link_rate > 0, FAST, 0),
        port_rate=np.full_like(tables.port_rate, FAST),
    )


def uneven(memory: int = 181, layers: list[int] = LAYERS) -> Tables:
    """Stages with more and fewer layers, whose weights and caches share memories of one size."""
    return make_tables(
        len(layers),
        32,
        linear=[100 * n for n in layers],
        token_bytes=layers,
        capacity=[memory - 32 * n for n in layers],
        max_chunks=8,
        link_rate=10**9,
    )


def test_without_contention_the_estimate_is_the_event_driven_latency() -> None:
    rng = np.random.default_rng(31)
    waiting = compared = 0
    for _ in range(120):
        tables = free_ways(random_tables(rng))
        plan = random_plan(tables, rng)
        if plan is None:
            continue
        indices, pages = plan.grid_indices(tables), plan.remote_pages(tables)
        exact = replay_event(tables, plan).latency
        # KV times are rounded up to a tick, at most once per chunk on the longest path.
        assert exact <= estimate(tables, indices, pages) + 1
        assert estimate(tables, indices, pages) <= exact + plan.chunks * tables.stages
        assert contention_free_latency(tables, plan) <= exact
        compared += 1
        waiting += estimate(tables, indices, pages) > estimate(tables, indices)
    assert compared > 50
    assert waiting > 5


def random_times(rng: np.random.Generator) -> tuple[IntArray, IntArray, int | None]:
    stages, chunks = (int(n) for n in rng.integers(1, 7, 2))
    depth = int(rng.integers(0, 4)) or None
    send = rng.integers(0, 9, (stages, chunks))
    send[-1] = 0
    return rng.integers(1, 50, (stages, chunks)), send, depth


def test_latest_starts_are_the_latest() -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        work, send, depth = random_times(rng)
        first = starts(work, send, depth)
        latency = int(first[-1, -1] + work[-1, -1]) + int(rng.integers(0, 30))
        latest = latest_starts(work, send, depth, latency)
        assert np.all(first <= latest)
        # A chunk that starts at its latest keeps to the latency, one that starts a tick later does not.
        i, j = (int(rng.integers(n)) for n in work.shape)
        for later, kept in ((0, True), (1, False)):
            delayed = with_delay(work, send, depth, (i, j), int(latest[i, j]) + later)
            assert (delayed <= latency) == kept


def with_delay(work: IntArray, send: IntArray, depth: int | None, cell: tuple[int, int], time: int) -> int:
    """Latency if one chunk starts no earlier than a time, cell by cell until nothing changes."""
    start = np.zeros_like(work)
    start[cell] = time
    stages, chunks = work.shape
    while True:
        before = start.copy()
        for i in range(stages):
            for j in range(chunks):
                if i:
                    start[i, j] = max(start[i, j], start[i - 1, j] + work[i - 1, j] + send[i - 1, j])
                if j:
                    start[i, j] = max(start[i, j], start[i, j - 1] + work[i, j - 1])
                if depth is not None and i + 1 < stages and j >= depth:
                    start[i, j] = max(start[i, j], start[i + 1, j - depth])
        if np.array_equal(before, start):
            return int((start + work).max())


def test_chunks_wait_for_the_last_stage_that_frees_where_they_go() -> None:
    tables = make_tables(4, 32)
    pages = np.zeros((4, 4, 4), dtype=np.int64)
    pages[1, 3, 0] = 2  # stage 1, slot 4: stage 0 frees there after slot 3
    pages[0, 0, 3] = 2  # held where stage 3 brings its own in slots 4 to 6
    expected = np.full((4, 4), -1)
    expected[1, 3] = 0
    expected[3, 1:] = 0
    assert gates(tables, np.arange(0, 33, 8), pages).tolist() == expected.tolist()


def test_timely_homes_keep_to_the_latency_where_greedy_ones_do_not() -> None:
    tables = uneven()
    alone = estimate(tables, INDICES)
    simple = greedy(tables, INDICES).pages
    assert simple is not None
    assert estimate(tables, INDICES, simple) > alone
    pages = timely(tables, INDICES, alone).pages
    assert pages is not None
    assert estimate(tables, INDICES, pages) == alone
    plan, other = (Plan.from_arrays(tables, INDICES, homes) for homes in (pages, simple))
    assert not violations(tables, plan)
    assert replay_event(tables, plan).latency < replay_event(tables, other).latency


def test_says_so_where_no_homes_are_timely() -> None:
    tables = uneven(609, [11, 14, 11, 11, 13, 13, 13, 10])
    homes = timely(tables, INDICES, estimate(tables, INDICES))
    assert homes.pages is None
    assert homes.why == "no such homes"
    short = timely(replace(tables, capacity=tables.capacity // 2), INDICES, 10**9)
    assert short.pages is None
    assert "short in slot" in short.why


def test_more_latency_makes_later_ends_harmless() -> None:
    tables = uneven()
    alone = estimate(tables, INDICES)
    tight, ample = (harmless_ends(tables, INDICES, latency) for latency in (alone, 2 * alone))
    assert np.all(tight <= ample)
    assert (tight < ample).any()


@pytest.mark.parametrize("deterministic", [False, True])
def test_unhindered_plans_get_better_and_are_feasible(deterministic: bool) -> None:
    tables = uneven()
    pages = greedy(tables, INDICES).pages
    plan = Plan.from_arrays(tables, INDICES, pages)
    start = latency = estimate(tables, INDICES, pages)
    found = list(unhindered(tables, plan, deterministic=deterministic))
    for better in found:
        assert not violations(tables, better)
        reached = estimate(tables, better.grid_indices(tables), better.remote_pages(tables))
        assert reached < latency
        latency = reached
    assert latency < start
    if deterministic:
        assert list(unhindered(tables, plan, deterministic=True)) == found
    assert list(unhindered(tables, plan, asked_to_stop=lambda: True)) == []
    assert list(unhindered(tables, Plan.from_arrays(tables, INDICES))) == []  # nobody waits


def test_a_solve_takes_them_unless_lockstep_counts() -> None:
    tables = uneven()
    plan = Plan.from_arrays(tables, INDICES, greedy(tables, INDICES).pages)
    for execution in (None, Execution.LOCKSTEP):
        state = SearchState(tables, 60.0, 0.0, execution=execution)
        state.offer(plan, "greedy")
        before = state.best_latency
        unhinder(state, [], 0)
        assert before is not None
        assert state.best_latency is not None
        assert (state.best_latency < before) == (execution is None)
        assert state.best_source == ("greedy" if execution else "greedy + homes in time")
