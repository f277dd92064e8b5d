"""What an answer shows of itself: its pictures, its report, and what a notebook prints."""

from __future__ import annotations

import os
from html import escape
from pathlib import PurePath
from typing import TYPE_CHECKING

from mocap_opt.errors import InputError, Problem
from mocap_opt.files import write_text_atomically
from mocap_opt.messages import show
from mocap_opt.optional_dependencies import require
from mocap_opt.pictures.palette import ACTIVITY_COLOURS
from mocap_opt.pictures.run_view import RunView, view_answer
from mocap_opt.replay.activity import Activity
from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.plan_layout import decided
from mocap_opt.tables.layout import layout

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mocap_opt.solving import Solution

KINDS = ("gantt", "memory", "mesh")
"""Pictures of one answer."""

WIDTH, ROW = 640, 14
"""Of the small Gantt chart, and of a stage in it, CSS pixels."""

MOST_INTERVALS = 4000
"""A small chart of more would make a notebook slow."""

CHUNK_HUES = (265, 55)
"""Of the first chunk and of the last, degrees: the way viridis goes."""


def plot(solution: Solution, kind: str, execution: str | None, pipeline: int | None = None) -> Figure:
    """Draw an answer; see `mocap_opt.Solution.plot`.

    Parameters
    ----------
    solution : Solution
    kind : str
        One of `KINDS`.
    execution : str or None
        None: the faster one.
    pipeline : int, optional
        By default the one with the most slots.

    Raises
    ------
    InputError
        If a name is none, or there is nothing to draw.
    """
    if kind not in KINDS:
        raise InputError([Problem("kind", show(kind), f"one of {', '.join(KINDS)}")])
    if execution not in (None, *map(str, Execution)):
        raise InputError([Problem("execution", show(execution), " or ".join(Execution))])
    if solution.report.execution is None or not solution.streams:
        raise InputError([Problem("solution", solution.report.reason or "no plan", "a plan to draw")])
    busy = [number for number, _ in solution.streams]
    if pipeline is not None and pipeline not in busy:
        expected = f"one that has something to do: {', '.join(map(str, busy))}"
        raise InputError([Problem("pipeline", show(pipeline), expected)])
    require("matplotlib", "plots")
    from mocap_opt.pictures import plots  # noqa: PLC0415 - matplotlib is optional and slow to load

    view = view_answer(solution, None if execution is None else Execution(execution), pipeline)
    if kind != "mesh":
        return (plots.gantt_figure if kind == "gantt" else plots.memory_figure)(view)
    if solution.instance is None:
        raise InputError([Problem("solution", "tables alone", "an instance, which has a wafer to draw")])
    return plots.mesh_figure(layout(decided(solution.instance, view.schedule)), view)


def save_report(solution: Solution, path: str | os.PathLike[str]) -> None:
    """Write the HTML report of an answer; see `mocap_opt.Solution.save_report`.

    Parameters
    ----------
    solution : Solution
    path : path

    Raises
    ------
    InputError
        If the name does not end in .html, or the answer is one of tables alone.
    """
    if PurePath(path).suffix != ".html":
        raise InputError([Problem("path", show(str(path)), "a name that ends in .html")])
    if solution.instance is None:
        raise InputError([Problem("solution", "tables alone", "an instance, which the report describes")])
    require("bokeh", "report")
    require("jinja2", "report")
    from mocap_opt.pictures.html import html_report  # noqa: PLC0415 - bokeh is optional and slow to load

    name = solution.report.method or "the plan given"
    write_text_atomically(path, html_report(solution.instance, [(name, solution)]))


def to_html(solution: Solution) -> str:
    """What a notebook shows of an answer: the lines that `str` gives, and the pipeline.

    Parameters
    ----------
    solution : Solution
    """
    head, *lines = str(solution).splitlines()
    rows = "".join(f"<div>{escape(line.strip())}</div>" for line in lines)
    text = f'<div style="max-width:{WIDTH}px"><div><strong>{escape(head)}</strong></div>{rows}'
    if solution.schedule is not None and solution.report.execution is not None:
        text += _small_gantt(view_answer(solution))
    return f"{text}</div>"


def _small_gantt(view: RunView) -> str:
    """The pipeline as an SVG picture: a row per stage, computing high and coloured by chunk, waits thin."""
    if len(view.intervals) > MOST_INTERVALS:
        return ""
    stages, chunks, scale = view.tables.stages, max(len(view.chunks) - 1, 1), WIDTH / float(view.latency)
    first, last = CHUNK_HUES
    bars = []
    for piece in view.intervals:
        computing = piece.activity is Activity.COMPUTE
        hue = first + (last - first) * piece.chunk / chunks
        colour = f"hsl({hue:.0f} 60% 45%)" if computing else ACTIVITY_COLOURS[piece.activity]
        top, high = piece.stage * ROW + (1 if computing else ROW // 3), ROW - 2 if computing else ROW // 3
        left, wide = float(piece.start) * scale, float(piece.end - piece.start) * scale
        bars.append(
            f'<rect x="{left:.1f}" y="{top}" width="{wide:.1f}" height="{high}" fill="{colour}">'
            f"<title>stage {piece.stage}, chunk {piece.chunk}: {piece.activity.value}</title></rect>"
        )
    label = f"stages downwards, time to the right: {view.headline}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {stages * ROW}" width="100%" role="img" aria-label="{escape(label)}" '
        f'style="margin-top:6px;background:#f4f4f4">{"".join(bars)}</svg>'
        f'<div style="font-size:smaller">{escape(label)}</div>'
    )
