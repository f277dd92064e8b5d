"""Timings of chunks as a CSV file: how long a stage took for so many tokens after so many others.

Columns, in any order: ``chunk_tokens`` (length of the chunk), ``prefix_tokens`` (tokens before it,
cached ones included), ``seconds`` (time of one stage) and, if stages differ, ``stage`` (from 0).
Empty lines and lines that start with ``#`` are skipped.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.errors import InputError, Problem
from mocap_opt.files import read_text, source_name
from mocap_opt.messages import MOST_PROBLEMS, capped, close_to, show

COLUMNS = ("chunk_tokens", "prefix_tokens", "seconds", "stage")
REQUIRED = COLUMNS[:3]
MOST_ROWS = 200_000
MOST_TOKENS = 2**30
MOST_SECONDS = 1000.0
MOST_STAGES = 512

_WHOLE = re.compile(r"[0-9]{1,10}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{0,20}\.?[0-9]{0,40}(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)


@dataclass(frozen=True, eq=False)
class Timings:
    """Measured times of chunks on stages.

    Attributes
    ----------
    source : str
        Where they come from, for messages.
    length : int64[row], tokens
    prefix : int64[row], tokens
        Tokens before the chunk, cached ones included.
    seconds : float64[row]
    stage : int64[row] or None
        None: the same for every stage.
    """

    source: str
    length: IntArray
    prefix: IntArray
    seconds: npt.NDArray[np.float64]
    stage: IntArray | None

    def by_stage(self) -> dict[int | None, Timings]:
        """Split by stage, in ascending order; one entry under None if there is no such column."""
        if self.stage is None:
            return {None: self}
        parts: dict[int | None, Timings] = {}
        for stage in np.unique(self.stage).tolist():
            here = self.stage == stage
            source = f"{self.source}, stage {stage}"
            parts[stage] = Timings(source, self.length[here], self.prefix[here], self.seconds[here], None)
        return parts


def read_timings(path: str | os.PathLike[str]) -> Timings:
    """Read a file of timings.

    Raises
    ------
    InputError
        Listing every problem, with line and column.
    """
    return parse_timings(read_text(path), source_name(path))


def parse_timings(text: str, source: str) -> Timings:
    """Read timings from the text of a CSV file.

    Parameters
    ----------
    text : str
    source : str
        Where it comes from, for messages.

    Raises
    ------
    InputError
        Listing every problem, with line and column.
    """
    lines = _rows(text, source)
    header = next(lines, None)
    if header is None:
        remedy = f"start the file with {','.join(REQUIRED)}"
        raise InputError([Problem(source, "nothing", "a line with the names of the columns", remedy)])
    columns = _columns(header[1], f"{source}, line {header[0]}")
    problems: list[Problem] = []
    read: list[list[int | float]] = []
    for number, cells in lines:
        if len(problems) > MOST_PROBLEMS:
            break
        where = f"{source}, line {number}"
        if len(cells) != len(columns):
            problems.append(Problem(where, f"{len(cells)} fields", f"{len(columns)}, as in the header"))
            continue
        row = [_cell(name, cell, where, problems) for name, cell in zip(columns, cells, strict=True)]
        if len(read) == MOST_ROWS:
            problems.append(Problem(source, "more", f"at most {MOST_ROWS:,} rows", "average repeated ones"))
            break
        read.append(row)
    if not read and not problems:
        problems.append(Problem(source, "no row", "timings below the header"))
    if problems:
        raise InputError(capped(problems, source))
    table = dict(zip(columns, zip(*read, strict=True), strict=True))
    whole = {name: np.array(table[name], dtype=np.int64) for name in columns if name != "seconds"}
    seconds = np.array(table["seconds"], dtype=np.float64)
    return Timings(source, whole["chunk_tokens"], whole["prefix_tokens"], seconds, whole.get("stage"))


def _rows(text: str, source: str) -> Iterator[tuple[int, list[str]]]:
    """Lines with something in them, as numbered lists of stripped fields."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            cells = next(csv.reader([line], strict=True), [])
        except csv.Error as error:
            where = f"{source}, line {number}"
            raise InputError([Problem(where, str(error), "fields separated by commas")]) from None
        yield number, [cell.strip() for cell in cells]


