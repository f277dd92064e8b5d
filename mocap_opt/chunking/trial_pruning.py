"""What single walks prove about many counts of chunks and longest chunk times at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.chunking.bottleneck_partition import bottleneck_partition
from mocap_opt.chunking.longest_chunk_time import ChunkClock
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.homes.proposal import Shortage
from mocap_opt.tables.cost_tables import Tables

Rows = Callable[[IntArray, int | None], Shortage | None]
"""The memory row that boundaries break; the reserve may be that of another longest chunk, tokens."""


class Refutation:
    """No boundaries of at most `count` chunks within a trial fit the memories.

    The walk at a trial has the lowest boundaries of all within it, counted from the end.  If they
    are too high even with the least reserve of all of that count, so are those of every smaller
    trial and count.

    Attributes
    ----------
    trial : int
        The largest longest chunk time refuted, ticks; 0 if none is.
    count : int
        Up to how many chunks.
    chunks : int or None
        The fewest chunks of the walks: counts from there on need no longer trial.  None if no walk
        reached 0.
    """

    def __init__(self, clock: ChunkClock, limits: LengthLimits, rows: Rows) -> None:
        self._clock, self._limits, self._rows = clock, limits, rows
        self.trial, self.count = 0, 0
        self.chunks: int | None = None

    def includes(self, count: int, trial: int) -> bool:
        """Whether a trial is refuted for a count of chunks."""
        return count <= self.count and trial <= self.trial

    def covers(self, count: int) -> bool:
        """Whether the least trial within which there are so few chunks is refuted."""
        return self.chunks is not None and self.chunks <= count <= self.count

    def refute(self, count: int, trial: int) -> bool:
        """Refute a trial, in place of what was known, or leave that if its walk may fit."""
        failed, chunks = self._walk(count, trial)
        if failed:
            self.trial, self.count, self.chunks = trial, count, chunks
        return failed

    def extend(self, *, fewer: bool = False) -> None:
        """Refute about as long a trial as can be: in growing steps, then in shrinking ones.

        Parameters
        ----------
        fewer : bool
            Go on with the counts that the last walk does not need its trial for: their reserve is
            larger.  The counts from `chunks` on remain covered.
        """
        last = self._clock.time(0, self._limits.steps)
        finest = step = max(self.trial // 64, 1)
        growing = True
        while self.trial < last and self.chunks != 1 and (growing or step > finest):
            step = step if growing else step // 2
            count = self.chunks - 1 if fewer and self.chunks else self.count
            failed, chunks = self._walk(count, self.trial + step)
            if failed:
                self.trial += step
                self.chunks = self.chunks if chunks is None else chunks
                step = 2 * step if growing else step
            else:
                growing = False

    def _walk(self, count: int, trial: int) -> tuple[bool, int | None]:
        """Whether a trial's walk fails, and its chunks if it reaches 0."""
        tables = self._clock.tables
        walk = bottleneck_partition(self._clock, self._limits, trial, count, tables.exact_chunks)
        if walk.indices is None:
            return True, None
        failed = self._rows(walk.indices, _least_longest(tables, walk.indices, count)) is not None
        return failed, walk.indices.size - 1


def _least_longest(tables: Tables, lowest: IntArray, count: int) -> int:
    """Tokens of the longest chunk at least, over all boundaries no lower than these, counted from the end.

    The first j of `count` chunks reach up to boundary j, so one of them has a j-th of it.
    """
    reached = tables.grid[lowest[1:]]
    return int((-(-reached // np.arange(count - reached.size + 1, count + 1))).max())
