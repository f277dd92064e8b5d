"""What a method comes to on one instance: period, finite run, longest prompt.

Every answer is a dict with the same keys (`ANSWER`); times are seconds, lengths tokens, unknown is None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mocap_opt.baselines import METHODS
from mocap_opt.questions.max_context import (
    LatencyLimit,
    LengthFamily,
    LongestPrompt,
    longest_equal,
    longest_prompt,
)
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.requests import build_requests
from mocap_opt.schedule.schedule import Schedule, identical_requests
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.api import answerer_of, solve
from mocap_opt.solving.period_search import best_period, period_of_method
from mocap_opt.solving.report import Report
from mocap_opt.stopping import Deadline
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

if TYPE_CHECKING:
    from mocap_opt.instance import Instance

JOINT = "joint"

COMPARED = ("gpipe", "uniform", "terapipe", "mocap")
"""Heuristics that the joint method is compared with, and whose plans it therefore always knows."""

NEAR = 0.02
"""Gap at which the joint method of a finite run does not look at plans for requests without end."""

LATENCY_FACTOR = Fraction(11, 10)
"""Times the latency of `mocap` with memory unlimited that the longest prompt may take."""

ON_EQUAL_CHUNKS = {"uniform": "uniform", "terapipe": "uniform", "mocap": "mocap", JOINT: JOINT}
"""Rule of homes on equal chunks: TeraPipe keeps KV where it is made."""


def answer(
    status: Status,
    value: float | None = None,
    bound: float | None = None,
    gap: float | None = None,
    chunks: int | None = None,
    found_by: str | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    """Build an answer.

    Parameters
    ----------
    status : Status
        ``optimal`` only if value and bound agree.
    value : float, optional
        Seconds or tokens.
    bound : float, optional
        On the value of any method: a lower one for seconds, an upper one for tokens.
    gap : float, optional
        Between them, relative to the larger.
    chunks : int, optional
        Of each request.
    found_by : str, optional
        The method whose plan the joint one returns.
    reason : str, optional
        Why there is no value.
    """
    return {
        "status": status.value,
        "value": value,
        "bound": bound,
        "gap": gap,
        "chunks": chunks,
        "found_by": found_by,
        "reason": reason,
    }


def answer_period(instance: Instance, method: str, time_limit_s: float) -> dict[str, Any]:
    """Seconds per request of identical requests without end.

    Parameters
    ----------
    instance : Instance
    method : str
    time_limit_s : float
        Wall time of the joint method, seconds.
    """
    tables = build_tables(instance)
    if method != JOINT:
        found = period_of_method(tables, method)
        if found.assessment is None:
            return answer(Status.UNKNOWN, reason=found.reason)
        plan = found.assessment.schedule.plan
        return answer(Status.FEASIBLE, tables.seconds(found.assessment.period), chunks=plan.chunks)
    search = best_period(tables, deadline=Deadline(time_limit_s))
    # On a busy machine the limit may pass before the search comes to a method it is compared with.
    tried = {each.name for each in search.methods}
    for name in () if search.infeasible else COMPARED:
        if name in tried:
            continue
        found = period_of_method(tables, name)
        if found.assessment is not None:
            search.judge(found.assessment.schedule, name)
    bound = None if search.headline is None else tables.seconds(search.headline.ticks)
    if search.best is None:
        status = Status.UNKNOWN if search.infeasible is None else Status.INFEASIBLE
        return answer(status, bound=bound, reason=search.infeasible or "no plan was found")
    gap, plan = search.current_gap, search.best.schedule.plan
    status = Status.OPTIMAL if gap is not None and gap <= search.gap else Status.FEASIBLE
    value = tables.seconds(search.best.period)
    return answer(status, value, bound, gap, plan.chunks, search.found_by)


def repeated(tables: Tables, plan: Plan, count: int) -> Schedule | None:
    """A plan for each of several identical requests, with the fewest slots between them that are feasible.

    Parameters
    ----------
    tables : Tables
        Of one request.
    plan : Plan
    count : int
        Of requests.

    Returns
    -------
    Schedule or None
        None if memory does not admit them even one after the other.
    """
    for spacing in range(plan.chunks, plan.chunks + tables.stages):
        sequence = identical_requests(tables, plan, count, spacing)
        if not schedule_violations(sequence):
            return sequence
    return None


def answer_run(instance: Instance, method: str, time_limit_s: float) -> dict[str, Any]:
    """Seconds until the last of the instance's identical requests has left.

    A heuristic repeats its plan for one request.  The joint method takes the best of those, of a plan
    for all requests together and, unless that is proved to be near the best, of a plan for requests
    without end.

    Parameters
    ----------
    instance, method, time_limit_s
        As for `answer_period`.
    """
    requests, judge = build_requests(instance), answerer_of(instance)
    tables = requests[0].tables
    found: list[tuple[str, Report]] = []
    reasons: list[str] = []
    for name in COMPARED if method == JOINT else (method,):
        sequence, reason = _sequence(tables, name, len(requests))
        if sequence is None:
            reasons.append(reason)
        else:
            found.append((name, judge.evaluate(sequence).report))
    if method == JOINT:
        planned = solve(instance, time_limit_s=time_limit_s).report
        if planned.value_s is not None:
            found.append(("stream planner", planned))
        if not any(report.gap is not None and report.gap <= NEAR for _, report in found):
            endless = best_period(tables, deadline=Deadline(time_limit_s / 2)).best
            if endless is not None:
                periodic = endless.schedule
                sequence = identical_requests(tables, periodic.plan, len(requests), periodic.slots)
                found.append(("period", judge.evaluate(sequence).report))
    known = [(report.value_s, name, report) for name, report in found if report.value_s is not None]
    if not known:
        return answer(Status.UNKNOWN, reason=reasons[0] if method != JOINT else "no sequence was found")
    makespan, name, best = min(known, key=lambda each: each[0])
    chunks = best.completions[0]["chunks"]
    return answer(best.status, makespan, best.lower_bound_s, best.gap, chunks, name)


def _sequence(tables: Tables, name: str, count: int) -> tuple[Schedule | None, str]:
    """A method's plan repeated, or why it cannot be."""
    proposal = METHODS[name].propose(tables)
    if proposal.plan is None:
        return None, proposal.reason
    sequence = repeated(tables, proposal.plan, count)
    if sequence is not None:
        return sequence, ""
    apart = identical_requests(tables, proposal.plan, count, proposal.plan.chunks + tables.stages - 1)
    return None, f"{schedule_violations(apart)[0].message}, however far apart requests are"


