"""One execution of a plan: what every stage does when, and what every memory holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import Colormap, ListedColormap, Normalize

from mocap_opt.arrays import IntArray
from mocap_opt.pictures.palette import (
    ACTIVITY_COLOURS,
    LIMIT_COLOUR,
    MEMORY_COLOURS,
    MEMORY_NAMES,
    READ_COLOUR,
    WRITE_COLOUR,
    byte_unit,
    label_step,
    time_unit,
)
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
from mocap_opt.units import format_percent

MOST_NUMBERED = 160
"""Chunk bars up to which their numbers are written into them."""
MOST_REQUESTS = 12
"""Requests named beside a picture before only every second, fourth, ... one is."""
LONGEST_NAME = 14
"""Letters of a request's name that are shown."""
SHORTEST = 0.003
"""Least length of a stripe, in parts of the latency: what moves faster than that shall still be seen."""


def gantt(ax: Axes, view: RunView) -> Axes:
    """Draw a bar for every chunk on every stage, waits thinner, remote reads and writes as stripes.

    Bars are coloured by chunk, those of several requests by request.

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
    tables, chunks = view.tables, view.chunks
    scale, unit = time_unit(view.latency_s)
    per_tick = float(tables.tick_s) * scale
    grouped: dict[Activity, list[tuple[float, float, int, int]]] = {}
    for interval in view.intervals:
        row = (float(interval.start), float(interval.end), interval.stage, interval.chunk)
        grouped.setdefault(interval.activity, []).append(row)
    label_stages(ax, tables.stages)
    thin = tables.stages * len(chunks) > 1000
    palette = _colours(view)
    for activity, rows in grouped.items():
        start, end, stage, chunk = np.array(rows).T
        if activity is Activity.COMPUTE:
            corners = boxes(start * per_tick, end * per_tick, stage - 0.43, stage + 0.43)
            colours = palette[chunk.astype(int)]
            edge = 0.0 if thin else 0.5
            add_boxes(ax, corners, facecolors=colours, edgecolors="white", linewidths=edge)
        else:
            corners = boxes(start * per_tick, end * per_tick, stage - 0.16, stage + 0.16)
            add_boxes(ax, corners, facecolors=ACTIVITY_COLOURS[activity], linewidths=0)
    entries = [(a.value, colour) for a, colour in ACTIVITY_COLOURS.items() if a in grouped]
    entries += _transfers(ax, view, per_tick)
    if tables.stages * len(chunks) <= MOST_NUMBERED:
        _numbers(ax, view, grouped[Activity.COMPUTE], palette)
    ax.set_xlim(0, view.latency_s * scale)
    ax.set_xlabel(f"time, {unit}")
    if len(chunks) > 1:
        _colour_bar(ax, view)
    legend_above(ax, entries)
    return ax


def _colours(view: RunView) -> np.ndarray:
    """A colour per chunk through all requests, float64[chunk, 4], RGBA."""
    requests = len(view.schedule)
    by_place = chunk_colours(requests if requests > 1 else len(view.chunks))
    return by_place[[request if requests > 1 else chunk for request, chunk in view.chunks]]


def _colour_bar(ax: Axes, view: RunView) -> None:
    requests = len(view.schedule)
    if requests > 1:
        colours: Colormap = ListedColormap(list(chunk_colours(requests)))
        mappable = ScalarMappable(Normalize(-0.5, requests - 0.5), colours)
    else:
        mappable = ScalarMappable(Normalize(0, len(view.chunks) - 1), chunk_map())
    bar = ax.figure.colorbar(mappable, ax=ax, fraction=0.03, pad=0.01, aspect=ax.bbox.height / 25)
    if requests > 1:
        bar.set_label("request")
        named = range(0, requests, label_step(requests, MOST_REQUESTS))
        bar.set_ticks(list(named), labels=[_name(view, n) for n in named], parse_math=False)
    else:
        bar.set_label("chunk")
        bar.set_ticks(sorted({round(x) for x in np.linspace(0, len(view.chunks) - 1, 5)}))
    bar.outline.set_visible(False)


def _name(view: RunView, request: int) -> str:
    """What a request is called, by its place in the order in which they run."""
    name = view.schedule.requests[request].name
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


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


def _numbers(ax: Axes, view: RunView, rows: list[tuple[float, float, int, int]], palette: np.ndarray) -> None:
    latency = float(view.latency)
    shown = view.latency_s * time_unit(view.latency_s)[0] / latency
    brightness = palette[:, :3] @ (0.299, 0.587, 0.114)
    for start, end, stage, chunk in rows:
        if end - start > 0.018 * latency:
            colour = "white" if brightness[chunk] < 0.55 else "black"
            ax.text(
                (start + end) / 2 * shown,
                stage,
                str(view.chunks[chunk][1]),
                ha="center",
                va="center",
                color=colour,
                fontsize=7,
            )


LANE = 0.86
"""Height of a full memory, where neighbouring stages are 1 apart."""


def memory(ax: Axes, view: RunView) -> Axes:
    """Draw a lane per memory, filled from below; a full lane is a full memory.

    Weights, reserve, cached prefix, own KV cache and hosted KV cache are stacked in this order;
    the line on top of a lane is the capacity.  The right-hand axis names each memory's peak.  A dotted
    line tells when each of several requests has left.

    Parameters
    ----------
    ax : Axes
        Drawn on; a second vertical axis is put on its right.
    view : RunView

    Returns
    -------
    Axes
        The one given.
    """
    history, tables = view.memory, view.tables
    scale, unit = time_unit(view.latency_s)
    per_tick = float(tables.tick_s) * scale
    time = np.array([float(t) for t in history.time]) * per_tick
    end = float(history.end) * per_tick
    named = label_stages(ax, tables.memories, "memory" if tables.pools else "stage")
    floor = np.zeros_like(history.own)
    for name, colour in MEMORY_COLOURS.items():
        level = getattr(history, name)
        if not level.any():
            continue
        top = floor + (level[:, None] if level.ndim == 1 else level)
        lanes = [
            _area(time, end, k, floor[k], top[k], int(history.capacity[k])) for k in range(tables.memories)
        ]
        ax.add_collection(PolyCollection(lanes, facecolors=colour, linewidths=0), autolim=False)
        floor = np.broadcast_to(top, floor.shape)
    full = np.arange(tables.memories) + 0.43 - LANE
    lines = LineCollection([[(0, y), (end, y)] for y in full], colors=LIMIT_COLOUR, linewidths=0.8)
    ax.add_collection(lines, autolim=False)
    _name_peaks(ax, view, named)
    if len(view.schedule) > 1:
        _name_requests(ax, view, per_tick)
    ax.set_xlim(0, end)
    ax.set_xlabel(f"time, {unit}")
    entries = [
        (MEMORY_NAMES[name], colour)
        for name, colour in MEMORY_COLOURS.items()
        if getattr(history, name).any()
    ]
    legend_above(ax, [*entries, ("capacity", LIMIT_COLOUR)])
    return ax


def _area(
    time: np.ndarray, end: float, lane: int, low: IntArray, high: IntArray, capacity: int
) -> np.ndarray:
    """The outline of a filled step function in its lane, float64[point, 2]."""
    changes = np.flatnonzero(np.r_[True, (low[1:] != low[:-1]) | (high[1:] != high[:-1])])
    edges = np.append(time[changes], end)
    x = np.repeat(edges, 2)[1:-1]
    bottom = lane + 0.43
    upper = bottom - np.repeat(high[changes], 2) * (LANE / max(capacity, 1))
    lower = bottom - np.repeat(low[changes], 2) * (LANE / max(capacity, 1))
    return np.stack([np.r_[x, x[::-1]], np.r_[upper, lower[::-1]]], axis=1)


def _name_requests(ax: Axes, view: RunView, per_tick: float) -> None:
    step = label_step(len(view.schedule), MOST_REQUESTS)
    for n, completion in enumerate(view.completion):
        left = float(completion) * per_tick
        ax.axvline(left, color="black", linestyle=":", linewidth=0.8)
        if n % step == 0:
            name = f"{_name(view, n)} has left "
            box = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.5}
            text = ax.text(left, -0.45, name, rotation=90, ha="right", va="top", fontsize=6, bbox=box)
            text.set_parse_math(False)


def _name_peaks(ax: Axes, view: RunView, named: Sequence[int]) -> None:
    history = view.memory
    factor, unit = byte_unit(float(history.capacity.max()))
    peak = history.peak
    right = ax.twinx()
    right.set_ylim(ax.get_ylim())
    right.spines["right"].set_visible(False)
    right.tick_params(axis="y", length=0, labelsize=7)
    labels = []
    for k in named:
        part = format_percent(peak[k] / max(history.capacity[k], 1))
        labels.append(f"{peak[k] * factor:.3g} of {history.capacity[k] * factor:.3g}  ({part})")
    right.set_yticks(list(named), labels)
    right.set_ylabel(f"peak of capacity, {unit}")
