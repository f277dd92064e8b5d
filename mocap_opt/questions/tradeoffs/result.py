"""What a sweep found: its variants, the best of them, and those that no other one beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mocap_opt.questions.tradeoffs.axes import Axis, front, least_second
from mocap_opt.questions.tradeoffs.layout_choices import EXTRAS_LAST, LayoutChoice
from mocap_opt.schedule.plan import Plan

if TYPE_CHECKING:
    import pandas as pd

    from mocap_opt.instance import Instance

NOT_REACHED, NOT_PLACED, INFEASIBLE = "not reached", "not placed", "infeasible"
NO_PLAN, FIRST_PLAN, PRUNED = "no plan", "first plan", "pruned"
SOLVED, SEARCHED = "solved", "searched"
"""Outcomes of choices, and of variants of a curve."""


@dataclass(frozen=True)
class Choice:
    """A variant and what is known of it.

    Attributes
    ----------
    layout : LayoutChoice
    overrides : tuple of str
        What makes it of the instance, an exact count of chunks included.
    chunks : int
        The exact count, or the most there may be where counts are not swept.
    found, proved : Mapping of Axis to Fraction
        The least value of a plan found, and a bound on that of every plan in any execution.  Every axis has
        a plan of its own.
    plan : Plan or None
        That of the latency.
    outcome : str
        ``"solved"``, ``"first plan"`` (of a heuristic, not searched for a better one: no time),
        ``"pruned"`` (its bound is no better than the best plan), ``"infeasible"``, ``"no plan"``,
        ``"not placed"`` or ``"not reached"`` (time was up, or the sweep was stopped).
    reason : str
        Why there is no plan, if there is none.
    """

    layout: LayoutChoice
    overrides: tuple[str, ...]
    chunks: int
    found: Mapping[Axis, Fraction] = field(default_factory=dict)
    proved: Mapping[Axis, Fraction] = field(default_factory=dict)
    plan: Plan | None = None
    outcome: str = NOT_REACHED
    reason: str = ""

    @property
    def stages(self) -> int:
        """N, the number of stages."""
        return self.layout.stages

    @property
    def dies_per_stage(self) -> int:
        """Dies of the largest stage."""
        return self.layout.dies_per_stage

    @property
    def bound(self) -> Fraction | None:
        """No plan of this variant has less latency, seconds."""
        return self.proved.get(Axis.LATENCY)

    @property
    def latency(self) -> Fraction | None:
        """Of the best plan found, seconds."""
        return self.found.get(Axis.LATENCY)

    @property
    def known_to_exist(self) -> bool:
        """Whether it may have a plan of the prompt."""
        return self.outcome not in (INFEASIBLE, NOT_PLACED)

    def least(self, axis: Axis) -> Fraction | None:
        """The bound on an axis, its sign such that less is better."""
        return None if axis not in self.proved else axis.sign * self.proved[axis]

    def value(self, axis: Axis) -> Fraction | None:
        """The value found on an axis, its sign such that less is better."""
        return None if axis not in self.found else axis.sign * self.found[axis]

    def may_beat(self, known: Fraction | None, axis: Axis) -> bool:
        """Whether it is not proved to be no better than a value that is known.

        Parameters
        ----------
        known : Fraction or None
            Its sign such that less is better.
        axis : Axis
        """
        least = self.least(axis)
        return self.known_to_exist and (known is None or least is None or least < known)

    @property
    def name(self) -> str:
        """Stages x dies, and what is unusual about it."""
        layout = self.layout
        sizes = sorted(set(layout.sizes))
        said = [f"{layout.stages} x {sizes[0]}" + (f"-{sizes[-1]}" if len(sizes) > 1 else "")]
        said += ["path"] if "pipeline.placement=path" in layout.overrides else []
        said += [EXTRAS_LAST] if layout.layers == EXTRAS_LAST else []
        return ", ".join(said)

    def row(self, axes: Sequence[Axis]) -> dict[str, Any]:
        """What it is, and what it comes to, as tables hold it.

        Parameters
        ----------
        axes : sequence of Axis
        """
        layout = self.layout
        alike = layout.sizes == (layout.dies_per_stage,) * layout.stages
        figures: dict[str, Any] = {}
        for axis in axes:
            value, bound = self.found.get(axis), self.proved.get(axis)
            figures |= dict(zip(axis.columns, (_plain(value), _plain(bound)), strict=True))
        return {
            "stages": layout.stages,
            "dies_per_stage": layout.dies_per_stage if alike else list(layout.sizes),
            "dies": layout.dies,
            "placement": layout.placement,
            "layers": layout.layers,
            "chunks": self.chunks,
            **figures,
            "outcome": self.outcome,
            "reason": self.reason,
        }


def _plain(value: Fraction | None) -> float | int | None:
    return None if value is None else int(value) if value.denominator == 1 else float(value)


@dataclass(frozen=True)
class Sweep:
    """All variants, the best of them, and those that no other one beats.

    Attributes
    ----------
    instance : Instance
    axes : tuple of Axis
        The first one is what searches bring down.
    choices : tuple of Choice
        Least bound on the first axis first.
    """

    instance: Instance
    axes: tuple[Axis, ...]
    choices: tuple[Choice, ...]

    @property
    def best(self) -> Choice | None:
        """The one with the best value on the first axis; of equal ones one that was solved."""
        axis = self.axes[0]
        planned = [choice for choice in self.choices if axis in choice.found]
        return min(planned, key=lambda c: (c.value(axis), c.outcome != SOLVED), default=None)

    @property
    def bound(self) -> Fraction | None:
        """No plan of any variant is better on the first axis; None if one of them has no bound.

        A pruned variant counts with its own bound, which is no better than the best plan.
        """
        axis = self.axes[0]
        every = [c for c in self.choices if c.known_to_exist or (axis is Axis.LONGEST and c.proved)]
        known = [least for least in (choice.least(axis) for choice in every) if least is not None]
        return axis.sign * min(known) if known and len(known) == len(every) else None

    @property
    def gap(self) -> float | None:
        """(value - bound) / value over all variants on the first axis; None while either is unknown."""
        best, bound = self.best, self.bound
        if best is None or bound is None:
            return None
        return float(self.axes[0].gap(best.found[self.axes[0]], bound))

    @property
    def pareto(self) -> tuple[Choice, ...]:
        """The variants whose values on the first two axes no other one's beat; none on fewer axes."""
        first, *others = self.axes
        if not others:
            return ()
        both = [c for c in self.choices if {first, others[0]} <= c.found.keys()]
        return front(both, lambda c: (first.sign * c.found[first], others[0].sign * c.found[others[0]]))

    def pareto_bound(self, choice: Choice) -> Fraction | None:
        """No variant that is as good on the first axis is better than this on the second one.

        None if it is not known.
        """
        first, second = self.axes[:2]
        at = choice.value(first)
        every = [(each.least(first), each.least(second)) for each in self.choices if each.known_to_exist]
        least = None if at is None else least_second(every, at)
        return None if least is None else second.sign * least

    def pareto_gap(self, choice: Choice) -> float | None:
        """How far a point of the curve is from `pareto_bound`, as a part of its second value."""
        bound = self.pareto_bound(choice)
        return None if bound is None else float(self.axes[1].gap(choice.found[self.axes[1]], bound))

    def sorted(self, axis: Axis | None = None) -> tuple[Choice, ...]:
        """Best value first; those without a plan behind them, by their bounds.

        Parameters
        ----------
        axis : Axis, optional
            The first one by default.
        """
        by = axis or self.axes[0]

        def key(choice: Choice) -> tuple[Any, ...]:
            value, least = choice.value(by), choice.least(by)
            return value is None, value or 0, not choice.known_to_exist, least is None, least or 0

        return tuple(sorted(self.choices, key=key))

    def rows(self, axis: Axis | None = None) -> list[dict[str, Any]]:
        """The table: a row per variant, `sorted`; ``pareto_gap`` only of those on the curve.

        Parameters
        ----------
        axis : Axis, optional
            To sort by.
        """
        curve = {id(choice) for choice in self.pareto}
        return [
            {
                **choice.row(self.axes),
                "on_pareto_curve": id(choice) in curve,
                "pareto_gap": self.pareto_gap(choice) if id(choice) in curve else None,
                "set": " ".join(choice.overrides),
            }
            for choice in self.sorted(axis)
        ]

    def to_frame(self) -> pd.DataFrame:
        """The table as a DataFrame."""
        import pandas as pd  # noqa: PLC0415 - slow to load

        return pd.DataFrame(self.rows())
