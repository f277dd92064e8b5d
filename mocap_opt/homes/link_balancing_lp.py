"""Homes by a linear program that balances links, rounded to whole pages in slot order.

Of the placement program it keeps what matters where links are scarce, and little enough to be solved in a
second for 16 stages x 32 chunks: a stage's later chunks alone may leave it, for memories that are near
or have room to spare, and a slot is one phase in which KV and activations share links and ports.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import sparse

from mocap_opt.arrays import IntArray
from mocap_opt.homes.link_balanced_greedy import (
    BUSY,
    LinkLoad,
    longest_chunks,
    place_link_balanced,
    ticks_per_byte,
)
from mocap_opt.homes.proposal import Homes
from mocap_opt.homes.slot_placement import SlotPlacement, produced, room, with_pools
from mocap_opt.solvers.linear_program import LinearProgram, without_negligible
from mocap_opt.stopping import AskedToStop, never, stop_if
from mocap_opt.tables.cost_tables import Tables

FloatArray = npt.NDArray[np.float64]

NEAR = 4
"""A quarter of the memories, the nearest, may take KV though their own stage will need the room."""

EARLIER = 8
"""An eighth of the chunks may leave besides those that have to: the last ones before these."""

SELDOM = 0.3
"""Links and ports that are never busier than this part of a slot get no row."""


@dataclass(frozen=True, eq=False)
class LinkBalancingProgram:
    """The program of an instance and its boundaries; some stage must not fit its own memory.

    Columns are the pages of a stage's chunks up to one, in another memory; then by how much traffic
    makes a slot longer.

    Attributes
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    """

    tables: Tables
    indices: IntArray

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return int(self.indices.size - 1)

    @property
    def slots(self) -> int:
        """Number of slots."""
        return self.chunks + self.tables.stages - 1

    @cached_property
    def unit(self) -> int:
        """Bytes that what a memory holds is a multiple of, at least 1."""
        return max(int(np.gcd.reduce(self.tables.page_bytes)), 1)

    @cached_property
    def spare(self) -> IntArray:
        """Units of room beyond what the memory's own stage produces, int64[memory, slot]; or negative."""
        own = self.tables.page_bytes[:, None] // self.unit * produced(self.tables, self.indices)
        left: IntArray = room(self.tables, self.indices) // self.unit - with_pools(self.tables, own)
        return left

    @cached_property
    def places(self) -> tuple[IntArray, IntArray, IntArray]:
        """Stage, chunk and memory of each column of pages, three int64[column]."""
        stages, memories, chunks = self.tables.stages, self.tables.memories, self.chunks
        hops = self.tables.hop_ticks + self.tables.hop_ticks.T
        near = np.argsort(np.argsort(hops, axis=1, kind="stable"), axis=1) <= max(2, memories // NEAR)
        allowed = np.zeros((stages, chunks, memories), dtype=np.bool_)
        for i in range(stages):
            short = np.flatnonzero(self.spare[i, i : i + chunks] < 0)
            if short.size == 0:
                continue
            for j in range(max(0, int(short[0]) - max(2, chunks // EARLIER)), chunks):
                allowed[i, j] = near[i] | (self.spare[:, i + j : i + chunks].min(axis=1) > 0)
            # What may live somewhere when it is made may do so later, so that it need not move.
            np.logical_or.accumulate(allowed[i], axis=0, out=allowed[i])
            allowed[i, :, i] = False
        stage, chunk, memory = np.nonzero(allowed)
        return stage, chunk, memory

    def build(self) -> LinearProgram:
        """Set up the program; times in parts of the longest slot, bytes in units."""
        tables, (stage, chunk, memory) = self.tables, self.places
        columns = stage.size + self.slots
        number = np.full((tables.stages, self.chunks, tables.memories), -1, dtype=np.int64)
        number[stage, chunk, memory] = np.arange(stage.size)
        before = np.where(chunk > 0, number[stage, np.maximum(chunk - 1, 0), memory], -1)
        later = np.flatnonzero(before >= 0)
        all_pages = np.arange(stage.size)

        one, less = np.ones(later.size), np.arange(later.size)
        stay = _rows([(less, before[later], one), (less, later, -one)], (later.size, columns))
        cells, cell = np.unique(stage * self.chunks + chunk, return_inverse=True)
        made = [(cell, all_pages, np.ones(stage.size)), (cell[later], before[later], -one)]
        leave = _rows(made, (cells.size, columns))
        fresh = np.diff(tables.pages[self.indices])[cells % self.chunks]
        size, slot = tables.page_bytes[stage] / self.unit, stage + chunk
        holds = _rows(
            [(stage * self.slots + slot, all_pages, -size), (memory * self.slots + slot, all_pages, size)],
            (tables.memories * self.slots, columns),
        )
        touched = np.flatnonzero(np.diff(holds.indptr))
        traffic, limit = self._traffic(before, later, columns)
        busy = np.asarray(traffic[:, : stage.size].sum(axis=0)).ravel()
        # Bytes too few to matter on a link are left out: homes are made of whole pages and judged by others.
        matrix = without_negligible(sparse.csr_array(sparse.vstack([stay, leave, holds[touched], traffic])))
        upper = np.concatenate([np.zeros(later.size), fresh, self.spare.ravel()[touched], limit])
        cost = np.ones(columns)
        cost[: stage.size] = busy * BUSY / max(len(tables.links), 1)
        return LinearProgram(
            cost,
            np.zeros(columns),
            np.full(columns, np.inf),
            np.zeros(columns, dtype=np.bool_),
            matrix,
            np.full(upper.size, -np.inf),
            upper,
        )

    def _traffic(
        self, before: IntArray, later: IntArray, columns: int
    ) -> tuple[sparse.csr_array, FloatArray]:
        """Rows by link or port and slot: KV and activations take no longer than the slot is long."""
        tables, (stage, chunk, memory) = self.tables, self.places
        longest = longest_chunks(tables, self.indices)
        scale = max(float(longest.max()), 1.0)
        out, back = ticks_per_byte(tables)
        size = tables.page_bytes[stage] / scale
        written, read = out[stage, memory] * size[:, None], back[stage, memory] * size[:, None]
        slot = stage + chunk
        # A page is written with its own chunk, and read with every later one.
        column, resource = np.nonzero(written)
        entries = [(resource * self.slots + slot[column], column, written[column, resource])]
        again = (read - written)[later]
        column, resource = np.nonzero(again)
        entries.append(
            (resource * self.slots + slot[later][column], before[later][column], again[column, resource])
        )
        sent = np.zeros((out.shape[2], self.slots))
        for i in range(tables.stages - 1):
            messages = tables.message_bytes(i, self.indices[:-1], self.indices[1:]) / scale
            # Activations load no port.
            sent[: len(tables.links), i : i + self.chunks] += (
                out[i, i + 1, : len(tables.links), None] * messages
            )
        loads = _rows(entries, (sent.size, columns))
        most = abs(loads) @ np.append(
            tables.pages[self.indices[chunk + 1]].astype(np.float64), np.zeros(self.slots)
        )
        length = np.tile(longest / scale, out.shape[2])
        kept = np.flatnonzero(most + sent.ravel() > SELDOM * length)
        longer = sparse.csr_array(
            (-np.ones(kept.size), (np.arange(kept.size), stage.size + kept % self.slots)),
            shape=(kept.size, columns),
        )
        return sparse.csr_array(loads[kept] + longer), (length - sent.ravel())[kept]

    def held(self, values: FloatArray) -> FloatArray:
        """Read a solution: pages of the chunks up to each, float64[stage, chunk, memory]."""
        held = np.zeros((self.tables.stages, self.chunks, self.tables.memories))
        stage, chunk, memory = self.places
        held[stage, chunk, memory] = values[: stage.size]
        return held


MOST_ENTRIES = 400_000
"""Coefficients up to which the program is solved in about half a minute (32 stages x 40 chunks has half)."""


def _rows(entries: list[tuple[IntArray, IntArray, FloatArray]], shape: tuple[int, int]) -> sparse.csr_array:
    """A matrix from rows, columns and values, collected part by part."""
    row, column, value = (np.concatenate([entry[part] for entry in entries]) for part in range(3))
    return sparse.csr_array((value, (row, column)), shape=shape)


def link_balancing_lp(tables: Tables, indices: IntArray, asked_to_stop: AskedToStop = never) -> Homes:
    """Homes by `LinkBalancingProgram`, or those of `link_balanced_greedy` where they keep the slots shorter.

    What rounding displaces is placed as by `link_balanced_greedy`.  Rounding to few pages may cost more than
    the program gains.  The greedy homes are also the answer where the program has none, or too many
    coefficients (`MOST_ENTRIES`).

    Parameters
    ----------
    indices : int64[chunks + 1]
        Grid indices of the boundaries.

    Raises
    ------
    StoppedError
        If asked to stop.
    SolverUnavailableError
        If HiGHS cannot be loaded.
    """
    placement = SlotPlacement.begin(tables, indices)
    if isinstance(placement, Homes):
        return placement
    wanted = _wanted(tables, indices, asked_to_stop)
    if wanted is None:
        return place_link_balanced(placement, LinkLoad(tables, indices), asked_to_stop)
    again = SlotPlacement.begin(tables, indices)
    assert isinstance(again, SlotPlacement)
    shared, one_by_one = LinkLoad(tables, indices), LinkLoad(tables, indices)
    homes, simple = _rounded(placement, shared, wanted), place_link_balanced(again, one_by_one, asked_to_stop)
    if homes.pages is None or (simple.pages is not None and one_by_one.total < shared.total):
        return simple
    return homes


def _wanted(tables: Tables, indices: IntArray, asked_to_stop: AskedToStop) -> FloatArray | None:
    """Pages up to each chunk by the program, float64[stage, chunk, memory]; None if it has no answer."""
    # HiGHS is slow to load, and many instances have nothing to place.
    from mocap_opt.solvers.highs import solve_lp  # noqa: PLC0415

    program = LinkBalancingProgram(tables, indices)
    linear = program.build()
    if linear.nonzeros > MOST_ENTRIES:
        return None
    values = solve_lp(linear, asked_to_stop=asked_to_stop).primal
    stop_if(asked_to_stop)
    return None if values is None else program.held(values)


def _rounded(placement: SlotPlacement, load: LinkLoad, wanted: FloatArray) -> Homes:
    """Send in every slot what brings the pages in each memory closest to what is wanted by then."""
    tables = placement.tables
    held = np.zeros((tables.stages, tables.memories), dtype=np.int64)
    for t in placement.slots:
        sent = np.zeros_like(held)
        for i in placement.running(t):
            more = np.maximum(np.rint(wanted[i, t - i]).astype(np.int64) - held[i], 0)
            # No more than the chunk has, those left out first of which the least is wanted.
            order = np.argsort(held[i] - wanted[i, t - i], kind="stable")
            room = np.maximum(placement.fresh[t - i] - np.cumsum(more[order]) + more[order], 0)
            sent[i, order] = np.minimum(more[order], room)
        for i, left in placement.keep(t, sent.sum(axis=1)):
            for k in np.flatnonzero(sent[i]).tolist():
                moved = min(int(sent[i, k]), left, placement.most(i, t, k))
                if moved > 0:
                    placement.put(i, t, k, moved)
                    load.take(i, k, t, i + placement.chunks, moved * placement.size(i))
                    left -= moved
            failed = load.share_out(placement, i, t, left)
            if failed is not None:
                return failed
            held[i] += placement.pages[i, t - i]
    return Homes(placement.pages)
