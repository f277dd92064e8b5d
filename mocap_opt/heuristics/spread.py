"""Homes that share out the links: where links are scarce the nearest memory is not the best one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mocap_opt.heuristics.occupancy import produced, room, worst
from mocap_opt.heuristics.proposal import Homes, Shortage
from mocap_opt.stopping import AskedToStop, never, stop_if
from mocap_opt.tables import IntArray, Tables

FloatArray = npt.NDArray[np.float64]

PARTS = 4
"""Parts into which what a chunk cannot keep is cut; each may go to another memory."""


BUSY = 1e-3
"""Weight of a link's total time: what does not lengthen a slot yet may still be in the way later."""


def spread(tables: Tables, indices: IntArray, asked_to_stop: AskedToStop = never) -> Homes:
    """Home first; what does not fit goes where it lengthens the slots least.

    Slots are worked through in order, as in `mocap_opt.heuristics.greedy.greedy`.  Bytes moved in slot t
    cross the links to their home in that slot, and those back in every later slot of their stage.  Among
    the memories with room to spare (room left after all that their own stage is still to produce), then
    among all with room, the one is taken with which the slots, each as long as its longest chunk and its
    busiest link or port, add up to the least; `BUSY` of the total time of its busiest one counts too.

    Parameters
    ----------
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    """
    own, free = produced(tables, indices), room(tables, indices)
    stages, chunks, size = tables.stages, indices.size - 1, tables.page_bytes
    alone = worst(-free)
    if alone is not None:
        return Homes(None, alone)
    pages = np.zeros((stages, chunks, stages), dtype=np.int64)
    if np.all(size[:, None] * own <= free):
        return Homes(pages)
    fresh = np.diff(tables.pages[indices])
    future = size[:, None] * own
    roads = _Roads(tables, indices)
    for t in range(chunks + stages - 1):
        stop_if(asked_to_stop)
        spill: list[tuple[int, int]] = []
        for i in range(max(0, t - chunks + 1), min(stages - 1, t) + 1):
            new, end = int(fresh[t - i]), i + chunks
            kept = min(new, max(int(free[i, t]), 0) // max(int(size[i]), 1))
            free[i, t:end] -= kept * size[i]
            if kept < new:
                spill.append((i, new - kept))
        for i, moving in spill:
            end, left = i + chunks, moving
            each = max(int(size[i]), 1)
            coming = np.maximum(future[:, t:end] - future[:, t : t + 1], 0)
            while left:
                part = min(left, -(-moving // PARTS))
                for foreseen in (coming, 0):
                    available = (free[:, t:end] - foreseen).min(axis=1) // each
                    available[i] = 0
                    if np.any(available > 0):
                        break
                else:
                    return Homes(None, Shortage(i, t, left * int(size[i])))
                open_to = np.flatnonzero(available > 0)
                k = int(open_to[roads.best(i, t, end, part * each, open_to)])
                moved = min(part, int(available[k]))
                roads.take(i, k, t, end, moved * each)
                pages[i, t - i, k] += moved
                free[k, t:end] -= moved * size[i]
                left -= moved
    return Homes(pages)


class _Roads:
    """How long what has been placed so far keeps every link and port busy in every slot.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    """

    def __init__(self, tables: Tables, indices: IntArray) -> None:
        stages, chunks = tables.stages, indices.size - 1
        capacity = np.maximum(tables.link_rate, 1) * float(tables.share_denominator)
        by_link: FloatArray = (tables.share / capacity[:, None, None]).transpose(1, 2, 0)
        by_port = np.broadcast_to(np.diag(1.0 / tables.port_rate), (stages, stages, stages))
        # [stage, memory, link or port]: ticks that a byte takes there, and back.
        self._out: FloatArray = np.concatenate([by_link, by_port], axis=2)
        self._back: FloatArray = np.concatenate([by_link.transpose(1, 0, 2), by_port], axis=2)
        used = self._out + self._back
        self._on_way = [[np.flatnonzero(used[i, k]) for k in range(stages)] for i in range(stages)]
        tau = tables.tau(np.arange(stages)[:, None], indices[None, :-1], indices[None, 1:])
        self._busy = np.zeros((used.shape[2], chunks + stages - 1))
        # The longest of the chunks in a slot and of what has been placed.
        self._longest = np.zeros(chunks + stages - 1)
        for i in range(stages):
            np.maximum(self._longest[i : i + chunks], tau[i], out=self._longest[i : i + chunks])

    def best(self, stage: int, slot: int, end: int, size: int, memories: IntArray) -> int:
        """The memory that lengthens the slots least, by index among `memories`."""
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
        """Count what has been placed."""
        way = self._on_way[stage][memory]
        self._busy[way, slot] += size * self._out[stage, memory, way]
        self._busy[way, slot + 1 : end] += size * self._back[stage, memory, way][:, None]
        busiest = self._busy[way, slot:end].max(axis=0, initial=0.0)
        np.maximum(self._longest[slot:end], busiest, out=self._longest[slot:end])
