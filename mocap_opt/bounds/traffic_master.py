"""The linear program that mixes chunks, homes and rows of traffic of a region; its duals as multipliers.

Statement and proof: ``formulations/bounds.md``, `traffic_branching`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.partition_pricing import PartitionPricer
from mocap_opt.bounds.partition_region import Multipliers, PartitionRegion
from mocap_opt.bounds.traffic_flow import TrafficDuals, path_flow, slot_shares
from mocap_opt.bounds.traffic_rows import Row, TrafficRows
from mocap_opt.flow_shop.chunk_times import class_members, stage_classes
from mocap_opt.lower_bound import Scope
from mocap_opt.solvers.linear_program import LinearProgram, without_negligible
from mocap_opt.stopping import AskedToStop, never

FloatArray = npt.NDArray[np.float64]
Arc = tuple[int, int, int]
"""A chunk: its position counted from the last one, start, end."""

#: Price of lacking room for a whole prompt's cache, in units of the largest time.
SHORTAGE = 100.0


@dataclass(eq=False)
class TrafficMaster:
    """The program of one region.

    Columns: times, the shortage of memory, times of chunks by class of stages, fresh pages, sends by class,
    pages by stage, position and memory, chunks.  Times in units of the largest, pages in parts of all.
    """

    pricer: PartitionPricer
    region: PartitionRegion
    asked_to_stop: AskedToStop = never

    def __post_init__(self) -> None:
        """Number the columns."""
        tables, positions = self.pricer.tables, self.region.positions
        stages = tables.stages
        self.shape = stages, positions
        self.rows = TrafficRows(tables, positions, self.pricer.setting.scope is Scope.LOCKSTEP)
        self.unit = self.rows.unit
        self.lockstep = self.pricer.setting.scope is Scope.LOCKSTEP
        parts = [tables.phi, tables.full_block, tables.memory_side, tables.prefix_cost, tables.length_cost]
        parts += [] if tables.excess is None else [tables.excess]
        self.kind = stage_classes(*parts)
        self.members = class_members(self.kind)
        self.sender = stage_classes(self.pricer.setting.send)
        self.senders = class_members(self.sender)
        column = 0

        def take(*shape: int) -> IntArray:
            nonlocal column
            size = int(np.prod(shape))
            column += size
            return np.arange(column - size, column).reshape(shape)

        slots = stages + positions - 1
        self.first, self.second = (
            (take(slots), take(slots)) if self.lockstep else (take(*self.shape), take(*self.shape))
        )
        self.latency, self.short = take(1), take(1)
        self.duration = take(self.members.size, positions)
        self.fresh, self.send = take(positions), take(self.senders.size, positions)
        self.home = take(stages, positions, tables.memories)
        self.columns = column

    def even(self) -> Multipliers:
        """A mixture to begin with."""
        return self._multipliers(
            TrafficDuals.none(self.shape), np.zeros((self.home.shape[2], sum(self.shape) - 1))
        )

    @cached_property
    def depth(self) -> int:
        """Depth of the queues, or the positions."""
        depth = self.pricer.tables.queue_depth
        return self.region.positions if depth is None else min(depth, self.region.positions)

    @cached_property
    def fixed(self) -> tuple[sparse.csr_array, FloatArray]:
        """Rows that do not change: times, homes and memory; a x <= b."""
        tables, (stages, positions) = self.pricer.tables, self.shape
        rows = _Collector()
        i, j = np.divmod(np.arange(stages * positions), positions)
        work, send = self.duration[self.kind[i], j], self.send[self.sender[i], j]
        if self.lockstep:
            rows.add([(self.first[i + j], -1.0), (work, 1.0)])
            rows.add([(self.second[i + j], -1.0), (send, 1.0)])
        else:
            start, end = self.first, self.second
            rows.add([(start[i, j], 1.0), (end[i, j], -1.0), (work, 1.0)])
            rows.add(
                [(end[:-1].ravel(), 1.0), (start[1:].ravel(), -1.0), (send[: (stages - 1) * positions], 1.0)]
            )
            rows.add([(end[:, :-1].ravel(), 1.0), (start[:, 1:].ravel(), -1.0)])
            ahead = positions - self.depth
            rows.add([(start[1:, :ahead].ravel(), 1.0), (start[:-1, self.depth :].ravel(), -1.0)])
            rows.add([(end[-1:, -1], 1.0), (self.latency, -1.0)])
        at_home = self.home.copy()
        elsewhere = [np.delete(at_home[s], s, axis=1) for s in range(stages)]
        remote = np.stack(elsewhere).reshape(stages * positions, tables.memories - 1)
        rows.add([*((remote[:, k], 1.0) for k in range(tables.memories - 1)), (self.fresh[j], -1.0)])
        side = [np.zeros(rows.count)]
        # Memory by memory and slot.
        room = self.pricer.rooms(self.region)
        assert room is not None
        size = tables.page_bytes / self.pricer.memory.unit
        scale = max(float(size.max()), 1.0)
        begun = rows.count
        at = begun + np.arange(room.size).reshape(room.shape)
        for s in range(stages):
            for p in range(positions):
                alive = at[:, s + p : s + positions]
                others = np.delete(np.arange(tables.memories), s)
                for k in others.tolist():
                    rows.put(alive[k], self.home[s, p, k], size[s] / scale)
                    rows.put(alive[s], self.home[s, p, k], -size[s] / scale)
                rows.put(alive[s], self.fresh[p], size[s] / scale)
        rows.put(at.ravel(), self.short[0], -1.0)
        rows.count += at.size
        side.append((room / scale / float(tables.pages[-1])).ravel())
        self.memory_scale = self.unit / scale / float(tables.pages[-1])
        self.memory_rows = slice(begun, rows.count)
        return rows.matrix(self.columns), np.concatenate(side)

    def solve(
        self, arcs: Iterable[Arc], rows: dict[Row, None]
    ) -> tuple[float, Multipliers, list[Row], list[Row]] | None:
        """Solve over the chunks known that lie in the region; None without answer.

        Parameters
        ----------
        arcs : iterable of Arc
        rows : dict of Row
            Rows of traffic that take part.

        Returns
        -------
        float
            The objective, ticks.
        Multipliers
            What its duals say.
        list of Row, list of Row
            Rows that are broken, and those that have a price.
        """
        # HiGHS is slow to load, and most instances do not come here.
        from mocap_opt.solvers.highs import solve_lp  # noqa: PLC0415

        matrix, side = self.fixed
        chunks = self._inside(arcs)
        chosen = list(rows)
        parts = [matrix, *(self._row(row) for row in chosen)]
        upper = np.concatenate([side, np.zeros(len(chosen))])
        inequalities = sparse.vstack(parts)
        empty = sparse.csr_array((inequalities.shape[0], len(chunks)))
        linked, balance = self._chunk_rows(chunks)
        whole = without_negligible(
            sparse.csr_array(sparse.vstack([sparse.hstack([inequalities, empty]), linked]))
        )
        columns = self.columns + len(chunks)
        cost = np.zeros(columns)
        if self.lockstep:
            cost[self.first], cost[self.second] = 1.0, 1.0
        else:
            cost[self.latency] = 1.0
        cost[self.short] = SHORTAGE
        lower = np.zeros(columns)
        if not self.lockstep:
            # All weight of a path comes from the first start, not from bounds on others.
            lower[self.first.ravel()[1:]] = lower[self.second] = -np.inf
        found = solve_lp(
            LinearProgram(
                cost,
                lower,
                np.full(columns, np.inf),
                np.zeros(columns, dtype=np.bool_),
                whole,
                np.concatenate([np.full(upper.size, -np.inf), balance]),
                np.concatenate([upper, balance]),
            ),
            asked_to_stop=self.asked_to_stop,
        )
        if found.primal is None or found.row_duals is None or found.objective is None:
            return None
        duals = np.maximum(-found.row_duals, 0.0)
        priced = duals[matrix.shape[0] : upper.size]
        used = [row for row, dual in zip(chosen, priced.tolist(), strict=True) if dual > 1e-9]
        prices = duals[self.memory_rows].reshape(self.home.shape[2], -1) * self.memory_scale
        multipliers = self._multipliers(self._duals(duals, chosen, priced), prices)
        self.homes = found.primal[self.home] * float(self.pricer.tables.pages[-1])
        at = found.primal[self.columns :]
        multipliers = replace(multipliers, scatter=self._scatter(chunks, at))
        return found.objective * self.unit, multipliers, self._broken(found.primal, rows), used

    def _scatter(self, chunks: IntArray, at: FloatArray) -> FloatArray:
        """How far the mixed boundaries lie apart, float64[position + 1], parts of the prompt squared."""
        steps, positions = self.pricer.tables.steps, self.region.positions
        ends, mean, square = chunks[:, 2] / steps, np.zeros(positions + 1), np.zeros(positions + 1)
        np.add.at(mean, chunks[:, 0] + 1, at * ends)
        np.add.at(square, chunks[:, 0] + 1, at * ends**2)
        return np.asarray(square - mean**2)

    def _inside(self, arcs: Iterable[Arc]) -> IntArray:
        """The region's chunks among those known, int64[chunk, 3]: position, start, end; empty ones too."""
        tables, region = self.pricer.tables, self.region
        known = np.array(list(arcs), dtype=np.int64).reshape(-1, 3)
        known = known[(known[:, 0] < region.positions) & (known[:, 1] >= 0) & (known[:, 2] <= tables.steps)]
        position, start, end = region.positions - 1 - known[:, 0], known[:, 1], known[:, 2]
        length = end - start
        inside = (length > 0) & (length <= region.long)
        inside &= (region.low[position] <= start) & (start <= region.high[position])
        inside &= (region.low[position + 1] <= end) & (end <= region.high[position + 1])
        inside &= tables.length_allowed[(end == tables.steps).astype(np.int64), np.maximum(length, 0)]
        inside &= (end == tables.steps) == (position == region.positions - 1)
        if region.starts is not None:
            inside &= (region.starts[0, position, end] <= start) & (start <= region.starts[1, position, end])
        empty = [(j, 0, 0) for j in range(region.optional) if not region.low[j + 1]]
        chunks: IntArray = np.concatenate(
            [np.stack([position, start, end], axis=1)[inside], np.array(empty, dtype=np.int64).reshape(-1, 3)]
        )
        return chunks

    def _chunk_rows(self, chunks: IntArray) -> tuple[Any, FloatArray]:
        """Equalities of what chunks take, and of boundaries."""
        tables, positions = self.pricer.tables, self.region.positions
        number = self.columns + np.arange(chunks.shape[0])
        j, a, b = chunks.T
        some = b > a
        tail = (b == tables.steps).astype(np.int64)
        rows = _Collector()

        def _link(columns: IntArray, values: FloatArray) -> None:
            rows.put(rows.count + j[some], number[some], values)
            rows.put(rows.count + np.arange(positions), columns, -1.0)
            rows.count += positions

        for c, i in enumerate(self.members.tolist()):
            _link(self.duration[c], tables.tau(i, a[some], b[some]) / self.unit)
        for c, i in enumerate(self.senders.tolist()):
            _link(self.send[c], self.pricer.setting.send[i, tail, b - a][some] / self.unit)
        _link(self.fresh, (tables.pages[b] - tables.pages[a])[some] / float(tables.pages[-1]))
        right = [np.zeros(rows.count)]
        # One chunk ends and the next begins at each boundary.
        base = tables.steps + 1
        keys = np.unique(np.concatenate([j * base + a, (j + 1) * base + b]))
        start = rows.count
        rows.put(start + keys.searchsorted(j * base + a), number, 1.0)
        rows.put(start + keys.searchsorted((j + 1) * base + b), number, -1.0)
        rows.count += keys.size
        balance = np.zeros(keys.size)
        balance[keys == 0] = 1.0
        balance[keys == positions * base + tables.steps] = -1.0
        right.append(balance)
        return rows.matrix(self.columns + chunks.shape[0]), np.concatenate(right)

    def _row(self, row: Row) -> sparse.csr_array:
        """A row of traffic, a x <= 0."""
        entries, zero, positions = _Collector(), np.zeros(1, dtype=np.int64), self.region.positions
        for columns, values in zip((self.home, self.fresh), self.rows.loads(row), strict=True):
            at = np.flatnonzero(values)
            entries.put(np.zeros(at.size, dtype=np.int64), columns.ravel()[at], values.ravel()[at])
        i1, i2, j1, j2 = row.first[0], row.last[0], positions - 1 - row.first[1], positions - 1 - row.last[1]
        if row.kind in ("window", "onward"):
            until = self.second[i2, j2] if row.kind == "window" else self.first[i2 + 1, j2]
            entries.put(zero, self.first[i1, j1], 1.0)
            entries.put(zero, until, -1.0)
        elif row.kind == "delay":
            entries.put(zero, self.duration[self.kind[i1], j1], 1.0)
            if self.lockstep:
                entries.put(zero, self.first[i1 + j1], -1.0)
            else:
                entries.put(zero, self.first[i1, j1], 1.0)
                entries.put(zero, self.second[i1, j1], -1.0)
        else:
            phase = self.second if row.kind == "exchange" else self.first
            entries.put(zero, phase[self.rows.slot(row)], -1.0)
        entries.count = 1
        return entries.matrix(self.columns)

    def _broken(self, at: FloatArray, known: dict[Row, None]) -> list[Row]:
        """Rows that a solution breaks, the worst ones."""
        work = at[self.duration][self.kind]
        times = at[self.first], at[self.second]
        return self.rows.broken(at[self.home], at[self.fresh], times, work, known)

    def _duals(self, duals: FloatArray, chosen: list[Row], priced: FloatArray) -> TrafficDuals:
        """Weights of all steps."""
        (stages, positions), last = self.shape, self.region.positions - 1
        cells = stages * positions
        node = duals[:cells].reshape(self.shape).copy()
        at = cells
        if self.lockstep:
            down = duals[at : at + cells].reshape(self.shape)[:-1]
            right, queue = np.zeros((stages, last)), np.zeros((stages - 1, 0))
        else:
            down = duals[at : at + cells - positions].reshape(stages - 1, positions)
            at += cells - positions
            right = duals[at : at + stages * last].reshape(stages, last)
            at += stages * last
            ahead = positions - self.depth
            queue = duals[at : at + (stages - 1) * ahead].reshape(stages - 1, ahead)
        steps, delays = [], []
        for row, dual in zip(chosen, priced.tolist(), strict=True):
            if dual <= 1e-12:
                continue
            first = row.first[0], last - row.first[1]
            if row.kind == "delay":
                delays.append((row.resource, first, dual))
                node[first] += dual
            elif row.kind in ("window", "onward"):
                final = row.last[0], last - row.last[1]
                steps.append((row.resource, first, final, row.kind == "onward", dual))
            else:
                slot = self.rows.slot(row), 0
                steps.append((row.resource, slot, slot, row.kind == "exchange", dual))
        return TrafficDuals(node, down, right, queue, steps, delays)

    def _multipliers(self, duals: TrafficDuals, prices: FloatArray) -> Multipliers:
        """Whole numbers of parts."""
        tables, room = self.pricer.tables, self.pricer.rooms(self.region)
        assert room is not None
        whole = float((tables.page_bytes // self.pricer.memory.unit).sum()) * float(tables.pages[-1])
        most = float(prices.sum()) * max(whole, float(room.max()), 1.0) + 40 * self.unit
        parts = self.pricer.most_parts
        while parts > 1 and most * parts > 2.0**56:
            parts //= 2
        flow = slot_shares(duals, parts) if self.lockstep else path_flow(duals, self.shape, self.depth, parts)
        slots, positions = sum(self.shape) - 1, self.region.positions
        return Multipliers(
            flow,
            np.zeros(slots, dtype=np.int64),
            np.zeros(positions, dtype=np.int64),
            memory_prices=np.floor(prices * parts).astype(np.int64),
        )


@dataclass(eq=False)
class _Collector:
    """Entries of a sparse matrix."""

    count: int = 0
    row: list[IntArray] = field(default_factory=list)
    column: list[IntArray] = field(default_factory=list)
    value: list[FloatArray] = field(default_factory=list)

    def put(self, row: IntArray, column: npt.ArrayLike, value: npt.ArrayLike) -> None:
        """Add entries.

        Parameters
        ----------
        row : int64[entry]
        column, value : of all entries, or a single one
        """
        self.row.append(row)
        self.column.append(np.broadcast_to(column, row.shape))
        self.value.append(np.broadcast_to(np.asarray(value, dtype=np.float64), row.shape))

    def add(self, entries: list[tuple[IntArray, float]]) -> None:
        """Add a row for every element of the columns given.

        Parameters
        ----------
        entries : list of (int64[row], float)
        """
        size = entries[0][0].size
        for column, value in entries:
            self.put(self.count + np.arange(size), column, value)
        self.count += size

    def matrix(self, columns: int) -> sparse.csr_array:
        """All of it."""
        if not self.row:
            return sparse.csr_array((self.count, columns))
        parts = (np.concatenate(self.value), (np.concatenate(self.row), np.concatenate(self.column)))
        return sparse.csr_array(parts, shape=(self.count, columns))
