"""JSON: an array of objects, or one object a line, with the fields of a timing under their usual names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mocap_opt.calibration.logs.log import Asked, Log, Row, settled
from mocap_opt.errors import InputError, Problem
from mocap_opt.files import parse_json
from mocap_opt.messages import MOST_PROBLEMS, capped, show

LENGTH = (
    "chunk_tokens",
    "num_new_tokens",
    "new_tokens",
    "chunk_size",
    "chunk_len",
    "extend_input_len",
    "query_len",
)
PREFIX = (
    "prefix_tokens",
    "num_computed_tokens",
    "num_cached_tokens",
    "cached_tokens",
    "prefix_len",
    "history_len",
    "hist_seq_len",
    "kv_tokens",
)
STAGE = ("stage", "pp_rank", "pp_stage", "pipeline_rank")
TIMES = {
    "seconds": 1.0,
    "time_s": 1.0,
    "latency_s": 1.0,
    "elapsed_s": 1.0,
    "duration_s": 1.0,
    "time_ms": 1e-3,
    "latency_ms": 1e-3,
    "elapsed_ms": 1e-3,
    "duration_ms": 1e-3,
    "execution_time_ms": 1e-3,
    "time_us": 1e-6,
    "latency_us": 1e-6,
    "duration_us": 1e-6,
}
"""Names of a time, with their unit in seconds; the first that an object has counts."""


def found(text: str) -> bool:
    """Whether a text begins as JSON does."""
    return text.lstrip()[:1] in ("[", "{")


def objects(text: str, source: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of an array, or one a line, with the line each begins on (of an array: the first).

    Parameters
    ----------
    text : str
    source : str
        For messages.

    Raises
    ------
    InputError
        If a line is no JSON object.
    """
    start = text.lstrip()
    if start[:1] == "[":
        line = text.count("\n", 0, len(text) - len(start)) + 1
        records = parse_json(text, source)
        for record in records if isinstance(records, list) else [records]:
            if not isinstance(record, dict):
                raise InputError([Problem(source, show(record), "an array of objects")])
            yield line, record
        return
    for number, part in enumerate(text.splitlines(), 1):
        if not part.strip():
            continue
        try:
            record = json.loads(part)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            expected = "a JSON object on every line"
            raise InputError(
                [Problem(f"{source}, line {number}", show(part), expected, "is the file whole?")]
            )
        yield number, record


def read(text: str, source: str, asked: Asked) -> Log:
    """Read the timings.

    Parameters
    ----------
    text : str
    source : str
        For messages.
    asked : Asked
        Means nothing here.

    Raises
    ------
    InputError
        If an object lacks a field, or as `settled`.
    """
    rows: list[Row] = []
    problems: list[Problem] = []
    for number, record in objects(text, source):
        row = _row(number, record, f"{source}, line {number}", problems)
        if row is not None:
            rows.append(row)
        if len(problems) > MOST_PROBLEMS:
            break
    if problems:
        raise InputError(capped(problems, source))
    timings, notes = settled(rows, source)
    return Log("json", source, timings, notes=tuple(notes))


def _row(number: int, record: dict[str, Any], where: str, problems: list[Problem]) -> Row | None:
    length = _whole(record, LENGTH)
    prefix = _whole(record, PREFIX)
    stage = _whole(record, STAGE)
    times = [(record[name], unit) for name, unit in TIMES.items() if _is_number(record.get(name))]
    for what, names, value in (("length", LENGTH, length), ("prefix", PREFIX, prefix)):
        if value is None:
            problems.append(
                Problem(where, show(record), f"a whole number of tokens, the {what}, as {names[0]}")
            )
    if not times:
        problems.append(Problem(where, show(record), "a time, as seconds, latency_ms or time_us"))
    if length is None or prefix is None or not times:
        return None
    value, unit = times[0]
    return Row(number, length, prefix, float(value) * unit, stage)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(record: dict[str, Any], names: tuple[str, ...]) -> int | None:
    """The first of the names that holds a whole number."""
    for name in names:
        value = record.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None
