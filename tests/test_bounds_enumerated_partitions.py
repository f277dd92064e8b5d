"""Partitions listed by their paths: the least of them is the bound, and homes may meet it."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from oracle import brute_force, chunks_of, least_price, partitions
from random_tables import TINY_PAIR, TINY_TRIPLE, random_tables

import mocap_opt
from mocap_opt.bounds.admission_gate import gated_path
from mocap_opt.bounds.crossing import crossing_pooled_memory
from mocap_opt.bounds.enumerated_partitions import (
    EnumeratedPartitions,
    enumerated_partitions,
    least_partitions,
)
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.schedule.plan import Plan
from mocap_opt.tables.cost_tables import Tables

BENCH = Path(__file__).parent.parent / "instances" / "bench"


@cache
def tiny() -> list[Tables]:
    rng = np.random.default_rng(77)
    return [random_tables(rng, TINY_TRIPLE if n % 2 else TINY_PAIR, f"tiny {n}") for n in range(60)]


def longest_path(tables: Tables, marks: tuple[int, ...]) -> int:
    """Precedence and queues alone, sends as short as any execution can make them."""
    send, indices = Setting(tables).send, Plan(marks).grid_indices(tables).tolist()
    start: dict[tuple[int, int], int] = {}
    free, ready = [0] * tables.stages, 0
    for j, (a, b) in enumerate(pairwise(indices)):
        ready = 0
        for i in range(tables.stages):
            ahead = 0 if tables.queue_depth is None else start.get((i + 1, j - tables.queue_depth), 0)
            start[i, j] = max(free[i], ready, ahead)
            free[i] = start[i, j] + int(tables.tau(i, a, b))
            ready = free[i] + int(send[i, int(b == tables.steps), b - a])
    return free[-1]


def fitting_paths(tables: Tables) -> dict[tuple[int, ...], int]:
    memory = PooledMemory.of(tables)
    found = {}
    for marks in partitions(tables):
        indices = Plan(marks).grid_indices(tables)
        if memory.fits(indices, max(b - a for a, b in chunks_of(marks))):
            path = gated_path(memory, indices, Setting(tables).send)
            assert path >= longest_path(tables, marks)
            found[tuple(indices.tolist())] = path
    return found


def test_the_bound_is_the_least_path_of_all_partitions_that_fit() -> None:
    exact = above = 0
    for tables in tiny():
        found = least_partitions(tables)
        if found is None:
            continue
        paths = fitting_paths(tables)
        below = {marks: ticks for marks, ticks in paths.items() if ticks < found.target}
        assert {tuple(marks.tolist()): ticks for ticks, marks in found.partitions} == below
        assert found.bound().ticks == min([found.target, *paths.values()])
        exact += bool(found.partitions)
        pooled = crossing_pooled_memory(tables)
        above += pooled is not None and found.bound().ticks > pooled.ticks
    assert exact >= 20
    assert above >= 5


def test_no_plan_beats_it_and_two_per_cent_more_would_be_wrong() -> None:
    near = 0
    for tables in tiny():
        bound, best = enumerated_partitions(tables), brute_force(tables, least_price)
        if bound is None or best is None:
            continue
        assert bound.ticks <= best.value, tables.name
        near += best.value >= 50 and bound.ticks * 1.02 > best.value
    assert near >= 5


def test_no_target_above_the_incumbent_is_tried() -> None:
    tables = next(tables for tables in tiny() if (found := least_partitions(tables)) and found.partitions)
    found = least_partitions(tables)
    assert isinstance(found, EnumeratedPartitions)
    aimed = least_partitions(tables, incumbent=found.partitions[0][0])
    assert aimed is None or (aimed.partitions == () and aimed.target <= found.partitions[0][0])


def test_asked_to_stop_it_says_nothing_it_has_not_proved() -> None:
    assert all(least_partitions(tables, lambda: True) is None for tables in tiny()[:5])


@pytest.mark.slow
def test_unlike_stages_are_settled_by_listing() -> None:
    instance = mocap_opt.load_instance(BENCH / "S-unequal.json")
    report = mocap_opt.solve(instance, time_limit_s=20).report
    assert report.bound_name == "enumerated_partitions"
    assert report.gap is not None
    assert report.gap <= 1e-4
