"""A period search as an answer in seconds, and periodic plans as files."""

from __future__ import annotations

from typing import Any

from mocap_opt.bounds import Scope
from mocap_opt.lower_bound import best as best_bound
from mocap_opt.replay.evaluation import PeriodAssessment
from mocap_opt.schedule.plan_file import plan_to_dict
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.period_search import MethodPeriod, PeriodSearch
from mocap_opt.solving.report import relative_gap
from mocap_opt.tables.cost_tables import Tables


def assessment_fields(tables: Tables, found: PeriodAssessment | None) -> dict[str, Any]:
    """What is reported of a periodic plan, seconds; every field None without one.

    Parameters
    ----------
    tables : Tables
        Of the instance, for ticks and pages.
    found : PeriodAssessment or None
    """
    if found is None:
        names = (
            "period_s requests_per_s execution request_latency_s lockstep_period_s event_period_s "
            "event_steady chunks slots idle_slots boundaries homes"
        )
        return dict.fromkeys(names.split())
    plan, period = found.periodic.plan, tables.seconds(found.period)
    event = found.event.period
    return {
        "period_s": period,
        "requests_per_s": 1 / period if period else None,
        "execution": found.execution.value,
        "request_latency_s": tables.seconds(found.latency),
        "lockstep_period_s": tables.seconds(found.lockstep.period),
        "event_period_s": None if event is None else tables.seconds(event),
        "event_steady": found.event.steady,
        "chunks": plan.chunks,
        "slots": found.periodic.slots,
        "idle_slots": found.periodic.idle,
        "boundaries": list(plan.boundaries),
        "homes": plan_to_dict(plan, "", tables)["homes"],
    }


def method_row(tables: Tables, method: MethodPeriod) -> dict[str, Any]:
    """One method in the table of methods, times in seconds.

    Parameters
    ----------
    tables : Tables
        Of the instance, for ticks and pages.
    method : MethodPeriod
    """
    fields = assessment_fields(tables, method.assessment)
    kept = ("period_s", "requests_per_s", "execution", "request_latency_s", "chunks", "slots", "idle_slots")
    return {"method": method.name, **{name: fields[name] for name in kept}, "reason": method.reason or None}


def report_fields(search: PeriodSearch, name: str, fingerprint: str) -> dict[str, Any]:
    """The answer of a search, as JSON holds it; unknown is None.

    Parameters
    ----------
    search : PeriodSearch
    name, fingerprint : str
        Of the instance.
    """
    tables, headline = search.tables, search.headline
    gap = None if search.best is None else relative_gap(search.best.period, headline)
    lockstep = best_bound(search.bounds, {Scope.ANY_EXECUTION, Scope.LOCKSTEP})
    status, lockstep_gap = Status.UNKNOWN, None
    if search.infeasible is not None:
        status = Status.INFEASIBLE
    elif search.best is not None:
        status = Status.OPTIMAL if gap is not None and gap <= search.gap else Status.FEASIBLE
        if lockstep is not None:
            lockstep_gap = relative_gap(search.best.lockstep.period, lockstep)
    reason = search.infeasible
    if search.best is None and reason is None:
        one = search.methods[0].reason if len(search.methods) == 1 else ""
        reason = one or "no feasible plan found; the table of methods says why"
    return {
        "instance": name,
        "fingerprint": fingerprint,
        "objective": "period",
        "status": status.value,
        "reason": reason,
        **assessment_fields(tables, search.best),
        "found_by": search.found_by,
        "lower_bound_s": None if headline is None else tables.seconds(headline.ticks),
        "bound_name": None if headline is None else headline.name,
        "bound_evidence": None if headline is None else headline.evidence.value,
        "gap": gap,
        "lockstep_bound_s": None if lockstep is None else tables.seconds(lockstep.ticks),
        "lockstep_gap": lockstep_gap,
        "methods": [method_row(tables, method) for method in search.methods],
        "notes": list(search.notes),
        "runtime_s": search.deadline.elapsed_s,
    }
