"""The ladder: its identity, its bound against brute force, and the chunks it deletes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from builders import make_tables
from oracle import brute_force, lockstep_price, partitions
from random_tables import TINY_PAIR, TINY_TRIPLE, random_tables

from mocap_opt import build_tables, load_instance
from mocap_opt.bounds import ladder_search
from mocap_opt.bounds.blocking_ladder import blocking_ladder
from mocap_opt.bounds.ladder import Ladder, climb, ladder, lockstep_graph
from mocap_opt.flow_shop.arc_set import ArcSet
from mocap_opt.flow_shop.chunk_times import alike
from mocap_opt.formulations.chunk_graph import chunk_graph
from mocap_opt.lower_bound import Scope
from mocap_opt.stopping import StoppedError
from mocap_opt.tables.cost_tables import Tables

INSTANCES = Path(__file__).parent.parent / "instances"
PAGE = Path(__file__).parent.parent / "formulations" / "ladder.md"


def slots(times: np.ndarray, stages: int) -> np.ndarray:
    """The longest chunk of every slot, by looking at each."""
    return np.array(
        [max(times[j] for j in range(t - stages + 1, t + 1) if 0 <= j < times.size)
         for t in range(times.size + stages - 1)]
    )  # fmt: skip


def cost(levels: np.ndarray, stages: int) -> int:
    """What levels cost: their sum and N - 1 times their rises."""
    rises = np.diff(levels, prepend=0)
    return int(levels.sum() + (stages - 1) * rises[rises > 0].sum())


@pytest.mark.parametrize("runs", [300, pytest.param(3000, marks=pytest.mark.slow)])
def test_the_closing_costs_what_the_slots_take_and_nothing_above_the_times_costs_less(runs: int) -> None:
    rng = np.random.default_rng(11)
    for _ in range(runs):
        stages, chunks = int(rng.integers(1, 7)), int(rng.integers(1, 13))
        times = rng.integers(0, 12, chunks)
        taken = slots(times, stages)
        closing = np.array([taken[j : j + stages].min() for j in range(chunks)])
        assert (closing >= times).all()
        assert cost(closing, stages) == taken.sum()
        assert cost(times, stages) >= taken.sum()
        for _ in range(5):
            higher = times + rng.integers(0, 6, chunks) * (rng.random(chunks) < 0.5)
            assert cost(higher, stages) >= taken.sum()


def test_the_worked_sequence_of_the_page() -> None:
    times = np.array([4, 1, 3])
    assert slots(times, 3).tolist() == [4, 4, 4, 3, 3]
    assert cost(np.array([4, 3, 3]), 3) == 18
    assert cost(times, 3) == 20


def test_the_worked_example_of_the_page() -> None:
    found = re.search(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    case = json.loads(found[1])
    tables = make_tables(**case["tables"])
    prices = {marks: lockstep_price(tables, marks)({}) for marks in partitions(tables)}
    assert sorted(prices.values()) == [35, 37, 38, 44, 45, 50, 51]
    best = brute_force(tables)
    assert best is not None
    assert best.value == case["optimum"]
    assert list(best.plan.boundaries) == case["best_boundaries"]
    bound = ladder(tables)
    assert bound is not None
    assert (bound.ticks, bound.scope) == (case["optimum"], Scope.LOCKSTEP)
    roomy = ladder(replace(tables, capacity=tables.capacity + 100))
    assert roomy is not None
    assert roomy.ticks == case["without_memory"]


def alike_tables(seed: int) -> Iterator[Tables]:
    """Tiny instances with like stages, without end."""
    rng = np.random.default_rng(seed)
    while True:
        tables = random_tables(rng, TINY_TRIPLE if rng.random() < 0.35 else TINY_PAIR)
        if alike(tables):
            yield tables


def holds(arcs: ArcSet, boundaries: np.ndarray) -> bool:
    """Whether a partition is a path."""
    path = [0] * (arcs.positions + 1 - boundaries.size) + boundaries.tolist()
    return all(((arcs.starts[j] == a) & (arcs.ends[j] == b)).any() for j, (a, b) in enumerate(pairwise(path)))


@pytest.mark.parametrize(("seed", "runs"), [(3, 60), pytest.param(4, 1000, marks=pytest.mark.slow)])
def test_no_optimum_beats_the_bound_or_loses_a_chunk(seed: int, runs: int) -> None:
    plans = reached = inflated = 0
    for tables, _ in zip(alike_tables(seed), range(runs), strict=False):
        best, bound = brute_force(tables), ladder(tables)
        if best is None:
            continue
        assert bound is not None
        plans += 1
        optimum = int(best.value)
        assert bound.ticks <= optimum, (tables.name, bound)
        reached += bound.ticks == optimum
        inflated += bound.ticks + 1 > optimum
        # At the optimum nothing needs to be left; a tick above it the optimum has to be.
        closed = climb(tables, optimum)
        above = climb(tables, optimum + 1)
        far = climb(tables, 2 * optimum)
        assert closed is not None
        assert above is not None
        assert far is not None
        assert closed.ticks <= optimum
        for found in (above, far):
            assert found.ticks <= optimum
            assert holds(found.arcs, best.plan.grid_indices(tables)), tables.name
            assert any(holds(region.arcs, best.plan.grid_indices(tables)) for region in found.regions)
    # The bound is not weak, and one tick more would be wrong.
    assert reached > plans / 3
    assert inflated == reached


def test_with_few_levels_and_partitions_it_stays_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder_search, "LEVELS", (2, 3))
    monkeypatch.setattr(ladder_search, "FINEST", 3)
    monkeypatch.setattr(ladder_search, "MOST_LISTED", 0)
    below = 0
    for tables, _ in zip(alike_tables(5), range(40), strict=False):
        best = brute_force(tables)
        if best is None:
            continue
        found = climb(tables, int(best.value) + 1)
        assert found is not None
        assert found.ticks <= best.value
        assert holds(found.arcs, best.plan.grid_indices(tables))
        below += found.ticks < best.value
    assert below > 10


def proved(name: str, seconds: float) -> Ladder:
    tables = build_tables(load_instance(INSTANCES / name))
    found = climb(tables, int(seconds / tables.tick_s))
    assert found is not None
    return found


def test_shipped_instances_are_closed() -> None:
    # Latencies of known plans, and a little more: what is left is one partition, priced exactly.
    for name, above, optimum in (
        ("gpt3-175b-watos-tight.json", 32.2, 32.172050),
        ("gpt3-175b-watos-slack.json", 12.12, 12.101635),
        ("bench/M-slack.json", 22.555, 22.554848),
    ):
        found = proved(name, above)
        assert found.ticks / 1e9 == pytest.approx(optimum, rel=1e-5)
        assert found.arcs.size < found.all_arcs / 100


def test_stopped_at_once_it_says_nothing() -> None:
    tables = make_tables(3, 6)
    assert ladder(tables, lambda: True) is None
    with pytest.raises(StoppedError, match="stopped"):
        climb(tables, 1000, lambda: True)


def after(calls: int) -> Callable[[], bool]:
    """Ask to stop from some call on."""
    left = iter(range(calls))
    return lambda: next(left, None) is None


def test_stopped_on_the_way_it_stays_a_bound() -> None:
    for tables, calls in zip(alike_tables(6), range(1, 25), strict=False):
        best = brute_force(tables)
        if best is None:
            continue
        asked_to_stop = after(calls % 6 + 1)
        try:
            found = climb(tables, 2 * int(best.value), asked_to_stop)
        except StoppedError:
            continue
        assert found is not None
        assert found.ticks <= best.value
        assert holds(found.arcs, best.plan.grid_indices(tables))


def test_unlike_stages_and_impossible_lengths_have_none() -> None:
    assert climb(make_tables(2, 6, linear=[3, 4]), 1000) is None
    assert ladder(make_tables(2, 6, linear=[3, 4])) is None
    assert ladder(make_tables(2, 6, max_chunks=2, max_length=2)) is None


def test_an_arc_set_keeps_paths_only() -> None:
    def of(*arcs: list[tuple[int, int]]) -> ArcSet:
        return ArcSet.of(3, [tuple(np.array(each, dtype=np.int64).T) for each in arcs])

    arcs = of([(0, 0), (0, 1), (0, 2)], [(0, 3), (1, 3), (0, 1)])
    assert [
        list(map(tuple, np.array(pair).T.tolist())) for pair in zip(arcs.starts, arcs.ends, strict=True)
    ] == [
        [(0, 0), (0, 1)],
        [(0, 3), (1, 3)],
    ]
    assert arcs.size == 4
    assert [layer.tolist() for layer in arcs.nodes] == [[0], [0, 1], [3]]
    assert arcs.windows() == [(0, 0), (0, 1), (3, 3)]
    assert [path.tolist() for path in arcs.partitions(2) or []] == [[0, 0, 3], [0, 1, 3]]
    assert arcs.partitions(1) is None
    alone = of([(0, 1)], [(1, 3)])
    assert arcs.within(alone).size == 2
    assert alone.joined(of([(0, 0)], [(0, 3)])).size == 4
    none = arcs.within(of([(0, 2)], [(2, 3)]))
    assert none.empty
    assert none.partitions(5) == []


def test_a_program_walks_through_the_chunks_of_the_ladder() -> None:
    for tables, _ in zip(alike_tables(8), range(20), strict=False):
        best = brute_force(tables)
        if best is not None:
            graph = lockstep_graph(tables, int(best.value))
            path = best.plan.grid_indices(tables).tolist()
            path = [0] * (graph.layers + 1 - len(path)) + path
            assert all(arc in graph.arcs[j] for j, arc in enumerate(pairwise(path)))
            assert [layer[0] for layer in graph.nodes[:1]] == [0]
            assert lockstep_graph(tables, ladder(tables).ticks - 1).empty
    unlike = make_tables(2, 6, linear=[3, 4])
    for tables, latency in ((unlike, 100), (make_tables(2, 6), None)):
        assert lockstep_graph(tables, latency).arcs == chunk_graph(tables, no_worse_than=latency).arcs
    stopped = lockstep_graph(make_tables(3, 6), 1000, lambda: True)
    assert stopped.arcs == chunk_graph(make_tables(3, 6), no_worse_than=1000).arcs


@pytest.mark.parametrize("stages", [1, 2])
def test_few_stages_leave_no_further_slots(stages: int) -> None:
    # One stage has no further slot, two have none for messages: chunks may take all the time there is.
    rng = np.random.default_rng(stages)
    checked = 0
    for _ in range(25):
        tables = make_tables(
            stages,
            int(rng.integers(2, 8)),
            max_chunks=int(rng.integers(1, 4)),
            linear=int(rng.integers(1, 9)),
            quadratic=int(rng.integers(0, 3)),
            constant=int(rng.integers(0, 20)),
            capacity=rng.integers(4, 14, stages).tolist(),
            working_bytes=int(rng.integers(0, 2)),
            queue_depth=1,
            activation_bytes=int(rng.integers(0, 3)),
            link_rate=2,
            hop=int(rng.integers(0, 3)),
        )
        best = brute_force(tables)
        if best is not None:
            checked += 1
            for bound in (ladder(tables), blocking_ladder(tables)):
                assert bound is None or bound.ticks <= best.value
            assert not lockstep_graph(tables, int(best.value)).empty
    assert checked > 8
