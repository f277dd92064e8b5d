"""Methods side by side, each with its gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from mocap_opt.pictures.palette import BOUND_COLOUR, PLAN_COLOUR, time_unit
from mocap_opt.solvers.outcome import Status
from mocap_opt.units import format_percent


def compare(ax: Axes, rows: Sequence[Mapping[str, Any]]) -> Axes:
    """Draw a bar per method, marks for both executions and a line for the best bound.

    Parameters
    ----------
    ax : Axes
    rows : sequence of mapping
        Of one instance, as `mocap_opt.compare` or ``mocap-opt compare --json`` gives them: ``method``,
        ``latency_s``, ``lockstep_latency_s``, ``event_latency_s``, ``lower_bound_s``, ``gap``,
        ``status``; None where unknown.

    Returns
    -------
    Axes
        The one given.
    """
    known = [float(row["latency_s"]) for row in rows if row["latency_s"] is not None]
    lower = [float(row["lower_bound_s"]) for row in rows if row["lower_bound_s"] is not None]
    scale, unit = time_unit(max(known + lower, default=1.0))
    for place, row in enumerate(rows):
        if row["latency_s"] is None:
            text = Status(row["status"]).words
            ax.text(0, place, f"  {text}", va="center", color="#555555")
            continue
        ax.barh(place, row["latency_s"] * scale, height=0.62, color=PLAN_COLOUR, alpha=0.35)
        gap = "" if row["gap"] is None else f"   gap {format_percent(row['gap'])}"
        executions = [
            row[key] * scale for key in ("lockstep_latency_s", "event_latency_s") if row[key] is not None
        ]
        text = f"{row['latency_s'] * scale:.4g} {unit}{gap}"
        ax.annotate(
            text, (max(executions), place), (9, 0), textcoords="offset points", va="center", fontsize=8
        )
        for key, marker, face in (
            ("lockstep_latency_s", "s", "white"),
            ("event_latency_s", "o", PLAN_COLOUR),
        ):
            if row[key] is not None:
                ax.plot(row[key] * scale, place, marker, mfc=face, mec=PLAN_COLOUR, markersize=6)
    if known:
        ax.plot([], [], "s", mfc="white", mec=PLAN_COLOUR, label="lockstep")
        ax.plot([], [], "o", color=PLAN_COLOUR, label="event-driven")
    if lower:
        ax.axvline(max(lower) * scale, color=BOUND_COLOUR, linewidth=1.6, label="best bound on any execution")
    both = [float(r[k]) for r in rows for k in ("lockstep_latency_s", "event_latency_s") if r[k] is not None]
    ax.set_xlim(0, 1.28 * max(both + lower, default=1.0) * scale)
    ax.set_yticks(range(len(rows)), [str(row["method"]) for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel(f"latency, {unit}")
    ax.set_ylabel("method")
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color="#E5E5E5")
    if known or lower:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)
    return ax
