"""Greedy homes in slot order: for a request alone, beside the requests before it, or in a cycle."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_lengths import within_limits
from mocap_opt.formulations.presolve import free_bytes
from mocap_opt.homes.proposal import Homes
from mocap_opt.homes.slot_placement import SlotPlacement, room
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import live_kv, schedule_violations
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables


def page_times(tables: Tables) -> npt.NDArray[np.float64]:
    """Time of a byte between a stage and a memory, float64[stage, memory], ticks.

    The slowest of the memory's port and of the links of either direction; a hop's latency is
    added as a fraction small enough only to break ties.
    """
    rate = np.maximum(tables.link_rate, 1)[:, None, None] * float(tables.share_denominator)
    out = np.zeros((tables.memories, tables.memories))
    if len(tables.links):
        out = (tables.share / rate).max(axis=0)
    slowest = np.maximum(np.maximum(out, out.T), 1.0 / tables.port_rate[None, :])
    hops = tables.hop_ticks + tables.hop_ticks.T
    return np.asarray(slowest * (1.0 + 1e-6 * hops / max(int(hops.max()), 1)))[: tables.stages]


def nearest_memories(tables: Tables) -> IntArray:
    """Memories of every stage by the time a byte takes, int64[stage, memory]."""
    nearest: IntArray = np.argsort(page_times(tables), axis=1, kind="stable")
    return nearest


def greedy(tables: Tables, indices: IntArray, asked_to_stop: AskedToStop = never) -> Homes:
    """Home first; what does not fit goes to the nearest memory with room to spare, then with any.

    Slots are worked through in order.  KV already placed never grows, so a page that fits now
    fits for its whole life (prefixes still to come are left room for).  A memory has room to
    spare if the KV its own stage is still to produce fits as well.  With equal page sizes the
    rule therefore fails only if all memories together are too small in some slot.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    asked_to_stop : callable
        Asked before every slot; `StoppedError` is raised when it says so.
    """
    placement = SlotPlacement.begin(tables, indices)
    if isinstance(placement, Homes):
        return placement
    return placement.in_order(nearest_memories(tables), asked_to_stop)


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
        """Take the room of a request whose homes are known already; tell whether there was any.

        Parameters
        ----------
        tables : Tables
        plan : Plan
        slot : int
            In which the request starts.
        """
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


def home_orders(tables: Tables) -> list[IntArray]:
    """Orders in which memories are asked for room, int64[stage, memory] each.

    By the time a byte takes; by the distance along the pipeline; down the pipeline and around.  Which
    one waits least for memory that others free depends on the boundaries.
    """
    stage, memory = np.arange(tables.stages)[:, None], np.arange(tables.memories)[None, :]
    along = np.argsort(np.abs(stage - memory), axis=1, kind="stable")
    onward = (stage + 1 + memory) % tables.memories
    orders = [nearest_memories(tables), along, onward]
    return [orders[n] for n in range(3) if not any(np.array_equal(orders[n], o) for o in orders[:n])]


def pooled_fit(tables: Tables, moves: IntArray, slots: int) -> npt.NDArray[np.bool_]:
    """Whether all memories together have room in every cyclic slot, bool[move].

    A row of one memory holds multiples of the stages' pages, so its room is rounded down to their
    greatest common divisor.

    Parameters
    ----------
    moves : int64[move, chunks + 1]
        Grid indices.
    slots : int
        W.
    """
    stages, chunks = tables.stages, moves.shape[1] - 1
    unit = max(int(np.gcd.reduce(tables.page_bytes)), 1)
    longest = np.diff(tables.grid[moves], axis=1).max(axis=1)
    lengths, of = np.unique(longest, return_inverse=True)
    free = np.array([free_bytes(tables, int(length), endless=True) for length in lengths])[of]
    held = tables.pages[moves[:, 1:]]
    need, there = (np.zeros((moves.shape[0], slots), dtype=np.int64) for _ in range(2))
    there += (free // unit * unit).sum(axis=1)[:, None]
    taken = free // unit * unit - (free - tables.prefix_bytes) // unit * unit
    alone = np.all(free >= tables.prefix_bytes, axis=1)
    for i in range(stages):
        columns = (i + np.arange(chunks)) % slots
        need[:, columns] += tables.page_bytes[i] * held
        there[:, columns] -= taken[:, i, None]
    fits: npt.NDArray[np.bool_] = np.logical_and(alone, np.all(need <= there, axis=1))
    return fits


def cyclic_homes(tables: Tables, indices: IntArray, slots: int, order: IntArray) -> IntArray | None:
    """Home first, in slot order; what does not fit goes to the first memory with room to spare, then any.

    A memory has room to spare if what its own stage is still to produce for this request fits as
    well.  The KV of the requests after it is taken to stay at home while they share slots.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    slots : int
        W, at least the chunks.
    order : int64[stage, memory]
        In which order memories are asked.

    Returns
    -------
    int64[stage, chunk, memory] or None
        Pages away from their stage; None if the rule finds no room.
    """
    stages, chunks, size = tables.stages, indices.size - 1, tables.page_bytes
    cyclic = room(tables, indices, interval=slots)
    if (cyclic < 0).any():
        return None
    held = tables.pages[indices[1:]]
    # A request's own slots 0 .. chunks + N - 2, with the KV of those after it, at home, taken off.
    last = chunks + stages - 1
    free = cyclic[:, np.arange(last) % slots]
    for i in range(stages):
        for begin in range(i + slots, last, slots):
            later = np.arange(begin, min(begin + chunks, last))
            free[i, later] -= size[i] * held[later - begin]
    placement = SlotPlacement.within(tables, indices, np.maximum(free, 0))
    return placement.pages if placement.keep_all() else placement.in_order(order).pages


def periodic_schedule(tables: Tables, indices: IntArray, slots: int, order: IntArray) -> Schedule | None:
    """Boundaries with `cyclic_homes`; None if they break a rule or do not fit.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    slots : int
        W, the initiation interval.
    order : int64[stage, memory]
        In which order memories are asked.
    """
    if slots < indices.size - 1 or not within_limits(tables, indices):
        return None
    if not pooled_fit(tables, indices[None], slots)[0]:
        return None
    pages = cyclic_homes(tables, indices, slots, order)
    if pages is None:
        return None
    periodic = Schedule.of(tables, Plan.from_arrays(tables, indices, pages), slots)
    return None if schedule_violations(periodic) else periodic
