"""Pictures of studies: performance profiles, gaps, and the comparison with the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from mocap_opt.errors import ExitCode, MocapError
from mocap_opt.pictures.palette import BOUND_COLOUR
from mocap_opt.pictures.plots.style import look
from mocap_opt.studies import summary
from mocap_opt.studies.execution import Outcome
from mocap_opt.studies.paper_comparison import ratios as scores
from mocap_opt.studies.summary import performance_profile, ratios_to_best

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#882255")
DASHES = ("-", "--", "-.", ":")
MARKERS = "osD^vP*X"
LEAST_GAP = 1e-5
"""Gaps below this are drawn here on a logarithmic axis: 0.001 %."""


class NothingToDrawError(MocapError):
    """No run has what the picture would show."""

    exit_code = ExitCode.NO_PLAN


def _line(index: int) -> dict[str, Any]:
    # Dashes as well as colours, so that lines on top of each other show.
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": DASHES[(index + index // len(COLOURS)) % len(DASHES)],
        "linewidth": 1.8,
    }


def profile(ax: Axes, costs: pd.DataFrame, *, of: str = "latency") -> Axes:
    """Share of instances on which each contender is within a factor of the best.

    Parameters
    ----------
    ax : Axes
    costs : DataFrame
        By instance and contender; NaN without an answer.
    of : str
        What the costs are, for the axis.
    """
    ratios = ratios_to_best(costs.to_numpy())
    finite = ratios[np.isfinite(ratios)]
    end = float(finite.max(initial=1.0))
    end = 1.02 if end < 1.02 else end * 1.02
    factors = np.unique([1.0, *finite, end])
    shares = performance_profile(costs.to_numpy(), factors)
    for index, (name, share) in enumerate(zip(costs.columns, shares, strict=True)):
        ax.step(factors, share, where="post", label=str(name), **_line(index))
    if end > 4:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
    answered = int((~np.isnan(ratios).any(axis=1)).sum())
    ax.set_xlim(1, end)
    ax.set_ylim(-0.02, 1.04)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    ax.set_xlabel(f"{of} over the best one")
    ax.set_ylabel(f"share of {answered} instances")
    ax.grid(color="#E5E5E5")
    _legend(ax, len(costs.columns))
    return ax


def gap_per_instance(ax: Axes, gaps: pd.DataFrame) -> Axes:
    """A row per instance, a mark per contender.

    Parameters
    ----------
    ax : Axes
    gaps : DataFrame
        By instance and contender; NaN, without a plan, is not drawn.
    """
    rows = np.arange(len(gaps))
    spread = np.linspace(-0.28, 0.28, len(gaps.columns)) if len(gaps.columns) > 1 else [0.0]
    for index, name in enumerate(gaps.columns):
        values = gaps[name].to_numpy(dtype=float)
        ax.plot(
            np.maximum(values, LEAST_GAP),
            rows + spread[index],
            MARKERS[index % len(MARKERS)],
            color=COLOURS[index % len(COLOURS)],
            markersize=4.5,
            label=str(name),
            clip_on=False,
        )
    ax.set_xscale("log")
    _gap_axis(ax.xaxis)
    ax.set_xlim(LEAST_GAP / 1.3, max(1e-2, float(np.nanmax(gaps.to_numpy(dtype=float), initial=0)) * 1.3))
    ax.set_xlabel("gap to the best bound known (logarithmic)")
    ax.set_yticks(rows, [str(name) for name in gaps.index], parse_math=False)
    ax.set_ylim(len(gaps) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    for edge in rows[:-1] + 0.5:
        ax.axhline(edge, color="#E5E5E5", linewidth=0.8)
    ax.grid(axis="x", color="#E5E5E5")
    _legend(ax, len(gaps.columns))
    return ax


def gap_over_time(
    ax: Axes, times: npt.NDArray[np.float64], gaps: Mapping[str, npt.NDArray[np.float64]]
) -> Axes:
    """Median gap of each contender.

    Parameters
    ----------
    ax : Axes
    times : float64[time]
        Seconds, rising, above 0.
    gaps : mapping of str to float64[time]
        1 where there is no plan yet.
    """
    for index, (name, values) in enumerate(gaps.items()):
        shown = np.maximum(values, LEAST_GAP)
        ax.step(times, shown, where="post", label=name, **_line(index))
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_yscale("log")
    _gap_axis(ax.yaxis)
    ax.set_xlim(times[0], times[-1])
    ax.set_ylim(LEAST_GAP / 1.3, 1.3)
    ax.set_xlabel("wall time of a run, s (logarithmic)")
    ax.set_ylabel("median gap to the best bound (logarithmic)")
    ax.grid(color="#E5E5E5")
    _legend(ax, len(gaps))
    return ax


def study_figure(name: str, kind: str, frame: pd.DataFrame, outcomes: Sequence[Outcome]) -> Figure:
    """A picture of a study called `name`.

    Parameters
    ----------
    name : str
    kind : str
        ``"profile"``, ``"time-profile"``, ``"gaps"`` or ``"gap-over-time"``.
    frame : DataFrame
        The rows of `outcomes`, in their order.
    outcomes : sequence of Outcome

    Raises
    ------
    ValueError
        If the kind is another.
    NothingToDrawError
        If no run has anything that such a picture shows.
    """
    # An instance on which nobody has a gap would be an empty row.
    gaps = summary.gaps(frame).dropna(how="all")
    medians = _medians(frame, outcomes) if kind == "gap-over-time" else None
    costs = summary.run_times(frame) if kind == "time-profile" else summary.latencies(frame)
    shown = {"gaps": not gaps.empty, "gap-over-time": medians is not None and bool(medians[1])}
    if not shown.get(kind, bool(costs.notna().any(axis=None))):
        raise NothingToDrawError(f"{name}: no run has an answer that a picture of this kind shows")
    sizes = {"gaps": (9.0, 1.6 + (0.12 + 0.09 * len(gaps.columns)) * len(gaps))}
    with look():
        figure = Figure(figsize=sizes.get(kind, (7.5, 4.2)), layout="constrained")
        FigureCanvasAgg(figure)
        ax = figure.add_subplot()
        figure.suptitle(name, x=0.01, ha="left", fontsize=10, fontweight="bold", parse_math=False)
        if kind == "profile":
            profile(ax, costs)
        elif kind == "time-profile":
            profile(ax, costs, of="run time")
        elif kind == "gaps":
            gap_per_instance(ax, gaps)
        elif medians is not None:
            gap_over_time(ax, *medians)
        else:
            raise ValueError(f"{kind!r} is no picture of a study")
    return figure


def _medians(
    frame: pd.DataFrame, outcomes: Sequence[Outcome]
) -> tuple[npt.NDArray[np.float64], dict[str, npt.NDArray[np.float64]]]:
    """Times from the first plan of any run to the end of the longest run, and the median gaps at them."""
    end = max([1e-2, *(o.row.get("runtime_s") or 0.0 for o in outcomes)])
    start = min([end / 10, *(at for o in outcomes for at, latency, _ in o.curve if latency is not None)])
    times = np.geomspace(max(start, 1e-4), end, 400)
    return times, summary.median_gaps(frame, outcomes, times)


def _gap_axis(axis: Axis) -> None:
    def _text(value: float, _: float) -> str:
        return f"≤ {100 * LEAST_GAP:g} %" if value <= 1.01 * LEAST_GAP else f"{100 * value:g} %"

    axis.set_major_formatter(_text)
    axis.set_minor_formatter("")


def _legend(ax: Axes, count: int) -> None:
    ax.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=min(count, 6), borderaxespad=0.2, handlelength=2.4
    )


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


def paper_comparison_figure(frame: pd.DataFrame) -> Figure:
    """Mean times over GPipe's on the left, best lengths over TeraPipe's on the right.

    Parameters
    ----------
    frame : DataFrame
        Rows as `mocap_opt.studies.paper_comparison.frame.read_csv` gives them.
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
