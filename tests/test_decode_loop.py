"""The decode loop and the limit on the time between tokens: known answers; brute force is the judge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import make_tables

from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.tables.cost_tables import Tables


def four_chunks(times: list[int]) -> tuple[Tables, Plan]:
    """Four chunks of a token on two stages, with times of their own."""
    tables = make_tables(2, 4, linear=0)
    phi = np.concatenate([[0], np.cumsum(times)])
    return replace(tables, phi=np.stack([phi, phi])), Plan((0, 1, 2, 3, 4))


@pytest.mark.parametrize(("times", "free", "in_loop"), [([1, 3, 1, 3], 11, 13), ([2, 2, 2, 2], 10, 10)])
def test_a_loop_keeps_stages_in_step(times: list[int], free: int, in_loop: int):
    tables, plan = four_chunks(times)
    looped = replace(tables, loop=True)
    assert replay_event(tables, plan).latency == free
    assert replay_event(looped, plan).latency == in_loop
    assert replay_lockstep(tables, plan).latency == replay_lockstep(looped, plan).latency == in_loop
