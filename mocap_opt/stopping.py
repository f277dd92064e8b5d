"""How long work is asked to stop: a question it puts often, and what it does at a yes.

Searches with something to show for their time end with it.  Work that is worth nothing half done
raises `StoppedError` where it stands, and whoever knows what is whole catches it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

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
