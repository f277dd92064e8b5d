"""What the period programs need to know of a cycle before anything is decided."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mocap_opt.formulations.memory_limits import free_bytes, page_unit
from mocap_opt.tables.cost_tables import Tables


def positions(tables: Tables, slots: int) -> Tables | None:
    """The tables with as many chunk positions as W slots admit; None if W is less than an exact count.

    Chunks may be empty only in front, and a request whose first positions are empty is the same
    request some slots later: every count up to `slots` is a choice of these boundaries.
    """
    most = min(tables.counts[-1], slots) if len(tables.counts) else 0
    if most < 1 or (tables.exact_chunks and most < tables.max_chunks):
        return None
    return replace(tables, max_chunks=most)


def slot_range(tables: Tables) -> range:
    """Every W worth trying: beyond the most chunks + stages - 1 requests no longer overlap."""
    counts = tables.counts
    return range(counts[0], counts[-1] + tables.stages) if len(counts) else range(0)


def pooled_room(tables: Tables, longest: int) -> int | None:
    """Bytes of KV and prefixes that all memories hold together; None if one has no room at all.

    Each memory's room is rounded down to a multiple of what KV and prefixes come in.
    """
    free = free_bytes(tables, longest, endless=True)
    if (free < 0).any():
        return None
    unit = int(np.gcd.reduce([page_unit(tables), *tables.prefix_bytes.tolist()])) or 1
    return int((free // unit * unit).sum())
