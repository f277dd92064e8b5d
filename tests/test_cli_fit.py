"""`fit`, `timings` and `solve --chunk-list` as a stranger meets them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run

import mocap_opt
from mocap_opt.calibration import FORMS
from mocap_opt.instance import Instance, load_instance
from mocap_opt.instance.costs import Measured
from mocap_opt.pictures.plots import form_figure

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


def test_fit_prints_every_form_and_says_which_is_chosen_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("fit", TIMINGS, capsys=capsys)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines() if line.split()[0] in FORMS] == list(FORMS)
    assert "length: least error on what was left out" in " ".join(out.split())
    answer = json.loads(run("fit", TIMINGS, "--json", capsys=capsys)[1])
    assert [each["form"] for each in answer["forms"]] == list(FORMS)
    assert answer["chosen"] == "length"
    assert answer["costs"]["kind"] == "coefficients"


def test_a_form_is_written_as_a_table_of_its_times(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new, base = tmp_path / "new.json", INSTANCES / "llama-3.1-70b-pjlab-128k.json"
    asked = ["fit", TIMINGS, "--form", "length", "--instance", base, "--out", new]
    assert run(*asked, capsys=capsys)[0] == 0
    changed = load_instance(new)
    assert isinstance(changed.costs, Measured)
    wanted = mocap_opt.fit(TIMINGS, form="length").chosen
    table = changed.costs.of_stage(0)
    for row, length in zip(table.seconds, table.lengths, strict=True):
        assert row == pytest.approx(wanted.predict(length, table.prefixes).tolist())
    # Coefficients are what the form of that name gives with --form engine, and without --form.
    assert run("fit", TIMINGS, "--form", "engine", "--out", new, capsys=capsys)[0] == 0
    first = json.loads(new.read_text())["costs"]["stages"]
    assert run("fit", TIMINGS, "--out", new, capsys=capsys)[0] == 0
    assert first == pytest.approx(json.loads(new.read_text())["costs"]["stages"], rel=1e-9)


def test_timings_too_few_for_forms_still_give_coefficients(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    free = tmp_path / "free.csv"
    rows = [f"{x},0,{1e-3 + 2e-6 * x}" for x in (256, 512, 1024, 2048, 4096)]
    free.write_text("\n".join(["chunk_tokens,prefix_tokens,seconds", *rows]) + "\n")
    code, out, _ = run("fit", free, "--hold", "prefix", capsys=capsys)
    assert code == 0
    assert "three lengths and two prefixes at least" in " ".join(out.split())
    code, _, err = run("fit", free, "--hold", "prefix", "--break", "512", capsys=capsys)
    assert code == 2
    assert "three lengths and two prefixes at least" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--form", "length", "--table", "--out", "x.json"], "--table: expected either of them"),
        (["--form", "auto", "--hold", "prefix"], "--hold: expected either of them"),
        (["--form", "auto", "--weights", "absolute"], "--weights: expected either of them"),
        (["--form", "length", "--break", "2048"], "break: expected a form with breaks: switched"),
        (["--break", "999999999"], "break: expected tokens of prefix and chunk together"),
        (["--form", "cubic"], "Invalid value for '--form'"),
    ],
)
def test_options_that_would_mean_nothing_are_refused(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run("fit", TIMINGS, *options, capsys=capsys)
    assert code == 2
    assert message in err


def test_fit_draws_the_form_and_what_it_leaves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "form.png"
    measured = INSTANCES / "measured" / "minimax-m3-h200-sglang-tp8.csv"
    assert run("fit", measured, "--form", "length", "--plot", picture, capsys=capsys)[0] == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_map_of_residuals_shows_them_cell_by_cell() -> None:
    fit = mocap_opt.fit(TIMINGS, form="length").chosen
    figure = form_figure(fit)
    times, left_over = figure.axes[:2]
    shown = left_over.images[0].get_array()
    assert shown is not None
    lengths, prefixes = np.unique(fit.timings.length), np.unique(fit.timings.prefix)
    assert shown.shape == (lengths.size, prefixes.size)
    for n, off in enumerate(fit.residuals.tolist()):
        cell = (
            np.searchsorted(lengths, fit.timings.length[n]),
            np.searchsorted(prefixes, fit.timings.prefix[n]),
        )
        assert shown[cell] == pytest.approx(100 * off)
    assert "measured" in times.get_title(loc="left")


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
