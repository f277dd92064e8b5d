"""The best sequence and the bounds of a stream so far, and when to stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from mocap_opt.replay.event import EventReplay, run_event
from mocap_opt.schedule.requests import Request
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.search.stream_candidate import Candidate
from mocap_opt.solving.schedule_search import ScheduleSearch
from mocap_opt.stopping import Deadline
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True, eq=False)
class Planned:
    """A sequence with both its replays, verified.

    Attributes
    ----------
    candidate : Candidate
    event : EventReplay
    """

    candidate: Candidate
    event: EventReplay

    @property
    def rank(self) -> tuple[Fraction, Fraction]:
        """Makespan of the better replay, and the sum of its completions, ticks."""
        event = Fraction(self.event.latency), Fraction(sum(self.event.completion))
        makespan, total = self.candidate.rank
        return min(event, (Fraction(makespan), Fraction(total)))

    @property
    def makespan(self) -> Fraction:
        """Makespan of the better replay, ticks."""
        return self.rank[0]


@dataclass(eq=False)
class StreamSearch(ScheduleSearch):
    """What a search for a stream knows so far; every sequence goes through it.

    Attributes
    ----------
    requests : sequence of Request
    order_given : bool
        Whether they must run in this order.
    fingerprint : str or None
        Of the instance, for the plans.
    best : Planned or None
    """

    requests: Sequence[Request]
    order_given: bool
    fingerprint: str | None = None
    best: Planned | None = None

    @property
    def machine(self) -> Tables:
        """Tables of the first request."""
        return self.requests[0].tables

    @property
    def value(self) -> Fraction | None:
        """The best makespan, ticks."""
        return None if self.best is None else self.best.makespan

    def share(self, fraction: float) -> Deadline:
        """Give a part of the time left to a step; over also once the gap is reached."""
        return self.deadline.share(fraction).unless(lambda: self.closed)

    def offer(self, candidate: Candidate, source: str) -> bool:
        """Verify a sequence, run it without barriers, and keep it if it is better; tell whether it is.

        Raises
        ------
        AssertionError
            If it breaks a rule: a defect of whoever made it.
        """
        wrong = schedule_violations(candidate.sequence)
        if wrong:
            raise AssertionError(f"{source} made an infeasible sequence: {wrong[0]}")
        planned = Planned(candidate, run_event(candidate.sequence))
        if self.best is not None and planned.rank >= self.best.rank:
            return False
        self.best = planned
        self.tell(source)
        return True
