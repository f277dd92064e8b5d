"""Long work: signals that ask it to hand over what it has, under a line that follows it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from mocap_opt.solving.progress_display import Line, live_line
from mocap_opt.stopping import SIGNALS

Result = TypeVar("Result")


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
