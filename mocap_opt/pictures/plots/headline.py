"""The headline study as bars: each method's mean ratio beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mocap_opt.pictures.palette import BOUND_COLOUR
from mocap_opt.pictures.plots.studies import COLOURS
from mocap_opt.pictures.plots.style import look
from mocap_opt.studies.paper_comparison import ratios as scores

TIMES = ("latency", "throughput, 2 requests", "throughput, 5 requests", "throughput, without end")
LENGTHS = ("longest prompt, equal chunks", "longest prompt, limited latency")
PAPER_COLOUR = "#444444"
METHOD_COLOURS = (COLOURS[0], COLOURS[7], COLOURS[2], COLOURS[3])
"""Without the orange, which is that of bounds."""


def ratio_bars(
    ax: Axes, table: pd.DataFrame, questions: Sequence[str], published: Sequence[float | None]
) -> Axes:
    """Draw a group of bars per question, one bar per method, the paper's figure as a line across it.

    Parameters
    ----------
    ax : Axes
    table : DataFrame
        Ratios by question and method, and ``bound``: a mark that no method can exceed.
    questions : sequence of str
        Those of `table` to draw, in order; questions it lacks are left out.
    published : sequence of float or None
        The paper's figure for each.
    """
    there = [(name, value) for name, value in zip(questions, published, strict=True) if name in table.index]
    width = 0.8 / len(scores.OTHERS)
    rows = np.arange(len(there))
    shown = table.loc[[name for name, _ in there]]
    bounds = shown["bound"].to_numpy(dtype=float)
    for index, method in enumerate(scores.OTHERS):
        heights = shown[method].to_numpy(dtype=float)
        at = rows - 0.4 + width * (index + 0.5)
        ax.bar(at, heights, 0.92 * width, color=METHOD_COLOURS[index], label=method)
        # At the feet of the bars, where no line crosses them.
        for place, height in zip(at, heights, strict=True):
            ax.text(
                place,
                0.02,
                f"{height:.2f}",
                transform=ax.get_xaxis_transform(),
                ha="center",
                fontsize=7,
                color="white",
            )
    for row, (_, value) in enumerate(there):
        first = row == 0
        bound = bounds[row]
        label = "no method above" if first else None
        ax.plot([row - 0.42, row + 0.42], [bound] * 2, color=BOUND_COLOUR, linewidth=1.2, label=label)
        if value is not None:
            label = "the paper's" if first else None
            ax.plot([row - 0.42, row + 0.42], [value] * 2, "--", color=PAPER_COLOUR, label=label)
    ax.axhline(1, color="#999999", linewidth=0.8)
    ax.set_xticks(rows, [name.replace(", ", ",\n") for name, _ in there])
    ax.tick_params(axis="x", length=0)
    ax.margins(y=0.12)
    ax.grid(axis="y", color="#E5E5E5")
    return ax


def headline_figure(frame: pd.DataFrame) -> Figure:
    """Mean times over GPipe's on the left, best lengths over TeraPipe's on the right.

    Parameters
    ----------
    frame : DataFrame
        Rows of the headline study, as `mocap_opt.studies.paper_comparison.frame.read_csv` gives them.
    """
    with look():
        figure = Figure(figsize=(10.5, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, width_ratios=[2, 1])
        speed = scores.PUBLISHED_SPEED_UP, *[scores.PUBLISHED_THROUGHPUT] * (len(TIMES) - 1)
        ratio_bars(left, scores.means(frame), TIMES, speed)
        left.set_title("Over GPipe, geometric mean")
        left.set_ylabel("ratio")
        ratio_bars(right, scores.best_cases(frame), LENGTHS, [scores.PUBLISHED_LENGTH] * len(LENGTHS))
        right.set_title("Longest prompt over TeraPipe's, best case")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def stages_figure(frame: pd.DataFrame) -> Figure:
    """How the ratio of the joint method over GPipe grows with stages and falls with requests in a row."""
    found = scores.by_stages(frame, "joint")
    names = [name for name in found.columns if not name.startswith("longest")]
    with look():
        figure = Figure(figsize=(6.5, 3.8), layout="constrained")
        FigureCanvasAgg(figure)
        ax = figure.add_subplot()
        for index, name in enumerate(names):
            label = "latency (one request)" if name == "latency" else name
            ax.plot(found.index, found[name], "o-", color=COLOURS[index], label=label, markersize=4)
        paper = ((scores.PUBLISHED_SPEED_UP, "latency"), (scores.PUBLISHED_THROUGHPUT, "throughput"))
        for value, what in paper:
            ax.axhline(value, color=PAPER_COLOUR, linestyle="--", linewidth=1)
            ax.annotate(
                f"the paper's\n{what}, {value}x",
                (1.01, value),
                xycoords=("axes fraction", "data"),
                va="center",
                annotation_clip=False,
            )
        ax.set_xticks(list(found.index))
        ax.set_ylim(bottom=0)
        ax.set_xlabel("stages")
        ax.set_ylabel("GPipe's time over joint's, geometric mean")
        ax.grid(color="#E5E5E5")
        ax.legend()
    return figure
