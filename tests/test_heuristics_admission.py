"""Admission in the recursion of the heuristics, and homes and boundaries that hold nobody up."""

from dataclasses import replace

import numpy as np
import pytest
from builders import make_tables
from cell_recursion import starts_from
from random_plans import random_plan
from random_tables import random_tables

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.recursion import earliest_starts, latest_starts
from mocap_opt.homes.admission_aware import admission_aware_cpsat, admission_aware_greedy, noncritical_ends
from mocap_opt.homes.greedy import greedy
from mocap_opt.replay.contention_free_makespan import (
    admission_predecessors,
    contention_free_latency,
    contention_free_makespan,
    noncritical_predecessors,
    without_traffic,
)
from mocap_opt.replay.evaluation import Execution
from mocap_opt.replay.event import replay_event
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.search.memory_repair import bytes_short, least_latency, repair_memory
from mocap_opt.search.waiting_reduction import with_less_waiting
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.solving.joint import STEPS
from mocap_opt.solving.search_state import JointSearch
from mocap_opt.solving.strategy import choose
from mocap_opt.stopping import Deadline, never
from mocap_opt.tables.cost_tables import Tables

FAST = 10**12
LAYERS = [3, 4, 3, 3, 4, 3]
UNEVEN = [11, 14, 11, 11, 13, 13, 13, 10]
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
        assert exact <= contention_free_makespan(tables, indices, pages) + 1
        assert contention_free_makespan(tables, indices, pages) <= exact + plan.chunks * tables.stages
        assert contention_free_latency(tables, plan) <= exact
        compared += 1
        waiting += contention_free_makespan(tables, indices, pages) > contention_free_makespan(
            tables, indices
        )
    assert compared > 50
    assert waiting > 5


def test_without_traffic_only_the_waits_are_left() -> None:
    rng = np.random.default_rng(32)
    waiting = busy = 0
    for _ in range(60):
        tables = random_tables(rng)
        plan = random_plan(tables, rng)
        if plan is None:
            continue
        left = without_traffic(tables, plan)
        assert contention_free_latency(tables, Plan(plan.boundaries)) <= left
        assert left <= contention_free_latency(tables, plan)
        waiting += left > contention_free_latency(tables, Plan(plan.boundaries))
        busy += left < contention_free_latency(tables, plan)
    assert waiting
    assert busy


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
        first = earliest_starts(work, send, depth)
        latency = int(first[-1, -1] + work[-1, -1]) + int(rng.integers(0, 30))
        latest = latest_starts(work, send, depth, latency)
        assert np.all(first <= latest)
        # A chunk that starts at its latest keeps to the latency, one that starts a tick later does not.
        i, j = (int(rng.integers(n)) for n in work.shape)
        for later, kept in ((0, True), (1, False)):
            delayed = with_delay(work, send, depth, (i, j), int(latest[i, j]) + later)
            assert (delayed <= latency) == kept


def with_delay(work: IntArray, send: IntArray, depth: int | None, cell: tuple[int, int], time: int) -> int:
    """Latency if one chunk starts no earlier than a time."""
    earliest = np.zeros_like(work)
    earliest[cell] = time
    return int((starts_from(earliest, work, send, depth) + work).max())


def test_harmless_waits_are_harmless_all_together() -> None:
    rng = np.random.default_rng(8)
    waiting = too_many = 0
    for _ in range(200):
        stages, chunks = (int(n) for n in rng.integers(4, 12, 2))
        work = rng.integers(10, 40, stages)[:, None] + rng.integers(0, 5, (stages, chunks))
        send, depth = np.zeros_like(work), int(rng.integers(0, 4)) or None
        first = earliest_starts(work, send, depth)
        latest = latest_starts(
            work, send, depth, latency := int((first + work).max()) + int(rng.integers(0, 60))
        )
        gate = noncritical_predecessors(work, send, depth, latency)
        late = earliest_starts(work, send, depth, gate)
        assert np.all(late <= latest)
        waiting += bool(np.any(late > first))
        # Allowing for waits that are harmless only as long as nobody else waits would not do.
        ends = first[:, -1] + work[:, -1]
        past = np.arange(work.shape[0])[:, None] + np.arange(work.shape[1]) - work.shape[1]
        alone = np.maximum(np.minimum(np.searchsorted(ends, latest, side="right") - 1, past), -1)
        assert np.all(gate <= alone)
        too_many += bool(np.any(earliest_starts(work, send, depth, alone) > latest))
    assert waiting > 20
    assert too_many > 5


