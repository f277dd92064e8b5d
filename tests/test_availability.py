"""Availability: known answers, and that earlier never means later; brute force is the judge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from builders import make_tables
from oracle import lockstep_price, partitions, price_plan

from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.tables.cost_tables import Tables


def each_token(tables: Tables, ticks: int, first: bool = False) -> Tables:
    """Tokens that take so many ticks each; or all of them before any is there."""
    times = np.asarray(ticks * tables.grid)
    if first:
        times = np.where(tables.grid > 0, times[-1], 0)
    return replace(tables, available=times)


def best(tables: Tables) -> tuple[int, tuple[int, ...]]:
    """The least of all partitions' event-driven runs, which lockstep equals here, and the one that has it."""
    found = []
    for marks in partitions(tables):
        plan = Plan(marks)
        event, lockstep = replay_event(tables, plan).latency, replay_lockstep(tables, plan).latency
        assert price_plan(tables, plan, lockstep_price) == lockstep >= event
        found.append((event, marks))
    return min(found)


def test_two_stages_with_three_ticks_a_token():
    tables = make_tables(2, 8, max_chunks=8, linear=1, constant=2)
    assert best(each_token(tables, 3)) == (30, tuple(range(9)))
    assert best(each_token(tables, 3, first=True))[0] == 42


def test_three_stages_with_a_tick_a_token():
    tables = make_tables(3, 8, max_chunks=8, linear=3, constant=2)
    assert best(each_token(tables, 1)) == (50, (0, 2, 4, 6, 8))
    assert best(each_token(tables, 1, first=True))[0] == 56
