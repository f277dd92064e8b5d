"""A linear program that finds a good mixture of paths and memory rows for a region of partitions.

It reads the tables through fitted parabolas and straight lines.  None of that bears on validity:
whatever weights come out, the bound is evaluated on the tables themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.partition_pricing import PartitionPricer
from mocap_opt.bounds.partition_region import Multipliers, PartitionRegion, flow_along
from mocap_opt.tables.cost_tables import Tables

FloatArray = npt.NDArray[np.float64]
_Entries = list[tuple[IntArray, npt.ArrayLike]]
_Cells = tuple[slice, slice]

#: Tangents to the parabola of every boundary.
TANGENTS = 8
#: Simplex iterations before the solver gives up.
MOST_ITERATIONS = 100_000
#: Price of lacking room for a whole prompt's cache, in units of Phi's range; bounds prices of memory.
SHORTAGE = 100.0


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


def _fit(table: FloatArray, at: FloatArray, degree: int) -> FloatArray:
    """Least-squares polynomial of each row, float64[degree + 1, row], lowest power first."""
    powers = np.stack([at**d for d in range(degree + 1)], axis=1)
    return np.asarray(np.linalg.lstsq(powers, table.T, rcond=None)[0], dtype=np.float64)


@dataclass(eq=False)
class _Rows:
    """Rows a x <= b, collected entry by entry."""

    columns: int
    row: list[IntArray] = field(default_factory=list)
    column: list[IntArray] = field(default_factory=list)
    value: list[FloatArray] = field(default_factory=list)
    side: list[FloatArray] = field(default_factory=list)
    count: int = 0

    def add(self, entries: _Entries, side: npt.ArrayLike) -> slice:
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
class _StartRows:
    """Rows of the recursion, for cells of (stage, position) at a time; columns are those of the program."""

    costs: FittedCosts
    tables: Tables
    region: PartitionRegion
    rows: _Rows
    columns: tuple[IntArray, IntArray, IntArray]

    @cached_property
    def cells(self) -> IntArray:
        """Column of the start of each cell, int64[stage, position]."""
        shape = self.tables.stages, self.region.positions
        return np.arange(shape[0] * shape[1]).reshape(shape)

    @cached_property
    def share(self) -> tuple[FloatArray, FloatArray]:
        """By position, what a chunk pays of its constants per length, and whatever its length.

        A chunk that may be empty pays them in proportion to its length.
        """
        steps, region = self.tables.steps, self.region
        optional = np.arange(region.positions) < region.optional
        most = np.maximum(region.lengths()[1] / steps, 1 / steps)
        return np.where(optional, 1 / most, 0.0), np.where(optional, 0.0, 1.0)

    def add(self, at: _Cells, following: IntArray, *, sent: bool = False, memory: bool = False) -> slice:
        """Rows that what follows chunks starts no earlier than they end.

        Parameters
        ----------
        at : tuple of slice
            The cells of the chunks.
        following : int64[stage, position]
            Column that follows each of them.
        sent : bool
            Count the send to the next stage.
        memory : bool
            Count the memory side in place of compute.

        Returns
        -------
        slice
            Numbers of the rows.
        """
        entries, side = self._tau(at, memory)
        entries += [(self.cells[at].ravel(), 1.0), (following.ravel(), -1.0)]
        if sent:
            costs, (boundary, *_) = self.costs, self.columns
            s, c = np.divmod(self.cells[at].ravel(), self.region.positions)
            along = costs.send_slope[s] + costs.send[s] * self.share[0][c]
            entries += [(boundary[c], -along), (boundary[c + 1], along)]
            side = side - costs.send[s] * self.share[1][c]
        return self.rows.add(entries, side)

    def add_queues(self, depth: int) -> slice:
        """Rows that chunks start no earlier than those `depth` before them do on the next stage."""
        behind, ahead = self.cells[:-1, depth:].ravel(), self.cells[1:, : self.region.positions - depth]
        return self.rows.add([(ahead.ravel(), 1.0), (behind, -1.0)], np.zeros(behind.size))

    def _tau(self, at: _Cells, memory: bool) -> tuple[_Entries, FloatArray]:
        costs, (boundary, square, blocks) = self.costs, self.columns
        s, c = np.divmod(self.cells[at].ravel(), self.region.positions)
        constant = costs.constant[s] + costs.prefix[s] + (costs.memory[s] if memory else 0.0)
        along = costs.slope[s] + constant * self.share[0][c]
        start, end = costs.prefix_slope[s] - along, along.copy()
        entries: _Entries = []
        if memory:
            end += costs.memory_slope[s]
        else:
            start, end = start - costs.linear[s], end + costs.linear[s]
            entries = [(square[c], -costs.square[s]), (square[c + 1], costs.square[s])]
            if costs.curve.any():
                entries.append((blocks[c], costs.curve[s]))
        return [*entries, (boundary[c], start), (boundary[c + 1], end)], -constant * self.share[1][c]


@dataclass(frozen=True, eq=False)
class MultiplierProgram:
    """Finds weights for regions of one instance.

    Attributes
    ----------
    pricer : PartitionPricer
    """

    pricer: PartitionPricer

    @cached_property
    def costs(self) -> FittedCosts:
        """Fitted tables."""
        return FittedCosts.of(self.pricer)

    def weights(self, region: PartitionRegion) -> Multipliers:
        """Solve for a region with room; if the solver gives up, an even mixture without memory."""
        # SciPy is loaded only where it is asked for.
        from scipy.optimize import linprog  # noqa: PLC0415
        from scipy.sparse import csr_array  # noqa: PLC0415

        stages, positions = self.pricer.tables.stages, region.positions
        cells = stages * positions
        columns = cells + 1 + 2 * (positions + 1) + (positions if self.costs.curve.any() else 0) + 1
        rows = _Rows(columns)
        down, right, queue = self._recursion(region, rows)
        lower, upper = self._parabolas(region, rows)
        slots = self._memory(region, rows)
        objective = np.zeros(columns)
        objective[cells], objective[-1] = 1.0, SHORTAGE
        matrix = csr_array(
            (np.concatenate(rows.value), (np.concatenate(rows.row), np.concatenate(rows.column))),
            shape=(rows.count, columns),
        )
        solve: Any = linprog  # sparse matrices and arrays of bounds are fine, whatever the stubs say
        result = solve(
            objective,
            A_ub=matrix,
            b_ub=np.concatenate(rows.side),
            bounds=np.stack([lower, upper], axis=1),
            method="highs-ds",
            options={"maxiter": MOST_ITERATIONS},
        )
        parts = self.pricer.most_parts
        queues = positions - self._depth(region)
        shapes = (stages - 1, positions), (stages, positions - 1), (stages - 1, queues)
        if result.status != 0:
            even = flow_along(np.ones(shapes[0]), np.ones(shapes[1]), np.zeros(shapes[2]), parts)
            return Multipliers(even, np.zeros(stages + positions - 1, dtype=np.int64))
        duals: FloatArray = -result.ineqlin.marginals
        to_stage, to_chunk, back = (
            np.sum([duals[part] for part in step], axis=0).reshape(shape)
            for step, shape in zip((down, right, [queue]), shapes, strict=True)
        )
        flow = flow_along(to_stage, to_chunk, back, parts)
        return Multipliers(flow, self._slot_prices(region, duals[slots], parts))

    def _columns(self, region: PartitionRegion) -> tuple[IntArray, IntArray, IntArray]:
        """Columns of boundaries, their squares and full blocks, after those of starts and the latency."""
        first = self.pricer.tables.stages * region.positions + 1
        boundary = first + np.arange(region.positions + 1)
        square = boundary + region.positions + 1
        blocks = square[-1] + 1 + np.arange(region.positions)
        return boundary, square, blocks

    def _depth(self, region: PartitionRegion) -> int:
        """Depth of the queues, at most the positions: then no queue is ever full."""
        depth = self.pricer.tables.queue_depth
        return region.positions if depth is None else min(depth, region.positions)

    def _recursion(self, region: PartitionRegion, rows: _Rows) -> tuple[list[slice], list[slice], slice]:
        """What starts after a chunk on the next stage, and on its own; starts behind full queues."""
        starts = _StartRows(self.costs, self.pricer.tables, region, rows, self._columns(region))
        cells = starts.cells
        every, but_last, last = slice(None), slice(None, -1), slice(-1, None)
        down, right = [], []
        for memory in (False, True) if self.reads else (False,):
            starts.add((last, last), np.array([cells.size]), memory=memory)
            down.append(starts.add((but_last, every), cells[1:], sent=True, memory=memory))
            right.append(starts.add((every, but_last), cells[:, 1:], memory=memory))
        return down, right, starts.add_queues(self._depth(region))

    @cached_property
    def reads(self) -> bool:
        """Whether the memory side is ever slower than the compute side."""
        return bool((self.pricer.classes.binds_from < self.pricer.tables.steps).any())

    def _parabolas(self, region: PartitionRegion, rows: _Rows) -> tuple[FloatArray, FloatArray]:
        """Boundaries and their squares; bounds of all columns."""
        steps, positions = self.pricer.tables.steps, region.positions
        boundary, square, blocks = self._columns(region)
        low, high = region.low / steps, region.high / steps
        lower, upper = np.full(rows.columns, 0.0), np.full(rows.columns, np.inf)
        lower[boundary], upper[boundary] = low, high
        lower[square], upper[square] = low**2, high**2
        for part in np.linspace(0.0, 1.0, TANGENTS):
            at = low + part * (high - low)
            rows.add([(boundary, 2 * at), (square, -1.0)], at**2)
        rows.add([(boundary, -(low + high)), (square, 1.0)], -low * high)
        limits = self.pricer.setting.limits
        shortest, longest = region.lengths()
        most = np.minimum(longest, [*[limits.most] * (positions - 1), limits.last_most]) / steps
        rows.add([(boundary[1:], 1.0), (boundary[:-1], -1.0)], most)
        least = np.maximum(shortest, [*[limits.least] * (positions - 1), limits.last_least]) / steps
        least[: region.optional] = 0.0
        rows.add([(boundary[1:], -1.0), (boundary[:-1], 1.0)], -least)
        if self.costs.curve.any():
            for part in np.linspace(0.0, 1.0, TANGENTS) ** 2:
                at = least + part * (most - least)
                rows.add([(boundary[1:], 2 * at), (boundary[:-1], -2 * at), (blocks, -1.0)], at**2)
        return lower, upper

    def _memory(self, region: PartitionRegion, rows: _Rows) -> slice:
        """Pooled rows of all slots; what is short of the room is paid for dearly, in the last column."""
        tables = self.pricer.tables
        room = self.pricer.room(region)
        assert room is not None
        boundary = self._columns(region)[0]
        units = tables.page_bytes / self.pricer.memory.unit * float(tables.pages[-1])
        whole = float(units.sum())
        entries: _Entries = [(np.full(room.size, rows.columns - 1), np.full(room.size, -1.0))]
        for i in range(tables.stages):
            values = np.zeros(room.size)
            column = np.zeros(room.size, dtype=np.int64)
            values[i : i + region.positions] = units[i] / whole
            column[i : i + region.positions] = boundary[1:]
            entries.append((column, values))
        return rows.add(entries, room / whole)

    def _slot_prices(self, region: PartitionRegion, duals: FloatArray, parts: int) -> IntArray:
        """Whole parts of a tick per unit of pooled memory, no more than exact sums allow."""
        tables = self.pricer.tables
        units = int((tables.page_bytes // self.pricer.memory.unit).sum()) * int(tables.pages[-1])
        room = self.pricer.room(region)
        assert room is not None
        prices = np.maximum(duals, 0.0) * self.costs.unit / units * parts
        most = 2.0**58 / max(units, int(room.max()), 1)
        total = float(prices.sum())
        if total > most:
            prices *= most / total
        whole: IntArray = np.floor(prices).astype(np.int64)
        return whole