def test_many_executions_at_once_are_as_one_by_one() -> None:
    rng = np.random.default_rng(9)
    for _ in range(20):
        work, send, depth = random_times(rng)
        works = rng.integers(1, 50, (*work.shape, 3))
        sends = np.repeat(send[:, :, None], 3, axis=2)
        latency = (earliest_starts(works, sends, depth) + works).max(axis=(0, 1)) + rng.integers(0, 60, 3)
        many = noncritical_predecessors(works, sends, depth, latency)
        for n in range(3):
            one = noncritical_predecessors(works[:, :, n], send, depth, int(latency[n]))
            assert np.array_equal(many[:, :, n], one)
            assert np.array_equal(
                earliest_starts(works, sends, depth, many)[:, :, n],
                earliest_starts(works[:, :, n], send, depth, one),
            )


def test_chunks_wait_for_the_last_stage_that_frees_where_they_go() -> None:
    tables = make_tables(4, 32)
    pages = np.zeros((4, 4, 4), dtype=np.int64)
    pages[1, 3, 0] = 2  # stage 1, slot 4: stage 0 frees there after slot 3
    pages[0, 0, 3] = 2  # held where stage 3 brings its own in slots 4 to 6
    expected = np.full((4, 4), -1)
    expected[1, 3] = 0
    expected[3, 1:] = 0
    assert admission_predecessors(tables, np.arange(0, 33, 8), pages).tolist() == expected.tolist()


def test_timely_homes_keep_to_the_latency_where_greedy_ones_do_not() -> None:
    tables = uneven()
    alone = contention_free_makespan(tables, INDICES)
    simple = greedy(tables, INDICES).pages
    assert simple is not None
    assert contention_free_makespan(tables, INDICES, simple) > alone
    pages = admission_aware_cpsat(tables, INDICES, alone).pages
    assert pages is not None
    assert contention_free_makespan(tables, INDICES, pages) == alone
    plan, other = (Plan.from_arrays(tables, INDICES, homes) for homes in (pages, simple))
    assert not violations(tables, plan)
    assert replay_event(tables, plan).latency < replay_event(tables, other).latency


