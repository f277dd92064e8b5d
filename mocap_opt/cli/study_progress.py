"""How far a study is, told while it runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from mocap_opt.cli import render
from mocap_opt.errors import ExitCode, MocapError
from mocap_opt.studies.driver import Tally

REPORT_EVERY_S = 30.0


class InterruptedStudyError(MocapError):
    """Ctrl-C ended a study; what was finished is kept."""

    exit_code = ExitCode.NO_PLAN


def counts(tally: Tally) -> str:
    """How many runs are finished, in words."""
    text = f"{tally.before + tally.done} of {tally.total} runs finished"
    if tally.before:
        text += f", {tally.before} of them before"
    return text + (f", {tally.failed} failed" if tally.failed else "")


def _left(tally: Tally) -> str:
    if tally.left_s is None:
        return ""
    minutes, seconds = divmod(round(tally.left_s), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left"


@contextmanager
def progress() -> Iterator[Callable[[Tally], None]]:
    """Counts, failures and time left: a bar on a terminal, now and then a line elsewhere."""
    console = render.console(sys.stderr)
    if not console.is_terminal:
        last = time.monotonic()

        def line(tally: Tally) -> None:
            nonlocal last
            if tally.done and tally.left and time.monotonic() - last >= REPORT_EVERY_S:
                last = time.monotonic()
                click.echo(f"{counts(tally)}, {_left(tally)}", err=True)

        yield line
        return
    bar = Progress(
        BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"), console=console, transient=True
    )
    with bar:
        shown = bar.add_task("", total=None, note="")

        def update(tally: Tally) -> None:
            note = ", ".join(filter(None, [f"{tally.failed} failed" if tally.failed else "", _left(tally)]))
            bar.update(shown, total=tally.total, completed=tally.before + tally.done, note=note)

        yield update
