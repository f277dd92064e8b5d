"""Whole-number flows along chunks and traffic, and shares of slots, about as duals are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mocap_opt.bounds.partition_region import PathWeights, SlotWeights, shares_of_slots
from mocap_opt.bounds.traffic_weights import Cell, Delay, TrafficStep

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TrafficDuals:
    """Weights of steps, not negative.

    Attributes
    ----------
    node : float64[stage, position]
        From a chunk's start to its end, by its time, delays included.
    down, right, queue : float64
        As of `flow_along`.
    steps : list of (int, cell, cell, bool, float)
        Along the traffic of a resource, and whether `onward`; in lockstep (slot, 0) stands for both cells,
        and whether it is the communication phase.
    delays : list of (int, cell, float)
    """

    node: FloatArray
    down: FloatArray
    right: FloatArray
    queue: FloatArray
    steps: list[tuple[int, Cell, Cell, bool, float]]
    delays: list[tuple[int, Cell, float]]

    @classmethod
    def none(cls, shape: Cell) -> TrafficDuals:
        """Nothing but equal times."""
        stages, positions = shape
        even = np.ones(shape) / min(shape)
        queue = np.zeros((stages - 1, 0))
        return cls(even, even[:-1] * 0.0, np.ones((stages, positions - 1)), queue, [], [])


def path_flow(duals: TrafficDuals, shape: Cell, depth: int, parts: int) -> PathWeights:
    """A flow that splits at every start and end about as the weights of its steps do.

    Parameters
    ----------
    duals : TrafficDuals
    shape : (int, int)
        Stages and positions.
    depth : int
        Of the queues.
    parts : int
        Size of the flow.
    """
    stages, positions = shape
    starts, ends = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    starts[0, 0] = parts
    nodes = np.zeros(shape, dtype=np.int64)
    down, right = (
        np.zeros((stages - 1, positions), dtype=np.int64),
        np.zeros((stages, positions - 1), dtype=np.int64),
    )
    queue = np.zeros((stages - 1, max(0, positions - depth)), dtype=np.int64)
    leaving: dict[Cell, list[tuple[int, Cell, bool, float]]] = {}
    for resource, first, last, onward, weight in duals.steps:
        leaving.setdefault(first, []).append((resource, last, onward, weight))
    taken: list[TrafficStep] = []
    for slot in range(stages + positions - 1):
        cells = [(i, slot - i) for i in range(stages - 1, -1, -1) if 0 <= slot - i < positions]
        for i, j in cells:
            here = int(starts[i, j])
            if not here:
                continue
            back = float(duals.queue[i - 1, j]) if i and j < duals.queue.shape[1] else 0.0
            others = leaving.get((i, j), [])
            split = _split(here, [float(duals.node[i, j]), back, *(weight for *_, weight in others)])
            nodes[i, j] += split[0]
            ends[i, j] += split[0]
            if split[1]:
                queue[i - 1, j] = split[1]
                starts[i - 1, j + depth] += split[1]
            for (resource, last, onward, _), some in zip(others, split[2:], strict=True):
                if some:
                    taken.append(TrafficStep(resource, (i, j), last, some, onward))
                    if onward:
                        starts[last[0] + 1, last[1]] += some
                    else:
                        ends[last] += some
        for i, j in cells:
            here = int(ends[i, j])
            if not here or (i, j) == (stages - 1, positions - 1):
                continue
            forth = float(duals.down[i, j]) if i < stages - 1 else 0.0
            later = float(duals.right[i, j]) if j < positions - 1 else 0.0
            if forth + later <= 0.0:
                forth, later = float(i < stages - 1), float(j < positions - 1)
            parts_down, parts_right = _split(here, [forth, later])
            if i < stages - 1:
                down[i, j] = parts_down
                starts[i + 1, j] += parts_down
            if j < positions - 1:
                right[i, j] = parts_right
                starts[i, j + 1] += parts_right
    return PathWeights(parts, down, right, queue, tuple(taken), _delays(duals, nodes))


def slot_shares(duals: TrafficDuals, parts: int) -> SlotWeights:
    """Shares of both phases of every slot about as the weights are, scaled down where they exceed one.

    Parameters
    ----------
    duals : TrafficDuals
    parts : int
        The whole.
    """
    stages, positions = duals.node.shape
    total = np.zeros((2, stages + positions - 1))
    slot = np.add.outer(np.arange(stages), np.arange(positions))
    np.add.at(total[0], slot, duals.node)
    np.add.at(total[1], slot[:-1], duals.down)
    for _, (t, _), _, exchange, weight in duals.steps:
        total[int(exchange), t] += weight
    scale = (1.0 - 1e-12) / np.maximum(total, 1.0)
    nodes = shares_of_slots(duals.node * scale[0][slot], parts)
    down = shares_of_slots(duals.down * scale[1][slot[:-1]], parts)
    steps = tuple(
        TrafficStep(
            resource,
            (0, 0),
            (0, 0),
            int(weight * scale[int(exchange), t] * parts),
            slot=t,
            exchange=exchange,
        )
        for resource, (t, _), _, exchange, weight in duals.steps
    )
    return SlotWeights(parts, nodes, down, steps, _delays(duals, nodes))


def _delays(duals: TrafficDuals, nodes: npt.NDArray[np.int64]) -> tuple[Delay, ...]:
    """Parts of what counts a chunk's time that also count its traffic."""
    return tuple(
        Delay(resource, cell, int(int(nodes[cell]) * (weight / float(duals.node[cell]) * (1 - 1e-9))))
        for resource, cell, weight in duals.delays
        if nodes[cell] and duals.node[cell] > 0.0
    )


def _split(whole: int, weights: list[float]) -> list[int]:
    """Whole numbers about in proportion to weights; the first takes what rounding leaves, or everything."""
    total = sum(weights)
    if total <= 0.0:
        return [whole, *[0] * (len(weights) - 1)]
    parts = [int(whole * (weight / total) * (1 - 1e-12)) for weight in weights]
    largest = max(range(len(weights)), key=weights.__getitem__)
    parts[largest] += whole - sum(parts)
    return parts
