"""TeraPipe's dynamic program over token slices."""

from __future__ import annotations

import heapq

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.chunking.bottleneck_partition import min_max_partition
from mocap_opt.chunking.longest_chunk_time import BottleneckTimes, leading_stages
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.flow_shop.chunk_times import chunk_times
from mocap_opt.flow_shop.partitions import NEVER, cheapest_boundaries, least_by_count
from mocap_opt.memory_budget import require_memory
from mocap_opt.stopping import AskedToStop, never, stop_if
from mocap_opt.tables.cost_tables import Tables

EXACT_STEPS = 2048
"""Up to so many grid steps the exact optimum takes less than a second."""


def slice_times(tables: Tables, longest: int, asked_to_stop: AskedToStop = never) -> IntArray:
    """t(a, b) by end and length, int64[G + 1, longest]; `NEVER` where the limits forbid it.

    t is the longest tau + send over the stages; column d - 1 holds the slices of d grid steps.

    Parameters
    ----------
    tables : Tables
    longest : int
        The most grid steps of a slice.
    asked_to_stop : callable
        Asked before each stage.

    Returns
    -------
    int64[G + 1, longest], ticks
    """
    # The table, the starts, what is allowed, and the times of one stage with their parts.
    require_memory("the table of slice times", 10 * (tables.steps + 1) * longest)
    end = np.arange(tables.steps + 1)[:, None]
    start = end - np.arange(1, longest + 1)[None, :]
    times = np.full(start.shape, NEVER, dtype=np.int64)
    rows, columns = np.nonzero(start >= 0)
    allowed = tables.chunk_allowed(start[rows, columns], rows)
    rows, columns = rows[allowed], columns[allowed]
    a, b = start[rows, columns], rows
    slowest = np.zeros(rows.size, dtype=np.int64)
    for i in leading_stages(tables):
        stop_if(asked_to_stop)
        np.maximum(slowest, tables.tau(i, a, b) + tables.send_time(i, a, b), out=slowest)
    times[rows, columns] = slowest
    return times


def least_sum(
    tables: Tables, times: IntArray, tmax: int, asked_to_stop: AskedToStop = never
) -> tuple[int, IntArray] | None:
    """S*(L; tmax) and its slices: the least sum of slice times, none above `tmax`.

    S*(i; tmax) = min over k with t(k, i - k) <= tmax of S*(i - k; tmax) + t(k, i - k), layer by
    layer in the number of slices, so that the limit on it is kept; it ends early once another
    slice no longer helps.  None if no slicing qualifies.

    Parameters
    ----------
    tables : Tables
    times : int64[G + 1, longest], ticks
        From `slice_times`.
    tmax : int
        The longest slice time allowed, ticks.
    asked_to_stop : callable
        Asked before each layer.

    Returns
    -------
    total : int, ticks
    indices : int64[slices + 1]
        Grid indices; None instead of both if no slicing qualifies.
    """
    columns = np.flatnonzero((times <= tmax).any(axis=0))
    if columns.size == 0:
        return None
    width = int(columns[-1]) + 1
    allowed = np.where(times[:, :width] <= tmax, times[:, :width], NEVER)
    layers: list[IntArray] = []
    best: tuple[int, int] | None = None
    lowest = np.full(tables.steps + 1, NEVER)
    lowest[0] = 0
    for count, layer in zip(
        range(1, max(tables.counts, default=0) + 1), least_by_count(allowed), strict=False
    ):
        stop_if(asked_to_stop)
        layers.append(layer)
        total = int(layer[-1])
        if count in tables.counts and total < NEVER and (best is None or total < best[0]):
            best = total, count
        if not tables.exact_chunks and count > 1 and np.all(layer >= lowest):
            break
        np.minimum(lowest, layer, out=lowest)
    if best is None:
        return None
    return best[0], cheapest_boundaries(layers[: best[1]], allowed)