def _columns(names: list[str], where: str) -> list[str]:
    problems = [
        Problem(where, show(name), f"one of {', '.join(COLUMNS)}", close_to(name, COLUMNS) or "remove it")
        for name in islice((name for name in names if name not in COLUMNS), MOST_PROBLEMS)
    ]
    problems += [
        Problem(where, "twice" if name in names else "nothing", f"one column {name}")
        for name in COLUMNS
        if names.count(name) > 1 or (name in REQUIRED and name not in names)
    ]
    if problems:
        raise InputError(capped(problems, where))
    return names


def _cell(name: str, text: str, where: str, problems: list[Problem]) -> int | float:
    """Value of a field; 0 with a problem noted if it is wrong."""
    if name == "seconds":
        digits = any(char.isdecimal() for char in text.lower().split("e")[0])
        value = float(text) if digits and _NUMBER.fullmatch(text) else 0.0
        if 0 < value <= MOST_SECONDS:
            return value
        expected, remedy = f"seconds above 0, up to {MOST_SECONDS:g}", "write 0.0125; no unit"
    else:
        least, most = {"chunk_tokens": (1, MOST_TOKENS), "stage": (0, MOST_STAGES - 1)}.get(
            name, (0, MOST_TOKENS)
        )
        if _WHOLE.fullmatch(text) and least <= int(text) <= most:
            return int(text)
        expected, remedy = f"a whole number from {least} to {most:,}", "write 4096; no unit"
    problems.append(Problem(f"{where}, {name}", show(text), expected, remedy))
    return 0


def lattice(timings: Timings) -> dict[str, Any] | list[dict[str, Any]]:
    """Arrange timings as instances hold them: ``lengths``, ``prefixes`` and ``seconds[length][prefix]``.

    Rows with the same length and prefix are averaged.

    Returns
    -------
    dict, or list of dict
        One table for all stages, or one for each where timings name stages.

    Raises
    ------
    InputError
        If a length was not measured after each of the prefixes, or a stage is missing.
    """
    parts = timings.by_stage()
    if list(parts) != [None] and list(parts) != list(range(len(parts))):
        found = ", ".join(str(stage) for stage in list(parts)[:20])
        raise InputError([Problem(f"{timings.source}, stage", found, "every stage from 0 up")])
    tables = [_lattice(part) for part in parts.values()]
    return tables[0] if timings.stage is None else tables


def _lattice(timings: Timings) -> dict[str, Any]:
    lengths, row = np.unique(timings.length, return_inverse=True)
    prefixes, column = np.unique(timings.prefix, return_inverse=True)
    shape = (lengths.size, prefixes.size)
    if shape[0] * shape[1] > MOST_ROWS:
        found = f"{shape[0]} lengths and {shape[1]} prefixes"
        raise InputError([Problem(timings.source, found, "each length after each of the prefixes")])
    total, count = np.zeros(shape), np.zeros(shape, dtype=np.int64)
    np.add.at(total, (row, column), timings.seconds)
    np.add.at(count, (row, column), 1)
    missing = np.argwhere(count == 0)
    if missing.size:
        first = f"{lengths[missing[0, 0]]} tokens after {prefixes[missing[0, 1]]}"
        found = f"none of {first}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
        remedy = "measure those too, or fit coefficients instead (mocap-opt fit)"
        raise InputError([Problem(timings.source, found, "each length after each of the prefixes", remedy)])
    return {
        "lengths": lengths.tolist(),
        "prefixes": prefixes.tolist(),
        "seconds": (total / count).tolist(),
    }
