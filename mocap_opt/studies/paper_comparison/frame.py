"""Rows of the comparison with the paper: one per instance, quantity and method; a small CSV keeps them."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, create_model
from pydantic_core import PydanticCustomError

from mocap_opt.errors import InputError, Problem
from mocap_opt.files import read_text, source_name
from mocap_opt.instance.problems import from_validation
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


def _printable(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError("mocap", "text", {"expected": "a printable text", "remedy": REMEDY})
    return text


def _one_of(names: Sequence[str]) -> Any:
    """The type of a cell that holds one of some names."""

    def known(cell: str) -> str:
        if cell not in names:
            context = {"expected": "one of " + ", ".join(names), "remedy": close_to(cell, names) or REMEDY}
            raise PydanticCustomError("mocap", "name", context)
        return cell

    return Annotated[str, AfterValidator(known)]


_TEXT = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_printable)]
_COUNT = Annotated[int, Field(gt=0, lt=10**15)]
_POSITIVE = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_CELLS: Mapping[str, Any] = {
    **dict.fromkeys(COLUMNS, (_TEXT, ...)),
    **dict.fromkeys(("stages", "dies_per_stage", "batch", "max_chunks"), (_COUNT, ...)),
    **dict.fromkeys(("tokens", "found_by", "reason"), (_TEXT | None, ...)),
    **dict.fromkeys(("requests", "chunks"), (_COUNT | None, ...)),
    **dict.fromkeys(("value", "bound"), (_POSITIVE | None, ...)),
    "gap": (Annotated[float, Field(ge=0, le=1)] | None, ...),
    "method": (_one_of(METHODS), ...),
    "quantity": (_one_of(QUANTITIES), ...),
    "status": (_one_of((*(status.value for status in Status), FAILED)), ...),
}
_ROW = create_model("_ROW", **_CELLS)


def read_csv(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read the CSV that `mocap-opt reproduce` wrote; other columns are left out.

    Raises
    ------
    InputError
        If there is no such file, or listing every column that is missing and every cell that is wrong,
        with its line.
    """
    import pandas as pd  # noqa: PLC0415 - slow to load

    source = source_name(path)
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    seen: dict[tuple[Any, ...], int] = {}
    try:
        head = list(reader.fieldnames or ())
        for name in COLUMNS:
            if head.count(name) != 1:
                found = f"{name} twice" if name in head else f"no column {name}"
                problems.append(Problem(source, found, "all columns", REMEDY))
        for cells in () if problems else reader:
            row = _checked(cells, f"{source}, line {reader.line_num}", problems)
            question = tuple(row.get(name) for name in (*GROUP, "method"))
            if row and question in seen:
                found = f"the same as line {seen[question]}"
                problems.append(Problem(f"{source}, line {reader.line_num}", found, "each question once"))
            seen.setdefault(question, reader.line_num)
            rows.append(row)
            if len(problems) > MOST_PROBLEMS:
                break
    except csv.Error as error:
        place = f"{source}, line {reader.line_num}"
        problems.append(Problem(place, str(error), "fields separated by commas", REMEDY))
    if not rows and not problems:
        problems.append(Problem(source, "no row", "rows below the header", REMEDY))
    if problems:
        raise InputError(capped(problems, source))
    return typed(pd.DataFrame(rows, columns=list(COLUMNS)))


def _checked(cells: dict[str | Any, Any], place: str, problems: list[Problem]) -> dict[str, Any]:
    """A row's values, an empty cell None; empty with its problems noted if something is wrong."""
    if None in cells or None in cells.values():
        problems.append(Problem(place, "another number of fields", "as many as in the header"))
        return {}
    try:
        row: dict[str, Any] = _ROW.model_validate(
            {name: cell or None for name, cell in cells.items()}
        ).model_dump()
    except ValidationError as error:
        wrong = from_validation(error, _ROW)
        problems += [Problem(f"{place}, {p.path}", p.found, p.expected, p.remedy or REMEDY) for p in wrong]
        return {}
    if (row["requests"] is None) == (row["quantity"] == "run"):
        expected = "a whole number of requests for a run, nothing for other quantities"
        problems.append(Problem(f"{place}, requests", show(cells["requests"]), expected, REMEDY))
    return row
