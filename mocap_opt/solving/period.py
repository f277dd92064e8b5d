"""Answer an instance whose objective is the period: find a periodic plan, or judge a given one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mocap_opt.bounds import Bound, Infeasibility, prove_infeasible
from mocap_opt.bounds.period import ROUNDS, period_bounds
from mocap_opt.replay.evaluation import assess_period
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.schedule_file import period_from_dict
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.solving.incumbent import Progress
from mocap_opt.solving.latency import JOINT_METHODS
from mocap_opt.solving.period_report import report_fields
from mocap_opt.solving.period_search import (
    NO_ROOM,
    PeriodSearch,
    best_period,
    search_of_method,
    without_room,
)
from mocap_opt.stopping import Deadline
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables, require_bounded_queues

if TYPE_CHECKING:
    from mocap_opt.instance import Instance


@dataclass(frozen=True, eq=False)
class PeriodSolution:
    """An answer and all that stands behind it.

    Attributes
    ----------
    report : dict
        The answer in seconds and tokens, as `mocap_opt.solving.period_report.report_fields` says.
    periodic : Schedule or None
        The best plan found.
    search : PeriodSearch
        With every bound and every method tried.
    """

    report: dict[str, Any]
    periodic: Schedule | None
    search: PeriodSearch


def solve_period(
    instance: Instance,
    method: str = "auto",
    *,
    solver: str = "auto",
    time_limit_s: float = 60.0,
    gap: float = 1e-4,
    seed: int = 0,
    callback: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> PeriodSolution:
    """Find a periodic plan of least period.

    Parameters
    ----------
    instance : Instance
    method : str
        ``"auto"`` or ``"joint"``: everything; or one latency heuristic, whose plan is repeated with the
        fewest slots between requests that are feasible.
    solver : str
        Which one runs the programs: ``"highs"``, or ``"cpsat"``, which ``"auto"`` stands for.
    time_limit_s : float
        Wall time, seconds.
    gap : float
        Stop once (period - bound) / period is at most this.
    seed : int
        For the searches.
    callback : callable, optional
        Called with a `Progress` at every better period or bound; its ``latency_s`` is the period.
    stop : threading.Event, optional
        Set it from outside to stop early with the best plan so far.

    Raises
    ------
    InputError
        If queues are unbounded, or there is no such method.
    """
    deadline = Deadline(time_limit_s, stop)
    tables = build_tables(instance)
    if method in JOINT_METHODS:
        search = best_period(tables, deadline=deadline, gap=gap, seed=seed, solver=solver, callback=callback)
    else:
        search = search_of_method(tables, method, deadline=deadline, gap=gap, callback=callback)
    return _solution(instance, search)


def evaluate_period(instance: Instance, given: Schedule | Mapping[str, Any]) -> PeriodSolution:
    """Verify and replay a given periodic plan, and set it against the bounds.

    Parameters
    ----------
    instance : Instance
    given : Schedule or mapping
        A mapping is what a plan file with ``slots`` holds.

    Raises
    ------
    InputError
        If it is not a periodic plan, or queues are unbounded.
    """
    tables = build_tables(instance)
    periodic = period_from_dict(given, tables)
    search, broken = PeriodSearch(tables), schedule_violations(periodic)
    if broken:
        search.infeasible = "; ".join(str(violation) for violation in broken)
    else:
        search.best = assess_period(periodic)
        search.bounds = period_bounds(tables)[0]
    return _solution(instance, search)


def bound_period(
    tables: Tables, *, quick: bool = False, deadline: Deadline | None = None
) -> tuple[list[Bound], Infeasibility | None]:
    """Bound the period over all spacings, or prove that no periodic plan exists.

    Parameters
    ----------
    tables : Tables
    quick : bool
        Leave out what needs a solver: weights are not sharpened then.
    deadline : Deadline, optional
        What is proved by then stands.

    Raises
    ------
    InputError
        If queues are unbounded.
    """
    require_bounded_queues(tables)
    deadline = deadline or Deadline()
    impossible = prove_infeasible(tables, deadline)
    if impossible is not None:
        return [], impossible
    found, by_slots = period_bounds(tables, deadline, 0 if quick else ROUNDS)
    if without_room(by_slots):
        return [], Infeasibility(None, None, 0, NO_ROOM)
    return found, None


def _solution(instance: Instance, search: PeriodSearch) -> PeriodSolution:
    fields = report_fields(search, instance.name, instance.fingerprint)
    periodic = None if search.best is None else search.best.periodic
    if periodic is not None:
        plan = replace(periodic.plan, fingerprint=instance.fingerprint)
        periodic = Schedule.of(search.tables, plan, periodic.interval)
    return PeriodSolution(fields, periodic, search)
