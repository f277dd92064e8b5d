"""One schedule: what is folded into an interval is what a long stream does in its middle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import make_tables
from random_plans import random_plan
from random_tables import MIDDLING, random_tables

from mocap_opt.errors import InputError
from mocap_opt.replay.lockstep import run_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule, ScheduledRequest, overlay
from mocap_opt.schedule.verify import schedule_memory, schedule_violations


def test_rows_past_the_last_slot_come_again_in_front() -> None:
    rows = np.array([[1, 2, 3, 4, 5]])
    assert overlay([rows], [1], 3).tolist() == [[3, 5, 7]]
    assert overlay([rows, rows], [1, 0], 3, together=np.maximum).tolist() == [[4, 5, 5]]


def test_an_interval_is_the_middle_of_a_long_stream() -> None:
    rng = np.random.default_rng(6)
    seen = overlapping = 0
    for number in range(30):
        tables = random_tables(rng, MIDDLING, name=f"interval {number}")
        tables = replace(tables, queue_depth=tables.queue_depth or 2)
        plans = [plan for plan in (random_plan(tables, rng) for _ in range(2)) if plan is not None]
        if len(plans) < 2:
            continue
        first, second = plans
        gap = int(rng.integers(0, 3))
        pair = (ScheduledRequest(tables, first), ScheduledRequest(tables, second, first.chunks + gap))
        interval = first.chunks + gap + second.chunks + int(rng.integers(0, 3))
        turns = 2 * (tables.stages // interval + 3)
        endless = Schedule(pair, interval)
        stream = Schedule(tuple(replace(r, slot=r.slot + n * interval) for n in range(turns) for r in pair))
        middle = slice(interval * (turns // 2), interval * (turns // 2 + 1))
        # The reserve of endless requests has no cap, that of a stream has.
        held = schedule_memory(stream)[:, middle] - stream.reserve[:, None]
        assert np.array_equal(schedule_memory(endless) - endless.reserve[:, None], held), tables.name
        once, again = run_lockstep(endless), run_lockstep(stream)
        assert np.array_equal(once.work, again.work[middle]), tables.name
        assert np.array_equal(once.exchange, again.exchange[middle]), tables.name
        seen += 1
        overlapping += pair[1].last_slot >= interval
    assert min(seen, overlapping) >= 10


def test_requests_of_an_interval_leave_room_for_the_next_ones() -> None:
    tables = make_tables(2, 4, queue_depth=1)
    pair = (ScheduledRequest(tables, Plan((0, 2, 4))), ScheduledRequest(tables, Plan((0, 4)), 2))
    assert schedule_violations(Schedule(pair, 3)) == []
    assert [v.rule for v in schedule_violations(Schedule(pair, 2))] == ["slots"]


def test_endless_requests_need_bounded_queues() -> None:
    with pytest.raises(InputError, match=r"pipeline\.queue_depth: .* unbounded"):
        Schedule.of(make_tables(queue_depth=None), Plan((0, 4)), 4)
