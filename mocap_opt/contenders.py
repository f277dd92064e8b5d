"""Plans or methods side by side on one instance, all set against the same bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mocap_opt.assess import Assessment, assess
from mocap_opt.bounds import Bound, lower_bounds
from mocap_opt.plan import Plan
from mocap_opt.report import Report, make_report
from mocap_opt.solving import solve
from mocap_opt.tables import Tables
from mocap_opt.verify import violations

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
    found: list[Contender] = []
    for name, plan in plans:
        broken = violations(tables, plan)
        assessment = None if broken else assess(tables, plan)
        notes = [str(violation) for violation in broken]
        if plan.fingerprint not in (None, instance.fingerprint):
            made_for = f"the plan was made for an instance with fingerprint {plan.fingerprint}"
            notes.insert(0, f"{made_for}, not {instance.fingerprint}")
        report = make_report(
            instance,
            tables,
            assessment,
            bounds,
            method=None,
            reason=f"the plan breaks {len(broken)} rule(s)" if broken else None,
            notes=notes,
            infeasible=bool(broken),
        )
        found.append(Contender(name, report, assessment))
    return found


def run_methods(instance: Instance, methods: Sequence[str], **options: Any) -> list[Contender]:
    """Run methods; all gaps are against the best bound that any of them proved.

    Parameters
    ----------
    instance : Instance
    methods : sequence of str
    **options
        Passed on to `mocap_opt.solve`.
    """
    solutions = [(name, solve(instance, name, **options)) for name in methods]
    known: list[Bound] = [bound for _, solution in solutions for bound in solution.bounds]
    found: list[Contender] = []
    for name, solution in solutions:
        report = solution.report
        if solution.assessment is not None:
            report = make_report(
                instance,
                solution.tables,
                solution.assessment,
                known,
                method=report.method,
                solver=report.solver,
                tolerance=float(report.settings["gap"]),
                runtime_s=report.runtime_s,
                build_s=report.build_s,
                solve_s=report.solve_s,
                notes=report.notes,
                settings=report.settings,
            )
        found.append(Contender(name, report, solution.assessment))
    return found
