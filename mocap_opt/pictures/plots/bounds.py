"""Best plan and best bound over the time of a solve."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from mocap_opt.pictures.palette import BOUND_COLOUR, PLAN_COLOUR, time_unit
from mocap_opt.solving.incumbent import Progress
from mocap_opt.units import format_percent

FAR = 1.5
"""Plans this many times as slow as the best bound or plan are left to the text, not the scale."""
LEAST_SPAN = 1e-3
"""Least height of the vertical axis, in parts of the latency: gaps below it are for the text to say."""
LONG = 30
"""From a solve this many times as long as its first news takes, the axis of time is logarithmic."""


def bounds(ax: Axes, progress: Sequence[Progress], *, end_s: float | None = None) -> Axes:
    """Draw the reported latency and the lower bound on any execution as they improve.

    Parameters
    ----------
    ax : Axes
    progress : sequence of Progress
        In order of time; what is unknown is not drawn.
    end_s : float, optional
        When the solve ended, seconds; default: at the last progress.

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
        (plans, PLAN_COLOUR, "best plan (reported latency)", 4.0),
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
    ax.set_ylabel(f"latency, {unit}")
    hidden = [v for _, v in plans if v > FAR * max(final)]
    if hidden:
        factor, unit_of_it = time_unit(hidden[0])
        plural = "s" if len(hidden) > 1 else ""
        text = f"{len(hidden)} slower plan{plural} before, from {hidden[0] * factor:.3g} {unit_of_it}"
        ax.annotate(text, (0.01, 0.99), xycoords="axes fraction", va="top", fontsize=8, color="#555555")
    gap = next((p.gap for p in reversed(progress) if p.gap is not None), None)
    if gap is not None and plans and lower:
        ax.annotate(
            f"gap {format_percent(gap)}",
            (end, plans[-1][1] * scale),
            xytext=(-6, 5),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=9,
        )
    ax.grid(axis="y", color="#E5E5E5")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    return ax
