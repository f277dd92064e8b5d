"""Doing what a study still lacks."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from mocap_opt.studies.execution import Outcome
from mocap_opt.studies.schema import StudyFile
from mocap_opt.studies.store import ResultsStore, read_outcomes
from mocap_opt.studies.tasks import Task, tasks_of


class Runner(Protocol):
    """Does tasks, here or elsewhere."""

    def run(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        """Yield one outcome per task, each as soon as it is known; closing this stops the rest."""
        ...


@runtime_checkable
class BatchRunner(Protocol):
    """Does tasks that may end faster than one at a time can be put on a disk."""

    def run_batches(self, tasks: Sequence[Task]) -> Generator[list[Outcome], None, None]:
        """Yield all outcomes known since the last were taken; closing this stops the rest."""
        ...


def _batches(runner: Runner, tasks: Sequence[Task]) -> Generator[list[Outcome], None, None]:
    if isinstance(runner, BatchRunner):
        yield from runner.run_batches(tasks)
        return
    with contextlib.closing(runner.run(tasks)) as outcomes:
        for outcome in outcomes:
            yield [outcome]


@dataclass(frozen=True)
class Tally:
    """How far a study is.

    Attributes
    ----------
    total : int
        Runs of the study.
    before : int
        Those found finished when it began.
    done, failed : int
        Those finished since, and how many of them failed.
    elapsed_s : float
        Seconds since it began.
    """

    total: int
    before: int
    done: int = 0
    failed: int = 0
    elapsed_s: float = 0.0

    @property
    def left(self) -> int:
        """Runs still to do."""
        return self.total - self.before - self.done

    @property
    def left_s(self) -> float | None:
        """Seconds left if the rest takes as long as what was done; None before anything is."""
        return self.elapsed_s / self.done * self.left if self.done else None


def run_study(
    file: StudyFile,
    runner: Runner,
    *,
    listener: Callable[[Tally], None] | None = None,
    retry_failed: bool = False,
) -> Tally:
    r"""Do every run of a study that its results file does not hold, and add each as it ends.

    Parameters
    ----------
    file : StudyFile
    runner : Runner
    listener, retry_failed
        As for `run_tasks`.

    Raises
    ------
    InputError
        If an instance or a variant cannot be read, or the results file is not one.
    StoreError
        If another process is running the study, or a run cannot be written.

    Examples
    --------
    >>> import shutil, tempfile, mocap_opt
    >>> from pathlib import Path
    >>> place = Path(shutil.copy("instances/tiny-slack.json", tempfile.mkdtemp())).parent
    >>> text = 'methods = ["gpipe", "mocap"]\ninstances = [{files = ["tiny-slack.json"]}]'
    >>> _ = (place / "study.toml").write_text(text)
    >>> runner = mocap_opt.studies.LocalRunner(1, grace_s=30, retries=1)
    >>> mocap_opt.run_study(mocap_opt.load_study(place / "study.toml"), runner).done
    2
    >>> mocap_opt.studies.results(place / "study.toml")["status"].tolist()
    ['feasible', 'optimal']
    """
    return run_tasks(tasks_of(file), file.results_path, runner, listener=listener, retry_failed=retry_failed)


def run_tasks(
    given: Sequence[Task],
    results_path: str | os.PathLike[str],
    runner: Runner,
    *,
    listener: Callable[[Tally], None] | None = None,
    retry_failed: bool = False,
) -> Tally:
    """Do every task that a results file does not hold, and add each as it ends.

    Parameters
    ----------
    given : sequence of Task
    results_path : path
        Made if it does not exist.
    runner : Runner
    listener : callable, optional
        Told of every `Tally`, the first before anything is done.
    retry_failed : bool
        Do failed runs again instead of keeping their rows.

    Raises
    ------
    InputError
        If the results file is not one.
    StoreError
        If another process is adding to it, or a run cannot be written.
    """
    tasks = {task.key: task for task in given}
    tell = listener or (lambda tally: None)
    with ResultsStore(results_path) as store:
        if retry_failed:
            store.forget(store.failed_keys() & tasks.keys())
        finished = store.keys()
        todo = [task for key, task in tasks.items() if key not in finished]
        tally = Tally(len(tasks), len(tasks) - len(todo))
        tell(tally)
        started = time.monotonic()
        with contextlib.closing(_batches(runner, todo)) as batches:
            for batch in batches:
                store.append(*batch)
                tally = Tally(
                    tally.total,
                    tally.before,
                    tally.done + len(batch),
                    tally.failed + sum(outcome.failed for outcome in batch),
                    time.monotonic() - started,
                )
                tell(tally)
    return tally


def held_outcomes(tasks: Sequence[Task], results_path: str | os.PathLike[str]) -> list[Outcome]:
    """Read the outcomes of those tasks that a results file holds, in the order of the tasks.

    Names and variants are as the tasks have them now: they are no part of the key.

    Parameters
    ----------
    tasks : sequence of Task
    results_path : path

    Raises
    ------
    InputError
        If the results file is not one.
    """
    held = {outcome.key: outcome for outcome in read_outcomes(results_path)}
    return [
        Outcome(task.key, {**held[task.key].row, **task.identity()}, held[task.key].curve)
        for task in tasks
        if task.key in held
    ]


def finished_runs(
    tasks: Sequence[Task],
    results_path: str | os.PathLike[str],
    runner: Runner,
    *,
    listener: Callable[[Tally], None] | None = None,
    retry_failed: bool = False,
) -> list[Outcome]:
    """Do every task that a results file lacks, and return the outcomes of all, in the order of the tasks.

    Parameters
    ----------
    tasks, results_path, runner, listener, retry_failed
        As for `run_tasks`, whose errors it raises.
    """
    run_tasks(tasks, results_path, runner, listener=listener, retry_failed=retry_failed)
    return held_outcomes(tasks, results_path)
