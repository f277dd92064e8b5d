"""Mean completion of a stream: bounds and searches against brute force, and the road of every objective."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from stream_oracle import all_homes, price, random_stream
from stream_oracle import schedules as all_schedules

import mocap_opt
from mocap_opt.bounds.mean_completion import mean_completion_bounds
from mocap_opt.errors import InputError
from mocap_opt.instance import Instance, load_instance
from mocap_opt.replay.event import run_event
from mocap_opt.replay.lockstep import run_lockstep
from mocap_opt.schedule.requests import Request
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.search.stream_enumeration import solve_exactly
from mocap_opt.solving.mean_completion import total_first

TINY = Path(__file__).parent.parent / "instances" / "tiny-slack.json"


def least_total(requests: tuple[Request, ...], order_given: bool) -> int | None:
    """Least sum of lockstep completions over every order, division, idle slot and home."""
    best: int | None = None
    for turns in all_schedules(requests, order_given):
        cost = price(turns)
        if best is not None and sum(cost([{} for _ in turns])) >= best:
            continue
        totals = [sum(cost(homes)) for homes in all_homes(turns, lambda _: True)]
        best = min([*totals, *([] if best is None else [best])], default=None)
    return best


def total_of(schedule: Schedule, event: bool) -> Fraction:
    completion = (run_event if event else run_lockstep)(schedule).completion
    return sum(map(Fraction, completion), Fraction(0))


def test_bounds_and_search_against_brute_force() -> None:
    rng = np.random.default_rng(7)
    tight = exact = 0
    for _ in range(12):
        requests, order_given = random_stream(rng)
        least = least_total(requests, order_given)
        found = solve_exactly(requests, order_given, ranked=total_first)
        assert (found is None) == (least is None)
        if found is None or least is None:
            continue
        released = sum(request.release for request in requests)
        lockstep, event = total_of(found, False), total_of(found, True)
        assert lockstep >= least
        home_only = not any(request.plan.homes for request in found)
        exact += lockstep == least
        assert lockstep == least or not home_only
        for bound in mean_completion_bounds(requests, order_given):
            assert bound.ticks <= min(least, event) - released, bound
            tight += bound.ticks * Fraction(11, 10) > min(least, event) - released
    assert exact
    assert tight


@pytest.fixture
def stream() -> Instance:
    requests = [{"tokens": 4}, {"tokens": 1}, {"tokens": 4, "release": 2e-5}]
    data = {**load_instance(TINY).to_dict(), "workload": {"requests": requests, "order": "free"}}
    return Instance.from_dict({**data, "objective": "mean-completion"})


def test_the_same_road_as_every_objective(stream: Instance) -> None:
    solution = mocap_opt.solve(stream, time_limit_s=1.0)
    report = solution.report
    assert report.objective == "mean-completion"
    assert report.mean_completion_s is not None
    assert report.lower_bound_s is not None
    assert report.lower_bound_s <= report.mean_completion_s
    assert report.gap == pytest.approx(1 - report.lower_bound_s / report.mean_completion_s)
    assert (report.mean_lower_bound_s, report.mean_gap) == (report.lower_bound_s, pytest.approx(report.gap))
    assert solution.schedule is not None
    again = mocap_opt.evaluate(stream, solution.schedule)
    assert again.report.mean_completion_s == report.mean_completion_s
    tables, bounds, impossible = mocap_opt.bound(stream)
    assert impossible is None
    assert max(tables.seconds(bound.ticks) for bound in bounds) <= report.lower_bound_s
    frame = mocap_opt.compare([stream], ["gpipe", "joint"], time_limit_s=1.0)
    assert frame["lower_bound_s"].nunique() == 1
    assert frame["mean_completion_s"][1] <= frame["mean_completion_s"][0]


def test_the_short_request_goes_first(stream: Instance) -> None:
    requests = {"requests": [{"tokens": 4}, {"tokens": 1}], "order": "free"}
    free = Instance.from_dict({**stream.to_dict(), "workload": requests})
    solution = mocap_opt.solve(free, time_limit_s=1.0)
    assert solution.schedule is not None
    assert solution.schedule.order == (1, 0)


def test_it_needs_requests() -> None:
    data = {**load_instance(TINY).to_dict(), "objective": "mean-completion"}
    with pytest.raises(InputError, match=r"workload\.requests"):
        Instance.from_dict(data)


def test_one_request_is_solved_as_a_prompt(stream: Instance) -> None:
    one = {"requests": [{"tokens": 4, "release": 1e-5}]}
    solution = mocap_opt.solve(Instance.from_dict({**stream.to_dict(), "workload": one}), time_limit_s=5.0)
    alone = mocap_opt.solve(load_instance(TINY))
    assert solution.report.mean_completion_s == alone.report.latency_s
    assert solution.report.gap == alone.report.gap
