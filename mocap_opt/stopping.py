"""When work has to end: a deadline that is handed down, and how work is asked to stop.

A command makes one `Deadline` of its time limit and of the event that signals set; what it calls gets
that, or a share of it.  Searches with something to show for their time end with it.  Work that is worth
nothing half done raises `StoppedError` where it stands, and whoever knows what is whole catches it.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import TypeAlias

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Those that ask the whole program to stop."""

STOPPED = "stopped at the time limit"
"""What the notes or the reason of something unfinished say."""

AskedToStop: TypeAlias = Callable[[], bool]
"""True once there is no time left, or the caller has had enough; from then on it stays true."""


class StoppedError(Exception):
    """Work was asked to stop before it had anything whole to give."""


def never() -> bool:
    """The answer where nobody asks to stop."""
    return False


def stop_if(asked_to_stop: AskedToStop) -> None:
    """Raise `StoppedError` if asked to stop.

    Raises
    ------
    StoppedError
        If so.
    """
    if asked_to_stop():
        raise StoppedError(STOPPED)


@contextmanager
def signals_wait() -> Iterator[None]:
    """Serve signals that come during the block at its end.

    The start of a compiled extension turns a KeyboardInterrupt into an ImportError, which would say that
    the extension is broken.  Only the main thread serves signals, so others have nothing to hold back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, lambda n, frame: arrived.append(n))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in arrived:
            signal.raise_signal(late)


class Deadline:
    """When work has to end: at a moment, or as soon as somebody asks.

    Called, it answers whether that is now, so that it is an `AskedToStop`.  The deadlines made from it end
    no later, and count from the same beginning.

    Parameters
    ----------
    seconds : float or None
        Wall time from now on; None, like infinity, for no limit.
    stop : threading.Event, optional
        Set from outside to end the work at once.
    clock : callable
        Seconds that only grow.

    Attributes
    ----------
    stop : threading.Event
        As given, or one of its own.
    """

    def __init__(
        self,
        seconds: float | None = None,
        stop: threading.Event | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._clock = clock
        self.stop = threading.Event() if stop is None else stop
        self._over: AskedToStop = never
        self._began = clock()
        self._ends = math.inf if seconds is None else self._began + seconds

    @property
    def elapsed_s(self) -> float:
        """Seconds since the work began."""
        return self._clock() - self._began

    @property
    def left_s(self) -> float:
        """Seconds left, never below 0, infinite without a limit; an interruption does not change them."""
        return max(0.0, self._ends - self._clock())

    @property
    def limit_s(self) -> float | None:
        """Seconds left as solvers want them: None without a limit."""
        return None if math.isinf(self._ends) else self.left_s

    @property
    def interrupted(self) -> bool:
        """Whether somebody asked to stop, however much time is left."""
        return self.stop.is_set() or self._over()

    @property
    def expired(self) -> bool:
        """Whether the work has to end now."""
        return self.interrupted or self.left_s <= 0

    def __call__(self) -> bool:
        """Whether the work has to end now."""
        return self.expired

    def share(self, fraction: float) -> Deadline:
        """Give a part of the time left to a part of the work."""
        return self.at_most(fraction * self.left_s)

    def at_most(self, seconds: float) -> Deadline:
        """End after so many seconds from now, or with this deadline if that is earlier."""
        part = copy(self)
        part._ends = min(self._ends, self._clock() + seconds)
        return part

    def extended(self, seconds: float) -> Deadline:
        """The same deadline with a grace of so many seconds; still over as soon as somebody asks."""
        part = copy(self)
        part._ends = self._ends + seconds
        return part

    def unless(self, over: AskedToStop) -> Deadline:
        """End with this deadline, or as soon as a question is answered with yes."""
        part, before = copy(self), self._over
        part._over = lambda: before() or over()
        return part
