"""Answer requests without end: the time from one to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mocap_opt.bounds import Bound, Infeasibility, prove_infeasible
from mocap_opt.bounds.period import ROUNDS, period_bounds
from mocap_opt.instance.objectives import Objective
from mocap_opt.replay.evaluation import Assessment, Execution
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.schedule_file import period_from_dict
from mocap_opt.solving.answerer import Answerer, BoundsFound
from mocap_opt.solving.incumbent import Trial
from mocap_opt.solving.methods import JOINT_METHODS
from mocap_opt.solving.period_search import (
    NO_ROOM,
    MethodPeriod,
    best_period,
    search_of_method,
    without_room,
)
from mocap_opt.solving.solution import Found, Query
from mocap_opt.stopping import STOPPED
from mocap_opt.tables.cost_tables import require_bounded_queues


class PeriodAnswerer(Answerer):
    """Answers identical requests without end."""

    objective = Objective.PERIOD
    of_search: ClassVar[Mapping[str, Any]] = {"methods": []}

    def search(self, query: Query) -> Found:
        """Find a periodic plan of least period, or repeat a heuristic's plan.

        Raises
        ------
        InputError
            If queues are unbounded, or there is no such method.
        """
        asked, deadline, callback, tables = query.asked, query.deadline, query.callback, self.tables
        if asked.method in JOINT_METHODS:
            search = best_period(
                tables,
                deadline=deadline,
                gap=asked.gap,
                seed=asked.seed,
                solver=asked.solver,
                threads=asked.threads,
                callback=callback,
            )
        else:
            search = search_of_method(
                tables, asked.method, deadline=deadline, gap=asked.gap, callback=callback
            )
        one = search.methods[0].reason if len(search.methods) == 1 else ""
        return Found(
            tables=tables,
            best=search.best,
            bounds=search.bounds,
            infeasible=search.infeasible,
            reason=one or "no feasible plan found; the table of methods says why",
            found_by=search.found_by,
            notes=search.notes,
            trials=[_trial(method) for method in search.methods],
            figures={"methods": [_method_row(method) for method in search.methods]},
        )

    def read(self, plan: Any) -> Schedule:
        """Take a schedule with an interval, or a plan file with ``slots``; see `Answerer.read`."""
        return period_from_dict(plan, self.tables)

    def quick_bounds(self) -> Sequence[Bound]:
        """Bounds over all spacings; see `Answerer.quick_bounds`."""
        return period_bounds(self.tables)[0]

    def bound(self, query: Query) -> BoundsFound:
        """Bound the period over all spacings; quickly, weights are not sharpened; see `Answerer.bound`."""
        tables = self.tables
        require_bounded_queues(tables)
        query.on_bound("bounds on the period")
        impossible = prove_infeasible(tables, query.deadline)
        found: list[Bound] = []
        if impossible is None:
            found, by_slots = period_bounds(tables, query.deadline, 0 if query.quick else ROUNDS)
            if without_room(by_slots):
                found, impossible = [], Infeasibility(None, None, 0, NO_ROOM)
        if query.deadline.expired:
            query.on_note(STOPPED)
        return tables, sorted(found, key=lambda each: each.ticks), impossible

    def figures(self, found: Assessment | None, bound: Bound | None) -> dict[str, Any]:
        """Rate, latency of a request, slots; see `Answerer.figures`.

        Parameters
        ----------
        found, bound
            As there.
        """
        return _figures(found)


def _figures(found: Assessment | None) -> dict[str, Any]:
    names = ("requests_per_s", "request_latency_s", "event_steady", "chunks", "slots", "idle_slots")
    if found is None:
        return dict.fromkeys(names)
    schedule = found.schedule
    period = schedule.machine.seconds(found.period)
    rate = 1 / period if period else None
    latency = schedule.machine.seconds(found.latency)
    steady = found.value_in(Execution.EVENT) is not None
    values = (rate, latency, steady, schedule.plan.chunks, schedule.slots, schedule.idle)
    return dict(zip(names, values, strict=True))


def _method_row(method: MethodPeriod) -> dict[str, Any]:
    """One method in the table of methods, times in seconds."""
    found = method.assessment
    seconds = None if found is None else found.schedule.machine.seconds(found.period)
    kept = ("requests_per_s", "request_latency_s", "chunks", "slots", "idle_slots")
    figures = _figures(found)
    return {
        "method": method.name,
        "period_s": seconds,
        "execution": None if found is None else found.execution.value,
        **{name: figures[name] for name in kept},
        "reason": method.reason or None,
    }


def _trial(method: MethodPeriod) -> Trial:
    found = method.assessment
    if found is None:
        return Trial(method.name)
    return Trial(method.name, found.value_in(Execution.LOCKSTEP), found.value_in(Execution.EVENT))


ANSWERER = PeriodAnswerer
