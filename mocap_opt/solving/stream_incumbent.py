"""The best sequence and the bounds of a stream so far, and when to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from mocap_opt.bounds import Bound
from mocap_opt.bounds.makespan import makespan_bounds, shifted
from mocap_opt.instance.objectives import Objective
from mocap_opt.replay.event import EventReplay, run_event
from mocap_opt.schedule.requests import Request
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.search.stream_candidate import Candidate, Rank, makespan_first
from mocap_opt.solving.schedule_search import ScheduleSearch
from mocap_opt.stopping import AskedToStop, Deadline
from mocap_opt.tables.cost_tables import Tables

BoundsOf = Callable[[Sequence[Request], bool, AskedToStop], list[Bound]]
"""From requests and whether their order is given to bounds on what a goal minimises."""


@dataclass(frozen=True)
class StreamGoal:
    """What the sequences of a stream are judged by.

    Attributes
    ----------
    objective : Objective
    ranked : callable
        What makes one better than another, see `mocap_opt.search.stream_candidate.Rank`.  What is
        minimised is its first entry, less the releases of all requests if `from_release`.
    bounds : callable
        Bounds on what is minimised, in any execution, of several requests.
    from_release : bool
        Whether that is a sum over the requests, each from its release on; reports say the mean.
    """

    objective: Objective
    ranked: Rank
    bounds: BoundsOf
    from_release: bool = False

    def value(self, requests: Sequence[Request], rank: tuple[Fraction | int, ...]) -> Fraction:
        """What is minimised, ticks, of a sequence with that rank (formulations/streams.md).

        Parameters
        ----------
        requests : sequence of Request
            All of the stream, for their releases.
        rank : tuple of Fraction or int, ticks
            By `ranked`.
        """
        return Fraction(rank[0]) - (sum(each.release for each in requests) if self.from_release else 0)

    def seconds(self, requests: Sequence[Request], value: Fraction | int) -> float:
        """What is minimised as reports say it, seconds.

        Parameters
        ----------
        requests : sequence of Request
            All of the stream, for the tick and their number.
        value : Fraction or int, ticks
            What is minimised; a sum is reported as the mean.
        """
        return requests[0].tables.seconds(Fraction(value) / (len(requests) if self.from_release else 1))

    def of_one(self, request: Request, bounds: Sequence[Bound]) -> list[Bound]:
        """Bounds on the latency of the only request as bounds on what is minimised.

        Parameters
        ----------
        request : Request
            The only one of the stream.
        bounds : sequence of Bound
            On its latency from its release on.
        """
        return list(bounds) if self.from_release else [shifted(bound, request.release) for bound in bounds]


MAKESPAN = StreamGoal(Objective.STREAM, makespan_first, makespan_bounds)
"""The time until the last request has left; of equal ones the least sum of completions."""


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
        """The rank of the better replay, ticks."""
        event = self.candidate.ranked(Fraction(self.event.latency), Fraction(sum(self.event.completion)))
        first, second = self.candidate.rank
        return min(event, (Fraction(first), Fraction(second)))


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
    goal : StreamGoal
    """

    requests: Sequence[Request]
    order_given: bool
    fingerprint: str | None = None
    best: Planned | None = None
    goal: StreamGoal = MAKESPAN

    @property
    def machine(self) -> Tables:
        """Tables of the first request."""
        return self.requests[0].tables

    @property
    def value(self) -> Fraction | None:
        """What is minimised, of the best sequence, ticks."""
        return None if self.best is None else self.goal.value(self.requests, self.best.rank)

    def seconds(self, value: Fraction | int) -> float:
        """See `ScheduleSearch.seconds`."""
        return self.goal.seconds(self.requests, value)

    def share(self, fraction: float) -> Deadline:
        """Give a part of the time left to a step; over also once the gap is reached."""
        return self.deadline.share(fraction).unless(lambda: self.closed)

    def offer(self, candidate: Candidate, source: str) -> bool:
        """Verify a sequence, replay it event-driven, and keep it if it is better; return whether it is.

        Parameters
        ----------
        candidate : Candidate
        source : str
            What it came from, for the report.

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
