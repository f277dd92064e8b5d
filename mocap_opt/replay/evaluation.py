"""A plan judged by both executions: the one accountant every method answers to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from mocap_opt.replay.event import EventReplay, replay_event
from mocap_opt.replay.lockstep import LockstepReplay, replay_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.tables.cost_tables import Tables


class Execution(StrEnum):
    """Which of the two executions a latency belongs to."""

    LOCKSTEP = "lockstep"
    EVENT = "event-driven"


class InfeasiblePlanError(ValueError):
    """A plan that breaks a rule was about to be replayed; the message lists what it breaks."""


@dataclass(frozen=True)
class Assessment:
    """A feasible plan and its two replays.

    Attributes
    ----------
    plan : Plan
    lockstep : LockstepReplay
    event : EventReplay
    """

    plan: Plan
    lockstep: LockstepReplay
    event: EventReplay

    @property
    def latency(self) -> Fraction:
        """The reported latency, ticks: the smaller of the two replays."""
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


def assess(tables: Tables, plan: Plan) -> Assessment:
    """Verify a plan and replay it both ways.

    Raises
    ------
    InfeasiblePlanError
        If the plan is not feasible; check with `mocap_opt.schedule.verify.violations` first.
    """
    broken = violations(tables, plan)
    if broken:
        raise InfeasiblePlanError("; ".join(str(violation) for violation in broken))
    return Assessment(plan, replay_lockstep(tables, plan), replay_event(tables, plan))
