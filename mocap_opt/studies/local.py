"""Runs in processes of this machine; a process that dies costs one attempt at one run."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Sequence
from typing import IO

from mocap_opt.errors import MocapError
from mocap_opt.studies.execution import Outcome, failure, unpack_curve
from mocap_opt.studies.tasks import Task

START_S = 120.0
"""Seconds a worker may take to import what it needs."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerStartError(MocapError):
    """Worker processes cannot be started; the message shows what one said."""


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Worker:
    """A worker process and the pipes to it."""

    def __init__(self, threads: int) -> None:
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        self.late = False
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mocap_opt.studies.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(threads))},
        )

    def ask(self, line: bytes | None, within_s: float) -> bytes | None:
        """Send a line, return the answer; None if the process died or, late, was killed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        timer = threading.Timer(within_s, self._too_late)
        timer.start()
        try:
            if line is not None:
                self.process.stdin.write(line + b"\n")
                self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except OSError:
            answer = b""
        finally:
            timer.cancel()
        # A process killed while it wrote leaves part of a line.
        return answer if answer.endswith(b"\n") else None

    def _too_late(self) -> None:
        self.late = True
        self.process.kill()

    def end(self) -> str:
        """Kill the process; say how it ended and the last thing it said."""
        self.process.kill()
        code = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        self._said.close()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return how + (f": {lines[-1][:300]}" if lines else "")


class LocalRunner:
    """Does tasks on this machine.

    Parameters
    ----------
    cores : int
        Runs are done at the same time as long as their threads together are at most this many; one
        run at a time if a single one declares more.
    grace_s : float
        Seconds over its time limit after which a run is killed.
    retries : int
        New attempts at a run whose worker died.
    """

    def __init__(self, cores: int, *, grace_s: float, retries: int) -> None:
        self.cores, self.grace_s, self.retries = cores, grace_s, retries
        self._stopped = threading.Event()
        self._workers: set[_Worker] = set()
        self._guard = threading.Lock()

    def run(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        """Yield each outcome as its run ends; closing the iterator kills what is still running.

        Raises
        ------
        WorkerStartError
            If a worker cannot be started.
        """
        self._stopped.clear()
        waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
        for task in tasks:
            waiting.put(task)
        outcomes: queue.SimpleQueue[Outcome | BaseException] = queue.SimpleQueue()
        threads = max((task.settings.threads for task in tasks), default=1)
        slots = [
            threading.Thread(target=self._serve, args=(waiting, outcomes, threads), daemon=True)
            for _ in range(min(max(1, self.cores // threads), len(tasks)))
        ]
        for slot in slots:
            slot.start()
        try:
            for _ in tasks:
                outcome = outcomes.get()
                if isinstance(outcome, BaseException):
                    raise outcome
                yield outcome
        finally:
            self._stopped.set()
            with self._guard:
                for worker in self._workers:
                    worker.process.kill()
            for slot in slots:
                slot.join()

    def _serve(
        self,
        waiting: queue.SimpleQueue[Task],
        outcomes: queue.SimpleQueue[Outcome | BaseException],
        threads: int,
    ) -> None:
        worker: _Worker | None = None
        try:
            while not self._stopped.is_set():
                try:
                    task = waiting.get_nowait()
                except queue.Empty:
                    return
                outcome, worker = self._attempt(task, worker, threads)
                outcomes.put(outcome)
        except BaseException as error:  # to be raised where the outcomes are read
            outcomes.put(error)
        finally:
            self._end(worker)

    def _attempt(self, task: Task, worker: _Worker | None, threads: int) -> tuple[Outcome, _Worker | None]:
        """Do a task, on a new worker after each that dies."""
        line = json.dumps(task.to_dict()).encode()
        limit_s = task.settings.time_limit_s + self.grace_s
        how = "stopped"
        for _ in range(1 + self.retries):
            if self._stopped.is_set():
                break
            worker = worker or self._start(threads)
            answer = None if worker is None else worker.ask(line, limit_s)
            if answer is not None:
                return _outcome(answer), worker
            late = worker is not None and worker.late
            how, worker = self._end(worker), None
            if late:
                reason = f"killed: still running {self.grace_s:g} s after its limit"
                return failure(task, f"{reason} of {task.settings.time_limit_s:g} s"), None
        count = 1 + self.retries
        return failure(task, f"its worker died in each of {count} attempts, the last time {how}"), None

    def _start(self, threads: int) -> _Worker | None:
        """Start a worker; None if somebody killed it before it was ready, which is an attempt too."""
        worker = _Worker(threads)
        with self._guard:
            self._workers.add(worker)
            # The kill that ends everything may just have passed.
            if self._stopped.is_set():
                worker.process.kill()
        if worker.ask(None, START_S) is not None:
            return worker
        if worker.process.wait() < 0 and not worker.late:
            self._end(worker)
            return None
        raise WorkerStartError(f"a worker process cannot be started ({self._end(worker)})")

    def _end(self, worker: _Worker | None) -> str:
        if worker is None:
            return "before it began"
        with self._guard:
            self._workers.discard(worker)
        return worker.end()


def _outcome(answer: bytes) -> Outcome:
    data = json.loads(answer)
    return Outcome(data["key"], data["row"], unpack_curve(bytes.fromhex(data["curve"])))
