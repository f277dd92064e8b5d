"""One run in a process of its own: ``python -m mocap_opt.studies.bench.child < task.json``.

Prints a line of JSON for every piece of news of the solve and a last one with its report, so that a
run that is killed leaves what it had.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import Any

from mocap_opt.baselines import METHODS
from mocap_opt.instance import Instance
from mocap_opt.replay.evaluation import assess
from mocap_opt.solving import Progress, solve
from mocap_opt.tables import build_tables

FIRST_CHOICE = "mocap"
"""The heuristic that others are compared with; where it has no plan, the best of the others is."""


def say(kind: str, value: Any) -> None:
    """Print one line."""
    print(json.dumps({kind: value}, allow_nan=False), flush=True)


def heuristic(instance: Instance) -> dict[str, Any]:
    """Latency of `FIRST_CHOICE`, or of the best other heuristic that runs no solver, and its name."""
    tables = build_tables(instance)
    found: list[tuple[float, str]] = []
    for name in (FIRST_CHOICE, *(name for name in METHODS if name not in (FIRST_CHOICE, "search-program"))):
        plan = METHODS[name].propose(tables).plan
        if plan is not None:
            found.append((tables.seconds(assess(tables, plan).latency), name))
            if name == FIRST_CHOICE:
                break
    if not found:
        return {"latency_s": None, "name": None}
    latency, best = min(found)
    return {"latency_s": latency, "name": best}


def run(task: dict[str, Any]) -> None:
    """Do what a task says: ``instance``, ``method`` (null: the heuristic alone) and `solve`'s options."""
    instance = Instance.from_dict(task["instance"])
    if task["method"] is None:
        say("heuristic", heuristic(instance))
        return
    began = time.perf_counter()

    def listen(news: Progress) -> None:
        # By this clock, which also counts the building of the tables.
        say("progress", {**asdict(news), "elapsed_s": time.perf_counter() - began})

    solution = solve(instance, task["method"], callback=listen, **task["options"])
    report = solution.report.to_dict()
    for long in ("boundaries", "homes", "peak_memory_bytes", "versions"):
        del report[long]
    say("report", {**report, "runtime_s": time.perf_counter() - began})


if __name__ == "__main__":
    run(json.load(sys.stdin))
