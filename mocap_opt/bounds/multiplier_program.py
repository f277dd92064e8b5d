"""Linear programs that find a good mixture of times and memory rows for a region of partitions.

They read the tables through fitted parabolas and straight lines.  None of that bears on validity:
whatever weights come out, the bound is evaluated on the tables themselves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.chunk_time_rows import ChunkTimeRows, Entries, FittedCosts, Rows
from mocap_opt.bounds.partition_pricing import PartitionPricer
from mocap_opt.bounds.partition_region import (
    Multipliers,
    PartitionRegion,
    PathWeights,
    SlotWeights,
    flow_along,
    shares_of_slots,
)
from mocap_opt.lower_bound import Scope

FloatArray = npt.NDArray[np.float64]
_Cells = tuple[slice, slice]

#: Tangents to the parabola of every boundary.
TANGENTS = 8
#: Simplex iterations before the solver gives up.
MOST_ITERATIONS = 100_000
#: Stages x positions up to which paths may stay on every stage.
MOST_CELLS = 1024
#: Price of lacking room for a whole prompt's cache, in units of Phi's range; bounds prices of memory.
SHORTAGE = 100.0


@dataclass(frozen=True, eq=False)
class MultiplierProgram(ABC):
    """Finds weights for regions of one instance.

    Attributes
    ----------
    pricer : PartitionPricer
    """

    pricer: PartitionPricer

    @abstractmethod
    def time_columns(self, region: PartitionRegion) -> int:
        """How many columns, the first ones, are times."""

    @abstractmethod
    def add_times(
        self, region: PartitionRegion, rows: Rows, objective: FloatArray
    ) -> Callable[[FloatArray, int], PathWeights | SlotWeights]:
        """Add the rows of the times, and what they cost.

        Parameters
        ----------
        region : PartitionRegion
        rows : Rows
            Rows are added.
        objective : float64[column]
            Costs of the times are entered.

        Returns
        -------
        callable
            From the duals of all rows and a number of parts to the mixture they say.
        """

    @cached_property
    def costs(self) -> FittedCosts:
        """Fitted tables."""
        return FittedCosts.of(self.pricer)

    def weights(self, region: PartitionRegion) -> Multipliers:
        """Solve for a region with room; if the solver gives up, an even mixture without memory."""
        # SciPy is loaded only where it is asked for.
        from scipy.optimize import linprog  # noqa: PLC0415
        from scipy.sparse import csr_array  # noqa: PLC0415

        boundary, square, blocks = self._columns(region)
        columns = (int(blocks[-1]) + 1 if self.costs.curve.any() else int(square[-1]) + 1) + 2
        rows, objective = Rows(columns), np.zeros(columns)
        mixture = self.add_times(region, rows, objective)
        lower, upper = self._parabolas(region, rows)
        slots = self._memory(region, rows)
        lengths = self._longest(region, rows, lower, upper)
        objective[-1] = SHORTAGE
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
        if result.status != 0:
            even, parts = np.ones(rows.count), self.pricer.most_parts
            nothing = np.zeros(slots.stop - slots.start, dtype=np.int64)
            return Multipliers(mixture(even, parts), nothing, nothing[: region.positions])
        duals: FloatArray = np.maximum(-result.ineqlin.marginals, 0.0)
        parts, prices, spread = self._prices(region, duals[slots], duals[lengths])
        scatter = result.x[square] - result.x[boundary] ** 2
        return Multipliers(mixture(duals, parts), prices, spread, scatter)

    def _columns(self, region: PartitionRegion) -> tuple[IntArray, IntArray, IntArray]:
        boundary = self.time_columns(region) + np.arange(region.positions + 1)
        square = boundary + region.positions + 1
        blocks = square[-1] + 1 + np.arange(region.positions)
        return boundary, square, blocks

    def chunk_rows(self, region: PartitionRegion, costs: FittedCosts | None = None) -> ChunkTimeRows:
        """Rows of the times of chunks in a region.

        Parameters
        ----------
        region : PartitionRegion
        costs : FittedCosts, optional
            Of groups of stages; by default of the stages.
        """
        return ChunkTimeRows(costs or self.costs, region, self.pricer.tables.steps, self._columns(region))

    @cached_property
    def reads(self) -> bool:
        """Whether the memory side is ever slower than the compute side."""
        return bool((self.pricer.classes.binds_from < self.pricer.tables.steps).any())

    def _parabolas(self, region: PartitionRegion, rows: Rows) -> tuple[FloatArray, FloatArray]:
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

    def _memory(self, region: PartitionRegion, rows: Rows) -> slice:
        """Pooled rows of all slots; what is short of the room is paid for dearly, in the last column."""
        tables = self.pricer.tables
        rate = self._reserve_rate(region)
        room = self.pricer.room_and_reserve(region) if rate else self.pricer.room(region)
        assert room is not None
        boundary = self._columns(region)[0]
        units = tables.page_bytes / self.pricer.memory.unit * float(tables.pages[-1])
        # Where rings hold all KV, no page is ever placed.
        whole = float(units.sum()) or float(np.abs(room).max()) or 1.0
        entries: Entries = [(np.full(room.size, rows.columns - 1), np.full(room.size, -1.0))]
        for i in range(tables.stages):
            values = np.zeros(room.size)
            column = np.zeros(room.size, dtype=np.int64)
            values[i : i + region.positions] = units[i] / whole
            column[i : i + region.positions] = boundary[1:]
            entries.append((column, values))
        reserved = rate / self.pricer.memory.unit / whole
        entries.append((np.full(room.size, rows.columns - 2), np.full(room.size, reserved * tables.tokens)))
        return rows.add(entries, room / whole + reserved * self.pricer.least_longest(region))

    def _reserve_rate(self, region: PartitionRegion) -> int:
        """As the pricer's, but 0 where the longest chunk is known."""
        return self.pricer.reserve_rate(region) if region.short < region.long else 0

    def _longest(self, region: PartitionRegion, rows: Rows, lower: FloatArray, upper: FloatArray) -> slice:
        """No chunk is longer than the longest, a column of its own before the last one."""
        steps, positions = self.pricer.tables.steps, region.positions
        lower[-2], upper[-2] = region.short / steps, region.long / steps
        if not self._reserve_rate(region):
            return slice(0, 0)
        boundary = self._columns(region)[0]
        longest = np.full(positions, rows.columns - 2)
        return rows.add([(boundary[1:], 1.0), (boundary[:-1], -1.0), (longest, -1.0)], np.zeros(positions))

    def _prices(
        self, region: PartitionRegion, slots: FloatArray, lengths: FloatArray
    ) -> tuple[int, IntArray, IntArray]:
        """Parts of a tick that keep sums exact, prices per unit of pooled memory and per token in them.

        The tokens together are worth no more than the memory that a token takes.
        """
        tables, unit = self.pricer.tables, self.pricer.memory.unit
        whole = int((tables.page_bytes // unit).sum()) * int(tables.pages[-1])
        rate = self._reserve_rate(region)
        room = self.pricer.room_and_reserve(region) if rate else self.pricer.room(region)
        assert room is not None
        whole = whole or max(int(np.abs(room).max()), 1)
        prices = slots * self.costs.unit / whole
        reserve = rate * int(tables.lengths[0, region.long]) // unit
        most = 2.0**58 / max(whole, int(room.max()), reserve, 1)
        parts = self.pricer.most_parts
        while parts > 1 and float(prices.sum()) * parts > most:
            parts //= 2
        total = float(prices.sum()) * parts
        by_slot: IntArray = np.floor(prices * (parts * min(1.0, most / total) if total else 0.0)).astype(
            np.int64
        )
        spread = np.zeros(region.positions, dtype=np.int64)
        if lengths.any():
            worth = sum(by_slot.tolist()) * rate // unit
            spread = np.floor(lengths / lengths.sum() * (worth * (1 - 1e-9))).astype(np.int64)
            spread = np.minimum(spread, np.floor(lengths * (self.costs.unit / tables.tokens * parts))).astype(
                np.int64
            )
        return parts, by_slot, spread


@dataclass(frozen=True, eq=False)
class PathProgram(MultiplierProgram):
    """Paths through the grid of (stage, chunk): duals of the recursion of starts.

    In large programs paths stay only on stages that are slower than all before or all after them: where a
    path stays on another one, it may as well stay on a slower one before or after it.
    """

    @cached_property
    def staying(self) -> IntArray:
        """Stages on which paths stay, int64[group]: the first ones of groups."""
        tables = self.pricer.tables
        stages = np.arange(tables.stages)
        if stages.size * max(tables.counts) <= MOST_CELLS:
            return stages
        work = tables.phi[:, -1] - tables.phi[:, 0]
        before, after = np.maximum.accumulate(work), np.maximum.accumulate(work[::-1])[::-1]
        kept = np.ones(stages.size, dtype=bool)
        kept[1:-1] = (work[1:-1] > before[:-2]) | (work[1:-1] > after[2:])
        return stages[kept]

    def time_columns(self, region: PartitionRegion) -> int:
        """One start for each cell, and the latency."""
        return self.staying.size * region.positions + 1

    def add_times(
        self, region: PartitionRegion, rows: Rows, objective: FloatArray
    ) -> Callable[[FloatArray, int], PathWeights]:
        """What starts after a chunk on the next stage, and on its own; starts behind full queues.

        Parameters
        ----------
        region : PartitionRegion
        rows : Rows
            Rows are added.
        objective : float64[column]
            The latency is what counts.

        Returns
        -------
        callable
            From duals and parts to a flow.
        """
        stages, positions, staying = self.pricer.tables.stages, region.positions, self.staying
        shape = staying.size, positions
        cells = np.arange(shape[0] * positions).reshape(shape)
        objective[cells.size] = 1.0
        chunks, groups = self.chunk_rows(region), self.chunk_rows(region, self.costs.together(staying))

        def _add(at: _Cells, following: IntArray, *, sent: bool, memory: bool) -> slice:
            i, j = np.divmod(cells[at].ravel(), positions)
            if sent:
                entries, side = groups.tau(i, j, memory=memory)
                sends, less = groups.send(i, j)
                entries, side = entries + sends, side + less
            else:
                entries, side = chunks.tau(staying[i], j, memory=memory)
            entries = [*entries, (cells[at].ravel(), 1.0), (following.ravel(), -1.0)]
            return rows.add(entries, side)

        every, but_last, last = slice(None), slice(None, -1), slice(-1, None)
        down, right = [], []
        for memory in (False, True) if self.reads else (False,):
            _add((last, last), np.array([cells.size]), sent=False, memory=memory)
            down.append(_add((but_last, every), cells[1:], sent=True, memory=memory))
            right.append(_add((every, but_last), cells[:, 1:], sent=False, memory=memory))
        depth = self.pricer.tables.queue_depth
        depth = positions if depth is None or shape[0] < stages else min(depth, positions)
        behind, ahead = cells[:-1, depth:].ravel(), cells[1:, : positions - depth].ravel()
        back = rows.add([(ahead, 1.0), (behind, -1.0)], np.zeros(behind.size))

        def _flow(duals: FloatArray, parts: int) -> PathWeights:
            stay = np.zeros((stages, positions - 1))
            stay[staying] = np.sum([duals[part] for part in right], axis=0).reshape(shape[0], positions - 1)
            leave = np.sum([duals[part] for part in down], axis=0).reshape(shape[0] - 1, positions)
            leave = np.repeat(leave, np.diff(staying), axis=0)
            return flow_along(leave, stay, duals[back].reshape(stages - 1, positions - depth), parts)

        return _flow


@dataclass(frozen=True, eq=False)
class SlotProgram(MultiplierProgram):
    """Stages by slot: duals of the times of the two phases of every slot."""

    def time_columns(self, region: PartitionRegion) -> int:
        """Two phases of every slot."""
        return 2 * (self.pricer.tables.stages + region.positions - 1)

    def add_times(
        self, region: PartitionRegion, rows: Rows, objective: FloatArray
    ) -> Callable[[FloatArray, int], SlotWeights]:
        """A slot's compute phase lasts as long as any of its chunks, the other one as any of its sends.

        Parameters
        ----------
        region : PartitionRegion
        rows : Rows
            Rows are added.
        objective : float64[column]
            All phases count.

        Returns
        -------
        callable
            From duals and parts to shares of stages in slots.
        """
        stages, positions = self.pricer.tables.stages, region.positions
        chunks = self.chunk_rows(region)
        slots = stages + positions - 1
        objective[: 2 * slots] = 1.0
        i, j = np.divmod(np.arange(stages * positions), positions)
        work = []
        for memory in (False, True) if self.reads else (False,):
            entries, side = chunks.tau(i, j, memory=memory)
            work.append(rows.add([*entries, (i + j, -1.0)], side))
        sending = i < stages - 1
        entries, side = chunks.send(i[sending], j[sending])
        sent = rows.add([*entries, ((i + j)[sending] + slots, -1.0)], side)
        return lambda duals, parts: SlotWeights(
            parts,
            shares_of_slots(np.sum([duals[part] for part in work], axis=0).reshape(stages, positions), parts),
            shares_of_slots(duals[sent].reshape(stages - 1, positions), parts),
        )


def program_for(pricer: PartitionPricer) -> MultiplierProgram:
    """The program whose mixtures hold for what the pricer's bounds are to hold for.

    Parameters
    ----------
    pricer : PartitionPricer
    """
    return SlotProgram(pricer) if pricer.setting.scope is Scope.LOCKSTEP else PathProgram(pricer)
