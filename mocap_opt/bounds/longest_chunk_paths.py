"""Mixtures of paths that cross the stages at the longest chunk, minimised over all partitions, exact.

Statement and proof: ``formulations/bounds.md``, `longest_chunk_mixture`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.partition_pricing import PartitionPricer
from mocap_opt.bounds.partition_region import Multipliers, PartitionRegion, StageWeights
from mocap_opt.bounds.priced_partitions import PricedPartitions
from mocap_opt.flow_shop.partitions import NEVER


@dataclass(frozen=True, eq=False)
class ConditionalPaths:
    """A mixture of paths that knows which chunk is the longest, in whole parts of one.

    Attributes
    ----------
    parts : int
        What the mixture is made of.
    before : int64[position, stage - 1]
        Parts that enter a position on a stage or an earlier one, while the longest chunk is still to come.
    after : int64[position, stage - 1]
        Parts that leave a position on a stage or an earlier one, if the longest chunk was there or before.
    slot_prices : int64[slot]
        Price of a unit of pooled memory by slot, parts of a tick; none negative.
    """

    parts: int
    before: IntArray
    after: IntArray
    slot_prices: IntArray

    def __post_init__(self) -> None:
        """Check that every longest chunk leaves a mixture of paths: none leads back to an earlier stage."""
        down = (
            self.parts - self.before[0],
            self.before[:-1] - self.before[1:],
            self.before - self.after,
            self.after[:-1] - self.after[1:],
            self.after[-1:],
        )
        along = np.diff(self.before, axis=1), np.diff(self.after, axis=1)
        if any((step < 0).any() for step in (*down, *along)) or down[0].any() or down[-1].any():
            raise ValueError(
                "expected parts that start on the first stage, end on the last, and never lead back"
            )
        if (self.slot_prices < 0).any():
            raise ValueError("expected prices >= 0")

    def weights(self) -> tuple[Multipliers, Multipliers, Multipliers]:
        """What the mixture asks of a chunk before the longest, of the longest, and of one behind it.

        Before the last position and after the first one there is no such chunk, and 0 stands there.
        """
        nothing = np.zeros_like(self.before[:1])
        return (
            self._between(self.before, np.concatenate([self.before[1:], nothing]), slice(None, -1)),
            self._between(self.before, self.after, slice(None)),
            self._between(np.concatenate([nothing, self.after[:-1]]), self.after, slice(1, None)),
        )

    def _between(self, entering: IntArray, leaving: IntArray, kept: slice) -> Multipliers:
        whole = np.full((len(entering), 1), self.parts, dtype=np.int64)
        nodes = np.concatenate([entering, whole], axis=1)
        nodes[:, 1:] -= leaving
        there = np.zeros((len(entering), 1), dtype=np.int64)
        there[kept] = 1
        passing = StageWeights(self.parts, (nodes * there).T, ((entering - leaving) * there).T)
        return Multipliers(passing, self.slot_prices, np.zeros(len(entering), dtype=np.int64))


@dataclass(frozen=True, eq=False)
class CrossingTimes:
    """Time of every chunk on all stages together, with its sends.

    Attributes
    ----------
    pricer : PartitionPricer
    """

    pricer: PartitionPricer

    @cached_property
    def by_end(self) -> IntArray:
        """Ticks by ``[end, start]``, int64[G + 1, G + 1]; -1 where no chunk may be."""
        tables, send = self.pricer.tables, self.pricer.setting.send
        start, end = np.triu_indices(tables.steps + 1, 1)
        tail = (end == tables.steps).astype(np.int64)
        allowed = tables.length_allowed[tail, end - start]
        start, end, tail = start[allowed], end[allowed], tail[allowed]
        times = np.full((tables.steps + 1, tables.steps + 1), -1, dtype=np.int64)
        times[end, start] = 0
        for stage in range(tables.stages):
            times[end, start] += tables.tau(stage, start, end)
            if stage < tables.stages - 1:
                times[end, start] += send[stage, tail, end - start]
        return times

    def starts(self, least: int, most: int) -> tuple[IntArray, IntArray]:
        """Earliest start of chunks that take no longer, latest start of those that take as long.

        Parameters
        ----------
        least, most : int, ticks

        Returns
        -------
        earliest, latest : int64[G + 1]
            By end; G and -1 where there is no such chunk, and 0 as the earliest for end 0, an empty one.
        """
        times = self.by_end
        size = times.shape[0]
        within = (times >= 0) & (times <= most)
        earliest = np.where(within.any(axis=1), within.argmax(axis=1), size - 1)
        earliest[0] = 0
        beyond = times >= max(least, 0)
        latest = np.where(beyond.any(axis=1), size - 1 - beyond[:, ::-1].argmax(axis=1), -1)
        return earliest, latest


@dataclass(frozen=True, eq=False)
class LongestChunkRegion:
    """Partitions whose longest chunk, by its time on all stages together, lies in an interval.

    Attributes
    ----------
    region : PartitionRegion
        Counts and intervals of the boundaries; no chunk takes longer than `most`.
    least, most : int, ticks
    latest : int64[G + 1]
        Latest start of a chunk that takes `least` or longer, by end; -1 if there is none.
    """

    region: PartitionRegion
    least: int
    most: int
    latest: IntArray

    @property
    def is_single(self) -> bool:
        """Whether the interval is a single time."""
        return self.least >= self.most


def longest_chunk_region(
    times: CrossingTimes, region: PartitionRegion, least: int, most: int
) -> LongestChunkRegion | None:
    """Leave out chunks that take too long, and boundaries that no others reach; None if nothing is left.

    Parameters
    ----------
    times : CrossingTimes
    region : PartitionRegion
        Without limits on starts of its own.
    least, most : int, ticks
        Interval of the longest chunk.
    """
    earliest, latest = times.starts(least, most)
    low, high = region.low.copy(), region.high.copy()
    for j in range(region.positions - 1, -1, -1):
        if low[j + 1] > high[j + 1]:
            return None
        within = earliest[low[j + 1] : high[j + 1] + 1].min()
        low[j] = max(low[j], int(within) if low[j + 1] else 0)
    for j in range(region.positions):
        high[j + 1] = min(high[j + 1], int(np.flatnonzero(earliest <= high[j])[-1]))
    if (low > high).any():
        return None
    starts = np.empty((2, region.positions, earliest.size), dtype=np.int32)
    starts[0], starts[1] = earliest, earliest.size - 1
    return LongestChunkRegion(replace(region, low=low, high=high, starts=starts), least, most, latest)


@dataclass(frozen=True, eq=False)
class MarkedPartition:
    """A partition, one chunk of which counts as the longest, and what a mixture asks for it.

    Attributes
    ----------
    cost : int
        Parts of a tick, with the price of the room.
    boundaries : int64[position + 1]
        Grid indices.
    longest : int
        Position of that chunk.
    """

    cost: int
    boundaries: IntArray
    longest: int


def cheapest_partitions(
    pricer: PartitionPricer, within: LongestChunkRegion, paths: ConditionalPaths, most: int
) -> tuple[int, list[MarkedPartition]] | None:
    """Find the partitions of least cost, for each position of the longest chunk one, exactly.

    Parameters
    ----------
    pricer : PartitionPricer
    within : LongestChunkRegion
        With room in every memory.
    paths : ConditionalPaths
        With a price for each slot of the region.
    most : int
        Partitions to hand back.

    Returns
    -------
    (int, list of MarkedPartition) or None
        Ticks that no plan of the region is faster than, and the cheapest partitions; None if there is none.

    Raises
    ------
    ValueError
        If the region has no room, or sums of the prices could leave 64 bits.
    """
    region = within.region
    assert region.starts is not None
    starts = region.starts.copy()
    starts[1] = np.minimum(starts[1], within.latest)
    early, crossing, late = (
        pricer.price(part, weights)
        for part, weights in zip(
            (region, replace(region, starts=starts), region), paths.weights(), strict=True
        )
    )
    before, onward = early.before(), late.onward()
    chunks = [(*crossing.cheapest_chunk(j, before[j], onward[j + 1]), j) for j in range(region.positions)]
    chunks = sorted(chunk for chunk in chunks if chunk[0] < NEVER // 2)
    if not chunks:
        return None
    found = [
        MarkedPartition(cost, _traced(early, late, before, onward, (start, end, j)), j)
        for cost, start, end, j in chunks[:most]
    ]
    return max(0, early.ticks(chunks[0][0])), found


def _traced(
    early: PricedPartitions,
    late: PricedPartitions,
    before: list[IntArray],
    onward: list[IntArray],
    chunk: tuple[int, int, int],
) -> IntArray:
    """Boundaries of the cheapest partition with a chunk, given by its start, end and position."""
    start, end, longest = chunk
    region = early.region
    boundaries = np.zeros(region.positions + 1, dtype=np.int64)
    boundaries[longest], boundaries[longest + 1 :] = start, end
    for j in range(longest - 1, -1, -1):
        if boundaries[j + 1] == 0:
            break
        boundaries[j] = early.previous(j, int(boundaries[j + 1]), before[j])
    for j in range(longest + 1, region.positions):
        boundaries[j + 1] = late.following(j, int(boundaries[j]), onward[j + 1])
    return boundaries
