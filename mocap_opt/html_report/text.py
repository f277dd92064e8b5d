"""Tables of the page; every text is escaped here and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from mocap_opt.contenders import Contender
from mocap_opt.report import Report
from mocap_opt.units import format_bytes, format_percent, format_seconds

Cell = tuple[str, str, Any]
"""Key, text and value of a cell; the value is kept in the page for programs to read."""


def seconds(value: float | None) -> str:
    """A time, or a dash where it is unknown."""
    return "-" if value is None else format_seconds(value)


def table(headers: Sequence[tuple[str, bool]], rows: Iterable[Sequence[Cell]], name: str) -> str:
    """A table; headers say whether their column holds numbers."""
    head = "".join(f"<th{_number(number)}>{escape(text)}</th>" for text, number in headers)
    body = "".join(
        "<tr>"
        + "".join(_cell(cell, number) for cell, (_, number) in zip(row, headers, strict=True))
        + "</tr>\n"
        for row in rows
    )
    return (
        f'<div class="scroll"><table id="{escape(name)}"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _number(number: bool) -> str:
    return ' class="number"' if number else ""


def _cell(cell: Cell, number: bool) -> str:
    key, text, value = cell
    kept = escape(json.dumps(value, allow_nan=False))
    shape = ' class="number"' if number else ' class="text"'
    return f'<td{shape} data-key="{escape(key)}" data-value="{kept}">{escape(text)}</td>'


def pairs(rows: Iterable[tuple[str, str]], name: str) -> str:
    """Names and what they are."""
    body = "".join(f'<tr><td>{escape(a)}</td><td class="text">{escape(b)}</td></tr>\n' for a, b in rows)
    return f'<div class="scroll"><table id="{escape(name)}"><tbody>{body}</tbody></table></div>'


def fields(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Dotted paths and values of nested objects, as ``--set`` takes them."""
    if isinstance(value, dict):
        return [
            row
            for key, below in value.items()
            for row in fields(below, f"{path}.{key}" if path else str(key))
        ]
    return [(path, "-" if value is None else str(value))]


def methods_table(contenders: Sequence[Contender]) -> str:
    """A row per plan or method with the figures of its report."""
    # What matters most stands where narrow windows show it.
    numbers = {
        "latency",
        "lower bound",
        "gap",
        "lockstep",
        "event-driven",
        "lockstep gap",
        "chunks",
        "run time",
    }
    first = ("plan", "status", "latency", "lower bound", "gap", "execution", "lockstep", "event-driven")
    order = (*first, "lockstep gap", "bound", "chunks", "run time")
    headers = [(name, name in numbers) for name in order]
    return table(headers, [_method(c.name, c.report) for c in contenders], "methods")


def _method(name: str, report: Report) -> list[Cell]:
    bound = "-" if report.bound_name is None else f"{report.bound_name} ({report.bound_evidence})"
    chunks = None if report.boundaries is None else len(report.boundaries) - 1
    return [
        ("name", name, name),
        ("status", report.status_text, report.status.value),
        ("latency_s", seconds(report.latency_s), report.latency_s),
        ("lower_bound_s", seconds(report.lower_bound_s), report.lower_bound_s),
        ("gap", format_percent(report.gap), report.gap),
        ("execution", report.execution or "-", report.execution),
        ("lockstep_latency_s", seconds(report.lockstep_latency_s), report.lockstep_latency_s),
        ("event_latency_s", seconds(report.event_latency_s), report.event_latency_s),
        ("lockstep_gap", format_percent(report.lockstep_gap), report.lockstep_gap),
        ("bound_name", bound, report.bound_name),
        ("chunks", "-" if chunks is None else str(chunks), chunks),
        ("runtime_s", f"{report.runtime_s:.2f} s", report.runtime_s),
    ]


def stages_table(stages: Sequence[dict[str, Any]], peak: Sequence[int] | None) -> str:
    """A row per stage: sizes and times of `mocap_opt.overview`, and the peak of the best plan."""
    sizes = ("memory_bytes", "weight_bytes", "reserve_bytes", "prefix_bytes", "kv_room_bytes", "kv_bytes")
    times = ("work_s", "compute_s", "chunk_costs_s", "send_s")
    names = ("memory", "weights", "reserve", "prefix", "room for KV", "request's KV", "peak of the best plan")
    headers = ("stage", "dies", "layers", *names, "work", "compute", "chunk costs", "sends")
    rows = []
    for row in stages:
        most = None if peak is None else peak[row["stage"]]
        rows.append(
            [
                ("stage", str(row["stage"]), row["stage"]),
                ("dies", str(len(row["dies"])), len(row["dies"])),
                ("layers", str(row["layers"]), row["layers"]),
                *((key, format_bytes(row[key]), row[key]) for key in sizes),
                ("peak_memory_bytes", "-" if most is None else format_bytes(most), most),
                *((key, seconds(row[key]), row[key]) for key in times),
            ]
        )
    return table([(header, True) for header in headers], rows, "stages")


def script_json(value: Any) -> str:
    """JSON that may stand inside a script element: no ``<`` in it can end the element."""
    text = json.dumps(value, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
