"""Regions of partitions, and flows through the grid of (stage, chunk) that weigh their paths."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.traffic_weights import Delay, TrafficStep, check_delays

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PathWeights:
    """A flow from (0, 0) to (N-1, M-1), in whole parts of one: a convex combination of paths.

    Page ``formulations/bounds.md``, section *The path inequality*.

    Attributes
    ----------
    parts : int
        What one unit of flow is made of; enters at (0, 0).
    down : int64[stage - 1, position]
        Parts that step from stage i to i + 1 at a position.
    right : int64[stage, position - 1]
        Parts that step from position j to j + 1 on a stage.
    queue : int64[stage - 1, position - Q]
        Parts that step from the start of position j on stage i + 1 to the start of j + Q on stage i,
        Q the depth of the queues; no columns where no queue can be full.
    traffic : tuple of TrafficStep
        Parts that step from the start of one chunk to the end of another, along what a link passes between.
    delays : tuple of Delay
    """

    parts: int
    down: IntArray
    right: IntArray
    queue: IntArray
    traffic: tuple[TrafficStep, ...] = ()
    delays: tuple[Delay, ...] = ()

    def __post_init__(self) -> None:
        """Check that it is a flow: nothing negative, nothing lost."""
        if any((step < 0).any() for step in (self.down, self.right, self.queue)):
            raise ValueError("expected parts >= 0")
        leaving = np.zeros((self.right.shape[0], self.down.shape[1]), dtype=np.int64)
        leaving[:-1] += self.down
        leaving[:, :-1] += self.right
        leaving[-1, -1] += self.parts
        for step in self.traffic:
            _check_step(step, leaving.shape)
            leaving[step.last] -= 0 if step.onward else step.parts
        if not np.array_equal(self.nodes, leaving) or (leaving < 0).any():
            raise ValueError("expected as much to leave every node as arrives there")
        check_delays(leaving, self.delays)

    @property
    def nodes(self) -> IntArray:
        """Parts that pass each node from its start to its end, int64[stage, position]."""
        passing = np.zeros((self.right.shape[0], self.down.shape[1]), dtype=np.int64)
        passing[0, 0] = self.parts
        passing[1:] += self.down
        passing[:, 1:] += self.right
        columns = self.queue.shape[1]
        passing[:-1, passing.shape[1] - columns :] += self.queue
        passing[1:, :columns] -= self.queue
        for step in self.traffic:
            passing[step.first] -= step.parts
            if step.onward:
                passing[step.last[0] + 1, step.last[1]] += step.parts
        return passing


def _check_step(step: TrafficStep, shape: tuple[int, int]) -> None:
    """Check that a step along traffic leads from a start to the end of the same chunk or of a later one."""
    forward = all(0 <= a <= b < most for a, b, most in zip(step.first, step.last, shape, strict=True))
    forward = forward and step.last[0] + step.onward < shape[0]
    if not forward or step.parts < 0 or step.slot is not None or step.exchange:
        raise ValueError("expected parts >= 0 that step from a start to an end")


def flow_along(down: FloatArray, right: FloatArray, queue: FloatArray, parts: int) -> PathWeights:
    """Whole-number flow that splits at every node about as the weights of its steps do.

    Parameters
    ----------
    down : float64[stage - 1, position]
        Weight of each step to the next stage; any finite numbers, negative ones count as 0.
    right : float64[stage, position - 1]
        Weight of each step to the next position.
    queue : float64[stage - 1, position - Q]
        Weight of each step back along a full queue, as in `PathWeights`.
    parts : int
        Size of the flow.
    """
    stages, positions = right.shape[0], down.shape[1]
    depth = positions - queue.shape[1]
    # Weights by the node that is left; a queue is left at its later stage.
    weight = np.zeros((3, stages, positions))
    weight[0, :-1], weight[1, :, :-1], weight[2, 1:, : positions - depth] = down, right, queue
    np.maximum(weight, 0.0, out=weight)
    steps = np.zeros(weight.shape, dtype=np.int64)
    arriving = np.zeros((stages, positions), dtype=np.int64)
    arriving[0, 0] = parts
    # Slot by slot, and in a slot from the last stage to the first: queues of depth 1 lead that way.
    for i, j in sorted(np.ndindex(stages, positions), key=lambda node: (sum(node), -node[0])):
        here = int(arriving[i, j])
        if here == 0 or (i, j) == (stages - 1, positions - 1):
            continue
        to_stage, to_chunk, back = weight[:, i, j].tolist()
        if to_stage + to_chunk + back == 0.0:
            to_stage, to_chunk = float(i < stages - 1), float(j < positions - 1)
        steps[2, i, j] = _part(here, back, to_stage + to_chunk)
        here -= int(steps[2, i, j])
        steps[0, i, j] = _part(here, to_stage, to_chunk) if to_stage + to_chunk else 0
        steps[1, i, j] = here - steps[0, i, j]
        for step, (stage, position) in enumerate(((i + 1, j), (i, j + 1), (i - 1, j + depth))):
            if steps[step, i, j]:
                arriving[stage, position] += steps[step, i, j]
    return PathWeights(parts, steps[0, :-1], steps[1, :, :-1], steps[2, 1:, : positions - depth])


def _part(whole: int, weight: float, other: float) -> int:
    """What a step takes of whole parts, next to another step."""
    return min(whole, max(0, round(whole * (weight / (weight + other)))))


@dataclass(frozen=True, eq=False)
class SlotWeights:
    """Shares of stages in the slots of a lockstep execution, in whole parts of one.

    Attributes
    ----------
    parts : int
        What each phase of a slot is made of; stages may take less of it together, never more.
    nodes : int64[stage, position]
        Parts of the compute phase of slot stage + position that the stage takes.
    down : int64[stage - 1, position]
        Parts of its communication phase that the stage's send takes.
    traffic : tuple of TrafficStep
        Parts of phases that what a link passes takes.
    delays : tuple of Delay
    """

    parts: int
    nodes: IntArray
    down: IntArray
    traffic: tuple[TrafficStep, ...] = ()
    delays: tuple[Delay, ...] = ()

    def __post_init__(self) -> None:
        """Check that no slot is more than whole."""
        for exchange, shares in enumerate((self.nodes, self.down)):
            if (shares < 0).any():
                raise ValueError("expected parts >= 0")
            taken = _by_slot(shares)
            taken = np.append(taken, np.zeros(sum(self.nodes.shape) - 1 - taken.size, dtype=np.int64))
            for step in self.traffic:
                if step.exchange == bool(exchange):
                    if step.slot is None or step.parts < 0:
                        raise ValueError("expected parts >= 0 of slots")
                    taken[step.slot] += step.parts
            if (taken > self.parts).any():
                raise ValueError("expected at most the whole of every slot")
        check_delays(self.nodes, self.delays)


def _by_slot(shares: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sum over the cells of each slot, number[slot]."""
    slot = np.add.outer(np.arange(shares.shape[0]), np.arange(shares.shape[1]))
    total = np.zeros(max(0, sum(shares.shape) - 1), dtype=shares.dtype)
    np.add.at(total, slot, shares)
    return total


