"""Greedy homes by free room and distance, in slot order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.homes.proposal import Homes
from mocap_opt.homes.slot_placement import SlotPlacement
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables


def page_times(tables: Tables) -> npt.NDArray[np.float64]:
    """Time of a byte between a stage and a memory, float64[stage, memory], ticks.

    The slowest of the memory's port and of the links of either direction; a hop's latency is
    added as a fraction small enough only to break ties.
    """
    rate = np.maximum(tables.link_rate, 1)[:, None, None] * float(tables.share_denominator)
    out = np.zeros((tables.stages, tables.stages))
    if len(tables.links):
        out = (tables.share / rate).max(axis=0)
    slowest = np.maximum(np.maximum(out, out.T), 1.0 / tables.port_rate[None, :])
    hops = tables.hop_ticks + tables.hop_ticks.T
    return np.asarray(slowest * (1.0 + 1e-6 * hops / max(int(hops.max()), 1)))


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
    """
    placing = SlotPlacement.begin(tables, indices)
    if isinstance(placing, Homes):
        return placing
    return placing.in_order(nearest_memories(tables), asked_to_stop)
