"""The benchmark as a study: every instance, every method, each run in a process of its own."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mocap_opt.instance import Instance
from mocap_opt.instance.objectives import require_supported
from mocap_opt.studies.bench.rows import Row, measures, medians
from mocap_opt.studies.driver import Runner, finished_runs
from mocap_opt.studies.execution import Outcome
from mocap_opt.studies.runners import LocalRunner
from mocap_opt.studies.tasks import Settings, Task

TIME_LIMITS_S = {"S": 2.0, "M": 20.0, "L": 120.0, "XL": 300.0}
"""Wall time by the size in an instance's name."""

REPEATS = {"S": 3, "M": 3}
"""Runs by size; elsewhere one."""

OTHER_LIMIT_S = 60.0
"""Wall time of instances that are not of the family, and of the plain methods."""

PLAIN = ("plain-highs", "plain-cpsat")
GRACE_S = 30.0
"""A method that heeds its limit is killed so long after it: a defect's worth."""

PLAIN_GRACE_S = 5.0
"""The same of the plain methods, whose model building heeds no limit."""

FIRST_CHOICE = "mocap"
"""The heuristic that others are compared with; where it has no plan, the best of the others is."""

HEURISTIC_LIMIT_S = 600.0


@dataclass(frozen=True)
class BenchSettings:
    """How to run.

    Attributes
    ----------
    time_limit_s : float or None
        None: by size, see `TIME_LIMITS_S`.
    repeats : int or None
        None: by size, see `REPEATS`, and one run of the plain methods.
    gap : float
        Stop once the gap is at most this.
    plain : bool
        Whether the plain methods run too.
    plain_limit_s : float
        Their wall time, building included.
    seed : int
    """

    time_limit_s: float | None = None
    repeats: int | None = None
    gap: float = 1e-4
    plain: bool = True
    plain_limit_s: float = OTHER_LIMIT_S
    seed: int = 0

    def limit_s(self, size: str) -> float:
        """Wall time of the main method on a size."""
        return TIME_LIMITS_S.get(size, OTHER_LIMIT_S) if self.time_limit_s is None else self.time_limit_s

    def runs(self, size: str) -> int:
        """Number of runs on a size."""
        return REPEATS.get(size, 1) if self.repeats is None else self.repeats

    def ask(self, method: str, execution: str, limit_s: float, repeat: int | None = None) -> Settings:
        """Settings of one run.

        Parameters
        ----------
        method, execution : str
        limit_s : float
        repeat : int, optional
            Its number among runs of the same settings; None for the first.
        """
        return Settings(method, "auto", execution, self.seed, limit_s, self.gap, None, repeat=repeat)


def one_by_one(grace_s: float) -> Runner:
    """One run at a time, each in a fresh process, killed so many seconds after its limit."""
    return LocalRunner(1, grace_s=grace_s, retries=0, fresh=True)


Run = Callable[[Sequence[Task], float], list[Outcome]]
"""Does tasks and kills those that run longer than their limit by so many seconds."""


def bench(
    instances: Sequence[Instance],
    settings: BenchSettings | None = None,
    *,
    results: str | os.PathLike[str] | None = None,
    tell: Callable[[str], None] = lambda line: None,
    runner: Callable[[float], Runner] = one_by_one,
) -> Iterator[Row]:
    """Run every method on every instance, yielding rows as they are finished.

    Parameters
    ----------
    instances : sequence of Instance
    settings : BenchSettings, optional
    results : path, optional
        Finished runs are kept here, and those that are there already are not done again.
    tell : callable
        Told what is about to run.
    runner : callable
        Makes what does the runs, given the seconds after its limit at which a run is to be killed.

    Yields
    ------
    Row

    Raises
    ------
    InputError
        If an instance asks for something else than the least latency, or `results` is another file.
    """
    settings = settings or BenchSettings()
    for instance in instances:
        require_supported(instance, "bench")
    with contextlib.ExitStack() as stack:
        if results is None:
            results = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "bench.sqlite"
        place = results
        for instance in instances:
            yield from _rows(
                instance, settings, tell, lambda tasks, grace_s: finished_runs(tasks, place, runner(grace_s))
            )


def _rows(
    instance: Instance, settings: BenchSettings, tell: Callable[[str], None], run: Run
) -> Iterator[Row]:
    size = instance.name.partition("-")[0]
    tell(f"{instance.name}: heuristic")
    first = settings.ask(FIRST_CHOICE, "best", HEURISTIC_LIMIT_S)
    heuristic = run([Task.of("first-heuristic", instance, first)], 0.0)[0].row

    def _row(method: str, execution: str, count: int, limit_s: float, grace_s: float) -> Row:
        tell(f"{instance.name}: {method}, {count} run{'s' if count > 1 else ''} of at most {limit_s:g} s")
        asked = [settings.ask(method, execution, limit_s, number or None) for number in range(count)]
        done = run([Task.of("latency", instance, each) for each in asked], grace_s)
        merged = medians([measures(outcome) for outcome in done])
        ratio = None
        if method == "auto" and instance.wafer.slow_links and merged["latency_s"]:
            tell(f"{instance.name}: {method} were no link slow")
            free = instance.replace("wafer.slow_links=[]")
            (ample,) = run([Task.of("latency", free, asked[0])], grace_s)
            latency = measures(ample)["latency_s"]
            ratio = None if latency is None else latency / merged["latency_s"]
        return Row(
            instance=instance.name,
            method=method,
            execution=execution,
            repeats=count,
            heuristic=heuristic.get("found_by"),
            heuristic_latency_s=heuristic.get("latency_s"),
            ample_links_ratio=ratio,
            **merged,
        )

    yield _row("auto", "best", settings.runs(size), settings.limit_s(size), GRACE_S)
    for method in PLAIN if settings.plain else ():
        yield _row(method, "lockstep", settings.repeats or 1, settings.plain_limit_s, PLAIN_GRACE_S)