def shares_of_slots(weights: FloatArray, parts: int) -> IntArray:
    """Whole parts about as weights are, scaled down where those of a slot exceed one.

    Parameters
    ----------
    weights : float64[stage, position]
        Not negative.
    parts : int
        The whole.

    Returns
    -------
    int64[stage, position]
    """
    slot = np.add.outer(np.arange(weights.shape[0]), np.arange(weights.shape[1]))
    # A little less than the whole, so that no rounding of floats exceeds it.
    scale = (1.0 - 1e-12) * parts / np.maximum(_by_slot(weights), 1.0)
    shares: IntArray = np.floor(weights * scale[slot]).astype(np.int64)
    return shares


@dataclass(frozen=True, eq=False)
class PartitionRegion:
    """Partitions with a range of counts whose boundaries and lengths lie in intervals.

    A partition with fewer chunks than positions leaves the first positions empty, at boundary 0.

    Attributes
    ----------
    fewest : int
        Least count; the greatest is the number of positions.
    low, high : int64[position + 1]
        Interval of each boundary, grid indices; both 0 first and G last.
    short, long : int
        Interval of the longest chunk, grid steps.
    starts : int32[2, position, G + 1] or None
        Earliest and latest start of the chunk at a position, by its end; None leaves them to the
        boundaries.
    """

    fewest: int
    low: IntArray
    high: IntArray
    short: int
    long: int
    starts: npt.NDArray[np.int32] | None = None

    @property
    def positions(self) -> int:
        """Greatest count."""
        return int(self.low.size - 1)

    @property
    def optional(self) -> int:
        """Leading positions that may be empty."""
        return self.positions - self.fewest

    def lengths(self) -> tuple[IntArray, IntArray]:
        """Least and most steps of a non-empty chunk by position, two int64[position]."""
        least, most = np.maximum(self.low[1:] - self.high[:-1], 0), self.high[1:] - self.low[:-1]
        if self.starts is not None:
            for j in range(self.positions):
                ends = np.arange(self.low[j + 1], self.high[j + 1] + 1)
                earliest, latest = self.starts[:, j, ends]
                some = earliest <= latest
                if some.any():
                    most[j] = min(most[j], (ends - earliest)[some].max())
                    least[j] = max(least[j], (ends - latest)[some].min())
        return least, np.minimum(most, self.long)


