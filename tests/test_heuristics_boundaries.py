"""Boundary rules on cases worked out by hand, and limits against enumeration."""

from __future__ import annotations

from functools import partial
from itertools import combinations, pairwise

import numpy as np
import pytest
from builders import make_tables

from mocap_opt.baselines import BOUNDARY_RULES
from mocap_opt.baselines.engine_chunks import Setting, successive_chunks
from mocap_opt.baselines.gpipe import gpipe
from mocap_opt.baselines.seq1f1b import equal_compute, flops_balanced
from mocap_opt.baselines.sglang import fit_quadratic, next_chunk, sglang_dynamic
from mocap_opt.baselines.uniform import equal_chunks, uniform, uniform_any_count
from mocap_opt.flow_shop.chunk_lengths import LengthLimits, snap
from mocap_opt.tables.cost_tables import Tables


def partitions(tables: Tables, count: int) -> list[tuple[int, ...]]:
    """Grid indices of every partition of `count` chunks within the length limits."""
    found = []
    for cuts in combinations(range(1, tables.steps), count - 1):
        marks = (0, *cuts, tables.steps)
        lengths = [int(tables.grid[b] - tables.grid[a]) for a, b in pairwise(marks)]
        if all(tables.min_length <= length <= tables.max_length for length in lengths):
            found.append(marks)
    return found


LIMITED = [
    make_tables(tokens=12, min_length=2, max_length=4),
    make_tables(tokens=13, quantum=2, min_length=3, max_length=6),
    make_tables(tokens=23, quantum=4, min_length=4, max_length=8),
    make_tables(tokens=23, quantum=4, min_length=1, max_length=3),
    make_tables(tokens=10, quantum=4, min_length=10),
]


@pytest.mark.parametrize("tables", LIMITED)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_windows_are_what_enumeration_finds(tables: Tables, count: int) -> None:
    windows = LengthLimits.of(tables).windows(count)
    there = partitions(tables, count)
    if not there:
        assert windows is None
    else:
        assert windows is not None
        assert np.array_equal(windows[0], np.min(there, axis=0))
        assert np.array_equal(windows[1], np.max(there, axis=0))


@pytest.mark.parametrize("tables", LIMITED)
def test_snapping_keeps_to_the_limits(tables: Tables) -> None:
    rng = np.random.default_rng(1)
    for count in range(1, 6):
        there = partitions(tables, count)
        for _ in range(20):
            targets = [0, *sorted(rng.uniform(0, tables.tokens, count - 1)), tables.tokens]
            indices = snap(tables, LengthLimits.of(tables), targets)
            assert (indices is None) == (not there)
            assert indices is None or tuple(indices.tolist()) in there


def test_gpipe_is_one_chunk_where_that_is_allowed() -> None:
    assert [p.tolist() for p in gpipe(make_tables(tokens=6))] == [[0, 6]]
    assert gpipe(make_tables(tokens=6, max_length=5)) == []
    assert gpipe(make_tables(tokens=6, exact=True, max_chunks=2)) == []


def test_uniform_has_equal_chunks_on_the_grid() -> None:
    # 4 chunks of 2.5 steps: 2.5 and 7.5 lie between grid points, and the lower one is taken.
    assert equal_chunks(make_tables(tokens=10), 4).tolist() == [0, 2, 5, 7, 10]
    # S = 10 on a grid of 4: the points are 0, 4, 8, 10, and 5 is nearest to 4.
    assert equal_chunks(make_tables(tokens=10, quantum=4), 2).tolist() == [0, 1, 3]


def test_uniform_uses_all_chunks_allowed_and_the_other_rule_any_count() -> None:
    tables = make_tables(tokens=12, max_chunks=4, max_length=5)
    assert [p.tolist() for p in uniform(tables)] == [[0, 3, 6, 9, 12]]
    assert [p.size - 1 for p in uniform_any_count(tables)] == [3, 4]


def test_equal_compute_is_solved_backwards_and_leaves_the_rest_to_the_first_chunk() -> None:
    # Phi = x^2, Phi(12) = 144, three chunks of 48.  Backwards: Phi(a) >= 96 at a = 10 (100), then
    # >= 52 at a = 8 (64); the first chunk is [0, 8) with 64.
    tables = make_tables(tokens=12, linear=0, quadratic=1)
    assert equal_compute(tables, 3).tolist() == [0, 8, 10, 12]
    # Two stages that differ count together: 12 x and 2 x^2 sum to 12 x + 2 x^2 = 432, 144 each.
    unlike = make_tables(tokens=12, linear=[12, 0], quadratic=[0, 2])
    # 288 <= Phi(a): Phi(10) = 320, Phi(9) = 270; then Phi(a) >= 176: Phi(7) = 182.
    assert equal_compute(unlike, 3).tolist() == [0, 7, 10, 12]


