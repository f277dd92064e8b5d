"""Rows of the headline study: one per instance, quantity and method; a small CSV keeps them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mocap_opt.files import read_text, source_name, write_text_atomically
from mocap_opt.solvers.outcome import Status
from mocap_opt.studies.execution import Outcome
from mocap_opt.studies.paper_comparison.csv_rows import FAILED, parse_rows
from mocap_opt.studies.paper_comparison.family import METHODS

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "instance": "str",
    "model": "str",
    "wafer": "str",
    "stages": "int64",
    "dies_per_stage": "int64",
    "tokens": "str",
    "batch": "int64",
    "max_chunks": "int64",
    "quantity": "str",
    "requests": "Int64",
    "method": "str",
    "status": "str",
    "value": "float64",
    "bound": "float64",
    "gap": "float64",
    "chunks": "Int64",
    "found_by": "str",
    "reason": "str",
}
"""Columns of the frame and their types.

``quantity`` is ``latency`` (s), ``period`` (s per request without end), ``run`` (s until the last of
``requests`` has left), ``equal-length`` or ``limited-length`` (tokens); ``value`` and ``bound`` are in
its unit, missing where unknown.  ``gap`` is relative to the best bound that any method proved.
"""

GROUP = ("instance", "quantity", "requests")
"""What tells one question from another."""

LENGTHS = ("equal-length", "limited-length")
"""Quantities of which more is better."""

TOLERANCE = 1e-4
"""A value this close to its bound counts as optimal, as in every run of the study."""

DIGITS = 9


class BoundBeatenError(AssertionError):
    """A value lies beyond a bound on every method: one of them is wrong."""


def frame_of(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Rows of outcomes, all gaps of a question against the best bound on it.

    A proof by one method that there is no plan holds for all.  A run that failed is a row of status
    ``failed``.

    Raises
    ------
    BoundBeatenError
        If a value lies beyond a bound.
    """
    import pandas as pd  # noqa: PLC0415 - slow to load

    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for outcome in outcomes:
        row = _row(outcome.row)
        groups.setdefault(tuple(row[name] for name in GROUP), []).append(row)
    for rows in groups.values():
        _judge(rows)
    found = [row for rows in groups.values() for row in rows]
    return typed(pd.DataFrame(found, columns=list(COLUMNS)))


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Give every column its type; a missing text is None."""
    return frame.astype(object).where(frame.notna(), None).astype(_types())


def _types() -> dict[str, Any]:
    return {name: "object" if kind == "str" else kind for name, kind in COLUMNS.items()}


def _row(run: dict[str, Any]) -> dict[str, Any]:
    row = {**run["variant"], "instance": run["instance"], "method": run["method"]}
    if run["outcome"] != "ok":
        return dict.fromkeys(COLUMNS) | row | {"status": FAILED, "reason": run["reason"]}
    answer = run
    if run["kind"] == "latency":
        chunks = None if run["boundaries"] is None else len(run["boundaries"]) - 1
        answer = {**run, "value": run["latency_s"], "bound": run["lower_bound_s"], "chunks": chunks}
    names = ("status", "value", "bound", "chunks", "found_by", "reason")
    return dict.fromkeys(COLUMNS) | row | {name: answer[name] for name in names}


def _judge(rows: list[dict[str, Any]]) -> None:
    """Round values, and set status and gap in the light of all rows of a question."""
    longest = rows[0]["quantity"] in LENGTHS
    for row in rows:
        for name in ("value", "bound"):
            row[name] = None if row[name] is None else float(f"{row[name]:.{DIGITS}g}")
        # Every plan of the joint method is somebody's; of others only their own name would stand there.
        row["found_by"] = row["found_by"] if row["method"] == METHODS[-1] and row["value"] else None
    known = [row["bound"] for row in rows if row["bound"] is not None]
    proof = next((row["reason"] for row in rows if row["status"] == Status.INFEASIBLE.value), None)
    best = (min(known) if longest else max(known)) if known else None
    for row in rows:
        row["bound"] = best
        if row["value"] is None:
            if proof is not None and row["status"] == Status.UNKNOWN.value:
                row["status"], row["reason"] = Status.INFEASIBLE.value, proof
            continue
        row["reason"] = None
        if best is None:
            row["status"] = Status.FEASIBLE.value
            continue
        gap = 1 - row["value"] / best if longest else 1 - best / row["value"]
        if gap < -(10.0 ** (1 - DIGITS)):
            raise BoundBeatenError(f"{row['instance']}, {row['quantity']}: {row['method']} beats {best}")
        row["gap"] = round(max(gap, 0.0), 7)
        row["status"] = (Status.OPTIMAL if gap <= TOLERANCE else Status.FEASIBLE).value


def write_csv(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write the rows, whole or not at all.

    Raises
    ------
    InputError
        If the place cannot be written.
    """
    write_text_atomically(path, frame.to_csv(index=False, lineterminator="\n"))


def read_csv(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read what `write_csv` wrote.

    Raises
    ------
    InputError
        If there is no such file, or as `parse_rows`.
    """
    import pandas as pd  # noqa: PLC0415 - slow to load

    rows = parse_rows(read_text(path), source_name(path), COLUMNS)
    return typed(pd.DataFrame(rows, columns=list(COLUMNS)))
