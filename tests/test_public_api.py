"""What the package offers to other programs: models to add to, dicts and DataFrames in and out, examples."""

from __future__ import annotations

import doctest
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyomo.environ as pyo
import pytest
from ortools.sat.python import cp_model

import mocap_opt
from mocap_opt.errors import InputError
from mocap_opt.formulations.registry import NoModelError

ROOT = Path(__file__).parent.parent
INSTANCES = ROOT / "instances"


def tiny(name: str, *overrides: str) -> mocap_opt.Instance:
    return mocap_opt.load_instance(INSTANCES / f"tiny-{name}.json", overrides)


@pytest.mark.parametrize("name", ["mocap_opt", "mocap_opt.frames"])
def test_examples_in_docstrings_come_out(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 3
    assert found.failed == 0


EXAMPLES = sorted({*mocap_opt.__all__} - {"METHODS", "__version__"})
"""Everything with a docstring of its own."""


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_public_name_has_an_example_that_comes_out(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    runner = doctest.DocTestRunner()
    for found in doctest.DocTestFinder(recurse=False).find(getattr(mocap_opt, name), name, globs={}):
        runner.run(found)
    tried = runner.summarize()
    assert tried.attempted > 0
    assert tried.failed == 0


def test_every_public_name_exists_and_is_described():
    text = mocap_opt.__doc__ or ""
    for name in mocap_opt.__all__:
        assert getattr(mocap_opt, name).__doc__, name
    assert set(mocap_opt.__all__) <= set(dir(mocap_opt))
    assert all(name in text for name in ("build_model", "from_dict", "to_frame", "frames", "plugins"))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("joint", {}),
        ("contention_free", {}),
        ("kv_placement", {"boundaries": [0, 2, 4]}),
        ("chunk_partition", {"memory": "pooled"}),
    ],
)
def test_names_on_a_page_are_components_of_the_model_handed_out(name, options):
    model = mocap_opt.build_model(tiny("pooled", "overlap=0.5"), name, **options)
    page = (ROOT / "formulations" / f"{name}.md").read_text(encoding="utf-8")
    page += (ROOT / "formulations" / "joint.md").read_text(encoding="utf-8")
    assert isinstance(model, pyo.ConcreteModel)
    components = [*model.component_objects(pyo.Var), *model.component_objects(pyo.Constraint)]
    assert len(components) > 8
    assert all(f"`{component.name}`" in page for component in components)


def test_a_rule_of_ones_own_is_added_and_solved_by_pyomo_and_by_cp_sat():
    # Equal chunks of two tokens are best among two chunks; with one token in the first, lockstep takes
    # 13 + max(13, 33) + 33 and three sends of 1: 3 + 3 x 10 = 33 us for the second chunk.
    instance = tiny("slack", "chunking.max_chunks=2")
    free = mocap_opt.build_model(instance, "joint")
    model = mocap_opt.build_model(instance.to_dict(), "joint")
    model.first_is_short = pyo.Constraint(expr=model.boundary[1, 1] == 1)
    for each in (free, model):
        assert pyo.check_optimal_termination(pyo.SolverFactory("appsi_highs").solve(each))
    plan = mocap_opt.read_plan(model, instance)
    assert plan.boundaries == (0, 1, 4)
    assert mocap_opt.read_plan(free, instance).boundaries == (0, 2, 4)
    tables = mocap_opt.build_tables(instance)
    price = mocap_opt.replay_lockstep(tables, plan).latency
    assert pyo.value(model.latency) == pytest.approx(price)
    assert 13 + 33 + 33 <= price > pyo.value(free.latency)

    built = mocap_opt.build_cp_model(instance, "joint")
    built.model.add(built.variables["boundary[1]"] == 1)
    solver = cp_model.CpSolver()
    assert solver.solve(built.model) == cp_model.OPTIMAL
    assert built.read_plan(solver) == plan
    assert solver.objective_value + built.offset == price


def test_homes_are_read_from_both_models():
    instance = tiny("pooled")
    model = mocap_opt.build_model(instance, "joint")
    pyo.SolverFactory("appsi_highs").solve(model)
    built = mocap_opt.build_cp_model(instance)
    solver = cp_model.CpSolver()
    solver.solve(built.model)
    tables = mocap_opt.build_tables(instance)
    for plan in (mocap_opt.read_plan(model, tables), built.read_plan(solver)):
        assert plan.homes
        assert mocap_opt.violations(tables, plan) == []
        assert mocap_opt.replay_lockstep(tables, plan).latency == round(pyo.value(model.latency))


def test_asking_for_models_that_are_not_there_is_said_clearly():
    instance = tiny("slack")
    with pytest.raises(InputError, match=r"formulation: expected one of joint, .*got 'magic'"):
        mocap_opt.build_model(instance, "magic")
    with pytest.raises(InputError, match=r"name: expected one of joint, contention_free, joint_layers, got"):
        mocap_opt.build_cp_model(instance, "magic")
    with pytest.raises(NoModelError, match="no boundaries keep to the limits and fit in memory"):
        mocap_opt.build_model(tiny("hopeless"))
    with pytest.raises(InputError, match="boundaries: expected tokens that a plan may have"):
        mocap_opt.build_model(instance, "kv_placement", boundaries=[0, 4, 3])
    with pytest.raises(ValueError, match="no values yet: solve it first"):
        mocap_opt.read_plan(mocap_opt.build_model(instance), instance)
    with pytest.raises(InputError, match="workload"):
        mocap_opt.build_model({"version": 1})


