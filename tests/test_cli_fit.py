"""`fit`, `timings` and `solve --chunk-list` as a stranger meets them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import run

from mocap_opt.instance import Instance, load_instance

INSTANCES = Path(__file__).resolve().parent.parent / "instances"
TIMINGS = INSTANCES / "timings" / "llama-3.1-70b-pjlab.csv"
MEASURED = INSTANCES / "llama-3.1-70b-pjlab-measured.json"
SLACK = INSTANCES / "tiny-slack.json"


def test_fit_prints_coefficients_errors_and_the_worst_chunks(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run("fit", TIMINGS, capsys=capsys)
    assert (code, err) == (0, "")
    assert "standard error" in out
    assert "s per token^2" in out
    assert "largest 6.40 %, RMS 2.68 %" in out
    assert "16,384 tokens after 16,384: 1.4510 s, fitted 1.3580 s (+6.40 %)" in out
    assert max(map(len, out.splitlines())) <= 80


def test_fit_answers_json_alone(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("fit", TIMINGS, "--json", "--hold", "prefix", capsys=capsys)
    answer = json.loads(out)
    (fit,) = answer["fits"]
    assert code == 0
    assert fit["stage"] is None
    assert fit["rows"] == 45
    assert fit["standard_errors"]["prefix"] is None
    assert answer["costs"] == {"kind": "coefficients", "stages": fit["coefficients"]}


@pytest.mark.parametrize("kind", ["coefficients", "measured"])
def test_fit_writes_costs_that_an_instance_takes(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = ["--table"] if kind == "measured" else []
    fragment, whole = tmp_path / "costs.json", tmp_path / "new.json"
    base = INSTANCES / "llama-3.1-70b-pjlab-128k.json"
    assert run("fit", TIMINGS, *table, "--out", fragment, capsys=capsys)[0] == 0
    code, out, _ = run("fit", TIMINGS, *table, "--instance", base, "--out", whole, capsys=capsys)
    assert (code, out.splitlines()[-1]) == (0, str(whole))
    costs = json.loads(fragment.read_text())["costs"]
    changed = load_instance(whole)
    assert changed.costs.kind == kind
    # The base counts attention in full blocks; what was measured already contains that.
    assert changed.attention == "causal"
    raw: dict[str, Any] = json.loads(base.read_text())
    assert changed == Instance.from_dict({**raw, "costs": costs, "attention": "causal"})
    if kind == "measured":
        assert changed.costs == load_instance(MEASURED).costs


def test_stages_of_their_own_become_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = INSTANCES / "llama-3.1-70b-pjlab-128k.json"
    uneven = ["--set", "pipeline.stages=3", "--set", "wafer.die.memory_bytes=1TB"]
    timings, new = tmp_path / "t.csv", tmp_path / "new.json"
    assert run("timings", base, *uneven, "--out", timings, capsys=capsys)[0] == 0
    code, out, _ = run("fit", timings, "--out", new, capsys=capsys)
    assert code == 0
    assert "on stage" in out
    assert len(json.loads(new.read_text())["costs"]["stages"]) == 3


def test_fit_draws_the_residuals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "residuals.png"
    assert run("fit", TIMINGS, "--plot", picture, capsys=capsys)[0] == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (["nowhere.csv"], "nowhere.csv"),
        ([str(SLACK)], "line 1"),
        ([str(TIMINGS), "--table"], "--table: expected a place for the result, got no --out"),
        ([str(TIMINGS), "--instance", str(SLACK)], "--instance"),
        ([str(TIMINGS), "--plot", "residuals.jpg"], "--plot"),
        ([str(TIMINGS), "--plot", "no/such/folder.png"], "no/such"),
        ([str(TIMINGS), "--hold", "curve"], "curve"),
    ],
)
def test_bad_input_is_one_message(
    arguments: list[str], place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run("fit", *arguments, capsys=capsys)
    assert (code, out) == (2, "")
    assert place in err
    assert "Traceback" not in err


def test_timings_without_a_file_go_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("timings", INSTANCES / "llama-3.1-70b-pjlab-128k.json", capsys=capsys)
    lines = out.splitlines()
    assert code == 0
    assert lines[1:3] == ["# no noise", "chunk_tokens,prefix_tokens,seconds"]
    assert len(lines) == 3 + 45


def test_a_chunk_list_stands_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "plan.json"
    code, out, _ = run("solve", SLACK, "--chunk-list", "--out", plan, capsys=capsys)
    boundaries = json.loads(plan.read_text())["boundaries"]
    lengths = [int(text) for text in out.strip().split(",")]
    assert code == 0
    assert out.count("\n") == 1
    assert [sum(lengths[:n]) for n in range(len(lengths) + 1)] == boundaries


def test_without_a_plan_there_is_no_list(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run("solve", INSTANCES / "tiny-hopeless.json", "--chunk-list", capsys=capsys)
    assert (code, out) == (3, "")
    assert "no chunks to list" in err


@pytest.mark.parametrize("beside", [["--json"], ["--gantt"], ["--set", "objective=period"]])
def test_a_chunk_list_suffers_nothing_beside_it(
    beside: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run("solve", SLACK, "--chunk-list", *beside, capsys=capsys)
    assert (code, out) == (2, "")
    assert "--chunk-list" in err
