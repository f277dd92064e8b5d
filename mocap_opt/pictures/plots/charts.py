"""A solve over time, methods side by side, and what a fit of timings leaves over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mocap_opt.calibration.fit import Fit
from mocap_opt.instance.objectives import Objective
from mocap_opt.pictures.palette import BOUND_COLOUR, PLAN_COLOUR, time_unit
from mocap_opt.pictures.plots.style import chunk_colours
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.incumbent import Progress
from mocap_opt.units import format_percent


def compare(ax: Axes, rows: Sequence[Mapping[str, Any]]) -> Axes:
    """Draw a bar per method, marks for both executions and a line for the best bound.

    Parameters
    ----------
    ax : Axes
    rows : sequence of mapping
        Of one instance, as `mocap_opt.compare` or ``mocap-opt compare --json`` gives them: ``objective``,
        ``method``, what is minimised with both its executions (``latency_s``, ``lockstep_latency_s``,
        ``event_latency_s``), ``lower_bound_s``, ``gap``, ``status``; None where unknown.

    Returns
    -------
    Axes
        The one given.
    """
    record = Objective(rows[0].get("objective", Objective.LATENCY) if rows else Objective.LATENCY).record
    own, *executions = record.fields
    bound = "upper_bound" if record.maximised else "lower_bound_s"
    known = [float(row[key]) for row in rows for key in (own, *executions) if row[key] is not None]
    lower = [float(row[bound]) for row in rows if row.get(bound) is not None]
    scale, unit = (1.0, "weight") if record.maximised else time_unit(max(known + lower, default=1.0))
    for place, row in enumerate(rows):
        if row[own] is None:
            text = Status(row["status"]).words
            ax.text(0, place, f"  {text}", va="center", color="#555555")
            continue
        ax.barh(place, row[own] * scale, height=0.62, color=PLAN_COLOUR, alpha=0.35)
        gap = "" if row["gap"] is None else f"   gap {format_percent(row['gap'])}"
        ends = [row[key] * scale for key in executions if row[key] is not None]
        text = f"{row[own] * scale:.4g} {unit}{gap}"
        ax.annotate(text, (max(ends), place), (9, 0), textcoords="offset points", va="center", fontsize=8)
        for key, marker, face in zip(executions, "so", ("white", PLAN_COLOUR), strict=True):
            if row[key] is not None:
                ax.plot(row[key] * scale, place, marker, mfc=face, mec=PLAN_COLOUR, markersize=6)
    if known:
        ax.plot([], [], "s", mfc="white", mec=PLAN_COLOUR, label="lockstep")
        ax.plot([], [], "o", color=PLAN_COLOUR, label="event-driven")
    if lower:
        ax.axvline(
            (min if record.maximised else max)(lower) * scale,
            color=BOUND_COLOUR,
            linewidth=1.6,
            label="best bound on any execution",
        )
    ax.set_xlim(0, 1.28 * max(known + lower, default=1.0) * scale)
    ax.set_yticks(range(len(rows)), [str(row["method"]) for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel(f"{record.words}, {unit}")
    ax.set_ylabel("method")
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color="#E5E5E5")
    if known or lower:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)
    return ax


FAR = 1.5
"""Plans this many times as slow as the best bound or plan are left to the text, not the scale."""
LEAST_SPAN = 1e-3
"""Least height of the vertical axis, in parts of the latency: gaps below it are for the text to say."""
LONG = 30
"""From a solve this many times as long as its first news takes, the axis of time is logarithmic."""


def bounds(
    ax: Axes, progress: Sequence[Progress], *, end_s: float | None = None, words: str = "latency"
) -> Axes:
    """Draw what is minimised and the lower bound on any execution as they improve.

    Parameters
    ----------
    ax : Axes
    progress : sequence of Progress
        In order of time; what is unknown is not drawn.
    end_s : float, optional
        When the solve ended, seconds; default: at the last progress.
    words : str
        What is minimised.

    Returns
    -------
    Axes
        The one given.

    Raises
    ------
    ValueError
        If nothing is known at any time.
    """
    plans = [(p.elapsed_s, p.latency_s) for p in progress if p.latency_s is not None]
    lower = [(p.elapsed_s, p.bound_s) for p in progress if p.bound_s is not None]
    if not plans and not lower:
        raise ValueError("no plan and no bound at any time")
    end = max([p.elapsed_s for p in progress] + ([] if end_s is None else [end_s]))
    final = [points[-1][1] for points in (plans, lower) if points]
    scale, unit = time_unit(max(final))
    # The plan's line is wider, so that it can be seen behind a bound that meets it.
    for points, colour, name, width in (
        (plans, PLAN_COLOUR, f"best plan (reported {words})", 4.0),
        (lower, BOUND_COLOUR, "best lower bound on any execution", 1.6),
    ):
        if points:
            x = [at for at, _ in points] + [end]
            y = [value * scale for _, value in points] + [points[-1][1] * scale]
            ax.step(x, y, where="post", color=colour, label=name, linewidth=width)
            ax.plot(x[:-1], y[:-1], "o", color=colour, markersize=2 + width)
    shown = [v * scale for _, v in plans + lower if v <= FAR * max(final)]
    low, high = min(shown), max(shown)
    middle, span = (low + high) / 2, max(1.16 * (high - low), LEAST_SPAN * high)
    ax.set_ylim(middle - span / 2, middle + span / 2)
    # Figures in full: what differs late is not hidden in an offset beside the axis.
    ax.ticklabel_format(axis="y", style="plain", useOffset=False)
    first = min(p.elapsed_s for p in progress)
    if end > LONG * first > 0:
        ax.set_xscale("log")
        ax.set_xlim(first / 1.2, end * 1.2)
        ax.set_xlabel("solve time, s (logarithmic)")
    else:
        ax.set_xlim(0, end * 1.02 or 1.0)
        ax.set_xlabel("solve time, s")
    ax.set_ylabel(f"{words}, {unit}")
    hidden = [v for _, v in plans if v > FAR * max(final)]
    if hidden:
        factor, unit_of_it = time_unit(hidden[0])
        plural = "s" if len(hidden) > 1 else ""
        text = f"{len(hidden)} slower plan{plural} before, from {hidden[0] * factor:.3g} {unit_of_it}"
        ax.annotate(text, (0.01, 0.99), xycoords="axes fraction", va="top", fontsize=8, color="#555555")
    gap = next((p.gap for p in reversed(progress) if p.gap is not None), None)
    if gap is not None and plans and lower:
        # Beside the axes: whatever moves last moves there.
        ax.annotate(
            f"gap {format_percent(gap)}",
            (1, scale * (plans[-1][1] + lower[-1][1]) / 2),
            xycoords=ax.get_yaxis_transform(),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    ax.grid(axis="y", color="#E5E5E5")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    return ax


MOST_LENGTHS = 8
"""Lengths with an entry of their own in the legend."""


def residuals(ax: Axes, fits: Sequence[Fit]) -> Axes:
    """Draw (measured - fitted) / measured against the prefix, a colour per chunk length.

    Parameters
    ----------
    ax : Axes
    fits : sequence of Fit
        Stages are drawn on top of each other.

    Returns
    -------
    Axes
        The same.
    """
    length = np.concatenate([fit.timings.length for fit in fits])
    prefix = np.concatenate([fit.timings.prefix for fit in fits])
    off = 100 * np.concatenate([fit.residuals for fit in fits])
    lengths = np.unique(length)
    named = set(lengths[np.unique(np.linspace(0, lengths.size - 1, MOST_LENGTHS).astype(int))].tolist())
    for colour, tokens in zip(chunk_colours(lengths.size), lengths.tolist(), strict=True):
        here = length == tokens
        label = f"{tokens:,} tokens" if tokens in named else None
        ax.plot(prefix[here], off[here], "o", color=colour, ms=4, alpha=0.85, label=label)
        # Through the means: what is left over in common is not noise.
        at = np.unique(prefix[here])
        means = [float(off[here & (prefix == p)].mean()) for p in at.tolist()]
        ax.plot(at, means, "-", color=colour, lw=0.8)
    ax.axhline(0, color="#444444", lw=0.8, zorder=0)
    ax.set_xlabel("tokens before the chunk")
    ax.set_ylabel("measured - fitted, % of measured")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ax.legend(title="chunk length", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax
