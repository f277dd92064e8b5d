"""A scheduler and workers of Dask as processes of their own, and runs that are slow or want memory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PRELOAD = """
import os, time
from mocap_opt.studies import execution
# A worker may load this more than once.
from mocap_opt.studies.execution import answer_latency as plain
def slower(instance, task, note):
    with open(os.environ["BEGAN"], "a") as began:
        began.write(f"{task.key} {instance.workload.batch} {os.getpid()}\\n")
    time.sleep(float(os.environ["LASTS_S"]))
    if instance.workload.batch in map(int, os.environ.get("GREEDY", "").split()):
        held = []
        while len(held) < 60:
            held.append(bytearray(b"x" * 2**24))
            time.sleep(0.02)
        time.sleep(30)
    return plain(instance, task, note)
execution.KINDS["latency"] = slower
"""


class Cluster:
    """What was started, each process the first of a group so that a kill takes all of it."""

    def __init__(self, folder: Path, *, lasts_s: float, greedy: tuple[int, ...] = ()) -> None:
        self.folder, self.processes = folder, []
        (folder / "slow.py").write_text(PRELOAD, encoding="utf-8")
        self.began = folder / "began"
        self.began.touch()
        self.variables = {
            "BEGAN": str(self.began),
            "LASTS_S": str(lasts_s),
            "GREEDY": " ".join(map(str, greedy)),
        }
        place = folder / "scheduler.json"
        self.scheduler = self.start(
            "scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(place)
        )
        while not place.exists():
            assert self.scheduler.poll() is None, self.said()
            time.sleep(0.05)
        self.address: str = json.loads(place.read_text(encoding="utf-8"))["address"]

    def start(self, kind: str, *options: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{kind}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", kind, "--host", "127.0.0.1", *options],
                stdout=log,
                stderr=log,
                env={**os.environ, **self.variables},
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def worker(self, memory_limit: str = "0") -> subprocess.Popen[bytes]:
        options = ("--nthreads", "1", "--no-dashboard", "--memory-limit", memory_limit)
        preload = ("--preload", str(self.folder / "slow.py"), "--local-directory", str(self.folder))
        return self.start("worker", self.address, *options, *preload)

    def said(self) -> str:
        return "".join(path.read_text(encoding="utf-8") for path in sorted(self.folder.glob("*.log")))

    def attempts(self) -> list[str]:
        """Keys of the runs, once for every time that one began."""
        return [line.split()[0] for line in self.began.read_text(encoding="utf-8").splitlines()]

    @staticmethod
    def kill(process: subprocess.Popen[bytes]) -> None:
        """Kill a worker and its nanny at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def cluster(folder: Path, *, lasts_s: float, greedy: tuple[int, ...] = ()) -> Iterator[Cluster]:
    made = Cluster(folder, lasts_s=lasts_s, greedy=greedy)
    try:
        yield made
    finally:
        for process in reversed(made.processes):
            made.kill(process)
