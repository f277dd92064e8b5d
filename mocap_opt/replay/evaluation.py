"""A schedule judged by both executions: the one accountant every method answers to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from mocap_opt.replay.event import EventReplay, run_event
from mocap_opt.replay.lockstep import LockstepReplay, run_lockstep
from mocap_opt.replay.steady_state import EventPeriod, run_steady
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.tables.cost_tables import Tables


class Execution(StrEnum):
    """Which of the two executions a latency belongs to."""

    LOCKSTEP = "lockstep"
    EVENT = "event-driven"


class InfeasiblePlanError(ValueError):
    """A plan that breaks a rule was about to be replayed; the message lists what it breaks."""


@dataclass(frozen=True)
class Assessment:
    """A feasible schedule and its two replays.

    Attributes
    ----------
    lockstep : LockstepReplay
    event : EventReplay or EventPeriod
        The latter of requests that come again without end.
    """

    lockstep: LockstepReplay
    event: EventReplay | EventPeriod

    @property
    def schedule(self) -> Schedule:
        """What was replayed."""
        return self.lockstep.schedule

    @property
    def plan(self) -> Plan:
        """The plan of the only request."""
        return self.schedule.plan

    def value_in(self, execution: Execution) -> Fraction | None:
        """When the last request has left in one execution, or without end the period, ticks.

        None where an event-driven run is not proved to repeat.
        """
        if isinstance(self.event, EventPeriod):
            return self.event.period if execution is Execution.EVENT else Fraction(self.lockstep.period)
        return Fraction((self.lockstep if execution is Execution.LOCKSTEP else self.event).latency)

    @property
    def execution(self) -> Execution:
        """The execution that is reported; lockstep where both are equal, as it is the simpler one."""
        lockstep, event = (self.value_in(execution) for execution in Execution)
        slower = lockstep is not None and event is not None and event < lockstep
        return Execution.EVENT if slower else Execution.LOCKSTEP

    @property
    def latency(self) -> Fraction:
        """Ticks until the last request has left, as reported: the smaller of the two replays.

        Of requests without end, how long each takes in the reported execution once they follow each other.
        """
        if isinstance(self.event, EventPeriod):
            steady = self.event.latency if self.execution is Execution.EVENT else None
            return Fraction(self.lockstep.latency) if steady is None else steady
        return min(Fraction(self.lockstep.latency), Fraction(self.event.latency))

    def latency_in(self, execution: Execution | None) -> Fraction:
        """Latency in one execution, or in the better one for None; ticks; of requests that come once."""
        value = None if execution is None else self.value_in(execution)
        return self.latency if value is None else value

    @property
    def period(self) -> Fraction:
        """The reported period, ticks: the smaller of both; an unsteady event-driven run does not count."""
        value = self.value_in(self.execution)
        if not self.schedule.endless or value is None:
            raise ValueError("requests that come once have no period")
        return value

    @property
    def completion(self) -> Sequence[Fraction | int]:
        """When every request has left in the reported execution, ticks; of requests that come once."""
        return self.completion_in(self.execution)

    def completion_in(self, execution: Execution) -> Sequence[Fraction | int]:
        """When every request has left in one execution, ticks; ValueError of requests without end."""
        if isinstance(self.event, EventPeriod):
            raise ValueError("requests without end never have all left")
        return (self.lockstep if execution is Execution.LOCKSTEP else self.event).completion


def assess(tables: Tables, plan: Plan) -> Assessment:
    """`assess_schedule` of one request.

    Parameters
    ----------
    tables : Tables
    plan : Plan
    """
    return assess_schedule(Schedule.of(tables, plan))


def assess_schedule(schedule: Schedule) -> Assessment:
    """Verify a schedule and replay it both ways.

    Raises
    ------
    InfeasiblePlanError
        If it is not feasible; check with `mocap_opt.schedule.verify.schedule_violations` first.
    """
    require_feasible(schedule)
    run = run_steady if schedule.endless else run_event
    return Assessment(run_lockstep(schedule), run(schedule))


def require_feasible(schedule: Schedule) -> None:
    """Raise `InfeasiblePlanError`, listing everything, if a schedule breaks a rule."""
    broken = schedule_violations(schedule)
    if broken:
        raise InfeasiblePlanError("; ".join(str(violation) for violation in broken))
