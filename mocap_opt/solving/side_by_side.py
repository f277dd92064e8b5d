"""Plans or methods side by side on one instance, all set against the same bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mocap_opt.bounds import lower_bounds
from mocap_opt.replay.evaluation import Assessment
from mocap_opt.schedule.plan import Plan
from mocap_opt.solving.comparison import solve_with_each
from mocap_opt.solving.latency import evaluate
from mocap_opt.solving.report import Report
from mocap_opt.tables.cost_tables import Tables

if TYPE_CHECKING:
    from mocap_opt.instance import Instance


@dataclass(frozen=True)
class Contender:
    """A plan or a method with what came of it.

    Attributes
    ----------
    name : str
        The method, or what a given plan is called.
    report : Report
    assessment : Assessment or None
        The plan and its replays; None if there is no feasible plan.
    """

    name: str
    report: Report
    assessment: Assessment | None


def judge_plans(instance: Instance, tables: Tables, plans: Sequence[tuple[str, Plan]]) -> list[Contender]:
    """Verify and replay given plans.

    Parameters
    ----------
    instance : Instance
    tables : Tables
        Of `instance`.
    plans : sequence of (str, Plan)
        Each with a name.
    """
    bounds = lower_bounds(tables)
    judged = [(name, evaluate(instance, plan, tables=tables, bounds=bounds)) for name, plan in plans]
    return [Contender(name, solution.report, solution.assessment) for name, solution in judged]


def run_methods(instance: Instance, methods: Sequence[str], **options: Any) -> list[Contender]:
    """Run methods; all gaps are against the best bound that any of them proved.

    Parameters
    ----------
    instance : Instance
    methods : sequence of str
    **options
        Passed on to `mocap_opt.solve`.
    """
    solutions: list[Any] = solve_with_each(instance, methods, **options)
    return [Contender(name, s.report, s.assessment) for name, s in zip(methods, solutions, strict=True)]
