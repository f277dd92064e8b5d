"""Layers as variables beside boundaries and homes: brute force over all three, families, refusals."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import highspy
import numpy as np
import pyomo.environ as pyo
import pytest
from oracle import Optimum, brute_force, is_feasible, price_plan
from ortools.sat.python import cp_model
from random_pools import with_pool

import mocap_opt
from mocap_opt.cli import main
from mocap_opt.errors import InputError
from mocap_opt.formulations import joint_layers
from mocap_opt.formulations.joint_layers import solve_joint_layers
from mocap_opt.formulations.layer_tables import LayerTables, layer_tables
from mocap_opt.instance import Instance, StageLayout
from mocap_opt.solvers.highs import solve_mip
from mocap_opt.solvers.outcome import Status
from mocap_opt.solvers.pyomo_form import compile_model
from mocap_opt.tables import build_tables

PAGE = Path(__file__).parent.parent / "formulations" / "joint_layers.md"


def described(**changes: Any) -> dict[str, Any]:
    """An instance whose times are a few microseconds, each a tick."""
    die = {"flops": "4 MFLOP/s", "memory_bytes": 1000, "memory_bandwidth": "1 TB/s", **changes.pop("die", {})}
    wafer = {"topology": "mesh", "rows": 1, "cols": 2, "die": die}
    return {
        "version": 1,
        "name": "layers",
        "model": {
            "layers": 3,
            "hidden": 1,
            "heads": 1,
            "kv_heads": 1,
            "head_dim": 1,
            "ffn": 1,
            "gated": False,
            "vocabulary": 1,
            **changes.pop("model", {}),
        },
        "precision": {"weights": 1, "kv": 4, "activations": 1, **changes.pop("precision", {})},
        "wafer": wafer
        | {"link": {"bandwidth": "1 MB/s", "hop_latency": 0, **changes.pop("link", {})}}
        | changes.pop("wafer", {}),
        "pipeline": {"stages": 2, "layers": "auto", "staging_per_die": 0, **changes.pop("pipeline", {})},
        "workload": {"tokens": 2, **changes.pop("workload", {})},
        "chunking": {"max_chunks": 2, "quantum": 1, **changes.pop("chunking", {})},
        "costs": {"kind": "roofline", "efficiency": 1, "overhead": "4 us", **changes.pop("costs", {})},
        "tick": "1 us",
        **changes,
    }


def drawn(seed: int) -> Instance:
    """A tiny instance in which layers, memory, links and ports may all bind."""
    rng = np.random.default_rng(seed)

    def one(*values: Any) -> Any:
        return values[int(rng.integers(len(values)))]

    stages = one(1, 2, 2, 2, 2, 3)
    layers, tokens = stages + one(0, 1, 1, 2, 3), one(2, 3, 3, 4) if stages < 3 else one(2, 3)
    dies = [one(1, 1, 2) for _ in range(stages)]
    roomy = Instance.from_dict(
        described(
            model={"layers": layers, "heads": 2, "kv_heads": one(1, 2)},
            precision={"kv": one(2, 4, 16, 0.75)},
            die={
                "flops": one("4 MFLOP/s", "40 MFLOP/s"),
                "memory_bandwidth": one("1 TB/s", "60 MB/s", "9 MB/s"),
            },
            link={"bandwidth": one("1 MB/s", "3 MB/s"), "hop_latency": one(0, "2 us")},
            wafer={"cols": sum(dies)},
            pipeline={
                "stages": stages,
                "dies_per_stage": dies,
                "queue_depth": one(1, 2, "unbounded"),
                "staging_per_die": one(0, 3),
            },
            workload={"tokens": tokens, "cached_prefix": one(0, 0, 1)},
            chunking={"max_chunks": min(tokens, one(2, 3)), "exact": one(False, False, True)},
            costs={"overhead": one(0, "4 us", "15 us")},
            overlap=one(1.0, 1.0, 0.5),
            attention=one("causal", "full_block"),
        )
    )
    # Memory for a part of what the balanced list keeps at home.
    tables = build_tables(roomy.replace("pipeline.layers=balanced", "pipeline.degrees=divide-heads"))
    kept = [tables.static, tables.reserve(1), tables.prefix_bytes, tables.page_bytes * tables.pages[-1]]
    memory = int(one(0.9, 0.95, 1.0, 1.05, 1.1) * sum(int(each.sum()) for each in kept)) // sum(dies)
    return roomy.replace(f"wafer.die.memory_bytes={memory}")


def best_of_all(instance: Instance, given: LayerTables) -> tuple[dict[tuple[int, ...], Optimum | None], Any]:
    """By list the best plan there is, from tables of that list alone; and the least value of all."""
    each = {
        layers: brute_force(build_tables(instance.with_layout(StageLayout(given.dies, layers))))
        for layers in given.lists()
    }
    return each, min((best.value for best in each.values() if best is not None), default=None)


def check_seed(seed: int) -> Any:
    """Both solvers against brute force; return the least value of all, and whether lists differ in theirs."""
    instance = drawn(seed)
    given = layer_tables(instance)
    each, least = best_of_all(instance, given)
    for solver, target in (("highs", None), ("cpsat", None), ("cpsat", least)):
        result = solve_joint_layers(
            given, solver=solver, no_worse_than=target, time_limit_s=60.0, gap=0.0, seed=0, threads=1
        )
        outcome = result.outcome
        if least is None:
            assert outcome.status is Status.INFEASIBLE, (seed, solver)
            continue
        assert (outcome.status, outcome.objective, outcome.bound) == (Status.OPTIMAL, least, least), (
            seed,
            solver,
        )
        plan = result.plan
        tables = build_tables(instance.with_layout(plan.layout))
        assert is_feasible(tables, plan)
        assert price_plan(tables, plan) == least
        assert each[plan.layout.layers].value == least
    values = {None if best is None else best.value for best in each.values()}
    return least, len(values) > 1, least is not None and any(b and b.plan.homes for b in each.values())


SEEDS = 15
"""By default; the slow test takes 300 more."""


def test_both_solvers_agree_with_brute_force() -> None:
    found = [check_seed(seed) for seed in range(SEEDS)]
    assert sum(least is None for least, _, _ in found) in range(1, SEEDS // 2)
    assert sum(differ for _, differ, _ in found) > SEEDS // 3
    assert sum(moves for _, _, moves in found) > SEEDS // 3


@pytest.mark.slow
def test_both_solvers_agree_with_brute_force_on_many() -> None:
    for seed in range(SEEDS, SEEDS + 300):
        check_seed(seed)


def test_tables_put_together_are_those_of_the_list() -> None:
    for seed in range(SEEDS):
        instance = drawn(seed)
        given = layer_tables(instance)
        for layers in given.lists():
            made = build_tables(instance.with_layout(StageLayout(given.dies, layers)))
            for field in fields(made):
                ours, theirs = getattr(given.decided(layers), field.name), getattr(made, field.name)
                assert np.array_equal(ours, theirs), (seed, layers, field.name)


def test_memories_without_a_stage_are_the_same_for_all_lists() -> None:
    moved = 0
    for seed in range(5):
        given = layer_tables(drawn(seed))
        pooled = partial(with_pool, at=0, capacity=int(given.tables.page_bytes.sum()), rate=2)
        given = replace(given, by_stage={pair: pooled(held) for pair, held in given.by_stage.items()})
        found = [brute_force(given.decided(layers)) for layers in given.lists()]
        least = min((best.value for best in found if best is not None), default=None)
        for solver in ("highs", "cpsat"):
            result = solve_joint_layers(given, solver=solver, time_limit_s=60.0, gap=0.0, threads=1)
            assert result.outcome.objective == least
        moved += any(
            home.memory == given.tables.stages for home in (result.plan.homes if result.plan else ())
        )
    assert moved


def answer(model: Any) -> tuple[Status, float | None]:
    outcome = solve_mip(compile_model(model).program).outcome
    return outcome.status, None if outcome.objective is None else round(outcome.objective, 6)


@pytest.mark.parametrize(
    ("family", "seed"),
    [
        ("chunk_takes_its_time", 0),
        ("reserve_covers_chunk", 12),
        ("layers_add_up", 0),
        ("chunk_runs_with_layers", 0),
        ("layers_run_every_chunk", 0),
        ("reserve_stands_with_layers", 12),
        ("layers_keep_a_reserve", 1),
        ("pages_are_housed", 1),
        ("memory_has_room", 1),
        ("kv_passes_links", 5),
        ("own_kv_delays_compute", 3),
    ],
)
def test_without_a_family_the_answer_is_another(family: str, seed: int) -> None:
    given = layer_tables(drawn(seed))
    assert answer(joint_layers.build(given, without=[family])) != answer(joint_layers.build(given))


@pytest.mark.parametrize("solver", ["highs", "cpsat"])
def test_a_target_below_the_optimum_leaves_no_plan(solver: Any) -> None:
    given = layer_tables(Instance.from_dict(described()))
    for target, status in ((36, Status.OPTIMAL), (35, Status.INFEASIBLE)):
        found = solve_joint_layers(given, solver=solver, no_worse_than=target, time_limit_s=60.0, threads=1)
        assert found.outcome.status is status


def worked() -> dict[str, Any]:
    found = re.search(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


@pytest.mark.parametrize("solver", ["highs", "cpsat"])
@pytest.mark.parametrize("which", ["ample", "tight"])
def test_worked_example_of_the_page(which: str, solver: Any) -> None:
    case = worked()
    die = {} if which == "ample" else {"memory_bytes": case["memory_bytes"]}
    instance = Instance.from_dict(described(die=die))
    given = layer_tables(instance)
    each, least = best_of_all(instance, given)
    result = solve_joint_layers(given, solver=solver, time_limit_s=60.0, gap=0.0, threads=1)
    assert least == result.outcome.objective == result.outcome.bound == case[which]
    best = [list(layers) for layers, found in each.items() if found is not None and found.value == least]
    assert best == case[f"{which}_layers"]
    assert list(result.plan.layout.layers) in best


def test_components_and_variables_have_the_names_of_the_page() -> None:
    model = joint_layers.build(layer_tables(drawn(12)))
    assert [c.name for c in model.component_objects(pyo.Constraint)] == [n for n, _ in joint_layers.FAMILIES]
    pages = PAGE.read_text(encoding="utf-8") + PAGE.with_name("joint.md").read_text(encoding="utf-8")
    assert all(f"`{variable.name}`" in pages for variable in model.component_objects(pyo.Var))


def test_models_to_add_to() -> None:
    """Both modellers hand the program out; with one layer on stage 1 the plan takes 37."""
    instance = Instance.from_dict(described())
    model = mocap_opt.build_model(instance, "joint_layers")
    model.rule = pyo.Constraint(expr=model.layers[1, 1] == 1)
    compiled = compile_model(model)
    found = solve_mip(compiled.program)
    compiled.load(found.values)
    plan = mocap_opt.read_plan(model, instance)
    assert (found.outcome.objective, plan.layout.layers) == (37, (2, 1))
    built = mocap_opt.build_cp_model(instance, "joint_layers")
    built.model.add(built.variables["layers[1,1]"] == 1)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    assert solver.solve(built.model) == cp_model.OPTIMAL
    assert solver.objective_value + built.offset == 37
    assert built.read_plan(solver).layout.layers == (2, 1)


def test_export(tmp_path: Path, capsys: Any) -> None:
    file, target = tmp_path / "layers.json", tmp_path / "model.mps"
    file.write_text(json.dumps(described()))
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["export", str(file), "--program", "joint_layers", "--to", str(target)])
    assert "joint_layers program of layers" in capsys.readouterr().out
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("presolve", "off")
    solver.readModel(str(target))
    solver.run()
    assert round(solver.getInfo().objective_function_value, 6) == 36


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pipeline": {"layers": [1, 2]}}, r'pipeline.layers: expected "auto", got \[1, 2\]'),
        ({"pipeline": {"stages": "auto"}}, r'pipeline.stages: expected one layout.*got "auto"'),
        (
            {"model": {"experts": {"count": 2, "active": 1, "ffn": 3, "dense_layers": 1}}},
            r"pipeline.layers: expected layers that are all alike",
        ),
        (
            {"model": {"experts": {"count": 2, "active": 1, "ffn": 3, "layers": [0, 2]}}},
            r"pipeline.layers: expected layers that are all alike",
        ),
        ({"precision": {"weights": [1, 1, 2]}}, r"pipeline.layers: expected layers that are all alike"),
        ({"model": {"layers": 300}}, r"pipeline.layers: expected at most 400 pairs .* got 598"),
        (
            {
                "model": {"layers": 200},
                "workload": {"tokens": 40},
                "chunking": {"max_chunks": 20},
            },
            r"pipeline.layers: expected a program of at most 200,000 of both.*got .* chunks for 398",
        ),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mocap_opt.build_model(Instance.from_dict(described(**changes)), "joint_layers")


def test_tables_are_refused() -> None:
    given = layer_tables(Instance.from_dict(described()))
    with pytest.raises(InputError, match=r"pipeline.layers: expected the instance that leaves them open"):
        mocap_opt.build_model(given.tables, "joint_layers")
