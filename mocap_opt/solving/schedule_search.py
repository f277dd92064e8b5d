"""What searches for streams and for periods share: the bounds so far, and when to stop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from mocap_opt.bounds import Bound, Scope
from mocap_opt.bounds.makespan import makespan_bounds, shifted
from mocap_opt.instance.objectives import Objective
from mocap_opt.lower_bound import best as best_bound
from mocap_opt.replay.evaluation import Assessment, Execution
from mocap_opt.replay.event import run_event
from mocap_opt.replay.lockstep import run_lockstep
from mocap_opt.schedule.requests import Request
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.search.stream_candidate import Candidate, Rank, makespan_first
from mocap_opt.solving.incumbent import Progress
from mocap_opt.stopping import AskedToStop, Deadline
from mocap_opt.tables.cost_tables import Tables


@dataclass(kw_only=True, eq=False)
class ScheduleSearch(ABC):
    """What a search knows so far; every bound goes through it.

    Attributes
    ----------
    deadline : Deadline
    gap : float
        Stop once (value - bound) / value is at most this; the value is what the objective minimises.
    callback : callable or None
        Told of every better value or bound, and of what is begun.
    threads : int or None
        Of each program's solver; None: as many as are best for it.
    doing : str or None
        What is being done, in words.
    bounds : list of Bound
    found_by : str or None
        What the best schedule came from.
    infeasible : str or None
        Why there is no schedule, if that is proved.
    notes : list of str
        What there is to say about how the search went.
    """

    deadline: Deadline = field(default_factory=Deadline)
    gap: float = 1e-4
    callback: Callable[[Progress], None] | None = None
    threads: int | None = None
    doing: str | None = None
    bounds: list[Bound] = field(default_factory=list)
    found_by: str | None = None
    infeasible: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    @abstractmethod
    def machine(self) -> Tables:
        """Tables of the machine."""

    @property
    @abstractmethod
    def value(self) -> Fraction | None:
        """What the best schedule comes to, ticks."""

    def seconds(self, value: Fraction | int) -> float:
        """What is minimised as reports say it, of ticks."""
        return self.machine.seconds(value)

    @property
    def headline(self) -> Bound | None:
        """The best bound that covers both executions."""
        return best_bound(self.bounds, {Scope.ANY_EXECUTION})

    @property
    def current_gap(self) -> float | None:
        """(value - bound) / value; None while either is unknown."""
        value, headline = self.value, self.headline
        if value is None or headline is None:
            return None
        return float(1 - headline.ticks / value) if value else 0.0

    @property
    def closed(self) -> bool:
        """Whether the gap is reached."""
        gap = self.current_gap
        return gap is not None and gap <= self.gap

    def done(self) -> bool:
        """Whether to stop: gap reached, time up, or asked to."""
        return self.deadline.expired or self.closed

    def add_bounds(self, bounds: Iterable[Bound]) -> None:
        """Take bounds in; tell of a better one."""
        before = self.headline
        self.bounds.extend(bounds)
        after = self.headline
        if after is not None and (before is None or after.ticks > before.ticks):
            self.tell(after.name)

    def begin(self, doing: str) -> None:
        """Say what is being done from now on."""
        self.doing = doing
        self.tell(doing)

    def tell(self, source: str) -> None:
        """Pass the present state on to the callback."""
        if self.callback is None:
            return
        value, headline = self.value, self.headline
        self.callback(
            Progress(
                elapsed_s=self.deadline.elapsed_s,
                latency_s=None if value is None else self.seconds(value),
                bound_s=None if headline is None else self.seconds(headline.ticks),
                gap=self.current_gap,
                source=source,
                doing=self.doing,
            )
        )


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

    def ranks(self, found: Assessment) -> dict[Execution, tuple[Fraction | int, ...]]:
        """Rank a sequence by either execution, ticks."""
        ends = {execution: found.completion_in(execution) for execution in Execution}
        return {
            execution: self.ranked(Fraction(max(each)), sum(map(Fraction, each), Fraction(0)))
            for execution, each in ends.items()
        }

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
    best : Assessment or None
    goal : StreamGoal
    """

    requests: Sequence[Request]
    order_given: bool
    fingerprint: str | None = None
    best: Assessment | None = None
    goal: StreamGoal = MAKESPAN

    @property
    def machine(self) -> Tables:
        """Tables of the first request."""
        return self.requests[0].tables

    @property
    def rank(self) -> tuple[Fraction | int, ...] | None:
        """The rank of the better replay of the best sequence, ticks."""
        return None if self.best is None else min(self.goal.ranks(self.best).values())

    @property
    def value(self) -> Fraction | None:
        """What is minimised, of the best sequence, ticks."""
        return None if self.rank is None else self.goal.value(self.requests, self.rank)

    def seconds(self, value: Fraction | int) -> float:
        """See `ScheduleSearch.seconds`."""
        return self.goal.seconds(self.requests, value)

    def share(self, fraction: float) -> Deadline:
        """Give a part of the time left to a step; over also once the gap is reached."""
        return self.deadline.share(fraction).unless(lambda: self.closed)

    def offer(self, candidate: Candidate, source: str) -> bool:
        """Judge a sequence; return whether it is better than all before.

        Parameters
        ----------
        candidate : Candidate
        source : str
            What it came from, for the report.
        """
        before = self.rank
        rank = self.judge(candidate, source)
        return before is None or rank < before

    def judge(self, candidate: Candidate, source: str) -> tuple[Fraction | int, ...]:
        """Verify a sequence, replay it both ways and keep it if it is better.

        Parameters
        ----------
        candidate : Candidate
        source : str
            What it came from, for the report.

        Returns
        -------
        tuple of Fraction or int, ticks
            The rank of its better replay.

        Raises
        ------
        AssertionError
            If it breaks a rule: a defect of whoever made it.
        """
        wrong = schedule_violations(candidate.sequence)
        if wrong:
            raise AssertionError(f"{source} made an infeasible sequence: {wrong[0]}")
        found = Assessment(run_lockstep(candidate.sequence), run_event(candidate.sequence))
        rank = min(self.goal.ranks(found).values())
        if self.rank is None or rank < self.rank:
            self.best, self.found_by = found, source
            self.tell(source)
        return rank
