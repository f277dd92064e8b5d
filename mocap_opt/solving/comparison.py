"""Several methods on the same instances, all set against the best bound that any of them proved."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mocap_opt.bounds import Bound
from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.objectives import require_supported
from mocap_opt.schedule.inputs import as_instance
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.incumbent import Progress
from mocap_opt.solving.latency import METHOD_NAMES, Solution, solve, wanted_execution
from mocap_opt.solving.plugin_methods import blamed, find_plugin_method
from mocap_opt.solving.report import BoundBeatenError, make_report

if TYPE_CHECKING:
    import pandas as pd

    from mocap_opt.instance import Instance
    from mocap_opt.schedule.inputs import GivenInstance


NOT_RUN = "not run: interrupted"
"""Why a method that was not begun has no plan."""

INTERRUPTED = "interrupted while it ran"
"""What is said of the method that ran when somebody asked to stop."""


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
            find_plugin_method(method, METHOD_NAMES)
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

    Their gaps then mean the same; a proof by one that there is no plan holds for all.

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
    stop = stop or threading.Event()
    solutions: list[Solution] = []
    for method in methods:
        waiting = stop.is_set()
        if not waiting:
            begin(f"{instance.name}: {method}")
        solution = solve(instance, method, callback=None if waiting else callback, stop=stop, **options)
        settled = solution.report.status in (Status.INFEASIBLE, Status.OPTIMAL)
        if stop.is_set() and not settled:
            reason = NOT_RUN if waiting and solution.assessment is None else INTERRUPTED
            solution = replace(solution, report=replace(solution.report, reason=reason))
        solutions.append(solution)
    bounds = tuple(bound for solution in solutions for bound in solution.bounds)
    proof = next((s.report.reason for s in solutions if s.report.status is Status.INFEASIBLE), None)
    try:
        return [_against(instance, solution, bounds, proof) for solution in solutions]
    except BoundBeatenError as error:
        raise blamed(error, METHOD_NAMES) from error


def _against(
    instance: Instance, solution: Solution, bounds: tuple[Bound, ...], proof: str | None
) -> Solution:
    """The same solution in the light of other bounds and of a proof that there is no plan."""
    report = solution.report
    if solution.assessment is None:
        if proof is not None and report.status is not Status.INFEASIBLE:
            report = replace(report, status=Status.INFEASIBLE, reason=proof)
        return replace(solution, report=report)
    judged = make_report(
        instance,
        solution.tables,
        solution.assessment,
        bounds,
        method=report.method,
        solver=report.solver,
        tolerance=float(report.settings["gap"]),
        runtime_s=report.runtime_s,
        build_s=report.build_s,
        solve_s=report.solve_s,
        notes=report.notes,
        programs=report.programs,
        steps=report.steps,
        settings=report.settings,
        execution=wanted_execution(report.settings["execution"]),
        reason=report.reason,
    )
    return replace(solution, report=judged, bounds=bounds)


def compare(
    instances: Sequence[GivenInstance],
    methods: Sequence[str] = ("gpipe", "uniform", "terapipe", "mocap", "joint"),
    **options: Any,
) -> pd.DataFrame:
    """Solve every instance with every method.

    All methods on an instance are set against the best bound that any of them proved, so that
    their gaps mean the same.

    Parameters
    ----------
    instances : sequence of Instance or mapping
    methods : sequence of str
    **options
        Passed on to `solve_with_each`, and so to `solve`.

    Returns
    -------
    pandas.DataFrame
        A row per instance and method with the fields of `mocap_opt.solving.report.Report`, and
        ``event_exceeds_lockstep``.
    """
    import pandas as pd  # noqa: PLC0415 - slow to import, and only this function needs it

    require_methods(methods)
    rows: list[dict[str, Any]] = []
    given = [as_instance(instance) for instance in instances]
    for instance in given:
        require_supported(instance, "compare")
    for instance in given:
        for solution in solve_with_each(instance, methods, **options):
            report = solution.report
            row = report.to_dict()
            slower = None
            if report.lockstep_latency_s is not None and report.event_latency_s is not None:
                slower = report.event_latency_s > report.lockstep_latency_s
            row["event_exceeds_lockstep"] = slower
            rows.append(row)
    return pd.DataFrame(rows)
