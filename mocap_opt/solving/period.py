"""Answer an instance whose objective is the period: find a periodic plan, or judge a given one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mocap_opt.bounds import Bound, Infeasibility, prove_infeasible
from mocap_opt.bounds.period import ROUNDS, period_bounds
from mocap_opt.replay.evaluation import assess_period
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.schedule_file import period_from_dict
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.solving.incumbent import Progress
from mocap_opt.solving.methods import JOINT_METHODS
from mocap_opt.solving.period_report import report_fields
from mocap_opt.solving.period_search import (
    NO_ROOM,
    TIME_LIMIT_S,
    PeriodSearch,
    best_period,
    search_of_method,
    without_room,
)
from mocap_opt.solving.report import relative_gap
from mocap_opt.stopping import STOPPED, Deadline
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

    @property
    def row(self) -> dict[str, Any]:
        """The report as plain values."""
        return self.report

    @property
    def schedule(self) -> Schedule | None:
        """The best plan found."""
        return self.periodic

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """Every bound on the period."""
        return tuple(self.search.bounds)


def solve(
    instance: Instance,
    method: str = "auto",
    *,
    solver: str = "auto",
    time_limit_s: float | None = None,
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
    time_limit_s : float, optional
        Wall time, seconds; 60 by default.
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
    deadline = Deadline(TIME_LIMIT_S if time_limit_s is None else time_limit_s, stop)
    tables = build_tables(instance)
    if method in JOINT_METHODS:
        search = best_period(tables, deadline=deadline, gap=gap, seed=seed, solver=solver, callback=callback)
    else:
        search = search_of_method(tables, method, deadline=deadline, gap=gap, callback=callback)
    return _solution(instance, search, "joint" if method == "auto" else method)


def evaluate(instance: Instance, plan: Schedule | Mapping[str, Any]) -> PeriodSolution:
    """Verify and replay a given periodic plan, and set it against the bounds.

    Parameters
    ----------
    instance : Instance
    plan : Schedule or mapping
        A mapping is what a plan file with ``slots`` holds.

    Raises
    ------
    InputError
        If it is not a periodic plan, or queues are unbounded.
    """
    tables = build_tables(instance)
    periodic = period_from_dict(plan, tables)
    search, broken = PeriodSearch(tables), schedule_violations(periodic)
    if broken:
        search.infeasible = "; ".join(str(violation) for violation in broken)
    else:
        search.best = assess_period(periodic)
        search.bounds = period_bounds(tables)[0]
    return _solution(instance, search)


def bound(
    instance: Instance,
    *,
    quick: bool = False,
    time_limit_s: float | None = None,
    stop: threading.Event | None = None,
    on_note: Callable[[str], None] = lambda note: None,
    on_bound: Callable[[str], None] = lambda name: None,
) -> tuple[Tables, list[Bound], Infeasibility | None]:
    """Bound the period over all spacings, or prove that no periodic plan exists.

    Parameters
    ----------
    instance : Instance
    quick : bool
        Leave out what needs a solver: weights are not sharpened then.
    time_limit_s, stop, on_note, on_bound
        As for `mocap_opt.bound`.

    Raises
    ------
    InputError
        If queues are unbounded.
    """
    deadline = Deadline(TIME_LIMIT_S if time_limit_s is None else time_limit_s, stop)
    tables = build_tables(instance)
    require_bounded_queues(tables)
    on_bound("bounds on the period")
    impossible = prove_infeasible(tables, deadline)
    found: list[Bound] = []
    if impossible is None:
        found, by_slots = period_bounds(tables, deadline, 0 if quick else ROUNDS)
        if without_room(by_slots):
            found, impossible = [], Infeasibility(None, None, 0, NO_ROOM)
    if deadline.expired:
        on_note(STOPPED)
    return tables, sorted(found, key=lambda each: each.ticks), impossible


def against(
    instance: Instance, answer: PeriodSolution, bounds: Sequence[Bound], proof: str | None, reason: str | None
) -> PeriodSolution:
    """Set an answer against other bounds; for `mocap_opt.solving.comparison`.

    Parameters
    ----------
    instance : Instance
    answer : PeriodSolution
    bounds : sequence of Bound
    proof : str or None
        Why there is no plan, if that is proved.
    reason : str or None
        What kept the method from going on, if something did.

    Raises
    ------
    BoundBeatenError
        If the plan beats a bound.
    """
    search = copy(answer.search)
    search.bounds = list(bounds)
    if search.best is None:
        search.infeasible = search.infeasible or proof
    else:
        relative_gap(search.best.period, search.headline)
    row = answer.report
    found = _solution(instance, search, row["method"])
    kept = {"runtime_s": row["runtime_s"]} | ({} if reason is None else {"reason": reason})
    return replace(found, report={**found.report, **kept})


def _solution(instance: Instance, search: PeriodSearch, method: str | None = None) -> PeriodSolution:
    fields = {**report_fields(search, instance.name, instance.fingerprint), "method": method}
    periodic = None if search.best is None else search.best.periodic
    if periodic is not None:
        plan = replace(periodic.plan, fingerprint=instance.fingerprint)
        periodic = Schedule.of(search.tables, plan, periodic.interval)
    return PeriodSolution(fields, periodic, search)
