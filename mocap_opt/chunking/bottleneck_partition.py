"""Partitions of a trial longest chunk time, the least such time, and trials that rule out many others.

For a trial D the chunks are cut off from S backwards, each at the least start that keeps it within D.  That
makes every boundary, counted from the end, least at once and uses the fewest chunks; 0 is reached
within the count if any partition within D does so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.chunking.longest_chunk_time import BottleneckTimes
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.homes.proposal import Shortage
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True)
class BottleneckPartition:
    """Outcome of one trial.

    Attributes
    ----------
    indices : int64[chunks + 1] or None
        The boundaries as grid indices, None if 0 is not reached.
    trial : int
        The longest chunk time that was allowed, ticks.
    longest : int
        The longest chunk time there is, ticks.
    onward : int
        The least trial above this one that can give another outcome, ticks.
    """

    indices: IntArray | None
    trial: int
    longest: int
    onward: int


@dataclass(frozen=True)
class Traffic:
    """KV traffic by a chunk's end, as it lengthens the chunk: int per grid index, ticks.

    Attributes
    ----------
    shown : sequence of int
        Added to the chunk's time, the part (1 - f) x that does not overlap.
    whole : sequence of int
        x itself; no chunk is shorter.
    """

    shown: Sequence[int]
    whole: Sequence[int]


def bottleneck_partition(
    clock: BottleneckTimes,
    limits: LengthLimits,
    trial: int,
    count: int,
    exact: bool,
    traffic: Traffic | None = None,
) -> BottleneckPartition:
    """Walk back from S with chunks of at most `trial` ticks.

    Parameters
    ----------
    count : int
        Chunks allowed; used up exactly if `exact`, leaving room for those still owed.
    traffic : Traffic, optional
        KV traffic that counts towards the chunk times.
    """
    at, longest, onward, near = clock.steps, 0, 2 * trial + 1, 1
    backwards = [at]
    # Plain comparisons: this loop is most of what a search costs.
    for left in range(count - 1, -1, -1):
        tail = at == clock.steps
        least, most = (limits.last_least, limits.last_most) if tail else (limits.least, limits.most)
        shown, whole = (traffic.shown[at], traffic.whole[at]) if traffic else (0, 0)
        floor, ceiling = at - most if at > most else 0, at - least
        if ceiling < floor or whole > trial:
            return BottleneckPartition(None, trial, longest, min(onward, max(whole, trial + 1)))
        remaining = clock.remaining[at]
        if remaining > trial * (left + 1):
            return BottleneckPartition(None, trial, longest, min(onward, -(-remaining // (left + 1))))
        found = clock.least_start(at, trial - shown, floor, ceiling, near)
        if found is None:
            return BottleneckPartition(None, trial, longest, min(onward, clock.time(ceiling, at) + shown))
        start, taken, beyond = found
        if start > floor and beyond + shown < onward:
            onward = beyond + shown
        if exact or start > 0:
            least_possible = start
            if exact:
                start = max(start, left * limits.least) if left else start
                reached = start <= left * limits.most
            else:
                # A start is useful only if whole chunks fill what lies before it.
                pieces = -(-start // limits.most) if limits.least <= limits.most else left + 1
                start = max(start, pieces * limits.least)
                reached = pieces <= left
            if not reached or start > ceiling:
                return BottleneckPartition(None, trial, longest, max(onward, trial + 1))
            if start > least_possible:
                taken = clock.time(start, at)
        if taken + shown > longest:
            longest = taken + shown
        if whole > longest:
            longest = whole
        backwards.append(start)
        at, near = start, at - start
        if at == 0 and (not exact or left == 0):
            return BottleneckPartition(
                np.array(backwards[::-1], dtype=np.int64), trial, longest, max(onward, trial + 1)
            )
    return BottleneckPartition(None, trial, longest, max(onward, trial + 1))


def min_max_partition(
    clock: BottleneckTimes,
    limits: LengthLimits,
    count: int,
    exact: bool,
    fits: Callable[[IntArray], bool] | None = None,
    traffic: Traffic | None = None,
    above: int = 0,
    most: int | None = None,
) -> BottleneckPartition | None:
    """Find the walk of the least trial that reaches 0 within the count and fits the memories.

    Bisection over whole ticks.  Exact if `fits`, once true, stays true as the trial grows: so it
    does with pooled or paired memories and a fixed reserve, for all boundaries move down.

    Parameters
    ----------
    fits : callable, optional
        Whether boundaries fit the memories.
    above : int
        Trials below this are known to fail, ticks.
    most : int, optional
        Trials above this are of no interest, ticks.

    Returns
    -------
    Walk or None
        None if no trial works.
    """
    if exact and limits.windows(count) is None:
        return None
    last = clock.time(0, clock.steps)
    if traffic:
        last += max(traffic.shown) + max(traffic.whole)

    def attempt(trial: int) -> tuple[BottleneckPartition, bool]:
        walk = bottleneck_partition(clock, limits, trial, count, exact, traffic)
        return walk, walk.indices is not None and (fits is None or fits(walk.indices))

    low = max(above, -(-clock.remaining[clock.steps] // count), 1)
    trial, stride = low, max(1, low // 64)
    last = last if most is None else min(last, most)
    while True:
        best, good = attempt(trial)
        if good:
            break
        if trial >= last:
            return None
        low = max(trial + 1, best.onward)
        trial, stride = min(max(low, trial + stride), max(low, last)), 2 * stride
    high = best.longest
    while low < high:
        middle = (low + high) // 2
        walk, good = attempt(middle)
        if good:
            # Where shorter chunks are slower, a chunk cut short for those still owed may exceed the trial.
            best, high = walk, min(walk.longest, middle)
        else:
            low = max(middle + 1, walk.onward)
    return best


Rows = Callable[[IntArray, int | None], Shortage | None]
"""The memory row that boundaries break; the reserve may be that of another longest chunk, tokens."""


class TrialPruning:
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

    def __init__(self, clock: BottleneckTimes, limits: LengthLimits, rows: Rows) -> None:
        self._clock, self._limits, self._rows = clock, limits, rows
        self.trial, self.count = 0, 0
        self.chunks: int | None = None

    def includes(self, count: int, trial: int) -> bool:
        """Whether a trial is refuted for a count of chunks.

        Parameters
        ----------
        count : int
        trial : int
            Longest chunk time, ticks.
        """
        return count <= self.count and trial <= self.trial

    def covers(self, count: int) -> bool:
        """Whether the least trial within which there are so few chunks is refuted."""
        return self.chunks is not None and self.chunks <= count <= self.count

    def refute(self, count: int, trial: int) -> bool:
        """Refute a trial, in place of what was known, or leave that if its walk may fit.

        Parameters
        ----------
        count : int
        trial : int
            Longest chunk time, ticks.
        """
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