def answer_equal_length(instance: Instance, method: str, time_limit_s: float) -> dict[str, Any]:
    """Tokens of the longest prompt in exactly M equal chunks.

    Parameters
    ----------
    instance, method, time_limit_s
        As for `answer_period`; no time limit is needed.
    """
    if method not in ON_EQUAL_CHUNKS:
        return answer(Status.UNKNOWN, reason=f"{method} does not cut a prompt into equal chunks")
    return _longest(longest_equal(LengthFamily.of(instance), ON_EQUAL_CHUNKS[method]))


def answer_limited_length(instance: Instance, method: str, time_limit_s: float) -> dict[str, Any]:
    """Tokens of the longest prompt within `LATENCY_FACTOR` of what `mocap` takes with memory unlimited.

    Parameters
    ----------
    instance, method, time_limit_s
        As for `answer_period`.
    """
    family = LengthFamily.of(instance)
    limit = LatencyLimit(family, factor=LATENCY_FACTOR)
    return _longest(longest_prompt(family, method, limit, time_limit_s=time_limit_s))


def _longest(found: LongestPrompt) -> dict[str, Any]:
    bound, gap = float(found.upper_bound_tokens), found.gap
    if found.best is None:
        reason = "" if found.stopped_by is None else found.stopped_by.reason
        status = Status.INFEASIBLE if bound == 0 else Status.UNKNOWN
        return answer(status, bound=bound, reason=reason or "no plan was found")
    status = Status.FEASIBLE if gap else Status.OPTIMAL
    chunks = found.best.assessment.plan.chunks
    return answer(status, float(found.best.tokens), bound, gap, chunks, found.best.source)


ANSWERS: Mapping[str, Callable[[Instance, str, float], dict[str, Any]]] = {
    "paper-period": answer_period,
    "paper-run": answer_run,
    "paper-equal-length": answer_equal_length,
    "paper-limited-length": answer_limited_length,
}
"""By the kind of a study's run."""
