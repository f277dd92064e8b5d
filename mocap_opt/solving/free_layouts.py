"""Answers to instances that leave their layout open: a plan with its layout, and bounds over all layouts."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from mocap_opt.bounds import Bound, Evidence, Scope
from mocap_opt.errors import InputError, Problem
from mocap_opt.instance import Instance
from mocap_opt.instance.objectives import Objective, objective_of
from mocap_opt.memory_budget import memory_budget
from mocap_opt.messages import show
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.answerer import ONE_LAYOUT, BoundsFound
from mocap_opt.solving.latency import LatencyAnswerer
from mocap_opt.solving.layout_leaves import ALL_LAYOUTS
from mocap_opt.solving.layout_search import LayoutSearch, covered
from mocap_opt.solving.report import Report
from mocap_opt.solving.solution import Query, Solution
from mocap_opt.units import format_percent

NO_LAYOUT = "no layout with a feasible plan was found"
NO_PLAN = "no plan of any layout fits the pooled memory, or keeps to the limits on chunks: proved for "


def solve_free(instance: Instance, query: Query) -> Solution:
    """Find a layout and a plan, and say how far from the best of all layouts they are.

    Parameters
    ----------
    instance : Instance
        That leaves something of its pipeline open.
    query : Query
        What it knows is an answer to the same instance, whose layout and plan the search begins with.

    Returns
    -------
    Solution
        Of the instance with the best layout found; its bounds and its gap hold for all layouts.
    """
    _require_latency(instance)
    search = LayoutSearch(instance, query)
    with memory_budget(query.asked.memory_budget_bytes):
        search.run()
    best, summary = search.best, search.summary()
    if best is None or best.solution is None:
        return _without_plan(instance, query, search)
    assert best.instance is not None
    answer = best.solution
    bound = _bound(search, answer.tables.tick_s, best.value_s)
    settled = LatencyAnswerer(best.instance, answer.tables).against(answer, [bound], None, None)
    report = settled.report
    saves = report.figures.get("refinement_saves")
    grid = {
        "refinement_bound_s": None,
        "refinement_saves": None,
        "refinement_unknown": "over all layouts"
        + ("" if saves is None else f"; of the plan's layout at most {format_percent(saves)}"),
    }
    report = replace(
        report,
        runtime_s=query.deadline.elapsed_s,
        notes=[note for note in report.notes if note != ONE_LAYOUT],
        figures={**report.figures, **grid, "layouts": {"layout": str(best.shape), **summary}},
        settings={**report.settings, "time_limit_s": query.asked.time_limit_s},
    )
    return replace(settled, report=report)


def bound_free(instance: Instance, query: Query) -> BoundsFound:
    """Bound every layout: `mocap_opt.solving.api.bound` of an instance that leaves some open.

    Parameters
    ----------
    instance : Instance
    query : Query
    """
    _require_latency(instance)
    search = LayoutSearch(instance, query)
    query.on_bound("layouts")
    search.bound()
    tables = search.tables
    return tables, [_bound(search, tables.tick_s, None)], None


def _require_latency(instance: Instance) -> None:
    """Refuse objectives whose bounds hold for one layout only.

    Raises
    ------
    InputError
        If the instance asks for something else than the latency of one prompt.
    """
    if objective_of(instance) is not Objective.LATENCY:
        field = instance.pipeline.open_fields[0]
        expected = "a value where the objective is not the latency of one prompt"
        found = show(getattr(instance.pipeline, field))
        remedy = 'give it, or write objective "latency"'
        raise InputError([Problem(f"pipeline.{field}", found, expected, remedy)])


def _bound(search: LayoutSearch, tick: Fraction, value: Fraction | None) -> Bound:
    """The bound over all layouts, rounded down to ticks."""
    known = search.bound_s
    if known is None or (value is not None and value < known):
        # What was set aside is no better than the best plan, which itself is one of all layouts.
        known = value or Fraction(0)
    held = covered(search.instance)
    return Bound(ALL_LAYOUTS, int(known / tick), Scope.ANY_EXECUTION, Evidence.SEARCH, held)


def _without_plan(instance: Instance, query: Query, search: LayoutSearch) -> Solution:
    """What is known where no layout has a plan."""
    none = not search.heap and not search.stuck
    report = Report(
        instance=instance.name,
        fingerprint=instance.fingerprint,
        objective=Objective.LATENCY.value,
        method="joint" if query.asked.method == "auto" else query.asked.method,
        status=Status.INFEASIBLE if none else Status.UNKNOWN,
        reason=NO_PLAN + covered(instance) if none else NO_LAYOUT,
        runtime_s=query.deadline.elapsed_s,
        figures={"layouts": search.summary()},
    )
    return Solution(report, None, None, (), search.tables)
