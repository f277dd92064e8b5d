"""Several pipelines: brute force against the exact search and the bounds, known cases, files, refusals."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipelines_oracle import TooManyHomesError, random_requests
from pipelines_oracle import least_makespan as least_by_brute_force

import mocap_opt
from mocap_opt.bounds.makespan import LeastTimes
from mocap_opt.bounds.pipeline_crossing import least_end, least_longest_crossing
from mocap_opt.bounds.pipelines import pigeonhole, pipelines_makespan_bounds, shared_work
from mocap_opt.errors import InputError
from mocap_opt.flow_shop.partitions import divisions
from mocap_opt.instance import load_instance
from mocap_opt.replay.event import run_event
from mocap_opt.replay.lockstep import run_lockstep
from mocap_opt.schedule.assignment import assignment_violations
from mocap_opt.schedule.requests import build_requests
from mocap_opt.search.assignment_enumeration import all_schedules, least_makespan

MOST = 1200
"""Schedules of all subsets up to which the slow oracle is asked."""

HOMES = 4000
"""Choices of homes that it may look at; a case with more is passed over."""


def compare_with_brute_force(seed: int) -> bool | None:
    """Exact search, bounds and replays against brute force: whether a bound came near; None: too large."""
    rng = np.random.default_rng(seed)
    requests, order_given, pipelines = random_requests(rng)
    if all_schedules(requests, order_given) > MOST:
        return None
    bounds = pipelines_makespan_bounds(requests, pipelines, order_given)
    try:
        best = least_by_brute_force(requests, pipelines, order_given, HOMES)
    except TooManyHomesError:
        return None
    found = least_makespan(requests, pipelines, order_given)
    if best is None:
        assert found is None
        return False
    assert found is not None
    asked = {"requests": len(requests), "pipelines": pipelines, "all_run": True, "order_given": order_given}
    assert assignment_violations(found, **asked) == []
    assert max(run_lockstep(stream).latency for stream in found.streams) == best
    event = max(run_event(stream).latency for stream in found.streams)
    for bound in bounds:
        assert bound.ticks <= min(best, event), bound
    return any(1.1 * bound.ticks > best for bound in bounds)


def test_exact_search_and_bounds_agree_with_brute_force() -> None:
    assert sum(bool(compare_with_brute_force(seed)) for seed in range(8)) >= 3


@pytest.mark.slow
def test_exact_search_and_bounds_agree_with_brute_force_300_times() -> None:
    answers = [compare_with_brute_force(1000 + seed) for seed in range(420)]
    assert sum(answer is not None for answer in answers) >= 300
    assert sum(bool(answer) for answer in answers) >= 100


def jobs(work: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    none = np.zeros(len(work), dtype=np.int64)
    return none, np.array(work, dtype=np.int64), none


def test_known_works_on_two_machines() -> None:
    """Works 3 3 2 2 2: 6 (3 + 3 against 2 + 2 + 2), where longest first takes 3 + 2 + 2."""
    assert shared_work(*jobs([3, 3, 2, 2, 2]), 2) == (6, 5)
    assert pigeonhole(*jobs([3, 3, 2, 2, 2]), 2) == (6, 3)
    assert pigeonhole(*jobs([5, 5, 5]), 2) == (10, 2)
    assert pigeonhole(*jobs([5, 5]), 2) == (0, 0)


job_lists = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5
)


@given(job_lists, st.integers(1, 3))
def test_bounds_of_jobs_are_never_beaten(given_jobs: list[tuple[int, int, int]], machines: int) -> None:
    """All assignments; on a machine jobs run by release, and no order ends its work sooner than Jackson's."""
    start, work, tail = (np.array(each, dtype=np.int64) for each in zip(*given_jobs, strict=True))
    least = min(
        max(
            _least_end([job for job, at in zip(given_jobs, chosen, strict=True) if at == p])
            for p in range(machines)
        )
        for chosen in product(range(machines), repeat=len(given_jobs))
    )
    assert shared_work(start, work, tail, machines)[0] <= least
    assert pigeonhole(start, work, tail, machines)[0] <= least


def test_known_paths_on_two_pipelines() -> None:
    """Two requests of path 10 and crossing 3: (20 + 3 + 3) / 2 = 13 = 10 + 3, one on each."""
    requests = build_requests(mocap_opt.Instance.from_dict(instance([1, 1], 2)))
    none, one = np.zeros(requests[0].tables.stages, dtype=np.int64), np.ones(1, dtype=np.int64)
    needs = [LeastTimes(none, none, none, 10 * one, 3 * one, 0)] * 2
    bounds = pipelines_makespan_bounds(requests, 2, order_given=False, needs=needs)
    assert {bound.name: bound.ticks for bound in bounds}["shared_path"] == 13


