"""Greedy homes that wait only where waiting is harmless.

Slots are worked through in order, as in `mocap_opt.homes.greedy`.  From the slot on in which memory is
freed again, a chunk keeps out of memories used by stages for whose end it cannot wait, its own stage's
among them, as long as there is room elsewhere.  Stages spill to few memories, so that few are closed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.homes.admission_aware_cpsat import harmless_ends
from mocap_opt.homes.greedy import page_times
from mocap_opt.homes.proposal import Homes
from mocap_opt.homes.slot_placement import SlotPlacement
from mocap_opt.tables.cost_tables import Tables

NOISE = 0.5
"""How far the times by which memories are ranked are blurred, as a power of e."""


def patient(tables: Tables, indices: IntArray, latency: int, seed: int | None = None) -> Homes:
    """Homes that keep to a latency if chunks find room where they need not wait.

    Parameters
    ----------
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    latency : int, ticks
        What the request may take.
    seed : int, optional
        Ranks memories by blurred times; None: by the times themselves.

    Returns
    -------
    Homes
        Feasible; some chunks may have to wait all the same.
    """
    placing = SlotPlacement.begin(tables, indices)
    if isinstance(placing, Homes):
        return placing
    harmless, chunks = harmless_ends(tables, indices, latency), placing.chunks
    times = page_times(tables)
    if seed is not None:
        times = times * np.exp(NOISE * np.random.default_rng(seed).normal(size=times.shape))
    uses: npt.NDArray[np.bool_] = np.diagflat(tables.prefix_bytes > 0)
    for t in placing.slots:
        freed = max(t - chunks + 1, 0)
        closed: dict[int, npt.NDArray[np.bool_]] = {
            i: np.logical_or.reduce(uses[harmless[i, t - i] + 1 : freed]) for i in placing.running(t)
        }
        sent = np.zeros(tables.stages, dtype=np.int64)
        for i, barred in closed.items():
            sent[i] = placing.fresh[t - i] if barred[i] else 0
        spill = placing.keep(t, sent)
        for i in closed:
            uses[i, i] |= placing.fresh[t - i] > dict(spill).get(i, 0)
        for i, over in spill:
            used_first = np.lexsort((times[i], ~uses[i])).tolist()
            left = _spill(placing, t, i, over, used_first, closed[i])
            uses[i] |= placing.pages[i, t - i] > 0
            if left:
                kept = min(left, placing.most(i, t, i))
                placing.free[i, t : i + chunks] -= kept * int(tables.page_bytes[i])
                uses[i, i] |= kept > 0
                left -= kept
            if left:
                return placing.short(i, t, left)
    return Homes(placing.pages)


def _spill(
    placing: SlotPlacement,
    slot: int,
    stage: int,
    pages: int,
    ranked: list[int],
    closed: npt.NDArray[np.bool_],
) -> int:
    """Place pages in the first memories with room, closed ones last; how many are left over."""
    for barred in (closed, np.zeros_like(closed)):
        for available in placing.rooms(stage, slot):
            for k in ranked:
                moved = 0 if barred[k] else min(pages, int(available[k]))
                if moved > 0:
                    placing.put(stage, slot, k, moved)
                    pages -= moved
            if pages == 0:
                return 0
    return pages
