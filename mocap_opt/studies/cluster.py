"""Runs done on Dask distributed (the extra ``cluster``).

The scheduler holds a few runs per place where one can be done, however many the study has, for two
reasons.  Each run it holds costs it memory and time; and when a worker dies, it counts a failed attempt
for every run that it had given that worker, those that only waited there included.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from mocap_opt.errors import MocapError
from mocap_opt.optional_dependencies import require
from mocap_opt.studies.execution import Outcome, failure, perform
from mocap_opt.studies.runners import most_threads
from mocap_opt.studies.tasks import Task

BEGAN = "mocap-began"
"""Topic of the events by which workers tell that a run begins."""
CONNECT_S = 15
CORES = "cores"
LEAST_WINDOW = 8
"""Runs asked for before any worker is there."""
RETRIES = 3
RUNS_PER_PLACE = 2
"""One that is done and one that waits, so that no worker does."""
RECOUNT_S = 5.0
"""Seconds after which the places are counted again: workers come and go."""


class ClusterError(MocapError):
    """The cluster cannot be reached or is lost, or its workers are not fit for the study."""


def perform_remotely(data: dict[str, Any]) -> Outcome:
    """Do a run on a worker of a cluster.

    Raises
    ------
    ClusterError
        If this worker has other versions than the process that drives the study.
    """
    import distributed as loaded  # noqa: PLC0415 - an extra, and slow to load

    distributed: Any = loaded
    task = Task.from_dict(data)
    if task.key != data["key"]:
        raise ClusterError("a worker has other versions of mocap-opt, Python or a library than this process")
    distributed.get_worker().log_event(BEGAN, task.key)
    return perform(task)


class DaskRunner:
    """Does tasks on a Dask cluster.

    A run cannot be killed there, so what stops it is its own time limit, and the memory limit of its worker.

    Parameters
    ----------
    scheduler : str, optional
        Address of a running scheduler, ``"tcp://HOST:PORT"``.
    workers : int, optional
        Instead: start a cluster of so many processes on this machine, each doing one run at a time and
        having an equal share of the memory.
    retries : int
        New attempts at a run whose worker died.  A running scheduler makes at least as many as its setting
        ``distributed.scheduler.allowed-failures`` says.

    Notes
    -----
    Workers of a cluster do as many runs at a time as they have threads; start them with
    ``dask worker --nthreads 1``, and a memory limit with ``--memory-limit``.  Runs that declare more than
    one thread ask for that much of the resource ``cores``: ``dask worker --nthreads 8 --resources cores=8``.
    """

    def __init__(
        self, *, scheduler: str | None = None, workers: int | None = None, retries: int = RETRIES
    ) -> None:
        if (scheduler is None) == (workers is None):
            raise ValueError("expected a scheduler or a number of workers, one of the two")
        require("distributed", "cluster")
        self.scheduler, self.workers, self.retries = scheduler, workers, retries

    def run(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        """Yield each outcome as its run ends.

        Raises
        ------
        ClusterError
            As `run_batches`.
        """
        with contextlib.closing(self.run_batches(tasks)) as batches:
            for batch in batches:
                yield from batch

    def run_batches(self, tasks: Sequence[Task]) -> Generator[list[Outcome], None, None]:
        """Yield all outcomes that have come since the last ones were taken, as soon as there is one.

        Raises
        ------
        ClusterError
            If the scheduler cannot be reached or ends, or a worker has other versions.
        """
        if not tasks:
            return
        threads = most_threads(tasks) or 1
        with self._client(threads) as client:
            yield from _Window(client, tasks, threads, self.retries).batches()

    @contextlib.contextmanager
    def _client(self, threads: int) -> Iterator[Any]:
        import dask  # noqa: PLC0415 - an extra, and slow to load
        import distributed as loaded  # noqa: PLC0415

        distributed: Any = loaded
        with contextlib.ExitStack() as stack:
            address: Any = self.scheduler
            if self.workers is not None:
                with dask.config.set({"distributed.scheduler.allowed-failures": self.retries}):
                    address = stack.enter_context(
                        distributed.LocalCluster(
                            n_workers=self.workers,
                            threads_per_worker=1,
                            dashboard_address=":0",
                            resources={CORES: threads},
                        )
                    )
            try:
                client = stack.enter_context(
                    distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
                )
            except (OSError, ValueError) as error:
                raise ClusterError(f"{self.scheduler}: no scheduler can be reached there ({error})") from None
            yield client


class _Window:
    """The runs that a scheduler holds at a time.

    Parameters
    ----------
    client : distributed.Client
    tasks : sequence of Task
    threads : int
        Cores that each run takes.
    retries : int
        New attempts at a run whose worker died.
    """

    def __init__(self, client: Any, tasks: Sequence[Task], threads: int, retries: int) -> None:
        import distributed as loaded  # noqa: PLC0415 - an extra, and slow to load

        distributed: Any = loaded
        self.client, self.threads, self.retries = client, threads, retries
        self.waiting = iter(tasks)
        self.held: dict[str, tuple[Task, int]] = {}
        """Run and number of times it was asked for before, by the key it has on the cluster."""
        self.began: Counter[str] = Counter()
        self.ended = distributed.as_completed([], loop=client.loop, with_results=True, raise_errors=False)
        self.killed_worker: Any = distributed.scheduler.KilledWorker
        self.counted_at = float("-inf")
        self.size = LEAST_WINDOW

    def batches(self) -> Generator[list[Outcome], None, None]:
        """Keep the window full until every run has ended."""
        self.client.subscribe_topic(BEGAN, lambda event: self.began.update([event[1]]))
        self._fill()
        while self.held:
            found = [self._outcome(future, result) for future, result in self.ended.next_batch()]
            if batch := [outcome for outcome in found if outcome is not None]:
                yield batch
            self._fill()

    def _fill(self) -> None:
        now = time.monotonic()
        if now - self.counted_at >= RECOUNT_S:
            places = sum(count // self.threads for count in self.client.nthreads().values())
            self.counted_at, self.size = now, max(LEAST_WINDOW, RUNS_PER_PLACE * places)
        while len(self.held) < self.size and (task := next(self.waiting, None)) is not None:
            self._ask(task, 0)

    def _ask(self, task: Task, asked: int) -> None:
        key = f"mocap-{task.key}-{asked}"
        self.held[key] = task, asked
        resources = {CORES: self.threads} if self.threads > 1 else None
        future = self.client.submit(
            perform_remotely, task.to_dict(), key=key, resources=resources, pure=False
        )
        self.ended.add(future)

    def _outcome(self, future: Any, result: Any) -> Outcome | None:
        """The outcome of a run that ended; None if it is asked for again."""
        task, asked = self.held.pop(future.key)
        if future.status == "finished":
            outcome: Outcome = result
            return self._ended(outcome)
        if future.status != "error":
            raise ClusterError(
                "the scheduler is lost; finished runs are kept, start it again and the study goes on"
            )
        error = future.exception()
        if isinstance(error, ClusterError):
            raise error
        if not isinstance(error, self.killed_worker):
            return self._ended(failure(task, f"lost by the cluster: {type(error).__name__}: {error}"))
        # The scheduler also counts deaths of workers where the run only waited for its turn.
        if self.began[task.key] <= self.retries and asked <= self.retries:
            self._ask(task, asked + 1)
            return None
        count = max(1, self.began[task.key])
        died = "its worker died" if count == 1 else f"its worker died in each of {count} attempts"
        where = f"at last {error.last_worker.address}"
        hint = "most often it needs more memory than a worker may have (see the log of the worker)"
        return self._ended(failure(task, f"{died}, {where}; {hint}"))

    def _ended(self, outcome: Outcome) -> Outcome:
        self.began.pop(outcome.key, None)
        return outcome