def test_equal_compute_gives_every_count_that_the_limits_allow() -> None:
    tables = make_tables(tokens=12, max_chunks=4, min_length=2, max_length=5, quadratic=3)
    found = flops_balanced(tables)
    assert [p.size - 1 for p in found] == [3, 4]
    assert all(tuple(p.tolist()) in partitions(tables, p.size - 1) for p in found)


def test_the_fit_recovers_the_coefficients_of_the_tables() -> None:
    tables = make_tables(tokens=4096, quantum=64, linear=500, quadratic=3, constant=70_000)
    # Prefix-free time of l tokens: 3 l^2 + 500 l + 70,000.
    assert fit_quadratic(tables, 2048) == pytest.approx((3, 500, 70_000), rel=1e-6)
    # A cached prefix of 100 tokens, Phi = 3 (x^2 + 2 * 100 x) + 500 x, is taken out again.
    cached = make_tables(tokens=4096, quantum=64, linear=500, quadratic=3, prefix=100)
    assert fit_quadratic(cached, 2048)[:2] == pytest.approx((3, 500), rel=1e-6)


def test_next_chunk_solves_smooths_and_stops_at_a_quarter() -> None:
    # a = 1, b = 10, base 100: T = 100^2 + 10 * 100 = 11,000.  After L = 500: x^2 + 1010 x = 11,000,
    # so x = 10.777...; 100 + 0.75 (x - 100) = 33.08...
    root = (-1010 + (1010**2 + 44_000) ** 0.5) / 2
    assert next_chunk((1, 10, 0), 500, 100) == pytest.approx(100 + 0.75 * (root - 100))
    # 0.75 of the way towards 0 would be the floor itself; b = 0 and long histories come close.
    assert next_chunk((1, 0, 0), 10**9, 100) == pytest.approx(25, rel=1e-3)
    # Without growth every chunk is like the first.
    assert next_chunk((0, 10, 5), 1000, 256) == 256


def test_dynamic_chunks_are_aligned_and_shrink() -> None:
    tables = make_tables(tokens=4096, quantum=64, max_chunks=40, linear=500, quadratic=3)
    indices = sglang_dynamic(tables, Setting(1024))
    lengths = np.diff(tables.grid[indices])
    # L = 0: x = 1024.  L = 1024: T = 3 * 1024^2 + 500 * 1024 = 3,657,728 = 3 x^2 + 6644 x gives
    # x = 458.6 by the formula, 599.9 smoothed, 576 aligned to 64.
    assert lengths[:2].tolist() == [1024, 576]
    assert np.all(lengths % 64 == 0)
    assert np.all(np.diff(lengths[:-1]) <= 0)
    assert lengths.sum() == 4096


def test_dynamic_chunks_align_to_64_tokens_even_on_finer_grids() -> None:
    tables = make_tables(tokens=200, quantum=1, max_chunks=8, linear=5)
    assert successive_chunks(tables, 100, partial(next_chunk, (1e-9, 5.0, 0.0))).tolist() == [
        0,
        64,
        128,
        192,
        200,
    ]


def test_dynamic_chunks_count_follows_and_is_limited() -> None:
    tables = make_tables(tokens=4096, quantum=64, max_chunks=8, linear=500, quadratic=3)
    assert sglang_dynamic(tables, Setting(2048)).size - 1 <= 8
    # Aiming at 8 equal chunks already gives more than 8.
    assert sglang_dynamic(tables, Setting(512)) is None


@pytest.mark.parametrize("name", BOUNDARY_RULES)
def test_every_rule_keeps_to_grid_count_and_lengths(name: str) -> None:
    rng = np.random.default_rng(7)
    for _ in range(25):
        quantum = int(rng.choice([1, 4, 64]))
        tokens = int(rng.integers(3, 40)) * quantum - int(rng.integers(0, quantum))
        tables = make_tables(
            int(rng.integers(1, 5)),
            tokens,
            quantum=quantum,
            max_chunks=int(rng.integers(1, 9)),
            exact=bool(rng.random() < 0.3),
            min_length=int(rng.integers(1, 2 * quantum + 1)),
            max_length=int(rng.integers(tokens // 3 + 1, tokens + 1)),
            linear=int(rng.integers(1, 30)),
            quadratic=int(rng.integers(0, 3)),
            constant=int(rng.integers(0, 300)),
        )
        for indices in BOUNDARY_RULES[name](tables):
            assert indices.size - 1 in tables.counts
            assert indices[0] == 0
            assert indices[-1] == tables.steps
            lengths = np.diff(tables.grid[indices])
            assert lengths.min() >= tables.min_length
            assert lengths.max() <= tables.max_length
