"""Availability: known answers, and that earlier never means later; brute force is the judge."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from builders import make_tables
from contention_free_oracle import contention_free_latency
from oracle import brute_force, least_price, lockstep_price, partitions, price_plan
from random_tables import TINY_PAIR, random_tables
from random_timing import with_availability
from toy_instances import toy

from mocap_opt import max_length, solve
from mocap_opt.bounds import Scope
from mocap_opt.bounds.availability import availability, last_chunk
from mocap_opt.errors import InputError
from mocap_opt.instance import Instance
from mocap_opt.instance.availability import EncodedItems, available_at
from mocap_opt.questions.max_context.instance_family import shorten
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.tables_file import tables_from_dict, tables_to_dict


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


@pytest.mark.parametrize(("stages", "linear", "pace"), [(2, 1, 3), (3, 3, 1)])
@pytest.mark.parametrize("first", [False, True])
def test_the_bound_is_what_known_cases_take(stages: int, linear: int, pace: int, first: bool):
    tables = each_token(make_tables(stages, 8, max_chunks=8, linear=linear, constant=2), pace, first)
    bound = availability(tables)
    assert bound.ticks == best(tables)[0]
    coarse = last_chunk(tables, tables.available)
    assert coarse == 8 * pace + stages * (linear + 2)


@pytest.mark.parametrize("seed", range(4))
def test_like_stages_follow_the_formula(seed: int):
    rng = np.random.default_rng(seed)
    stages = int(rng.integers(2, 5))
    tables = make_tables(stages, 7, max_chunks=7, linear=int(rng.integers(1, 5)), quadratic=1, constant=3)
    tables = with_availability(rng, tables)
    for marks in partitions(tables):
        cuts = np.array(marks)
        times = tables.tau(0, cuts[:-1], cuts[1:])
        rest = [times[j:].sum() + (stages - 1) * times[j:].max() for j in range(times.size)]
        expected = max(tables.available[cuts[1:]] + rest)
        assert replay_event(tables, Plan(marks)).latency == expected


@pytest.mark.parametrize("count", [25, pytest.param(300, marks=pytest.mark.slow)])
def test_earlier_availability_never_worsens_an_optimum(count: int):
    rng = np.random.default_rng(count)
    better = 0
    for n in range(count):
        late = with_availability(rng, random_tables(rng, TINY_PAIR, f"tiny {n}"))
        shifts = np.concatenate([[0], rng.integers(0, 8, late.steps)])
        early = replace(late, available=np.minimum.accumulate(late.available[::-1])[::-1] // 2)
        moved = replace(late, available=np.maximum.accumulate(np.maximum(late.available - shifts, 0)))
        for price in (lockstep_price, contention_free_latency):
            optima = [
                brute_force(each, price) for each in (late, early, moved, replace(late, available=None))
            ]
            if optima[0] is not None:
                values = [each.value for each in optima]
                assert values[0] >= max(values[1], values[2])
                assert min(values[1], values[2]) >= values[3]
                better += values[0] > values[1] > values[3]
    assert better > count / 8


def test_curves_and_items():
    assert available_at(((0, 1.0), (4, 3.0)), [0, 1, 2, 4, 9]) == [0, 1.5, 2, 3, 3]
    assert available_at(((5, 2.0),), [0, 1, 5, 6]) == [0, 2, 2, 2]
    items = EncodedItems(starts=(0, 3, 6, 9), seconds=0.5, workers=2, cached=(1,))
    # Encoded: those at 0, 6 and 9; the third of them in the second round.
    assert available_at(items, [0, 1, 3, 4, 6, 7, 9, 10]) == [0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 1]


WRONG = {
    "workload.available[1][0]": {"workload": {"available": [[0, 0], [0, 1]]}},
    "workload.available[1][1]": {"workload": {"available": [[0, 2], [4, 1]]}},
    "workload.available": {"workload": {"available": []}},
    "workload.available[0][1]": {"workload": {"available": [[0, "ten"]]}},
    "workload.available.starts": {"workload": {"available": {"starts": [4, 0], "seconds": 1}}},
    "workload.available.cached": {"workload": {"available": {"starts": [0, 4], "seconds": 1, "cached": [2]}}},
    "workload.available.seconds": {"workload": {"available": {"starts": [0]}}},
}


@pytest.mark.parametrize("path", WRONG)
def test_what_is_wrong_is_named(path: str):
    with pytest.raises(InputError) as error:
        toy(**WRONG[path])
    assert [problem.path for problem in error.value.problems] == [path]


REFUSED = {
    "period": ("workload.available", {"objective": "period", "workload": {"available": [[0, 1]]}}),
    "stream": ("workload.available", {"workload": {"requests": [{"tokens": 10}], "available": [[0, 1]]}}),
    "layers": ("workload.available", {"pipeline": {"layers": "auto"}, "workload": {"available": [[0, 1]]}}),
    "loop with layers": ("decode", {"pipeline": {"layers": "auto"}, "decode": {}}),
    "limit of a period": ("decode.between_tokens", {"objective": "period", "decode": {"between_tokens": 1}}),
    "limit of a stream": (
        "decode.between_tokens",
        {"workload": {"requests": [{"tokens": 10}]}, "decode": {"between_tokens": 1}},
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_refused(case: str):
    path, changes = REFUSED[case]
    with pytest.raises(InputError) as error:
        toy(**changes)
    assert path in [problem.path for problem in error.value.problems]


def test_fields_reach_the_tables_and_their_file():
    plain = toy()
    timed = toy(
        workload={"available": {"starts": [0, 5], "seconds": "100 ns"}}, decode={"between_tokens": "5 us"}
    )
    tables = build_tables(timed)
    assert tables.available.tolist() == [0, 100, 200, 200]
    assert (tables.loop, tables.between_tokens) == (True, 5000)
    again = tables_from_dict(json.loads(json.dumps(tables_to_dict(tables))))
    assert np.array_equal(again.available, tables.available)
    assert (again.loop, again.between_tokens) == (True, 5000)
    assert Instance.from_dict(timed.to_dict()).fingerprint == timed.fingerprint != plain.fingerprint
    # Without the fields nothing is written: files, fingerprints and tables are those of before.
    fields = tables_to_dict(build_tables(plain))["fields"]
    assert not {"available", "loop", "between_tokens"} & set(fields)
    assert plain.fingerprint == "c35a713729cd5233"


def test_tables_of_shorter_prompts_keep_what_exists_when():
    timed = {"workload": {"tokens": 16, "available": [[0, 0], [16, "20 us"]]}, "chunking": {"max_chunks": 4}}
    tables = build_tables(toy(**timed))
    timed["workload"]["tokens"] = 8
    assert shorten(tables, 2).available.tolist() == build_tables(toy(**timed)).available.tolist()


def test_equal_chunks_have_no_limit_between_tokens():
    limited = toy(chunking={"longest": 8}, decode={"between_tokens": "17 us"})
    with pytest.raises(InputError, match="between_tokens"):
        max_length(limited, equal_chunks=True)


@pytest.mark.parametrize("seed", range(6))
def test_answers_are_proved_against_runs_that_wait(seed: int):
    rng = np.random.default_rng(seed)
    curve = np.cumsum(rng.integers(0, 400, 4)).tolist()
    workload = {"tokens": 16, "available": [[4 * n + 1, f"{time} ns"] for n, time in enumerate(curve)]}
    instance = toy(workload=workload, chunking={"max_chunks": 4}, decode={"loop": bool(seed % 2)})
    tables = build_tables(instance)
    solution = solve(instance, time_limit_s=20)
    fastest = min(
        min(replay_event(tables, Plan(marks)).latency, replay_lockstep(tables, Plan(marks)).latency)
        for marks in partitions(tables)
    )
    assert solution.assessment.latency <= fastest
    limit = brute_force(tables, least_price).value
    lockstep = brute_force(tables, lockstep_price).value
    for bound in solution.lower_bounds:
        assert bound.ticks <= (limit if bound.scope is Scope.ANY_EXECUTION else lockstep)
    if solution.report.status == "optimal":
        assert solution.assessment.latency == fastest
