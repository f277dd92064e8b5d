"""Ctrl-C and SIGTERM ask a solve to stop and hand over its best plan."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

Result = TypeVar("Result")


def call_until_signalled(work: Callable[[threading.Event], Result]) -> Result:
    """Run `work` and set its event on the first SIGINT or SIGTERM; a second one ends it at once.

    The work runs in a thread of its own, because a solver's compiled code would keep a signal
    handler of the main thread from running.

    Raises
    ------
    KeyboardInterrupt
        On the second signal.
    """
    stop = threading.Event()
    results: list[Result] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(work(stop))
        except BaseException as error:  # handed over to the caller's thread below
            errors.append(error)

    def handler(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    thread = threading.Thread(target=target, daemon=True)
    try:
        thread.start()
        while thread.is_alive():
            thread.join(0.1)
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
    if errors:
        raise errors[0]
    return results[0]
