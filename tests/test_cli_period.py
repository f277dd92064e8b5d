"""`solve` and `evaluate` where the objective is the period."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import run

TINY = str(Path(__file__).parent.parent / "instances" / "tiny-slack.json")
PERIOD = ["--set", "objective=period"]
BOUNDED = [*PERIOD, "--set", "pipeline.queue_depth=2"]


def test_a_plan_is_written_with_its_spacing_and_read_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "plan.json")
    code, text, _ = run("solve", TINY, *BOUNDED, "--out", out, "--json", capsys=capsys)
    answer = json.loads(text)
    assert code == 0
    assert answer["requests_per_s"] == pytest.approx(1 / answer["period_s"])
    assert answer["slots"] == answer["chunks"] + answer["idle_slots"]
    assert answer["lower_bound_s"] <= answer["period_s"]
    code, text, _ = run("evaluate", TINY, out, *BOUNDED, "--json", capsys=capsys)
    again = json.loads(text)
    assert code == 0
    assert (again["period_s"], again["slots"]) == (answer["period_s"], answer["slots"])


def test_unbounded_queues_are_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run("solve", TINY, *PERIOD, capsys=capsys)
    assert (code, out) == (2, "")
    assert "pipeline.queue_depth" in err


def test_options_without_meaning_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run("solve", TINY, *BOUNDED, "--gantt", capsys=capsys)
    assert code == 2
    assert "--gantt" in err
