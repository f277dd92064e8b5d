"""Cheapest partitions of the grid into chunks, by dynamic programs over their ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mocap_opt.arrays import IntArray

NEVER = 2**61
"""More than any cost, little enough that sums of two stay within int64."""


def least_by_count(cost: IntArray) -> Iterator[IntArray]:
    """Least cost of exactly 1, 2, 3, ... chunks up to each grid point; without end.

    Parameters
    ----------
    cost : int64[G + 1, longest]
        Cost of chunks by ``[end, steps - 1]``; `NEVER` where there is none.

    Yields
    ------
    int64[G + 1]
        `NEVER` where so many chunks cannot end.
    """
    points, longest = cost.shape
    # Nothing is reached before the start; windows of this row are the starts of each end, nearest last.
    reached = np.full(longest + points, NEVER, dtype=np.int64)
    reached[longest] = 0
    backwards = np.ascontiguousarray(cost[:, ::-1])
    starts = np.lib.stride_tricks.sliding_window_view(reached, longest)[:points]
    while True:
        layer = np.minimum((starts + backwards).min(axis=1, initial=NEVER), NEVER)
        yield layer
        reached[longest:] = layer


def cheapest_boundaries(layers: Sequence[IntArray], cost: IntArray) -> IntArray:
    """Boundaries of a cheapest partition into as many chunks as there are layers.

    Parameters
    ----------
    layers : sequence of int64[G + 1]
        The first ones of `least_by_count`; the last one reaches G.
    cost : int64[G + 1, longest]

    Returns
    -------
    int64[chunks + 1]
        Grid indices; of equal partitions that of the latest boundaries, from the end on.
    """
    points, longest = cost.shape
    nothing = np.full(points, NEVER, dtype=np.int64)
    nothing[0] = 0
    indices = [points - 1]
    for before in [*layers[-2::-1], nothing]:
        end = indices[-1]
        reach = min(longest, end)
        indices.append(end - 1 - int((before[end - reach : end][::-1] + cost[end, :reach]).argmin()))
    return np.array(indices[::-1], dtype=np.int64)


def cheapest_by_count(times: IntArray, counts: range) -> dict[int, int]:
    """Cost of the cheapest partition by its count of chunks; counts that none has are left out.

    Parameters
    ----------
    times : int64[end, steps - 1], ticks
        Cost of chunks; `NEVER` where there is none.
    counts : range
        Counts to look at.
    """
    layers = zip(range(1, max(counts, default=0) + 1), least_by_count(times), strict=False)
    return {count: int(row[-1]) for count, row in layers if count in counts and row[-1] < NEVER}
