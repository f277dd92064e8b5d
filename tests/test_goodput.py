"""Goodput: brute force against the exact search and the bounds, known cases, rules, every road."""

from __future__ import annotations

import json
from itertools import permutations, product

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pipelines_oracle import TooManyHomesError, random_requests, with_limits
from pipelines_oracle import most_weight as most_by_brute_force

import mocap_opt
from mocap_opt.bounds.admission import (
    FINENESS,
    Interval,
    Windows,
    most_accepted,
    proved,
    rejected_weight_bounds,
)
from mocap_opt.bounds.makespan import least_times
from mocap_opt.cli.main import cli
from mocap_opt.instance import load_instance
from mocap_opt.replay.event import run_event
from mocap_opt.replay.lockstep import run_lockstep
from mocap_opt.schedule.assignment import assignment_violations
from mocap_opt.search.assignment_enumeration import all_schedules, most_weight

MOST = 300
"""Schedules of all subsets up to which the slow oracle is asked."""

HOMES = 4000
"""Choices of homes that it may look at; a case with more is passed over."""


def compare_with_brute_force(seed: int) -> bool | None:
    """Exact search and bounds against brute force; whether a bound was reached, None: too large."""
    rng = np.random.default_rng(seed)
    requests, order_given, pipelines = random_requests(rng)
    if all_schedules(requests, order_given) > MOST:
        return None
    requests = with_limits(requests, rng)
    needs = least_times(requests)
    if needs is None:
        return False
    total = sum(request.weight for request in requests)
    try:
        best = most_by_brute_force(requests, pipelines, order_given, HOMES)
    except TooManyHomesError:
        return None
    for bound in rejected_weight_bounds(requests, needs, pipelines):
        assert best <= total - bound.ticks, bound
    found = most_weight(requests, pipelines, order_given)
    asked = {"requests": len(requests), "pipelines": pipelines, "all_run": False, "order_given": order_given}
    assert assignment_violations(found, **asked) == []
    kept = sum(requests[request.number].weight for _, request in found)
    for run in (run_lockstep, run_event):
        in_time = [
            requests[each.number].weight
            for stream in found.streams
            for each, end in zip(stream, run(stream).completion, strict=True)
            if end <= requests[each.number].due
        ]
        assert run is run_event or sum(in_time) == kept
        for bound in rejected_weight_bounds(requests, needs, pipelines):
            assert sum(in_time) <= total - bound.ticks
    # Where homes are needed the exact search takes those of least makespan, and may miss a request.
    at_home = not any(request.plan.homes for _, request in found)
    assert kept == best if at_home and _ample(requests) else kept <= best
    return any(total - bound.ticks == best for bound in rejected_weight_bounds(requests, needs, pipelines))


def _ample(requests) -> bool:
    """Whether all KV fits at home whatever the schedule."""
    tables = requests[0].tables
    held = sum(
        r.tables.page_bytes * r.tables.pages[-1] + r.tables.working_bytes * r.tables.tokens for r in requests
    )
    prefix = sum(r.tables.prefix_bytes for r in requests)
    return bool((tables.capacity - tables.static - tables.staging >= held + prefix).all())


def test_exact_search_and_bounds_agree_with_brute_force() -> None:
    assert sum(bool(compare_with_brute_force(seed)) for seed in range(24)) >= 3


@pytest.mark.slow
def test_exact_search_and_bounds_agree_with_brute_force_300_times() -> None:
    answers = [compare_with_brute_force(1000 + seed) for seed in range(700)]
    assert sum(answer is not None for answer in answers) >= 300
    assert sum(bool(answer) for answer in answers) >= 100


def windows(jobs: list[tuple[int, int, int]]) -> Windows:
    start, end, work = (np.array(each, dtype=np.int64) for each in zip(*jobs, strict=True))
    return Windows(start, end, work)


