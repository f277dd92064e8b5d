"""How long a prompt of each length may take."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from mocap_opt.baselines import METHODS
from mocap_opt.questions.max_context.instance_family import LengthFamily
from mocap_opt.replay.evaluation import assess
from mocap_opt.tables.cost_tables import Tables


def without_memory_limits(tables: Tables) -> Tables:
    """The same tables with memories in which everything fits at home."""
    needed = tables.static + tables.reserve(tables.tokens) + tables.prefix_bytes
    needed = needed + tables.page_bytes * int(tables.pages[-1])
    return replace(tables, capacity=np.maximum(tables.capacity, needed))


@dataclass(eq=False)
class LatencyLimit:
    """Either so many ticks at any length, or a multiple of what `mocap` takes where memory is no obstacle.

    Attributes
    ----------
    family : LengthFamily
    ticks : Fraction or None
        The limit at any length.
    factor : Fraction or None
        The multiple; exactly one of the two is given.
    """

    family: LengthFamily
    ticks: Fraction | None = None
    factor: Fraction | None = None
    _known: dict[int, Fraction | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that one limit is given."""
        if (self.ticks is None) == (self.factor is None):
            raise ValueError("give either ticks or a factor")

    def at(self, tokens: int) -> Fraction | None:
        """The limit at a length, ticks; None if `mocap` has no plan even where memory is no obstacle."""
        if self.factor is None:
            return self.ticks
        if tokens not in self._known:
            tables = without_memory_limits(self.family.at(tokens))
            plan = METHODS["mocap"].propose(tables).plan
            self._known[tokens] = None if plan is None else self.factor * assess(tables, plan).latency
        return self._known[tokens]
