"""A curve of latency against period: its points, the variants they come from, and what no plan can do."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from mocap_opt.questions.tradeoffs.axes import least_second
from mocap_opt.questions.tradeoffs.result import INFEASIBLE, NOT_PLACED, NOT_REACHED
from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.schedule import Schedule


@dataclass(frozen=True)
class Variant:
    """A layout with a count of chunks, and what is known of its plans.

    Attributes
    ----------
    overrides : tuple of str
        What makes the layout of the instance; empty for its own.
    stages, dies_per_stage : int
    chunks : int
        The exact count, or the most there may be where time did not reach the counts of a layout.
    latency_bound, period_bound : Fraction or None
        No plan of this variant has less in any execution, seconds; None if there is none to say so.
    outcome : str
        ``"searched"``, ``"first plan"`` (not searched for a better one: no time, or nothing to gain),
        ``"pruned"`` (a plan found is no worse than both bounds), ``"infeasible"``, ``"no plan"``,
        ``"not placed"`` or ``"not reached"``.
    reason : str
        Why it cannot be placed, if it cannot.
    """

    overrides: tuple[str, ...]
    stages: int
    dies_per_stage: int
    chunks: int
    latency_bound: Fraction | None
    period_bound: Fraction | None
    outcome: str = NOT_REACHED
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Point:
    """A plan in one of its executions.

    Attributes
    ----------
    latency, period : Fraction
        Of a request once requests follow each other, and from one request to the next, seconds.
    execution : Execution
    periodic : Schedule
    variant : Variant
        With the plan's own count of chunks.
    """

    latency: Fraction
    period: Fraction
    execution: Execution
    periodic: Schedule
    variant: Variant


@dataclass(frozen=True)
class Curve:
    """The plans found that no other one beats in both, and what no plan can do.

    Attributes
    ----------
    points : tuple of Point
        Latency rising, period falling.
    variants : tuple of Variant
        All of them, in the order they were looked at.
    """

    points: tuple[Point, ...]
    variants: tuple[Variant, ...]

    def period_bound(self, latency: Fraction) -> Fraction | None:
        """No plan of at most this latency has a smaller period, seconds; None if that is not known.

        A variant whose latency bound is above has no such plan; the others have their period bounds.
        """
        left = [each for each in self.variants if each.outcome not in (INFEASIBLE, NOT_PLACED)]
        return least_second([(each.latency_bound, each.period_bound) for each in left], latency)

    def gap(self, point: Point) -> float | None:
        """(period - bound at its latency) / period; None if there is no bound."""
        bound = self.period_bound(point.latency)
        return (
            None if bound is None or not point.period else float(max(1 - bound / point.period, Fraction(0)))
        )

    @property
    def layouts(self) -> tuple[int, int]:
        """How many layouts there are, and how many of them were not looked at."""
        reached = {(each.stages, each.dies_per_stage): False for each in self.variants}
        for each in self.variants:
            seen = each.outcome != NOT_REACHED or each.period_bound is not None
            reached[each.stages, each.dies_per_stage] |= seen
        return len(reached), sum(not seen for seen in reached.values())
