"""The decode loop and the limit on the time between tokens: known answers; brute force is the judge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_tables
from oracle import brute_force, lockstep_price
from random_plans import random_plan
from random_tables import random_tables

from mocap_opt.flow_shop.chunk_lengths import within_limits
from mocap_opt.formulations import joint, joint_cpsat
from mocap_opt.instance import Instance, load_instance
from mocap_opt.replay import run
from mocap_opt.replay.accounting import ReplayError
from mocap_opt.replay.event import replay_event, run_event
from mocap_opt.replay.lockstep import replay_lockstep, run_lockstep
from mocap_opt.replay.steady_state import run_steady
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.requests import build_requests
from mocap_opt.schedule.schedule import Schedule, ScheduledRequest
from mocap_opt.schedule.verify import schedule_violations, violations
from mocap_opt.tables.cost_tables import Tables

SHIPPED = Path(__file__).parents[1] / "instances"


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


def looping(rng: np.random.Generator, count: int) -> Iterator[tuple[Tables, Plan]]:
    """Random instances of at least four stages with a loop, and a plan each."""
    for n in range(count):
        tables = replace(random_tables(rng, name=f"instance {n}"), loop=True)
        plan = random_plan(tables, rng)
        if plan is not None and plan.chunks > 2:
            yield tables, plan


def deadlocks(tables: Tables, plan: Plan) -> bool:
    try:
        replay_event(tables, plan)
    except ReplayError as error:
        return "deadlock" in str(error)
    return False


def test_a_loop_shorter_than_the_pipeline_by_two_deadlocks(monkeypatch: pytest.MonkeyPatch):
    cases = [*looping(np.random.default_rng(5), 30)]
    stuck = {}
    for less in (0, 1, 2):
        monkeypatch.setattr(run, "loop_length", lambda stages, less=less: stages - less)
        stuck[less] = 0
        for tables, plan in cases:
            stuck[less] += deadlocks(tables, plan)
    assert (stuck[0], stuck[1]) == (0, 0)
    assert stuck[2] > len(cases) / 8


def test_a_loop_counts_through_the_requests_of_a_stream():
    tables, plan = four_chunks([1, 3, 1, 3])
    whole = replace(tables, loop=True)
    both = Schedule((ScheduledRequest(whole, plan, 0), ScheduledRequest(whole, plan, 4)))
    replay = run_event(both)
    assert replay.start[0][5] == replay.end[1][3] == 13
    assert replay.completion[1] == run_lockstep(both).latency == 25
    free = Schedule((ScheduledRequest(tables, plan, 0), ScheduledRequest(tables, plan, 4)))
    assert run_event(free).latency == 19


def test_endless_requests_go_round_in_the_loop_too():
    tables, plan = four_chunks([1, 3, 1, 3])
    tables = replace(tables, queue_depth=2)
    periods = []
    for loop in (False, True):
        endless = Schedule.of(replace(tables, loop=loop), plan, 4)
        run_of_it = run_steady(endless)
        assert run_of_it.steady
        periods.append(run_of_it.period)
    assert periods == [8, 12]
    assert run_lockstep(endless).period == 12


def test_longer_chunks_break_the_limit_between_tokens():
    # One stage, Phi = x^2: [0,2) takes 4, [2,3) 5, [3,4) 7; [0,3) takes 9 and [2,4) 12.
    tables = make_tables(1, 4, linear=0, quadratic=1, constant=1)
    limited = replace(tables, between_tokens=8)
    broken = violations(limited, Plan((0, 3, 4)))
    assert [each.rule for each in broken] == ["between tokens"]
    assert "10 ticks" in str(broken[0])
    assert brute_force(tables, lockstep_price).value == 17
    for solve in (joint.solve_joint, joint_cpsat.solve_joint):
        found = solve(limited, None, time_limit_s=20.0, threads=1)
        assert (found.plan.boundaries, found.outcome.objective) == ((0, 2, 3, 4), 19)
        assert found.outcome.bound == 19


def test_limits_are_judged_for_one_partition_or_many():
    tables = replace(make_tables(1, 4, linear=0, quadratic=1, constant=1), between_tokens=8)
    many = np.array([[0, 2, 3, 4], [0, 1, 2, 4], [0, 1, 3, 4]])
    assert within_limits(tables, many).tolist() == [True, False, False]
    assert [bool(within_limits(tables, each)) for each in many] == [True, False, False]


def bubbles(instance: Instance, size: int | None) -> float:
    """Seconds that stages idle between first and last chunk; chunks of one size, or whole prompts."""
    slot, scheduled = 0, []
    for number, request in enumerate(build_requests(instance)):
        tokens = request.tables.tokens
        marks = (0, tokens) if size is None else (*range(0, tokens, size), tokens)
        scheduled.append(request.scheduled(Plan(marks), slot, number))
        slot += len(marks) - 1
    schedule = Schedule(tuple(scheduled))
    assert not schedule_violations(schedule)
    idle = [each.total - each.computing - each.before - each.after for each in run_event(schedule).accounts]
    return float(sum(idle) * schedule.machine.tick_s)


@pytest.mark.slow
def test_whole_prompts_leave_more_bubbles_than_chunks():
    # Published for SARATHI (arXiv 2308.16369): 6.29 times as many.
    instance = load_instance(SHIPPED / "streams" / "gpt3-175b-a100-loop.json")
    whole = bubbles(instance, None)
    ratios = [whole / bubbles(instance, size) for size in (512, 256)]
    assert np.allclose(ratios, [2.95, 6.45], atol=0.01)
