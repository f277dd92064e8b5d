"""Rows of traffic: what passes a link or port while some chunks run takes no longer than that.

Statement and proof: ``formulations/bounds.md``, `traffic_branching`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mocap_opt.tables.cost_tables import Tables

FloatArray = npt.NDArray[np.float64]

#: Rows added in a round, and for each link or port; parts of the largest time that count as broken.
MOST_ADDED = 200
MOST_PER_RESOURCE = 6
BROKEN = 1e-5


@dataclass(frozen=True, order=True)
class Row:
    """A row of traffic; positions are counted from the last one.

    Attributes
    ----------
    kind : str
        "window" (from a start to an end), "onward" (to the start on the next stage), "delay" (of one
        chunk); in lockstep "slot" and "exchange", the phases, and "delay".
    resource : int
    first, last : (int, int)
        Stages and positions; of a slot its last position on stage 0.
    """

    kind: str
    resource: int
    first: tuple[int, int]
    last: tuple[int, int]


@dataclass(frozen=True, eq=False)
class TrafficRows:
    """The rows of a number of positions; times in units of the largest, pages in parts of all.

    Attributes
    ----------
    tables : Tables
    positions : int
    lockstep : bool
        Slots instead of windows.
    """

    tables: Tables
    positions: int
    lockstep: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Stages and positions."""
        return self.tables.stages, self.positions

    @cached_property
    def unit(self) -> float:
        """Ticks in a unit."""
        return float(max(1, int(np.abs(self.tables.phi).max())))

    def has(self, row: Row) -> bool:
        """Whether a row's positions are among the region's."""
        return row.first[1] < self.positions

    @cached_property
    def ways(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Time of all pages of a stage to a memory, back, and of activations onward.

        Returns
        -------
        out, back : float64[resource, stage, memory]
        sent : float64[resource, stage]
        """
        tables, stages, memories = self.tables, self.shape[0], self.tables.memories
        rate = tables.link_rate * float(tables.share_denominator) * self.unit
        by_link = tables.share / rate[:, None, None] if rate.size else np.zeros((0, memories, memories))
        port = np.zeros((memories, stages, memories))
        port[np.arange(memories), :, np.arange(memories)] = 1.0 / (tables.port_rate[:, None] * self.unit)
        size = tables.page_bytes * float(tables.pages[-1])
        out = np.concatenate([by_link[:, :stages], port]) * size[:, None]
        back = np.concatenate([by_link.transpose(0, 2, 1)[:, :stages], port]) * size[:, None]
        own = np.arange(stages)
        out[:, own, own] = back[:, own, own] = 0.0
        sent = np.zeros((out.shape[0], stages))
        each = tables.activation_bytes * float(tables.page * tables.pages[-1])
        sent[: rate.size, :-1] = np.diagonal(by_link[:, :stages, :stages], 1, axis1=1, axis2=2) * each[:-1]
        return out, back, sent

    def cells(self, row: Row) -> npt.NDArray[np.bool_]:
        """The chunks of which a row counts KV, or activations."""
        stages, positions = self.shape
        cells = np.zeros(self.shape, dtype=np.bool_)
        first, last = row.first[1], row.last[1]
        if row.kind in ("window", "onward", "delay"):
            cells[row.first[0] : row.last[0] + 1, positions - 1 - first : positions - last] = True
            return cells
        slot = self.slot(row)
        cells[np.add.outer(np.arange(stages), np.arange(positions)) == slot] = True
        return cells

    def slot(self, row: Row) -> int:
        """Slot of a row, which counts slots from the last one."""
        return sum(self.shape) - 2 - row.first[1]

    def loads(self, row: Row) -> tuple[FloatArray, FloatArray]:
        """Time that a row counts for KV and activations.

        Returns
        -------
        home : float64[stage, position, memory]
        fresh : float64[position]
        """
        (out, back, sent), cells, r = self.ways, self.cells(row), row.resource
        home, fresh = np.zeros((*self.shape, self.tables.memories)), np.zeros(self.positions)
        if row.kind != "exchange":
            weight = cells.astype(np.float64)
            if row.kind == "delay":
                weight *= float(1 - self.tables.overlap)
            read = np.zeros_like(weight)
            read[:, :-1] = np.cumsum(weight[:, :0:-1], axis=1)[:, ::-1]
            home = weight[:, :, None] * out[r][:, None, :] + read[:, :, None] * back[r][:, None, :]
        if row.kind in ("window", "onward", "exchange"):
            passing = cells[: row.last[0]] if row.kind == "window" else cells
            fresh = sent[r, : passing.shape[0]] @ passing
        return home, fresh

    def broken(
        self,
        pages: FloatArray,
        fresh: FloatArray,
        times: tuple[FloatArray, FloatArray],
        work: FloatArray,
        known: dict[Row, None],
    ) -> list[Row]:
        """Rows that a solution breaks, the worst ones.

        Parameters
        ----------
        pages : float64[stage, position, memory]
        fresh : float64[position]
        times : (float64, float64)
            Starts and ends by ``[stage, position]``, or both phases by slot.
        work : float64[stage, position]
        known : dict of Row
            Left out.
        """
        (stages, positions), (out, back, sent) = self.shape, self.ways
        last, late = positions - 1, float(1 - self.tables.overlap)
        moved = np.einsum("rik,ijk->rij", out, pages)
        moved += np.einsum("rik,ijk->rij", back, np.cumsum(pages, axis=1) - pages)
        onward = sent[:, :, None] * fresh
        found: list[tuple[float, Row]] = []

        def _keep(excess: FloatArray, named: Callable[[int], Row]) -> None:
            for n in np.argsort(-excess)[:MOST_PER_RESOURCE].tolist():
                if excess[n] > BROKEN and (row := named(n)) not in known:
                    found.append((float(excess[n]), row))  # noqa: PERF401

        i, j = np.divmod(np.arange(stages * positions), positions)
        for r in np.flatnonzero(moved.any(axis=(1, 2)) | onward.any(axis=(1, 2))).tolist():
            if self.lockstep:
                for kind, amount, phase in zip(
                    ("slot", "exchange"), (moved[r], onward[r]), times, strict=True
                ):
                    busy = np.bincount(i + j, amount.ravel(), phase.size)
                    _keep(busy - phase, self._named_slot(kind, r))
                time = times[0][i + j]
            else:
                time = (times[1] - times[0]).ravel()
                for on in (False, True):
                    _keep(*self._windows(r, moved[r], onward[r], times, onward=on))
            if late:

                def _delay(n: int, r: int = r) -> Row:
                    cell = int(i[n]), last - int(j[n])
                    return Row("delay", r, cell, cell)

                _keep(work.ravel() + late * moved[r].ravel() - time, _delay)
        found.sort(key=lambda entry: -entry[0])
        return [row for _, row in found[:MOST_ADDED]]

    def _named_slot(self, kind: str, r: int) -> Callable[[int], Row]:
        return lambda t: Row(kind, r, (0, sum(self.shape) - 2 - t), (0, 0))

    def _windows(
        self,
        r: int,
        moved: FloatArray,
        sent: FloatArray,
        times: tuple[FloatArray, FloatArray],
        *,
        onward: bool,
    ) -> tuple[FloatArray, Callable[[int], Row]]:
        """By how much each window is too short for what passes a link within it, and its row."""
        (stages, positions), last, (start, end) = self.shape, self.positions - 1, times
        total, passed = np.zeros((stages + 1, positions + 1)), np.zeros((stages + 1, positions + 1))
        total[1:, 1:] = moved.cumsum(axis=0).cumsum(axis=1)
        passed[1:, 1:] = sent.cumsum(axis=0).cumsum(axis=1)
        i1, i2 = np.triu_indices(stages)
        if onward:
            i1, i2 = i1[i2 < stages - 1], i2[i2 < stages - 1]
        j1, j2 = np.triu_indices(positions)
        strips = total[i2 + 1] - total[i1] + passed[i2 + onward] - passed[i1]
        until = start[i2[:, None] + 1, j2] if onward else end[i2[:, None], j2]
        excess = strips[:, j2 + 1] - strips[:, j1] - (until - start[i1[:, None], j1])

        def _named(n: int) -> Row:
            i, j = divmod(n, j1.size)
            first, final = (int(i1[i]), last - int(j1[j])), (int(i2[i]), last - int(j2[j]))
            return Row("onward" if onward else "window", r, first, final)

        return excess.ravel(), _named
