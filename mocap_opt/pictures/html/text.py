"""Tables of the page as data; templates write them, and escape every text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mocap_opt.instance.objectives import Objective
from mocap_opt.instance.overrides import plain
from mocap_opt.pictures.palette import byte_unit, time_unit
from mocap_opt.schedule.instance_summary import dies_text
from mocap_opt.solving.solution import Solution
from mocap_opt.units import format_chunks, format_percent, format_seconds

Cell = tuple[str, str, Any]
"""Key, text and value of a cell; the value is kept in the page for programs to read."""


@dataclass(frozen=True)
class Grid:
    """A table as templates take it.

    Attributes
    ----------
    name : str
        Identifier of the element.
    headers : tuple of (str, bool)
        Texts, and whether the column holds numbers; empty: no head.
    rows : tuple of tuple of Cell
    """

    name: str
    headers: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[Cell, ...], ...]


def table(headers: Sequence[tuple[str, bool]], rows: Iterable[Sequence[Cell]], name: str) -> Grid:
    """A table; headers say whether their column holds numbers.

    Parameters
    ----------
    headers : sequence of (str, bool)
        Texts, and whether the column holds numbers.
    rows : iterable of sequence of Cell
    name : str
        Identifier of the element.
    """
    return Grid(name, tuple(headers), tuple(map(tuple, rows)))


def pairs(rows: Iterable[tuple[str, str]], name: str) -> Grid:
    """Names and what they are.

    Parameters
    ----------
    rows : iterable of (str, str)
    name : str
        Identifier of the element.
    """
    return Grid(name, (), tuple((("name", a, None), ("text", b, None)) for a, b in rows))


def sizes(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The sizes of `mocap_opt.schedule.instance_summary`."""
    return [
        ("tick", format_seconds(value)) if key == "tick_s" else (key.replace("_", " "), plain(value))
        for key, value in values.items()
    ]


def in_one_unit(values: Iterable[float | None], scale: float) -> list[str]:
    """Figures of a column, all in one unit and with as many decimals as its largest needs for five digits.

    Parameters
    ----------
    values : iterable of (float or None)
        None is written as a dash.
    scale : float
        What they are multiplied by.
    """
    scaled = [None if value is None else value * scale for value in values]
    most = max((abs(value) for value in scaled if value is not None), default=0.0)
    whole = 1 if 0 < most < 1 else 1 + math.floor(math.log10(most)) if most else 5
    return ["-" if value is None else f"{value:,.{max(0, 5 - whole)}f}" for value in scaled]


def chunks_table(answers: Sequence[tuple[str, Solution]]) -> Grid:
    """The lengths of the chunks of each plan, of several requests a row per request.

    Parameters
    ----------
    answers : sequence of (str, Solution)
        Each with its name.
    """
    rows: list[list[Cell]] = []
    for name, answer in answers:
        requests = [request for _, stream in answer.streams for request in stream]
        for request in requests:
            whose = f"{name}, request {request.name}" if len(requests) > 1 else name
            points = list(request.plan.boundaries)
            count = len(points) - 1
            rows.append(
                [
                    ("name", whose, whose),
                    ("count", str(count), count),
                    ("lengths", format_chunks(points), points),
                    ("copy", ",".join(str(b - a) for a, b in pairwise(points)), None),
                ]
            )
        if not requests:
            rows.append(
                [("name", name, name), ("count", "-", None), ("lengths", "-", None), ("copy", "", None)]
            )
    headers = [("plan", False), ("chunks", True), ("their lengths, tokens", False), ("to copy", False)]
    return table(headers, rows, "chunks")