def test_known_crossings_on_two_machines() -> None:
    """Paths 6 6 2 2, crossings 3 3 1 1: by 10 the long ones need both, (16 + 3 + 3) / 2 = 11 = 6 + 2 + 3."""
    assert least_end(np.array([6, 6, 2, 2]), np.array([3, 3, 1, 1]), 2) == 11
    assert least_end(np.array([4, 4]), np.array([0, 0]), 2) == 4
    assert least_end(np.array([5, 4]), np.array([0, 0]), 2) == 4  # 4.5, rounded down
    assert least_end(np.array([3]), np.array([2]), 2) == 3  # (3 + 2 x 2) / 2: one job alone is another bound


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5), st.integers(1, 3))
def test_paths_and_the_largest_crossing_of_a_machine(
    given_jobs: list[tuple[int, int]], machines: int
) -> None:
    ends = []
    for chosen in product(range(machines), repeat=len(given_jobs)):
        own = [[job for job, at in zip(given_jobs, chosen, strict=True) if at == p] for p in range(machines)]
        ends.append(max(sum(path for path, _ in each) + max(c for _, c in each) for each in own if each))
    path, crossing = (np.array(each, dtype=np.int64) for each in zip(*given_jobs, strict=True))
    assert max(path + crossing) // machines <= least_end(path, crossing, machines) <= min(ends)


def test_longest_crossing_by_all_divisions() -> None:
    tables = build_requests(mocap_opt.Instance.from_dict(instance([4], 2)))[0].tables
    stages = np.arange(1, tables.stages)[:, None]
    longest = [int(tables.tau(stages, cut[:-1], cut[1:]).sum(axis=0).max()) for cut in divisions(tables)]
    assert least_longest_crossing(tables) == min(longest) > 0


def _least_end(own: list[tuple[int, int, int]]) -> int:
    from itertools import permutations  # noqa: PLC0415 - used here alone

    def end(order: tuple[tuple[int, int, int], ...]) -> int:
        now = latest = 0
        for start, work, tail in order:
            now = max(now, start) + work
            latest = max(latest, now + tail)
        return latest

    return min(map(end, permutations(own)), default=0)


def instance(work: list[int], pipelines: int, **more: object) -> dict[str, object]:
    """One-chunk requests on two stages of tiny-slack, a token 10 us."""
    data = load_instance("instances/tiny-slack.json").replace("pipeline.queue_depth=2").to_dict()
    requests = [{"tokens": tokens} for tokens in work]
    return {**data, "workload": {"requests": requests, "pipelines": pipelines, "order": "free", **more}}


def test_solved_by_every_road() -> None:
    solution = mocap_opt.solve(instance([3, 3, 2, 2, 2], 2), time_limit_s=2)
    report = solution.report
    assert report.objective == "stream"
    assert 0 <= report.gap < 0.2
    assert {row["pipeline"] for row in report.completions} == {0, 1}
    assert report.makespan_s == pytest.approx(max(row["end_s"] for row in report.pipelines))
    again = mocap_opt.evaluate(instance([3, 3, 2, 2, 2], 2), solution.assignment)
    assert again.report.makespan_s == report.makespan_s
    assert again.report.violations == []


def test_one_pipeline_more_is_never_worse() -> None:
    values = [
        mocap_opt.solve(instance([2, 1, 1], pipelines), time_limit_s=2).report.lockstep_makespan_s
        for pipelines in (1, 2, 3)
    ]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"objective": "mean-completion"}, "workload.pipelines"),
        ({"workload": {"tokens": 4, "pipelines": 2}}, "workload.pipelines"),
        ({"workload": {"tokens": 4, "pipelines": 2}, "objective": "period"}, "workload.pipelines"),
        ({"workload": {"requests": [{"tokens": 4, "slo": 1.0}]}}, "workload.requests[0].slo"),
        ({"workload": {"requests": [{"tokens": 4, "weight": 2}]}}, "workload.requests[0].weight"),
        ({"workload": {"requests": [{"tokens": 4}]}, "objective": "goodput"}, "workload.requests[0].slo"),
    ],
)
def test_refused(changes: dict[str, object], place: str) -> None:
    with pytest.raises(InputError) as error:
        mocap_opt.solve({**instance([2, 1], 2), **changes})
    assert place in [problem.path for problem in error.value.problems]


def test_an_instance_without_the_new_fields_keeps_its_fingerprint() -> None:
    data = instance([2, 1], 2)
    plain = {**data, "workload": {"requests": [{"tokens": 2}, {"tokens": 1}]}}
    written = {**data, "workload": {"requests": [{"tokens": 2, "weight": 1}, {"tokens": 1}], "pipelines": 1}}
    one, other = (mocap_opt.Instance.from_dict(json.loads(json.dumps(each))) for each in (plain, written))
    assert one.fingerprint == other.fingerprint
    assert one.fingerprint != mocap_opt.Instance.from_dict(data).fingerprint