def terapipe_slices(
    tables: Tables, epsilon: int | None = None, asked_to_stop: AskedToStop = never
) -> IntArray | None:
    """Find the slicing of least S*(L; tmax) + (K - 1) tmax over tmax, K = N.

    The published sweep tries every slice time as tmax in ascending order, skips those within
    epsilon of the last, and stops when K tmax exceeds the best.  Here the range of tmax is halved
    instead: S* falls as tmax grows, so S*(upper end) + (K - 1) (lower end) bounds a range from
    below, and ranges that cannot beat the best are dropped.  Same answer, fewer programs.

    Parameters
    ----------
    tables : Tables
    epsilon : int, optional
        Ranges of tmax no longer than this are not searched, ticks; the error is at most
        (K - 1) epsilon.  Default: 0 up to `EXACT_STEPS` grid steps, beyond that 1e-4 of the least tmax
        that works.
    asked_to_stop : callable
        Asked between the layers of the program.

    Returns
    -------
    int64[slices + 1] or None
        Grid indices; None if the limits admit no slicing.

    Raises
    ------
    StoppedError
        If asked to stop.
    OverBudgetError
        If the table of slice times would outgrow the memory budget.

    Source: Li et al., TeraPipe (arXiv 2102.07988).  The published count is free; here it keeps to
    the counts of the tables.
    """
    limits, clock = LengthLimits.of(tables), BottleneckTimes(tables)
    counts = limits.counts(tables)
    if not counts:
        return None
    others, whole = tables.stages - 1, clock.remaining[tables.steps]
    lowest, best, best_indices = -(-whole // counts[-1]), NEVER, None
    first = min_max_partition(clock, limits, counts[-1], tables.exact_chunks)
    if first is not None and first.indices is not None:
        best, best_indices = _cost(tables, first.indices, others), first.indices
        if not tables.prefix_cost.any() and clock.shorter_is_faster and limits.least <= 1:
            # Shorter chunks are faster then, so the walk's trial is the least that works.
            lowest = first.longest
    # Any slicing sums to at least the compute of the whole, which limits tmax.
    highest = max(clock.time(0, tables.steps), int(tables.prefix_cost.max()) + lowest)
    if others and best_indices is not None:
        highest = min(highest, max(lowest, (best - whole) // others))
    if epsilon is None:
        epsilon = 0 if tables.steps <= EXACT_STEPS else lowest // 10_000
    longest = min(clock.longest_within(highest), max(limits.most, limits.last_most, 1))
    times = slice_times(tables, longest, asked_to_stop)
    ranges = [(whole + others * lowest, lowest, highest, whole)]
    while ranges:
        bound, low, high, floor = heapq.heappop(ranges)
        if bound >= best:
            break
        middle = high if high - low <= epsilon else (low + high) // 2
        parts = [(middle + 1, high, floor)]
        found = least_sum(tables, times, middle, asked_to_stop)
        if found is not None:
            total, indices = found
            reached = int(np.max(times[indices[1:], np.diff(indices) - 1]))
            if total + others * reached < best:
                best, best_indices = total + others * reached, indices
            # S* is the same from the longest slice of its answer up to this tmax.
            parts.append((low, reached - 1, total))
        if middle < high or epsilon == 0:
            for lower, upper, least in parts:
                if lower <= upper:
                    heapq.heappush(ranges, (least + others * lower, lower, upper, least))
    return best_indices


def _cost(tables: Tables, indices: IntArray, others: int) -> int:
    """TeraPipe's objective of a slicing, ticks."""
    work, send = chunk_times(tables, indices)
    times = (work + send).max(axis=0)
    return int(times.sum() + others * times.max())


def terapipe(tables: Tables, asked_to_stop: AskedToStop = never) -> list[IntArray]:
    """TeraPipe's slicing as the only candidate.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        As of `terapipe_slices`.

    Returns
    -------
    list of int64[slices + 1]
        Grid indices; empty if the limits admit no slicing.
    """
    indices = terapipe_slices(tables, asked_to_stop=asked_to_stop)
    return [] if indices is None else [indices]
