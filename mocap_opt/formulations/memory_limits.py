"""How much KV cache the memories can hold at best, before anything is decided."""

from __future__ import annotations

from math import gcd

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.tables.cost_tables import Tables


def free_bytes(tables: Tables, longest: int, *, endless: bool = False) -> IntArray:
    """Bytes of every memory left for KV and prefix when the longest chunk has `longest` tokens.

    Of requests without end if `endless`, as in `mocap_opt.tables.cost_tables.Tables.held_tokens`.

    Returns
    -------
    int64[memory], bytes
        Negative where even the reserve does not fit.
    """
    return tables.free_memory(tables.reserve(longest, endless=endless))


def page_unit(tables: Tables) -> int:
    """Greatest common divisor of the stages' page sizes, bytes; all KV comes in multiples of it."""
    return gcd(*(int(size) for size in tables.page_bytes)) or 1


def pooled_bytes(tables: Tables, longest: int) -> int:
    """Bytes of KV that all memories can hold together, each in whole multiples of `page_unit`."""
    unit = page_unit(tables)
    return unit * sum(max(0, int(free)) // unit for free in free_bytes(tables, longest))


def local_homes_always_fit(tables: Tables, *, endless: bool = False) -> bool:
    """Whether every allowed plan is feasible with all KV on its own stage.

    Moving KV away only adds traffic, so then no plan with remote homes is better than the same
    plan without.
    """
    lengths = tables.lengths[tables.length_allowed]
    if lengths.size == 0:
        return True
    room = free_bytes(tables, int(lengths.max()), endless=endless) - tables.prefix_bytes
    return bool((room >= tables.page_bytes * tables.pages[-1]).all())


def may_house(tables: Tables, *, endless: bool = False) -> npt.NDArray[np.bool_]:
    """Whether a stage's KV may live in a memory, bool[stage, memory].

    In its own always; in others if they can hold a page of it at all, next to the least reserve.
    Nowhere else if everything always fits at home: then moving KV cannot help.
    """
    own = np.eye(tables.stages, dtype=np.bool_)
    if local_homes_always_fit(tables, endless=endless):
        return own
    shortest = int(tables.lengths[tables.length_allowed].min())
    room = free_bytes(tables, shortest, endless=endless)
    fits: npt.NDArray[np.bool_] = own | (room[None, :] >= tables.page_bytes[:, None])
    return fits
