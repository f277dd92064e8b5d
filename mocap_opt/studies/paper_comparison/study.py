"""Every run of the headline study, done once each and kept as it ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mocap_opt.instance import Instance
from mocap_opt.studies.driver import Runner, Tally, run_tasks
from mocap_opt.studies.execution import Outcome
from mocap_opt.studies.paper_comparison.family import METHODS, REQUESTS, Case
from mocap_opt.studies.store import read_outcomes
from mocap_opt.studies.tasks import Settings, Task

TIME_LIMIT_S = 12.0
"""Wall time of one run of the joint method; heuristics stop by themselves."""

GAP = 1e-4

GRACE_S = 120.0
"""A run is killed so long after its limit: bounds and replays are not always cut short."""


def tasks_of_case(case: Case, time_limit_s: float = TIME_LIMIT_S) -> Iterator[Task]:
    """Every run of one instance: each quantity, with each method.

    ``variant`` of a task holds ``quantity``, ``requests`` (of a finite run) and the case's fields.
    """
    for quantity in case.quantities:
        for requests in REQUESTS if quantity == "run" else (None,):
            instance = Instance.from_dict(_instance_data(case, requests))
            kind = quantity if quantity == "latency" else f"headline-{quantity}"
            variant = {"quantity": quantity, "requests": requests, **_fields(case)}
            for method in METHODS:
                settings = Settings(method, "auto", "best", 0, time_limit_s, GAP, 1)
                data = instance.to_dict()
                yield Task(kind, data, case.name, instance.fingerprint, variant, settings)


def _instance_data(case: Case, requests: int | None) -> dict[str, Any]:
    data = case.data()
    if requests is not None:
        data["workload"] = {"requests": [data["workload"]] * requests}
        data["objective"] = "stream"
    return data


def _fields(case: Case) -> dict[str, Any]:
    names = ("model", "wafer", "stages", "dies_per_stage", "tokens", "batch", "max_chunks")
    fields = {name: getattr(case, name) for name in names}
    # Where the length is the question, the one in the instance means nothing.
    return fields if "latency" in case.quantities else {**fields, "tokens": None}


def tasks_of_family(cases: Iterable[Case], time_limit_s: float = TIME_LIMIT_S) -> list[Task]:
    """Every run of a family, case by case."""
    return [task for case in cases for task in tasks_of_case(case, time_limit_s)]


def results_path(csv_path: str | os.PathLike[str]) -> Path:
    """Where finished runs are kept: ``NAME.results.sqlite`` beside ``NAME.csv``."""
    path = Path(csv_path)
    return path.with_name(f"{path.stem}.results.sqlite")


def run_family(
    tasks: Sequence[Task],
    results: str | os.PathLike[str],
    runner: Runner,
    *,
    listener: Callable[[Tally], None] | None = None,
) -> list[Outcome]:
    """Do every run that is missing, and return all, in the order of `tasks`.

    Runs that failed before are done again.

    Raises
    ------
    InputError
        If the results file is not one.
    StoreError
        If another process is adding to it, or a run cannot be written.
    """
    run_tasks(tasks, results, runner, listener=listener, retry_failed=True)
    held = {outcome.key: outcome for outcome in read_outcomes(results)}
    return [Outcome(task.key, {**held[task.key].row, **task.identity()}) for task in tasks]