@dataclass(frozen=True, eq=False)
class Multipliers:
    """What is mixed: times, rows of the pooled memory, and chunks that are no longer than the longest.

    Attributes
    ----------
    flow : PathWeights or SlotWeights
        Paths, for any execution, or stages by slot, for lockstep.
    slot_prices : int64[slot]
        Price of a unit of pooled memory by slot, parts of a tick; none negative.
    length_prices : int64[position]
        Price of a token of the chunk at a position, parts of a tick; none negative.  Together no more
        than the memory that a token of the longest chunk takes is worth.
    scatter : float64[position + 1] or None
        How far partitions that the program mixes lie apart at each boundary: a hint where to split.
    memory_prices : int64[memory, slot] or None
        Price of a unit of each memory by slot, parts of a tick; none negative.  With it the flow's traffic
        counts.
    """

    flow: PathWeights | SlotWeights
    slot_prices: IntArray
    length_prices: IntArray
    scatter: FloatArray | None = None
    memory_prices: IntArray | None = None


@dataclass(order=True, frozen=True)
class OpenRegion:
    """A region and what is known of it.

    Attributes
    ----------
    value : int, ticks
        No plan of the region is faster, unless the search left it out for good reasons.
    order : int
        Tells regions of equal value apart.
    region : PartitionRegion
    weights : Multipliers or None
        What proved the value, for this region or one around it; None if no program was solved.
    """

    value: int
    order: int
    region: PartitionRegion = field(compare=False)
    weights: Multipliers | None = field(compare=False)

    @property
    def note(self) -> str:
        """Which plans decide the bound."""
        region = self.region
        counts = f"{region.fewest}..{region.positions}" if region.optional else f"{region.fewest}"
        return f"{counts} chunks, the longest of {region.short}..{region.long} steps"


def halves_of_counts(region: PartitionRegion) -> tuple[tuple[int, int], tuple[int, int]]:
    """The fewer and the more chunks, least and greatest count of each half."""
    middle = (region.fewest + region.positions) // 2
    return (region.fewest, middle), (middle + 1, region.positions)


def halves_of_lengths(region: PartitionRegion, middle: int) -> tuple[PartitionRegion, PartitionRegion]:
    """Partitions whose longest chunk has at most so many steps, and those where it has more.

    Parameters
    ----------
    region : PartitionRegion
    middle : int
        Grid steps.
    """
    return replace(region, long=middle), replace(region, short=middle + 1)
