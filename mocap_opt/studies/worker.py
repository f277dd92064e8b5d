"""A worker process: reads tasks as lines of JSON on its standard input, answers on its standard output.

Run as ``python -m mocap_opt.studies.worker``.  It ends when its standard input does, at once and even
in the middle of a run, so no worker outlives a study that was killed.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from typing import Any, TextIO

from mocap_opt.studies.execution import perform
from mocap_opt.studies.tasks import Task


def _read(lines: TextIO, tasks: queue.SimpleQueue[str]) -> None:
    for line in lines:
        tasks.put(line)
    # Whoever started this process is gone or has no use for it; a solver may not hear of it in time.
    os._exit(0)


def main() -> None:
    """Do runs until the standard input ends."""
    # Ctrl-C goes to every process of a terminal; the one that drives the study decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a library prints must not stand between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    tasks: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin, tasks), daemon=True).start()

    def say(**what: Any) -> None:
        answers.write(json.dumps(what, allow_nan=False) + "\n")
        answers.flush()

    say(ready=True)
    while True:
        # News go out as they come, so that a run that is killed leaves what it had.
        outcome = perform(Task.from_dict(json.loads(tasks.get())), lambda point: say(news=point))
        say(row=outcome.row)


if __name__ == "__main__":
    main()
