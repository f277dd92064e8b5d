"""Requests so far apart that no two share a slot: each is timed and placed as one prompt alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_plans import random_plan
from random_tables import random_tables

from mocap_opt.replay.lockstep import replay_lockstep, run_lockstep
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import schedule_memory, schedule_violations


@pytest.mark.parametrize("count", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_an_interval_longer_than_the_request_gives_its_latency_and_its_memory(count: int) -> None:
    rng = np.random.default_rng(31)
    compared = feasible = 0
    while compared < count:
        tables = random_tables(rng, name=f"instance {compared}")
        if tables.queue_depth is None:
            tables = replace(tables, queue_depth=1)
        plan = random_plan(tables, rng)
        if plan is None:
            continue
        compared += 1
        alone = replay_lockstep(tables, plan)
        for interval in range(plan.chunks + tables.stages - 1, plan.chunks + tables.stages + 2):
            apart = Schedule.of(tables, plan, interval)
            priced = run_lockstep(apart)
            assert (priced.period, priced.latency) == (alone.latency, alone.latency), tables.name
            # The one difference: queues of endless requests are not capped at one request's tokens.
            longest = tables.reserve(plan.longest, endless=True) - tables.reserve(plan.longest)
            slots = plan.chunks + tables.stages - 1
            together = schedule_memory(apart)[:, :slots]
            one = schedule_memory(Schedule.of(tables, plan))
            assert np.array_equal(together, one + longest[:, None]), tables.name
            if not longest.any():
                assert schedule_violations(apart) == []
                feasible += 1
    assert feasible >= count
