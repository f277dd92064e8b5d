"""A periodic plan judged by both executions."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from mocap_opt.replay.evaluation import Execution, InfeasiblePlanError
from mocap_opt.replay.lockstep import LockstepReplay, run_lockstep
from mocap_opt.replay.steady_state import EventPeriod, run_steady
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True)
class PeriodAssessment:
    """A feasible periodic plan and its two replays.

    Attributes
    ----------
    periodic : Schedule
    lockstep : LockstepReplay
    event : EventPeriod
    """

    periodic: Schedule
    lockstep: LockstepReplay
    event: EventPeriod

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


def assess_period(tables: Tables, periodic: Schedule) -> PeriodAssessment:
    """Verify a periodic plan and replay it both ways.

    Raises
    ------
    InfeasiblePlanError
        If the plan is not feasible.
    InputError
        If queues are unbounded.
    """
    broken = schedule_violations(periodic)
    if broken:
        raise InfeasiblePlanError("; ".join(str(violation) for violation in broken))
    return PeriodAssessment(periodic, run_lockstep(periodic), run_steady(periodic))
