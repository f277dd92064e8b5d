"""What a change would bring: the changed instance is solved anew, and bounded anew.

No bound of the instance as it is stands for a changed one.  The plan that is explained is replayed on the
changed instance where it may run there, and the better of that and of what is found counts.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mocap_opt.errors import InputError
from mocap_opt.questions.explain.changes import Change
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.api import evaluate, solve

if TYPE_CHECKING:
    from mocap_opt.instance import Instance
    from mocap_opt.solving.report import Report
    from mocap_opt.solving.solution import Solution


@dataclass(frozen=True)
class Worth:
    """What a change brings.

    Attributes
    ----------
    change : Change
    value_s : float or None
        Latency of the best plan found for the changed instance.
    lower_bound_s : float or None
        Below which no plan of the changed instance comes.
    at_least, at_most : float or None
        Parts of the explained latency that it saves: by the plan, and by the bound.
    closed : bool
        Whether the plan is proved best for the changed instance.
    why_not : str
        Why nothing is known; ``""`` otherwise.
    """

    change: Change
    value_s: float | None = None
    lower_bound_s: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    closed: bool = False
    why_not: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "change": self.change.name,
            "words": self.change.words,
            "overrides": list(self.change.overrides),
            "latency_s": self.value_s,
            "lower_bound_s": self.lower_bound_s,
            "saves_at_least": self.at_least,
            "saves_at_most": self.at_most,
            "proved_best": self.closed,
            "not_known": self.why_not or None,
        }


def worth(
    instance: Instance,
    change: Change,
    plan: Plan,
    now_s: float,
    *,
    execution: str,
    time_limit_s: float,
    seed: int,
    gap: float,
    stop: threading.Event | None,
) -> Worth:
    """Solve a variant.

    Parameters
    ----------
    instance : Instance
    change : Change
    plan : Plan
        That is explained.
    now_s : float
        Its latency, seconds.
    execution, time_limit_s, seed, gap, stop
        As for `mocap_opt.solving.api.solve`.
    """
    if change.why_not:
        return Worth(change, why_not=change.why_not)
    options: dict[str, Any] = {"execution": execution, "time_limit_s": time_limit_s, "seed": seed, "gap": gap}
    try:
        variant = instance.replace(*change.overrides)
        answer = solve(variant, stop=stop, **options)
    except InputError as error:
        if change.instead is not None and all(problem.path == "tick" for problem in error.problems):
            return worth(instance, change.instead, plan, now_s, stop=stop, **options)
        return Worth(change, why_not=f"not a valid instance: {error.problems[0]}")
    return judged(change, answer, now_s, _plan_known(variant, answer, change.carried(plan)))


def judged(change: Change, answer: Solution, now_s: float, known: Report | None = None) -> Worth:
    """Set an answer against the latency that is explained.

    Parameters
    ----------
    change : Change
    answer : Solution
        Of the changed instance.
    now_s : float
    known : Report, optional
        Of the plan that was known before, on the changed instance and against its bounds.
    """
    report = answer.report
    if report.status is Status.INFEASIBLE:
        return Worth(change, why_not=f"no plan exists then: {report.reason}")
    value, bound, closed = report.value_s, report.lower_bound_s, report.status is Status.OPTIMAL
    if known is not None:
        lockstep = report.settings.get("execution") == "lockstep"
        carried = known.lockstep_value_s if lockstep else known.value_s
        if carried is not None and (value is None or carried < value):
            value, closed = carried, known.status is Status.OPTIMAL and not lockstep
    return Worth(
        change,
        value,
        bound,
        None if value is None or not now_s else 1 - value / now_s,
        None if bound is None or not now_s else 1 - bound / now_s,
        closed,
        "" if value is not None or bound is not None else (report.reason or "time was up"),
    )


def _plan_known(variant: Instance, answer: Solution, plan: Plan) -> Report | None:
    """What the plan known before comes to in a variant, against its bounds; None if it may not run there."""
    tables = answer.tables
    there = all(home.memory < tables.memories and home.stage < tables.stages for home in plan.homes)
    if answer.report.status is Status.INFEASIBLE or not there or violations(tables, plan):
        return None
    return evaluate(variant, plan, tables=tables, bounds=answer.lower_bounds).report
