"""Rows of linear programs over boundaries; costs of chunks are fitted parabolas and straight lines."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.partition_pricing import PartitionPricer
from mocap_opt.bounds.partition_region import PartitionRegion

FloatArray = npt.NDArray[np.float64]
Entries = list[tuple[IntArray, npt.ArrayLike]]
"""Columns and values, one of each per row."""


@dataclass(frozen=True, eq=False)
class FittedCosts:
    """The tables as functions of x, the boundary as a part of the grid, in units of `unit` ticks.

    Attributes
    ----------
    unit : float, ticks
    linear, square : float64[stage]
        Phi = linear x + square x^2.
    constant, slope, curve : float64[stage]
        Length cost and full blocks of a chunk of the part x.
    prefix, prefix_slope : float64[stage]
        Prefix cost by the start.
    memory, memory_slope : float64[stage]
        Memory side by the end.
    send, send_slope : float64[stage]
        Send by the length.
    """

    unit: float
    linear: FloatArray
    square: FloatArray
    constant: FloatArray
    slope: FloatArray
    curve: FloatArray
    prefix: FloatArray
    prefix_slope: FloatArray
    memory: FloatArray
    memory_slope: FloatArray
    send: FloatArray
    send_slope: FloatArray

    @classmethod
    def of(cls, pricer: PartitionPricer) -> FittedCosts:
        """Fit every table by least squares."""
        tables, limits = pricer.tables, pricer.setting.limits
        x = np.arange(tables.steps + 1) / tables.steps
        unit = float(max(1, int(np.abs(tables.phi).max())))
        first, last = min(limits.least, limits.last_least), max(limits.most, limits.last_most)
        inside = slice(max(1, first), max(1, first, last) + 1)

        length = _fit(tables.length_cost[:, 0, inside] / unit, x[inside], 1)
        blocks = _fit(tables.full_block[:, 0, inside] / unit, x[inside], 2)
        _, linear, square = _fit(tables.phi / unit, x, 2)
        return cls(
            unit,
            linear,
            square,
            length[0] + blocks[0],
            length[1] + blocks[1],
            blocks[2],
            *_fit(tables.prefix_cost / unit, x, 1),
            *_fit(tables.memory_side / unit, x, 1),
            *_fit(pricer.setting.send[:, 0, inside] / unit, x[inside], 1),
        )

    def together(self, first: IntArray) -> FittedCosts:
        """Costs of groups of stages that follow each other, as those of one stage each.

        Parameters
        ----------
        first : int64[group]
            First stage of every group, rising from 0.
        """
        sums: dict[str, Any] = {
            each.name: np.add.reduceat(getattr(self, each.name), first)
            for each in fields(self)
            if each.name != "unit"
        }
        return replace(self, **sums)


def _fit(table: FloatArray, at: FloatArray, degree: int) -> FloatArray:
    """Least-squares polynomial of each row, float64[degree + 1, row], lowest power first."""
    powers = np.stack([at**d for d in range(degree + 1)], axis=1)
    return np.asarray(np.linalg.lstsq(powers, table.T, rcond=None)[0], dtype=np.float64)


@dataclass(eq=False)
class Rows:
    """Rows a x <= b, collected entry by entry.

    Attributes
    ----------
    columns : int
        Of the program.
    row, column, value : list
        Entries, one array for each that `add` was given.
    side : list of float64[row]
    count : int
        Rows so far.
    """

    columns: int
    row: list[IntArray] = field(default_factory=list)
    column: list[IntArray] = field(default_factory=list)
    value: list[FloatArray] = field(default_factory=list)
    side: list[FloatArray] = field(default_factory=list)
    count: int = 0

    def add(self, entries: Entries, side: npt.ArrayLike) -> slice:
        """Add rows, one per element of `side`; each entry gives its column and value in all of them.

        Parameters
        ----------
        entries : list of (int64[row], float64[row])
            Column and value in each of the rows; single numbers stand for all.
        side : float64[row]
            Right-hand sides b.

        Returns
        -------
        slice
            Numbers of the rows.
        """
        sides = np.atleast_1d(np.asarray(side, dtype=np.float64))
        rows = np.arange(self.count, self.count + sides.size)
        for column, value in entries:
            self.row.append(rows)
            self.column.append(np.broadcast_to(column, rows.shape))
            self.value.append(np.broadcast_to(np.asarray(value, dtype=np.float64), rows.shape))
        self.side.append(sides)
        self.count += sides.size
        return slice(self.count - sides.size, self.count)


@dataclass(frozen=True, eq=False)
class ChunkTimeRows:
    """Times and sends of chunks by fitted costs, for cells of (stage, position) at a time.

    Attributes
    ----------
    costs : FittedCosts
    region : PartitionRegion
    steps : int
        G.
    columns : tuple of int64[...]
        Columns of the boundaries, of their squares, and of the squared lengths of chunks.
    """

    costs: FittedCosts
    region: PartitionRegion
    steps: int
    columns: tuple[IntArray, IntArray, IntArray]

    @cached_property
    def share(self) -> tuple[FloatArray, FloatArray]:
        """By position, what a chunk pays of its constants per length, and whatever its length.

        A chunk that may be empty pays them in proportion to its length.
        """
        region = self.region
        optional = np.arange(region.positions) < region.optional
        most = np.maximum(region.lengths()[1] / self.steps, 1 / self.steps)
        return np.where(optional, 1 / most, 0.0), np.where(optional, 0.0, 1.0)

    def send(self, stage: IntArray, position: IntArray) -> tuple[Entries, FloatArray]:
        """Entries of rows that count the sends of cells on their left, and what these take off the right.

        Parameters
        ----------
        stage, position : int64[row]
            Cells that send to the next stage.
        """
        costs, (boundary, *_) = self.costs, self.columns
        along = costs.send_slope[stage] + costs.send[stage] * self.share[0][position]
        entries: Entries = [(boundary[position], -along), (boundary[position + 1], along)]
        return entries, -costs.send[stage] * self.share[1][position]

    def tau(self, s: IntArray, c: IntArray, *, memory: bool) -> tuple[Entries, FloatArray]:
        """The same for the times of cells.

        Parameters
        ----------
        s, c : int64[row]
            Stages and positions.
        memory : bool
            Count the memory side in place of compute.
        """
        costs, (boundary, square, blocks) = self.costs, self.columns
        constant = costs.constant[s] + costs.prefix[s] + (costs.memory[s] if memory else 0.0)
        along = costs.slope[s] + constant * self.share[0][c]
        start, end = costs.prefix_slope[s] - along, along.copy()
        entries: Entries = []
        if memory:
            end += costs.memory_slope[s]
        else:
            start, end = start - costs.linear[s], end + costs.linear[s]
            entries = [(square[c], -costs.square[s]), (square[c + 1], costs.square[s])]
            if costs.curve.any():
                entries.append((blocks[c], costs.curve[s]))
        return [*entries, (boundary[c], start), (boundary[c + 1], end)], -constant * self.share[1][c]
