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

MOST_NAMES = 12
"""Points of the curve that are named."""


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
    _curve(ax, found, first, second)
    for axis, which, scale in ((first, ax.xaxis, ax.set_xscale), (second, ax.yaxis, ax.set_yscale)):
        values = [float(choice.found[axis]) for choice in both]
        if both and min(values) > 0 and max(values) > WIDE * min(values):
            scale("log")
            which.set_major_formatter("{x:g}")
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
    step = max(-(-len(curve) // MOST_NAMES), 1)
    for number, choice in enumerate(curve):
        if number % step == 0 or number == len(curve) - 1:
            above = number // step % 2 == 0
            ax.annotate(
                choice.name,
                (xs[number], ys[number]),
                xytext=(4, 4) if above else (-4, -4),
                ha="left" if above else "right",
                va="bottom" if above else "top",
                textcoords="offset points",
                fontsize=7.5,
                zorder=5,
            )
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
