"""``python -m mocap_opt`` and ``mocap-opt``: the command line, interruptible from its first moment."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

NO_PLAN = 4
"""`mocap_opt.errors.ExitCode.NO_PLAN`, before anything is imported."""


def _interrupted_early(number: int, frame: FrameType | None) -> None:
    """Leave while the package is still being loaded: there is nothing to finish, and no plan."""
    os.write(sys.stderr.fileno(), b"mocap-opt: interrupted before any plan was found\n")
    os._exit(NO_PLAN)


def run() -> None:
    """Load the command line and run it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted_early)
    from mocap_opt.cli import main  # noqa: PLC0415 - takes most of a second

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        main()
    finally:
        # The answer is out; what comes now must not change the exit code.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    run()
