"""What every chunk adds to sums that fit into one period (formulations/period.md, Bounds).

Stages, queues, links and memories each give a row: whoever executes a plan and however, the sum over the
chunks of a request is no more than the period.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.forced_traffic import SAFE
from mocap_opt.flow_shop.chunk_times import class_members, least_sends, stage_classes
from mocap_opt.flow_shop.partitions import Numbers
from mocap_opt.lower_bound import Scope
from mocap_opt.tables.cost_tables import Tables

FloatArray = npt.NDArray[np.float64]

ROOM_BITS = 58
"""Bits that the weighed rows of a chunk may take."""

MOST = 2**60
"""Beyond this what a chunk costs counts no more; sums are cut off at `NEVER`.  Both leave a bound."""

WEIGHT_BITS = 24
"""Bits of a weight at most; its parts are whole numbers."""

SUBTICK_BITS = 8
"""Bits by which rows are finer than a tick at most."""


@dataclass(frozen=True)
class PeriodSums:
    """Rows of the chunks [a, b) of a request.

    Attributes
    ----------
    rows : list of int64[end, steps - 1], subticks
        Their sums over a request's chunks are at most the period.
    occupied : float64[end, steps - 1], bytes x ticks
        What a chunk's time keeps of all memories: summed up at most the period times their room.
    subticks : int
        Of a tick, a power of two.
    parts : int
        That weights add up to, a power of two: sums of weighed rows stay in 64 bits.
    """

    rows: list[IntArray]
    occupied: FloatArray
    subticks: int
    parts: int

    def weighed(self, weights: FloatArray, room: int) -> tuple[IntArray, int]:
        """Add up the rows, the memories' last, with weights in whole parts; nothing is rounded up.

        Parameters
        ----------
        weights : float64[row + 1]
            None negative, at least one positive; they are scaled to add up to 1.
        room : int
            Bytes of KV and prefixes in all memories.

        Returns
        -------
        cost : int64[end, steps - 1]
        unit : int
            A tick in what costs are counted in.
        """
        whole = _whole_parts(weights, self.parts)
        over_time = float(whole[-1]) * self.subticks * SAFE / max(room, 1) * self.occupied
        cost: IntArray = np.floor(np.minimum(over_time, float(MOST))).astype(np.int64)
        for weight, row in zip(whole[:-1].tolist(), self.rows, strict=True):
            if weight:
                cost = np.minimum(cost + weight * row, MOST)
        return cost, self.parts * self.subticks


@dataclass
class PeriodClass:
    """Partitions whose longest chunk lies in one range, and what is known of each count.

    Attributes
    ----------
    allowed : bool[end, steps - 1]
        Chunks that they may have.
    room : int
        Bytes of KV and prefixes that all memories hold beside the reserve of the range's shortest chunk.
    sums : PeriodSums
    value : int64[count], ticks
        Bounds on the period.
    taken : int64[stage, chunk], ticks
        How long chunks occupy the stages at least, by the upper triangle of grid indices.
    """

    allowed: npt.NDArray[np.bool_]
    room: int
    sums: PeriodSums
    value: IntArray
    taken: IntArray
    cuts: list[FloatArray] = field(default_factory=list)


def period_sums(
    tables: Tables, scope: Scope, start: IntArray, end: IntArray, taken: IntArray, shared: FloatArray
) -> PeriodSums:
    """Rows of stages, of queues and of what all stages share, and what is kept of all memories.

    Parameters
    ----------
    tables : Tables
        With bounded queues.
    scope : Scope
        Lockstep adds the sends, which then take a phase of their own.
    start, end : int64[chunk]
        Grid indices.
    taken : int64[stage, chunk], ticks
        How long chunks occupy the stages at least.
    shared : float64[sum, chunk], ticks
        Sums that fit into a period as they are.
    """
    points, depth = tables.steps + 1, tables.queue_depth
    assert depth is not None
    lockstep = scope is Scope.LOCKSTEP
    sends = _sends(tables, scope, start, end)
    prefix = tables.prefix_bytes[: tables.stages, None]
    classes = stage_classes(taken, sends, tables.page_bytes[:, None], prefix)
    first = class_members(classes)
    # In the slots of a single stage no two chunks meet, so all may count the sends of the same one.
    sender = sends[int(sends.sum(axis=1).argmax())]
    rows = [(taken[i] + (sender if lockstep else 0), 1) for i in first]
    if not lockstep:
        rows += [(taken[i] + sends[i], depth) for i in first if (sends[i] > (depth - 1) * taken[i]).any()]
    held = tables.page_bytes[:, None] * tables.pages[None] + prefix
    stays = taken + sends if lockstep else taken
    if depth == 1 and not lockstep:
        stays = taken + np.where(end < tables.steps, sends, 0)
    occupied = np.zeros(start.size)
    for c, i in enumerate(first):
        occupied += float((classes == c).sum()) * held[i, end] * stays[i].astype(np.float64)
    shared = np.minimum(shared, float(1 << ROOM_BITS))
    largest = max(int(row.max(initial=0)) for row in [*(row for row, _ in rows), shared])
    bits = max(ROOM_BITS - largest.bit_length(), 0)
    finer = min(SUBTICK_BITS, bits // 3)
    fine = [(row << finer) // divisor for row, divisor in rows]
    fine += [np.floor(row * (SAFE * (1 << finer))).astype(np.int64) for row in shared]
    return PeriodSums(
        [by_length(points, start, end, row) for row in fine],
        by_length(points, start, end, occupied),
        1 << finer,
        1 << min(WEIGHT_BITS, bits - finer),
    )


def by_length(points: int, start: IntArray, end: IntArray, values: Numbers) -> Numbers:
    """Values of chunks [a, b) by end and length, as `least_by_count` takes them; 0 elsewhere.

    Parameters
    ----------
    points : int
        G + 1.
    start, end : int64[chunk]
        Grid indices.
    values : number[chunk]
    """
    table = np.zeros((points, points - 1), dtype=values.dtype)
    table[end, end - start - 1] = values
    return table


def _sends(tables: Tables, scope: Scope, start: IntArray, end: IntArray) -> IntArray:
    """Time from the end of a chunk to its arrival at the next stage at least, int64[stage, chunk], ticks."""
    if scope is Scope.LOCKSTEP:
        return tables.send_time(np.arange(tables.stages)[:, None], start, end)
    sends: IntArray = least_sends(tables)[:, (end == tables.steps).astype(np.int64), end - start]
    return sends


def _whole_parts(weights: FloatArray, parts: int) -> IntArray:
    """Weights as whole numbers that add up to `parts`, the largest taking what rounding leaves."""
    scaled = np.maximum(weights, 0.0) / weights.sum() * parts
    whole: IntArray = np.floor(scaled * SAFE).astype(np.int64)
    whole[int(scaled.argmax())] += parts - int(whole.sum())
    return whole