def methods_table(answers: Sequence[tuple[str, Solution]]) -> Grid:
    """A row per plan or method with the figures of its report.

    Parameters
    ----------
    answers : sequence of (str, Solution)
        Of one instance, each with its name.
    """
    reports = [answer.report for _, answer in answers]
    record = Objective(reports[0].objective).record
    times = ("value_s", "lower_bound_s", "lockstep_value_s", "event_value_s")
    values = {key: [getattr(r, key) for r in reports] for key in times}
    if record.maximised:
        values["lower_bound_s"] = [r.figures["upper_bound"] for r in reports]
    known = [value for key in times for value in values[key] if value is not None]
    scale, unit = (1.0, "weight") if record.maximised else time_unit(max(known, default=1.0))
    written = {key: in_one_unit(values[key], scale) for key in times}
    bounded = "upper bound" if record.maximised else "lower bound"
    # What matters most stands where narrow windows show it.
    headers = [
        ("plan", False),
        ("status", False),
        (f"{record.words}, {unit}", True),
        (f"{bounded}, {unit}", True),
        ("gap", True),
        ("execution", False),
        (f"lockstep, {unit}", True),
        (f"event-driven, {unit}", True),
        ("lockstep gap", True),
        ("bound", False),
        ("chunks", True),
        ("run time, s", True),
    ]
    rows = []
    for n, (name, answer) in enumerate(answers):
        report = answer.report
        bound = "-" if report.bound_name is None else f"{report.bound_name} ({report.bound_evidence})"
        ran = [request.plan.chunks for _, stream in answer.streams for request in stream]
        chunks = sum(ran) if ran and report.value_s is not None else None
        rows.append(
            [
                ("name", name, name),
                ("status", report.status_text, report.status.value),
                (record.fields[0], written["value_s"][n], report.value_s),
                (bounded.replace(" ", "_") + "_s", written["lower_bound_s"][n], values["lower_bound_s"][n]),
                ("gap", format_percent(report.gap), report.gap),
                ("execution", report.execution or "-", report.execution),
                (record.fields[1], written["lockstep_value_s"][n], report.lockstep_value_s),
                (record.fields[2], written["event_value_s"][n], report.event_value_s),
                ("lockstep_gap", format_percent(report.lockstep_gap), report.lockstep_gap),
                ("bound_name", bound, report.bound_name),
                ("chunks", "-" if chunks is None else str(chunks), chunks),
                ("runtime_s", f"{report.runtime_s:.2f}", report.runtime_s),
            ]
        )
    return table(headers, rows, "methods")


STAGE_COLUMNS = (
    ("memory", "memory_bytes"),
    ("weights", "weight_bytes"),
    ("reserve", "reserve_bytes"),
    ("prefix", "prefix_bytes"),
    ("room for KV", "kv_room_bytes"),
    ("request's KV", "kv_bytes"),
    ("peak of the plan", "peak_memory_bytes"),
    ("work", "work_s"),
    ("compute", "compute_s"),
    ("chunk costs", "chunk_costs_s"),
    ("sends", "send_s"),
)


def stages_table(
    stages: Sequence[dict[str, Any]], peak: Sequence[int] | None, identifier: str = "stages"
) -> Grid:
    """A row per stage: the figures of `schedule.instance_summary`, and the peak of the best plan.

    Every column has one unit, which its header names.

    Parameters
    ----------
    stages : sequence of dict
        Rows of `mocap_opt.schedule.instance_summary`.
    peak : sequence of int, optional
        Bytes by memory; None without a plan.
    identifier : str
        Of the element.
    """
    full = [{**row, "peak_memory_bytes": None if peak is None else peak[row["stage"]]} for row in stages]
    headers = [("stage", True), ("dies", True), ("layers", True)]
    columns: list[list[Cell]] = [
        [("stage", str(row["stage"]), row["stage"]) for row in full],
        [("dies", dies_text(row), len(row["dies"])) for row in full],
        [("layers", str(row["layers"]), row["layers"]) for row in full],
    ]
    for name, key in STAGE_COLUMNS:
        values = [row[key] for row in full]
        most = max((abs(value) for value in values if value is not None), default=0)
        scale, unit = (byte_unit if key.endswith("_bytes") else time_unit)(most or 1)
        headers.append((f"{name}, {unit}", True))
        columns.append([(key, *pair) for pair in zip(in_one_unit(values, scale), values, strict=True)])
    return table(headers, zip(*columns, strict=True), identifier)


def script_json(value: Any) -> str:
    """JSON that may stand inside a script element: no ``<`` in it can end the element."""
    text = json.dumps(value, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
