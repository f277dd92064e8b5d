"""What chunks, levels and memory cost in the ladder's programs, in whole parts of a tick.

Statement and proof: ``formulations/ladder.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.partitions import NEVER
from mocap_opt.formulations.slot_times import message_table, slot_times
from mocap_opt.lower_bound import Scope
from mocap_opt.memory_budget import require_memory
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True, eq=False)
class LadderCosts:
    """What chunks of an instance with like stages take in lockstep.

    Attributes
    ----------
    tables : Tables
    name : str
        Of the bound that follows.
    scope : Scope
        What the bound covers.
    """

    tables: Tables
    name: ClassVar[str] = "ladder"
    scope: ClassVar[Scope] = Scope.LOCKSTEP

    @property
    def ascent(self) -> int:
        """N - 1: what a rise of the levels costs."""
        return self.tables.stages - 1

    @property
    def times(self) -> IntArray:
        """How long a chunk keeps a slot, int64[start, end], ticks; `NEVER` where there is no chunk."""
        return self.work

    @cached_property
    def work(self) -> IntArray:
        """Time of a chunk on every stage, int64[start, end], ticks; `NEVER` where there is no chunk."""
        tables, points = self.tables, self.tables.steps + 1
        require_memory("the times of all chunks", 8 * points**2)
        a, b = np.triu_indices(points, 1)
        allowed = tables.chunk_allowed(a, b)
        work = np.full((points, points), NEVER, dtype=np.int64)
        work[a[allowed], b[allowed]] = tables.tau(0, a[allowed], b[allowed])
        return work

    @cached_property
    def message(self) -> IntArray:
        """Least time of a chunk's activations over the senders, int64[2, G + 1], by ``[tail, k]``."""
        senders = message_table(self.tables)[:-1]
        least: IntArray = senders.min(axis=0) if senders.size else np.zeros_like(self.tables.send[0])
        return least

    def further_messages(self, lengths: slice) -> int:
        """What the longest chunk's messages take at least in further slots, by its steps; ticks.

        Parameters
        ----------
        lengths : slice
            Of grid steps.
        """
        allowed = self.tables.length_allowed[:, lengths]
        longest = int(self.message[:, lengths][allowed].min()) if allowed.any() else 0
        return max(0, self.tables.stages - 2) * longest

    def latency(self, boundaries: IntArray) -> int:
        """Least latency of a partition: with all KV at home, which no other homes beat; ticks.

        Memory is not looked at.

        Parameters
        ----------
        boundaries : int64[chunks + 1]
            Grid indices of the non-empty chunks.
        """
        stages, chunks = self.tables.stages, boundaries.size - 1
        nothing = np.zeros((stages, chunks, self.tables.memories), dtype=np.int64)
        return int(sum(part.sum() for part in slot_times(self.tables, boundaries, nothing)))

    @cached_property
    def affine_message(self) -> tuple[int, int, int]:
        """Whole numbers with message >= each + slope k of inner chunks, >= last + slope k of the last one."""
        inner = np.flatnonzero(self.tables.length_allowed[0])
        inner = inner[inner < self.tables.steps]
        tail = np.flatnonzero(self.tables.length_allowed[1])
        if not inner.size:
            return 0, 0, int(self.message[1, tail].min(initial=NEVER)) if tail.size else 0
        first, past = int(inner[0]), int(inner[-1])
        rise = int(self.message[0, past] - self.message[0, first])
        slope = rise // (past - first) if past > first else 0
        each = int((self.message[0, inner] - slope * inner).min())
        last = int((self.message[1, tail] - slope * tail).min()) if tail.size else 0
        return slope, each, last


def thinned(values: IntArray, most: int) -> IntArray:
    """Levels for chunk times: 0 and at most so many of these values, about evenly apart.

    Parameters
    ----------
    values : int64[value], ticks
        Chunk times in any order.
    most : int

    Returns
    -------
    int64[level]
        Ascending, the least value among them, so that a time is rounded down to one of them.
    """
    distinct = np.unique(values)
    if distinct.size > most:
        edges = np.linspace(distinct[0], distinct[-1], most, endpoint=False)
        distinct = distinct[np.unique(np.searchsorted(distinct, edges.astype(np.int64)))]
    return np.unique(np.append(distinct, 0))


@dataclass(frozen=True, eq=False)
class LadderPrices:
    """What boundaries cost because of memory, and what is added to every partition.

    Attributes
    ----------
    parts : int
        Parts of a tick, a power of two.
    per_page : int64[position + 1], parts
        Price of a page before each boundary.
    offset : int, parts
        Of a partition: the longest chunk's messages, less the price of the room.
    """

    parts: int
    per_page: IntArray
    offset: int

    def ticks(self, cost: int) -> int:
        """Latency that the cost of a partition proves, rounded up: latencies are whole ticks."""
        return -(-(cost + self.offset) // self.parts)

    def most(self, target: int) -> int:
        """Greatest cost of a partition of a plan that is faster than a target, ticks."""
        return (target - 1) * self.parts - self.offset


class Levels:
    """What both programs share: levels, and how costs spread over them.

    Attributes
    ----------
    levels : int64[level], ticks
        Ascending from 0.
    optional : int
        Leading positions that may be empty.
    """

    def __init__(self, costs: LadderCosts, levels: IntArray, optional: int) -> None:
        self.costs, self.levels, self.optional = costs, levels, optional

    def raised(self, layer: IntArray, parts: int) -> IntArray:
        """Least cost with the next chunk at each level, the rise included; int64[node, level].

        Parameters
        ----------
        layer : int64[node, level], parts
            Least cost up to each node with the last chunk at each level.
        parts : int
            Of a tick.
        """
        rise = self.levels * (self.costs.ascent * parts)
        from_above = np.minimum.accumulate(layer[:, ::-1], axis=1)[:, ::-1]
        from_below = np.minimum.accumulate(layer - rise, axis=1) + rise
        return np.minimum(from_above, from_below, out=from_below)

    def lowered(self, layer: IntArray, parts: int) -> IntArray:
        """Least cost from each level of the last chunk on, the rise to the next one included.

        Parameters
        ----------
        layer : int64[node, level], parts
            Least cost from each node on with the next chunk at each level.
        parts : int
            Of a tick.
        """
        rise = self.levels * (self.costs.ascent * parts)
        to_below = np.minimum.accumulate(layer, axis=1)
        to_above = np.minimum.accumulate((layer + rise)[:, ::-1], axis=1)[:, ::-1] - rise
        return np.minimum(to_below, to_above, out=to_below)

    def before(self, layer: IntArray, reached: IntArray, level: int, parts: int) -> tuple[int, int]:
        """The cheapest of some nodes to come from, and its level.

        Parameters
        ----------
        layer : int64[node, level], parts
        reached : int64[node]
            Cost from each node, the rise to the next chunk's level included.
        level : int
            Of the next chunk.
        parts : int
            Of a tick.
        """
        node = int(reached.argmin())
        rise = np.maximum(self.levels[level] - self.levels, 0) * (self.costs.ascent * parts)
        return node, int((layer[node] + rise).argmin())
