"""Running a task in a child process, with its peak memory, and killing it when it is overdue."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

POLL_S = 0.02
KIBI = 1 if sys.platform == "darwin" else 1024
"""Bytes per unit of ``ru_maxrss``."""


@dataclass(frozen=True)
class Finished:
    """What a child left.

    Attributes
    ----------
    progress : list of dict
        Every piece of news, as fields of `mocap_opt.solving.Progress`.
    result : dict or None
        Its last line; None if it was killed or failed before.
    peak_memory_bytes : int
    wall_s : float
        From its start to its end, loading included.
    killed : bool
    error : str
        What it wrote to standard error last; empty if nothing.
    """

    progress: list[dict[str, Any]]
    result: dict[str, Any] | None
    peak_memory_bytes: int
    wall_s: float
    killed: bool
    error: str = ""


def run_task(task: dict[str, Any], kill_after_s: float) -> Finished:
    """Run a task of `mocap_opt.studies.bench.child`.

    Parameters
    ----------
    task : dict
    kill_after_s : float
        Wall time after which the child is killed, seconds.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(json.dumps(task).encode())
        given.seek(0)
        began = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-m", "mocap_opt.studies.bench.child"], stdin=given, stdout=out, stderr=err
        )
        killed = False
        done = 0
        try:
            while not done:
                done, status, usage = os.wait4(child.pid, os.WNOHANG)
                if not done and time.perf_counter() - began > kill_after_s:
                    killed = True
                    child.kill()
                    done, _, usage = os.wait4(child.pid, 0)
                elif not done:
                    time.sleep(POLL_S)
        finally:
            if not done:
                child.kill()
                os.wait4(child.pid, 0)
            # Reaped above, because only wait4 tells the memory of this one child.
            child.returncode = 0
        wall = time.perf_counter() - began
        out.seek(0)
        err.seek(0)
        lines = _lines(out.read().decode())
        message = err.read().decode(errors="replace").strip()
    progress = [line["progress"] for line in lines if "progress" in line]
    results = [line for line in lines if "progress" not in line]
    # What ends a process from outside (a machine out of memory, say) leaves no word of its own.
    lost = f"ended by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) and not killed else ""
    return Finished(
        progress,
        results[-1] if results else None,
        usage.ru_maxrss * KIBI,
        wall,
        killed,
        "" if results else lost or "".join(message.splitlines()[-1:]),
    )


def _lines(text: str) -> list[dict[str, Any]]:
    """Whole lines of JSON; a killed child may leave half of one at the end."""
    whole, _, _ = text.rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]
