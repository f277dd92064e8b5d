"""Greedy homes that balance links: where links are scarce the nearest memory is not the best one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_times import chunk_times
from mocap_opt.homes.proposal import Homes
from mocap_opt.homes.slot_placement import SlotPlacement
from mocap_opt.stopping import AskedToStop, never, stop_if
from mocap_opt.tables.cost_tables import Tables

FloatArray = npt.NDArray[np.float64]

PARTS = 4
"""Parts into which what a chunk cannot keep is cut; each may go to another memory."""

BUSY = 1e-3
"""Weight of a link's total time: what does not lengthen a slot yet may still be in the way later."""


def ticks_per_byte(tables: Tables) -> tuple[FloatArray, FloatArray]:
    """Time that a byte of a stage's KV takes on every link and port.

    Returns
    -------
    out, back : float64[stage, memory, link or port], ticks
        On its way to the memory, and when it is read; links first.
    """
    memories, rates = tables.memories, np.maximum(tables.link_rate, 1) * float(tables.share_denominator)
    by_link: FloatArray = (tables.share / rates[:, None, None]).transpose(1, 2, 0)
    by_port = np.broadcast_to(np.diag(1.0 / tables.port_rate), (memories,) * 3)
    out: FloatArray = np.concatenate([by_link, by_port], axis=2)
    back: FloatArray = np.concatenate([by_link.transpose(1, 0, 2), by_port], axis=2)
    return out[: tables.stages], back[: tables.stages]


def longest_chunks(tables: Tables, indices: IntArray) -> FloatArray:
    """Time of the longest chunk in each slot, without traffic, float64[slot], ticks.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    """
    stages, chunks = tables.stages, indices.size - 1
    tau, _ = chunk_times(tables, indices)
    longest = np.zeros(chunks + stages - 1)
    for i in range(stages):
        np.maximum(longest[i : i + chunks], tau[i], out=longest[i : i + chunks])
    return longest


class LinkLoad:
    """How long what has been placed so far keeps every link and port busy in every slot.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    """

    def __init__(self, tables: Tables, indices: IntArray) -> None:
        self._out, self._back = ticks_per_byte(tables)
        used = self._out + self._back
        self._on_way = [[np.flatnonzero(way) for way in ways] for ways in used]
        # The longest of the chunks in a slot and of what has been placed.
        self._longest = longest_chunks(tables, indices)
        self._busy = np.zeros((used.shape[2], self._longest.size))

    @property
    def total(self) -> float:
        """Sum over the slots of the longest chunk or the busiest link or port, ticks."""
        return float(self._longest.sum())

    def best(self, stage: int, slot: int, end: int, size: int, memories: IntArray) -> int:
        """The memory that lengthens the slots least, by index among `memories`.

        Parameters
        ----------
        stage, slot : int
            Where the KV is made.
        end : int
            The first slot in which it is not needed any more.
        size : int
            Bytes.
        memories : int64[candidate]
        """
        costs: list[float] = []
        for k in memories.tolist():
            way = self._on_way[stage][k]
            before, busy = self._busy[way, :slot].sum(axis=1), self._busy[way, slot:end]
            busy[:, 0] += size * self._out[stage, k, way]
            busy[:, 1:] += size * self._back[stage, k, way][:, None]
            longer = np.maximum(busy.max(axis=0, initial=0.0) - self._longest[slot:end], 0.0).sum()
            costs.append(float(longer + BUSY * (before + busy.sum(axis=1)).max(initial=0.0)))
        return costs.index(min(costs))

    def take(self, stage: int, memory: int, slot: int, end: int, size: int) -> None:
        """Count what has been placed.

        Parameters
        ----------
        stage, memory : int
            From where to where.
        slot, end : int
            In which the KV is made, and the first in which it is not needed any more.
        size : int
            Bytes.
        """
        way = self._on_way[stage][memory]
        self._busy[way, slot] += size * self._out[stage, memory, way]
        self._busy[way, slot + 1 : end] += size * self._back[stage, memory, way][:, None]
        busiest = self._busy[way, slot:end].max(axis=0, initial=0.0)
        np.maximum(self._longest[slot:end], busiest, out=self._longest[slot:end])

    def share_out(self, placement: SlotPlacement, stage: int, slot: int, pages: int) -> Homes | None:
        """Place what a chunk cannot keep, part by part, each where it lengthens the slots least.

        Parameters
        ----------
        placement : SlotPlacement
        stage, slot : int
            Which chunk's KV.
        pages : int

        Returns
        -------
        Homes or None
            The shortage, if the pages fit nowhere; None if all are placed.
        """
        end, left, size = stage + placement.chunks, pages, placement.size(stage)
        while left:
            part = min(left, -(-pages // PARTS))
            available = next((room for room in placement.rooms(stage, slot) if room.any()), None)
            if available is None:
                return placement.short(stage, slot, left)
            open_to = np.flatnonzero(available)
            memory = int(open_to[self.best(stage, slot, end, part * size, open_to)])
            moved = min(part, int(available[memory]))
            self.take(stage, memory, slot, end, moved * size)
            placement.put(stage, slot, memory, moved)
            left -= moved
        return None


def link_balanced_greedy(tables: Tables, indices: IntArray, asked_to_stop: AskedToStop = never) -> Homes:
    """Home first; what does not fit goes where it lengthens the slots least.

    Slots are worked through in order, as in `mocap_opt.homes.greedy.greedy`.  Bytes moved in slot t
    cross the links to their home in that slot, and those back in every later slot of their stage.  Among
    the memories with room to spare (room left after all that their own stage is still to produce), then
    among all with room, the one is taken with which the slots, each as long as its longest chunk and its
    busiest link or port, add up to the least; a small part (`BUSY`) of the
    total time of its busiest one counts too.

    Parameters
    ----------
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    """
    placement = SlotPlacement.begin(tables, indices)
    if isinstance(placement, Homes):
        return placement
    return place_link_balanced(placement, LinkLoad(tables, indices), asked_to_stop)


def place_link_balanced(
    placement: SlotPlacement, load: LinkLoad, asked_to_stop: AskedToStop = never
) -> Homes:
    """Place everything so, from nothing placed yet.

    Parameters
    ----------
    placement : SlotPlacement
        With nothing placed.
    load : LinkLoad
        Without load; what is placed is added.
    asked_to_stop : callable
        Asked before every slot; `StoppedError` is raised when it says so.
    """
    for t in placement.slots:
        stop_if(asked_to_stop)
        for i, left in placement.keep(t):
            failed = load.share_out(placement, i, t, left)
            if failed is not None:
                return failed
    return Homes(placement.pages)
