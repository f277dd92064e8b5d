"""The lockstep program on HiGHS: starts, limits, progress, and what must hold for any instance."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from builders import AMPLE, make_tables
from oracle import brute_force, lockstep_price, partitions
from random_plans import random_plan
from random_tables import MIDDLING, random_instances, random_tables

from mocap_opt.formulations import joint
from mocap_opt.formulations.chunk_graph import chunk_graph, least_latency
from mocap_opt.formulations.joint import solve_joint
from mocap_opt.formulations.pyomo_solution import read_plan, start_values
from mocap_opt.formulations.slot_times import lockstep_latency, slot_times
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers.highs import solve_mip
from mocap_opt.solvers.outcome import Progress, Status, StopReason
from mocap_opt.solvers.pyomo_form import compile_model
from mocap_opt.tables.cost_tables import Tables

WORKED = make_tables(
    2, 3, max_chunks=3, constant=4, token_bytes=26, capacity=[52, 78], link_rate=1
)  # optimum 64, see formulations/joint.md


def long_horizon(tokens: int = 24, chunks: int = 6) -> Tables:
    """Four stages and times of about 10^7 ticks, so that times are continuous in the model."""
    return make_tables(
        4,
        tokens,
        max_chunks=chunks,
        exact=True,
        linear=100_003,
        quadratic=5_009,
        constant=200_017,
        token_bytes=1_000,
        capacity=[int(0.8 * tokens) * 1_000] * 4,
        link_rate=7,
        activation_bytes=90_001,
    )


def some_plans(tables: Tables, rng: np.random.Generator, tries: int) -> list[Plan]:
    """Random feasible plans."""
    plans = [random_plan(tables, rng) for _ in range(tries)]
    return [plan for plan in plans if plan is not None]


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_prices_are_those_of_the_replay(seed: int) -> None:
    rng = np.random.default_rng(seed)
    checked = 0
    for number in range(25):
        tables = random_tables(rng, MIDDLING, f"middling {number}")
        for plan in some_plans(tables, rng, 4):
            replay = replay_lockstep(tables, plan)
            work, exchange = slot_times(tables, plan.grid_indices(tables), plan.remote_pages(tables))
            assert np.array_equal(work, replay.work)
            assert np.array_equal(exchange, replay.exchange)
            checked += 1
    assert checked >= 25


def test_sums_beyond_64_bits_are_exact() -> None:
    tables = make_tables(2, 4, token_bytes=10**15, capacity=10**17, link_rate=10**9 + 7, port_rate=10**9 + 9)
    tables = replace(tables, share=tables.share * (2**31 - 1), share_denominator=2**31)
    plan = Plan((0, 2, 4), (Home(0, 0, 1, 2), Home(1, 1, 0, 1)))
    work, exchange = slot_times(tables, plan.grid_indices(tables), plan.remote_pages(tables))
    price = lockstep_price(tables, plan.boundaries)
    assert int(work.sum() + exchange.sum()) == price({(0, 0, 1): 2, (1, 1, 0): 1})


def test_start_values_satisfy_every_row_and_come_back_as_the_plan() -> None:
    checked = 0
    for tables in random_instances(seed=11, count=60):
        best = brute_force(tables)
        model = joint.build(tables)
        if best is None or model is None:
            continue
        values = start_values(model, tables, best.plan)
        compiled = compile_model(model)
        point = compiled.column_values(values)
        worst, where = compiled.program.violation(point)
        assert worst <= 1e-6, (tables.name, where)
        assert compiled.program.objective(point) * model.data.time_unit.ticks == pytest.approx(best.value)
        compiled.load(point)
        assert read_plan(model, tables) == best.plan
        checked += 1
    assert checked > 40


def test_start_is_given_and_accepted() -> None:
    tables = long_horizon()
    start = some_plans(tables, np.random.default_rng(0), 1)[0]
    latency = lockstep_latency(tables, start)
    model = joint.build(tables, no_worse_than=latency)
    assert model is not None
    compiled = compile_model(model)
    point = compiled.column_values(start_values(model, tables, start))
    assert solve_mip(compiled.program, start=point, node_limit=1).outcome.start_accepted is True


def test_result_is_never_worse_than_the_start() -> None:
    tables = long_horizon()
    found = solve_joint(tables, time_limit_s=20, gap=0.05)
    assert found.plan is not None
    for limit in (0.0, 0.05, 1.0):
        again = solve_joint(tables, found.plan, time_limit_s=limit)
        assert again.outcome.objective is not None
        assert again.outcome.objective <= found.outcome.objective
        assert again.plan is not None
        assert violations(tables, again.plan) == []
        assert again.outcome.bound is not None
        assert again.outcome.bound <= again.outcome.objective


def test_no_time_and_no_start_is_unknown_with_a_bound() -> None:
    result = solve_joint(long_horizon(), time_limit_s=0.0)
    assert result.plan is None
    assert result.outcome.status is Status.UNKNOWN
    assert result.outcome.stop is StopReason.TIME_LIMIT
    assert result.outcome.bound is not None
    assert result.outcome.bound > 0


def test_infeasible_start_is_refused() -> None:
    with pytest.raises(ValueError, match="the start is not feasible: memory 0, slot 1"):
        solve_joint(WORKED, Plan((0, 1, 3)))


def test_infeasible_instance_is_proved() -> None:
    result = solve_joint(replace(WORKED, capacity=np.array([52, 25])))
    assert result.outcome.status is Status.INFEASIBLE
    assert (result.plan, result.outcome.bound) == (None, None)


@pytest.mark.parametrize(
    "tables",
    [
        make_tables(2, 3, max_chunks=5, exact=True),
        make_tables(2, 6, max_chunks=2, max_length=2),
        make_tables(1, 4, static=AMPLE + 1),
    ],
    ids=["more chunks than steps", "too few chunks", "no room at all"],
)
def test_infeasible_before_anything_is_modelled(tables: Tables) -> None:
    result = solve_joint(tables)
    assert result.outcome.status is Status.INFEASIBLE
    assert "no boundaries" in result.outcome.message
    assert brute_force(tables) is None


def test_optimum_over_a_long_horizon_is_priced_exactly() -> None:
    tables = long_horizon(12, 4)
    result = solve_joint(tables, time_limit_s=60)
    assert result.plan is not None
    assert result.outcome.status is Status.OPTIMAL
    assert result.outcome.objective == replay_lockstep(tables, result.plan).latency
    assert result.outcome.gap is not None
    assert result.outcome.gap <= 1e-6
    best = min(
        replay_lockstep(tables, plan).latency for plan in some_plans(tables, np.random.default_rng(0), 20)
    )
    assert result.outcome.bound is not None
    assert result.outcome.bound <= best


def test_progress_is_in_ticks_and_may_stop_the_search() -> None:
    tables = long_horizon()
    seen: list[Progress] = []

    def watch(progress: Progress) -> bool:
        seen.append(progress)
        return progress.incumbent is not None

    result = solve_joint(tables, callback=watch, time_limit_s=60)
    assert result.outcome.stop is StopReason.INTERRUPTED
    assert seen[-1].incumbent is not None
    assert seen[-1].bound is not None
    assert result.outcome.objective is not None
    assert seen[-1].incumbent == pytest.approx(result.outcome.objective, rel=1e-4)
    assert all(p.bound is not None and p.bound <= result.outcome.objective for p in seen)


def test_gap_is_kept() -> None:
    tables = long_horizon()
    result = solve_joint(tables, gap=0.05, time_limit_s=60)
    assert result.outcome.gap is not None
    assert result.outcome.gap <= 0.05
    assert result.outcome.stop in (StopReason.GAP_REACHED, StopReason.OPTIMAL)


# --- what must hold for any instance --------------------------------------------------------------


def optimum(tables: Tables) -> float | None:
    return solve_joint(tables).outcome.objective


@cache
def some_instances() -> list[tuple[Tables, float]]:
    """Those with a plan, and what the best takes."""
    solved = [(tables, optimum(tables)) for tables in random_instances(seed=21, count=25)]
    return [(tables, best) for tables, best in solved if best is not None]


def test_more_memory_never_hurts() -> None:
    for tables, best in some_instances():
        roomier = replace(tables, capacity=tables.capacity + tables.page_bytes)
        assert optimum(roomier) <= best


def test_faster_links_and_ports_never_hurt() -> None:
    for tables, best in some_instances():
        faster = replace(tables, link_rate=tables.link_rate * 2, port_rate=tables.port_rate * 2)
        assert optimum(faster) <= best


def test_scaled_times_scale_the_answer() -> None:
    # Seven times longer in every table and at every rate; only rounding up within slots may differ,
    # by less than a tick of the unscaled instance per phase and slot.
    for tables, before in some_instances():
        times = ("phi", "full_block", "memory_side", "prefix_cost", "length_cost", "send", "hop_ticks")
        sizes = ("activation_bytes", "page_bytes", "prefix_bytes", "capacity", "static", "staging")
        scaled = {
            name: getattr(tables, name) * 7 for name in (*times, *sizes, "working_bytes", "own_traffic")
        }
        after = optimum(replace(tables, **scaled))
        assert after is not None
        phases = 2 * (tables.max_chunks + tables.stages - 1)
        assert 7 * (before - phases) < after <= 7 * before


def test_a_cut_that_is_allowed_is_not_better_than_the_best() -> None:
    for tables, best in some_instances()[:8]:
        for marks in partitions(tables):
            plan = Plan(marks)
            if not violations(tables, plan):
                assert best <= replay_lockstep(tables, plan).latency


# --- the chunk graph ----------------------------------------------------------------------------


def test_graph_keeps_every_feasible_plan_and_all_within_the_target() -> None:
    checked = 0
    for tables in random_instances(seed=31, count=80):
        best = brute_force(tables)
        if best is None:
            continue
        for target in (None, int(best.value)):
            graph = chunk_graph(tables, no_worse_than=target)
            indices = best.plan.grid_indices(tables).tolist()
            padded = [0] * (graph.layers - best.plan.chunks) + indices
            for j, (a, b) in enumerate(pairwise(padded)):
                assert (a, b) in graph.arcs[j], tables.name
        assert least_latency(tables, int(best.value)) <= best.value
        checked += 1
    assert checked > 50


def test_graph_prunes_by_target() -> None:
    tables = make_tables(4, 16, max_chunks=8, quadratic=1, constant=5)
    best = solve_joint(tables).outcome.objective
    everything, within = chunk_graph(tables), chunk_graph(tables, no_worse_than=best)
    assert sum(map(len, within.arcs)) < sum(map(len, everything.arcs)) / 2
    assert chunk_graph(tables, no_worse_than=least_latency(tables, best) - 1).empty


def test_overlap_of_none_costs_more() -> None:
    prices = [optimum(replace(WORKED, overlap=Fraction(f, 2))) for f in (2, 1, 0)]
    assert prices[0] == 64
    assert prices == sorted(prices)
    # Chunks (2, 1): 24 ticks; then stage 0 computes for 14 and moves a page for 26, while stage 1
    # computes for 24; then 14.
    assert prices[2] == 24 + (14 + 26) + 14
