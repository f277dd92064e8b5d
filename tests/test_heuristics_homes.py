"""Home rules: the pairing's peak, greatest thresholds, and greedy homes against the pooled rows."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from builders import make_tables
from oracle import is_feasible
from random_tables import random_tables

from mocap_opt.arrays import IntArray
from mocap_opt.baselines.mbkr import half_apart, mbkr, mirror, mirrored
from mocap_opt.baselines.uniform import equal_chunks, uniform_any_count
from mocap_opt.homes.greedy import FreeMemory, greedy
from mocap_opt.homes.proposal import HomeRule
from mocap_opt.homes.slot_placement import pooled_shortage, produced, room
from mocap_opt.homes.thresholds import greatest_thresholds, local
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import memory_use, violations
from mocap_opt.tables.cost_tables import Tables


def equal_pages(
    stages: int, chunks: int, per_chunk: int, capacity: int | list[int]
) -> tuple[Tables, IntArray]:
    """Chunks of `per_chunk` pages of one byte each."""
    tables = make_tables(stages, chunks * per_chunk, max_chunks=chunks, capacity=capacity)
    return tables, equal_chunks(tables, chunks)


def least_peak(rule: HomeRule, stages: int, chunks: int, per_chunk: int = 4) -> int:
    """Least size of every memory, in pages, with which the rule places equal chunks."""
    for size in range(chunks * per_chunk + 1):
        tables, indices = equal_pages(stages, chunks, per_chunk, size)
        homes = rule(tables, indices)
        if homes.pages is not None:
            assert violations(tables, Plan.from_arrays(tables, indices, homes.pages)) == []
            return size
    raise AssertionError("even the whole request does not fit")


@pytest.mark.parametrize(("stages", "chunks"), [(8, 8), (8, 4), (4, 8), (16, 16), (8, 12)])
def test_pairs_half_the_pipeline_apart_peak_at_m_minus_a_quarter_of_n(stages: int, chunks: int) -> None:
    # Stage i has all M chunks in slot i + M - 1, its partner then has M - N/2; half of what exceeds
    # the partner's goes there.
    assert least_peak(mbkr, stages, chunks) == 4 * chunks - stages


def test_the_mirror_gains_little() -> None:
    # The middle pair is one slot apart: in slot 8 + 15 it holds 16 + 15 chunks, 15.5 each;
    # 16 / 15.5 = 1.03 times the length.
    assert least_peak(mirror, 16, 16) == 62
    # Memory for all chunks but one half; the pairing needs 12 of 16.
    assert least_peak(mbkr, 16, 16) == 48


def test_pooled_memory_gains_most() -> None:
    # N = M = 8: in slot 7 the stages hold 8 + 7 + ... + 1 = 36 chunks, 4.5 per memory; 8 / 4.5 = 1.78.
    assert least_peak(greedy, 8, 8) == 18


def test_local_needs_everything() -> None:
    assert least_peak(local, 4, 6) == 24
    tables, indices = equal_pages(4, 6, 4, 23)
    assert local(tables, indices).why == "memory 0 is 1 B short in slot 5"


def test_partners() -> None:
    assert half_apart(6).tolist() == [3, 4, 5, 0, 1, 2]
    # Odd: pairs 3 apart, and the middle stage, left over, sends to the last.
    assert half_apart(5).tolist() == [3, 4, 4, 0, 1]
    assert half_apart(1).tolist() == [0]
    assert mirrored(5).tolist() == [4, 3, 2, 1, 0]


def test_nothing_moves_while_everything_fits() -> None:
    tables, indices = equal_pages(6, 6, 2, 12)
    for rule in (local, mbkr, mirror, greedy):
        homes = rule(tables, indices)
        assert homes.pages is not None
        assert not homes.pages.any()


def test_a_pair_by_hand() -> None:
    # Two stages, two chunks of 2 pages, 3 pages of memory each.  Slot 1: stage 0 holds 4, stage 1
    # holds 2: a page of the second chunk goes to memory 1.  Slot 2: stage 0 is done, and stage 1
    # holds 4, one of them in memory 0.
    tables, indices = equal_pages(2, 2, 2, 3)
    homes = mbkr(tables, indices)
    assert homes.pages is not None
    assert homes.pages.tolist() == [[[0, 0], [0, 1]], [[0, 0], [1, 0]]]
    assert memory_use(tables, Plan.from_arrays(tables, indices, homes.pages)).tolist() == [
        [2, 3, 1],
        [0, 3, 3],
    ]


def _rows_hold(tables: Tables, indices: IntArray, partner: IntArray, theta: tuple[int, ...]) -> bool:
    own, left = produced(tables, indices), room(tables, indices)
    use = np.zeros_like(left)
    for i, threshold in enumerate(theta):
        kept = own[i] if partner[i] == i else np.minimum(own[i], threshold)
        use[i] += tables.page_bytes[i] * kept
        use[partner[i]] += tables.page_bytes[i] * (own[i] - kept)
    return bool(np.all(use <= left))


@pytest.mark.parametrize("partner", [[1, 0], [1, 2, 1], [2, 2, 0], [2, 1, 0]])
def test_thresholds_are_the_greatest_that_fit(partner: list[int]) -> None:
    rng = np.random.default_rng(sum(partner) + 10 * len(partner))
    stages, fitted = len(partner), 0
    for _ in range(60):
        pages = int(rng.integers(3, 8))
        tables = make_tables(
            stages,
            pages,
            max_chunks=4,
            token_bytes=[int(x) for x in rng.integers(1, 4, stages)],
            capacity=[int(x) for x in rng.integers(pages // 2, 3 * pages, stages)],
            prefix=int(rng.integers(0, 2)),
        )
        indices = equal_chunks(tables, int(rng.integers(1, min(4, pages) + 1)))
        there = [
            theta
            for theta in product(range(pages + 1), repeat=stages)
            if _rows_hold(tables, indices, np.array(partner), theta)
        ]
        theta, shortage = greatest_thresholds(tables, indices, np.array(partner))
        assert (shortage is None) == bool(there)
        if there:
            fitted += 1
            assert theta.tolist() == np.max(there, axis=0).tolist()
    assert 10 < fitted < 60


def test_contradicting_rows_are_seen_at_once() -> None:
    # 10,000 pages a stage: lowering one threshold after the other page by page would take
    # thousands of rounds; the pair's rows say at once that half a page is missing.
    tables = make_tables(2, 10_000, max_chunks=10, token_bytes=10, capacity=95_005)
    indices = equal_chunks(tables, 10)
    theta, shortage = greatest_thresholds(tables, indices, np.array([1, 0]))
    assert shortage is None
    # One byte less than whole pages: 9,499 each, but slot 9 needs 10,000 + 9,000 = 19,000 in all.
    tight = replace(tables, capacity=np.array([94_999, 94_999]))
    theta, shortage = greatest_thresholds(tight, indices, np.array([1, 0]))
    assert shortage is not None
    assert shortage.slot == 9
    # Two rounds of about 500 pages, not thousands of one.
    assert theta.min() > 8_900


def test_unlike_memories_and_page_sizes_are_placed() -> None:
    tables = make_tables(5, 20, max_chunks=5, token_bytes=[3, 1, 2, 1, 3], capacity=[50, 26, 32, 34, 64])
    indices = equal_chunks(tables, 5)
    assert local(tables, indices).pages is None
    homes = mbkr(tables, indices)
    assert homes.pages is not None
    assert violations(tables, Plan.from_arrays(tables, indices, homes.pages)) == []


def test_greedy_goes_to_the_nearest_room() -> None:
    # Four stages, two chunks of two pages.  Memory 1 has no room at all, memory 2 for one chunk.
    # Slot 1: memory 0 is full and memory 2 will be, so chunk 0 of stage 1 goes to memory 3.
    # Slot 2: stage 0 is done, so chunk 1 of stage 1 goes next door, to memory 0.
    # Slot 3: memory 2 is full; of its neighbours only memory 3 has room.
    tables = make_tables(4, 4, max_chunks=2, capacity=[4, 0, 2, 9], link_rate=1, hop=1)
    homes = greedy(tables, equal_chunks(tables, 2))
    assert homes.pages is not None
    assert np.argwhere(homes.pages).tolist() == [[1, 0, 3], [1, 1, 0], [2, 1, 3]]
    assert homes.pages.sum() == 6


def test_greedy_fails_only_if_the_pool_is_too_small() -> None:
    # Section "memory tight" of the problem: homes in whole pages always exist for equal page sizes.
    rng = np.random.default_rng(3)
    placed = failed = 0
    for _ in range(150):
        tables = random_tables(rng)
        if np.unique(tables.page_bytes).size > 1:
            continue
        for indices in uniform_any_count(tables)[::3]:
            homes = greedy(tables, indices)
            assert (homes.pages is None) == (pooled_shortage(tables, indices) is not None)
            if homes.pages is None:
                failed += 1
            else:
                placed += bool(homes.pages.any())
                assert is_feasible(tables, Plan.from_arrays(tables, indices, homes.pages))
    assert placed > 20
    assert failed > 20


@pytest.mark.parametrize("rule", [local, mbkr, mirror, greedy])
def test_homes_obey_every_row(rule: HomeRule) -> None:
    rng = np.random.default_rng(5)
    placed = 0
    for _ in range(60):
        tables = random_tables(rng)
        for indices in uniform_any_count(tables)[-2:]:
            homes = rule(tables, indices)
            if homes.pages is None:
                assert homes.shortage is not None
                assert homes.shortage.bytes_short > 0
            else:
                placed += 1
                assert is_feasible(tables, Plan.from_arrays(tables, indices, homes.pages))
    assert placed > 5


def test_a_request_alone_in_a_stream_gets_the_greedy_homes() -> None:
    rng = np.random.default_rng(12)
    placed = 0
    for _ in range(30):
        tables = random_tables(rng)
        for indices in uniform_any_count(tables):
            reserve = tables.reserve(int(np.diff(tables.grid[indices]).max()))
            memory = FreeMemory(tables.capacity - tables.static - reserve)
            alone, found = greedy(tables, indices).pages, memory.place(tables, indices, 0)
            assert (alone is None) == (found is None)
            if alone is not None and found is not None:
                assert np.array_equal(alone, found)
                placed += bool(alone.any())
    assert placed > 20
