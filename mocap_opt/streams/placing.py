"""Homes for the KV of one request beside the requests before it; greedy, in slot order."""

from __future__ import annotations

import numpy as np

from mocap_opt.heuristics.greedy import page_times
from mocap_opt.plan import Plan
from mocap_opt.tables import IntArray, Tables
from mocap_opt.verify import cache_use


class Room:
    """Bytes free in every memory in every slot while requests are placed one after the other.

    Parameters
    ----------
    free : int64[memory], bytes
        What requests may use: capacity less weights and the reserve.
    """

    def __init__(self, free: IntArray) -> None:
        self._free = free
        self._left = np.repeat(free[:, None], 64, axis=1)

    def place(self, tables: Tables, indices: IntArray, slot: int) -> IntArray | None:
        """Find homes for a request that starts in a slot, and take their room.

        A chunk's KV stays at home as far as it fits for its whole life beside the request's own
        prefix; the rest goes to the memories a byte reaches soonest, first to room that their own
        stages will not need for this request.

        Parameters
        ----------
        tables : Tables
        indices : int64[chunks + 1]
            Boundaries, grid indices.
        slot : int

        Returns
        -------
        int64[stage, chunk, memory] or None
            Pages away from their stage; None, and nothing taken, if some find no room.
        """
        stages, chunks = tables.stages, indices.size - 1
        self._grow(slot + chunks + stages)
        left = self._left[:, slot : slot + chunks + stages - 1].copy()
        fresh = np.diff(tables.pages[indices])
        coming = np.zeros_like(left)
        for i in range(stages):
            left[i, i : i + chunks] -= tables.prefix_bytes[i]
            coming[i, i : i + chunks] = np.cumsum(fresh) * tables.page_bytes[i]
        if np.any(left < 0):
            return None
        pages = np.zeros((stages, chunks, stages), dtype=np.int64)
        if np.all(coming <= left):
            left -= coming
        else:
            nearest = np.argsort(page_times(tables), axis=1, kind="stable")
            if not place_in_slots(tables, fresh, left, coming, pages, nearest):
                return None
        self._left[:, slot : slot + chunks + stages - 1] = left
        return pages

    def take(self, tables: Tables, plan: Plan, slot: int) -> bool:
        """Take the room of a request whose homes are known already; tell whether there was any."""
        used = cache_use(tables, plan)
        until = slot + used.shape[1]
        self._grow(until)
        left = self._left[:, slot:until] - used
        if np.any(left < 0):
            return False
        self._left[:, slot:until] = left
        return True

    def _grow(self, slots: int) -> None:
        short = slots - self._left.shape[1]
        if short > 0:
            more = np.repeat(self._free[:, None], max(short, self._left.shape[1]), axis=1)
            self._left = np.concatenate([self._left, more], axis=1)


def place_in_slots(
    tables: Tables, fresh: IntArray, left: IntArray, coming: IntArray, pages: IntArray, order: IntArray
) -> bool:
    """Place a request's KV chunk by chunk in slot order, at home first; tell whether all found room.

    Parameters
    ----------
    tables : Tables
    fresh : int64[chunk], pages
    left : int64[memory, slot], bytes
        Free in the request's own slots; what is placed is taken off.
    coming : int64[memory, slot], bytes
        What each memory's own stage will keep there of this request; what is produced is taken off.
    pages : int64[stage, chunk, memory]
        Filled with the pages away from their stage.
    order : int64[stage, memory]
        In which order memories are asked, first for room that their own stages will not need.
    """
    stages, chunks = tables.stages, fresh.size
    sizes = np.maximum(tables.page_bytes, 1)
    for t in range(chunks + stages - 1):
        running = range(max(0, t - chunks + 1), min(stages - 1, t) + 1)
        spill: list[tuple[int, int]] = []
        for i in running:
            new, life = int(fresh[t - i]), slice(t, i + chunks)
            coming[i, life] -= new * tables.page_bytes[i]
            kept = min(new, max(int(left[i, life].min()), 0) // int(sizes[i]))
            left[i, life] -= kept * tables.page_bytes[i]
            if kept < new:
                spill.append((i, new - kept))
        for i, pending in spill:
            life, rest = slice(t, i + chunks), pending
            for foreseen in (coming[:, life], 0):
                there = (left[:, life] - foreseen).min(axis=1) // sizes[i]
                for k in order[i]:
                    moved = min(rest, int(there[k]))
                    if k != i and moved > 0:
                        pages[i, t - i, k] += moved
                        left[k, life] -= moved * tables.page_bytes[i]
                        rest -= moved
                if not rest:
                    break
            if rest:
                return False
    return True
