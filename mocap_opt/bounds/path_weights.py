"""Mixtures of paths through the grid of (stage, chunk) as whole-number flows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PathWeights:
    """A flow from (0, 0) to (N-1, M-1), in whole parts of one: a convex combination of paths.

    Attributes
    ----------
    parts : int
        What one unit of flow is made of; enters at (0, 0).
    down : int64[stage - 1, position]
        Parts that step from stage i to i + 1 at a position.
    right : int64[stage, position - 1]
        Parts that step from position j to j + 1 on a stage.
    """

    parts: int
    down: IntArray
    right: IntArray

    def __post_init__(self) -> None:
        """Check that it is a flow: nothing negative, nothing lost."""
        if (self.down < 0).any() or (self.right < 0).any():
            raise ValueError("expected parts >= 0")
        arriving = self._arriving()
        leaving = np.zeros_like(arriving)
        leaving[:-1] += self.down
        leaving[:, :-1] += self.right
        leaving[-1, -1] += self.parts
        if not np.array_equal(arriving, leaving):
            raise ValueError("expected as much to leave every node as arrives there")

    def _arriving(self) -> IntArray:
        stages, positions = self.right.shape[0], self.down.shape[1]
        arriving = np.zeros((stages, positions), dtype=np.int64)
        arriving[0, 0] = self.parts
        arriving[1:] += self.down
        arriving[:, 1:] += self.right
        return arriving

    @property
    def nodes(self) -> IntArray:
        """Parts that pass each node, int64[stage, position]."""
        return self._arriving()


def flow_along(down: FloatArray, right: FloatArray, parts: int) -> PathWeights:
    """Whole-number flow that splits at every node about as the weights of its two steps do.

    Parameters
    ----------
    down : float64[stage - 1, position]
        Weight of each step to the next stage; any finite numbers, negative ones count as 0.
    right : float64[stage, position - 1]
        Weight of each step to the next position.
    parts : int
        Size of the flow.
    """
    stages, positions = right.shape[0], down.shape[1]
    down_parts = np.zeros(down.shape, dtype=np.int64)
    right_parts = np.zeros(right.shape, dtype=np.int64)
    arriving = np.zeros((stages, positions), dtype=np.int64)
    arriving[0, 0] = parts
    for i in range(stages):
        for j in range(positions):
            here = int(arriving[i, j])
            if here == 0 or (i, j) == (stages - 1, positions - 1):
                continue
            to_stage = max(float(down[i, j]), 0.0) if i < stages - 1 else 0.0
            to_chunk = max(float(right[i, j]), 0.0) if j < positions - 1 else 0.0
            if to_stage + to_chunk == 0.0:
                to_stage, to_chunk = float(i < stages - 1), float(j < positions - 1)
            step = min(here, max(0, round(here * (to_stage / (to_stage + to_chunk)))))
            if step:
                down_parts[i, j] = step
                arriving[i + 1, j] += step
            if here - step:
                right_parts[i, j] = here - step
                arriving[i, j + 1] += here - step
    return PathWeights(parts, down_parts, right_parts)
