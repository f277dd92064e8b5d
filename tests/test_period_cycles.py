"""Cycles of queues: each is one, and their mixtures bound every partition and every plan."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from builders import make_tables
from period_cases import instances, least, optima

from mocap_opt.bounds import period_cycles
from mocap_opt.bounds.period import PartitionBound
from mocap_opt.bounds.period_cycles import CycleBound, longest_cycle, queue_starts
from mocap_opt.bounds.period_partitions import cycle_time
from mocap_opt.flow_shop.chunk_times import least_sends
from mocap_opt.flow_shop.partitions import divisions
from mocap_opt.lower_bound import Scope
from mocap_opt.replay.evaluation import assess_schedule
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.stopping import Deadline
from mocap_opt.tables.cost_tables import Tables

SIZES = pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.slow)])


def mixed(tables: Tables) -> int:
    """What mixtures of cycles and sums prove."""
    partition = PartitionBound(tables, Scope.ANY_EXECUTION)
    partition.sharpen(Deadline(), rounds=5)
    cycles = CycleBound(tables, partition.classes, partition.counts)
    cycles.sharpen(rounds=200)
    found = cycles.bound()
    return found.ticks if found is not None else 0


def random_times(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    stages, chunks = int(rng.integers(1, 5)), int(rng.integers(1, 6))
    taken, send = rng.integers(1, 40, (stages, chunks)), rng.integers(0, 9, (stages, chunks))
    send[-1] = 0
    return taken, send, int(rng.integers(1, 4))


def test_cycles_are_closed_and_no_longer_than_starts_grow() -> None:
    rng = np.random.default_rng(2)
    longest = 0
    for _ in range(150):
        taken, send, depth = random_times(rng)
        stages, chunks = taken.shape
        cycle = longest_cycle(taken, send, depth)
        starts = np.array(queue_starts(taken, send, depth, 40 + 12 * stages))
        # Starts differ by a constant from a growth of so much for each request: the mean of many is near.
        growth = (starts[-1] - starts[-1 - 24 * chunks]).max() / 24
        assert cycle.length(taken, send) <= growth + 1e-9
        longest += cycle.length(taken, send) >= cycle_time(taken, send, depth)
        # Other times are bounded by the same cycle as well.
        taken, send = rng.integers(1, 40, taken.shape), rng.integers(0, 9, send.shape)
        starts = np.array(queue_starts(taken, send, depth, 40 + 12 * stages))
        assert cycle.length(taken, send) <= (starts[-1] - starts[-1 - 24 * chunks]).max() / 24 + 1e-9
    assert longest >= 140


def test_a_long_chunk_goes_down_the_pipeline_while_queues_skip_short_ones() -> None:
    # Down with 20 and back over two skipped chunks, then one more request's chunks on the first stage.
    taken, send = np.array([[1, 1, 20], [1, 1, 20]]), np.zeros((2, 3), dtype=np.int64)
    assert longest_cycle(taken, send, 2).length(taken, send) == 40
    taken = np.array([[10, 14], [10, 14]])
    assert longest_cycle(taken, send[:, :2], 1).length(taken, send[:, :2]) == 28


@SIZES
def test_mixtures_stay_below_every_optimum_and_two_per_cent_more_would_not(count: int) -> None:
    near = compared = 0
    for number in range(count):
        best = least(optima(number))
        if best is None:
            continue
        tables = instances()[number]
        plans = [Schedule.of(tables, b.plan, b.slots) for b in optima(number).values() if b is not None]
        reported = min(assess_schedule(plan).period for plan in plans)
        bound = mixed(tables)
        assert bound <= reported, tables.name
        compared += 1
        near += reported >= 50 and bound * Fraction(102, 100) > reported
    assert compared >= count // 2
    assert near >= compared // 10


def test_mixtures_are_what_the_worst_cycle_of_the_best_partition_says_where_one_is_best() -> None:
    rng = np.random.default_rng(6)
    reached = 0
    for _ in range(12):
        tables = make_tables(
            stages=int(rng.integers(2, 5)),
            tokens=8,
            linear=int(rng.integers(1, 9)),
            quadratic=int(rng.integers(0, 9)),
            constant=int(rng.integers(0, 30)),
            activation_bytes=int(rng.integers(0, 4)),
            link_rate=1,
            queue_depth=int(rng.integers(1, 3)),
            max_chunks=int(rng.integers(2, 6)),
        )
        stage = np.arange(tables.stages)[:, None]
        sends = least_sends(tables)
        values = []
        for indices in divisions(tables):
            start, end = indices[:-1], indices[1:]
            send = sends[:, (end == tables.steps).astype(np.int64), end - start]
            assert tables.queue_depth is not None
            values.append(cycle_time(tables.tau(stage, start, end), send, tables.queue_depth))
        bound = mixed(tables)
        # Rounded down both, and of a cycle of several requests the starts may be a little behind.
        assert bound <= min(values) + 1
        reached += bound * 1.02 > min(values)
    assert reached >= 9


def test_memory_in_the_slot_of_the_last_chunk_counts_in_mixtures(monkeypatch: pytest.MonkeyPatch) -> None:
    # Three stages hold all 12 tokens, all but the last chunk's and all but the last two's, of 27 bytes.
    tables = make_tables(
        stages=3,
        tokens=12,
        quadratic=1,
        constant=3,
        token_bytes=1,
        capacity=[9, 9, 9],
        queue_depth=1,
        max_chunks=4,
        exact=True,
    )
    with_row = mixed(tables)
    best = None
    for indices in divisions(tables):
        start, end = indices[:-1], indices[1:]
        if int(tables.pages[indices[-3:]].sum()) <= 27:
            taken = tables.tau(np.arange(3)[:, None], start, end)
            value = cycle_time(taken, np.zeros_like(taken), 1)
            best = value if best is None else min(best, value)
    assert best is not None
    assert with_row <= best
    monkeypatch.setattr(
        period_cycles, "_memory", lambda tables, end, count, room: np.zeros((count, end.size))
    )
    assert mixed(tables) < with_row
