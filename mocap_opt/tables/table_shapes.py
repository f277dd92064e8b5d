"""What the arrays of `Tables` must be: shapes, types, and what may not be negative or fall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mocap_opt.tables.fixed_messages import Entry

if TYPE_CHECKING:
    from mocap_opt.tables.cost_tables import Tables


WITHOUT_STAGE = ("prefix_bytes", "working_bytes", "buffer_bytes", "buffer_limit", "logit_bytes", "ring_bytes")
"""Fields by memory that are 0 where a memory has no stage."""

TOGETHER = (("buffer_bytes", "buffer_limit", "logit_bytes"), ("ring_span", "ring_bytes"))
"""Fields of which either all are there or none."""


def check_tables(tables: Tables) -> None:
    """Check shapes and types of tables, and make their arrays read-only.

    Raises
    ------
    ValueError
        Naming the first field that is wrong.
    """
    stages, points, links = tables.phi.shape[0], tables.grid.size, len(tables.links)
    memories = stages + len(tables.pools)
    shapes = {
        "phi": (stages, points),
        "full_block": (stages, 2, points),
        "memory_side": (stages, points),
        "prefix_cost": (stages, points),
        "length_cost": (stages, 2, points),
        "send": (stages, 2, points),
        "own_traffic": (stages, points),
        "link_rate": (links,),
        "share": (links, memories, memories),
        "hop_ticks": (memories, memories),
        "activation_bytes": (stages,),
        "page_bytes": (stages,),
    }
    per_memory = "prefix_bytes capacity static staging working_bytes port_rate"
    shapes |= dict.fromkeys(per_memory.split(), (memories,))
    if tables.residual is not None:
        shapes["residual"] = (stages, points, points)
        if tables.residual.min(initial=0) < 0:
            raise ValueError("residual: expected no negative entry")
    if tables.fixed_messages is not None:
        shapes["fixed_messages"] = (len(tables.fixed_messages), len(Entry))
    if tables.rider_bytes is not None:
        shapes["rider_bytes"] = (2, points)
    if tables.available is not None:
        shapes["available"] = (points,)
        if tables.available[:1].any() or (np.diff(tables.available) < 0).any():
            raise ValueError("available: expected 0 first and no entry below the one before it")
    if any(len({getattr(tables, name) is None for name in names}) > 1 for names in TOGETHER):
        raise ValueError(f"expected all or none of each of {TOGETHER}")
    if tables.buffer_bytes is not None:
        shapes |= dict.fromkeys(("buffer_bytes", "buffer_limit", "logit_bytes"), (memories,))
    if tables.ring_span is not None:
        shapes |= {"ring_span": tables.ring_span.shape[:1], "ring_bytes": (memories, tables.ring_span.size)}
    for name, shape in shapes.items():
        array = getattr(tables, name)
        if array.shape != shape or array.dtype != np.int64:
            raise ValueError(f"{name}: expected int64{list(shape)}, got {array.dtype}{list(array.shape)}")
        array.flags.writeable = False
    by_stage = [getattr(tables, name) for name in WITHOUT_STAGE]
    if any(each[stages:].any() for each in by_stage if each is not None):
        raise ValueError("a memory without a stage has no prefix, no activations and no rings")
    if tables.quantum % tables.page:
        raise ValueError(f"page {tables.page} does not divide quantum {tables.quantum}")
