"""Commands that show what a study found: runs, tables, pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_line import exit_code
from step_searches import STEP_NAMES
from table_cells import cells_of_latex, cells_of_markdown

INSTANCES = Path(__file__).parent.parent / "instances"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study that has been run by the command."""
    path = tmp_path_factory.mktemp("study") / "small.toml"
    path.write_text(
        f"""
        methods = ["gpipe", "mocap", "joint"]
        deterministic_limit = 1
        [[instances]]
        files = ["{INSTANCES}/tiny-slack.json", "{INSTANCES}/tiny-pooled.json"]
        """
    )
    assert exit_code("study", path, "--cores", "1", "--json") == 0
    return path


def test_the_command_does_each_run_once(study, capsys):
    assert exit_code("study", "run", study, "--cores", "1", "--json") == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["runs"], again["finished_before"], again["done"], again["failed"]) == (6, 6, 0, 0)
    assert Path(again["results"]).name == "small.results.sqlite"


def test_tables_are_printed_and_written(study, tmp_path, capsys):
    assert exit_code("study", "table", study) == 0
    cells = cells_of_markdown(capsys.readouterr().out)
    assert cells[0] == ["instance", "gpipe", "mocap", "joint"]
    assert [row[0] for row in cells[1:]] == ["tiny-slack", "tiny-pooled"]
    assert cells[1][3] == "0.00 %"
    latex = ["--kind", "standings", "--format", "latex", "--out", tmp_path / "t.tex"]
    assert exit_code("study", "table", study, *latex) == 0
    assert [row[0] for row in cells_of_latex((tmp_path / "t.tex").read_text())] == [
        "contender",
        "gpipe",
        "mocap",
        "joint",
    ]
    capsys.readouterr()
    assert exit_code("study", "table", study, "--kind", "contributions", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["contender"] for row in rows] == ["joint", "joint"]
    assert all(row["plan_by"] in STEP_NAMES and row["bound_by"] in STEP_NAMES for row in rows)
    assert exit_code("study", "table", study, "--kind", "contributions") == 0
    assert "| step" in capsys.readouterr().out
    assert exit_code("study", "table", study, "--kind", "rows", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in rows] == ["gpipe", "mocap", "joint"] * 2
    assert exit_code("study", "table", study.with_name("small.results.sqlite"), "--kind", "failures") == 0
    assert len(cells_of_markdown(capsys.readouterr().out)) == 1
    for name in ("r.csv", "r.parquet"):
        assert exit_code("study", "table", study, "--out", tmp_path / name) == 0
        assert (tmp_path / name).stat().st_size > 500


@pytest.mark.parametrize("kind", ["profile", "time-profile", "gaps", "gap-over-time"])
def test_pictures_are_written(kind, study, tmp_path, capsys):
    assert exit_code("study", "plot", study, "--kind", kind, "--out", tmp_path / "x.svg") == 0
    assert "<svg" in (tmp_path / "x.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["study", "none.toml"], 2, "none.toml"),
        (["study", "run", "new.toml", "--cluster", "local:0"], 2, "--cluster: expected local: and a number"),
        (["study", "run", "new.toml", "--cluster", "local:2", "--cores", "1"], 2, "only one of them"),
        (["study", "table", "new.toml"], 2, "run the study first"),
        (["study", "table", "none.sqlite"], 2, "no such file"),
        (["study", "plot", "new.toml", "--out", "x.gif"], 2, "ends in .png, .svg or .pdf"),
    ],
)
def test_bad_calls_are_said_clearly(arguments, code, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "new.toml").write_text(
        f'methods = ["mocap"]\n[[instances]]\nfiles = ["{INSTANCES}/tiny-slack.json"]\n'
    )
    monkeypatch.chdir(tmp_path)
    assert exit_code(*arguments) == code
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["new.toml"]


def test_a_study_without_finished_runs_has_nothing_to_show(study, tmp_path, capsys):
    # Results are in the file, but none of what the study asks now.
    other = tmp_path / "other.toml"
    other.write_text(study.read_text().replace("deterministic_limit = 1", "deterministic_limit = 2"))
    shutil.copy(study.with_name("small.results.sqlite"), tmp_path / "other.results.sqlite")
    assert exit_code("study", "table", other) == 4
    assert "no finished run with the versions installed" in capsys.readouterr().err
