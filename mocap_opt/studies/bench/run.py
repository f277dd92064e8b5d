"""Running the benchmark: every instance, every method, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mocap_opt.instance import Instance
from mocap_opt.instance.objectives import require_supported
from mocap_opt.studies.bench.process import Finished, run_task
from mocap_opt.studies.bench.rows import Row, measures, medians

TIME_LIMITS_S = {"S": 2.0, "M": 20.0, "L": 120.0, "XL": 300.0}
"""Wall time by the size in an instance's name."""

REPEATS = {"S": 3, "M": 3}
"""Runs by size; elsewhere one."""

OTHER_LIMIT_S = 60.0
"""Wall time of instances that are not of the family, and of the plain methods."""

PLAIN = ("plain-highs", "plain-cpsat")
GRACE_S = 30.0
"""A method that heeds its limit is killed so long after it; time to load and a defect's worth."""

PLAIN_GRACE_S = 5.0
"""The same of the plain methods, whose model building heeds no limit."""

HEURISTIC_LIMIT_S = 600.0


@dataclass(frozen=True)
class Settings:
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


Run = Callable[[dict[str, Any], float], Finished]


def bench(
    instances: Sequence[Instance],
    settings: Settings | None = None,
    *,
    tell: Callable[[str], None] = lambda line: None,
    run: Run = run_task,
) -> Iterator[Row]:
    """Run every method on every instance, yielding rows as they are finished.

    Parameters
    ----------
    instances : sequence of Instance
    settings : Settings, optional
    tell : callable
        Told what is about to run.
    run : callable
        Runs a task and kills it after so many seconds; see `mocap_opt.studies.bench.process.run_task`.

    Yields
    ------
    Row
    """
    settings = settings or Settings()
    for instance in instances:
        require_supported(instance, "bench")
    for instance in instances:
        yield from _rows(instance, settings, tell, run)


def _rows(instance: Instance, settings: Settings, tell: Callable[[str], None], run: Run) -> Iterator[Row]:
    size = instance.name.partition("-")[0]
    tell(f"{instance.name}: heuristic")
    finished = run({"instance": instance.to_dict(), "method": None}, HEURISTIC_LIMIT_S)
    heuristic = {"latency_s": None, "name": None}
    if finished.result is not None:
        heuristic = finished.result["heuristic"]

    def row(method: str, execution: str, count: int, limit: float, grace: float, ample: bool = False) -> Row:
        options = {"time_limit_s": limit, "gap": settings.gap, "seed": settings.seed, "execution": execution}
        task = {"instance": instance.to_dict(), "method": method, "options": options}
        runs = []
        for number in range(count):
            tell(f"{instance.name}: {method}, run {number + 1} of {count}, at most {limit:g} s")
            runs.append(measures(run(task, limit + grace), limit))
        merged = medians(runs)
        ratio = None
        if ample and instance.wafer.slow_links and merged["latency_s"]:
            tell(f"{instance.name}: {method} were no link slow")
            free = {**task, "instance": instance.replace("wafer.slow_links=[]").to_dict()}
            latency = measures(run(free, limit + grace), limit)["latency_s"]
            ratio = None if latency is None else latency / merged["latency_s"]
        return Row(
            instance=instance.name,
            method=method,
            execution=execution,
            repeats=count,
            heuristic=heuristic["name"],
            heuristic_latency_s=heuristic["latency_s"],
            ample_links_ratio=ratio,
            **merged,
        )

    yield row("auto", "best", settings.runs(size), settings.limit_s(size), GRACE_S, ample=True)
    for method in PLAIN if settings.plain else ():
        yield row(method, "lockstep", settings.repeats or 1, settings.plain_limit_s, PLAIN_GRACE_S)