def test_dicts_go_in_wherever_instances_and_plans_do():
    instance = tiny("pooled")
    data = json.loads((INSTANCES / "tiny-pooled.json").read_text())
    solution = mocap_opt.solve(data, "mocap")
    assert solution.report.fingerprint == instance.fingerprint
    plan = mocap_opt.plan_to_dict(solution.plan, instance.name, solution.tables)
    judged = mocap_opt.evaluate(data, json.loads(json.dumps(plan)))
    assert judged.report.latency_s == solution.report.latency_s
    assert mocap_opt.bound(data)[1] == mocap_opt.bound(instance)[1]
    assert mocap_opt.compare([data, instance], ["mocap"])["latency_s"].nunique() == 1
    with pytest.raises(InputError, match=r"boundaries\[1\]: expected 4"):
        mocap_opt.evaluate(data, {**plan, "boundaries": [0, 3], "homes": []})
    with pytest.raises(InputError, match="instance: expected an object"):
        mocap_opt.solve([1, 2])


def test_answers_come_out_as_frames_and_plans_go_in_as_such():
    frames = mocap_opt.frames
    solution = mocap_opt.solve(tiny("pooled"))
    report = solution.report.to_frame()
    assert len(report) == 1
    assert report.loc[0, "latency_s"] == solution.report.latency_s
    both = frames.reports([solution, solution.report])
    assert both["fingerprint"].nunique() == 1
    assert frames.chunks(solution)["tokens"].sum() == solution.tables.tokens
    assert frames.homes(solution)["tokens"].sum() == sum(home["tokens"] for home in solution.report.homes)
    assert frames.bounds(solution)["lower_bound_s"].max() >= solution.report.lower_bound_s
    assert set(frames.trials(solution)["source"]) >= {"mocap"}
    assert frames.memory(solution).max(axis=1).tolist() == solution.report.peak_memory_bytes
    for execution, latency in (
        ("lockstep", solution.report.lockstep_latency_s),
        ("event-driven", solution.report.event_latency_s),
    ):
        line = frames.timeline(solution, execution)
        assert line["end_s"].max() == pytest.approx(latency)
        assert (line["end_s"] > line["start_s"]).all()
    chunks, homes = frames.chunks(solution), frames.homes(solution)
    again = frames.plan(solution.tables, chunks.drop(columns="end"), homes.astype({"tokens": float}))
    assert again == mocap_opt.Plan(solution.plan.boundaries, solution.plan.homes)
    assert frames.plan(solution.tables, chunks).homes == ()


def test_frames_of_an_answer_without_a_plan_are_empty_but_have_their_columns():
    solution = mocap_opt.solve(tiny("hopeless"))
    frames = mocap_opt.frames
    for frame in (frames.chunks(solution), frames.homes(solution), frames.timeline(solution)):
        assert frame.empty
        assert "chunk" in {*frame.columns, frame.index.name}
    assert frames.memory(solution).empty


def test_frames_that_are_no_plan_are_refused_with_the_place():
    frames, instance = mocap_opt.frames, tiny("slack")
    chunks = pd.DataFrame({"end": [2, 4]})
    with pytest.raises(InputError, match='chunks: expected a column "end" or "tokens"'):
        frames.plan(instance, pd.DataFrame({"x": [1]}))
    with pytest.raises(InputError, match="homes: expected also the columns memory, tokens"):
        frames.plan(instance, chunks, pd.DataFrame({"stage": [0], "chunk": [0]}))
    with pytest.raises(InputError, match=r"boundaries\[1\]: "):
        frames.plan(instance, pd.DataFrame({"end": [float("nan"), 4]}))
    with pytest.raises(InputError, match="execution: expected lockstep or event-driven"):
        frames.timeline(mocap_opt.solve(instance, "mocap"), "fast")


def test_variants_are_made_of_a_frame_of_dotted_paths():
    instance = tiny("slack")
    rows = pd.DataFrame({"workload.batch": [1, 2], "chunking.max_chunks": [None, 2]})
    made = mocap_opt.frames.variants(instance, rows)
    assert [variant.workload.batch for variant in made] == [1, 2]
    assert [variant.chunking.max_chunks for variant in made] == [4, 2]
    assert mocap_opt.frames.variants(instance, rows.to_dict("records")[1:]) == made[1:]
    with pytest.raises(InputError, match=r"row 1: workload\.batch: expected"):
        mocap_opt.frames.variants(instance, pd.DataFrame({"workload.batch": [1, 0]}))


def test_public_names_load_nothing_heavy_before_they_are_used():
    code = (
        "import sys, mocap_opt; mocap_opt.build_model, mocap_opt.build_cp_model, mocap_opt.frames, "
        "mocap_opt.Formulation, mocap_opt.studies; "
        "print([m for m in ('pyomo', 'ortools', 'highspy', 'pandas', 'matplotlib', 'distributed') "
        "if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_frames_refuse_the_answer_of_a_period_and_reports_takes_it():
    period = mocap_opt.solve(tiny("pooled", "objective=period", "pipeline.queue_depth=2"), time_limit_s=1)
    table = mocap_opt.frames.reports([period])
    assert table["period_s"].tolist() == [period.report.period_s]
    frames = mocap_opt.frames
    for frame in (frames.chunks, frames.homes, frames.bounds, frames.trials, frames.memory, frames.timeline):
        with pytest.raises(InputError, match=r"solution: expected the answer for one prompt .*period"):
            frame(period)
