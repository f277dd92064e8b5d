"""Memory over the slots, for given boundaries: what each stage has produced, and what room there is.

Slots run from 0 to chunks + N - 2; stage i works on chunk t - i in slot t and its KV lives until
slot i + chunks - 1.
"""

from __future__ import annotations

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.homes.proposal import Shortage
from mocap_opt.tables.cost_tables import Tables


def produced(tables: Tables, indices: IntArray) -> IntArray:
    """Pages of its own that each stage has produced and not yet freed.

    Parameters
    ----------
    indices : int64[chunks + 1]
        Grid indices of the boundaries.

    Returns
    -------
    int64[stage, slot], pages
    """
    return in_slots(tables.pages[indices[1:]], tables.stages)


def room(tables: Tables, indices: IntArray, longest: int | None = None) -> IntArray:
    """Bytes left for this request's KV, int64[memory, slot]; negative if not even the rest fits.

    Parameters
    ----------
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    longest : int, optional
        The longest chunk that the reserve has to allow for, tokens; by default that of the boundaries.
    """
    longest = int(np.diff(tables.grid[indices]).max()) if longest is None else longest
    free = tables.free_memory(tables.reserve(longest))
    running = in_slots(np.ones(indices.size - 1, dtype=np.int64), tables.stages)
    return free[:, None] - running * tables.prefix_bytes[:, None]


def in_slots(values: IntArray, stages: int) -> IntArray:
    """Values by chunk as rows int64[stage, slot], one slot later from stage to stage; 0 elsewhere."""
    slots = values.size + stages - 1
    # Row after row in memory, a row that is one slot longer comes one slot later each time.
    rows = np.zeros((stages, slots + 1), dtype=np.int64)
    rows[:, : values.size] = values
    return rows.ravel()[: stages * slots].reshape(stages, slots)


def reserve_varies(tables: Tables) -> bool:
    """Say whether the reserve depends on the longest chunk."""
    return tables.queue_depth is not None and bool(tables.working_bytes.any())


def worst(excess: IntArray) -> Shortage | None:
    """Find the row of int64[memory, slot] with the largest excess, if any is positive."""
    memory, slot = np.unravel_index(int(excess.argmax()), excess.shape)
    short = int(excess[memory, slot])
    return Shortage(int(memory), int(slot), short) if short > 0 else None


def pooled_shortage(tables: Tables, indices: IntArray, longest: int | None = None) -> Shortage | None:
    """Whether all memories together are too small, wherever the KV goes.

    With equal page sizes the room of each memory counts in whole pages.  A memory that cannot
    hold what is not KV is short by itself.  The parameters are those of `room`.
    """
    left = room(tables, indices, longest)
    alone = worst(-left)
    if alone is not None:
        return alone
    size = tables.page_bytes
    if np.all(size == size[0]) and size[0] > 0:
        left = left // size[0] * size[0]
    excess = size @ produced(tables, indices) - left.sum(axis=0)
    slot = int(excess.argmax())
    return Shortage(None, slot, int(excess[slot])) if excess[slot] > 0 else None
