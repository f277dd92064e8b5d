"""A period search as an answer in seconds, and periodic plans as files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from mocap_opt.bounds import Scope
from mocap_opt.errors import InputError, Problem
from mocap_opt.files import read_json, write_text_atomically
from mocap_opt.lower_bound import best as best_bound
from mocap_opt.messages import show
from mocap_opt.replay.period_evaluation import PeriodAssessment
from mocap_opt.schedule.plan_file import MAX_BYTES, plan_from_dict, plan_to_dict
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.solvers.outcome import Status, relative_gap
from mocap_opt.solving.period_search import MethodPeriod, PeriodSearch
from mocap_opt.tables.cost_tables import Tables


def assessment_fields(tables: Tables, found: PeriodAssessment | None) -> dict[str, Any]:
    """What is reported of a periodic plan, seconds; every field None without one."""
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
    """One method in the table of methods."""
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
    tables, headline, gap = search.tables, search.headline, search.current_gap
    lockstep = best_bound(search.bounds, {Scope.ANY_EXECUTION, Scope.LOCKSTEP})
    status, lockstep_gap = Status.UNKNOWN, None
    if search.infeasible is not None:
        status = Status.INFEASIBLE
    elif search.best is not None:
        status = Status.OPTIMAL if gap is not None and gap <= search.gap else Status.FEASIBLE
        if lockstep is not None:
            lockstep_gap = relative_gap(search.best.lockstep.period, lockstep.ticks)
    reason = search.infeasible
    if search.best is None and reason is None:
        reason = "no feasible plan found; the table of methods says why"
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


def save_periodic_plan(path: str | os.PathLike[str], periodic: Schedule, name: str, tables: Tables) -> None:
    """Write a plan file with ``slots``, whole or not at all.

    Raises
    ------
    InputError
        If the place cannot be written.
    """
    data = {**plan_to_dict(periodic.plan, name, tables), "slots": periodic.slots}
    write_text_atomically(path, json.dumps(data, indent=2) + "\n")


def load_periodic_plan(path: str | os.PathLike[str], tables: Tables) -> Schedule:
    """Read a plan file with ``slots``, the slots between requests.

    Raises
    ------
    InputError
        Listing every problem, each with the file's name.
    """
    try:
        return periodic_plan(read_json(path, max_bytes=MAX_BYTES), tables)
    except InputError as error:
        source = ascii(os.fspath(path))[1:-1]
        raise InputError(
            [Problem(f"{source}: {p.path}", p.found, p.expected, p.remedy) for p in error.problems]
        ) from None


def periodic_plan(given: Schedule | Mapping[str, Any], tables: Tables) -> Schedule:
    """Return a periodic plan, read from what a file holds if it is not one already.

    Raises
    ------
    InputError
        Listing every problem.
    """
    if isinstance(given, Schedule):
        return given
    if not isinstance(given, Mapping):
        remedy = "Schedule.of(tables, plan, slots)"
        raise InputError([Problem("plan", type(given).__name__, "a periodic plan or a mapping", remedy)])
    data = dict(given)
    slots = data.pop("slots", None)
    problems = []
    if isinstance(slots, bool) or not isinstance(slots, int) or slots < 1:
        found = "nothing" if slots is None else show(slots)
        remedy = "the slots between requests; a plan made for the objective period has them"
        problems.append(Problem("slots", found, "a whole number >= 1", remedy))
    plan = None
    try:
        plan = plan_from_dict(data, tables)
    except InputError as error:
        problems += error.problems
    if problems or plan is None or not isinstance(slots, int):
        raise InputError(problems)
    return Schedule.of(tables, plan, slots)
