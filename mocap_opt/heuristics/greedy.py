"""Greedy homes by free room and distance, in slot order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mocap_opt.heuristics.occupancy import produced, room, worst
from mocap_opt.heuristics.proposal import Homes, Shortage
from mocap_opt.stopping import AskedToStop, never, stop_if
from mocap_opt.tables import IntArray, Tables


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


def greedy(tables: Tables, indices: IntArray, asked_to_stop: AskedToStop = never) -> Homes:
    """Home first; what does not fit goes to the nearest memory with room to spare, then with any.

    Slots are worked through in order.  KV already placed never grows, so a page that fits now
    fits for its whole life (prefixes still to come are left room for).  A memory has room to
    spare if the KV its own stage is still to produce fits as well.  With equal page sizes the
    rule therefore fails only if all memories together are too small in some slot.
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
    nearest = np.argsort(page_times(tables), axis=1, kind="stable")
    future = size[:, None] * own
    for t in range(chunks + stages - 1):
        stop_if(asked_to_stop)
        spill: list[tuple[int, int]] = []
        for i in range(max(0, t - chunks + 1), min(stages - 1, t) + 1):
            new, end = int(fresh[t - i]), i + chunks
            kept = min(new, max(int(free[i, t]), 0) // max(int(size[i]), 1))
            free[i, t:end] -= kept * size[i]
            if kept < new:
                spill.append((i, new - kept))
        for i, left in spill:
            end = i + chunks
            # What each memory's own stage will add after this slot, at its most within the life.
            coming = np.maximum(future[:, t:end] - future[:, t : t + 1], 0)
            for foreseen in (coming, 0):
                available = (free[:, t:end] - foreseen).min(axis=1) // max(int(size[i]), 1)
                for k in nearest[i]:
                    moved = min(left, int(available[k]))
                    if k != i and moved > 0:
                        pages[i, t - i, k] += moved
                        free[k, t:end] -= moved * size[i]
                        left -= moved
                if left == 0:
                    break
            if left:
                return Homes(None, Shortage(i, t, left * int(size[i])))
    return Homes(pages)
