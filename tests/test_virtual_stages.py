"""Virtual stages: known answers, the replay against an oracle, memory, orders and bounds."""

from __future__ import annotations

import numpy as np
import pytest
from builders import make_tables
from virtual_oracle import least_makespan, linear_orders, price

from mocap_opt.bounds.virtual_stages import any_arrangement, any_order, given_chunks_bound
from mocap_opt.errors import InputError
from mocap_opt.flow_shop.partitions import divisions
from mocap_opt.flow_shop.recursion import flow_shop_makespan
from mocap_opt.flow_shop.virtual_pipeline import Shape, VirtualPipeline, hosts
from mocap_opt.formulations.virtual_stages import solve_orders
from mocap_opt.replay.virtual import StuckError, replay_virtual
from mocap_opt.schedule.virtual_plan import VirtualPlan, device_memory, virtual_violations
from mocap_opt.search.virtual_orders import best_orders
from mocap_opt.solvers.limits import Limits
from mocap_opt.solvers.outcome import Status


def random_pipeline(rng: np.random.Generator, most_chunks: int = 3) -> tuple[VirtualPipeline, np.ndarray]:
    """Two or three devices with two runs each (or two with three), two to four chunks."""
    stages = int(rng.integers(2, 4))
    runs = 3 if stages == 2 and rng.random() < 0.2 else 2
    tokens = int(rng.integers(3, 7))
    chunks = int(rng.integers(2, min(tokens, 2 if runs == 3 else most_chunks) + 1))
    tables = make_tables(
        stages,
        tokens,
        max_chunks=chunks,
        linear=rng.integers(1, 12, stages).tolist(),
        quadratic=int(rng.integers(0, 3)),
        constant=int(rng.integers(0, 10)),
        activation_bytes=int(rng.integers(0, 4)),
        link_rate=1,
        hop=int(rng.integers(0, 3)),
        queue_depth=[None, 1, 2][int(rng.integers(3))],
    )
    layers = rng.integers(runs, 2 * runs + 1, stages).tolist()
    shape = [Shape.V, Shape.INTERLEAVED][int(rng.integers(2))]
    pipeline = VirtualPipeline.of(tables, shape, runs, layers, overhead=int(rng.integers(0, 3)))
    cuts = np.sort(rng.choice(np.arange(1, tokens), chunks - 1, replace=False))
    return pipeline, np.array([0, *cuts, tokens], dtype=np.int64)


def test_who_hosts_what():
    assert hosts(Shape.INTERLEAVED, 3, 2) == (0, 1, 2, 0, 1, 2)
    assert hosts(Shape.V, 3, 2) == (0, 1, 2, 2, 1, 0)
    assert hosts(Shape.V, 2, 3) == (0, 1, 1, 0, 0, 1)


def test_parts_add_up_to_the_device():
    tables = make_tables(3, 7, linear=[5, 7, 11], quadratic=1, constant=3, token_bytes=[5, 7, 9], prefix=3)
    pipeline = VirtualPipeline.of(tables, "v", 2, [7, 8, 5])
    assert pipeline.layers == (3, 4, 2, 3, 4, 4)
    indices = np.array([0, 2, 3, 7])
    work, _ = pipeline.times(indices)
    for i, (first, second) in enumerate(pipeline.hosted):
        assert (work[first] + work[second] == tables.tau(i, indices[:-1], indices[1:])).all()
        assert pipeline.page_bytes[first] + pipeline.page_bytes[second] == tables.page_bytes[i]
        assert pipeline.prefix_bytes[first] + pipeline.prefix_bytes[second] == tables.prefix_bytes[i]


def test_sends_to_the_next_stage_are_those_of_the_tables():
    tables = make_tables(3, 7, activation_bytes=3, link_rate=2, hop=4)
    pipeline = VirtualPipeline.of(tables, "interleaved", 2)
    lengths = np.arange(1, 7)
    for u in (0, 1, 3, 4):
        assert (pipeline.send_time(u, lengths) == tables.send[0, 0, 1:7]).all()
    # Back from the last device to the first: two hops, one link's time.
    assert (pipeline.send_time(2, lengths) == 4 + tables.send[0, 0, 1:7]).all()
    folded = VirtualPipeline.of(tables, "v", 2)
    assert not folded.send_time(2, lengths).any()
    assert not folded.send_time(5, lengths).any()


