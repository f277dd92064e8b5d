"""Explain a solution: what binds, why the bound stops, what a little more of each resource would bring."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mocap_opt.bounds import best
from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.objectives import require_supported
from mocap_opt.questions.explain.binding import binding
from mocap_opt.questions.explain.changes import Change, changes
from mocap_opt.questions.explain.losses import paid_by_rule, told_bounds, verdict
from mocap_opt.questions.explain.result import Explanation
from mocap_opt.questions.explain.worth import Worth, judged, worth
from mocap_opt.replay.evaluation import Assessment, Execution
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.api import answerer_of, solve
from mocap_opt.solving.report import covering
from mocap_opt.solving.solution import Solution, wanted_execution
from mocap_opt.stopping import Deadline

if TYPE_CHECKING:
    from mocap_opt.instance import Instance

EACH_S = 3.0
"""Wall time for every change, seconds."""

INTERRUPTED = "not tried: interrupted"
"""Why nothing is known of a change that was not begun."""


def explain(
    solution: Solution,
    *,
    known: Solution | None = None,
    each_s: float = EACH_S,
    gap: float = 1e-4,
    seed: int = 0,
    stop: threading.Event | None = None,
    tell: Callable[[str], None] = lambda doing: None,
) -> Explanation:
    """Say why a plan takes as long as it does, what would make it faster, and why the bound stops.

    Parameters
    ----------
    solution : Solution
        Of one prompt, as `mocap_opt.solve` and `mocap_opt.evaluate` give it.
    known : Solution, optional
        The best answer known to the same instance with the same layout: its bounds count too.  By
        default one is looked for within `each_s` where `solution` is not proved best.
    each_s : float
        Wall time for every change to the instance that is solved, seconds; 0 leaves changes out.
    gap : float
        Tolerance at which a changed instance counts as solved.
    seed : int
        For the changed instances.
    stop : threading.Event, optional
        Set it from outside to stop early with what is known.
    tell : callable
        Told in words what is being done.

    Returns
    -------
    Explanation
        ``print`` shows it as text, notebooks as tables; ``to_dict()`` has every figure.

    Raises
    ------
    InputError
        If the objective is another one than the latency of a prompt, or only tables are known.

    Examples
    --------
    >>> import mocap_opt
    >>> solution = mocap_opt.solve(mocap_opt.load_instance("instances/tiny-slow-link.json"))
    >>> found = mocap_opt.explain(solution, each_s=0)
    >>> found.to_dict()["critical_path"][1]["cause"]
    'sending activations'
    """
    instance = solution.instance
    if instance is None:
        raise InputError([Problem("solution", "one of tables alone", "one of an instance")])
    require_supported(instance, "explain")
    assessment = solution.assessment
    if assessment is None or solution.report.execution is None:
        return Explanation(solution)
    plan = assessment.plan
    execution = Execution(solution.report.execution)
    wanted = wanted_execution(solution.report.settings.get("execution", "best"))
    asked: dict[str, Any] = {"seed": seed, "gap": gap}
    asked["execution"] = "lockstep" if wanted is Execution.LOCKSTEP else "best"
    notes: list[str] = []
    if instance.pipeline.free or instance.decided is not None:
        notes.append("the layout is decided: changes are to the instance with that layout")
        if instance.pipeline.free and plan.layout is not None:
            instance = instance.with_layout(plan.layout)
    elif known is None and each_s > 0 and solution.report.status is not Status.OPTIMAL:
        tell("a better plan")
        known = solve(instance, time_limit_s=each_s, stop=stop, known=solution, **asked)
    if known is not None:
        bounds = (*solution.lower_bounds, *known.lower_bounds)
        solution = answerer_of(instance, solution.tables).against(solution, bounds, None, None)
    tell("what binds")
    found = _told(solution, assessment, execution, notes)
    if each_s <= 0:
        return found
    tried = _worths(solution, known or solution, instance, Deadline(None, stop), each_s, tell, asked)
    return replace(found, worths=tried)


def _told(
    solution: Solution, assessment: Assessment, execution: Execution, notes: Sequence[str]
) -> Explanation:
    """What needs no other solve."""
    held, tables, bounds = binding(assessment, execution), solution.tables, solution.lower_bounds
    wanted = wanted_execution(solution.report.settings.get("execution", "best"))
    parts = paid_by_rule(tables, assessment.plan, held.latency)
    return Explanation(
        solution,
        held,
        parts,
        told_bounds(tables, bounds, held.latency),
        tuple(verdict(held.latency, bounds, best(bounds, covering(wanted)), parts)),
        notes=tuple(notes),
    )


def _worths(
    solution: Solution,
    again: Solution,
    instance: Instance,
    deadline: Deadline,
    each_s: float,
    tell: Callable[[str], None],
    asked: dict[str, Any],
) -> tuple[Worth, ...]:
    """What every change brings; first the best answer known to the instance as it is."""
    assert solution.plan is not None
    assert solution.report.value_s is not None
    unchanged = Change("none", "none: a better plan")
    found = [judged(unchanged, again, solution.report.value_s, solution.report)]
    for change in changes(instance):
        if deadline.interrupted:
            found.append(Worth(change, why_not=change.why_not or INTERRUPTED))
            continue
        tell(change.words)
        found.append(
            worth(
                instance,
                change,
                solution.plan,
                solution.report.value_s,
                time_limit_s=each_s,
                stop=deadline.stop,
                **asked,
            )
        )
    return tuple(found)