def test_says_so_where_no_homes_are_timely() -> None:
    tables = uneven(609, UNEVEN)
    homes = admission_aware_cpsat(tables, INDICES, contention_free_makespan(tables, INDICES))
    assert homes.pages is None
    assert homes.why == "no such homes"
    short = admission_aware_cpsat(replace(tables, capacity=tables.capacity // 2), INDICES, 10**9)
    assert short.pages is None
    assert "short in slot" in short.why


def test_more_latency_makes_later_ends_harmless() -> None:
    tables = uneven()
    alone = contention_free_makespan(tables, INDICES)
    tight, ample = (noncritical_ends(tables, INDICES, latency) for latency in (alone, 2 * alone))
    assert np.all(tight <= ample)
    assert (tight < ample).any()


def test_where_bytes_are_short_there_are_no_timely_homes() -> None:
    short = found = 0
    for memory in range(609, 680, 10):
        tables = uneven(memory, UNEVEN)
        alone = contention_free_makespan(tables, INDICES)
        homes = admission_aware_cpsat(tables, INDICES, alone)
        if bytes_short(tables, INDICES[None], alone)[0] > 0:
            assert homes.why == "no such homes"
            short += 1
        elif homes.pages is not None:
            assert contention_free_makespan(tables, INDICES, homes.pages) == alone
            found += 1
    assert short
    assert found


def test_room_is_made_by_moving_boundaries() -> None:
    tables = make_tables(
        len(UNEVEN),
        64,
        linear=[100 * n for n in UNEVEN],
        token_bytes=UNEVEN,
        capacity=[1218 - 64 * n for n in UNEVEN],
        max_chunks=8,
        link_rate=10**9,
    )
    indices = 2 * INDICES
    alone = contention_free_makespan(tables, indices)
    assert bytes_short(tables, indices[None], alone)[0] > 0
    least = least_latency(tables, indices, 2 * alone)
    assert least is not None
    assert alone < least
    moved, latency = repair_memory(tables, indices, least)
    assert latency < least
    assert contention_free_makespan(tables, moved) <= latency
    assert bytes_short(tables, moved[None], latency)[0] <= 0
    assert least_latency(tables, indices, alone) is None
    moved, latency = repair_memory(tables, indices, least, asked_to_stop=lambda: True)
    assert np.array_equal(moved, indices)
    assert latency == least


@pytest.mark.parametrize("deterministic", [False, True])
def test_unhindered_plans_get_better_and_are_feasible(deterministic: bool) -> None:
    tables = uneven()
    pages = greedy(tables, INDICES).pages
    plan = Plan.from_arrays(tables, INDICES, pages)
    start = latency = contention_free_makespan(tables, INDICES, pages)
    found = list(with_less_waiting(tables, plan, deterministic=deterministic))
    for better in found:
        assert not violations(tables, better)
        reached = contention_free_makespan(tables, better.grid_indices(tables), better.remote_pages(tables))
        assert reached < latency
        latency = reached
    assert latency < start
    if deterministic:
        assert list(with_less_waiting(tables, plan, deterministic=True)) == found
    assert list(with_less_waiting(tables, plan, asked_to_stop=lambda: True)) == []
    assert list(with_less_waiting(tables, Plan.from_arrays(tables, INDICES))) == []  # nobody waits


def test_a_solve_takes_them_unless_lockstep_counts() -> None:
    tables = uneven()
    plan = Plan.from_arrays(tables, INDICES, greedy(tables, INDICES).pages)
    for execution in (None, Execution.LOCKSTEP):
        state = SearchState(tables, Deadline(60.0), 0.0, execution=execution)
        state.offer(plan, "greedy")
        before = state.best_latency
        search = JointSearch(state, choose(tables, execution, "auto", by_size=True))
        (step,) = (step for step in STEPS if step.name == "waiting_reduction")
        if step.obstacle(search) is None:
            step.run(search, never)
        assert before is not None
        assert state.best_latency is not None
        assert (state.best_latency < before) == (execution is None)
        assert state.best_source == ("greedy" if execution else "greedy + waiting reduction")


def test_patient_homes_wait_less_than_greedy_ones() -> None:
    tables = uneven(190)
    alone = contention_free_makespan(tables, INDICES)
    simple = greedy(tables, INDICES).pages
    assert simple is not None
    assert contention_free_makespan(tables, INDICES, simple) > alone
    pages = admission_aware_greedy(tables, INDICES, alone).pages
    assert pages is not None
    assert not violations(tables, Plan.from_arrays(tables, INDICES, pages))
    assert contention_free_makespan(tables, INDICES, pages) < contention_free_makespan(
        tables, INDICES, simple
    )


def test_patient_homes_are_feasible() -> None:
    rng = np.random.default_rng(12)
    placed = 0
    for n in range(150):
        tables = random_tables(rng)
        plan = random_plan(tables, rng)
        if plan is None:
            continue
        indices = plan.grid_indices(tables)
        homes = admission_aware_greedy(tables, indices, contention_free_makespan(tables, indices), n or None)
        if homes.pages is None:
            assert "short in slot" in homes.why
            continue
        assert not violations(tables, Plan.from_arrays(tables, indices, homes.pages))
        placed += bool(homes.pages.any())
    assert placed > 30