@pytest.mark.parametrize(
    ("shape", "latency", "orders"),
    [
        # Ordinary: 20 ticks of work a device and a chunk's 10 to fill: 30.
        ("interleaved", 25, [[(0, 0), (0, 1), (2, 0), (2, 1)], [(1, 0), (1, 1), (3, 0), (3, 1)]]),
        ("v", 30, [[(0, 0), (0, 1), (3, 0), (3, 1)], [(1, 0), (2, 0), (1, 1), (2, 1)]]),
    ],
)
def test_two_devices_two_runs_two_equal_chunks(shape, latency, orders):
    tables = make_tables(2, 2, linear=10)
    assert flow_shop_makespan(np.full((2, 2), 10), np.zeros((2, 2), dtype=np.int64), None) == 30
    pipeline = VirtualPipeline.of(tables, shape, 2)
    plan = VirtualPlan((0, 1, 2), tuple(map(tuple, orders)))
    assert virtual_violations(pipeline, plan) == []
    assert replay_virtual(pipeline, plan).latency == latency
    work, send = (each.tolist() for each in pipeline.times(np.array([0, 1, 2])))
    assert least_makespan(list(pipeline.device), work, send, None) == latency
    assert best_orders(pipeline, np.array([0, 1, 2])).latency == latency


def test_one_run_is_the_ordinary_pipeline():
    rng = np.random.default_rng(3)
    for _ in range(20):
        pipeline, indices = random_pipeline(rng)
        ordinary = VirtualPipeline.of(pipeline.tables, "v", 1)
        work, send = ordinary.times(indices)
        expected = flow_shop_makespan(work, send, pipeline.tables.queue_depth)
        assert best_orders(ordinary, indices).latency == expected


def test_replay_agrees_with_relaxation_on_every_order():
    rng = np.random.default_rng(5)
    stuck = 0
    for _ in range(25):
        pipeline, indices = random_pipeline(rng)
        work, send = (each.tolist() for each in pipeline.times(indices))
        choices = [list(linear_orders(list(rows), indices.size - 1)) for rows in pipeline.hosted]
        for _ in range(6):
            orders = tuple(each[int(rng.integers(len(each)))] for each in choices)
            plan = VirtualPlan(tuple(pipeline.tables.grid[indices].tolist()), orders)
            assert virtual_violations(pipeline, plan) == []
            expected = price(list(pipeline.device), work, send, orders, pipeline.tables.queue_depth)
            if expected is None:
                stuck += 1
                with pytest.raises(StuckError, match="in a circle"):
                    replay_virtual(pipeline, plan)
            else:
                assert replay_virtual(pipeline, plan).latency == expected
    assert stuck


def test_rules_are_never_stuck_and_never_beat_the_oracle():
    rng = np.random.default_rng(7)
    reached = 0
    for _ in range(30):
        pipeline, indices = random_pipeline(rng)
        found = best_orders(pipeline, indices)
        assert virtual_violations(pipeline, found.plan) == []
        assert replay_virtual(pipeline, found.plan).latency == found.latency
        work, send = (each.tolist() for each in pipeline.times(indices))
        least = least_makespan(list(pipeline.device), work, send, pipeline.tables.queue_depth)
        assert least <= found.latency
        reached += least == found.latency
    assert reached >= 20


GOOD = (((0, 0), (0, 1), (3, 0), (3, 1)), ((1, 0), (2, 0), (1, 1), (2, 1)))
"""A V of two devices, two chunks."""


def test_memory_by_hand():
    # KV of 4 bytes a token and device, 2 a run; prompts of two chunks of one token, a prefix of one.
    # Queues hold 2 Q x 1 token of each run: a reserve of 10 + 2 x 2.
    fixed = 100 + 10 + 2 * 2

    def of(capacity: int) -> VirtualPipeline:
        sizes = {"token_bytes": 4, "static": 100, "staging": 10, "working_bytes": 1, "capacity": capacity}
        return VirtualPipeline.of(make_tables(2, 2, prefix=1, queue_depth=1, **sizes), "v", 2)

    plan = VirtualPlan((0, 1, 2), GOOD)
    first, second = (use.tolist() for use in device_memory(of(fixed + 10), plan))
    # A run's prefix and first chunk 4, then 6; gone after its second chunk.
    assert first == [fixed + 4, fixed + 6, fixed + 4, fixed + 6]
    assert second == [fixed + 4, fixed + 8, fixed + 10, fixed + 6]
    assert virtual_violations(of(fixed + 10), plan) == []
    (short,) = virtual_violations(of(fixed + 9), plan)
    assert short.startswith("memory of device 1, chunk 1 on virtual stage 1:")
    assert "1 B" in short


