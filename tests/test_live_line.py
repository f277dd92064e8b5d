"""The line that follows long work on a terminal."""

from __future__ import annotations

import io
import json
import logging
import sys
from pathlib import Path

import pytest
from rich.console import Console

import mocap_opt
from mocap_opt.cli.main import main
from mocap_opt.solving import Progress
from mocap_opt.solving.progress_display import Line, live_line

INSTANCES = Path(__file__).parent.parent / "instances"
INSTANCE = mocap_opt.load_instance(INSTANCES / "tiny-slow-link.json")


def shown(line: Line, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False)
    console.print(line)
    return console.file.getvalue()


def test_the_clock_runs_between_news() -> None:
    now = [0.0]
    line = Line("bounds", clock=lambda: now[0])
    line.tell(Progress(1.0, 2.0, 1.5, 0.25, "mocap", "local_search"))
    first = shown(line)
    now[0] = 7.25
    assert "7.2 s" in shown(line)
    assert first != shown(line)


def test_what_is_being_done_is_shown_in_brackets_not_eaten_as_markup() -> None:
    line = Line("reading the instance")
    assert "[reading the instance]" in shown(line)
    line.tell(Progress(1.0, 2.0, 1.5, 0.25, "mocap + local search", None))
    assert "[mocap + local search]" in shown(line)
    assert "best 2.0000 s  bound 1.5000 s  gap 25.00 %" in shown(line)
    line.tell(Progress(1.0, 2.0, 1.5, 0.25, "mocap", "path_relaxation"))
    assert "[path_relaxation]" in shown(line)
    line.say("variant 2 of 9")
    assert "best" not in shown(line)


def test_a_narrow_terminal_gets_one_line() -> None:
    line = Line("x" * 200)
    assert shown(line, 40).count("\n") == 1


def test_nothing_is_written_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    with live_line("bounds", stream) as line:
        line.say("more")
    assert stream.getvalue() == ""


def test_a_solve_logs_what_it_finds_and_a_library_user_sees_nothing(caplog, capsys):
    solution = mocap_opt.solve(INSTANCE)
    assert capsys.readouterr() == ("", "")
    with caplog.at_level(logging.INFO, "mocap_opt"):
        mocap_opt.solve(INSTANCE)
    assert "gap 0.00 %" in caplog.text
    assert "tiny-slow-link" in caplog.records[0].getMessage()
    few = len(caplog.records)
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "mocap_opt"):
        mocap_opt.solve(INSTANCE)
    assert len(caplog.records) > few
    assert solution.report.gap == 0


def test_a_line_follows_a_solve_where_it_is_asked_for(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    told = []
    mocap_opt.solve(INSTANCE, display=True, callback=told.append)
    assert "tiny-slow-link" in screen.getvalue()
    assert told
    before = len(screen.getvalue())
    mocap_opt.solve(INSTANCE)
    assert len(screen.getvalue()) == before


def test_how_much_a_command_shows_is_asked_for_on_the_command_line(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["solve", str(INSTANCES / "tiny-slow-link.json"), "--json", "-v"])
    out, err = capsys.readouterr()
    assert json.loads(out)["status"] == "optimal"
    assert "tiny-slow-link: " in err
    with pytest.raises(SystemExit, match="0"):
        main(["-q", "solve", str(INSTANCES / "tiny-slow-link.json"), "--json"])
    assert capsys.readouterr().err == ""
