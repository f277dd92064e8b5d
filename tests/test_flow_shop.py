"""The flow-shop package against plain readings: cells, enumeration, numpy's own grouping."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from cell_recursion import starts_from
from random_tables import TINY_PAIR, random_tables

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_lengths import LengthLimits, within_limits
from mocap_opt.flow_shop.chunk_times import class_members, stage_classes
from mocap_opt.flow_shop.partitions import NEVER, cheapest_boundaries, least_by_any_count, least_by_count
from mocap_opt.flow_shop.recursion import (
    earliest_starts,
    flow_shop_makespan,
    latest_ends,
    latest_starts,
    machine_ends,
    unqueued_ends,
)


def times(rng: np.random.Generator, stages: int, chunks: int) -> tuple[IntArray, IntArray]:
    send = rng.integers(0, 6, (stages, chunks))
    send[-1] = 0  # nothing is sent on from the last stage
    return rng.integers(0, 20, (stages, chunks)), send


def test_one_machine_ends_by_hand() -> None:
    # Arrivals 3, 0, 20 and works 2, 5, 1: 3+2, 5+5, 20+1.
    assert machine_ends(np.array([3, 0, 20]), np.array([2, 5, 1])).tolist() == [5, 10, 21]


@pytest.mark.parametrize("depth", [None, 1, 2, 3])
def test_starts_makespan_and_rows_agree_with_the_cells(depth: int | None) -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        work, send = times(rng, int(rng.integers(1, 6)), int(rng.integers(1, 8)))
        cells = starts_from(np.zeros_like(work), work, send, depth)
        assert np.array_equal(earliest_starts(work, send, depth), cells)
        assert flow_shop_makespan(work, send, depth) == cells[-1, -1] + work[-1, -1]
        if depth is None:
            rows = np.array(list(unqueued_ends(zip(work, send, strict=True))))
            assert np.array_equal(rows - work, cells)


def test_without_queues_latest_starts_are_earliest_ones_of_the_mirrored_shop() -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        work, send = times(rng, 4, 6)
        back = np.concatenate([send[-2::-1, ::-1], send[-1:, ::-1]])
        mirrored = earliest_starts(work[::-1, ::-1], back, None)[::-1, ::-1]
        assert np.array_equal(latest_starts(work, send, None, 500), 500 - mirrored - work)


@pytest.mark.parametrize("depth", [1, 2, None])
def test_a_chunk_may_last_until_its_latest_end_and_no_longer(depth: int | None) -> None:
    rng = np.random.default_rng(10)
    for _ in range(20):
        work, send = times(rng, int(rng.integers(1, 5)), int(rng.integers(1, 6)))
        latency = flow_shop_makespan(work, send, depth) + int(rng.integers(0, 20))
        start = earliest_starts(work, send, depth)
        ends = latest_ends(latest_starts(work, send, depth, latency), send, latency)
        for cell in np.ndindex(work.shape):
            longer = work.copy()
            longer[cell] = ends[cell] - start[cell]
            assert flow_shop_makespan(longer, send, depth) == latency
            longer[cell] += 1
            assert flow_shop_makespan(longer, send, depth) > latency


def test_classes_of_stages_are_those_of_equal_rows_in_order() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        rows = rng.integers(-3, 3, (7, 2))
        expected = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
        found = stage_classes(rows[:, :1], rows[:, 1:])
        assert found.tolist() == expected.tolist()
        assert class_members(found).tolist() == [found.tolist().index(c) for c in range(found.max() + 1)]


def test_windows_are_what_enumeration_finds() -> None:
    rng = np.random.default_rng(6)
    for _ in range(60):
        tables = random_tables(rng, TINY_PAIR)
        steps, limits = tables.steps, LengthLimits.of(tables)
        for count in range(1, min(steps, 5) + 1):
            cuts = [np.array([0, *inner, steps]) for inner in combinations(range(1, steps), count - 1)]
            kept = [cut for cut in cuts if within_limits(tables, cut)]
            windows = limits.windows(count)
            assert (windows is not None) == limits.possible(count) == bool(kept)
            if windows is not None:
                assert windows[0].tolist() == np.min(kept, axis=0).tolist()
                assert windows[1].tolist() == np.max(kept, axis=0).tolist()


def test_boundaries_that_fall_or_leave_the_grid_keep_to_no_limits() -> None:
    tables = random_tables(np.random.default_rng(0))
    rising = np.array([0, tables.steps])
    falling = np.array([0, 3, 2, tables.steps])
    outside = np.array([0, tables.steps + 1, tables.steps])
    assert [bool(within_limits(tables, cut)) for cut in (falling, outside)] == [False, False]
    assert within_limits(tables, np.stack([rising, rising])).shape == (2,)


def test_cheapest_partitions_are_those_of_enumeration() -> None:
    rng = np.random.default_rng(8)
    steps, longest = 7, 4
    for _ in range(20):
        cost = np.where(
            rng.random((steps + 1, longest)) < 0.2, NEVER, rng.integers(0, 9, (steps + 1, longest))
        )
        lengths = np.arange(1, longest + 1)
        cost[lengths[None, :] > np.arange(steps + 1)[:, None]] = NEVER
        layers: list[IntArray] = []
        for count, layer in zip(range(1, 6), least_by_count(cost), strict=False):
            layers.append(layer)
            sums = {
                (0, *inner, steps): sum(
                    int(cost[b, b - a - 1]) if b - a <= longest else NEVER
                    for a, b in pairwise((0, *inner, steps))
                )
                for inner in combinations(range(1, steps), count - 1)
            }
            assert layer[-1] == min(min(sums.values()), NEVER)
            if layer[-1] < NEVER:
                assert sums[tuple(cheapest_boundaries(layers, cost).tolist())] == layer[-1]


def test_any_number_of_chunks_costs_the_least_of_all_counts() -> None:
    rng = np.random.default_rng(17)
    for _ in range(30):
        points = int(rng.integers(2, 9))
        by_length = np.where(
            rng.random((points, points - 1)) < 0.3, NEVER, rng.integers(0, 20, (points, points - 1))
        )
        between = np.full((points, points), NEVER, dtype=np.int64)
        for end in range(1, points):
            for steps in range(1, end + 1):
                between[end, end - steps] = by_length[end, steps - 1]
        layers = [layer for layer, _ in zip(least_by_count(by_length), range(points), strict=False)]
        expected = np.min(layers, axis=0)[1:]
        assert np.array_equal(least_by_any_count(between)[1:], expected)
        as_floats = np.where(between == NEVER, np.inf, between.astype(float))[..., None]
        found = least_by_any_count(as_floats)[1:, 0]
        assert np.array_equal(np.where(np.isinf(found), NEVER, found), expected)
