"""Whole pictures: a figure of the right size, titled, and its file."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mocap_opt.calibration import Fit, FormFit
from mocap_opt.files import write_bytes_atomically
from mocap_opt.pictures.plots.charts import bounds, compare, residuals
from mocap_opt.pictures.plots.execution import gantt, memory
from mocap_opt.pictures.plots.forms import fitted_times, residual_map
from mocap_opt.pictures.plots.mesh import mesh
from mocap_opt.pictures.plots.style import look
from mocap_opt.pictures.run_view import RunView
from mocap_opt.pictures.wafer_geometry import draw_wafer
from mocap_opt.solving.incumbent import Progress
from mocap_opt.tables.layout import Layout

FORMATS = ("png", "svg", "pdf")


def gantt_figure(view: RunView) -> Figure:
    """A Gantt chart, taller for more stages."""
    with look():
        ax = _axes(10, max(2.6, 1.4 + 0.16 * view.tables.stages))
        _title(gantt(ax, view), _run_title(view))
        return _figure(ax)


def memory_figure(view: RunView) -> Figure:
    """Memory over time, taller for more stages."""
    with look():
        ax = _axes(10, max(2.8, 1.4 + (0.4 if view.tables.memories <= 12 else 0.2) * view.tables.memories))
        _title(memory(ax, view), _run_title(view))
        return _figure(ax)


def mesh_figure(layout: Layout, view: RunView) -> Figure:
    """The wafer with the load of an execution.

    Parameters
    ----------
    layout : Layout
    view : RunView
        Of a plan of the same instance.
    """
    with look():
        drawing = draw_wafer(layout)
        ax = _axes(9, min(8.0, max(3.2, 1.5 + 6.0 * (drawing.rows + 0.3) / (drawing.cols + 0.3))))
        _title(mesh(ax, layout, view), _run_title(view))
        return _figure(ax)


def repair_figure(sides: Sequence[tuple[Layout, RunView]]) -> Figure:
    """The wafer before and after a fault, side by side, each with the load of its plan's execution."""
    with look():
        figure = Figure(figsize=(9.0 * len(sides), 6.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, len(sides), squeeze=False)[0]
        for ax, (layout, view), when in zip(axes, sides, ("before", "after"), strict=True):
            mesh(ax, layout, view)
            ax.set_xlabel(f"{when}: {view.headline}", parse_math=False)
        _title(axes[0], sides[0][1].tables.name)
        return figure


def bounds_figure(
    name: str, progress: Sequence[Progress], *, end_s: float | None = None, words: str = "latency"
) -> Figure:
    """Plan and bound over the time of a solve of the instance called `name`.

    Parameters
    ----------
    name : str
    progress, end_s, words
        As for `bounds`.
    """
    with look():
        ax = _axes(7.5, 3.6)
        _title(bounds(ax, progress, end_s=end_s, words=words), name)
        return _figure(ax)


def compare_figure(name: str, rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Methods on the instance called `name`.

    Parameters
    ----------
    name : str
    rows : sequence of mapping
        As for `compare`.
    """
    with look():
        ax = _axes(8, 1.5 + 0.34 * len(rows))
        _title(compare(ax, rows), name)
        return _figure(ax)


def residuals_figure(name: str, fits: Sequence[Fit]) -> Figure:
    """What a fit of the timings called `name` leaves over.

    Parameters
    ----------
    name : str
    fits : sequence of Fit
        As for `residuals`.
    """
    with look():
        ax = _axes(8, 3.8)
        _title(residuals(ax, fits), name)
        return _figure(ax)


def form_figure(fit: FormFit, stage: int | None = None) -> Figure:
    """A form beside the times it was fitted to: both by length, and what is left over by length and prefix.

    Parameters
    ----------
    fit : FormFit
    stage : int, optional
        By default the stage with the largest residual.
    """
    off = {each: float(abs(part).max()) for each, part in fit.residuals_by_stage().items()}
    stage = max(off, key=lambda each: off[each]) if stage is None else stage
    with look():
        figure = Figure(figsize=(12, 4.4), layout="constrained")
        FigureCanvasAgg(figure)
        times, left_over = figure.subplots(1, 2, width_ratios=(1, 1.25))
        fitted_times(times, fit, stage)
        residual_map(left_over, fit, stage)
        where = "" if stage is None else f", stage {stage}"
        _title(times, f"{fit.timings.source}{where}: {fit.name}, {fit.form.formula}")
        return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure whole or not at all; the same figure gives the same bytes.

    Parameters
    ----------
    figure : Figure
    path : path
        Ends in one of `FORMATS`.

    Raises
    ------
    InputError
        If the place cannot be written.
    ValueError
        If the name ends in something else.
    """
    kind = PurePath(path).suffix.lstrip(".").lower()
    if kind not in FORMATS:
        raise ValueError(f"{os.fspath(path)}: expected a name that ends in one of {', '.join(FORMATS)}")
    metadata = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    buffer = io.BytesIO()
    with look():
        # Tight: labels beside axes of equal aspect are not part of the layout and would be cut.
        figure.savefig(buffer, format=kind, metadata=metadata, bbox_inches="tight", pad_inches=0.08)
    write_bytes_atomically(path, buffer.getvalue())


def _axes(width: float, height: float) -> Axes:
    # Without pyplot: no global state, no window, nothing to close.
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def _figure(ax: Axes) -> Figure:
    figure = ax.figure
    if not isinstance(figure, Figure):
        raise TypeError("these axes are not on a figure of their own")
    return figure


def _title(ax: Axes, text: str) -> None:
    # Names come from files: a dollar sign in one is no formula.
    _figure(ax).suptitle(text, x=0.01, ha="left", fontsize=10, fontweight="bold", parse_math=False)


def _run_title(view: RunView) -> str:
    count = len(view.chunks)
    work = f"{count} chunk{'s' if count != 1 else ''}"
    if view.endless:
        work = f"the first {len(view.schedule)} requests"
    elif len(view.schedule) > 1:
        work = f"{len(view.schedule)} requests, {work}"
    return f"{view.tables.name}: {view.headline}, {work}"
