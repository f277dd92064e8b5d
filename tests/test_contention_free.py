"""The contention-free program: by hand, against brute force, below every execution."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from builders import AMPLE, make_tables
from contention_free_oracle import contention_free_latency
from oracle import brute_force, local_optimum, lockstep_price, price_plan
from random_plans import random_plan
from random_tables import random_instances, random_tables, with_unlimited_rates

from mocap_opt.flow_shop.chunk_times import least_sends
from mocap_opt.formulations import contention_free, contention_free_cpsat
from mocap_opt.formulations.contention_free_terms import resources, schedule
from mocap_opt.formulations.joint_cpsat import solve_joint
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.solvers import cpsat
from mocap_opt.solvers.highs import solve_mip
from mocap_opt.solvers.limits import Limits
from mocap_opt.solvers.outcome import ProgramResult, Progress, Status, StopReason
from mocap_opt.solvers.pyomo_form import compile_model
from mocap_opt.tables.cost_tables import Tables

PAGE = Path(__file__).parent.parent / "formulations" / "contention_free.md"
ROW = re.compile(r"^\|.*\| `(\w+)` \| `([\w.]+)` \|$", re.MULTILINE)

Solve = Callable[..., ProgramResult]
BACK_ENDS: dict[str, Solve] = {
    "highs": contention_free.solve_contention_free,
    "cpsat": lambda *args, **settings: contention_free_cpsat.solve_contention_free(
        *args, **{"threads": 1, **settings}
    ),
}


@pytest.fixture(params=BACK_ENDS)
def solve(request: pytest.FixtureRequest) -> Solve:
    return BACK_ENDS[request.param]


def page_example() -> Tables:
    found = re.search(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return make_tables(**json.loads(found[1])["tables"])


def away(**changes: object) -> Tables:
    """Two stages of 1 tick a token, no room at home on stage 0: its KV, 12 bytes a token, moves."""
    settings = {"linear": 1, "token_bytes": 12, "capacity": [0, 48], "link_rate": 100} | changes
    return make_tables(2, 2, max_chunks=2, **settings)  # type: ignore[arg-type]


def migrating() -> Tables:
    """No plan, unless KV may move later.

    In slot 1 stage 0's two pages fill memories 0 and 1, so stage 1's first page has to be in memory 2;
    in slot 2 stage 2's prefix fills that, while memories 0 and 1 are free.
    """
    tables = make_tables(3, 2, max_chunks=2, exact=True, token_bytes=[2, 1, 1], capacity=[2, 2, 1])
    return replace(tables, prefix_bytes=np.array([0, 0, 1]))


# --- by hand -----------------------------------------------------------------------------------


def test_worked_example(solve: Solve) -> None:
    result = solve(page_example())
    assert (result.outcome.status, result.outcome.objective, result.outcome.bound) == (Status.OPTIMAL, 33, 33)
    assert result.plan is not None
    assert result.plan.boundaries == (0, 1, 2)
    assert schedule(page_example(), Plan((0, 2), (Home(0, 0, 1, 2),))).latency == 34
    assert solve_joint(page_example()).outcome.objective == 33


def test_recursion_by_hand(solve: Solve) -> None:
    # Chunks of 1 + 2 tokens on stages of 1 and 3 ticks a token, sends of 4 ticks and 8:
    # C0 = 1, 3; C1 = 1 + 4 + 3 = 8, max(3 + 8, 8) + 6 = 17.  2 + 1: C0 = 2, 3; C1 = 2 + 8 + 6 = 16, 19.
    # One chunk: 3 + 12 + 9 = 24.  Three: C1 = 8, 11, 14.
    tables = make_tables(2, 3, max_chunks=3, linear=[1, 3], activation_bytes=4, link_rate=1)
    expected = {(0, 3): 24, (0, 1, 3): 17, (0, 2, 3): 19, (0, 1, 2, 3): 15}
    # The link carries 12 bytes between the end of the first chunk and the start of the last one
    # on stage 1: three chunks take at least 1 + 12 + 3 = 16; 1 + 2: 1 + 12 + 6 = 19; 2 + 1: 2 + 12 + 3.
    expected |= {(0, 1, 2, 3): 16, (0, 1, 3): 19}
    assert {marks: schedule(tables, Plan(marks)).latency for marks in expected} == expected
    assert solve(tables).outcome.objective == 16


def test_no_work_means_no_time_for_empty_chunks(solve: Solve) -> None:
    # A chunk costs 5 for being one: as few as possible, though four are allowed.
    tables = make_tables(3, 4, max_chunks=4, linear=1, constant=50, prefix=2, prefix_time=3)
    result = solve(tables)
    # (1 x 4 + 50 + 3 x 2) on each of three stages.
    assert result.outcome.objective == 3 * 60
    assert result.plan == Plan((0, 4))


def test_transfers_stretch_what_does_not_overlap() -> None:
    # 12 bytes at 5 a tick: x = 2.4; with f = 1/4 the chunk takes 1 + floor(1.8) = 2 = floor(x).
    tables = away(link_rate=5, overlap=Fraction(1, 4))
    plan = Plan((0, 1, 2), (Home(0, 0, 1, 1), Home(0, 1, 1, 1)))
    assert schedule(tables, plan).durations.tolist() == [[2, 2], [1, 1]]
    serial = replace(tables, overlap=Fraction(0))
    assert schedule(serial, plan).durations.tolist() == [[3, 3], [1, 1]]
    overlapped = replace(tables, overlap=Fraction(1))
    assert schedule(overlapped, plan).durations.tolist() == [[2, 2], [1, 1]]


def test_least_sends_are_rounded_down() -> None:
    # 3 bytes a token at 2 bytes a tick, a hop of 1: 1 + 1.5 and 1 + 3; the table says 3 and 4.
    tables = make_tables(2, 2, max_chunks=2, activation_bytes=3, link_rate=2, hop=1)
    assert tables.send[0, 0].tolist() == [1, 3, 4]
    assert least_sends(tables).tolist() == [[[0, 2, 4], [0, 2, 4]], [[0, 0, 0], [0, 0, 0]]]
    fast = replace(tables, send=tables.send // 2)
    assert least_sends(fast)[0, 0].tolist() == [0, 1, 2]


def test_what_may_pass_a_resource_by_hand() -> None:
    found = {r.name: r for r in resources(page_example())}
    assert list(found) == ["link 0>1", "link 1>0", "port 0", "port 1"]
    out, back, own, far = found.values()
    # 0>1: stage 0 writes from the start; after activations for the last chunk it still has l ticks.
    assert (out.rate, out.activations) == (1, 8)
    assert (out.write.tolist(), out.read.tolist()) == ([[0, 1], [0, 0]], [[0, 0], [0, 0]])
    assert out.first.tolist() == [0, 0, 0]
    assert out.follow.tolist() == [2, 1, 0]
    # 1>0: reads, after stage 0's first chunk and before its last one ends: then 4 and 1 tick a token.
    assert back.read.tolist() == [[0, 1], [0, 0]]
    assert back.first.tolist() == [0, 1, 2]
    assert back.follow.tolist() == [8 + 2, 4 + 1, 0]
    # Port 0: nothing but stage 0's own traffic may touch it; port 1 is stage 1's until the end.
    assert (own.stage, own.first.tolist(), own.follow.tolist()) == (0, [0, 0, 0], [10, 5, 0])
    assert (far.stage, far.first.tolist(), far.follow.tolist()) == (1, [0, 0, 0], [0, 0, 0])


# --- families ----------------------------------------------------------------------------------


def test_page_lists_the_families_in_order() -> None:
    listed = ROW.findall(PAGE.read_text(encoding="utf-8"))
    own = [f for f in contention_free.FAMILIES if f[1].__module__.endswith(".contention_free")]
    in_code = [
        (name, f"{function.__module__.rpartition('.')[2]}.{function.__name__}")
        for name, function in [*own, *contention_free_cpsat.FAMILIES]
    ]
    assert listed == in_code
    model = contention_free.build(page_example())
    components = [c.name for c in model.component_objects(contention_free.pyo.Constraint)]
    assert components == [name for name, _ in contention_free.FAMILIES]


NECESSARY = {
    # One chunk takes 20 + 20, two 10 + 10 + 10.
    "chunk_durations": make_tables(2, 2, linear=10, max_chunks=2),
    "chunks_start": make_tables(2, 2, linear=10, max_chunks=2),
    "latency_covers_all": make_tables(2, 2, linear=10, max_chunks=2),
    # Nothing overlaps: 1 + 12 and 1 + 12 on stage 0, then 1; what passes the link asks for 24 + 1 only.
    "own_kv_takes_time": away(link_rate=1, overlap=0),
    "homes_stay": migrating(),
    "memory_has_room": away(link_rate=1),
    # Stage 0 starts its second chunk when the first has arrived on stage 1, at 1 + 4: 5 + 1 + 4 + 1.
    # The link alone asks for 1 + 8 + 1.
    "queues_have_room": make_tables(
        2, 2, linear=1, activation_bytes=4, link_rate=1, exact=True, max_chunks=2, queue_depth=1
    ),
    # The page's example: 33 with link 0>1, 29 without.
    "bytes_pass_resources": page_example(),
}


@pytest.mark.parametrize("name", [n for n in NECESSARY if n not in ("latency_covers_all", "homes_stay")])
def test_each_family_is_necessary_for_cpsat(name: str) -> None:
    tables = NECESSARY[name]
    best = brute_force(tables, contention_free_latency)
    assert best is not None
    without = [f for f in contention_free_cpsat.FAMILIES if f[0] != name]
    if name in ("chunk_durations", "chunks_start"):
        with pytest.raises(KeyError):  # what it defines is missing: nothing can be built
            contention_free_cpsat.build(tables, families=without)
        return
    program = contention_free_cpsat.build(tables, families=without).program
    assert cpsat.solve(program, limits=Limits(threads=1)).outcome.objective != best.value


def test_homes_stay_in_cpsat() -> None:
    assert contention_free_cpsat.solve_contention_free(migrating()).outcome.status is Status.INFEASIBLE
    plan = contention_free_cpsat.build(migrating())
    plan.program.rows = [row for row in plan.program.rows if not row.name.startswith("homes_stay")]
    assert cpsat.solve(plan.program, limits=Limits(threads=1)).outcome.status is Status.OPTIMAL


SENDS = make_tables(2, 2, linear=1, max_chunks=2, activation_bytes=4, link_rate=1)


@pytest.mark.parametrize("name", [*NECESSARY, "sends_take_their_time", "pages_are_housed"])
def test_each_family_is_necessary_for_highs(name: str) -> None:
    tables = {"sends_take_their_time": SENDS, "pages_are_housed": away(link_rate=1)}.get(name)
    tables = NECESSARY[name] if tables is None else tables
    best = brute_force(tables, contention_free_latency)
    assert (best is None) == (name == "homes_stay")
    if name in ("chunks_start", "latency_covers_all", "sends_take_their_time"):
        # Else what must pass links and ports would still give the optimum.
        families = (name, "bytes_pass_resources")
    else:
        families = (name,)
    model = contention_free.build(tables, without=families)
    found = solve_mip(compile_model(model).program).outcome.objective
    assert found is not None
    assert best is None or found < best.value - 0.5


@pytest.mark.parametrize("name", ["pooled_memory_has_room", "paths_take_their_time"])
def test_redundant_families_change_nothing(name: str) -> None:
    for tables in random_instances(13, 15):
        without = [f for f in contention_free_cpsat.FAMILIES if f[0] != name]
        programs = [
            contention_free_cpsat.build(tables).program,
            contention_free_cpsat.build(tables, families=without).program,
        ]
        outcomes = [cpsat.solve(program, limits=Limits(threads=1)).outcome for program in programs]
        assert outcomes[0].objective == outcomes[1].objective


# --- against brute force -----------------------------------------------------------------------


def agree(seed: int, count: int) -> dict[str, int]:
    """Brute force, HiGHS and CP-SAT on random instances; returns how many have each trait."""
    seen = dict.fromkeys(["remote", "contended", "infeasible", "fewer", "below lockstep"], 0)
    for tables in random_instances(seed, count):
        best = brute_force(tables, contention_free_latency)
        results = [solve(tables) for solve in BACK_ENDS.values()]
        for result in results:
            assert result.outcome.objective == (None if best is None else best.value), tables.name
            assert result.outcome.status is (Status.INFEASIBLE if best is None else Status.OPTIMAL)
            assert result.outcome.bound == result.outcome.objective
        if best is None:
            seen["infeasible"] += 1
            continue
        for plan in (best.plan, *(result.plan for result in results if result.plan is not None)):
            assert price_plan(tables, plan, contention_free_latency) == best.value
            assert schedule(tables, plan).latency == best.value
            assert best.value <= replay_event(tables, plan).latency
            assert best.value <= replay_lockstep(tables, plan).latency
        local = local_optimum(tables, contention_free_latency)
        unlimited = brute_force(with_unlimited_rates(tables), contention_free_latency)
        lockstep = brute_force(tables, lockstep_price)
        assert unlimited is not None
        assert lockstep is not None
        assert best.value <= lockstep.value
        seen["remote"] += local is None or local.value > best.value
        seen["contended"] += unlimited.value < best.value
        seen["fewer"] += best.plan.chunks < tables.max_chunks
        seen["below lockstep"] += best.value < lockstep.value
    return seen


@pytest.mark.parametrize("count", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_back_ends_agree_with_brute_force(count: int) -> None:
    seen = agree(2, count)
    assert seen["remote"] >= 0.25 * count
    assert seen["contended"] >= 0.15 * count
    assert seen["infeasible"] >= 0.15 * count
    assert seen["fewer"] >= 0.15 * count
    assert seen["below lockstep"] >= 0.15 * count


def test_bound_holds_for_random_plans_of_middling_instances() -> None:
    rng = np.random.default_rng(8)
    compared = tight = 0
    for n in range(25):
        tables = random_tables(rng, name=f"middling {n}")
        plan = random_plan(tables, rng)
        if plan is None:
            continue
        least = schedule(tables, plan).latency
        event, lockstep = replay_event(tables, plan).latency, replay_lockstep(tables, plan).latency
        assert least <= event
        assert least <= lockstep
        built = contention_free_cpsat.build(tables)
        values = built.program.complete(contention_free_cpsat.plan_cpsat.decisions(built, plan))
        assert built.program.broken(values) == []
        assert built.program.objective.value(values) == least
        compared += 1
        tight += least > 0.9 * min(event, lockstep)
    assert compared >= 12
    assert tight >= 2


# --- runs --------------------------------------------------------------------------------------


def test_a_start_is_taken_and_never_worsened(solve: Solve) -> None:
    tables = page_example()
    start = Plan((0, 2), (Home(0, 0, 1, 2),))
    result = solve(tables, start)
    assert result.outcome.objective == 33
    stopped = solve(tables, start, time_limit_s=0.0)
    assert stopped.outcome.objective in (33, 34)
    assert stopped.plan is not None
    with pytest.raises(ValueError, match="the start is not feasible"):
        solve(tables, Plan((0, 2)))


def test_infeasible_is_said(solve: Solve) -> None:
    result = solve(away(capacity=[0, 23]))
    assert (result.plan, result.outcome.status) == (None, Status.INFEASIBLE)
    assert result.outcome.stop is StopReason.INFEASIBLE
    nothing = solve(make_tables(2, 2, max_chunks=3, exact=True))
    assert nothing.outcome.status is Status.INFEASIBLE


def test_large_ticks_are_priced_exactly(solve: Solve) -> None:
    # 41 ns a token in picoseconds: more than 2^20 ticks, times no longer integers in HiGHS.
    tables = make_tables(3, 6, max_chunks=3, linear=41_000_017, constant=1_000_003, capacity=AMPLE)
    # Chunks of 2: (3 + 2) of 2 x 41_000_017 + 1_000_003.
    optimum = 5 * (2 * 41_000_017 + 1_000_003)
    result = solve(tables)
    assert result.outcome.objective == optimum
    assert result.outcome.status is Status.OPTIMAL
    assert result.outcome.bound is not None
    assert optimum - 50 <= result.outcome.bound <= optimum


def test_progress_is_in_ticks(solve: Solve) -> None:
    seen: list[Progress] = []

    def watch(progress: Progress) -> bool:
        seen.append(progress)
        return False

    tables = make_tables(3, 6, max_chunks=3, linear=41_000_017, constant=1_000_003)
    result = solve(tables, Plan((0, 6)), callback=watch)
    assert result.outcome.objective is not None
    known = [p.incumbent for p in seen if p.incumbent is not None]
    assert all(value > 0.999 * result.outcome.objective for value in known)
    bounds = [p.bound for p in seen if p.bound is not None]
    assert all(value <= result.outcome.objective for value in bounds)
