"""Intervals, memory and loads that pictures show, against hand arithmetic and the replays they come from."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_tables
from random_plans import random_plan
from random_tables import random_tables

import mocap_opt
from mocap_opt.instance import load_instance
from mocap_opt.pictures.run_view import view_run, view_schedule
from mocap_opt.replay.activity import Activity, event_activity, event_transfers, lockstep_activity
from mocap_opt.replay.evaluation import Execution, InfeasiblePlanError, assess_schedule
from mocap_opt.replay.event import replay_event, run_event
from mocap_opt.replay.lockstep import replay_lockstep, run_lockstep
from mocap_opt.replay.transfers import Kind
from mocap_opt.replay.usage import event_load, event_memory, lockstep_load, lockstep_memory
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.schedule import Schedule, identical_requests
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.tables.cost_tables import Tables

TINY = Path(__file__).resolve().parent.parent / "instances" / "tiny-slack.json"
# The worked example of formulations/replay.md: two messages share link 1>2 from 1 to 3.
EXAMPLE = make_tables(3, 3, linear=1, link_rate={"1>2": 1})
EXAMPLE_PLAN = Plan((0, 1, 3), (Home(0, 1, 2, 2), Home(1, 0, 2, 1)))


def random_cases(seed: int, count: int) -> list[tuple[Tables, Plan]]:
    """Random instances with feasible plans, KV heavy enough to be waited for."""
    rng = np.random.default_rng(seed)
    cases: list[tuple[Tables, Plan]] = []
    while len(cases) < count:
        tables = random_tables(rng)
        factor = int(rng.choice([1, 20]))
        tables = replace(
            tables,
            page_bytes=tables.page_bytes * factor,
            prefix_bytes=tables.prefix_bytes * factor,
            capacity=tables.capacity * factor,
            queue_depth=[1, 2, None][int(rng.integers(3))],
        )
        plan = random_plan(tables, rng)
        if plan is not None:
            cases.append((tables, plan))
    return cases


def test_intervals_of_the_worked_example():
    replay = replay_event(EXAMPLE, EXAMPLE_PLAN, log=True)
    found = [
        (i.stage, i.chunk, i.activity, i.start, i.end, i.cause)
        for i in event_activity(Schedule.of(EXAMPLE, EXAMPLE_PLAN), replay)
    ]
    assert found == [
        (0, 0, Activity.COMPUTE, 0, 1, ""),
        (0, 1, Activity.COMPUTE, 1, 3, ""),
        (0, 1, Activity.KV, 3, 4, "link 1>2"),
        (1, 0, Activity.COMPUTE, 1, 2, ""),
        (1, 0, Activity.KV, 2, 3, "link 1>2"),
        (1, 1, Activity.ACTIVATIONS, 3, 4, ""),
        (1, 1, Activity.COMPUTE, 4, 6, ""),
        (2, 0, Activity.ADMISSION, 3, 4, "stage 0"),
        (2, 0, Activity.COMPUTE, 4, 5, ""),
        (2, 1, Activity.ACTIVATIONS, 5, 6, ""),
        (2, 1, Activity.COMPUTE, 6, 8, ""),
    ]


def test_transfers_of_the_worked_example():
    # Stage 1 reads its first chunk's byte back while it runs its second, in no time on an ample link.
    replay = replay_event(EXAMPLE, EXAMPLE_PLAN, log=True)
    writes = [t for t in event_transfers(replay) if t.kind is Kind.WRITE]
    assert [(t.stage, t.chunk, t.start, t.end, t.size, t.memories) for t in writes] == [
        (0, 1, 1, 4, 2, (2,)),
        (1, 0, 1, 3, 1, (2,)),
    ]
    reads = [t for t in event_transfers(replay) if t.kind is Kind.READ]
    assert [(t.stage, t.chunk, t.start, t.size, t.memories) for t in reads] == [(1, 1, 4, 1, (2,))]


def test_load_and_memory_of_the_worked_example():
    replay = replay_event(EXAMPLE, EXAMPLE_PLAN, log=True)
    load = event_load(EXAMPLE, replay, [0, 1, 2, 4, 8])
    busy = load.link[EXAMPLE.links.index("1>2")]
    # Three bytes in three ticks at rate 1, from 1 to 4.
    assert busy == pytest.approx([0, 1, 1, 0])
    assert load.overall().link[EXAMPLE.links.index("1>2"), 0] == pytest.approx(3 / 8)
    history = event_memory(Schedule.of(EXAMPLE, EXAMPLE_PLAN), replay)
    at = [int(t) for t in history.time]
    # Memory 2: hosts 3 bytes from 1, 1 once stage 0 is through, none once stage 1 is; its own from 4.
    assert dict(zip(at, history.hosted[2].tolist(), strict=True)) == {0: 0, 1: 3, 4: 1, 6: 0, 8: 0}
    assert dict(zip(at, history.own[2].tolist(), strict=True)) == {0: 0, 1: 0, 4: 1, 6: 3, 8: 0}


def test_lockstep_intervals_by_hand():
    # Chunks of 1 and 2 tokens at 10 ticks a token on stage 0, 20 on stage 1; sends of 3 per token.
    tables = make_tables(2, 3, linear=[10, 20], activation_bytes=3, link_rate=1)
    plan = Plan((0, 1, 3))
    found = [
        (i.stage, i.chunk, i.activity, int(i.start), int(i.end), i.cause)
        for i in lockstep_activity(replay_lockstep(tables, plan))
    ]
    # Slot 0: 10 + 3.  Slot 1: 20 on both, then 6.  Slot 2: 40 on stage 1.
    assert found == [
        (0, 0, Activity.COMPUTE, 0, 10, ""),
        (0, 0, Activity.SEND, 10, 13, ""),
        (0, 1, Activity.COMPUTE, 13, 33, ""),
        (0, 1, Activity.SEND, 33, 39, ""),
        (1, 0, Activity.COMPUTE, 13, 33, ""),
        (1, 0, Activity.BARRIER, 33, 39, "send 0"),
        (1, 1, Activity.COMPUTE, 39, 79, ""),
    ]


def test_intervals_add_up_to_the_accounts_and_fill_the_slots():
    for tables, plan in random_cases(7, 25):
        replay = replay_event(tables, plan, log=True)
        spent: Counter[tuple[int, Activity]] = Counter()
        for interval in event_activity(Schedule.of(tables, plan), replay):
            assert interval.start < interval.end
            spent[interval.stage, interval.activity] += interval.end - interval.start
        for i, account in enumerate(replay.accounts):
            parts = (account.computing, account.kv_total, account.activations)
            assert (
                spent[i, Activity.COMPUTE],
                spent[i, Activity.KV],
                spent[i, Activity.ACTIVATIONS],
            ) == parts
            assert spent[i, Activity.QUEUE] == account.queue_room
            assert spent[i, Activity.ADMISSION] == account.admission
        slots = replay_lockstep(tables, plan)
        length: Counter[int] = Counter()
        for interval in lockstep_activity(slots):
            length[interval.stage] += interval.end - interval.start
        alive = slots.duration
        expected = [int(alive[i : i + plan.chunks].sum()) for i in range(tables.stages)]
        assert [length[i] for i in range(tables.stages)] == expected


def test_memory_histories_add_up_to_the_replays():
    for tables, plan in random_cases(8, 25):
        slots = replay_lockstep(tables, plan)
        assert np.array_equal(lockstep_memory(slots).total, slots.memory)
        replay = replay_event(tables, plan)
        history = event_memory(Schedule.of(tables, plan), replay)
        for k, points in enumerate(replay.memory):
            held = dict(zip(history.time, history.total[k].tolist(), strict=True))
            assert [held[time] for time, _ in points] == [size for _, size in points]
            assert history.peak[k] == max(size for _, size in points)


def test_loads_add_up_to_the_bytes_of_the_replays():
    for tables, plan in random_cases(9, 15):
        replay = replay_event(tables, plan, log=True)
        end = float(replay.latency)
        whole = event_load(tables, replay, np.linspace(0, end, 7)).overall()
        link = [
            float(b) / rate / end
            for b, rate in zip(replay.link_bytes, tables.link_rate.tolist(), strict=True)
        ]
        port = [b / rate / end for b, rate in zip(replay.port_bytes, tables.port_rate.tolist(), strict=True)]
        assert whole.link[:, 0] == pytest.approx(link)
        assert whole.port[:, 0] == pytest.approx(port)
        slots = lockstep_load(replay_lockstep(tables, plan))
        assert slots.link.max(initial=0) <= 1 + 1e-9
        assert slots.port.max() <= 1 + 1e-9


def random_schedules(seed: int, count: int) -> list[Schedule]:
    """Feasible schedules of two or three requests, close enough to share the wafer, some released late."""
    rng = np.random.default_rng(seed)
    found: list[Schedule] = []
    for tables, plan in random_cases(seed, 4 * count):
        spacing = plan.chunks + int(rng.integers(0, tables.stages))
        schedule = identical_requests(tables, plan, int(rng.integers(2, 4)), spacing)
        late = replace(schedule.requests[-1], release=int(rng.integers(0, 50)))
        schedule = Schedule((*schedule.requests[:-1], late))
        if not schedule_violations(schedule):
            found.append(schedule)
    assert len(found) >= count
    return found


def solved_stream() -> Schedule:
    """Requests of unlike lengths, prefixes and chunks."""
    data = load_instance(TINY).replace("pipeline.queue_depth=2").to_dict()
    requests = [{"tokens": 4, "prefix": 2}, {"tokens": 3, "release": 3e-5}, {"tokens": 2}]
    found = mocap_opt.solve({**data, "workload": {"requests": requests}}, "gpipe").schedule
    assert found is not None
    return found


def test_histories_and_intervals_of_several_requests_add_up_to_the_replays() -> None:
    for schedule in [*random_schedules(10, 8), solved_stream()]:
        add_up_to_the_replays(schedule)


def add_up_to_the_replays(schedule: Schedule) -> None:
    slots, replay = run_lockstep(schedule), run_event(schedule, log=True)
    assert np.array_equal(lockstep_memory(slots).total, slots.memory)
    history = event_memory(schedule, replay)
    for k, points in enumerate(replay.memory):
        held = dict(zip(history.time, history.total[k].tolist(), strict=True))
        assert [held[time] for time, _ in points] == [size for _, size in points]
    views = [view_schedule(schedule, execution) for execution in (Execution.LOCKSTEP, Execution.EVENT)]
    for view, whole in zip(views, (slots.latency, replay.latency), strict=True):
        assert max(interval.end for interval in view.intervals) == view.latency == whole
        done = {(i.stage, i.chunk) for i in view.intervals if i.activity is Activity.COMPUTE}
        assert done == set(np.ndindex(schedule.stages, len(view.chunks)))
    spent: Counter[tuple[int, Activity]] = Counter()
    for interval in views[1].intervals:
        spent[interval.stage, interval.activity] += interval.end - interval.start
    for i, account in enumerate(replay.accounts):
        assert spent[i, Activity.COMPUTE] == account.computing
        assert spent[i, Activity.ACTIVATIONS] == account.activations
        assert spent[i, Activity.ADMISSION] == account.admission
    chunks = iter(view.chunks)
    for n, request in enumerate(schedule):
        own = [next(chunks) for _ in range(request.plan.chunks)]
        assert own == [(n, j) for j in range(request.plan.chunks)]
    for interval in views[0].intervals:
        n, j = view.chunks[interval.chunk]
        slot = schedule.requests[n].slot + interval.stage + j
        assert slots.start[slot] <= interval.start < interval.end
        assert interval.end <= slots.start[slot] + slots.duration[slot]


def test_a_period_is_shown_by_the_requests_that_are_on_the_wafer_at_once_and_two_more() -> None:
    tables = make_tables(3, 4, linear=10, activation_bytes=1, link_rate=1, queue_depth=2)
    period = Schedule.of(tables, Plan((0, 2, 4)), 2)
    view = view_schedule(period, Execution.LOCKSTEP)
    # Two chunks on three stages are four slots, two intervals.
    assert [request.slot for request in view.schedule] == [0, 2, 4, 6]
    assert view.endless
    assert view.period == run_lockstep(period).period
    # Where as many requests as ever are there, one follows the other at the period.
    assert view.completion[2] - view.completion[1] == view.period
    assert view_schedule(period).period == assess_schedule(period).period


def test_the_faster_execution_is_shown_unless_one_is_asked_for():
    view = view_run(EXAMPLE, EXAMPLE_PLAN)
    slots = replay_lockstep(EXAMPLE, EXAMPLE_PLAN)
    assert view.latency == min(slots.latency, 8)
    assert view_run(EXAMPLE, EXAMPLE_PLAN, Execution.EVENT).latency == 8
    assert view_run(EXAMPLE, EXAMPLE_PLAN, Execution.LOCKSTEP).latency == slots.latency


def test_a_broken_plan_and_an_unrecorded_run_are_refused():
    with pytest.raises(InfeasiblePlanError, match="2 B short"):
        view_run(make_tables(capacity=2), Plan((0, 4)))
    replay = replay_event(EXAMPLE, EXAMPLE_PLAN)
    with pytest.raises(ValueError, match="log=True"):
        event_transfers(replay)
    with pytest.raises(ValueError, match="log=True"):
        event_load(EXAMPLE, replay, [0, 8])