def test_plans_that_are_none():
    pipeline = VirtualPipeline.of(make_tables(2, 2), "v", 2)

    def first_violation(boundaries, orders):
        return virtual_violations(pipeline, VirtualPlan(boundaries, orders))[0]

    assert "orders of 1 devices" in first_violation((0, 1, 2), GOOD[:1])
    twice = (GOOD[0][:3] + GOOD[0][:1], GOOD[1])
    assert "device 0: its order is not every" in first_violation((0, 1, 2), twice)
    early = ((GOOD[0][1], GOOD[0][0], *GOOD[0][2:]), GOOD[1])
    assert "chunk 1 on virtual stage 0 comes" in first_violation((0, 1, 2), early)
    assert first_violation((0, 3), GOOD)
    with pytest.raises(InputError, match="runs"):
        VirtualPipeline.of(make_tables(2, 2), "v", 3, [2, 4])


def least_of_all(pipeline: VirtualPipeline) -> int:
    """The best over all partitions and orders."""
    best = []
    for indices in divisions(pipeline.tables):
        work, send = (each.tolist() for each in pipeline.times(indices))
        best.append(least_makespan(list(pipeline.device), work, send, pipeline.tables.queue_depth))
    return min(best)


def check_bounds(seed: int, count: int) -> tuple[int, int, int]:
    """No order of any chunks beats a bound; how many bounds of each kind are reached."""
    rng = np.random.default_rng(seed)
    given = every = near = 0
    for _ in range(count):
        pipeline, indices = random_pipeline(rng)
        work, send = (each.tolist() for each in pipeline.times(indices))
        least = least_makespan(list(pipeline.device), work, send, pipeline.tables.queue_depth)
        bound = given_chunks_bound(pipeline, indices)
        assert bound <= least
        given += bound == least
        least = least_of_all(pipeline)
        bound = any_order(pipeline).ticks
        assert bound <= least
        every += bound == least
        alike = any_arrangement(pipeline.tables).ticks
        assert alike <= bound or pipeline.tables.stages == 1
        near += 1.25 * alike >= least
    return given, every, near


def test_no_order_beats_a_bound_and_many_reach_it():
    given, every, near = check_bounds(11, 20)
    assert given >= 10
    assert every >= 4
    assert near >= 1


def test_the_bound_of_like_devices_by_hand():
    # Two devices, two equal chunks of 10 a device: 20 of work, and 5 or 5 + 5 to and from device 1; one chunk
    # of 20 crosses in 40.  A V gains nothing over the ordinary 30, interleaving does.
    tables = make_tables(2, 2, linear=10, max_chunks=2)
    bounds = [any_order(VirtualPipeline.of(tables, shape, 2)).ticks for shape in ("interleaved", "v")]
    assert bounds == [25, 30]
    assert any_order(VirtualPipeline.of(tables, "v", 1)).ticks == 30
    assert any_arrangement(tables).ticks == 20


def check_program(seed: int, count: int) -> None:
    """The program, enumeration of orders and the bound agree."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        pipeline, indices = random_pipeline(rng, most_chunks=4)
        work, send = (each.tolist() for each in pipeline.times(indices))
        least = least_makespan(list(pipeline.device), work, send, pipeline.tables.queue_depth)
        plan, run, outcome = solve_orders(pipeline, best_orders(pipeline, indices).plan, Limits(threads=1))
        assert outcome.status is Status.OPTIMAL
        assert outcome.objective == outcome.bound == least
        assert virtual_violations(pipeline, plan) == []
        assert run.latency == least
        assert given_chunks_bound(pipeline, indices) <= least


def test_the_program_agrees_with_enumeration():
    check_program(13, 5)


@pytest.mark.slow
def test_the_program_agrees_with_enumeration_on_many():
    check_program(17, 300)


@pytest.mark.slow
def test_no_order_beats_a_bound_on_many():
    given, every, near = check_bounds(19, 300)
    assert min(given, every, near) >= 20
