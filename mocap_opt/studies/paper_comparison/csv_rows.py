"""Rows of the headline study read from CSV, every cell checked."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from mocap_opt.errors import InputError, Problem
from mocap_opt.messages import MOST_PROBLEMS, capped, close_to, show
from mocap_opt.solvers.outcome import Status
from mocap_opt.studies.paper_comparison.family import METHODS

QUANTITIES = ("latency", "period", "run", "equal-length", "limited-length")
FAILED = "failed"
REMEDY = "write the file with `mocap-opt reproduce`"

_WHOLE = re.compile(r"[0-9]{1,15}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{0,40})?(?:e[+-]?[0-9]{1,3})?", re.ASCII)


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
