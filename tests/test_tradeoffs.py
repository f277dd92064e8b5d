"""Sweeps of chunk counts and layouts: nothing that could win is left out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_cli import INSTANCES, run, run_json
from toy_instances import toy

from mocap_opt.errors import InputError
from mocap_opt.questions.tradeoffs import chunk_choices, layout_choices, tradeoff
from mocap_opt.solving import solve


def test_layouts_fit_the_living_dies_and_the_layers():
    # 2 x 4 dies and 4 layers: 1 die x 1..4 stages, 2 x 1..4, 3 x 1..2, 4 x 1..2, 5..8 x 1.
    assert len(layout_choices(toy())) == 4 + 4 + 2 + 2 + 4
    assert len(layout_choices(toy(wafer={"dead_dies": [[0, 0]]}))) == 4 + 3 + 2 + 1 + 3


def test_the_sweep_finds_what_solving_every_variant_finds():
    rng = np.random.default_rng(7)
    pruned = 0
    for _ in range(2):
        instance = toy(
            workload={"tokens": int(rng.integers(8, 17))},
            costs={"overhead": f"{int(rng.integers(0, 400))} ns"},
            wafer={"die": {"memory_bytes": int(rng.integers(900, 3000))}},
        )
        found = tradeoff(instance, chunks=True, layouts=True, method="mocap")
        latencies = []
        for choice in found.choices:
            solution = solve(instance.replace(*choice.overrides), "mocap")
            if solution.assessment is not None:
                latency = solution.assessment.latency * solution.tables.tick_s
                assert choice.outcome in ("solved", "pruned")
                assert choice.bound is None or choice.bound <= latency
                latencies.append(latency)
            pruned += choice.outcome == "pruned"
        assert (found.best and found.best.latency) == min(latencies, default=None)
        if found.best is not None:
            assert found.gap is not None
            assert 0 <= found.gap < 1
            assert found.bound <= found.best.latency
    assert pruned >= 8


def test_counts_are_exact():
    found = tradeoff(toy(), chunks=True, layouts=False)
    assert len(found.choices) == len(chunk_choices(toy())) == 3
    assert found.best is not None
    assert found.best.plan is not None
    assert found.best.plan.chunks == found.best.chunks


def test_layouts_given_by_hand_are_not_swept():
    instance = toy(pipeline={"layers": [1, 3]})
    with pytest.raises(InputError, match=r"pipeline.layers: expected rules for any layout"):
        tradeoff(instance, chunks=False, layouts=True)


def test_the_command(capsys):
    code, answer = run_json("tradeoff", INSTANCES / "tiny-shrinking.json", "--chunks", "auto", capsys=capsys)
    assert code == 0
    assert answer["gap"] == 0
    solved = [row for row in answer["variants"] if row["outcome"] == "solved"]
    assert answer["best"] == min(solved, key=lambda row: row["latency_s"])
    code, out, _ = run("tradeoff", INSTANCES / "tiny-shrinking.json", "--chunks", "auto", capsys=capsys)
    assert code == 0
    assert "gap over all variants" in " ".join(out.split())


def test_nothing_to_vary_is_refused(capsys):
    code, _, err = run("tradeoff", INSTANCES / "tiny-slack.json", capsys=capsys)
    assert code == 2
    assert "--chunks auto or --layout auto" in err


@pytest.mark.parametrize(
    "change", ["pipeline.stages=500", "pipeline.stages=5", "pipeline.dies_per_stage=[9, 9]"]
)
@pytest.mark.parametrize("objective", ["latency", "period"])
def test_a_sweep_of_layouts_needs_no_layout_that_fits(change, objective, tmp_path, capsys):
    file = tmp_path / "toy.json"
    file.write_text(json.dumps(toy(chunking={"max_chunks": 2}).to_dict()))
    method = ["--method", "mocap"] if objective == "latency" else ["--time-limit", "0"]
    command = ["tradeoff", file, "--layout", "auto", "--objective", objective, *method]
    code, fits = run_json(*command, capsys=capsys)
    again, swept = run_json(*command, "--set", change, capsys=capsys)
    assert (again, swept) == (code, fits)
    assert len(swept["variants"]) >= 16
    code, _, shown = run("tradeoff", file, "--chunks", "auto", "--set", change, capsys=capsys)
    assert (code, "pipeline." in shown) == (2, True)


def test_a_sweep_of_layouts_still_lists_what_else_is_wrong(tmp_path, capsys):
    file = tmp_path / "toy.json"
    file.write_text(json.dumps(toy().to_dict()))
    command = ["tradeoff", file, "--layout", "auto"]
    code, _, shown = run(*command, "--set", "pipeline.stages=few", capsys=capsys)
    assert code == 2
    assert "pipeline.stages: expected" in shown
    code, _, shown = run(
        *command, "--set", "pipeline.stages=500", "--set", "workload.tokens=0", capsys=capsys
    )
    assert code == 2
    assert "workload.tokens: expected" in shown
