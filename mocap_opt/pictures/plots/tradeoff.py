"""The picture of a trade-off: layouts on two axes, what none of them can do, and the curve."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from mocap_opt.pictures.palette import BOUND_COLOUR, PLAN_COLOUR
from mocap_opt.pictures.plots.style import look
from mocap_opt.questions.tradeoffs import Axis, Sweep

WIDE = 5.0
"""Greatest over least value from which an axis is logarithmic."""

REACH = 2.0
"""Values of more than this times the greatest one on the curve lie outside."""

MARGIN = 0.08
"""Room beyond what is drawn, as a part of it."""

NAME_ROOM = 40, 12
"""Pixels to the side or upwards that the name of a point keeps from others."""


def tradeoff(ax: Axes, found: Sweep) -> Axes:
    """A dot per variant by its first two axes, whiskers down to its bounds, and the curve.

    Parameters
    ----------
    ax : Axes
    found : Sweep
        On two axes or more.
    """
    first, second = found.axes[:2]
    both = [c for c in found.choices if {first, second} <= c.found.keys()]
    most = max((choice.stages for choice in both), default=1)
    for choice in both:
        x, y = (float(choice.found[axis]) for axis in (first, second))
        for axis, ends in ((first, ([x], [y, y])), (second, ([x, x], [y]))):
            if axis in choice.proved:
                ends[0 if axis is first else 1].append(float(choice.proved[axis]))
                ax.plot(*ends, color="#BBBBBB", linewidth=0.7, zorder=1)
    dots = ax.scatter(
        [float(choice.found[first]) for choice in both],
        [float(choice.found[second]) for choice in both],
        c=[choice.stages for choice in both],
        cmap=mpl.colormaps["viridis"],
        norm=LogNorm(1, max(most, 2)),
        s=14,
        zorder=3,
    )
    if ax.figure is not None and both:
        bar = ax.figure.colorbar(dots, ax=ax, label="stages", format="{x:g}", pad=0.02)
        bar.ax.minorticks_off()
        bar.set_ticks([n for n in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512) if n <= max(most, 2)])
    outside = set()
    for axis, which, scale, limit in (
        (first, ax.xaxis, ax.set_xscale, ax.set_xlim),
        (second, ax.yaxis, ax.set_yscale, ax.set_ylim),
    ):
        values = [float(choice.found[axis]) for choice in both]
        farthest = REACH * max((float(choice.found[axis]) for choice in found.pareto), default=0.0)
        known = [float(choice.proved[axis]) for choice in both if axis in choice.proved]
        inside = [value for value in values if value <= farthest]
        outside |= {number for number, value in enumerate(values) if value > farthest}
        if not inside or min(values + known) <= 0:
            continue
        low, high = min(inside + known), max(inside + [each for each in known if each <= farthest])
        if high > WIDE * low:
            scale("log")
            which.set_major_formatter("{x:g}")
            which.set_minor_formatter("{x:g}" if high < 50 * low else "")
            margin = (high / low) ** MARGIN
            limit(low / margin, high * margin)
        else:
            margin = MARGIN * ((high - low) or low)
            limit(low - margin, high + margin)
    if outside:
        said = f"{len(outside)} further out"
        ax.annotate(said, (1, 0), xycoords="axes fraction", ha="right", va="bottom", fontsize=7.5)
    _curve(ax, found, first, second)
    ax.set_xlabel(first.words)
    ax.set_ylabel(second.words)
    ax.grid(color="#EEEEEE")
    return ax


def _curve(ax: Axes, found: Sweep, first: Axis, second: Axis) -> None:
    """The variants that no other one beats, named, and the bound at each of them."""
    curve = found.pareto
    xs, ys = ([float(choice.found[axis]) for choice in curve] for axis in (first, second))
    ax.step(xs, ys, where="post", color=PLAN_COLOUR, linewidth=1.4, zorder=2, label="no other layout beats")
    bounds = [found.pareto_bound(choice) for choice in curve]
    known = [(x, float(bound)) for x, bound in zip(xs, bounds, strict=True) if bound is not None]
    if known:
        ax.plot(
            *zip(*known, strict=True),
            color=BOUND_COLOUR,
            linestyle="",
            marker="_",
            markersize=9,
            zorder=4,
            label=f"no layout as good in {first} is better in {second}",
        )
    named: list[tuple[float, float]] = []
    for x, y, choice in zip(xs, ys, curve, strict=True):
        across, up = ax.transData.transform((x, y))
        if any(abs(across - u) < NAME_ROOM[0] and abs(up - v) < NAME_ROOM[1] for u, v in named):
            continue
        named.append((across, up))
        text = f"{choice.stages} x {choice.dies_per_stage}"
        ax.annotate(text, (x, y), (3, 3), textcoords="offset points", fontsize=7.5, zorder=5)
    ax.legend(loc="best")


def tradeoff_figure(found: Sweep) -> Figure:
    """The whole picture.

    Parameters
    ----------
    found : Sweep
        On two axes or more.
    """
    with look():
        figure = Figure(figsize=(8, 5), layout="constrained")
        FigureCanvasAgg(figure)
        tradeoff(figure.add_subplot(), found).set_title(found.instance.name, parse_math=False)
        return figure
