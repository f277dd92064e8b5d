"""Long work: a line on a terminal that follows it, and signals that ask it to hand over what it has."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO, TypeVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from mocap_opt.cli.render import console, seconds
from mocap_opt.solving import Progress
from mocap_opt.stopping import SIGNALS
from mocap_opt.units import format_percent

Result = TypeVar("Result")

REFRESHES_PER_S = 4


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
            figures = [f"best {seconds(news.latency_s)}", f"gap {format_percent(news.gap)}"]
            figures.insert(1, f"bound {seconds(news.bound_s)}")
        doing = None if news is None else news.doing or news.source
        said = ": ".join(each for each in (self._part, doing) if each) or self._doing
        for kept in (figures, figures[::2], figures[2:], []):
            text = Text("  ".join([clock, *kept, f"[{said}]"]), no_wrap=True, overflow="ellipsis")
            if text.cell_len <= options.max_width:
                break
        yield text


@contextmanager
def live_line(doing: str, stream: TextIO | None = None) -> Iterator[Line]:
    """Follow what happens in the block by a line, on a terminal; silent elsewhere.

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
    shown = console(sys.stderr if stream is None else stream)
    if not shown.is_terminal:
        yield line
        return
    with Live(line, console=shown, refresh_per_second=REFRESHES_PER_S, transient=True):
        yield line


class Interruptible:
    """Runs work that the first signal asks to stop and a second one ends at once.

    Attributes
    ----------
    stop : threading.Event
        Set by the first signal.
    over : bool
        Whether the work is done; signals then change nothing, so that the answer comes out whole.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.over = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Serve a signal.

        Parameters
        ----------
        number : int
            Of the signal.
        frame : FrameType or None
            Where it met the program; not used.

        Raises
        ------
        KeyboardInterrupt
            At the second one, while the work goes on.
        """
        if self.over:
            return
        if self.stop.is_set():
            raise KeyboardInterrupt("a second signal")
        self.stop.set()

    def run(self, work: Callable[[threading.Event], Result]) -> Result:
        """Do the work in a thread of its own: compiled code would keep a handler of the main one waiting.

        Raises
        ------
        KeyboardInterrupt
            On the second signal.
        """
        results: list[Result] = []
        errors: list[BaseException] = []

        def target() -> None:
            try:
                results.append(work(self.stop))
            except BaseException as error:  # handed over to the caller's thread below
                errors.append(error)

        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.1)
        self.over = True
        if errors:
            raise errors[0]
        return results[0]


def call_until_signalled(work: Callable[[threading.Event], Result]) -> Result:
    """Run `work` and set its event on the first SIGINT or SIGTERM; a second one ends it at once.

    Once the work is done signals change nothing any more, so that its answer comes out whole, until the
    handlers are put back by `terminated_like_interrupted`.

    Raises
    ------
    KeyboardInterrupt
        On the second signal.
    """
    runner = Interruptible()
    previous = {number: signal.signal(number, runner.handle) for number in SIGNALS}
    try:
        return runner.run(work)
    except BaseException:
        for number, old in previous.items():
            signal.signal(number, old)
        raise


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt, as Ctrl-C is; outside the main thread nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def follow(doing: str, work: Callable[[threading.Event, Line], Result]) -> Result:
    """Do work that the first signal asks to stop, under a line that follows it.

    Parameters
    ----------
    doing : str
        What is being done at first.
    work : callable
        Takes the event that asks it to stop, and the line to tell; what it returns once asked is what it
        has so far.

    Raises
    ------
    KeyboardInterrupt
        On a second signal.
    """
    with live_line(doing) as line:
        return call_until_signalled(lambda stop: work(stop, line))
