"""A linear program that finds mixtures of paths that know the longest chunk, from partitions seen so far.

Floating point: whatever comes out is rounded to whole parts that are valid, and evaluated exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.longest_chunk_paths import ConditionalPaths, MarkedPartition
from mocap_opt.bounds.partition_pricing import PartitionPricer
from mocap_opt.bounds.partition_region import PathWeights

if TYPE_CHECKING:
    from mocap_opt.solvers.growing_program import GrowingProgram

FloatArray = npt.NDArray[np.float64]

HIGHEST_PRICE = 100.0
"""Of room for a whole prompt's cache, in units of Phi's range."""

Point = FloatArray
"""Columns of the program but the last: weights before and after the longest chunk, prices of slots."""


@dataclass(frozen=True, eq=False)
class Cut:
    """A partition seen: the latency is at most ``row @ point + constant``, in units."""

    row: FloatArray
    constant: float

    def at(self, point: Point) -> float:
        """What it costs at a point, units."""
        return float(self.row @ point) + self.constant


@dataclass(frozen=True, eq=False)
class LongestChunkProgram:
    """Weights that make the least cost of given partitions greatest, near other weights.

    Attributes
    ----------
    pricer : PartitionPricer
    room : int64[slot]
        Units of pooled memory.
    """

    pricer: PartitionPricer
    room: IntArray

    @property
    def positions(self) -> int:
        """Greatest count."""
        return int(self.room.size) - self.pricer.tables.stages + 1

    @cached_property
    def unit(self) -> float:
        """Ticks that all is measured in."""
        return float(max(1, int(np.abs(self.pricer.tables.phi).max())))

    @cached_property
    def whole(self) -> float:
        """Units of memory that a prompt's cache takes on all stages."""
        tables = self.pricer.tables
        return float(
            max(1, int((tables.page_bytes // self.pricer.memory.unit).sum()) * int(tables.pages[-1]))
        )

    @cached_property
    def columns(self) -> tuple[IntArray, IntArray, IntArray]:
        """Columns of weights before and after, int64[position, stage - 1], and of slots' prices."""
        shape = self.positions, self.pricer.tables.stages - 1
        cells = shape[0] * shape[1]
        before = np.arange(cells).reshape(shape)
        return before, before + cells, 2 * cells + np.arange(self.room.size)

    def point(self, flow: PathWeights) -> Point:
        """The weights of a mixture of paths, the same before and after the longest chunk; no prices."""
        along = np.cumsum(flow.right, axis=0)[:-1].T / flow.parts
        before, after, prices = self.columns
        point = np.zeros(2 * before.size + prices.size)
        point[before[0]] = 1.0
        point[before[1:]] = point[after[:-1]] = np.minimum(along, 1.0)
        return point

    def paths(self, point: Point) -> ConditionalPaths:
        """Whole parts near a point, such that no path leads back."""
        parts = self.pricer.most_parts
        before, after, prices = (np.clip(point[columns], 0.0, None) for columns in self.columns)
        most = 2.0**58 / max(self.whole, float(self.room.max()), 1.0)
        prices = prices * self.unit / self.whole * parts
        total = float(prices.sum())
        if total > most:
            prices *= most / total
        before[0], after[-1] = 1.0, 0.0
        whole = []
        for weights in (before, after):
            floor = np.minimum(np.floor(weights * parts).astype(np.int64), parts)
            whole.append(np.minimum.accumulate(np.maximum.accumulate(floor, axis=1), axis=0))
        return ConditionalPaths(parts, whole[0], np.minimum(*whole), np.floor(prices).astype(np.int64))

    def cut(self, seen: MarkedPartition) -> Cut:
        """What a partition costs at any point."""
        tables, send = self.pricer.tables, self.pricer.setting.send
        before, after, prices = self.columns
        row, constant = np.zeros(prices[-1] + 1), 0.0
        stages = np.arange(tables.stages)
        for j in range(self.positions):
            start, end = seen.boundaries[j : j + 2].tolist()
            if start == end:
                continue
            work = tables.tau(stages, start, end) / self.unit
            sends = send[:-1, int(end == tables.steps), end - start] / self.unit
            entering = before[j] if j <= seen.longest else after[j - 1]
            leaving = before[j + 1] if j < seen.longest else after[j]
            row[entering] += work[:-1] + sends
            row[leaving] -= work[1:] + sends
            constant += float(work[-1])
        need = self.pricer.memory.need(seen.boundaries) // self.pricer.memory.unit
        row[prices] = (need - self.room) / self.whole
        return Cut(row, constant)

    @cached_property
    def _order(self) -> Any:
        """Rows that keep paths from leading back: one column is at most another."""
        from scipy.sparse import csr_array  # noqa: PLC0415

        before, after, prices = self.columns
        pairs = [
            (before[1:], before[:-1]),
            (after[1:], after[:-1]),
            (before[:, :-1], before[:, 1:]),
            (after[:, :-1], after[:, 1:]),
            (after, before),
        ]
        less = np.concatenate([pair[0].ravel() for pair in pairs])
        more = np.concatenate([pair[1].ravel() for pair in pairs])
        rows = np.tile(np.arange(less.size), 2)
        values = np.repeat([1.0, -1.0], less.size)
        return csr_array((values, (rows, np.concatenate([less, more]))), shape=(less.size, prices[-1] + 2))

    def growing(self) -> GrowingProgram:
        """The program without any partition: minimise what stands in the last column, the negative cost."""
        from mocap_opt.solvers.growing_program import GrowingProgram  # noqa: PLC0415

        objective = np.zeros(self._order.shape[1])
        objective[-1] = 1.0
        return GrowingProgram(objective, self._order, np.zeros(self._order.shape[0]))

    def add(self, program: GrowingProgram, cuts: Sequence[Cut]) -> None:
        """Let the cost be at most that of partitions.

        Parameters
        ----------
        program : GrowingProgram
        cuts : sequence of Cut
        """
        program.add(np.array([[*-cut.row, -1.0] for cut in cuts]), np.array([cut.constant for cut in cuts]))

    def best(self, program: GrowingProgram, centre: Point, radius: float) -> tuple[Point, float] | None:
        """The point within a radius at which the cheapest of the partitions costs most, and that cost.

        Parameters
        ----------
        program : GrowingProgram
        centre : float64[column]
        radius : float

        Returns
        -------
        (float64[column], float) or None
            The cost in ticks; None if the solver gives up.
        """
        before, after, prices = self.columns
        low, high = np.zeros(centre.size + 1), np.ones(centre.size + 1)
        high[prices] = HIGHEST_PRICE
        low[:-1] = np.maximum(low[:-1], centre - radius)
        high[:-1] = np.minimum(high[:-1], centre + radius)
        low[before[0]] = high[before[0]] = 1.0
        low[after[-1]] = high[after[-1]] = 0.0
        low[-1], high[-1] = -np.inf, np.inf
        found = program.solve(low, high)
        return None if found is None else (found[0][:-1], -found[1] * self.unit)
