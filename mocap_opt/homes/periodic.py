"""Homes in a cycle of W slots, for given boundaries (formulations/period.md, Heuristics)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_lengths import within_limits
from mocap_opt.formulations.memory_limits import free_bytes
from mocap_opt.homes.greedy import nearest_memories
from mocap_opt.homes.live_kv import in_slots
from mocap_opt.homes.slot_placement import SlotPlacement
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule, overlay
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.tables.cost_tables import Tables


def home_orders(tables: Tables) -> list[IntArray]:
    """Orders in which memories are asked for room, int64[stage, memory] each.

    By the time a byte takes; by the distance along the pipeline; down the pipeline and around.  Which
    one waits least for memory that others free depends on the boundaries.
    """
    stage = np.arange(tables.stages)
    along = np.argsort(np.abs(stage[:, None] - stage[None, :]), axis=1, kind="stable")
    onward = (stage[:, None] + 1 + stage[None, :]) % tables.stages
    orders = [nearest_memories(tables), along, onward]
    return [orders[n] for n in range(3) if not any(np.array_equal(orders[n], o) for o in orders[:n])]


def cyclic_room(tables: Tables, indices: IntArray, slots: int) -> IntArray:
    """Bytes left for KV besides prefixes, int64[memory, cyclic slot]; negative if not even they fit."""
    longest = int(np.diff(tables.grid[indices]).max())
    free = free_bytes(tables, longest, endless=True)
    running = in_slots(np.ones(indices.size - 1, dtype=np.int64), tables.stages)
    room: IntArray = free[:, None] - overlay([running * tables.prefix_bytes[:, None]], [0], slots)
    return room


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
    need, room = (np.zeros((moves.shape[0], slots), dtype=np.int64) for _ in range(2))
    room += (free // unit * unit).sum(axis=1)[:, None]
    taken = free // unit * unit - (free - tables.prefix_bytes) // unit * unit
    alone = np.all(free >= tables.prefix_bytes, axis=1)
    for i in range(stages):
        columns = (i + np.arange(chunks)) % slots
        need[:, columns] += tables.page_bytes[i] * held
        room[:, columns] -= taken[:, i, None]
    fits: npt.NDArray[np.bool_] = np.logical_and(alone, np.all(need <= room, axis=1))
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
    cyclic = cyclic_room(tables, indices, slots)
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


def placed(tables: Tables, indices: IntArray, slots: int, order: IntArray) -> Schedule | None:
    """Boundaries with `cyclic_homes`; None if they break a rule or do not fit."""
    if slots < indices.size - 1 or not within_limits(tables, indices):
        return None
    if not pooled_fit(tables, indices[None], slots)[0]:
        return None
    pages = cyclic_homes(tables, indices, slots, order)
    if pages is None:
        return None
    periodic = Schedule.of(tables, Plan.from_arrays(tables, indices, pages), slots)
    return None if schedule_violations(periodic) else periodic
