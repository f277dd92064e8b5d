"""What the first chunk takes to reach a stage, the last one to leave, and the least send."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from mocap_opt.tables import IntArray, Tables

#: More than any time, little enough that sums of two stay within int64.
NEVER = 2**61


def least_send(tables: Tables) -> IntArray:
    """Time no execution can beat from the end of a chunk on a stage to its arrival at the next.

    The smaller of the send table and of hops + bytes over the slowest link, rounded down: the
    table may be rounded up, an event-driven execution pays the exact time.

    Returns
    -------
    int64[stage, 2, G + 1], ticks
        By ``[stage, tail, k]`` like ``tables.send``; 0 after the last stage.
    """
    least = tables.send.copy()
    least[-1] = 0
    lengths = tables.lengths.astype(object)  # Python integers: bytes x share may leave 64 bits
    for i in range(tables.stages - 1):
        factors = (
            Fraction(int(part) * int(tables.activation_bytes[i]), tables.share_denominator * int(rate))
            for part, rate in zip(tables.share[:, i, i + 1], tables.link_rate, strict=True)
        )
        slowest = max(factors, default=Fraction(0))
        exact = int(tables.hop_ticks[i, i + 1]) + lengths * slowest.numerator // slowest.denominator
        least[i] = np.minimum(least[i], exact.astype(np.int64))
    return least


@dataclass(frozen=True)
class StepLimits:
    """How many grid steps a chunk may have.

    Attributes
    ----------
    low, high : int
        For a chunk that is not the last one; ``low > high`` if there can be none.
    tail_low, tail_high : int
        For the last chunk.
    steps : int
        G.
    """

    low: int
    high: int
    tail_low: int
    tail_high: int
    steps: int

    @classmethod
    def of(cls, tables: Tables) -> StepLimits:
        """Read the limits off ``tables.length_allowed``."""
        inner, tail = (np.flatnonzero(row) for row in tables.length_allowed)
        # A chunk that is not the last leaves at least one step for the last.
        inner = inner[inner < tables.steps]
        low, high = (int(inner[0]), int(inner[-1])) if inner.size else (tables.steps + 1, 0)
        tail_low, tail_high = (int(tail[0]), int(tail[-1])) if tail.size else (tables.steps + 1, 0)
        return cls(low, high, tail_low, tail_high, tables.steps)

    def least(self, chunks: int, cap: int | None = None) -> IntArray:
        """Least boundaries of a plan with that many chunks of at most `cap` steps, int64[chunks + 1]."""
        j = np.arange(chunks + 1, dtype=np.int64)
        high, tail_high = (
            (self.high, self.tail_high) if cap is None else (min(self.high, cap), min(self.tail_high, cap))
        )
        low = np.maximum(j * self.low, self.steps - tail_high - (chunks - 1 - j) * high)
        low[0], low[-1] = 0, self.steps
        return np.clip(low, 0, self.steps)

    def shortest_longest(self, chunks: int) -> int:
        """Fewest steps that the longest of that many chunks can have."""
        return max(-(-self.steps // chunks), self.low if chunks > 1 else 1)

    def possible(self, chunks: int) -> bool:
        """Whether that many chunks can have lengths within the limits."""
        inner = chunks - 1
        return self.tail_low <= self.tail_high and (
            inner * self.low + self.tail_low <= self.steps <= inner * self.high + self.tail_high
            and (inner == 0 or self.low <= self.high)
        )


@dataclass(frozen=True, eq=False)
class Travel:
    """Least travel of a plan's first and last chunk.

    Attributes
    ----------
    head : int64[stage, G + 1], ticks
        Least time from the start until a first chunk that ends at b or later reaches the stage.
    tail : int64[stage, G + 1], ticks
        Least time from the end on the stage, for a last chunk that starts at a or earlier.
    """

    head: IntArray
    tail: IntArray

    @classmethod
    def of(cls, tables: Tables, send: IntArray) -> Travel:
        """Tabulate for every stage, over the chunks the limits on lengths allow."""
        stages, steps = tables.stages, tables.steps
        stage = np.arange(stages)[:, None]
        ends = np.arange(1, steps + 1)[None, :]
        reach = tables.tau(stage, 0, ends) + send[stage, (ends == steps).astype(np.int64), ends]
        allowed = np.append(tables.length_allowed[0, 1:steps], tables.length_allowed[1, steps])
        head = np.full((stages, steps + 1), NEVER, dtype=np.int64)
        head[:, 1:] = np.cumsum(reach, axis=0) - reach
        head[:, 1:][:, ~allowed] = NEVER
        head = np.minimum.accumulate(head[:, ::-1], axis=1)[:, ::-1]
        starts = np.arange(steps)[None, :]
        work = tables.tau(stage, starts, steps)
        leave = work + send[stage, 1, steps - starts]
        tail = np.full((stages, steps + 1), NEVER, dtype=np.int64)
        tail[:, :steps] = np.cumsum(leave[::-1], axis=0)[::-1] - work
        tail[:, :steps][:, ~tables.length_allowed[1, steps:0:-1]] = NEVER
        return cls(head, np.minimum.accumulate(tail, axis=1))


@dataclass(frozen=True, eq=False)
class Setting:
    """What all bounds of one instance share.

    Attributes
    ----------
    tables : Tables
    """

    tables: Tables

    @cached_property
    def send(self) -> IntArray:
        """Least send, int64[stage, 2, G + 1], ticks."""
        return least_send(self.tables)

    @cached_property
    def travel(self) -> Travel:
        """Least travel of the first and the last chunk."""
        return Travel.of(self.tables, self.send)

    @cached_property
    def limits(self) -> StepLimits:
        """Steps a chunk may have."""
        return StepLimits.of(self.tables)

    @cached_property
    def counts(self) -> list[int]:
        """The counts of chunks that the limits on lengths allow."""
        steps = self.tables.steps
        return [m for m in self.tables.counts if m <= steps and self.limits.possible(m)]
