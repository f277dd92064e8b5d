"""What commands print stays whole in a narrow terminal, and says the same everywhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_line import run

INSTANCES = Path(__file__).parent.parent / "instances"
POOLED = INSTANCES / "tiny-pooled.json"


def words(text: str) -> set[str]:
    """Words with figures in them, run times left out."""
    kept = [line for line in text.splitlines() if not line.lstrip().startswith("time ")]
    found = set(re.findall(r"\S*\d\S*", " ".join(kept)))
    return {word for word in found if not re.fullmatch(r"\(?\d+\.\d+,?\)?", word)}


@pytest.mark.parametrize("width", [40, 60, 66, 80])
@pytest.mark.parametrize(
    "command",
    [
        ("show", INSTANCES / "gpt3-175b-watos-tight.json"),
        ("bound", POOLED, "--quick"),
        ("tradeoff", POOLED, "--chunks", "auto", "--method", "mocap"),
        ("methods",),
    ],
)
def test_no_word_is_cut_or_broken(command, width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "400")
    _, wide, _ = run(*command, capsys=capsys)
    monkeypatch.setenv("COLUMNS", str(width))
    _, narrow, _ = run(*command, capsys=capsys)
    assert max(map(len, narrow.splitlines())) <= width
    assert "\N{HORIZONTAL ELLIPSIS}" not in narrow
    assert words(wide) <= words(narrow)


@pytest.mark.parametrize("width", [40, 60, 66])
def test_the_figures_of_a_comparison_are_not_cut(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    _, shown, _ = run("compare", POOLED, "--methods", "gpipe,mocap", capsys=capsys)
    assert max(map(len, shown.splitlines())) <= width
    assert {"73.000", "71.000", "2.74"} <= set(shown.split())


def test_solve_and_compare_say_the_same_of_a_missing_plan(capsys):
    _, solved, _ = run("solve", POOLED, "--method", "gpipe", capsys=capsys)
    status = next(line for line in solved.splitlines() if line.startswith("status"))
    assert status.removeprefix("status").strip() == "no plan"
    _, compared, _ = run("compare", POOLED, "--methods", "gpipe", capsys=capsys)
    row = next(line for line in compared.splitlines() if line.startswith("gpipe "))
    assert "no plan" in row
    assert "unknown" not in solved + compared
    assert "lower bound" in compared
