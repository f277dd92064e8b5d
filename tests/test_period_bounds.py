"""Bounds on the period: below brute force and every plan, and near it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from builders import make_tables
from oracle import _plan as oracle_plan
from oracle import partitions
from period_cases import COUNT, adversaries, instances, least, optima
from period_oracle import cyclic_homes
from random_tables import random_instances

from mocap_opt import load_instance
from mocap_opt.bounds import Bound, Scope
from mocap_opt.bounds.period import PartitionBound, period_bounds
from mocap_opt.bounds.period_partitions import cycle_time, room_in_time
from mocap_opt.flow_shop.chunk_times import least_sends
from mocap_opt.instance import Instance
from mocap_opt.replay.evaluation import assess_schedule
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.solving.period_search import best_period
from mocap_opt.stopping import Deadline
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

INSTANCES = Path(__file__).parent.parent / "instances"


@dataclass(frozen=True)
class Solved:
    tables: Tables
    bounds: list[Bound]
    lockstep: int
    reported: Fraction


@cache
def bounds_of(number: int) -> tuple[list[Bound], dict[Scope, PartitionBound]]:
    return period_bounds(instances()[number])


QUICK = 60
SIZES = pytest.mark.parametrize("count", [QUICK, pytest.param(COUNT, marks=pytest.mark.slow)])


@cache
def solved(count: int) -> list[Solved]:
    """Tiny instances with all their bounds, the best lockstep period and the best known of any execution."""
    cases = []
    for number in range(count):
        tables, found = instances()[number], optima(number)
        best = least(found)
        if best is not None:
            plans = [Schedule.of(tables, b.plan, b.slots) for b in found.values() if b is not None]
            reported = min(assess_schedule(plan).period for plan in plans)
            cases.append(Solved(tables, bounds_of(number)[0], best.value, reported))
    return cases


@SIZES
def test_no_optimum_beats_a_bound(count: int) -> None:
    for case in solved(count):
        for bound in case.bounds:
            limit = case.lockstep if bound.scope is Scope.LOCKSTEP else case.reported
            assert bound.ticks <= limit, (bound, case.tables.name)


def test_bounds_by_spacing_hold_for_every_spacing() -> None:
    for number in range(60):
        tables, (_, by_slots) = instances()[number], bounds_of(number)
        for slots, known in optima(number).items():
            if known is not None:
                bound = by_slots[Scope.LOCKSTEP].at(slots)
                assert bound is not None
                assert bound <= known.value, tables.name


def test_no_random_or_locally_optimal_plan_beats_a_bound_in_either_replay() -> None:
    checked = 0
    bounds: dict[str, list[Bound]] = {}
    for tables, periodic in adversaries():
        if tables.name not in bounds:
            bounds[tables.name] = period_bounds(tables, rounds=6)[0]
        found = assess_schedule(periodic)
        checked += 1
        for bound in bounds[tables.name]:
            assert bound.ticks <= found.lockstep.period, (bound, tables.name)
            if bound.scope is Scope.ANY_EXECUTION and found.event.steady:
                assert bound.ticks <= found.period, (bound, tables.name)
    assert checked >= 20


@SIZES
def test_two_per_cent_more_would_be_wrong(count: int) -> None:
    # A link that carries activations all the time, and a stage that does nothing but compute.
    busy = make_tables(
        stages=2,
        tokens=40,
        quantum=20,
        activation_bytes=5,
        link_rate=1,
        linear=1,
        queue_depth=2,
        max_chunks=2,
    )
    even = make_tables(stages=2, tokens=40, quantum=20, linear=5, queue_depth=1, max_chunks=1)
    extra = []
    for tables in (busy, even):
        best = best_period(tables).best
        assert best is not None
        extra.append(Solved(tables, period_bounds(tables)[0], best.lockstep.period, best.period))
    near = {
        bound.name
        for case in [*solved(count), *extra]
        for bound in case.bounds
        for limit in [case.lockstep if bound.scope is Scope.LOCKSTEP else case.reported]
        if limit >= 50 and bound.ticks * Fraction(102, 100) > limit
    }
    assert near == {"compute_total", "link_load", "work_and_memory", "slots_and_memory", "listed_partitions"}


def test_memory_time_bounds_more_than_work() -> None:
    # One chunk of 40 ticks a stage, four bytes there meanwhile; both memories together hold six.
    tables = make_tables(
        stages=2, tokens=4, linear=10, token_bytes=1, capacity=[3, 3], queue_depth=1, max_chunks=1
    )
    bounds = {bound.name: bound.ticks for bound in period_bounds(tables)[0]}
    assert bounds["compute_total"] == 40
    assert bounds["work_and_memory"] == 2 * 4 * 40 // 6
    best = best_period(tables).best
    assert best is not None
    # So the two stages take turns.
    assert (best.period, best.schedule.slots) == (80, 2)


@pytest.mark.parametrize("count", [15, pytest.param(500, marks=pytest.mark.slow)])
def test_no_plan_of_a_tiny_instance_beats_a_bound_event_driven(count: int) -> None:
    rng = np.random.default_rng(count)
    steady = reached = 0
    for tables in random_instances(seed=21, count=count):
        for depth in (1, 2):
            deep = replace(tables, queue_depth=depth)
            bounds = [b for b in period_bounds(deep)[0] if b.scope is Scope.ANY_EXECUTION]
            plans = list(islice(_some_plans(deep, rng), 6))
            found = [assess_schedule(plan) for plan in plans]
            periods = [each.event.period for each in found if each.event.steady]
            periods += [Fraction(each.lockstep.period) for each in found]
            steady += sum(each.event.steady for each in found)
            if periods:
                assert max(bound.ticks for bound in bounds) <= min(periods), (tables.name, depth)
                reached += max(bound.ticks for bound in bounds) + 1 > min(periods)
    # Often enough a tick more would be wrong.
    assert steady >= count
    assert reached >= count // 4


def _some_plans(tables: Tables, rng: np.random.Generator) -> Iterator[Schedule]:
    """Partitions in random order, each with the first homes that fit, at its least spacing."""
    marks = list(partitions(tables))
    for n in rng.permutation(len(marks)):
        chunks = len(marks[n]) - 1
        for slots in range(chunks, chunks + tables.stages):
            homes = next(cyclic_homes(tables, marks[n], slots, lambda _: True), None)
            if homes is not None:
                yield Schedule.of(tables, oracle_plan(marks[n], homes), slots)
                break


@pytest.mark.parametrize(
    ("name", "period"), [("slow-link", 10), ("slack", 47), ("detour", 50), ("pooled", 50), ("unequal", 61)]
)
def test_tiny_instances_at_depth_one_are_closed(name: str, period: int) -> None:
    data = load_instance(INSTANCES / f"tiny-{name}.json").to_dict()
    data["pipeline"]["queue_depth"] = 1
    tables = build_tables(Instance.from_dict(data))
    assert max(b.ticks for b in period_bounds(tables)[0] if b.scope is Scope.ANY_EXECUTION) == period
    best = best_period(tables, deadline=Deadline(5.0)).best
    assert best is not None
    assert best.period == period


def test_at_depth_two_a_queue_counts_half_of_each_chunk_and_its_send() -> None:
    # A chunk takes 2 ticks, its activations 10: two chunks are started every 12 ticks at most.
    tables = make_tables(
        stages=2, tokens=4, quantum=2, linear=1, activation_bytes=5, link_rate=1, queue_depth=2, max_chunks=2
    )
    bounds = {bound.name: bound.ticks for bound in period_bounds(tables)[0]}
    assert bounds["work_and_memory"] == 12
    assert bounds["link_load"] == 20


def test_unlike_chunks_wait_for_each_other_at_depth_one() -> None:
    taken, send = np.array([[10, 14], [10, 14]]), np.zeros((2, 2), dtype=np.int64)
    assert [cycle_time(taken, send, depth) for depth in (1, 2)] == [28, 24]
    # One long chunk of three at depth 2: from its start on stage 0 to its end on stage 1, then stage 0 may
    # start the third chunk after it, which is the next long one.
    assert cycle_time(np.array([[1, 1, 20], [1, 1, 20]]), np.zeros((2, 3), dtype=np.int64), 2) == 40


def test_the_recursion_of_queues_is_that_of_the_event_replay() -> None:
    rng = np.random.default_rng(3)
    equal = 0
    for _ in range(40):
        depth, stages, steps = int(rng.integers(1, 4)), int(rng.integers(2, 5)), int(rng.integers(1, 6))
        tables = make_tables(
            stages=stages,
            tokens=steps,
            linear=rng.integers(1, 9, stages).tolist(),
            quadratic=rng.integers(0, 3, stages).tolist(),
            queue_depth=depth,
            max_chunks=steps,
        )
        cuts = rng.choice(np.arange(1, steps), int(rng.integers(0, steps)), replace=False)
        indices = np.array([0, *sorted(cuts.tolist()), steps])
        plan = Schedule.of(tables, Plan(tuple(indices.tolist())), indices.size - 1)
        found = assess_schedule(plan)
        assert found.event.steady
        taken = tables.tau(np.arange(stages)[:, None], indices[:-1], indices[1:])
        send = least_sends(tables)[:, 0, np.diff(indices)]
        bound = cycle_time(taken, send, depth)
        assert bound <= found.event.period
        equal += bound + 1 > found.event.period
    assert equal >= 36


def test_stages_that_do_not_fit_together_take_turns() -> None:
    taken, held = np.array([[7, 5], [4, 9]]), np.array([[2, 4], [2, 4]])
    # Room for two first chunks, or for a second one alone: 5 + 9 one after the other, then 7 beside 4.
    assert room_in_time(taken, held, 4) == 21
    # Only the second chunks exclude each other: 5 + 9, with 4 and 7 beside them.
    assert room_in_time(taken, held, 6) == 14
    assert room_in_time(taken, held, 8) == 0
