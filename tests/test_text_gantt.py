"""Gantt charts in letters, cell by cell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders import make_tables
from test_cli import run

from mocap_opt.cli.text_gantt import WAIT_SIGNS, text_gantt
from mocap_opt.pictures.run_view import view_run
from mocap_opt.replay.activity import WAITS
from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.plan import Home, Plan

INSTANCES = Path(__file__).resolve().parent.parent / "instances"


def test_every_cell_of_a_small_chart():
    # The worked example of formulations/replay.md, 8 ticks, two cells a tick.
    tables = make_tables(3, 3, linear=1, link_rate={"1>2": 1})
    plan = Plan((0, 1, 3), (Home(0, 1, 2, 2), Home(1, 0, 2, 1)))
    lines = text_gantt(view_run(tables, plan, Execution.EVENT), width=25)
    assert lines == [
        "stage 0 001111~~",
        "stage 1   00~~--1111",
        "stage 2       !!00--1111",
        "        0     4 ns  8 ns",
        "event-driven:",
        "     0 .. 1 chunks 0 to 1",
        "     ~ waiting for KV traffic",
        "     - waiting for activations",
        "     ! waiting for admission",
    ]


def test_lockstep_shows_sends_and_barriers():
    tables = make_tables(2, 3, linear=[10, 20], activation_bytes=3, link_rate=1)
    lines = text_gantt(view_run(tables, Plan((0, 1, 3)), Execution.LOCKSTEP), width=8 + 79 + 1)
    assert lines[0] == "stage 0 " + "0" * 10 + ">" * 3 + "1" * 20 + ">" * 6
    assert lines[1] == "stage 1 " + " " * 13 + "0" * 20 + ":" * 6 + "1" * 40


def test_every_wait_has_a_sign_of_its_own():
    assert set(WAIT_SIGNS) == set(WAITS)
    assert len(set(WAIT_SIGNS.values())) == len(WAITS)


def test_many_stages_and_chunks_stay_small():
    tables = make_tables(70, 80, max_chunks=80)
    lines = text_gantt(view_run(tables, Plan(tuple(range(81)))), width=80)
    rows = [line for line in lines if line.startswith("stage")]
    assert [row.split()[1] for row in rows] == [str(i) for i in range(0, 70, 4)]
    assert max(map(len, lines)) <= 80
    assert any("modulo 36" in line for line in lines)
    assert any("every 4th stage shown" in line for line in lines)


def test_the_commands_print_it_within_80_columns(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    file, plan = INSTANCES / "tiny-pooled.json", tmp_path / "plan.json"
    code, out, _ = run("solve", file, "--gantt", "--out", plan, capsys=capsys)
    assert code == 0
    assert "stage 0 0000" in out
    assert max(map(len, out.splitlines())) <= 80
    code, again, _ = run("evaluate", file, plan, "--gantt", capsys=capsys)
    assert code == 0
    assert [line for line in again.splitlines() if line.startswith("stage ")] == [
        line for line in out.splitlines() if line.startswith("stage ")
    ]


@pytest.mark.parametrize("command", ["solve", "evaluate"])
def test_a_chart_in_json_is_refused(command, tmp_path, capsys):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"version": 1, "kind": "plan", "boundaries": [0, 4]}))
    arguments = [plan] if command == "evaluate" else []
    code, out, err = run(
        command, INSTANCES / "tiny-pooled.json", *arguments, "--gantt", "--json", capsys=capsys
    )
    assert (code, out) == (2, "")
    assert "--gantt" in err
