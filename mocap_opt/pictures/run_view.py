"""One execution of a schedule with all that pictures show of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from mocap_opt.instance.objectives import Objective
from mocap_opt.replay.activity import (
    Interval,
    Transfer,
    event_activity,
    event_transfers,
    lockstep_activity,
    lockstep_transfers,
)
from mocap_opt.replay.evaluation import Execution, assess_schedule, require_feasible
from mocap_opt.replay.event import run_event
from mocap_opt.replay.lockstep import run_lockstep
from mocap_opt.replay.usage import (
    Load,
    MemoryHistory,
    event_load,
    event_memory,
    lockstep_load,
    lockstep_memory,
)
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule, first_requests
from mocap_opt.solving.solution import Solution
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.units import format_seconds

SAMPLES = 240
"""Intervals into which an event-driven run is cut to show the load of links and ports."""


@dataclass(frozen=True, eq=False)
class RunView:
    """An execution of a schedule.

    Attributes
    ----------
    schedule : Schedule
        Of requests without end, the first ones.
    execution : Execution
    completion : tuple of Fraction, ticks
        When every request has left.
    intervals : tuple of Interval
        What every stage does.
    transfers : tuple of Transfer
        Remote reads and writes.
    memory : MemoryHistory
    load : Load
        Of links and ports: by slot in lockstep, by `SAMPLES` equal intervals otherwise.
    endless : bool
        Whether the requests come again without end.
    period : Fraction or None, ticks
        If they do; None where the execution is not seen to repeat.
    value : str or None
        What the execution comes to by the objective, in words; None where nobody said what is minimised.
    """

    schedule: Schedule
    execution: Execution
    completion: tuple[Fraction, ...]
    intervals: tuple[Interval, ...]
    transfers: tuple[Transfer, ...]
    memory: MemoryHistory
    load: Load
    endless: bool = False
    period: Fraction | None = None
    value: str | None = None

    @property
    def tables(self) -> Tables:
        """Of the first request, for what all share."""
        return self.schedule.machine

    @property
    def plan(self) -> Plan:
        """The plan of the only request; ValueError if there are several."""
        return self.schedule.plan

    @property
    def chunks(self) -> tuple[tuple[int, int], ...]:
        """Of every chunk, as they are numbered through all requests, its request's place and its own."""
        return tuple((n, j) for n, request in enumerate(self.schedule) for j in range(request.plan.chunks))

    @property
    def latency(self) -> Fraction:
        """When the last request has left, ticks."""
        return max(self.completion)

    @property
    def headline(self) -> str:
        """What the execution comes to, and which it is."""
        if self.value is not None:
            return f"{self.value} {self.execution.value}".lstrip()
        if not self.endless:
            return f"{format_seconds(self.latency_s)} {self.execution.value}"
        period = "" if self.period is None else f"period {format_seconds(self.tables.seconds(self.period))} "
        return f"{period}{self.execution.value}"

    @property
    def latency_s(self) -> float:
        """The latency, seconds."""
        return self.tables.seconds(self.latency)


def view_run(tables: Tables, plan: Plan, execution: Execution | None = None) -> RunView:
    """`view_schedule` of one request.

    Parameters
    ----------
    tables : Tables
    plan : Plan
    execution : Execution, optional
        See `view_schedule`.
    """
    return view_schedule(Schedule.of(tables, plan), execution)


def view_schedule(schedule: Schedule, execution: Execution | None = None) -> RunView:
    """Execute a schedule and gather what there is to see.

    Of a request that comes again without end as many are executed as are on the wafer at once, and
    `STEADY_REQUESTS` more.

    Parameters
    ----------
    schedule : Schedule
    execution : Execution, optional
        Default: the one whose last request leaves earlier, or of requests without end the one of the
        reported period.

    Raises
    ------
    InfeasiblePlanError
        If the schedule is not feasible; check with `mocap_opt.schedule.verify.schedule_violations` first.
    """
    if schedule.interval is not None:
        whole = assess_schedule(schedule)
        execution = execution or whole.execution
        period = whole.value_in(execution)
        return replace(view_schedule(first_requests(schedule), execution), endless=True, period=period)
    require_feasible(schedule)
    if execution is not Execution.EVENT:
        lockstep = run_lockstep(schedule)
        if execution is None and run_event(schedule).latency < lockstep.latency:
            return view_schedule(schedule, Execution.EVENT)
        return RunView(
            schedule,
            Execution.LOCKSTEP,
            tuple(map(Fraction, lockstep.completion)),
            lockstep_activity(lockstep),
            lockstep_transfers(lockstep),
            lockstep_memory(lockstep),
            lockstep_load(lockstep),
        )
    event = run_event(schedule, log=True)
    edges = np.linspace(0.0, float(event.latency), SAMPLES + 1)
    return RunView(
        schedule,
        Execution.EVENT,
        event.completion,
        event_activity(schedule, event),
        event_transfers(event),
        event_memory(schedule, event),
        event_load(schedule.machine, event, edges),
    )


def view_answer(answer: Solution, execution: Execution | None = None, pipeline: int | None = None) -> RunView:
    """Execute an answer's schedule, with what its objective makes of it.

    Parameters
    ----------
    answer : Solution
        With a plan that breaks no rule.
    execution : Execution, optional
        Default: the reported one.
    pipeline : int, optional
        Whose stream; default: of the pipeline with the most slots.

    Raises
    ------
    ValueError
        If it has no such plan.
    KeyError
        If the pipeline has nothing to do.
    """
    report = answer.report
    streams = dict(answer.streams)
    if not streams or report.execution is None:
        raise ValueError("an answer without a plan cannot be shown")
    if pipeline is None:
        pipeline = max(streams, key=lambda n: streams[n].slots) if answer.assignment is not None else 0
    execution = execution or Execution(report.execution)
    value = report.lockstep_value_s if execution is Execution.LOCKSTEP else report.event_value_s
    record = Objective(report.objective).record
    text = "" if value is None else f"{record.words} {record.text(value)}"
    if answer.assignment is not None:
        text += f", pipeline {pipeline} of {len(answer.assignment.pipelines)}"
    return replace(view_schedule(streams[pipeline], execution), value=text)
