"""Cheapest partitions of the grid into chunks, by dynamic programs over their ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.tables.cost_tables import Tables

NEVER = 2**61
"""More than any cost, little enough that sums of two stay within int64."""

Numbers = npt.NDArray[Any]
"""int64 for exact costs, with `NEVER` where there is no chunk; float64 for others, with inf there."""


def _nothing(cost: Numbers) -> float:
    return np.inf if cost.dtype.kind == "f" else NEVER


def least_by_any_count(cost: Numbers) -> Numbers:
    """Least cost of any number of chunks up to each grid point.

    Parameters
    ----------
    cost : number[end, start, ...]
        Cost of chunks between grid points; further axes are many costs at once.

    Returns
    -------
    number[G + 1, ...]
    """
    least: Numbers = np.full_like(cost[0], _nothing(cost))
    least[0] = 0
    for end in range(1, len(least)):
        least[end] = np.minimum((least[:end] + cost[end, :end]).min(axis=0), _nothing(cost))
    return least


def least_by_count(cost: Numbers) -> Iterator[Numbers]:
    """Least cost of exactly 1, 2, 3, ... chunks up to each grid point; without end.

    Parameters
    ----------
    cost : number[G + 1, longest]
        Cost of chunks by ``[end, steps - 1]``.

    Yields
    ------
    number[G + 1]
        `NEVER` or inf where so many chunks cannot end.
    """
    points, longest = cost.shape
    # Nothing is reached before the start; windows of this row are the starts of each end, nearest last.
    nothing = _nothing(cost)
    reached = np.full(longest + points, nothing, dtype=cost.dtype)
    reached[longest] = 0
    backwards = np.ascontiguousarray(cost[:, ::-1])
    starts = np.lib.stride_tricks.sliding_window_view(reached, longest)[:points]
    while True:
        layer = np.minimum((starts + backwards).min(axis=1, initial=nothing), nothing)
        yield layer
        reached[longest:] = layer


def cheapest_boundaries(layers: Sequence[Numbers], cost: Numbers) -> IntArray:
    """Boundaries of a cheapest partition into as many chunks as there are layers.

    Parameters
    ----------
    layers : sequence of number[G + 1]
        The first ones of `least_by_count`; the last one reaches G.
    cost : number[G + 1, longest]

    Returns
    -------
    int64[chunks + 1]
        Grid indices; of equal partitions that of the latest boundaries, from the end on.
    """
    points, longest = cost.shape
    start = np.full(points, _nothing(cost), dtype=cost.dtype)
    start[0] = 0
    indices = [points - 1]
    for before in [*layers[-2::-1], start]:
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


def divisions(tables: Tables) -> Iterator[IntArray]:
    """Every partition that keeps to counts and lengths, int64[chunks + 1], grid indices.

    Parameters
    ----------
    tables : Tables
    """
    for count in tables.counts:
        for cuts in combinations(range(1, tables.steps), count - 1):
            indices = np.array([0, *cuts, tables.steps], dtype=np.int64)
            if tables.chunk_allowed(indices[:-1], indices[1:]).all():
                yield indices
