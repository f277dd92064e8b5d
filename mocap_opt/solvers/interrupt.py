"""Ctrl-C while foreign code runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred_interrupt(on_interrupt: Callable[[], None]) -> Iterator[None]:
    """Call a function at Ctrl-C instead of raising KeyboardInterrupt.

    Python raises KeyboardInterrupt wherever it next runs, which may be a callback from a solver's
    C++ code, and the exception would then travel through frames that do not expect it.

    Parameters
    ----------
    on_interrupt : callable
        Should ask the solver to stop; the caller raises KeyboardInterrupt afterwards.  Never called
        outside the main thread, where Python delivers no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        on_interrupt()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
