"""Rows of the comparison with the paper: one per instance, quantity and method; a small CSV keeps them."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mocap_opt.errors import InputError, Problem
from mocap_opt.files import read_text, source_name
from mocap_opt.messages import MOST_PROBLEMS, capped, close_to, show
from mocap_opt.solvers.outcome import Status
from mocap_opt.studies.execution import FAILED, Outcome
from mocap_opt.studies.paper_comparison.family import METHODS

if TYPE_CHECKING:
    import pandas as pd

QUANTITIES = ("latency", "period", "run", "equal-length", "limited-length")
REMEDY = "write the file with `mocap-opt reproduce`"

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


_WHOLE = re.compile(r"[0-9]{1,15}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{0,40})?(?:e[+-]?[0-9]{1,3})?", re.ASCII)


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


def read_csv(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read the CSV that `mocap-opt reproduce` wrote.

    Raises
    ------
    InputError
        If there is no such file, or as `parse_rows`.
    """
    import pandas as pd  # noqa: PLC0415 - slow to load

    rows = parse_rows(read_text(path), source_name(path), COLUMNS)
    return typed(pd.DataFrame(rows, columns=list(COLUMNS)))


def parse_rows(text: str, source: str, columns: Iterable[str]) -> list[dict[str, Any]]:
    """Read rows; an empty cell is None.

    Parameters
    ----------
    text : str
    source : str
        Where it comes from, for messages.
    columns : iterable of str
        Those wanted; others are left out.

    Raises
    ------
    InputError
        Listing every column that is missing and every cell that is wrong, with its line.
    """
    lines = _lines(text, source)
    _, head = next(lines, (0, []))
    found = [
        Problem(source, f"no column {name}" if name not in head else f"{name} twice", "all columns", REMEDY)
        for name in columns
        if head.count(name) != 1
    ]
    if found:
        raise InputError(found)
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    seen: dict[tuple[Any, ...], int] = {}
    for number, cells in lines:
        if len(problems) > MOST_PROBLEMS:
            break
        place = f"{source}, line {number}"
        if len(cells) != len(head):
            problems.append(Problem(place, f"{len(cells)} fields", f"{len(head)}, as in the header"))
            continue
        given = dict(zip(head, cells, strict=True))
        row = {name: _cell(name, given[name], place, problems) for name in columns}
        if (row["requests"] is None) == (row["quantity"] == "run"):
            expected = "a whole number of requests for a run, nothing for other quantities"
            problems.append(Problem(f"{place}, requests", show(given["requests"]), expected, REMEDY))
        question = tuple(row[name] for name in ("instance", "quantity", "requests", "method"))
        if question in seen:
            problems.append(Problem(place, f"the same as line {seen[question]}", "each question once"))
        seen.setdefault(question, number)
        rows.append(row)
    if not rows and not problems:
        problems.append(Problem(source, "no row", "rows below the header", REMEDY))
    if problems:
        raise InputError(capped(problems, source))
    return rows


def _lines(text: str, source: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            place = f"{source}, line {reader.line_num}"
            raise InputError([Problem(place, str(error), "fields separated by commas", REMEDY)]) from None
        if cells is None:
            return
        if cells:
            yield reader.line_num, cells


def _text(cell: str) -> str | None:
    return cell if cell and len(cell) <= 1000 and cell.isprintable() else None


def _whole(cell: str) -> int | None:
    return int(cell) if _WHOLE.fullmatch(cell) and int(cell) > 0 else None


def _positive(cell: str) -> float | None:
    value = float(cell) if _NUMBER.fullmatch(cell) else 0.0
    return value if 0 < value < math.inf else None


def _share(cell: str) -> float | None:
    value = float(cell) if _NUMBER.fullmatch(cell) else 2.0
    return value if value <= 1 else None


def _one_of(names: Sequence[str]) -> Callable[[str], str | None]:
    return lambda cell: cell if cell in names else None


_STATUSES = (*(status.value for status in Status), FAILED)
_NAMES: Mapping[str, Sequence[str]] = {"method": METHODS, "quantity": QUANTITIES, "status": _STATUSES}
_COUNTS = ("stages", "dies_per_stage", "batch", "max_chunks", "requests", "chunks")
_KINDS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    **{name: (_one_of(names), "one of " + ", ".join(names)) for name, names in _NAMES.items()},
    **dict.fromkeys(_COUNTS, (_whole, "a whole number above 0")),
    "value": (_positive, "a number above 0"),
    "bound": (_positive, "a number above 0"),
    "gap": (_share, "a number from 0 to 1"),
}
_OPTIONAL = frozenset({"tokens", "requests", "value", "bound", "gap", "chunks", "found_by", "reason"})


def _cell(name: str, cell: str, place: str, problems: list[Problem]) -> Any:
    """Value of a cell; None with a problem noted if it is wrong."""
    if not cell and name in _OPTIONAL:
        return None
    read, expected = _KINDS.get(name, (_text, "a printable text of at most 1000 characters"))
    value = read(cell)
    if value is None:
        remedy = close_to(cell, _NAMES.get(name, ())) or REMEDY
        problems.append(Problem(f"{place}, {name}", show(cell), expected, remedy))
    return value
