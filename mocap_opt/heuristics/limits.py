"""Limits on chunk lengths and counts, in grid steps.

A chunk's length is limited to an interval, so the grid indices a boundary may take form intervals
too: p_k lies in [k least, k most] seen from the start, and likewise seen from the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mocap_opt.stopping import AskedToStop, stop_if
from mocap_opt.tables import IntArray, Tables


@dataclass(frozen=True)
class LengthLimits:
    """Shortest and longest chunk, in grid steps.

    The chunk that ends at the last grid point has its own pair, since its last step may be short.
    No admissible length is written ``least > most``.
    """

    steps: int
    least: int
    most: int
    last_least: int
    last_most: int

    @classmethod
    def of(cls, tables: Tables) -> LengthLimits:
        """Limits of the tables."""
        bounds: list[int] = []
        for tail in (0, 1):
            allowed = np.flatnonzero(tables.length_allowed[tail])
            bounds += [int(allowed[0]), int(allowed[-1])] if allowed.size else [1, 0]
        return cls(tables.steps, *bounds)

    def at_most(self, longest: int) -> LengthLimits:
        """Limits of the same chunks if they have at most `longest` grid steps."""
        middle = (self.least, min(self.most, longest)) if self.least <= longest else (1, 0)
        tail = (self.last_least, min(self.last_most, longest)) if self.last_least <= longest else (1, 0)
        return LengthLimits(self.steps, *middle, *tail)

    def windows(self, count: int) -> tuple[IntArray, IntArray] | None:
        """Least and greatest grid index of every boundary of `count` chunks.

        Returns
        -------
        low, high : int64[count + 1], or None if no boundaries of that count keep to the limits
        """
        if self.last_least > self.last_most or (count > 1 and self.least > self.most):
            return None
        k = np.arange(count, dtype=np.int64)
        after = count - 1 - k
        low = np.maximum(k * self.least, self.steps - self.last_most - after * self.most)
        high = np.minimum(k * self.most, self.steps - self.last_least - after * self.least)
        if np.any(low > high):
            return None
        return np.append(low, self.steps), np.append(high, self.steps)

    def lowest(self, count: int) -> IntArray | None:
        """Boundaries of the longest chunks from the end on: each as low as any can be, counted from S.

        The first chunk takes what is left, and may be shorter than allowed.

        Returns
        -------
        int64[chunks + 1], or None if `count` chunks do not reach 0
        """
        if self.last_most < 1:
            return None
        start = self.steps - self.last_most - max(self.most, 0) * np.arange(count, dtype=np.int64)
        if start[-1] > 0:
            return None
        return np.concatenate([[0], start[start > 0][::-1], [self.steps]])

    def counts(self, tables: Tables) -> list[int]:
        """List the counts the tables allow for which boundaries within the limits exist."""
        return [m for m in tables.counts if self.windows(m) is not None]


def snap(tables: Tables, limits: LengthLimits, targets: npt.ArrayLike) -> IntArray | None:
    """Grid indices nearest to wanted boundaries, within the limits.

    Parameters
    ----------
    tables : Tables
    limits : LengthLimits
    targets : float[count + 1], tokens
        Wanted boundaries, 0 first and S last.

    Returns
    -------
    int64[count + 1], or None if the limits admit no boundaries of that count
    """
    wanted = np.asarray(targets, dtype=np.float64)
    windows = limits.windows(wanted.size - 1)
    if windows is None:
        return None
    low, high = windows
    above = np.clip(np.searchsorted(tables.grid, wanted), 1, tables.steps)
    nearest = above - (wanted - tables.grid[above - 1] <= tables.grid[above] - wanted)
    indices = np.zeros(wanted.size, dtype=np.int64)
    for k in range(1, wanted.size):
        # Each window is exact, so any choice inside both intervals can be completed.
        floor = max(int(low[k]), int(indices[k - 1]) + limits.least)
        ceiling = min(int(high[k]), int(indices[k - 1]) + limits.most)
        indices[k] = min(max(int(nearest[k]), floor), ceiling)
    indices[-1] = tables.steps
    return indices


def for_every_count(
    tables: Tables, rule: Callable[[Tables, int], IntArray | None], asked_to_stop: AskedToStop
) -> list[IntArray]:
    """Boundaries by a rule for every count the limits allow, fewest first, where it finds any."""
    found: list[IntArray] = []
    for count in LengthLimits.of(tables).counts(tables):
        stop_if(asked_to_stop)
        indices = rule(tables, count)
        if indices is not None:
            found.append(indices)
    return found
