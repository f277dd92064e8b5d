"""Several methods on the same instances, all set against the best bound that any of them proved."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.objectives import Objective, objective_of, require_supported
from mocap_opt.instance.pipeline import LAYOUT_FIELDS
from mocap_opt.schedule.inputs import as_instance
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.api import answerer_of, solve
from mocap_opt.solving.comparison_frame import comparison_frame
from mocap_opt.solving.incumbent import Progress
from mocap_opt.solving.methods import EVERY_METHOD, check_names
from mocap_opt.solving.plugin_methods import blamed, find_plugin_method
from mocap_opt.solving.report import BoundBeatenError
from mocap_opt.solving.solution import Solution

if TYPE_CHECKING:
    import pandas as pd

    from mocap_opt.instance import Instance
    from mocap_opt.schedule.inputs import GivenInstance

NOT_RUN = "not run: interrupted"
"""Why a method that was not begun has no plan."""

INTERRUPTED = "interrupted while it ran"
"""What is said of the method that ran when somebody asked to stop."""


ANY_LAYOUT = "joint, any layout"
"""What the row of an instance with its layout left open says as its method."""

LAYOUTS = ("given", "auto")

LEADING, TRAILING = ("instance", "method", "status"), ("lower_bound_s", "gap", "chunks", "runtime_s")
"""Columns of a comparison before and behind what is minimised."""


def require_methods(methods: Sequence[str]) -> None:
    """Refuse names that are no method, before anything is done.

    Raises
    ------
    InputError
        Listing all of them.
    """
    problems: list[Problem] = []
    for method in methods:
        try:
            find_plugin_method(method, EVERY_METHOD)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)


def solve_with_each(
    instance: GivenInstance,
    methods: Sequence[str],
    *,
    callback: Callable[[Progress], None] | None = None,
    begin: Callable[[str], None] = lambda doing: None,
    stop: threading.Event | None = None,
    **options: Any,
) -> list[Solution]:
    """Solve an instance with several methods, all set against the best bound that any of them proved.

    Their gaps then mean the same; a proof by one that there is no plan holds for all, and ends it.
    Of a prompt, tables, quick bounds and verdicts are made once for the instance.

    Parameters
    ----------
    instance : Instance or mapping
    methods : sequence of str
    callback : callable, optional
        Called as in `solve`, of the method that runs.
    begin : callable
        Called, in words, as each method begins.
    stop : threading.Event, optional
        Set it from outside to stop early: the method that runs gives the best plan so far, and those that
        follow have none.
    **options
        Passed on to `solve`.
    """
    require_methods(methods)
    instance = as_instance(instance)
    require_supported(instance, "compare")
    instance.pipeline.require_fixed()
    stop = stop or threading.Event()
    answers: list[Solution] = []
    reasons: list[str | None] = []
    reused = objective_of(instance) is Objective.LATENCY
    for method in methods:
        waiting = stop.is_set()
        # Bounds and proofs hold for every method and are made once; those of plugins are compared only at
        # the end, so that a false one is blamed on its plugin.
        trusted = [answer for answer in answers if answer.report.method in EVERY_METHOD]
        proved = next((each for each in trusted if each.report.status is Status.INFEASIBLE), None)
        if proved is not None:
            report = replace(
                proved.report, method=method, solver=None, runtime_s=0.0, build_s=0.0, solve_s=0.0
            )
            answers.append(replace(proved, report=report))
            reasons.append(None)
            continue
        if not waiting:
            begin(f"{instance.name}: {method}")
        answer = solve(
            instance,
            method,
            callback=None if waiting else callback,
            stop=stop,
            known=max(trusted, key=lambda each: len(each.lower_bounds), default=None) if reused else None,
            **options,
        )
        settled = answer.report.status in (Status.INFEASIBLE, Status.OPTIMAL)
        not_run = waiting and answer.schedule is None
        reasons.append((NOT_RUN if not_run else INTERRUPTED) if stop.is_set() and not settled else None)
        answers.append(answer)
    bounds = tuple(bound for answer in answers for bound in answer.lower_bounds)
    reports = [answer.report for answer in answers]
    proof = next((each.reason for each in reports if each.status is Status.INFEASIBLE), None)
    answerer = answerer_of(instance, answers[0].tables if reused and answers else None)
    try:
        return [
            answerer.against(answer, bounds, proof, reason)
            for answer, reason in zip(answers, reasons, strict=True)
        ]
    except BoundBeatenError as error:
        raise blamed(error, EVERY_METHOD) from error


def compare(
    instances: Sequence[GivenInstance],
    methods: Sequence[str] = ("gpipe", "uniform", "terapipe", "mocap", "joint"),
    *,
    layout: str = "given",
    full: bool = False,
    **options: Any,
) -> pd.DataFrame:
    """Solve every instance with every method.

    All methods on an instance are set against the best bound that any of them proved, so that
    their gaps mean the same.

    Parameters
    ----------
    instances : sequence of Instance or mapping
    methods : sequence of str
    layout : str
        ``"auto"`` adds a row of the joint method on every instance with its pipeline left open: stages,
        dies, layers and places.  Its bound and its gap hold for all layouts, those of other rows for the
        one given.
    full : bool
        All fields of the reports instead of the columns that matter most.
    **options
        Passed on to `solve_with_each`, and so to `mocap_opt.solve`.

    Returns
    -------
    pandas.DataFrame
        A row per instance and method: ``instance``, ``method``, ``status``, what is minimised (such as
        ``latency_s``), ``lower_bound_s``, ``gap``, ``chunks``, ``runtime_s``.  If `full`, all fields of
        `mocap_opt.solving.report.Report` and ``event_exceeds_lockstep``.  Notebooks show gaps in percent.

    Raises
    ------
    InputError
        If a method is unknown, or an option means nothing for an instance's objective.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-pooled.json")
    >>> table = mocap_opt.compare([instance], ["gpipe", "mocap", "joint"])
    >>> table[["method", "status"]].to_numpy().tolist()
    [['gpipe', 'unknown'], ['mocap', 'feasible'], ['joint', 'optimal']]
    """
    require_methods(methods)
    check_names(("layout", layout, LAYOUTS))
    given = [as_instance(instance) for instance in instances]
    for instance in given:
        require_supported(instance, "compare")
    rows = []
    for instance in given:
        free = _free(instance) if layout == "auto" else None
        rows += [answer.row for answer in solve_with_each(instance, methods, **options)]
        if free is not None:
            own = {name: value for name, value in options.items() if name != "begin"}
            options.get("begin", lambda doing: None)(f"{instance.name}: {ANY_LAYOUT}")
            rows.append({**solve(free, **own).row, "method": ANY_LAYOUT})
    if full:
        return comparison_frame(rows)
    figures = dict.fromkeys(f"{objective_of(instance).record.figure}_s" for instance in given)
    for row in rows:
        row["chunks"] = None if row["boundaries"] is None else len(row["boundaries"]) - 1
    return comparison_frame(rows, (*LEADING, *figures, *TRAILING))


def _free(instance: Instance) -> Instance:
    """The instance with everything that a pipeline may leave open left open."""
    return instance.replace(*(f'pipeline.{name}="auto"' for name in LAYOUT_FIELDS))
