"""What searches for streams and for periods share: the bounds so far, and when to stop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from mocap_opt.bounds import Bound, Scope
from mocap_opt.lower_bound import best as best_bound
from mocap_opt.solving.incumbent import Progress
from mocap_opt.stopping import Deadline
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
    doing : str or None
        What is being done, in words.
    bounds : list of Bound
    infeasible : str or None
        Why there is no schedule, if that is proved.
    notes : list of str
        What there is to say about how the search went.
    """

    deadline: Deadline = field(default_factory=Deadline)
    gap: float = 1e-4
    callback: Callable[[Progress], None] | None = None
    doing: str | None = None
    bounds: list[Bound] = field(default_factory=list)
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
