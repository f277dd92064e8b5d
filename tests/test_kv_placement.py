"""Homes for given boundaries: exact, whole, quick, and never worse than a start."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import make_tables
from oracle import _cheapest_homes as cheapest_homes
from oracle import lockstep_price, partitions
from random_plans import random_plan
from random_tables import MIDDLING, random_instances, random_tables

from mocap_opt.formulations import kv_placement
from mocap_opt.formulations.kv_placement import FAMILIES, build, solve_kv_placement
from mocap_opt.formulations.page_rounding import solve_by_rounding
from mocap_opt.formulations.pyomo_solution import read_plan, start_values
from mocap_opt.formulations.slot_times import lockstep_latency
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers.highs import solve_mip
from mocap_opt.solvers.outcome import Progress, Status, StopReason
from mocap_opt.solvers.pyomo_form import compile_model
from mocap_opt.tables.cost_tables import Tables

WORKED = make_tables(2, 3, max_chunks=3, constant=4, token_bytes=26, capacity=[52, 78], link_rate=1)
THREE = np.array([0, 1, 2, 3])  # optimum 68, see formulations/kv_placement.md


def test_agrees_with_brute_force() -> None:
    solved = infeasible = 0
    for tables in random_instances(seed=41, count=60):
        for marks in list(partitions(tables))[:4]:
            price = lockstep_price(tables, marks)
            found = cheapest_homes(tables, marks, price, price({}), None)
            best = None if found is None else found.value
            result = solve_kv_placement(tables, np.searchsorted(tables.grid, marks), gap=0.0)
            assert result.outcome.objective == best, (tables.name, marks)
            wanted = Status.INFEASIBLE if best is None else Status.OPTIMAL
            assert result.outcome.status is wanted, (tables.name, marks)
            solved += best is not None
            infeasible += best is None
    assert solved > 100
    assert infeasible > 20


def test_objective_is_the_replay_of_the_plan() -> None:
    rng = np.random.default_rng(5)
    improved = 0
    for number in range(6):
        tables = random_tables(rng, MIDDLING, f"middling {number}")
        start = random_plan(tables, rng)
        if start is None:
            continue
        result = solve_kv_placement(tables, start.grid_indices(tables), start=start, time_limit_s=5)
        assert result.plan is not None
        assert result.plan.boundaries == start.boundaries
        assert violations(tables, result.plan) == []
        latency = replay_lockstep(tables, result.plan).latency
        assert result.outcome.objective == latency <= lockstep_latency(tables, start)
        assert result.outcome.bound is not None
        assert result.outcome.bound <= latency
        improved += latency < lockstep_latency(tables, start)
    assert improved > 0


def test_many_stages_and_chunks_fit_into_a_tight_pool() -> None:
    # Equal chunks want 14/16 of the pool at the worst slot; at home they would overflow.
    tables = make_tables(8, 64, max_chunks=16, token_bytes=10, capacity=10 * 52, link_rate=10)
    indices = np.arange(0, 65, 4)
    assert violations(tables, Plan(tuple(indices.tolist()))) != []
    result = solve_kv_placement(tables, indices, gap=0.01, time_limit_s=30)
    assert result.plan is not None
    assert result.outcome.gap is not None
    assert result.outcome.gap <= 0.01
    assert violations(tables, result.plan) == []


def test_start_is_kept_when_there_is_no_time() -> None:
    start = Plan((0, 1, 2, 3), (Home(0, 0, 1, 1),))
    result = solve_kv_placement(WORKED, THREE, start=start, time_limit_s=0.0)
    assert result.plan == start
    assert result.outcome.objective == 92
    assert result.outcome.status is Status.FEASIBLE


def test_no_homes_needed_means_no_homes() -> None:
    roomy = replace(WORKED, capacity=np.array([1000, 1000]))
    model = build(roomy, THREE)
    assert len(model.home) == 0
    result = solve_kv_placement(roomy, THREE)
    assert result.plan == Plan((0, 1, 2, 3))
    assert result.outcome.objective == 56


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        ([0, 2], "expected 0 .. 3"),
        ([1, 3], "expected 0 .. 3"),
        ([0, 2, 2, 3], "increasing"),
        ([3], "expected 0"),
    ],
)
def test_malformed_boundaries_are_refused(indices: list[int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        solve_kv_placement(WORKED, np.array(indices))


def test_start_must_be_feasible_and_have_these_boundaries() -> None:
    with pytest.raises(ValueError, match="the start is not feasible: memory 0"):
        solve_kv_placement(WORKED, THREE, start=Plan((0, 1, 2, 3)))
    with pytest.raises(ValueError, match="are not those given"):
        solve_kv_placement(WORKED, THREE, start=Plan((0, 3), (Home(0, 0, 1, 1),)))


@pytest.mark.parametrize(
    "tables",
    [
        replace(WORKED, max_chunks=2),
        replace(WORKED, min_length=2),
        replace(WORKED, capacity=np.array([52, 25])),
    ],
    ids=["too many chunks", "too short", "too little memory"],
)
def test_boundaries_that_no_plan_may_have_are_infeasible(tables: Tables) -> None:
    result = solve_kv_placement(tables, THREE)
    assert result.outcome.status is Status.INFEASIBLE
    assert result.plan is None


def test_callback_may_stop_the_search() -> None:
    seen: list[Progress] = []
    start = Plan((0, 1, 2, 3), (Home(0, 0, 1, 1),))
    result = solve_kv_placement(
        WORKED, THREE, start=start, gap=0.0, callback=lambda p: bool(seen.append(p)) or True, time_limit_s=10
    )
    assert result.plan is not None
    assert result.outcome.objective is not None
    assert result.outcome.objective <= 92


@pytest.mark.parametrize("family", [name for name, _ in FAMILIES])
def test_family_is_necessary(family: str) -> None:
    # Activations of both senders cross link 0>1, and reading or writing a page delays its stage.
    base = make_tables(
        3, 3, max_chunks=3, constant=4, token_bytes=26, capacity=[52, 78, 78], link_rate=1, activation_bytes=9
    )
    share = base.share.copy()
    share[base.links.index("0>1"), 1, 2] = 1
    tables = replace(base, share=share, send=base.send // 2)
    if family == "own_kv_delays_compute":
        tables = replace(tables, overlap=tables.overlap / 2)
    if family == "kv_passes_ports":
        tables = replace(tables, link_rate=tables.link_rate * 1000, port_rate=np.ones(3, dtype=np.int64))
    if family == "slots_wait_for_tokens":
        tables = replace(tables, available=np.array([0, 0, 0, 1000]))
    if family == "homes_stay":
        tables = make_tables(
            3,
            4,
            exact=True,
            max_chunks=3,
            constant=2,
            token_bytes=10,
            capacity=[39, 22, 37],
            link_rate=2,
            overlap=0,
        )
        answers = [solved(tables, np.array([0, 1, 3, 4]), without) for without in ([], [family])]
    else:
        answers = [solved(tables, THREE, without) for without in ([], [family])]
    assert answers[0] is not None
    assert answers[0] != answers[1]


def solved(tables: Tables, indices: np.ndarray, without: list[str]) -> float | None:
    objective = solve_mip(compile_model(build(tables, indices, without=without)).program).outcome.objective
    return None if objective is None else round(objective, 6)


def test_rounding_falls_back_to_the_whole_program() -> None:
    # Memory 1 takes one page of 2 bytes, though a fluid one and a half would fit.
    model = build(WORKED, THREE)
    program = compile_model(model).program
    relaxed = replace(program, integer=np.zeros_like(program.integer))
    fluid = solve_mip(relaxed).outcome.objective
    rounded = solve_by_rounding(program)
    exact = solve_mip(program)
    assert fluid is not None
    assert rounded.outcome.objective == exact.outcome.objective == 68
    assert fluid <= 68
    assert rounded.outcome.bound is not None
    assert rounded.outcome.bound <= 68 + 1e-6


def test_start_values_come_back_as_the_plan() -> None:
    model = build(WORKED, THREE)
    plan = Plan((0, 1, 2, 3), (Home(0, 1, 1, 1),))
    compiled = compile_model(model)
    point = compiled.column_values(start_values(model, WORKED, plan))
    assert compiled.program.violation(point)[0] <= 1e-6
    assert compiled.program.objective(point) == 80
    compiled.load(point)
    assert read_plan(model, WORKED) == plan
    result = solve_mip(compiled.program, start=point)
    assert result.outcome.stop is StopReason.OPTIMAL
    assert kv_placement.FAMILIES is FAMILIES