def test_known_price() -> None:
    """Works 2 3 4 due at 4 5 6: two accepted; 1/4 on [0, 6] proves 6/4 + (1/2 + 1/4 + 0) = 2.25, so 2."""
    stage = windows([(0, 4, 2), (0, 5, 3), (0, 6, 4)])
    price = {Interval(0, 0, 6): FINENESS // 4}
    whole = sum(price.values()) * 6 + sum(max(0, FINENESS - FINENESS // 4 * work) for work in (2, 3, 4))
    assert whole == FINENESS * 9 // 4
    assert proved([stage], [1, 1, 1], 1, price) == 2
    assert most_accepted([stage], [1, 1, 1], 1)[0] == 2
    assert proved([stage], [2, 2, 2], 1, price) == 4  # 9/2 - 1/4 x ... rounded down to an even weight


jobs_lists = st.lists(
    st.tuples(st.integers(0, 6), st.integers(1, 9), st.integers(1, 5)).map(
        lambda j: (j[0], j[0] + j[1], j[2])
    ),
    min_size=1,
    max_size=5,
)


@given(jobs_lists, st.integers(1, 2), st.data())
def test_any_multipliers_prove(jobs: list[tuple[int, int, int]], machines: int, data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(1, 3), min_size=len(jobs), max_size=len(jobs)))
    points = sorted({t for start, end, _ in jobs for t in (start, end)})
    intervals = [Interval(0, a, b) for a, b in product(points, points) if a < b]
    drawn = data.draw(
        st.lists(st.tuples(st.sampled_from(intervals), st.integers(0, 2 * FINENESS)), max_size=3)
    )
    best = _most(jobs, weights, machines)
    assert best <= proved([windows(jobs)], weights, machines, dict(drawn))
    assert best <= most_accepted([windows(jobs)], weights, machines)[0]


def _most(jobs: list[tuple[int, int, int]], weights: list[int], machines: int) -> int:
    """All assignments and orders of jobs that must start at or after their start and end by their end."""

    def fits(own: list[tuple[int, int, int]]) -> bool:
        for order in permutations(own):
            now, late = 0, False
            for start, end, work in order:
                now = max(now, start) + work
                late |= now > end
            if not late:
                return True
        return False

    best = 0
    for chosen in product(range(machines + 1), repeat=len(jobs)):
        weight = sum(w for w, p in zip(weights, chosen, strict=True) if p < machines)
        if weight > best and all(
            fits([job for job, at in zip(jobs, chosen, strict=True) if at == p]) for p in range(machines)
        ):
            best = weight
    return best


def instance(pipelines: int = 1) -> dict[str, object]:
    data = load_instance("instances/tiny-slack.json").replace("pipeline.queue_depth=2").to_dict()
    rows = ((4, 8, 0), (1, 4, 3), (3, 9, 5), (2, 7, 9), (2, 8, 0))
    requests = [{"tokens": t, "slo": d * 1e-5, "release": r * 1e-6} for t, d, r in rows]
    workload = {"requests": requests, "pipelines": pipelines, "order": "free"}
    return {**data, "workload": workload, "objective": "goodput"}


@pytest.mark.parametrize("pipelines", [1, 2])
def test_solved_by_every_road(pipelines: int) -> None:
    told: list[mocap_opt.solving.Progress] = []
    solution = mocap_opt.solve(instance(pipelines), time_limit_s=2, callback=told.append)
    report = solution.report
    assert f"{report.goodput} of 5 in time" in str([each.doing for each in told if each.doing][-1])
    late = [
        row
        for row in report.completions
        if row["completion_s"] > instance()["workload"]["requests"][row["request"]]["slo"]
    ]
    assert report.goodput == len(report.completions) - len(late)
    assert report.goodput <= report.upper_bound
    assert report.gap == pytest.approx(1 - report.goodput / report.upper_bound)
    again = mocap_opt.evaluate(instance(pipelines), solution.assignment).report
    assert (again.goodput, again.violations) == (report.goodput, [])


def test_rules_are_no_better_and_one_set_of_bounds_judges_all() -> None:
    methods = ("late-rejection", "early-rejection", "predicted-rejection", "joint")
    answers = [
        answer.report for answer in mocap_opt.solving.solve_with_each(instance(), methods, time_limit_s=2)
    ]
    values = [report.goodput for report in answers]
    assert max(values) == values[-1]
    slo = [request["slo"] for request in instance()["workload"]["requests"]]
    for report in answers:
        in_time = [row["completion_s"] <= slo[row["request"]] for row in report.completions]
        assert report.goodput == sum(in_time)
    assert len(answers[0].completions) == len(slo) > values[0]  # late ones ran for nothing
    assert len({report.upper_bound for report in answers}) == 1


def test_a_plan_file_with_rejected_requests_is_read_again(tmp_path) -> None:
    file, plan = tmp_path / "instance.json", tmp_path / "plan.json"
    file.write_text(json.dumps(instance(2)))
    run = CliRunner().invoke
    assert run(cli, ["solve", str(file), "--time-limit", "1", "--out", str(plan), "--json"]).exit_code == 0
    judged = json.loads(run(cli, ["evaluate", str(file), str(plan), "--json"]).output)
    assert judged["violations"] == []
    assert judged["goodput"] >= 4
    shown = run(cli, ["evaluate", str(file), str(plan)]).output
    assert "upper bound" in shown
    listed = json.loads(run(cli, ["bound", str(file), "--json"]).output)
    assert listed["bounds"][-1]["upper_bound"] == judged["upper_bound"]
    broken = json.loads(plan.read_text())
    broken["pipelines"][0] = [*broken["pipelines"][0], {**broken["pipelines"][0][0]}]
    plan.write_text(json.dumps(broken))
    again = run(cli, ["evaluate", str(file), str(plan)])
    assert "each request once" in str(again.exception) + again.output
