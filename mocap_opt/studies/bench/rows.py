"""Rows of the benchmark's table: one per instance and method, medians over repetitions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import median
from typing import Any

from mocap_opt.studies.bench.process import Finished

SHIFT_S = 1.0
"""Shift of the geometric means, seconds."""

MEANS = ("to_5_percent_s", "to_1_percent_s", "to_half_percent_s", "to_final_gap_s", "runtime_s")
"""Columns whose shifted geometric means are shown; a gap not reached counts as the time limit."""


@dataclass(frozen=True)
class Row:
    """What a method did on an instance; medians where it ran several times, None where unknown.

    Attributes
    ----------
    instance, method : str
    execution : str
        Whose latency and bound the gap is about: ``"best"`` or ``"lockstep"``.
    repeats : int
    status : str
        As in `mocap_opt.solving.report.Report`; ``"killed"`` if it was overdue, ``"failed"`` on an error.
    heuristic : str or None
    heuristic_latency_s : float or None
        The heuristic's name and its reported latency.
    latency_s, bound_s, bound_name, gap
        Of the method: its best plan, its best bound that covers it, and the gap between the two.
    to_5_percent_s, to_1_percent_s, to_half_percent_s, to_final_gap_s : float or None
        Seconds until the method's best plan so far was that close to its own best covering bound
        so far; to_final_gap_s until its last gap.
    build_s, solve_s, runtime_s : float or None
        Building models, inside solvers, and everything from the tables on.
    time_limit_s, overrun_s : float
        The limit, and by how much the run exceeded it (0 if not).
    peak_memory_bytes : int
        Of the process, everything included.
    ample_links_ratio : float or None
        Best latency were no link slow / best latency, where the instance has slow links.
    reason : str or None
        Why there is no plan, or no report.
    """

    instance: str
    method: str
    execution: str
    repeats: int
    status: str
    heuristic: str | None
    heuristic_latency_s: float | None
    latency_s: float | None
    bound_s: float | None
    bound_name: str | None
    gap: float | None
    to_5_percent_s: float | None
    to_1_percent_s: float | None
    to_half_percent_s: float | None
    to_final_gap_s: float | None
    build_s: float | None
    solve_s: float | None
    runtime_s: float
    time_limit_s: float
    overrun_s: float
    peak_memory_bytes: int
    ample_links_ratio: float | None = None
    reason: str | None = None


COLUMNS = tuple(field.name for field in fields(Row))


def time_to(progress: Sequence[Mapping[str, Any]], gap: float | None) -> float | None:
    """Seconds until the gap was first at most `gap`; None if it never was."""
    if gap is None:
        return None
    return next((p["elapsed_s"] for p in progress if p["gap"] is not None and p["gap"] <= gap), None)


def measures(finished: Finished, time_limit_s: float) -> dict[str, Any]:
    """Fields of a `Row` that one run fills."""
    report = None if finished.result is None else finished.result["report"]
    progress = finished.progress
    if report is not None:
        # What the report adds (a bound told at the very end, say) is news like any other.
        progress = [*progress, {"elapsed_s": report["runtime_s"], "gap": report["gap"]}]
    last = progress[-1] if progress else {}
    found: dict[str, Any] = report or {
        "status": "killed" if finished.killed else "failed",
        "latency_s": last.get("latency_s"),
        "lower_bound_s": last.get("bound_s"),
        "runtime_s": finished.wall_s,
        "reason": "still running at the limit and its grace" if finished.killed else finished.error,
        "gap": last.get("gap"),
    }
    gap = found["gap"]
    return {
        "status": found["status"],
        "latency_s": found["latency_s"],
        "bound_s": found["lower_bound_s"],
        "bound_name": found.get("bound_name"),
        "gap": gap,
        "to_5_percent_s": time_to(progress, 0.05),
        "to_1_percent_s": time_to(progress, 0.01),
        "to_half_percent_s": time_to(progress, 0.005),
        "to_final_gap_s": time_to(progress, gap),
        "build_s": found.get("build_s"),
        "solve_s": found.get("solve_s"),
        "runtime_s": found["runtime_s"],
        "time_limit_s": time_limit_s,
        "overrun_s": max(0.0, found["runtime_s"] - time_limit_s),
        "peak_memory_bytes": finished.peak_memory_bytes,
        "reason": found["reason"],
    }


def medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Median of every number over the runs, where None counts as worse than any number.

    Of an even number of runs the upper median, so that every figure is one that was measured.  What
    is not a number is taken from the run with the median gap.
    """
    middle = len(runs) // 2
    typical = sorted(runs, key=lambda run: _or_infinity(run["gap"]))[middle]
    merged = dict(typical)
    for key in typical:
        values = [run[key] for run in runs]
        if all(value is None or isinstance(value, int | float) for value in values):
            merged[key] = sorted(values, key=_or_infinity)[middle]
    return merged


def _or_infinity(value: float | None) -> float:
    return math.inf if value is None else value


def shifted_geometric_mean(values: Iterable[float], shift: float = SHIFT_S) -> float:
    """exp(mean of log(value + shift)) - shift: the mean usual for solving times.

    Raises
    ------
    ValueError
        If there are no values.
    """
    logs = [math.log(value + shift) for value in values]
    if not logs:
        raise ValueError("no values to take the mean of")
    return math.exp(math.fsum(logs) / len(logs)) - shift


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Shifted geometric means of `MEANS` and the median gap, by size and method."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.instance.partition("-")[0], row.method), []).append(row)
    return [
        {
            "size": size,
            "method": method,
            "instances": len(members),
            "median_gap": _finite(median(_or_infinity(row.gap) for row in members)),
            **{name: shifted_geometric_mean(_counted(row, name) for row in members) for name in MEANS},
        }
        for (size, method), members in groups.items()
    ]


def _counted(row: Row, name: str) -> float:
    value: float | None = getattr(row, name)
    return row.time_limit_s if value is None else value


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else value
