"""Partitions with a cost for every chunk: the cheapest of them, exact.

Statement and proof: ``formulations/bounds.md``, `path_relaxation`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.partition_region import PartitionRegion
from mocap_opt.flow_shop.chunk_times import class_members, compute_classes
from mocap_opt.flow_shop.partitions import NEVER
from mocap_opt.tables.cost_tables import Tables

#: Ends of chunks looked at together.
BLOCK = 64


@dataclass(frozen=True, eq=False)
class StageClasses:
    """Stages with equal compute and memory side, together.

    Attributes
    ----------
    kind : int64[stage]
        Number of each stage's kind.
    first : int64[kind]
        A stage of each kind.
    binds_from : int64[kind, G + 1]
        Least start a from which the memory side of a chunk [a, b) is ever slower, by ``[., b]``;
        G if it never is.
    """

    kind: IntArray
    first: IntArray
    binds_from: IntArray

    @classmethod
    def of(cls, tables: Tables) -> StageClasses:
        """Group the stages; O(G^2) per kind with a memory side."""
        kind = compute_classes(tables)
        first = class_members(kind)
        steps = tables.steps
        binds_from = np.full((first.size, steps + 1), steps, dtype=np.int64)
        for c, i in enumerate(first):
            phi, memory = tables.phi[i], tables.memory_side[i]
            for b in range(1, steps + 1):
                tail = int(b == steps)
                compute = phi[b] - phi[:b] + tables.full_block[i, tail, b:0:-1]
                slower = np.flatnonzero((compute < memory[b]) & tables.length_allowed[tail, b:0:-1])
                if slower.size:
                    binds_from[c, b] = slower[0]
        return cls(kind, first, binds_from)


@dataclass(frozen=True, eq=False)
class PricedPartitions:
    """Partitions of a region with a cost for every chunk and every boundary, in parts of a tick.

    Attributes
    ----------
    tables : Tables
    classes : StageClasses
        Of the instance.
    region : PartitionRegion
    parts : int
        Parts of a tick.
    by_length : int64[position, G + 1]
        Cost by steps of a chunk.
    by_start : int64[position, G + 1]
        Cost by where a chunk starts.
    per_class : int64[kind, position]
        Weight of the time on stages of a kind.
    per_page : int64[position]
        Price of a page of positions before a chunk's end.
    room_value : int
        Price of all the room there is, and of the least tokens of the longest chunk.
    fractional : bool
        Whether executions may end between ticks: KV takes bytes / bandwidth.
    """

    tables: Tables
    classes: StageClasses
    region: PartitionRegion
    parts: int
    by_length: IntArray
    by_start: IntArray
    per_class: IntArray
    per_page: IntArray
    room_value: int
    fractional: bool = False

    def least_cost(self) -> int:
        """Cost of the cheapest partition, parts of a tick; `NEVER` if there is none."""
        return int(self.before()[-1][0])

    def before(self) -> list[IntArray]:
        """Least cost of the chunks before each boundary, by position, over the boundary's interval."""
        region = self.region
        values = [np.zeros(1, dtype=np.int64)]
        for j in range(region.positions):
            low, high = int(region.low[j + 1]), int(region.high[j + 1])
            reached = np.full(high + 1 - low, NEVER, dtype=np.int64)
            for first, after in _blocks(low, high):
                costs, start = self._costs(j, first, after)
                if costs.size:
                    costs += values[-1][start : start + costs.shape[1]][::-1]
                    costs.min(axis=1, out=reached[first - low : after - low])
            if j < region.optional and low == 0:
                reached[0] = 0  # still no chunk
            reached[reached > NEVER // 2] = NEVER
            values.append(reached)
        return values

    def cheapest(self, before: list[IntArray]) -> IntArray:
        """The boundaries of the cheapest partition, int64[position + 1]; there must be one.

        Parameters
        ----------
        before : list of int64
            From `before`.
        """
        region = self.region
        at = [int(region.high[-1])]
        for j in range(region.positions - 1, -1, -1):
            if j < region.optional and at[-1] == 0:
                at.append(0)
                continue
            costs, start = self._costs(j, at[-1], at[-1] + 1)
            total = costs[0] + before[j][start : start + costs.shape[1]][::-1]
            at.append(int(region.low[j]) + start + costs.shape[1] - 1 - int(total.argmin()))
        return np.array(at[::-1], dtype=np.int64)

    def below(self, before: list[IntArray], limit: int) -> PartitionRegion | None:
        """What is left of the region without boundaries and chunks that cost `limit` or more.

        Parameters
        ----------
        before : list of int64
            From `before`.
        limit : int
            Parts of a tick.  A chunk costs that with the cheapest chunks before and after it.

        Returns
        -------
        PartitionRegion or None
            None if nothing is left.
        """
        region, steps = self.region, self.tables.steps
        low, high = region.low.copy(), region.high.copy()
        starts = np.empty((2, region.positions, steps + 1), dtype=np.int32)
        starts[0], starts[1] = steps, -1
        after = np.zeros(1, dtype=np.int64)
        for j in range(region.positions - 1, -1, -1):
            origin, end_low, end_high = int(region.low[j]), int(region.low[j + 1]), int(region.high[j + 1])
            here = np.full(int(region.high[j]) + 1 - origin, NEVER, dtype=np.int64)
            for first, past in _blocks(end_low, end_high):
                costs, start = self._costs(j, first, past)
                if not costs.size:
                    continue
                window = slice(start, start + costs.shape[1])
                costs += after[first - end_low : past - end_low, None]
                np.minimum(here[window], costs.min(axis=0)[::-1], out=here[window])
                costs += before[j][window][::-1]
                alive = costs < limit
                some = alive.any(axis=1)
                ends = np.arange(first, past)[some]
                top = origin + start + costs.shape[1] - 1
                starts[1, j, ends] = top - alive[some].argmax(axis=1)
                starts[0, j, ends] = origin + start + alive[some, ::-1].argmax(axis=1)
            if j < region.optional and end_low == 0 and origin == 0:
                here[0] = min(int(here[0]), int(after[0]))
            here[here > NEVER // 2] = NEVER
            kept = np.flatnonzero(before[j] + here < limit)
            if not kept.size:
                return None
            low[j], high[j] = origin + kept[0], origin + kept[-1]
            after = here
        return replace(region, low=low, high=high, starts=starts)

    def _costs(self, j: int, first_end: int, after_end: int) -> tuple[IntArray, int]:
        """Cost of the chunks at a position that end within a range, and the first start looked at.

        Parameters
        ----------
        j : int
        first_end, after_end : int
            Ends to look at: first_end .. after_end - 1.

        Returns
        -------
        costs : int64[end, start]
            Starts descend; `NEVER` or more where there is no such chunk.
        first_start : int
            Least start, counted from the interval's least.
        """
        tables, classes, region = self.tables, self.classes, self.region
        origin = int(region.low[j])
        low, high = max(origin, first_end - region.long), min(int(region.high[j]), after_end - 2)
        if region.starts is not None:
            low = max(low, int(region.starts[0, j, first_end:after_end].min()))
            high = min(high, int(region.starts[1, j, first_end:after_end].max()))
        if low > high:
            return np.empty((after_end - first_end, 0), dtype=np.int64), 0
        # Starts descend, so that the lengths of one end after another are windows of one row.
        lengths = np.arange(first_end - high, after_end - low)
        inside = np.clip(lengths, 0, tables.steps)
        tail = int(j == region.positions - 1)
        possible = (lengths > 0) & (lengths <= region.long) & tables.length_allowed[tail, inside]
        starts, ends = slice(high, low - 1 if low else None, -1), slice(first_end, after_end)
        by_length = self.by_length[j, inside]
        start = self.by_start[j, starts].copy()
        end = self.per_page[j] * tables.pages[ends]
        reading = []
        for c, i in enumerate(classes.first):
            weight = int(self.per_class[c, j])
            if weight and (classes.binds_from[c, ends] <= high).any():
                reading.append((weight, i))
            elif weight:
                by_length += weight * tables.full_block[i, tail, inside]
                start -= weight * tables.phi[i, starts]
                end += weight * tables.phi[i, ends]
        view = np.lib.stride_tricks.sliding_window_view
        costs: IntArray = view(np.where(possible, by_length, NEVER), start.size) + start
        costs += end[:, None]
        for weight, i in reading:
            compute = view(tables.full_block[i, tail, inside], start.size) - tables.phi[i, starts]
            compute += tables.phi[i, ends, None]
            costs += weight * np.maximum(compute, tables.memory_side[i, ends, None])
        if tables.excess is not None:
            for c, i in enumerate(classes.first):
                if weight := int(self.per_class[c, j]):
                    costs += weight * tables.excess[i, starts, ends].T
        if region.starts is not None:
            at = np.arange(high, low - 1, -1)
            earliest, latest = region.starts[:, j, ends, None]
            costs[(at < earliest) | (at > latest)] = NEVER
        return costs, low - origin

    def ticks(self, cost: int) -> int:
        """Latency that a cost proves: rounded up where what is mixed are sums of whole ticks, else down."""
        value = cost - self.room_value
        return value // self.parts if self.fractional else -(-value // self.parts)

    def limit(self, target: int) -> int:
        """Least cost that proves a target, parts of a tick.

        Parameters
        ----------
        target : int, ticks
        """
        least = target * self.parts if self.fractional else (target - 1) * self.parts + 1
        return least + self.room_value


def _blocks(low: int, high: int) -> list[tuple[int, int]]:
    """Ranges of at most `BLOCK` ends that cover low .. high."""
    return [(first, min(first + BLOCK, high + 1)) for first in range(low, high + 1, BLOCK)]
