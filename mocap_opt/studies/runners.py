"""Runs done in processes of this machine."""

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
import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import IO, Any

from mocap_opt.errors import MocapError
from mocap_opt.studies.execution import Curve, Outcome, failure
from mocap_opt.studies.tasks import Task

START_S = 120.0
"""Seconds a worker may take to import what it needs."""

_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes per unit of ``ru_maxrss``."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerStartError(MocapError):
    """Worker processes cannot be started; the message shows what one said."""


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Worker:
    """A worker process and the pipes to it.

    Parameters
    ----------
    threads : int or None
        How many threads the numerical libraries in it may use; None: as many as they like.
    """

    def __init__(self, threads: int | None) -> None:
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        self.late = False
        self.peak_memory_bytes: int | None = None
        variables = {} if threads is None else dict.fromkeys(_THREAD_VARIABLES, str(threads))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mocap_opt.studies.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, **variables},
        )

    def ask(self, line: bytes | None, within_s: float, curve: Curve) -> dict[str, Any] | None:
        """Send a line and read the answer.

        Parameters
        ----------
        line : bytes or None
            None: nothing is sent, the answer comes by itself.
        within_s : float
            Wall time after which the process is killed, seconds.
        curve : Curve
            Receives what the process tells before its answer.

        Returns
        -------
        dict or None
            None if the process died or, late, was killed.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        timer = threading.Timer(within_s, self._too_late)
        timer.start()
        try:
            if line is not None:
                self.process.stdin.write(line + b"\n")
                self.process.stdin.flush()
            # A process killed while it wrote leaves part of a line.
            while (said := self.process.stdout.readline()).endswith(b"\n"):
                answer: dict[str, Any] = json.loads(said)
                if "news" not in answer:
                    return answer
                elapsed, latency, bound = answer["news"]
                curve.append((elapsed, latency, bound))
        except OSError:
            pass
        finally:
            timer.cancel()
        return None

    def _too_late(self) -> None:
        self.late = True
        self.process.kill()

    def end(self) -> str:
        """Kill the process; say how it ended and the last thing it said."""
        self.process.kill()
        if self.process.returncode is None and hasattr(os, "wait4"):
            # Only wait4 tells the memory of this one child.
            with contextlib.suppress(ChildProcessError):
                _, status, usage = os.wait4(self.process.pid, 0)
                self.process.returncode = os.waitstatus_to_exitcode(status)
                self.peak_memory_bytes = usage.ru_maxrss * _MAXRSS_UNIT
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
    fresh : bool
        Whether every run has a process of its own; its row then tells what that took, in the columns
        ``process_s`` (wall time, seconds) and ``process_memory_bytes`` (at its peak, None if unknown).
    """

    def __init__(self, cores: int, *, grace_s: float, retries: int, fresh: bool = False) -> None:
        self.cores, self.grace_s, self.retries, self.fresh = cores, grace_s, retries, fresh
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
        threads = most_threads(tasks)
        slots = [
            threading.Thread(target=self._serve, args=(waiting, outcomes, threads), daemon=True)
            for _ in range(min(max(1, self.cores // (threads or 1)), len(tasks)))
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
        threads: int | None,
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

    def _attempt(
        self, task: Task, worker: _Worker | None, threads: int | None
    ) -> tuple[Outcome, _Worker | None]:
        """Do a task, on a new worker after each that dies."""
        line = json.dumps(task.to_dict()).encode()
        limit_s = task.settings.time_limit_s + self.grace_s
        how, curve, lost, took_s = "stopped", Curve(), None, 0.0
        for _ in range(1 + self.retries):
            if self._stopped.is_set():
                break
            worker, curve = worker or self._start(threads), Curve()
            began = time.perf_counter()
            answer = None if worker is None else worker.ask(line, limit_s, curve)
            took_s = time.perf_counter() - began
            if answer is not None:
                outcome = Outcome(task.key, answer["row"], curve)
                if self.fresh:
                    self._end(worker)
                    return self._with_process(outcome, worker, took_s), None
                return outcome, worker
            how, lost, worker = self._end(worker), worker, None
            if lost is not None and lost.late:
                reason = f"killed: still running {self.grace_s:g} s after its limit"
                late = failure(task, f"{reason} of {task.settings.time_limit_s:g} s", curve, late=True)
                return self._with_process(late, lost, took_s), None
        count = 1 + self.retries
        died = "its worker died" if count == 1 else f"its worker died in each of {count} attempts, at last"
        return self._with_process(failure(task, f"{died}, {how}", curve), lost, took_s), None

    def _with_process(self, outcome: Outcome, worker: _Worker | None, took_s: float) -> Outcome:
        """Tell what the run's own process took."""
        if not self.fresh or worker is None:
            return outcome
        process = {"process_s": took_s, "process_memory_bytes": worker.peak_memory_bytes}
        return replace(outcome, row={**outcome.row, **process})

    def _start(self, threads: int | None) -> _Worker | None:
        """Start a worker; None if somebody killed it before it was ready, which is an attempt too."""
        worker = _Worker(threads)
        with self._guard:
            self._workers.add(worker)
            # The kill that ends everything may just have passed.
            if self._stopped.is_set():
                worker.process.kill()
        if worker.ask(None, START_S, Curve()) is not None:
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


def most_threads(tasks: Sequence[Task]) -> int | None:
    """Most threads that one of the tasks declares; None if none does."""
    return max((task.settings.threads for task in tasks if task.settings.threads is not None), default=None)
