"""Two plans side by side: what each comes to, and how the second differs from the first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mocap_opt.instance import Instance
from mocap_opt.instance.objectives import Objective
from mocap_opt.instance.overrides import plain
from mocap_opt.pictures.html.scenes import Scene
from mocap_opt.pictures.html.text import Cell, Grid, table
from mocap_opt.replay.activity import Activity
from mocap_opt.schedule.instance_summary import dies_text
from mocap_opt.solving.solution import Solution
from mocap_opt.units import decimal_bytes, format_chunks, format_percent, format_seconds


@dataclass(frozen=True)
class Side:
    """One of two plans.

    Attributes
    ----------
    name : str
    instance : Instance
        With the layout of its plan.
    answer : Solution
    scenes : sequence of Scene
        Of its reported execution first; of several pipelines those of each.
    """

    name: str
    instance: Instance
    answer: Solution
    scenes: Sequence[Scene]

    @property
    def shown(self) -> list[Scene]:
        """Its scenes in the reported execution."""
        reported = self.answer.report.execution
        return [scene for scene in self.scenes if scene.view.execution.value == reported]


def verdict(first: Side, second: Side) -> str:
    """Say which is better, and by how much.

    Parameters
    ----------
    first, second : Side
    """
    record = Objective(first.answer.report.objective).record
    values = [first.answer.report.value_s or 0.0, second.answer.report.value_s or 0.0]
    if values[0] == values[1]:
        return f"Both come to the same {record.words}: {record.text(values[0])}."
    better, worse = sorted((0, 1), key=lambda n: -values[n] if record.maximised else values[n])
    name = (first, second)[better].name
    part = abs(values[0] - values[1]) / values[worse] if values[worse] else None
    by = "" if part is None else f", {format_percent(part)} {'more' if record.maximised else 'less'}"
    texts = record.text(values[better]), record.text(values[worse])
    return f"{name} has the better {record.words}: {texts[0]} against {texts[1]}{by}."


def differences(first: Side, second: Side, stages: Sequence[Sequence[dict[str, Any]]]) -> Grid:
    """A row per figure, with what the second has more or less.

    Parameters
    ----------
    first, second : Side
    stages : sequence of sequence of dict
        Of both, the rows of `mocap_opt.schedule.instance_summary`.
    """
    sides = (first, second)
    record = Objective(first.answer.report.objective).record
    reports = [side.answer.report for side in sides]
    bound = "upper_bound" if record.maximised else "lower_bound_s"
    limits = [r.figures.get(bound) if record.maximised else r.lower_bound_s for r in reports]
    lengths = [_lengths(side) for side in sides]
    away = [None if r.homes is None else sum(home["tokens"] for home in r.homes) for r in reports]
    links = [_busiest_link(side) for side in sides]
    rows = [
        _number(record.words, [r.value_s for r in reports], record.text),
        _words("in execution", [r.execution or "-" for r in reports]),
        _number("lockstep", [r.lockstep_value_s for r in reports], record.text),
        _number("event-driven", [r.event_value_s for r in reports], record.text),
        _number("nothing above" if record.maximised else "nothing below", limits, record.text),
        _words("proved by", [r.bound_name or "-" for r in reports]),
        _number("gap", [r.gap for r in reports], format_percent, _points),
        _number("chunks", [len(each) or None for each in lengths], str, _more),
        _number("longest chunk, tokens", [max(each, default=None) for each in lengths], "{:,}".format),
        _words("lengths of chunks", [_chunks(side) for side in sides]),
        _number("KV away from its stage, token positions", away, "{:,}".format),
        _words("fullest memory", [_fullest(side) for side in sides]),
        _number("stages compute", [_busy(side) for side in sides], format_percent, _points),
        _words("busiest link", [name for name, _ in links]),
        _number("its load over the run", [load for _, load in links], format_percent, _points),
        _number("stages", [len(each) for each in stages], str, _more),
        _words("dies of stages", [plain([dies_text(row) for row in each]) for each in stages]),
        _words("layers of stages", [plain([row["layers"] for row in each]) for each in stages]),
    ]
    headers = [("", False), (first.name, False), (second.name, False), ("second against first", True)]
    return table(headers, [row for row in rows if row is not None], "differences")


def _number(
    what: str,
    values: Sequence[float | None],
    text: Callable[[Any], str],
    change: Callable[[Sequence[float | None]], str] | None = None,
) -> tuple[Cell, ...] | None:
    """A figure of both, the difference as a part of the first unless something else is said."""
    if all(value is None for value in values):
        return None
    return _row(what, ["-" if v is None else text(v) for v in values], (change or _change)(values))


def _words(what: str, texts: Sequence[str]) -> tuple[Cell, ...] | None:
    """Something of both that is no number."""
    if all(text == "-" for text in texts):
        return None
    return _row(what, texts, "same" if texts[0] == texts[1] else "differs")


def _row(what: str, texts: Sequence[str], change: str) -> tuple[Cell, ...]:
    return (
        ("figure", what, what),
        ("first", texts[0], texts[0]),
        ("second", texts[1], texts[1]),
        ("change", change, change),
    )


def _change(values: Sequence[float | None]) -> str:
    """What the second has more, as a part of the first."""
    first, second = values
    if first is None or second is None:
        return "-"
    if first == second:
        return "same"
    if not first:
        return "more" if second > 0 else "less"
    text = format_percent((second - first) / first)
    return text if text.startswith("-") else f"+{text}"


def _more(values: Sequence[float | None]) -> str:
    """What the second has more, as a number."""
    first, second = values
    if first is None or second is None:
        return "-"
    return "same" if first == second else f"{second - first:+g}"


def _points(values: Sequence[float | None]) -> str:
    """What the second has more, of parts of a whole."""
    first, second = values
    if first is None or second is None:
        return "-"
    text = f"{100 * (second - first):+.2f}"
    return "same" if float(text) == 0 else f"{text} points"


def _lengths(side: Side) -> list[int]:
    requests = [request for _, stream in side.answer.streams for request in stream]
    return [b - a for request in requests for a, b in pairwise(request.plan.boundaries)]


def _chunks(side: Side) -> str:
    points = side.answer.report.boundaries
    return "-" if points is None else format_chunks(points)


def _fullest(side: Side) -> str:
    peaks, tables = side.answer.report.peak_memory_bytes, side.answer.tables
    sizes = tables.capacity.tolist()
    if not peaks or len(peaks) != len(sizes):
        return "-"
    part, k = max((used / max(size, 1), -k) for k, (used, size) in enumerate(zip(peaks, sizes, strict=True)))
    return f"{tables.memory_name(-k)}: {format_percent(part)} of {decimal_bytes(sizes[-k])}"


def _busy(side: Side) -> float | None:
    """Part of the time of all stages in which they compute."""
    worked, there = 0.0, 0.0
    for scene in side.shown:
        view = scene.view
        worked += sum(float(i.end - i.start) for i in view.intervals if i.activity is Activity.COMPUTE)
        there += view.tables.stages * float(view.latency)
    return worked / there if there else None


def _busiest_link(side: Side) -> tuple[str, float | None]:
    """The link with the greatest load over the run, and that load."""
    found: list[tuple[float, str]] = []
    for scene in side.shown:
        load = scene.view.load.overall().link[:, 0]
        if load.size:
            found.append((float(load.max()), str(scene.view.tables.links[int(load.argmax())])))
    most, name = max(found, default=(0.0, "-"))
    return (name, most) if most else ("-", None)


def saves(rule: Solution, best: Solution) -> str:
    """What the best plan saves of a rule's latency, in words.

    Parameters
    ----------
    rule, best : Solution
    """
    took, least = rule.report.value_s, best.report.value_s
    if took is None or least is None:
        return "-"
    return f"{format_seconds(max(took - least, 0.0))} ({format_percent(max(1 - least / took, 0.0))})"
