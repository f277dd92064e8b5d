"""The best sequence and the bounds of a stream so far, and when to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from mocap_opt.bounds import Bound
from mocap_opt.replay.event import EventReplay, run_event
from mocap_opt.schedule.requests import Request
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.search.stream_candidate import Candidate
from mocap_opt.solving.incumbent import Progress
from mocap_opt.stopping import Deadline


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
class StreamSearch:
    """What a search knows so far; every sequence and every bound goes through it.

    Attributes
    ----------
    requests : sequence of Request
    order_given : bool
        Whether they must run in this order.
    fingerprint : str or None
        Of the instance, for the plans.
    deadline : Deadline
    gap : float
        Stop once (makespan - bound) / makespan is at most this.
    callback : callable or None
        Told of every better makespan or bound, and of what is begun.
    doing : str or None
        What is being done, in words.
    best : Planned or None
    bounds : list of Bound
        On the makespan.
    infeasible : str or None
        Why there is no sequence, if that is proved.
    notes : list of str
        What there is to say about how the search went.
    """

    requests: Sequence[Request]
    order_given: bool
    fingerprint: str | None = None
    deadline: Deadline = field(default_factory=Deadline)
    gap: float = 0.0
    callback: Callable[[Progress], None] | None = None
    doing: str | None = None
    best: Planned | None = None
    bounds: list[Bound] = field(default_factory=list)
    infeasible: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def bound(self) -> Bound | None:
        """The best bound on the makespan."""
        return max(self.bounds, key=lambda each: each.ticks, default=None)

    @property
    def current_gap(self) -> float | None:
        """(makespan - bound) / makespan; None while either is unknown."""
        bound = self.bound
        if self.best is None or bound is None:
            return None
        makespan = self.best.makespan
        return float(1 - bound.ticks / makespan) if makespan else 0.0

    @property
    def closed(self) -> bool:
        """Whether the gap is reached."""
        gap = self.current_gap
        return gap is not None and gap <= self.gap

    def done(self) -> bool:
        """Whether to stop: gap reached, time up, or asked to."""
        return self.deadline.expired or self.closed

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

    def add_bounds(self, bounds: Iterable[Bound]) -> None:
        """Take bounds in; tell of a better one."""
        before = self.bound
        self.bounds.extend(bounds)
        after = self.bound
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
        seconds, bound = self.requests[0].tables.seconds, self.bound
        self.callback(
            Progress(
                elapsed_s=self.deadline.elapsed_s,
                latency_s=None if self.best is None else seconds(self.best.makespan),
                bound_s=None if bound is None else seconds(bound.ticks),
                gap=self.current_gap,
                source=source,
                doing=self.doing,
            )
        )
