"""Memory of every stage over time against its capacity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection

from mocap_opt.arrays import IntArray
from mocap_opt.pictures.palette import LIMIT_COLOUR, MEMORY_COLOURS, MEMORY_NAMES, byte_unit, time_unit
from mocap_opt.pictures.plots.style import label_stages, legend_above
from mocap_opt.pictures.run_view import RunView
from mocap_opt.units import format_percent

LANE = 0.86
"""Height of a full memory, where neighbouring stages are 1 apart."""


def memory(ax: Axes, view: RunView) -> Axes:
    """Draw a lane per memory, filled from below; a full lane is a full memory.

    Weights, reserve, cached prefix, own KV cache and hosted KV cache are stacked in this order;
    the line on top of a lane is the capacity.  The right-hand axis names each memory's peak.

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
    named = label_stages(ax, tables.stages)
    floor = np.zeros_like(history.own)
    for name, colour in MEMORY_COLOURS.items():
        level = getattr(history, name)
        if not level.any():
            continue
        top = floor + (level[:, None] if level.ndim == 1 else level)
        lanes = [
            _area(time, end, k, floor[k], top[k], int(history.capacity[k])) for k in range(tables.stages)
        ]
        ax.add_collection(PolyCollection(lanes, facecolors=colour, linewidths=0), autolim=False)
        floor = np.broadcast_to(top, floor.shape)
    full = np.arange(tables.stages) + 0.43 - LANE
    lines = LineCollection([[(0, y), (end, y)] for y in full], colors=LIMIT_COLOUR, linewidths=0.8)
    ax.add_collection(lines, autolim=False)
    _name_peaks(ax, view, named)
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
    upper = bottom - np.repeat(high[changes], 2) * (LANE / capacity)
    lower = bottom - np.repeat(low[changes], 2) * (LANE / capacity)
    return np.stack([np.r_[x, x[::-1]], np.r_[upper, lower[::-1]]], axis=1)


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
        part = format_percent(peak[k] / history.capacity[k])
        labels.append(f"{peak[k] * factor:.3g} of {history.capacity[k] * factor:.3g}  ({part})")
    right.set_yticks(list(named), labels)
    right.set_ylabel(f"peak of capacity, {unit}")
