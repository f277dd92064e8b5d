"""Homes for the KV of one request beside the requests before it; greedy, in slot order."""

from __future__ import annotations

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.homes.greedy import nearest_memories
from mocap_opt.homes.slot_placement import SlotPlacement
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import live_kv
from mocap_opt.tables.cost_tables import Tables


class FreeMemory:
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
        own = slice(slot, slot + chunks + stages - 1)
        left = self._left[:, own].copy()
        for i in range(stages):
            left[i, i : i + chunks] -= tables.prefix_bytes[i]
        if np.any(left < 0):
            return None
        placement = SlotPlacement.within(tables, indices, left)
        if not placement.keep_all() and placement.in_order(nearest_memories(tables)).pages is None:
            return None
        self._left[:, own] = placement.free
        return placement.pages

    def take(self, tables: Tables, plan: Plan, slot: int) -> bool:
        """Take the room of a request whose homes are known already; tell whether there was any."""
        used = live_kv(tables, plan)
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
