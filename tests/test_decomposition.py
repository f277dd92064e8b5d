"""The decomposed lockstep program: master, ladder and cuts, against brute force."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import make_tables
from oracle import brute_force, feasible_homes, partitions
from random_fixed_messages import with_export
from random_pools import with_pool
from random_tables import random_instances
from test_chunk_partition import pooled_optimum
from test_joint_families import POOLED, RESERVE, appearing, two_senders

from mocap_opt.formulations import benders, benders_cpsat
from mocap_opt.formulations.benders import solve_decomposition
from mocap_opt.formulations.chunk_graph import chunk_graph
from mocap_opt.formulations.chunk_partition import pooled_violations
from mocap_opt.formulations.decomposition import FAMILIES, build, closing, latency_at_home
from mocap_opt.formulations.partition_cuts import PartitionCut
from mocap_opt.formulations.pyomo_solution import attempt, run_program
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers.highs import solve_mip
from mocap_opt.solvers.limits import Limits
from mocap_opt.solvers.outcome import Status
from mocap_opt.solvers.pyomo_form import compile_model
from mocap_opt.tables.cost_tables import Tables

NAMES = [name for name, _ in FAMILIES]
PAGE = (Path(__file__).parent.parent / "formulations" / "decomposition.md").read_text(encoding="utf-8")


def example() -> dict[str, Any]:
    found = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def slots_of(times: np.ndarray, stages: int) -> int:
    """Sum over slots of the longest chunk in them, slot by slot."""
    return sum(max(times[max(0, t - stages + 1) : t + 1], default=0) for t in range(len(times) + stages - 1))


def climbed(levels: np.ndarray, stages: int) -> int:
    return int(levels.sum() + (stages - 1) * np.maximum(np.diff(levels, prepend=0), 0).sum())


def test_levels_and_their_ascents_take_as_long_as_the_slots() -> None:
    rng = np.random.default_rng(91)
    dearer = 0
    for _ in range(1500):
        stages, chunks = int(rng.integers(1, 7)), int(rng.integers(1, 12))
        times = rng.integers(0, 9, chunks)
        levels = closing(times, stages)
        assert (levels >= times).all()
        assert climbed(levels, stages) == slots_of(times, stages)
        other = times + rng.integers(0, 3, chunks) * rng.integers(0, 2, chunks)
        assert climbed(other, stages) >= climbed(levels, stages)
        dearer += climbed(times, stages) > climbed(levels, stages)
    assert dearer > 100


SOLVERS = [benders.solve_decomposition, benders_cpsat.solve_decomposition]


def agreement(seed: int, count: int, solve: Any) -> dict[str, int]:
    """Solve random instances with and without the best plan as a start; count what they exercised."""
    seen = {"infeasible": 0, "levels": 0, "slots": 0, "homes cost": 0, "pool is not enough": 0}
    for tables in random_instances(seed, count=count):
        best = brute_force(tables)
        for start in (None,) if best is None else (None, best.plan):
            result = solve(tables, start)
            if best is None:
                assert result.outcome.status is Status.INFEASIBLE, tables.name
                continue
            assert result.outcome.status is Status.OPTIMAL, tables.name
            assert result.outcome.objective == result.outcome.bound == best.value, tables.name
            assert result.plan is not None
            assert violations(tables, result.plan) == []
        pooled = pooled_optimum(tables)
        model = build(tables)
        seen["infeasible"] += best is None
        seen["pool is not enough"] += best is None and pooled is not None
        seen["homes cost"] += best is not None and pooled < best.value
        seen["levels"] += model is not None and len(model.level) > 0
        seen["slots"] += model is not None and len(model.work) > 0
    return seen


@pytest.mark.parametrize("solve", SOLVERS, ids=["highs", "cpsat"])
def test_agrees_with_brute_force(solve: Any) -> None:
    seen = agreement(92, 45, solve)
    assert min(count for name, count in seen.items() if name != "pool is not enough") > 4


@pytest.mark.slow
@pytest.mark.parametrize("solve", SOLVERS, ids=["highs", "cpsat"])
def test_agrees_with_brute_force_often(solve: Any) -> None:
    assert min(agreement(93, 1000, solve).values()) > 4


def test_the_master_is_the_pooled_optimum() -> None:
    for tables in random_instances(94, count=40):
        model, best = build(tables), pooled_optimum(tables)
        if model is None:
            assert best is None
            continue
        result = run_program(model, tables, None, Limits(), check=pooled_violations)
        assert result.outcome.objective == best
        if result.plan is not None:
            assert latency_at_home(tables, result.plan) == best


def padded(tables: Tables, marks: tuple[int, ...]) -> tuple[int, ...]:
    """Boundaries as grid indices, empty chunks in front."""
    indices = Plan(marks).grid_indices(tables).tolist()
    return (0,) * (max(tables.counts) + 1 - len(indices)) + tuple(indices)


def test_a_partition_without_homes_rules_out_no_partition_that_has_some() -> None:
    ruled_out, others = 0, 0
    for tables in random_instances(95, count=80):
        cuts = {m: next(feasible_homes(tables, m), None) is not None for m in partitions(tables)}
        longest = {m: int(np.diff(m).max()) for m in cuts}
        for marks in (m for m, there in cuts.items() if not there):
            cut = PartitionCut(padded(tables, marks), longest[marks])
            for other, there in cuts.items():
                if cut.rules_out(padded(tables, other)) and longest[other] >= cut.longest:
                    assert not there, (tables.name, marks, other)
                    ruled_out += 1
                    others += other != marks
    assert ruled_out > 100
    assert others > 20


def test_cuts_of_a_solve_rule_out_no_partition_that_has_homes(monkeypatch: Any) -> None:
    kept: list[tuple[PartitionCut, ...]] = []

    def listening(tables: Tables, graph: Any = None, *, cuts: Any = (), without: Any = ()) -> Any:
        kept.append(tuple(cuts))
        return build(tables, graph, cuts=cuts, without=without)

    monkeypatch.setattr(benders, "HIGHS", replace(benders.HIGHS, build=listening))
    dominated = 0
    for tables in random_instances(111, count=30):
        kept.clear()
        solve_decomposition(tables)
        for cut in kept[-1] if kept else ():
            for marks in partitions(tables):
                if not cut.rules_out(padded(tables, marks)):
                    continue
                if int(np.diff(marks).max()) >= cut.longest:
                    dominated += 1
                    assert next(feasible_homes(tables, marks), None) is None
    assert dominated > 0


def answer(tables: Tables, without: tuple[str, ...] = (), cuts: tuple[PartitionCut, ...] = ()) -> Any:
    model = build(tables, cuts=cuts, without=without)
    if model is None:
        return None
    outcome = solve_mip(compile_model(model).program, confirm=False).outcome
    return outcome.status, None if outcome.objective is None else round(outcome.objective, 6)


ATTENTION = make_tables(2, 3, linear=2, quadratic=1)
"""One answer is found wherever boundaries need not be a path."""

SENDING = make_tables(2, 3, activation_bytes=5, link_rate=2)


def exporting(overlap: int = 1) -> Tables:
    """Two stages whose KV leaves over one link."""
    tables = make_tables(2, 2, max_chunks=2, token_bytes=30, overlap=overlap)
    return with_export(with_pool(tables, 0, capacity=0, rate=2), 2)


NECESSARY = {
    "one_boundary": ATTENTION,
    "chunk_starts_at_boundary": ATTENTION,
    "chunk_ends_at_boundary": ATTENTION,
    "chunk_takes_its_time": ATTENTION,
    "message_takes_its_time": SENDING,
    "one_reserve_level": make_tables(
        2,
        8,
        max_chunks=2,
        constant=7,
        token_bytes=10,
        capacity=[82, 113],
        working_bytes=[2, 7],
        queue_depth=1,
    ),
    "reserve_covers_chunk": make_tables(**RESERVE),
    "pooled_memory_has_room": make_tables(**POOLED),
    "levels_cover_chunks": ATTENTION,
    "ascents_are_climbed": ATTENTION,
    "levels_cover_messages": SENDING,
    "message_ascents_are_climbed": make_tables(3, 3, activation_bytes=5, link_rate=2),
    "compute_ends": make_tables(2, 3, linear=[2, 3]),
    "kv_passes_links": exporting(),
    "own_kv_delays_compute": exporting(0),
    "kv_passes_ports": make_tables(2, 3, linear=1, own_per_token=10, port_rate=1),
    "messages_end": make_tables(3, 3, activation_bytes=[5, 4, 3], link_rate=2),
    "activations_pass_links": two_senders(),
    "slots_wait_for_tokens": appearing(),
}


def test_every_family_but_cuts_has_an_instance_that_needs_it() -> None:
    assert {*NECESSARY, "cut_partitions"} == set(NAMES)


@pytest.mark.parametrize("family", NECESSARY)
def test_a_family_left_out_changes_an_answer(family: str) -> None:
    tables = NECESSARY[family]
    assert answer(tables) != answer(tables, (family,))


def test_cuts_left_out_change_an_answer() -> None:
    tables = make_tables(**example()["tables"])
    cuts = (PartitionCut((0, 1, 2, 3), 1),)
    assert answer(tables, cuts=cuts)[1] == 62
    assert answer(tables, ("cut_partitions",), cuts)[1] == answer(tables)[1] == 56
    assert answer(tables, cuts=(PartitionCut((0, 0, 1, 3), 1),))[1] == 68


def test_cuts_may_leave_nothing() -> None:
    tables = make_tables(**example()["tables"])
    assert build(tables, cuts=(PartitionCut((0, 0, 0, 3), 0),)) is None


@pytest.mark.parametrize("module", [benders, benders_cpsat], ids=["highs", "cpsat"])
def test_worked_example(monkeypatch: Any, module: Any) -> None:
    case = example()
    tables = make_tables(**case["tables"])
    rounds: list[int] = []

    def listening(model: Any, *arguments: Any, **options: Any) -> Any:
        run = solvers.run(model, *arguments, **options)
        rounds.append(model.data.timing.latency(tables, run.plan))
        return run

    name = "HIGHS" if module is benders else "CPSAT"
    solvers = getattr(module, name)
    monkeypatch.setattr(module, name, replace(solvers, run=listening))
    result = module.solve_decomposition(tables)
    assert result.outcome.status is Status.OPTIMAL
    assert result.outcome.objective == case["optimum"]
    assert result.plan is not None
    assert list(result.plan.boundaries) in case["best_boundaries"]
    assert rounds == case["rounds"]


def test_fewer_arcs_of_the_callers_are_taken() -> None:
    tables = make_tables(3, 12, max_chunks=4, linear=20, quadratic=2, constant=9)
    asked: list[int | None] = []

    def arcs(target: int | None) -> Any:
        asked.append(target)
        return chunk_graph(tables, no_worse_than=target)

    start = Plan((0, 3, 6, 9, 12))
    result = solve_decomposition(tables, start, arcs=arcs)
    assert result.outcome.status is Status.OPTIMAL
    assert asked[0] == latency_at_home(tables, start)
    assert result.outcome.objective == run_program(build(tables), tables, None, Limits()).outcome.objective


def test_chunks_left_are_counted_and_too_many_are_not_modelled(monkeypatch: Any) -> None:
    tables = make_tables(**example()["tables"])
    first = solve_decomposition(tables)
    assert (first.outcome.arcs, first.outcome.all_arcs) == (7, 7)
    # From a plan of 64: all but [0, 3), which takes 68.
    again = solve_decomposition(tables, first.plan)
    assert (again.outcome.arcs, again.outcome.all_arcs) == (6, 7)
    assert again.outcome.rows
    assert again.outcome.columns
    monkeypatch.setattr(benders, "MOST_MASTER_ARCS", 3)
    refused = solve_decomposition(tables).outcome
    assert refused.status is Status.UNKNOWN
    assert re.match("not built, [0-9]+ chunks are left, more than 3", refused.message)


def test_a_start_is_kept_when_there_is_no_time() -> None:
    tables = make_tables(3, 12, max_chunks=6, constant=5, quadratic=1, linear=100_000)
    start = Plan((0, 6, 12))
    result = solve_decomposition(tables, start, time_limit_s=0.0)
    assert result.plan == start
    assert result.outcome.status is Status.FEASIBLE
    with pytest.raises(ValueError, match="the start is not feasible"):
        solve_decomposition(tables, Plan((0, 12, 6)))


@pytest.mark.parametrize("inflation", [1, 5])
def test_an_inflated_bound_is_found_out(monkeypatch: Any, inflation: int) -> None:
    """Were a master to claim more than it has, its own incumbent or brute force would beat it."""
    beaten = 0
    for tables in random_instances(98, count=15):
        best = brute_force(tables)
        model = build(tables)
        if best is None or model is None:
            continue
        run = attempt(model, tables, None, Limits(), check=pooled_violations)
        assert run.bound is not None
        assert run.bound <= best.value
        beaten += run.bound + inflation > best.value
    assert beaten > 3
