"""Rows of the benchmark's table: one per instance and method, medians over repetitions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import median
from typing import Any

from mocap_opt.studies.execution import Curve, Outcome
from mocap_opt.studies.summary import TIME_SHIFT_S, shifted_geometric_mean

ROUNDING = 1e-9
"""Gaps that differ by less are the same: curves hold latency and bound, not the exact gap."""

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


def time_to(curve: Curve, gap: float | None) -> float | None:
    """Seconds until the gap was first at most so much.

    Parameters
    ----------
    curve : Curve
    gap : float or None

    Returns
    -------
    float or None
        None if it never was, or `gap` is None.
    """
    if gap is None:
        return None
    within = (at for at, latency, bound in curve if _gap(latency, bound) <= gap + ROUNDING)
    return next(within, None)


def _gap(latency: float | None, bound: float | None) -> float:
    """(latency - bound) / latency; infinite where either is unknown."""
    if latency is None or bound is None:
        return math.inf
    return max(1 - bound / latency, 0.0) if latency else 0.0


def measures(outcome: Outcome) -> dict[str, Any]:
    """Fields of a `Row` that one run fills."""
    row, curve = outcome.row, outcome.curve
    if outcome.failed:
        _, latency, bound = curve[-1] if curve else (0.0, None, None)
        gap = _gap(latency, bound)
        found = {
            "status": "killed" if row.get("late") else "failed",
            "latency_s": latency,
            "lower_bound_s": bound,
            "runtime_s": row.get("process_s", 0.0),
            "reason": row["reason"],
            "gap": None if math.isinf(gap) else gap,
        }
    else:
        found = row
        # What the report adds (a bound told at the very end, say) is news like any other.
        curve = [*curve, (row["runtime_s"], row["latency_s"], row["lower_bound_s"])]
    return {
        "status": found["status"],
        "latency_s": found["latency_s"],
        "bound_s": found["lower_bound_s"],
        "bound_name": found.get("bound_name"),
        "gap": found["gap"],
        "to_5_percent_s": time_to(curve, 0.05),
        "to_1_percent_s": time_to(curve, 0.01),
        "to_half_percent_s": time_to(curve, 0.005),
        "to_final_gap_s": time_to(curve, found["gap"]),
        "build_s": found.get("build_s"),
        "solve_s": found.get("solve_s"),
        "runtime_s": found["runtime_s"],
        "time_limit_s": row["time_limit_s"],
        "overrun_s": max(0.0, found["runtime_s"] - row["time_limit_s"]),
        "peak_memory_bytes": row.get("process_memory_bytes") or 0,
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
            **{
                name: shifted_geometric_mean((_counted(row, name) for row in members), TIME_SHIFT_S)
                for name in MEANS
            },
        }
        for (size, method), members in groups.items()
    ]


def _counted(row: Row, name: str) -> float:
    value: float | None = getattr(row, name)
    return row.time_limit_s if value is None else value


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else value
