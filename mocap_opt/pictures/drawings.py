"""The pictures of the top level, ``mocap_opt.plot_gantt`` and the like; matplotlib loads when one is drawn.

Each returns a `matplotlib.figure.Figure`, which notebooks show and ``savefig`` writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mocap_opt.errors import InputError, Problem
from mocap_opt.optional_dependencies import require
from mocap_opt.pictures.answer import plot
from mocap_opt.solving.comparison_frame import comparison_rows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from mocap_opt.calibration import Fit
    from mocap_opt.questions.tradeoffs import Sweep
    from mocap_opt.solving import Progress, Solution


def _figures() -> Any:
    """The drawing functions.

    Raises
    ------
    InputError
        If matplotlib (the extra ``plots``) is not installed.
    """
    require("matplotlib", "plots")
    from mocap_opt.pictures import plots  # noqa: PLC0415 - matplotlib is optional and slow to load

    return plots


def plot_gantt(solution: Solution, *, execution: str | None = None) -> Figure:
    """Draw what every stage does over time.

    Parameters
    ----------
    solution : Solution
        With a plan.
    execution : str, optional
        ``"lockstep"`` or ``"event-driven"``; by default the faster one.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json")
    >>> figure = mocap_opt.plot_gantt(mocap_opt.solve(instance))
    >>> figure.axes[0].get_ylabel()
    'stage'
    """
    return plot(solution, "gantt", execution)


def plot_memory(solution: Solution, *, execution: str | None = None) -> Figure:
    """Draw what fills every memory over time.

    Parameters
    ----------
    solution, execution
        As for `plot_gantt`.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-pooled.json")
    >>> figure = mocap_opt.plot_memory(mocap_opt.solve(instance), execution="lockstep")
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['stage', 'peak of capacity, B']
    """
    return plot(solution, "memory", execution)


def plot_mesh(solution: Solution, *, execution: str | None = None) -> Figure:
    """Draw the wafer with the stages on it and the load of every link.

    Parameters
    ----------
    solution, execution
        As for `plot_gantt`.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json")
    >>> figure = mocap_opt.plot_mesh(mocap_opt.solve(instance))
    >>> figure.axes[0].get_ylabel()
    'row of dies'
    """
    return plot(solution, "mesh", execution)


def plot_bounds(name: str, progress: Sequence[Progress]) -> Figure:
    """Draw the best plan and the best bound over the time of a solve.

    Parameters
    ----------
    name : str
        The title.
    progress : sequence of Progress
        What the callback of `mocap_opt.solve` was told: ``callback=found.append``.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json")
    >>> found = []
    >>> solution = mocap_opt.solve(instance, callback=found.append)
    >>> mocap_opt.plot_bounds(instance.name, found).axes[0].get_xlabel()
    'solve time, s'
    """
    figure: Figure = _figures().bounds_figure(name, progress)
    return figure


def plot_compare(table: pd.DataFrame | Sequence[Mapping[str, Any]]) -> Figure:
    """Draw methods side by side, with the best bound.

    Parameters
    ----------
    table : DataFrame or sequence of mapping
        Of one instance, as `mocap_opt.compare` returns it with ``full=True``.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json")
    >>> table = mocap_opt.compare([instance], ["gpipe", "mocap"], full=True)
    >>> mocap_opt.plot_compare(table).axes[0].get_xlabel()
    'latency, us'
    """
    rows = table if isinstance(table, Sequence) else comparison_rows(table)
    figure: Figure = _figures().compare_figure(str(rows[0]["instance"]) if rows else "", rows)
    return figure


def plot_tradeoff(found: Sweep) -> Figure:
    """Draw the layouts, or chunk counts, of a trade-off on its first two axes, with their bounds.

    Parameters
    ----------
    found : Sweep
        From `mocap_opt.tradeoff`, on two axes or more.

    Raises
    ------
    InputError
        If it has one axis.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json")
    >>> found = mocap_opt.tradeoff(
    ...     instance.replace("pipeline.queue_depth=2"), chunks=True, axes=["latency", "cost"]
    ... )
    >>> mocap_opt.plot_tradeoff(found).axes[0].get_xlabel()
    'latency (s)'
    """
    if len(found.axes) < 2:
        raise InputError([Problem("found", f"the axis {found.axes[0]} alone", "a trade-off on two axes")])
    figure: Figure = _figures().tradeoff_figure(found)
    return figure


def plot_residuals(name: str, fits: Sequence[Fit]) -> Figure:
    """Draw what a fit of timings leaves over.

    Parameters
    ----------
    name : str
        The title.
    fits : sequence of Fit
        From `mocap_opt.calibration.fit_timings`.

    Examples
    --------
    >>> import mocap_opt
    >>> from mocap_opt.calibration import fit_timings
    >>> timings = mocap_opt.fit("instances/timings/llama-3.1-70b-pjlab.csv").timings
    >>> len(mocap_opt.plot_residuals("llama-3.1-70b", fit_timings(timings)).axes)
    1
    """
    figure: Figure = _figures().residuals_figure(name, fits)
    return figure
