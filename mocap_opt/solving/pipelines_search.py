"""What a search for requests on several pipelines knows so far; every assignment goes through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar

from mocap_opt.replay.evaluation import Assessment, Execution
from mocap_opt.replay.event import run_event
from mocap_opt.replay.lockstep import run_lockstep
from mocap_opt.replay.pipelines import AssessedAssignment
from mocap_opt.schedule.assignment import Assignment, assignment_violations
from mocap_opt.schedule.requests import Request
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.solving.schedule_search import ScheduleSearch
from mocap_opt.stopping import Deadline
from mocap_opt.tables.cost_tables import Tables

Rank = tuple[Fraction, ...]


@dataclass(eq=False)
class PipelinesSearch(ScheduleSearch):
    """Looks for the least makespan of the pipelines together.

    Attributes
    ----------
    requests : sequence of Request
    pipelines : int
    order_given : bool
        Whether those of a pipeline run in the order of the instance.
    fingerprint : str or None
        Of the instance, for the plans.
    best : AssessedAssignment or None
    """

    requests: Sequence[Request]
    pipelines: int
    order_given: bool
    fingerprint: str | None = None
    best: AssessedAssignment | None = None
    _replayed: dict[int, Assessment] = field(default_factory=dict)

    all_run: ClassVar[bool] = True

    @property
    def machine(self) -> Tables:
        """Tables of the first request."""
        return self.requests[0].tables

    def cost(self, found: AssessedAssignment, execution: Execution) -> Fraction:
        """What is brought down, in one execution: ticks.

        Parameters
        ----------
        found : AssessedAssignment
        execution : Execution
        """
        return found.makespan(execution)

    def rank(self, found: AssessedAssignment) -> Rank:
        """What makes one assignment better than another, in its better execution."""
        return min(
            (self.cost(found, execution), sum(found.completions(execution).values(), Fraction(0)))
            for execution in Execution
        )

    def share(self, fraction: float) -> Deadline:
        """Give a part of the time left to a step; over also once the gap is reached."""
        return self.deadline.share(fraction).unless(lambda: self.closed)

    @property
    def value(self) -> Fraction | None:
        """What is brought down, of the best assignment."""
        return None if self.best is None else self.rank(self.best)[0]

    def assessed(self, streams: Sequence[Schedule | None]) -> AssessedAssignment:
        """Replay feasible streams both ways; those replayed last are not replayed again."""
        parts: list[Assessment | None] = []
        replayed: dict[int, Assessment] = {}
        for stream in streams:
            part = None
            if stream is not None:
                part = self._replayed.get(id(stream)) or Assessment(run_lockstep(stream), run_event(stream))
                replayed[id(stream)] = part
            parts.append(part)
        # Replays hold their streams, so that no other object gets the identity of one.
        kept = () if self.best is None else self.best.parts
        self._replayed = {id(part.schedule): part for part in kept if part is not None} | replayed
        return AssessedAssignment(Assignment(tuple(streams)), tuple(parts))

    def offer(self, streams: Sequence[Schedule | None], source: str) -> bool:
        """Verify streams, replay them both ways, keep them if they are better; return whether they are.

        Parameters
        ----------
        streams : sequence of Schedule or None
            Of every pipeline.
        source : str
            What they came from, for the report.

        Raises
        ------
        AssertionError
            If they break a rule: a defect of whoever made them.
        """
        assignment = Assignment(tuple(streams))
        wrong = assignment_violations(
            assignment,
            requests=len(self.requests),
            pipelines=self.pipelines,
            all_run=self.all_run,
            order_given=self.order_given,
        )
        if wrong:
            raise AssertionError(f"{source} made an infeasible assignment: {wrong[0]}")
        found = self.assessed(streams)
        if self.best is not None and self.rank(found) >= self.rank(self.best):
            return False
        self.best, self.found_by = found, source
        self.tell(source)
        return True
