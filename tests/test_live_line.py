"""The line that follows long work on a terminal."""

from __future__ import annotations

import io

from rich.console import Console

from mocap_opt.cli.live import Line, live_line
from mocap_opt.solving import Progress


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
