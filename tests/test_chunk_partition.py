"""Boundaries alone: the pooled relaxation and the local restriction against brute force."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from builders import make_tables
from oracle import brute_force, local_optimum, lockstep_price, partitions
from random_tables import random_instances

from mocap_opt.formulations.chunk_partition import Memory, solve_chunk_partition
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers.outcome import Status
from mocap_opt.tables.cost_tables import Tables


def pooled_optimum(tables: Tables) -> int | None:
    """Least latency without KV traffic over all cuts whose KV fits in all memories together."""
    return min(
        (lockstep_price(tables, m)({}) for m in partitions(tables) if fits_pool(tables, m)), default=None
    )


def fits_pool(tables: Tables, marks: tuple[int, ...]) -> bool:
    chunks, unit = len(marks) - 1, int(np.gcd.reduce(tables.page_bytes))
    longest = max(b - a for a, b in pairwise(marks))
    room = tables.capacity - tables.static - tables.reserve(longest)
    for t in range(chunks + tables.stages - 1):
        alive = [i for i in range(tables.stages) if 0 <= t - i < chunks]
        need = sum(int(tables.page_bytes[i]) * -(-marks[t - i + 1] // tables.page) for i in alive)
        prefix = sum(-(-int(tables.prefix_bytes[i]) // unit) for i in alive)
        if any(room[i] < tables.prefix_bytes[i] for i in alive):
            return False
        if need // unit + prefix > sum(int(free) // unit for free in room):
            return False
    return True


@pytest.mark.parametrize("seed", [51, pytest.param(52, marks=pytest.mark.slow)])
def test_agrees_with_brute_force(seed: int) -> None:
    binding = 0
    for tables in random_instances(seed, count=30):
        for memory, best in (
            (Memory.POOLED, pooled_optimum(tables)),
            (Memory.LOCAL, getattr(local_optimum(tables), "value", None)),
        ):
            result = solve_chunk_partition(tables, memory)
            assert result.outcome.objective == best, (tables.name, memory)
            wanted = Status.INFEASIBLE if best is None else Status.OPTIMAL
            assert result.outcome.status is wanted, (tables.name, memory)
        anywhere = min((lockstep_price(tables, m)({}) for m in partitions(tables)), default=None)
        binding += pooled_optimum(tables) != anywhere
    assert binding > 5


def test_joint_optimum_lies_between_the_two() -> None:
    strictly = 0
    for tables in random_instances(53, count=25):
        best = brute_force(tables)
        pooled = solve_chunk_partition(tables, Memory.POOLED).outcome
        local = solve_chunk_partition(tables, Memory.LOCAL)
        if pooled.status is Status.INFEASIBLE:
            assert best is None
        if best is not None:
            assert pooled.bound is not None
            assert pooled.bound <= best.value
            if local.indices is not None:
                assert local.outcome.objective is not None
                assert best.value <= local.outcome.objective
            strictly += pooled.bound < best.value
    assert strictly > 3


def test_local_partition_is_a_feasible_plan() -> None:
    for tables in random_instances(54, count=40):
        result = solve_chunk_partition(tables, Memory.LOCAL)
        if result.indices is not None:
            assert violations(tables, Plan.from_arrays(tables, result.indices)) == []


def test_start_is_kept_when_there_is_no_time() -> None:
    tables = make_tables(3, 12, max_chunks=6, constant=5, quadratic=1, linear=100_000)
    start = (0, 6, 12)
    result = solve_chunk_partition(tables, start=start, time_limit_s=0.0)
    assert result.indices == start
    assert result.outcome.status is Status.FEASIBLE
    better = solve_chunk_partition(tables, start=start, time_limit_s=20)
    assert better.outcome.objective is not None
    assert better.outcome.objective < result.outcome.objective


def test_starts_are_judged_by_the_memory_rule_in_force() -> None:
    # Stage 0 produces three pages and holds two; together the memories hold four.
    tables = make_tables(2, 3, max_chunks=3, constant=4, token_bytes=26, capacity=[52, 52], link_rate=1)
    assert solve_chunk_partition(tables, Memory.POOLED, start=(0, 1, 3)).indices == (0, 1, 3)
    with pytest.raises(ValueError, match="the start is not feasible: memory 0"):
        solve_chunk_partition(tables, Memory.LOCAL, start=(0, 1, 3))
    with pytest.raises(ValueError, match="slot 2: 26 B short in all memories together"):
        solve_chunk_partition(tables, Memory.POOLED, start=(0, 1, 2, 3))
    with pytest.raises(ValueError, match="the start is not feasible: chunk 1 runs from 6 to 6"):
        solve_chunk_partition(make_tables(2, 6, quantum=2, max_chunks=3), Memory.POOLED, start=(0, 3, 3))


def test_slack_memory_shrinks_the_chunks() -> None:
    # Attention grows with the prefix, so equal times need shrinking chunks.
    tables = make_tables(4, 24, max_chunks=6, exact=True, linear=20, quadratic=2)
    result = solve_chunk_partition(tables)
    assert result.outcome.status is Status.OPTIMAL
    assert result.indices is not None
    lengths = np.diff(result.indices)
    assert lengths[0] == lengths.max()
    assert lengths[-1] == lengths.min()
    assert lengths[0] > lengths[-1]
