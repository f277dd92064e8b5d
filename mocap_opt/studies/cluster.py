"""Runs on Dask distributed (the extra ``cluster``), which queues them and survives lost workers."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from typing import Any

from mocap_opt.errors import MocapError
from mocap_opt.optional_dependencies import require
from mocap_opt.studies.execution import Outcome, failure, perform
from mocap_opt.studies.tasks import Task

CONNECT_S = 15
CORES = "cores"


class ClusterError(MocapError):
    """The cluster cannot be reached, or its workers are not fit for the study."""


def perform_remotely(data: dict[str, Any]) -> Outcome:
    """Do a run on a worker of a cluster.

    Raises
    ------
    ClusterError
        If this worker has other versions than the process that drives the study.
    """
    task = Task.from_dict(data)
    if task.key != data["key"]:
        raise ClusterError("a worker has other versions of mocap-opt, Python or a library than this process")
    return perform(task)


class DaskRunner:
    """Does tasks on a Dask cluster.

    A run cannot be killed there, so what stops it is its own time limit.

    Parameters
    ----------
    scheduler : str, optional
        Address of a running scheduler, ``"tcp://HOST:PORT"``.
    workers : int, optional
        Instead: start a cluster of so many processes on this machine, each doing one run at a time.

    Notes
    -----
    Workers of a cluster do as many runs at a time as they have threads; start them with
    ``dask worker --nthreads 1``.  Runs that declare more than one thread ask for that much of the
    resource ``cores``: ``dask worker --nthreads 8 --resources cores=8``.
    """

    def __init__(self, *, scheduler: str | None = None, workers: int | None = None) -> None:
        if (scheduler is None) == (workers is None):
            raise ValueError("expected a scheduler or a number of workers, one of the two")
        require("distributed", "cluster")
        self.scheduler, self.workers = scheduler, workers

    def run(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        """Yield each outcome as its run ends.

        Raises
        ------
        ClusterError
            If the scheduler cannot be reached, or a worker has other versions.
        """
        import distributed as loaded  # noqa: PLC0415 - an extra, and slow to load

        distributed: Any = loaded

        if not tasks:
            return
        threads = max(task.settings.threads for task in tasks)
        with contextlib.ExitStack() as stack:
            address: Any = self.scheduler
            if self.workers is not None:
                address = stack.enter_context(
                    distributed.LocalCluster(
                        n_workers=self.workers,
                        threads_per_worker=1,
                        dashboard_address=None,
                        resources={CORES: threads},
                    )
                )
            try:
                client = stack.enter_context(
                    distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
                )
            except (OSError, ValueError) as error:
                raise ClusterError(f"{self.scheduler}: no scheduler can be reached there ({error})") from None
            by_key = {task.key: task for task in tasks}
            futures = [
                client.submit(
                    perform_remotely,
                    task.to_dict(),
                    key=f"mocap-{task.key}",
                    resources={CORES: threads} if threads > 1 else None,
                )
                for task in tasks
            ]
            ended = distributed.as_completed(futures, loop=client.loop)
            # Outcomes are let go as they are read, so that workers need not keep them.
            futures.clear()
            for future in ended:
                yield _outcome(future, by_key[future.key.removeprefix("mocap-")])


def _outcome(future: Any, task: Task) -> Outcome:
    error = future.exception()
    if isinstance(error, ClusterError):
        raise error
    if error is not None:
        return failure(task, f"lost by the cluster: {type(error).__name__}: {error}")
    outcome: Outcome = future.result()
    return outcome
