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
    """A feasible schedule that comes to an end, and its two replays.

    Attributes
    ----------
    lockstep : LockstepReplay
    event : EventReplay
    """

    lockstep: LockstepReplay
    event: EventReplay

    @property
    def schedule(self) -> Schedule:
        """What was replayed."""
        return self.lockstep.schedule

    @property
    def plan(self) -> Plan:
        """The plan of the only request."""
        return self.schedule.plan

    @property
    def latency(self) -> Fraction:
        """Ticks until the last request has left, as reported: the smaller of the two replays."""
        return min(Fraction(self.lockstep.latency), Fraction(self.event.latency))

    def latency_in(self, execution: Execution | None) -> Fraction:
        """Latency in one execution, or in the better one for None; ticks."""
        if execution is None:
            return self.latency
        return Fraction((self.lockstep if execution is Execution.LOCKSTEP else self.event).latency)

    @property
    def execution(self) -> Execution:
        """The execution with that latency; lockstep where both are equal, as it is the simpler one."""
        return Execution.LOCKSTEP if self.lockstep.latency <= self.event.latency else Execution.EVENT

    @property
    def completion(self) -> Sequence[Fraction | int]:
        """When every request has left in that execution, ticks."""
        return (self.lockstep if self.execution is Execution.LOCKSTEP else self.event).completion


@dataclass(frozen=True)
class PeriodAssessment:
    """A feasible schedule without end, and its two replays.

    Attributes
    ----------
    lockstep : LockstepReplay
    event : EventPeriod
    """

    lockstep: LockstepReplay
    event: EventPeriod

    @property
    def periodic(self) -> Schedule:
        """What was replayed."""
        return self.lockstep.schedule

    @property
    def period(self) -> Fraction:
        """The reported period, ticks: the smaller of both; an unsteady event-driven run does not count."""
        whole = Fraction(self.lockstep.period)
        return whole if self.event.period is None else min(whole, self.event.period)

    @property
    def execution(self) -> Execution:
        """The execution with that period; lockstep where both are equal."""
        return Execution.LOCKSTEP if self.period == self.lockstep.period else Execution.EVENT

    @property
    def latency(self) -> Fraction:
        """How long a request takes in the reported execution once requests follow each other, ticks."""
        if self.execution is Execution.EVENT and self.event.latency is not None:
            return self.event.latency
        return Fraction(self.lockstep.latency)


def assess(tables: Tables, plan: Plan) -> Assessment:
    """`assess_schedule` of one request.

    Parameters
    ----------
    tables : Tables
    plan : Plan
    """
    return assess_schedule(Schedule.of(tables, plan))


def assess_schedule(schedule: Schedule) -> Assessment:
    """Verify a schedule that comes to an end and replay it both ways.

    Raises
    ------
    InfeasiblePlanError
        If it is not feasible; check with `mocap_opt.schedule.verify.schedule_violations` first.
    """
    require_feasible(schedule)
    return Assessment(run_lockstep(schedule), run_event(schedule))


def assess_period(periodic: Schedule) -> PeriodAssessment:
    """Verify one request without end and replay it both ways; raises as `assess_schedule`."""
    require_feasible(periodic)
    return PeriodAssessment(run_lockstep(periodic), run_steady(periodic))


def require_feasible(schedule: Schedule) -> None:
    """Raise `InfeasiblePlanError`, listing everything, if a schedule breaks a rule."""
    broken = schedule_violations(schedule)
    if broken:
        raise InfeasiblePlanError("; ".join(str(violation) for violation in broken))
