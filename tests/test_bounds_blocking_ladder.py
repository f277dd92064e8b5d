"""The ladder on any execution at queue depth 1: by hand, against brute force, on shipped instances."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_tables
from oracle import brute_force, least_price, price_plan
from random_tables import TINY_PAIR, TINY_TRIPLE, random_tables
from step_searches import search_of, step_named

from mocap_opt import build_tables, load_instance
from mocap_opt.bounds.blocking_ladder import (
    KINDS,
    BlockingCosts,
    SendingCosts,
    blocking_climb,
    blocking_ladder,
)
from mocap_opt.bounds.ladder import climb, ladder
from mocap_opt.flow_shop.chunk_times import alike
from mocap_opt.flow_shop.recursion import flow_shop_makespan
from mocap_opt.lower_bound import Scope
from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.plan import Plan
from mocap_opt.stopping import StoppedError
from mocap_opt.tables.cost_tables import Tables

INSTANCES = Path(__file__).parent.parent / "instances"


def blocking_tables(seed: int) -> Iterator[Tables]:
    """Tiny instances with like stages and queues of depth 1, without end."""
    rng = np.random.default_rng(seed)
    while True:
        tables = random_tables(rng, TINY_TRIPLE if rng.random() < 0.5 else TINY_PAIR)
        if alike(tables):
            yield replace(tables, queue_depth=1)


def windows(times: np.ndarray, stages: int) -> int:
    """The longest chunk of every slot, added up."""
    slots = range(times.size + stages - 1)
    return sum(int(times[max(0, t - stages + 1) : t + 1].max()) for t in slots)


@pytest.mark.parametrize("runs", [300, pytest.param(3000, marks=pytest.mark.slow)])
def test_slots_of_like_stages_are_paths_where_queues_hold_one_chunk(runs: int) -> None:
    rng = np.random.default_rng(12)
    for _ in range(runs):
        stages, chunks = int(rng.integers(2, 6)), int(rng.integers(1, 9))
        times, sends = rng.integers(0, 12, chunks), rng.integers(0, 5, chunks)
        work = np.tile(times, (stages, 1))
        onward = np.vstack([np.tile(sends, (stages - 1, 1)), np.zeros((1, chunks), dtype=np.int64)])
        makespan = flow_shop_makespan(work, onward, 1)
        assert windows(times, stages) == flow_shop_makespan(work, 0 * onward, 1) <= makespan
        assert windows(times + sends, stages - 1) + times[-1] <= makespan


def test_the_worked_example_of_the_page() -> None:
    times = np.array([3, 1, 2])
    work = np.tile(times, (2, 1))
    assert windows(times, 2) == 10
    assert flow_shop_makespan(work, 0 * work, 1) == 10
    assert flow_shop_makespan(work, 0 * work, None) == 9


def test_a_single_partition_by_hand() -> None:
    # Chunks of a token: 10 ticks and 10 to the next stage.  (2): 10 in 4 slots.  (3): 20 in 3 slots on
    # two stages, and 10.
    tables = make_tables(3, 2, max_chunks=2, exact=True, activation_bytes=10, link_rate=1, queue_depth=1)
    assert BlockingCosts(tables).ascent == 2
    assert SendingCosts(tables).ascent == 1
    values = [found.ticks for kind in KINDS if (found := climb(tables, 61, kind=kind)) is not None]
    assert values == [61, 61]  # the one partition is priced by its longest path: 70
    assert price_plan(tables, Plan((0, 1, 2)), least_price) == 70
    bound = blocking_ladder(tables)
    assert bound is not None
    assert (bound.ticks, bound.scope) == (70, Scope.ANY_EXECUTION)


@pytest.mark.parametrize(("seed", "runs"), [(3, 60), pytest.param(4, 1000, marks=pytest.mark.slow)])
def test_no_optimum_beats_the_bound_or_loses_a_chunk(seed: int, runs: int) -> None:
    plans = reached = 0
    for tables, _ in zip(blocking_tables(seed), range(runs), strict=False):
        best, bound = brute_force(tables, least_price), blocking_ladder(tables)
        if best is None:
            continue
        assert bound is not None
        plans += 1
        assert bound.ticks <= best.value, tables.name
        reached += bound.ticks + 1 > best.value
        for kind in KINDS:
            alone = ladder(tables, kind=kind)
            above = climb(tables, math.floor(best.value) + 1, kind=kind)
            assert alone is not None
            assert above is not None
            assert max(alone.ticks, above.ticks) <= best.value
            assert not above.arcs.empty
    # Where it is reached, a tick more would be wrong.
    assert reached > plans / 2 > 0


def test_deeper_queues_and_unlike_stages_have_none() -> None:
    for depth in (2, None):
        assert blocking_ladder(make_tables(2, 6, queue_depth=depth)) is None
    assert blocking_ladder(make_tables(2, 6, linear=[3, 4], queue_depth=1)) is None
    assert blocking_ladder(make_tables(1, 6, queue_depth=1)) is None
    with pytest.raises(StoppedError):
        blocking_climb(make_tables(2, 6, queue_depth=1), 1000, lambda: True)


def test_depth_2_would_be_wrong() -> None:
    # Queues of two chunks let a stage run ahead of the longest one.
    tables = make_tables(3, 8, max_chunks=5, exact=True, quadratic=1, constant=3, queue_depth=2)
    best = brute_force(tables, least_price)
    wrong = ladder(replace(tables, queue_depth=1), kind=BlockingCosts)
    assert best is not None
    assert wrong is not None
    assert wrong.ticks > best.value


@pytest.mark.parametrize(
    ("name", "seconds"), [("gpt3-175b-watos-slack", 12.0994), ("bench/S-slack", 30.3874)]
)
def test_closes_shipped_instances_that_crossings_leave_open(name: str, seconds: float) -> None:
    tables = replace(build_tables(load_instance(INSTANCES / f"{name}.json")), queue_depth=1)
    found = blocking_climb(tables, int(1.001 * seconds / float(tables.tick_s)))
    assert found is not None
    assert tables.seconds(found.ticks) == pytest.approx(seconds, rel=1e-5)


def test_the_step_closes_the_gap_and_runs_where_it_is_of_use() -> None:
    step, search = step_named("blocking_ladder"), search_of("S-slack at depth 1", 60.0)
    assert step.obstacle(search_of("S-slack", 60.0)) == "queues hold more than one chunk"
    static = search_of("S-slack at depth 1", 60.0, execution=Execution.LOCKSTEP)
    assert step.obstacle(static) == "lockstep has a ladder of its own"
    assert step.obstacle(search) is None
    step.run(search, lambda: search.state.deadline.expired)
    gap = search.state.current_gap()
    assert gap is not None
    assert gap < 1e-3
    assert step.obstacle(search) is not None
