"""One stage's least work, and the first and last chunk's travel (formulations/bounds.md, `stage_work`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.flow_shop.partitions import NEVER, cheapest_by_count
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.memory_budget import require_memory
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables

MOST_SUMS_EACH = 2**24
"""Sums of the dynamic program for a pair of stages, of which there may be hundreds: 0.1 s each."""

Pieces = list[tuple[int, int]]


def lower_hull(heights: list[int], first: int, last: int) -> list[int]:
    """Corners of the lower convex envelope of ``heights[first .. last]``, in exact integers.

    Parameters
    ----------
    heights : list of int
    first, last : int
        Range of the indices, both included.

    Returns
    -------
    list of int
        Indices of the corners, ascending.
    """
    corners: list[int] = []
    for k in range(first, last + 1):
        while len(corners) >= 2:
            a, b = corners[-2], corners[-1]
            if (heights[b] - heights[a]) * (k - b) < (heights[k] - heights[b]) * (b - a):
                break
            corners.pop()
        corners.append(k)
    return corners


def _pieces(corners: list[int], heights: list[int]) -> Pieces:
    """Run and rise between neighbouring corners."""
    return [(b - a, heights[b] - heights[a]) for a, b in pairwise(corners)]


def _merged_slopes(inner: Pieces, tail: Pieces) -> list[tuple[int, int, bool]]:
    """Pieces of two convex functions by ascending slope: (run, rise, whether it is an inner one)."""
    merged: list[tuple[int, int, bool]] = []
    i = t = 0
    while i < len(inner) or t < len(tail):
        from_inner = t == len(tail) or (
            i < len(inner) and inner[i][1] * tail[t][0] <= tail[t][1] * inner[i][0]
        )
        run, rise = inner[i] if from_inner else tail[t]
        merged.append((run, rise, from_inner))
        i, t = i + from_inner, t + (not from_inner)
    return merged


def least_over_lengths(by_length: IntArray, limits: LengthLimits, counts: list[int]) -> IntArray:
    """Least sum of a cost of lengths over chunks that fill the grid.

    The lower convex envelopes of the inner chunks' cost and of the last one's are filled by
    ascending slope, which minimises a sum of convex functions of lengths with a given sum.

    Parameters
    ----------
    by_length : int64[2, G + 1]
        Cost by ``[tail, k]``; any function of the length.
    limits : LengthLimits
    counts : list of int
        Counts of chunks, each possible within the limits.

    Returns
    -------
    int64[len(counts)]
        A lower bound on the sum (Jensen's inequality), rounded up.
    """
    return np.array(_least_sums(by_length.tobytes(), limits, tuple(counts)), dtype=np.int64)


@lru_cache(maxsize=64)
def _least_sums(by_length: bytes, limits: LengthLimits, counts: tuple[int, ...]) -> tuple[int, ...]:
    """`least_over_lengths`, kept: stages are often alike, and several bounds ask the same."""
    costs, tails = np.frombuffer(by_length, dtype=np.int64).reshape(2, -1).tolist()
    inner = lower_hull(costs, limits.least, limits.most) if limits.least <= limits.most else []
    last = lower_hull(tails, limits.last_least, limits.last_most)
    pieces = _merged_slopes(_pieces(inner, costs), _pieces(last, tails))
    run = np.array([piece[0] for piece in pieces], dtype=np.int64)
    rise = np.array([piece[1] for piece in pieces], dtype=np.int64)
    repeated = np.array([piece[2] for piece in pieces], dtype=np.bool_)
    least = []
    for count in counts:
        copies = np.where(repeated, count - 1, 1)
        missing = limits.steps - limits.last_least
        total = tails[limits.last_least]
        if count > 1:
            missing -= (count - 1) * limits.least
            total += (count - 1) * costs[limits.least]
        reached = np.cumsum(run * copies)
        full = int(np.searchsorted(reached, missing, side="right"))
        total += int((rise * copies)[:full].sum())
        rest = missing - (int(reached[full - 1]) if full else 0)
        if rest:
            total += -(-rest * pieces[full][1] // pieces[full][0])
        least.append(total)
    return tuple(least)


def _least_from(row: IntArray) -> IntArray:
    """Monotone minorant: the least value at this index or later."""
    minorant: IntArray = np.minimum.accumulate(row[::-1])[::-1]
    return minorant


@dataclass(frozen=True, eq=False)
class LeastTotal:
    """W: least time of stage s on the chunks before a split and of stage e on those after it.

    Attributes
    ----------
    compute : dict of int to int, ticks
        By the count of chunks: differences of Phi, full block and length cost.
    overheads : dict of int to int, ticks
        By the count of chunks: length cost alone, to go with the memory side.
    memory_side, prefix_cost : int64[G + 1], ticks
        Monotone minorants of the smaller of the two stages'.
    measured : dict of int to int, ticks
        By the count of chunks: the cheapest partition by the smaller of the two stages' times, residual
        included; empty without a residual.
    """

    compute: dict[int, int]
    overheads: dict[int, int]
    memory_side: IntArray
    prefix_cost: IntArray
    measured: dict[int, int]

    @classmethod
    def of(cls, tables: Tables, limits: LengthLimits, counts: list[int], s: int, e: int) -> LeastTotal:
        """Tabulate for a pair of stages, equal or not.

        Parameters
        ----------
        tables : Tables
        limits : LengthLimits
        counts : list of int
            Counts of chunks, each possible within the limits.
        s, e : int
            Stages before and after the split.
        """
        split = tables.phi[s] - tables.phi[s, 0] + tables.phi[e, -1] - tables.phi[e]
        whole = int(split.min())
        pair = [s, e]
        inside = (tables.full_block[pair] + tables.length_cost[pair]).min(axis=0)
        compute = whole + least_over_lengths(inside, limits, counts)
        overheads = least_over_lengths(tables.length_cost[pair].min(axis=0), limits, counts)
        return cls(
            dict(zip(counts, compute.tolist(), strict=True)),
            dict(zip(counts, overheads.tolist(), strict=True)),
            _least_from(tables.memory_side[pair].min(axis=0)),
            _least_from(tables.prefix_cost[pair].min(axis=0)),
            _by_count(tables, s, e) if tables.excess is not None else {},
        )

    def at(self, boundaries: IntArray) -> int:
        """Least total of plans whose boundaries are nowhere below these, ticks."""
        count = boundaries.size - 1
        reading = self.overheads[count] + int(self.memory_side[boundaries[1:]].sum())
        structured = max(self.compute[count], reading) + int(self.prefix_cost[boundaries[:-1]].sum())
        return max(structured, self.measured.get(count, 0))


def _by_count(tables: Tables, s: int, e: int) -> dict[int, int]:
    """Least sum of chunk times by the count of chunks, each the smaller of two stages' times."""
    if sums_of(tables) > MOST_SUMS_EACH:
        return {}
    return cheapest_by_count(chunk_costs(tables, tables.send, s, e)[0], tables.counts)


def sums_of(tables: Tables) -> int:
    """Sums of one dynamic program over the partitions of an instance."""
    return max(tables.counts, default=0) * (tables.steps + 1) * _longest(tables)


def _longest(tables: Tables) -> int:
    """Steps of the longest chunk that the limits allow."""
    return int(np.flatnonzero(tables.length_allowed.any(axis=0)).max(initial=0))


def admissible_chunks(tables: Tables) -> tuple[IntArray, IntArray]:
    """End and number of grid steps of every chunk that the limits allow, int64[chunk] each."""
    points, longest = tables.steps + 1, _longest(tables)
    require_memory("the tables of chunk costs", 12 * points * longest)
    b, k = (each.ravel() for each in np.meshgrid(np.arange(points), np.arange(1, longest + 1), indexing="ij"))
    keep = (k <= b) & tables.length_allowed[(b == tables.steps).astype(np.int64), k]
    return b[keep], k[keep]


def by_end_and_steps(tables: Tables, values: IntArray) -> IntArray:
    """Values of `admissible_chunks` as dynamic programs read them, int64[end, steps - 1]; else `NEVER`.

    Parameters
    ----------
    tables : Tables
    values : int64[chunk]
    """
    spread = np.full((tables.steps + 1, _longest(tables)), NEVER, dtype=np.int64)
    b, k = admissible_chunks(tables)
    spread[b, k - 1] = values
    return spread


def chunk_costs(tables: Tables, send: IntArray, s: int, e: int) -> tuple[IntArray, IntArray]:
    """Cost and crossing of every chunk, two int64[end, steps - 1]; `NEVER` where it is not allowed.

    Parameters
    ----------
    tables : Tables
    send : int64[stage, 2, G + 1], ticks
        Sends by ``[stage, tail, k]``.
    s, e : int
        End stages, s <= e.

    Returns
    -------
    times : int64[end, steps - 1], ticks
        The smaller of the times on stages s and e.
    crossing : int64[end, steps - 1], ticks
        Work on stages s..e and sends between them, less `times`.
    """
    b, k = admissible_chunks(tables)
    tail = (b == tables.steps).astype(np.int64)
    least = np.minimum(tables.tau(s, b - k, b), tables.tau(e, b - k, b))
    across = -least
    for i in range(s, e + 1):
        across += tables.tau(i, b - k, b)
        if i < e:
            across += send[i, tail, k]
    return by_end_and_steps(tables, least), by_end_and_steps(tables, across)


def stage_work(tables: Tables, asked_to_stop: AskedToStop = never) -> Bound | None:
    """Bound any execution by the busiest stage; None if no plan keeps to count and lengths.

    Once asked to stop it looks at no further stage: each proves a bound by itself.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        Asked before each stage.
    """
    setting = Setting(tables)
    if not setting.counts:
        return None
    found = [work_by_count(setting, 0)]
    for i in range(1, tables.stages):
        if asked_to_stop():
            break
        found.append(work_by_count(setting, i))
    values = np.array(found)
    # A plan has one count, and with it every stage's work is a bound.
    by_count = values.max(axis=0)
    at = int(by_count.argmin())
    note = f"stage {int(values[:, at].argmax())}, {setting.counts[at]} chunks"
    return Bound("stage_work", int(by_count[at]), Scope.ANY_EXECUTION, Evidence.CLOSED_FORM, note)


def work_by_count(setting: Setting, stage: int) -> IntArray:
    """Least head + work + tail of a stage for every possible count, int64[count], ticks.

    Parameters
    ----------
    setting : Setting
    stage : int
    """
    total = LeastTotal.of(setting.tables, setting.limits, setting.counts, stage, stage)
    heads_and_tails, limits = setting.heads_and_tails, setting.limits
    values = []
    for chunks in setting.counts:
        least = limits.least_boundaries(chunks)
        last_start = limits.latest_last_start(chunks)
        head, tail = heads_and_tails.head[stage, least[1]], heads_and_tails.tail[stage, last_start]
        values.append(total.at(least) + int(head) + int(tail))
    return np.array(values, dtype=np.int64)
