"""Sequences of requests by hand, at random, and against replays of one request."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import make_tables
from random_plans import random_plan
from random_tables import MIDDLING, TINY_PAIR, random_tables

from mocap_opt.replay.accounting import ReplayError
from mocap_opt.replay.event import replay_event, run_event
from mocap_opt.replay.lockstep import replay_lockstep, run_lockstep
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.schedule import Schedule, ScheduledRequest, identical_requests
from mocap_opt.schedule.verify import memory_use, schedule_memory, schedule_violations
from mocap_opt.tables.cost_tables import Tables

HALVES = Plan((0, 2, 4))


def sequence(*requests: tuple[Tables, Plan, int, int]) -> Schedule:
    return Schedule(tuple(ScheduledRequest(*each) for each in requests))


def test_two_requests_overlap_in_lockstep() -> None:
    # Chunks of 2 ticks, then one of 4: the slots take 2, 2, 4, 4.
    tables = make_tables(2, 4, linear=1)
    pair = sequence((tables, HALVES, 0, 0), (tables, Plan((0, 4)), 2, 0))
    replay = run_lockstep(pair)
    assert replay.work.tolist() == [2, 2, 4, 4]
    assert replay.completion == (8, 12)
    # In the event-driven run stage 1 ends the first request at 6 and waits for the second till 8.
    event = run_event(pair)
    assert event.completion == (6, 12)
    assert event.latency == 12


def test_a_request_waits_for_its_release() -> None:
    tables = make_tables(2, 4, linear=1)
    pair = sequence((tables, HALVES, 0, 0), (tables, HALVES, 2, 20))
    lockstep = run_lockstep(pair)
    # Slot 2, in which stage 1 works on the first request's last chunk, waits for the second request.
    assert lockstep.start.tolist() == [0, 2, 20, 22, 24]
    assert lockstep.completion == (22, 26)
    event = run_event(pair)
    assert event.completion == (6, 26)
    assert event.start[0] == (0, 2, 20, 22)
    idle = sequence((tables, HALVES, 0, 0), (tables, HALVES, 3, 20))
    assert run_lockstep(idle).completion == (6, 26)


def test_queues_know_no_requests() -> None:
    # Stage 1 is slow: with one place in its queue, stage 0 cannot run ahead into the next request.
    tables = make_tables(2, 1, linear=[1, 10], queue_depth=1)
    three = identical_requests(tables, Plan((0, 1)), 3, 1)
    assert run_event(three).start[0] == (0, 1, 11)
    free = identical_requests(replace(tables, queue_depth=None), Plan((0, 1)), 3, 1)
    assert run_event(free).start[0] == (0, 1, 2)


def test_admission_waits_for_what_the_request_before_frees() -> None:
    # Stage 1 keeps 2 of its 4 pages with stage 0 until slot 1 is over, at 24; 6 bytes hold these and
    # a whole request of stage 0.
    tables = make_tables(2, 4, linear=[1, 5], capacity=[6, 6])
    away = Plan((0, 4), (Home(1, 0, 0, 2),))
    at_once = sequence((tables, away, 0, 0), (tables, away, 1, 0))
    assert schedule_violations(at_once) == []
    assert run_event(at_once).start[0] == (0, 4)
    # A slot later, stage 0 is free at 4 as well, but slot order frees slot 1 first.
    later = sequence((tables, away, 0, 0), (tables, away, 2, 0))
    assert schedule_violations(later) == []
    assert run_event(later).start[0] == (0, 24)


def test_slots_must_leave_room_and_memory_is_judged_over_all() -> None:
    tables = make_tables(2, 4, capacity=5)
    early = schedule_violations(sequence((tables, HALVES, 0, 0), (tables, HALVES, 1, 0)))
    assert [str(v) for v in early] == [
        "request 1 starts in slot 1, but request 0 needs the first stage until slot 2"
    ]
    negative = schedule_violations(sequence((tables, HALVES, 0, -1)))
    assert [v.rule for v in negative] == ["release"]
    before = schedule_violations(sequence((tables, HALVES, -1, 0)))
    assert [v.rule for v in before] == ["slots"]
    crooked = schedule_violations(sequence((tables, Plan((0, 4, 3)), 0, 0), (tables, HALVES, 4, 0)))
    assert {v.rule for v in crooked} >= {"boundaries"}
    assert str(crooked[0]).startswith("request 0: ")
    # Together: stage 1 keeps all of request 0 with stage 0, while request 1 is there.
    away = Plan((0, 4), (Home(1, 0, 0, 4),))
    both = schedule_violations(sequence((tables, away, 0, 0), (tables, Plan((0, 4)), 1, 0)))
    assert [(v.memory, v.slot, v.bytes_short) for v in both] == [(0, 1, 3)]


def test_the_reserve_counts_chunks_of_all_requests() -> None:
    # Depth 1, so two chunks: stage 0 ends request 1 and holds it while request 0 has not left stage 1.
    # One request's tokens alone would be 3; the queues can hold two requests of 3.
    tables = make_tables(2, 3, queue_depth=1, working_bytes=1)
    assert tables.reserve(3).tolist() == [3, 3]
    pair = sequence((tables, Plan((0, 3)), 0, 0), (tables, Plan((0, 3)), 1, 0))
    assert pair.reserve.tolist() == [6, 6]
    run = run_event(pair)
    arrived, running = run.arrival[1][1], (run.start[1][0], run.end[1][0])
    # Request 1 has been received by stage 1 while that computes request 0: six tokens are there.
    assert running[0] <= arrived <= running[1]
    unbounded = sequence((replace(tables, queue_depth=None), Plan((0, 3)), 0, 0))
    assert unbounded.reserve.tolist() == [3, 3]


def test_tables_of_different_machines_are_refused() -> None:
    plan = Plan((0, 4))
    with pytest.raises(ValueError, match="request 1 is for another machine than request 0: capacity differ"):
        sequence((make_tables(2, 4), plan, 0, 0), (make_tables(2, 4, capacity=9), plan, 1, 0))
    with pytest.raises(ValueError, match="at least one request"):
        Schedule(())
    with pytest.raises(ValueError, match="2 chunks do not fit in 1 slots"):
        identical_requests(make_tables(2, 4), HALVES, 2, 1)


def test_an_infeasible_sequence_overfills_a_memory() -> None:
    tables = make_tables(2, 4, capacity=5)
    away = Plan((0, 4), (Home(1, 0, 0, 4),))
    with pytest.raises(ReplayError, match=r"memory 0 is \d+ B over its capacity"):
        run_event(sequence((tables, away, 0, 0), (tables, Plan((0, 4)), 1, 0)))


def test_one_request_is_the_plain_replay() -> None:
    rng = np.random.default_rng(3)
    seen = 0
    for size in [TINY_PAIR, MIDDLING] * 12:
        tables = random_tables(rng, size)
        plan = random_plan(tables, rng)
        if plan is None:
            continue
        seen += 1
        alone = sequence((tables, plan, 0, 0))
        assert schedule_violations(alone) == []
        assert np.array_equal(schedule_memory(alone), memory_use(tables, plan))
        lockstep = replay_lockstep(tables, plan)
        found = run_lockstep(alone)
        assert (found.latency, found.start.tolist()) == (lockstep.latency, lockstep.start.tolist())
        event, whole = run_event(alone), replay_event(tables, plan)
        assert event.completion == (whole.latency,)
        assert (event.start, event.memory) == (whole.start, whole.memory)
    assert seen >= 12


def test_feasible_sequences_neither_deadlock_nor_overfill() -> None:
    rng = np.random.default_rng(8)
    waited = overlapping = remote = 0
    for _ in range(60):
        tables = random_tables(rng, TINY_PAIR if rng.random() < 0.5 else MIDDLING)
        plans = [plan for plan in (random_plan(tables, rng) for _ in range(3)) if plan is not None]
        made = _packed(tables, plans, rng)
        if made is None:
            continue
        # The replay itself raises on deadlocks, overfull memories and times that do not add up.
        run = run_event(made)
        for k, points in enumerate(run.memory):
            assert max(held for _, held in points) <= tables.capacity[k]
        remote += any(request.plan.homes for request in made)
        waited += any(account.admission for account in run.accounts)
        pairs = zip(made.requests, made.requests[1:], strict=False)
        overlapping += any(b.slot <= a.last_slot for a, b in pairs)
    assert min(waited, overlapping, remote) >= 5, (waited, overlapping, remote)


def _packed(tables: Tables, plans: list[Plan], rng: np.random.Generator) -> Schedule | None:
    """Plans one after the other, each in the first slot that is feasible."""
    made: list[tuple[Tables, Plan, int, int]] = []
    for plan in plans:
        slot = made[-1][2] + made[-1][1].chunks if made else 0
        release = int(rng.integers(0, 500)) if rng.random() < 0.3 else 0
        for start in range(slot, slot + tables.stages):
            longer = [*made, (tables, plan, start, release)]
            if not schedule_violations(sequence(*longer)):
                made = longer
                break
    return sequence(*made) if len(made) > 1 else None
