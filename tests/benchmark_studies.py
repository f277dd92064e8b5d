"""Time what studies add to their runs: ``python tests/benchmark_studies.py``.

Two questions.  How much longer do runs take on a Dask cluster than in this process, per run, start-up of
the cluster aside?  And how much faster are two local processes than one, on runs that are limited by work
and not by time?  Ask on a machine with nothing else to do; the CPU time says how busy the cores were.
"""

from __future__ import annotations

import resource
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

from mocap_opt.studies import DaskRunner, LocalRunner, Runner, Task, load_study, tasks_of
from mocap_opt.studies.execution import perform

INSTANCES = Path(__file__).resolve().parent.parent / "instances"
SHORT = f"""
methods = ["uniform"]
[[instances]]
files = ["{INSTANCES}/tiny-slack.json"]
[instances.grid]
"workload.batch" = {list(range(1, 201))}
"""
LONG = f"""
methods = ["joint"]
solvers = ["cpsat"]
seeds = [0, 1, 2, 3, 4, 5, 6, 7]
time_limits_s = [600]
deterministic_limit = 0.05
threads = 1
[[instances]]
files = ["{INSTANCES}/bench/S-links.json"]
"""


def tasks(text: str) -> list[Task]:
    """Runs of a study."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "study.toml"
        file.write_text(text, encoding="utf-8")
        return tasks_of(load_study(file))


def ends(runner: Runner, todo: list[Task]) -> list[float]:
    """When each run had ended, seconds after the first."""
    times = []
    for outcome in runner.run(todo):
        assert not outcome.failed, outcome.row["reason"]
        times.append(time.perf_counter())
    return [at - times[0] for at in times]


def per_run(times: list[float]) -> float:
    """Median time between one end and the next, milliseconds."""
    return 1000 * median(b - a for a, b in pairwise(times))


def overhead() -> None:
    """Print what a run takes here, in a local process and on clusters of one and two workers."""
    todo = tasks(SHORT)
    here = []
    for task in todo:
        began = time.perf_counter()
        perform(task)
        here.append(1000 * (time.perf_counter() - began))
    print(f"a short run in this process           {median(here):8.1f} ms")
    runners = {
        "one local process": LocalRunner(1, grace_s=60, retries=0),
        "Dask, one worker": DaskRunner(workers=1),
        "Dask, two workers": DaskRunner(workers=2),
    }
    for name, runner in runners.items():
        taken = per_run(ends(runner, todo))
        print(f"{name:37s} {taken:8.1f} ms, {taken - median(here):6.1f} ms more", flush=True)


def speed_up() -> None:
    """Print the time of one and of two local processes, and how busy they were."""
    todo = tasks(LONG)
    walls = []
    for count in (1, 2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        times = ends(LocalRunner(count, grace_s=600, retries=0), todo)
        walls.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        rate = 100 * cpu / (count * walls[-1])
        print(
            f"{len(todo)} runs, {count} process{'es' if count > 1 else ''}: {walls[-1]:6.1f} s, "
            f"CPU {cpu:6.1f} s, {rate:3.0f} % of {count} core{'s' if count > 1 else ''}, "
            f"last run ended {times[-1]:.1f} s after the first",
            flush=True,
        )
    print(f"two processes are {walls[0] / walls[1]:.2f} times as fast as one")


if __name__ == "__main__":
    overhead()
    speed_up()
