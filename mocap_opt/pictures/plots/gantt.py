"""Pipeline Gantt chart: what every stage does when."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from mocap_opt.pictures.palette import ACTIVITY_COLOURS, READ_COLOUR, WRITE_COLOUR, time_unit
from mocap_opt.pictures.plots.style import (
    add_boxes,
    boxes,
    chunk_colours,
    chunk_map,
    label_stages,
    legend_above,
)
from mocap_opt.pictures.run_view import RunView
from mocap_opt.replay.activity import Activity
from mocap_opt.replay.transfers import Kind

MOST_NUMBERED = 160
"""Chunk bars up to which their numbers are written into them."""
SHORTEST = 0.003
"""Least length of a stripe, in parts of the latency: what moves faster than that shall still be seen."""


def gantt(ax: Axes, view: RunView) -> Axes:
    """Draw a bar for every chunk on every stage, waits thinner, remote reads and writes as stripes.

    Parameters
    ----------
    ax : Axes
        Drawn on; a colour bar is put beside it.
    view : RunView

    Returns
    -------
    Axes
        The one given.
    """
    tables, chunks = view.tables, view.plan.chunks
    scale, unit = time_unit(view.latency_s)
    per_tick = float(tables.tick_s) * scale
    grouped: dict[Activity, list[tuple[float, float, int, int]]] = {}
    for interval in view.intervals:
        row = (float(interval.start), float(interval.end), interval.stage, interval.chunk)
        grouped.setdefault(interval.activity, []).append(row)
    label_stages(ax, tables.stages)
    thin = tables.stages * chunks > 1000
    for activity, rows in grouped.items():
        start, end, stage, chunk = np.array(rows).T
        if activity is Activity.COMPUTE:
            corners = boxes(start * per_tick, end * per_tick, stage - 0.43, stage + 0.43)
            colours = chunk_colours(chunks)[chunk.astype(int)]
            edge = 0.0 if thin else 0.5
            add_boxes(ax, corners, facecolors=colours, edgecolors="white", linewidths=edge)
        else:
            corners = boxes(start * per_tick, end * per_tick, stage - 0.16, stage + 0.16)
            add_boxes(ax, corners, facecolors=ACTIVITY_COLOURS[activity], linewidths=0)
    entries = [(a.value, colour) for a, colour in ACTIVITY_COLOURS.items() if a in grouped]
    entries += _transfers(ax, view, per_tick)
    if tables.stages * chunks <= MOST_NUMBERED:
        _numbers(ax, view, grouped[Activity.COMPUTE])
    ax.set_xlim(0, view.latency_s * scale)
    ax.set_xlabel(f"time, {unit}")
    if chunks > 1:
        mappable = ScalarMappable(Normalize(0, chunks - 1), chunk_map())
        bar = ax.figure.colorbar(mappable, ax=ax, fraction=0.03, pad=0.01, aspect=ax.bbox.height / 25)
        bar.set_label("chunk")
        bar.set_ticks(sorted({round(x) for x in np.linspace(0, chunks - 1, 5)}))
        bar.outline.set_visible(False)
    legend_above(ax, entries)
    return ax


def _transfers(ax: Axes, view: RunView, per_tick: float) -> list[tuple[str, str]]:
    """Stripes along the lower edge for remote reads, along the upper edge for remote writes."""
    entries = []
    shortest = SHORTEST * float(view.latency)
    for kind, colour, top, name in (
        (Kind.READ, READ_COLOUR, 0.25, "remote KV read (below)"),
        (Kind.WRITE, WRITE_COLOUR, -0.43, "remote KV write (above)"),
    ):
        rows = [(float(t.start), float(t.end), t.stage) for t in view.transfers if t.kind is kind]
        if rows:
            start, end, stage = np.array(rows).T
            end = np.maximum(end, start + shortest)
            corners = boxes(start * per_tick, end * per_tick, stage + top, stage + top + 0.18)
            add_boxes(ax, corners, facecolors=colour, linewidths=0)
            entries.append((name, colour))
    return entries


def _numbers(ax: Axes, view: RunView, rows: list[tuple[float, float, int, int]]) -> None:
    latency = float(view.latency)
    shown = view.latency_s * time_unit(view.latency_s)[0] / latency
    brightness = chunk_colours(view.plan.chunks)[:, :3] @ (0.299, 0.587, 0.114)
    for start, end, stage, chunk in rows:
        if end - start > 0.018 * latency:
            colour = "white" if brightness[chunk] < 0.55 else "black"
            ax.text(
                (start + end) / 2 * shown,
                stage,
                str(chunk),
                ha="center",
                va="center",
                color=colour,
                fontsize=7,
            )
