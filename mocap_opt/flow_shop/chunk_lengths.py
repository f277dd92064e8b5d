"""Limits on chunk lengths and counts, in grid steps, and boundaries moved within them.

A chunk's length is limited to an interval, so the grid indices a boundary may take form intervals too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.stopping import AskedToStop, stop_if
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True)
class LengthLimits:
    """Shortest and longest chunk, in grid steps.

    The chunk that ends at the last grid point has its own pair, since its last step may be short.
    No admissible length is written ``least > most``.

    Attributes
    ----------
    steps : int
        G.
    least, most : int
        For a chunk that is not the last one.
    last_least, last_most : int
        For the last chunk.
    """

    steps: int
    least: int
    most: int
    last_least: int
    last_most: int

    @classmethod
    def of(cls, tables: Tables) -> LengthLimits:
        """Read the limits off ``tables.length_allowed``."""
        inner, tail = (np.flatnonzero(row) for row in tables.length_allowed)
        # A chunk that is not the last leaves at least one step for the last.
        inner = inner[inner < tables.steps]
        bounds: list[int] = []
        for allowed in (inner, tail):
            bounds += [int(allowed[0]), int(allowed[-1])] if allowed.size else [tables.steps + 1, 0]
        return cls(tables.steps, *bounds)

    def at_most(self, longest: int) -> LengthLimits:
        """Limits of the same chunks if they have at most `longest` grid steps."""
        none = self.steps + 1, 0
        inner = (self.least, min(self.most, longest)) if self.least <= longest else none
        tail = (self.last_least, min(self.last_most, longest)) if self.last_least <= longest else none
        return LengthLimits(self.steps, *inner, *tail)

    def possible(self, count: int) -> bool:
        """Whether that many chunks can have lengths within the limits."""
        inner = count - 1
        return self.last_least <= self.last_most and (
            inner * self.least + self.last_least <= self.steps <= inner * self.most + self.last_most
            and (inner == 0 or self.least <= self.most)
        )

    def counts(self, tables: Tables) -> list[int]:
        """List the counts the tables allow for which boundaries within the limits exist."""
        return [count for count in tables.counts if self.possible(count)]

    def least_boundaries(self, count: int, longest: int | None = None) -> IntArray:
        """Least boundaries of that many chunks, of at most `longest` steps each, int64[count + 1].

        Parameters
        ----------
        count : int
            Of chunks.
        longest : int, optional
            The most grid steps of any chunk; by default what the limits allow.
        """
        cap = self.steps if longest is None else longest
        most, last_most = min(self.most, cap), min(self.last_most, cap)
        k = np.arange(count + 1, dtype=np.int64)
        low = np.maximum(k * self.least, self.steps - last_most - (count - 1 - k) * most)
        low[0], low[-1] = 0, self.steps
        return np.clip(low, 0, self.steps)

    def greatest_boundaries(self, count: int) -> IntArray:
        """Greatest boundaries of that many chunks, int64[count + 1]."""
        k = np.arange(count + 1, dtype=np.int64)
        high = np.minimum(k * self.most, self.steps - self.last_least - (count - 1 - k) * self.least)
        high[0], high[-1] = 0, self.steps
        return np.clip(high, 0, self.steps)

    def windows(self, count: int) -> tuple[IntArray, IntArray] | None:
        """Least and greatest grid index of every boundary of `count` chunks.

        Returns
        -------
        low, high : int64[count + 1], or None if no boundaries of that count keep to the limits
        """
        if not self.possible(count):
            return None
        return self.least_boundaries(count), self.greatest_boundaries(count)

    def shortest_longest(self, count: int) -> int:
        """Fewest steps that the longest of that many chunks can have."""
        return max(-(-self.steps // count), self.least if count > 1 else 1)

    def latest_last_start(self, count: int) -> int:
        """Greatest grid index at which the last of that many chunks can start."""
        return min((count - 1) * self.most, self.steps - self.last_least)

    def lowest(self, count: int) -> IntArray | None:
        """Boundaries of the longest chunks from the end on: each as low as any can be, counted from S.

        The first chunk takes what is left, and may be shorter than allowed.

        Returns
        -------
        int64[chunks + 1], or None if `count` chunks do not reach 0
        """
        if self.last_most < 1:
            return None
        start = self.steps - self.last_most - self.most * np.arange(count, dtype=np.int64)
        if start[-1] > 0:
            return None
        return np.concatenate([[0], start[start > 0][::-1], [self.steps]])


def within_limits(tables: Tables, boundaries: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether boundaries rise, stay on the grid and keep to the limits of `Tables.chunk_allowed`, bool[...].

    Parameters
    ----------
    boundaries : int64[..., chunks + 1]
        Grid indices, from 0 to G.
    """
    at = np.asarray(boundaries)
    lengths = np.diff(at, axis=-1)
    rising = np.all((lengths > 0) & (at[..., :-1] >= 0) & (at[..., 1:] <= tables.steps), axis=-1)
    tail = np.zeros(lengths.shape, dtype=np.int64)
    tail[..., -1] = 1
    allowed = tables.length_allowed[tail, np.clip(lengths, 0, tables.steps)].all(axis=-1)
    within = np.array(rising & allowed)
    if tables.between_tokens is not None:
        kept = at[within]
        within[within] = tables.chunk_allowed(kept[..., :-1], kept[..., 1:]).all(axis=-1)
    return within


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
    """Boundaries by a rule for every count the limits allow, fewest first, where it finds any.

    Parameters
    ----------
    tables : Tables
    rule : callable
        From the tables and a count to grid indices, or None.
    asked_to_stop : callable
        Asked before each count.

    Returns
    -------
    list of int64[chunks + 1]

    Raises
    ------
    StoppedError
        If asked to stop.
    """
    found: list[IntArray] = []
    for count in LengthLimits.of(tables).counts(tables):
        stop_if(asked_to_stop)
        indices = rule(tables, count)
        if indices is not None:
            found.append(indices)
    return found
