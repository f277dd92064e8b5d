"""The gate of admission: by hand, and against every choice of homes."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from builders import make_tables
from oracle import Homes, Marks, feasible_homes, pages_of, partitions

from mocap_opt.bounds.admission_gate import gated_path
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.flow_shop.chunk_times import chunk_times, least_sends
from mocap_opt.flow_shop.recursion import flow_shop_makespan
from mocap_opt.replay.event import replay_event
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.tables.cost_tables import Tables


def path_of(tables: Tables, marks: Marks) -> int:
    return gated_path(PooledMemory.of(tables), Plan(marks).grid_indices(tables), least_sends(tables))


def ungated(tables: Tables, marks: Marks) -> int:
    work, send = chunk_times(tables, Plan(marks).grid_indices(tables), least_sends(tables))
    return flow_shop_makespan(work, send, tables.queue_depth)


def admitted(tables: Tables, marks: Marks, homes: Homes) -> int:
    """The recursion with queues and admission, KV moving in no time: raised cell by cell."""
    stages, chunks = tables.stages, len(marks) - 1
    work, send = chunk_times(tables, Plan(marks).grid_indices(tables), least_sends(tables))
    brings = [[set[int]() for _ in range(chunks)] for _ in range(stages)]
    for i in range(stages):
        for j, pages in enumerate(pages_of(tables, marks)):
            away = {k: homes.get((i, j, k), 0) for k in range(stages)}
            brings[i][j] = {k for k in away if away[k]} | ({i} if pages > sum(away.values()) else set())
    holds = [set().union(*row) | ({i} if tables.prefix_bytes[i] else set()) for i, row in enumerate(brings)]
    start = np.zeros((stages, chunks), dtype=np.int64)
    while True:
        before = start.copy()
        for i in range(stages):
            for j in range(chunks):
                bars = [0]
                if i:
                    bars.append(start[i - 1, j] + work[i - 1, j] + send[i - 1, j])
                if j:
                    bars.append(start[i, j - 1] + work[i, j - 1])
                if tables.queue_depth is not None and i + 1 < stages and j >= tables.queue_depth:
                    bars.append(start[i + 1, j - tables.queue_depth])
                waits = (s for s in range(stages) if s + chunks - 1 < i + j and holds[s] & brings[i][j])
                bars += [start[s, -1] + work[s, -1] for s in waits]
                start[i, j] = max(bars)
        if np.array_equal(before, start):
            return int(start[-1, -1] + work[-1, -1])


def page_tables(capacity: list[int]) -> Tables:
    return make_tables(3, 3, max_chunks=3, exact=True, linear=[10, 1, 10], capacity=capacity)


def test_the_worked_example_of_the_page() -> None:
    marks = (0, 1, 2, 3)
    for capacity, ticks in (([3, 2, 1], 50), ([2, 2, 2], 50), ([3, 2, 2], 41), ([9, 9, 9], 41)):
        tables = page_tables(capacity)
        assert path_of(tables, marks) == ticks
        assert ungated(tables, marks) == 41
        assert min(admitted(tables, marks, homes) for homes in feasible_homes(tables, marks)) >= ticks
    full = page_tables([3, 2, 1])
    assert min(admitted(full, marks, homes) for homes in feasible_homes(full, marks)) == 50
    # The event engine keeps to the same rule.
    plan = Plan(marks, (Home(1, 2, 0, 1), Home(2, 1, 0, 1), Home(2, 2, 0, 1)))
    assert replay_event(full, plan).latency == 50


def short_of_memory(seed: int, number: int) -> list[Tables]:
    """Three stages, the middle one fast; memories hold little more than the slot before the gate needs."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(number):
        tokens = int(rng.integers(3, 5))
        tables = make_tables(
            3,
            tokens,
            max_chunks=3,
            exact=n % 5 > 0,
            linear=rng.integers((8, 1, 8), (20, 9, 20)).tolist(),
            constant=rng.integers(0, 6, 3).tolist(),
            activation_bytes=int(rng.integers(0, 5)),
            link_rate=1,
            token_bytes=rng.integers(1, 3, 3).tolist(),
            queue_depth=(1, 2, None)[n % 3],
        )
        if n % 4 == 0:
            tables = replace(tables, prefix_bytes=rng.integers(0, 2, 3))
        marks = list(partitions(tables))[int(rng.integers(len(list(partitions(tables)))))]
        need = int(PooledMemory.of(tables).need(Plan(marks).grid_indices(tables)).max())
        cuts = np.sort(rng.integers(0, need + 1, 2))
        extra = rng.integers(0, 2, 3) + tables.prefix_bytes
        found.append(replace(tables, capacity=np.diff([0, *cuts, need]) + extra))
    return found


@pytest.mark.parametrize(("seed", "number"), [(5, 60), pytest.param(6, 1000, marks=pytest.mark.slow)])
def test_no_homes_beat_the_gate(seed: int, number: int) -> None:
    gated = reached = 0
    for tables in short_of_memory(seed, number):
        for marks in list(partitions(tables))[-3:]:
            indices = Plan(marks).grid_indices(tables)
            if not PooledMemory.of(tables).fits(indices, int(np.diff(tables.grid[indices]).max())):
                continue
            path, without = path_of(tables, marks), ungated(tables, marks)
            assert path >= without
            least: int | None = None
            for turn, homes in enumerate(feasible_homes(tables, marks)):
                latency = admitted(tables, marks, homes)
                assert path <= latency, (tables.name, marks)
                least = latency if least is None else min(least, latency)
                if turn > 60:
                    break
            if path > without and least is not None:
                gated += 1
                reached += path == least  # a tick more would be wrong
    assert gated >= number / 10
    assert reached >= gated / 4


def test_no_replay_beats_the_gate() -> None:
    checked = 0
    for tables in short_of_memory(7, 60):
        for marks in list(partitions(tables))[-3:]:
            path, without = path_of(tables, marks), ungated(tables, marks)
            for turn, homes in enumerate(feasible_homes(tables, marks)):
                plan = Plan(marks, tuple(Home(i, j, k, pages) for (i, j, k), pages in sorted(homes.items())))
                latency: Fraction | int = replay_event(tables, plan).latency
                assert path <= latency
                checked += path > without
                if turn > 5:
                    break
    assert checked > 10
