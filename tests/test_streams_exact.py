"""Short streams: the exact method, the replays and the bounds against brute force."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from builders import make_tables
from stream_oracle import Best, brute_force, random_stream

from mocap_opt.bounds.makespan import StreamNeeds, completion_bounds, makespan_bounds, ranked_bound
from mocap_opt.instance import load_instance
from mocap_opt.replay.evaluation import Assessment, Execution
from mocap_opt.replay.event import run_event
from mocap_opt.replay.lockstep import run_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.requests import Request, build_requests
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.search.stream_candidate import Candidate
from mocap_opt.search.stream_enumeration import UnfinishedError, solve_exactly
from mocap_opt.solving.schedule_search import MAKESPAN, StreamSearch
from mocap_opt.solving.stream_planner import plan_stream
from mocap_opt.stopping import Deadline

Case = tuple[tuple[Request, ...], bool, Best | None, Schedule | None]


SIZES = [30, pytest.param(200, marks=pytest.mark.slow)]
"""How many random streams; all of them take a minute."""


@cache
def cases(count: int) -> tuple[Case, ...]:
    rng = np.random.default_rng(20)
    found = []
    for _ in range(count):
        requests, order_given = random_stream(rng)
        found.append(
            (requests, order_given, brute_force(requests, order_given), solve_exactly(requests, order_given))
        )
    return tuple(found)


def mean(completions: tuple[int | Fraction, ...], sequence: Schedule) -> Fraction:
    waited = sum(completions, Fraction(0)) - sum(request.release for request in sequence)
    return Fraction(waited) / len(sequence)


@pytest.mark.parametrize("count", SIZES)
def test_the_random_streams_are_of_many_kinds(count: int) -> None:
    solved = [(case, case[2]) for case in cases(count) if case[2] is not None]
    assert 0.8 * count <= len(solved) < count
    shares = {
        "needs remote homes": (0.2, sum(best.needs_remote for _, best in solved)),
        "needs idle slots": (0.03, sum(best.idles for _, best in solved)),
        "releases": (0.5, sum(any(r.release for r in case[0]) for case, _ in solved)),
        "prefixes": (0.4, sum(any(r.tables.prefix for r in case[0]) for case, _ in solved)),
        "three requests": (0.1, sum(len(case[0]) == 3 for case, _ in solved)),
        "order given": (0.3, sum(case[1] for case, _ in solved)),
        "order free": (0.3, sum(not case[1] for case, _ in solved)),
    }
    short = {name: found / count for name, (least, found) in shares.items() if found < least * count}
    assert not short


@pytest.mark.parametrize("count", SIZES)
def test_the_exact_method_agrees_with_brute_force(count: int) -> None:
    for requests, _, best, sequence in cases(count):
        if best is None:
            assert sequence is None
            continue
        assert sequence is not None, [r.tables.name for r in requests]
        assert schedule_violations(sequence) == []
        assert run_lockstep(sequence).latency == best.makespan


class PricedSearch(StreamSearch):
    """Checks the price of every sequence that the planner offers."""

    def offer(self, candidate: Candidate, source: str) -> bool:
        lockstep = run_lockstep(candidate.sequence)
        assert (candidate.makespan, candidate.total) == (lockstep.latency, sum(lockstep.completion))
        return super().offer(candidate, source)


def planned_by_search(
    requests: tuple[Request, ...], order_given: bool, time_limit_s: float, *, stopped: bool = False
) -> Assessment | None:
    search = PricedSearch(requests, order_given, deadline=Deadline(time_limit_s), gap=0.0)
    if stopped:
        search.deadline.stop.set()
    plan_stream(search)
    return search.best


def waited(completions: tuple[int | Fraction, ...], sequence: Schedule) -> list[Fraction]:
    return sorted(Fraction(c) - request.release for c, request in zip(completions, sequence, strict=True))


@pytest.mark.parametrize("count", SIZES)
def test_no_bound_is_beaten_and_bounds_are_tight_somewhere(count: int) -> None:
    tight = {"stage_work": 0, "mean": 0, "slowest": 0}
    with_memory = 0
    for requests, order_given, best, sequence in cases(count):
        planned = planned_by_search(requests, order_given, 0.0)
        found = [s for s in (sequence, planned and planned.schedule) if s is not None]
        bounds = makespan_bounds(requests, order_given)
        for each in found:
            lockstep, event = run_lockstep(each), run_event(each)
            assert best is not None
            assert best.makespan <= lockstep.latency
            for bound in bounds:
                least = min(lockstep.latency, event.latency)
                assert bound.ticks <= least, bound
                with_memory += bound.name == "work_and_memory"
                if bound.name in tight:
                    tight[bound.name] += bound.ticks * Fraction(102, 100) > least
            needs = StreamNeeds.of(requests)
            assert needs is not None
            low = Fraction(completion_bounds(needs, order_given), len(requests))
            means = min(mean(lockstep.completion, each), mean(event.completion, each))
            assert low <= means
            tight["mean"] += low * Fraction(102, 100) > means
            times = [waited(lockstep.completion, each), waited(event.completion, each)]
            for rank in range(1, len(requests) + 1):
                ranked = ranked_bound(needs, order_given, rank)
                reached = min(taken[rank - 1] for taken in times)
                assert ranked <= reached
                tight["slowest"] += rank == len(requests) and ranked * Fraction(102, 100) > reached
    assert with_memory >= count
    # Two hundredths more, and each of them would be beaten.
    assert min(tight.values()) >= 0.1 * count, tight


def test_a_bound_of_work_and_memory_is_reached() -> None:
    # On one stage, requests run one after the other: 40 ticks each, whether memory is full or not.
    tables = make_tables(1, 4, linear=10, capacity=4, min_length=4)
    requests = tuple(Request(tables, 0, f"r{n}") for n in range(3))
    bounds = {bound.name: bound.ticks for bound in makespan_bounds(requests, order_given=False)}
    sequence = solve_exactly(requests, order_given=False)
    assert sequence is not None
    makespan = run_lockstep(sequence).latency
    assert makespan == 120
    assert bounds["work_and_memory"] <= makespan < bounds["work_and_memory"] * Fraction(102, 100)


def test_memory_time_says_more_than_work() -> None:
    # Two stages, one byte a token, a chunk of 4 tokens and 40 ticks; together they hold 6 bytes, and a
    # request needs 4 on either stage for 40 ticks each: 320 byte-ticks of 6 a tick.
    tables = make_tables(2, 4, linear=10, capacity=3, min_length=4)
    requests = tuple(Request(tables, 0, f"r{n}") for n in range(6))
    bounds = {bound.name: bound.ticks for bound in makespan_bounds(requests, order_given=True)}
    assert bounds["work_and_memory"] in (6 * 320 // 6, 6 * 320 // 6 - 1)
    assert bounds["work_and_memory"] > max(bounds["stage_work"], bounds["crossing"])
    planned = planned_by_search(requests, True, 5.0)
    assert planned is not None
    assert planned.lockstep.latency >= bounds["work_and_memory"]


def unlike(count: int, seed: int) -> tuple[Request, ...]:
    """Requests of unlike lengths on three stages, released one after the other or at once."""
    rng = np.random.default_rng(seed)
    made = {n: make_tables(3, n, linear=2, constant=3, quadratic=1, max_chunks=4) for n in range(2, 9)}
    lengths = rng.integers(2, 9, count)
    releases = np.sort(rng.integers(0, 150, count)) if seed % 2 else np.zeros(count, dtype=int)
    return tuple(
        Request(made[int(n)], int(release), f"r{number}")
        for number, (n, release) in enumerate(zip(lengths, releases, strict=True))
    )


@pytest.mark.parametrize(
    ("count", "seed"),
    [
        (3, 2),
        *(pytest.param(count, seed, marks=pytest.mark.slow) for count, seed in ((4, 0), (7, 0), (7, 1))),
    ],
)
def test_the_order_is_searched(count: int, seed: int) -> None:
    requests = unlike(count, seed)
    found = [
        planned_by_search(requests, given, 60.0, stopped=stopped)
        for given, stopped in ((True, False), (False, True), (False, False))
    ]
    ranks = [MAKESPAN.ranks(each)[Execution.LOCKSTEP] for each in found if each is not None]
    in_order, at_once, searched = ranks
    assert searched <= at_once
    assert searched < in_order
    assert found[-1] is not None
    order = found[-1].schedule.order
    assert sorted(order) == list(range(count))
    again = planned_by_search(requests, False, 60.0)
    assert again is not None
    assert again.schedule.order == order
    for bound in makespan_bounds(requests, order_given=False):
        assert bound.ticks <= searched[0]


@cache
def planned_cases(count: int) -> tuple[tuple[Case, Assessment | None], ...]:
    """What the planner finds for the first of the random streams."""
    return tuple((case, planned_by_search(case[0], case[1], 5.0)) for case in cases(SIZES[0])[:count])


PLANNED = pytest.mark.parametrize("count", [10, pytest.param(30, marks=pytest.mark.slow)])


@PLANNED
def test_the_order_found_is_that_of_the_exact_method_on_small_lists(count: int) -> None:
    free = [
        (best, found) for (_, given, best, _), found in planned_cases(count) if not given and best is not None
    ]
    reached = sum(found is not None and found.lockstep.latency == best.makespan for best, found in free)
    assert reached >= 0.25 * count


def test_an_exact_search_that_is_stopped_proves_nothing() -> None:
    requests = unlike(2, 0)
    with pytest.raises(UnfinishedError, match="stopped after pricing 0 of at most"):
        solve_exactly(requests, False, asked_to_stop=lambda: True)


@PLANNED
def test_the_planner_prices_what_it_returns(count: int) -> None:
    planned = 0
    for (_, _, best, _), found in planned_cases(count):
        if found is None:
            continue
        planned += 1
        assert best is not None
        assert schedule_violations(found.schedule) == []
        assert found.event.latency == run_event(found.schedule).latency
    assert planned >= 0.5 * count


def test_too_many_schedules_are_refused() -> None:
    tables = make_tables(2, 24, max_chunks=12)
    with pytest.raises(ValueError, match="schedules are too many"):
        solve_exactly([Request(tables, 0, "a"), Request(tables, 0, "b")], order_given=True)


def test_idle_slots_where_two_requests_do_not_fit_together() -> None:
    # Each request needs all 4 bytes of either memory: the second may start when the first has left
    # stage 0, and its slots come after.
    tables = replace(make_tables(2, 4, linear=1, capacity=4), max_chunks=1)
    requests = (Request(tables, 0, "a"), Request(tables, 0, "b"))
    sequence = solve_exactly(requests, order_given=True)
    assert sequence is not None
    assert [request.slot for request in sequence] == [0, 1]
    assert all(request.plan == Plan((0, 4)) for request in sequence)
    assert run_lockstep(sequence).completion == (8, 12)


def test_the_crossing_bound_is_reached_where_stages_are_alike() -> None:
    # Two requests of two chunks of 2 ticks on three stages: 8 ticks of work, and one chunk crosses the
    # other two stages.  A hundredth more would be beaten by the plan.
    tables = make_tables(3, 4, linear=1, max_chunks=2, exact=True)
    requests = (Request(tables, 0, "a"), Request(tables, 0, "b"))
    by_name = {bound.name: bound.ticks for bound in makespan_bounds(requests, order_given=False)}
    sequence = solve_exactly(requests, order_given=False)
    assert sequence is not None
    assert by_name["crossing"] == run_lockstep(sequence).latency == 12
    assert by_name["crossing"] * Fraction(102, 100) > 12
    assert run_event(sequence).latency == 12


def test_rows_beyond_64_bits_are_no_obstacle() -> None:
    # Bytes per tick times the denominator of the overlap times ticks: 1.4e19.
    instance = load_instance(Path(__file__).parent / "data" / "stream-overlap.json")
    requests = build_requests(instance)
    sequence = solve_exactly(requests, order_given=True)
    assert sequence is not None
    assert any(request.plan.homes for request in sequence)
    assert schedule_violations(sequence) == []


def test_what_a_request_takes_alone_counts_from_its_release() -> None:
    tables = make_tables(2, 4, linear=10, constant=2, max_chunks=4)
    requests = tuple(Request(tables, release, f"r{release}") for release in (0, 50))
    sequence = Schedule(
        tuple(
            r.scheduled(Plan((0, 1, 2, 3, 4)), slot, n)
            for n, (r, slot) in enumerate(zip(requests, (0, 4), strict=True))
        )
    )
    event = run_event(sequence)
    assert event.completion == (60, 110)
    for given in (True, False):
        bounds = {bound.name: bound.ticks for bound in makespan_bounds(requests, given)}
        assert bounds["stage_work"] == 110
        needs = StreamNeeds.of(requests)
        assert needs is not None
        assert completion_bounds(needs, given) == 120
        assert [ranked_bound(needs, given, rank) for rank in (1, 2)] == [60, 60]


def test_memory_over_time_counts_for_the_mean() -> None:
    # 320 byte-ticks of 6 a tick for each: the n-th has left after n times 53 1/3 ticks.
    tables = make_tables(2, 4, linear=10, capacity=3, min_length=4)
    requests = tuple(Request(tables, 0, f"r{n}") for n in range(6))
    needs = StreamNeeds.of(requests)
    assert needs is not None
    shared = sum(n * 320 // 6 for n in range(1, 7))
    assert [completion_bounds(needs, given) >= shared - 6 for given in (True, False)] == [True, True]
    assert ranked_bound(needs, order_given=False, rank=6) >= 6 * 320 // 6 - 1
