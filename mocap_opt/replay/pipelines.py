"""An assignment judged by both executions: every pipeline runs its stream alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from mocap_opt.replay.evaluation import Assessment, Execution, assess_schedule
from mocap_opt.schedule.assignment import Assignment


@dataclass(frozen=True)
class AssessedAssignment:
    """A feasible assignment and the replays of its pipelines.

    Attributes
    ----------
    assignment : Assignment
    parts : tuple of Assessment or None
        Of every pipeline; None where it has nothing to do.
    """

    assignment: Assignment
    parts: tuple[Assessment | None, ...]

    def completions(self, execution: Execution) -> Mapping[int, Fraction]:
        """When each request that runs has left, by its number in the instance, ticks."""
        return {
            request.number: Fraction(end)
            for part in self.parts
            if part is not None
            for request, end in zip(part.schedule, part.completion_in(execution), strict=True)
        }

    def makespan(self, execution: Execution) -> Fraction:
        """When the last request has left, ticks; 0 if none runs."""
        return max(self.completions(execution).values(), default=Fraction(0))


def assess_assignment(assignment: Assignment) -> AssessedAssignment:
    """Verify and replay the stream of every pipeline both ways.

    Raises
    ------
    InfeasiblePlanError
        If one breaks a rule; check with `mocap_opt.schedule.assignment.assignment_violations` first.
    """
    parts = tuple(None if stream is None else assess_schedule(stream) for stream in assignment.pipelines)
    return AssessedAssignment(assignment, parts)
