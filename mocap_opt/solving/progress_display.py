"""Long work for people: a line that follows it on a terminal or in a notebook, and records for logs."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from mocap_opt.solving.incumbent import Progress
from mocap_opt.units import format_percent, format_seconds_aligned

LOGGER = logging.getLogger("mocap_opt")
"""Plans and bounds as they come are of level INFO, steps that begin of level DEBUG; nothing is shown unless
a handler is added."""

LOGGER.addHandler(logging.NullHandler())

REFRESHES_PER_S = 4

_silent: ContextVar[bool] = ContextVar("no line", default=False)


def be_silent(silent: bool = True) -> None:
    """Show no line from here on in this context, not even on a terminal; or show lines again."""
    _silent.set(silent)


class Line:
    """What the line shows; drawn anew several times a second, whether there is news or not.

    Parameters
    ----------
    doing : str
        What is being done until somebody says something else.
    clock : callable
        Seconds, from any beginning.
    """

    def __init__(self, doing: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._doing = doing
        self._part: str | None = None
        self._news: Progress | None = None

    def say(self, part: str) -> None:
        """Show which part of the work is done from now on; where the one before stood is forgotten."""
        self._part, self._news = part, None

    def tell(self, news: Progress) -> None:
        """Show where the work stands."""
        self._news = news

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give the line as it is now: one line; on a narrow terminal without the bound, then the plan."""
        clock, news, figures = f"{self._clock() - self._began:6.1f} s", self._news, []
        if news is not None and (news.latency_s is not None or news.bound_s is not None):
            figures = [f"best {format_seconds_aligned(news.latency_s)}", f"gap {format_percent(news.gap)}"]
            figures.insert(1, f"bound {format_seconds_aligned(news.bound_s)}")
        doing = None if news is None else news.doing or news.source
        said = ": ".join(each for each in (self._part, doing) if each) or self._doing
        for kept in (figures, figures[::2], figures[2:], []):
            text = Text("  ".join([clock, *kept, f"[{said}]"]), no_wrap=True, overflow="ellipsis")
            if text.cell_len <= options.max_width:
                break
        yield text


@contextmanager
def live_line(doing: str, stream: TextIO | None = None) -> Iterator[Line]:
    """Follow what happens in the block by a line, on a terminal; or in a notebook; silent elsewhere.

    Parameters
    ----------
    doing : str
        What is being done at first.
    stream : file, optional
        Standard error by default, so that the answer can be piped.

    Yields
    ------
    Line
        To be told.
    """
    line = Line(doing)
    shown = Console(file=sys.stderr if stream is None else stream, highlight=False, markup=False)
    if _silent.get() or not (shown.is_terminal or shown.is_jupyter):
        yield line
        return
    with Live(line, console=shown, refresh_per_second=REFRESHES_PER_S, transient=True):
        yield line


@contextmanager
def followed(
    name: str, callback: Callable[[Progress], None] | None, *, display: bool
) -> Iterator[Callable[[Progress], None]]:
    """Follow a solve: records for the log, news for whoever asked, and a line if wanted.

    Parameters
    ----------
    name : str
        Of the instance.
    callback : callable or None
        Told as well.
    display : bool
        Whether a line shows the work.

    Yields
    ------
    callable
        To be told.
    """
    known: tuple[float | None, float | None] = (None, None)

    def tell(news: Progress) -> None:
        nonlocal known
        level = logging.DEBUG if (news.latency_s, news.bound_s) == known else logging.INFO
        known = (news.latency_s, news.bound_s)
        LOGGER.log(
            level,
            "%s: %.1f s: best %s, bound %s, gap %s [%s]",
            name,
            news.elapsed_s,
            format_seconds_aligned(news.latency_s),
            format_seconds_aligned(news.bound_s),
            format_percent(news.gap),
            news.doing or news.source,
        )
        for hear in hearers:
            hear(news)

    hearers = [] if callback is None else [callback]
    if not display:
        yield tell
        return
    with live_line(name) as line:
        hearers.append(line.tell)
        yield tell
