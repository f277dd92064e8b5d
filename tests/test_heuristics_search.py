"""The one-dimensional search, its trials and the estimate, against enumeration and by hand."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from builders import make_tables
from cell_recursion import starts_from
from oracle import contention_free_price, price_plan
from random_plans import random_plan
from random_tables import random_tables

from mocap_opt.arrays import IntArray
from mocap_opt.chunking.bottleneck_partition import bottleneck_partition, min_max_partition
from mocap_opt.chunking.chunk_count_search import bottleneck_search
from mocap_opt.chunking.longest_chunk_time import BottleneckTimes, leading_stages
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.flow_shop.recursion import flow_shop_makespan
from mocap_opt.homes.greedy import greedy
from mocap_opt.homes.slot_placement import pooled_shortage
from mocap_opt.homes.thresholds import local
from mocap_opt.replay.contention_free_makespan import (
    admission_predecessors,
    contention_free_latency,
    contention_free_makespan,
    durations,
)
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.tables.cost_tables import Tables


def every_partition(tables: Tables) -> Iterator[IntArray]:
    for count in tables.counts:
        for cuts in combinations(range(1, tables.steps), count - 1):
            indices = np.array([0, *cuts, tables.steps], dtype=np.int64)
            lengths = np.diff(tables.grid[indices])
            if lengths.min() >= tables.min_length and lengths.max() <= tables.max_length:
                yield indices


def longest(tables: Tables, indices: IntArray) -> int:
    stage = np.arange(tables.stages)[:, None]
    tau = tables.tau(stage, indices[:-1], indices[1:])
    return int((tau + tables.send_time(stage, indices[:-1], indices[1:])).max())


def random_alike(rng: np.random.Generator, **more: object) -> Tables:
    """Identical stages, Phi differences plus a constant."""
    options: dict[str, object] = {
        "stages": int(rng.integers(2, 7)),
        "tokens": int(rng.integers(4, 13)),
        "max_chunks": int(rng.integers(2, 7)),
        "linear": int(rng.integers(1, 40)),
        "quadratic": int(rng.integers(0, 4)),
        "constant": int(rng.integers(0, 60)),
        "exact": bool(rng.random() < 0.2),
    }
    return make_tables(**(options | more))  # type: ignore[arg-type]


# --- the estimate ------------------------------------------------------------------------------


def test_the_estimate_is_the_exact_recursion_rounded_up() -> None:
    rng = np.random.default_rng(2)
    compared = 0
    for _ in range(60):
        tables = random_tables(rng)
        plan = random_plan(tables, rng)
        if plan is None or tables.queue_depth is not None:
            continue
        compared += 1
        exact = price_plan(tables, plan, contention_free_price)
        found = contention_free_makespan(tables, plan.grid_indices(tables), plan.remote_pages(tables))
        # The exact recursion knows nothing of admission (see test_heuristics_admission.py).
        assert exact <= found
        if (admission_predecessors(tables, plan.grid_indices(tables), plan.remote_pages(tables)) < 0).all():
            # Each of the chunks on a path through the pipeline is rounded up once.
            assert found <= exact + plan.chunks + tables.stages
            assert contention_free_latency(tables, plan) <= exact
    assert compared > 10


def test_no_replay_is_below_the_contention_free_latency() -> None:
    rng = np.random.default_rng(4)
    remote = 0
    for _ in range(80):
        tables = random_tables(rng)
        plan = random_plan(tables, rng)
        if plan is None:
            continue
        remote += bool(plan.homes)
        least = contention_free_latency(tables, plan)
        assert least <= replay_lockstep(tables, plan).latency
        assert least <= replay_event(tables, plan).latency
    assert remote > 10


def test_full_queues_hold_stages_back() -> None:
    # Stage 1 takes 100 for the first chunk.  At depth 1 stage 0 starts chunk 1 when stage 1 has
    # started chunk 0 (at 1), and chunk 2 when stage 1 has started chunk 1 (at 101).
    work = np.array([[1, 1, 50], [100, 1, 1]])
    assert flow_shop_makespan(work, np.zeros_like(work), None) == 103
    assert flow_shop_makespan(work, np.zeros_like(work), 2) == 103
    assert flow_shop_makespan(work, np.zeros_like(work), 1) == 152


def test_queues_of_any_depth_against_the_cells() -> None:
    rng = np.random.default_rng(6)
    held_back = 0
    for _ in range(80):
        stages, chunks = int(rng.integers(1, 6)), int(rng.integers(1, 9))
        work, send = rng.integers(0, 30, (stages, chunks)), rng.integers(0, 8, (stages, chunks))
        free = flow_shop_makespan(work, send, None)
        for depth in (1, 2, 3):
            found = flow_shop_makespan(work, send, depth)
            ends = starts_from(np.zeros_like(work), work, send, depth) + work
            assert found == ends[-1, -1]
            held_back += found > free
    assert held_back > 20


# --- trials ------------------------------------------------------------------------------------


def test_only_stages_that_can_be_slowest_are_asked() -> None:
    assert leading_stages(make_tables(4, 6, linear=[3, 7, 5, 7])) == [1]
    # More work a token against more a pair: either can be the slower.
    assert leading_stages(make_tables(2, 6, linear=[30, 1], quadratic=[0, 4])) == [0, 1]


def test_chunk_times_are_those_of_the_tables() -> None:
    rng = np.random.default_rng(8)
    for _ in range(20):
        tables = random_tables(rng)
        clock = BottleneckTimes(tables)
        for _ in range(20):
            a, b = sorted(int(x) for x in rng.choice(tables.steps + 1, 2, replace=False))
            assert clock.time(a, b) == longest(tables, np.array([a, b]))


def test_a_walk_by_hand() -> None:
    # Phi = x^2, S = 12, D = 45: Phi(a) >= 99 at a = 10; then >= 55 at a = 8; then >= 19 at a = 5; then 0.
    tables = make_tables(tokens=12, linear=0, quadratic=1)
    clock, limits = BottleneckTimes(tables), LengthLimits.of(tables)
    walk = bottleneck_partition(clock, limits, 45, 4, exact=False)
    assert walk.indices is not None
    assert walk.indices.tolist() == [0, 5, 8, 10, 12]
    assert walk.longest == 44
    # The first change is at D = 48 = 64 - 16, where [4, 8) becomes short enough.
    assert walk.onward == 48
    assert bottleneck_partition(clock, limits, 45, 3, exact=False).indices is None
    # With six chunks owed, room for the others is left: boundary k is at least k.
    exact = bottleneck_partition(clock, limits, 45, 6, exact=True)
    assert exact.indices is not None
    assert exact.indices.tolist() == [0, 1, 2, 5, 8, 10, 12]


@pytest.mark.parametrize("limited", [False, True])
def test_the_least_trial_is_the_least_longest_chunk(limited: bool) -> None:
    rng = np.random.default_rng(10)
    for _ in range(40):
        more = {"min_length": 2, "max_length": 5} if limited else {}
        tables = random_alike(rng, weights_time=int(rng.integers(0, 40)), **more)
        there = list(every_partition(tables))
        clock, limits = BottleneckTimes(tables), LengthLimits.of(tables)
        for count in limits.counts(tables):
            best = min((longest(tables, p) for p in there if p.size - 1 == count), default=None)
            for exact in (True, False):
                walk = min_max_partition(clock, limits, count, exact)
                if not exact:
                    fewer = (longest(tables, p) for p in there if p.size - 1 <= count)
                    best = min(fewer, default=None)
                    if tables.exact_chunks:
                        continue
                assert best is not None
                assert walk is not None
                assert walk.indices is not None
                assert walk.longest == longest(tables, walk.indices) == best


# --- the search --------------------------------------------------------------------------------


def test_slack_memory_gives_the_best_of_all_partitions() -> None:
    rng = np.random.default_rng(12)
    for _ in range(60):
        tables = random_alike(rng)
        plan = bottleneck_search(pooled_shortage, greedy)(tables).plan
        there = list(every_partition(tables))
        assert (plan is None) == (not there)
        if plan is not None:
            assert contention_free_makespan(tables, plan.grid_indices(tables)) == min(
                contention_free_makespan(tables, p) for p in there
            )


def test_slack_memory_meets_the_closed_form() -> None:
    tables = make_tables(8, 256, quantum=4, max_chunks=16, linear=40, quadratic=1, constant=700)
    plan = bottleneck_search(pooled_shortage, local)(tables).plan
    assert plan is not None
    indices = plan.grid_indices(tables)
    steps = np.diff(tables.phi[0, indices])
    # Phi(S) + m c + (N - 1) (D + c).
    formula = int(tables.phi[0, -1]) + plan.chunks * 700 + 7 * (int(steps.max()) + 700)
    assert contention_free_makespan(tables, indices) == formula == replay_event(tables, plan).latency


def test_fine_grids_approach_equal_steps_of_phi() -> None:
    # p_k = (-b + sqrt(b^2 + 4 a k Phi(S) / m)) / (2 a) for Phi = a x^2 + b x.
    a, b, tokens, count = 3, 5000, 8192, 12
    tables = make_tables(6, tokens, max_chunks=count, exact=True, linear=b, quadratic=a)
    plan = bottleneck_search(pooled_shortage, local)(tables).plan
    assert plan is not None
    k = np.arange(count + 1)
    total = a * tokens**2 + b * tokens
    wanted = (-b + np.sqrt(b * b + 4 * a * k * total / count)) / (2 * a)
    assert np.abs(np.array(plan.boundaries) - wanted).max() < count


@pytest.mark.parametrize("seed", range(3))
def test_pooled_memory_gives_the_best_of_all_that_fit(seed: int) -> None:
    # Identical page sizes, links no obstacle, a reserve that does not change: exact.
    rng = np.random.default_rng(seed)
    bound = infeasible = 0
    for _ in range(40):
        slack = random_alike(rng)
        size = [int(x) for x in rng.integers(slack.tokens // 3, slack.tokens + 2, slack.stages)]
        tables = make_tables(
            slack.stages,
            slack.tokens,
            max_chunks=slack.max_chunks,
            exact=slack.exact_chunks,
            linear=int(slack.phi[0, 1]),
            quadratic=int(rng.integers(0, 4)),
            constant=int(slack.length_cost[0, 0, 1]),
            capacity=size,
        )
        there = [p for p in every_partition(tables) if pooled_shortage(tables, p) is None]
        proposal = bottleneck_search(pooled_shortage, greedy)(tables)
        assert (proposal.plan is None) == (not there)
        if proposal.plan is None:
            infeasible += 1
            assert "short in slot" in proposal.reason or "limits on counts" in proposal.reason
            continue
        best = min(contention_free_makespan(tables, p) for p in there)
        assert contention_free_makespan(tables, proposal.plan.grid_indices(tables)) == best
        bound += best > min(contention_free_makespan(tables, p) for p in every_partition(tables))
    assert bound > 3


def test_tight_memory_turns_the_chunks_around() -> None:
    def chunks(capacity: int) -> IntArray:
        tables = make_tables(
            8, 256, max_chunks=16, exact=True, linear=300, quadratic=1, constant=100, capacity=capacity
        )
        plan = bottleneck_search(pooled_shortage, greedy)(tables).plan
        assert plan is not None
        return np.diff(plan.boundaries)

    # Slack: they shrink.  Tight: the first are as short as can be, so that little of each stage's
    # KV is there when stage 0 is full.
    assert np.all(np.diff(chunks(256)[1:]) <= 0)
    tight = chunks(150)
    assert tight[0] == 1
    assert tight[-1] > tight[0]


def test_smaller_chunks_are_tried_where_the_reserve_needs_them() -> None:
    # Depth 1: 2 x longest x 10 bytes.  Least time alone would take chunks of more than 8 tokens.
    def plan_with(working: int) -> tuple[Tables, IntArray]:
        tables = make_tables(
            3, 24, max_chunks=12, linear=10, constant=200, capacity=190, queue_depth=1, working_bytes=working
        )
        plan = bottleneck_search(pooled_shortage, greedy)(tables).plan
        assert plan is not None
        return tables, np.diff(plan.boundaries)

    assert plan_with(0)[1].max() > 8
    assert plan_with(10)[1].max() <= 8


def test_unlike_stages_are_near_the_best_of_all_partitions() -> None:
    rng = np.random.default_rng(14)
    ratios = []
    for _ in range(30):
        stages = int(rng.integers(2, 6))
        linear, quadratic, constant = (rng.integers(1, most, stages).tolist() for most in (40, 4, 60))
        tables = make_tables(
            stages, 11, max_chunks=6, linear=linear, quadratic=quadratic, constant=constant, hop=2
        )
        plan = bottleneck_search(pooled_shortage, greedy)(tables).plan
        assert plan is not None
        best = min(contention_free_makespan(tables, p) for p in every_partition(tables))
        ratios.append(contention_free_makespan(tables, plan.grid_indices(tables)) / best)
    assert min(ratios) >= 1
    assert max(ratios) < 1.1
    assert np.mean(ratios) < 1.05


def test_traffic_lengthens_chunks_by_the_part_that_shows() -> None:
    # Both chunks of stage 0 in memory 1 (1 byte per tick).  Chunk 0 writes 2 bytes: x = 2.  Chunk 1 reads
    # them and writes 2: x = 4.  tau = 2: max(2 + x / 2, x) = 3 and 4.
    tables = make_tables(2, 4, linear=1, port_rate=1, overlap=Fraction(1, 2))
    pages = np.zeros((2, 2, 2), dtype=np.int64)
    pages[0, :, 1] = 2
    assert durations(tables, np.array([0, 2, 4]), pages).tolist() == [[3, 4], [2, 2]]
