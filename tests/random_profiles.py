"""Random toy instances whose layers keep and see part of the tokens, with memory that binds or nearly so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from toy_instances import merged, toy

from mocap_opt.instance import Instance
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

SHARES = (1.0, 0.75, 0.5, 0.25, 0.2)


def random_profile(
    rng: np.random.Generator, layers: int, kv_heads: int, context: int
) -> list[dict[str, Any]]:
    """Entries for all layers or the last ones, shares that never rise, windows and blocks of any size."""
    entries, keep, first = [], 1.0, int(rng.integers(0, 2))
    while first < layers:
        last = min(layers - 1, first + int(rng.integers(0, 2)))
        keep = float(rng.choice([s for s in SHARES if s <= keep]))
        windows, left = [], kv_heads
        while left and rng.random() < 0.6:
            heads = int(rng.integers(1, left + 1))
            key = "tokens" if rng.random() < 0.7 else "chunk"
            windows.append({"kv_heads": heads, key: int(rng.integers(1, max(2, context)))})
            left -= heads
        hold = "window" if rng.random() < 0.75 else "all"
        entries.append({"layers": [first, last], "keep": keep, "windows": windows, "hold": hold})
        first = last + 1
    return entries


def random_profiled(rng: np.random.Generator, **changes: Any) -> Instance:
    """A tiny instance: two stages, two to four layers, at most six steps."""
    kv_heads = int(rng.choice([1, 2, 4]))
    layers, page = int(rng.integers(2, 5)), int(rng.choice([1, 2]))
    quantum = page * int(rng.integers(1, 3))
    tokens = quantum * int(rng.integers(2, 5)) - int(rng.integers(0, quantum))
    prefix = int(rng.choice([0, 0, 1, 3, 8]))
    model = {
        "layers": layers,
        "heads": 4,
        "kv_heads": kv_heads,
        "profile": random_profile(rng, layers, kv_heads, prefix + tokens),
    }
    pipeline: dict[str, Any] = {"stages": 2, "queue_depth": int(rng.integers(1, 3)), "staging_per_die": 0}
    if rng.random() < 0.5:
        pipeline["mini_sequence"] = int(rng.integers(1, 6))
    if rng.random() < 0.4:
        pipeline["logits"] = "all"
    base = {
        "model": model,
        "pipeline": pipeline,
        "workload": {"tokens": tokens, "cached_prefix": prefix, "batch": int(rng.integers(1, 3))},
        "chunking": {"max_chunks": int(rng.integers(1, 4)), "quantum": quantum, "page": page},
        "attention": "full_block" if rng.random() < 0.3 else "causal",
        "overlap": float(rng.choice([0, 0.5, 1])),
    }
    return toy(**merged(base, changes))


def tight(rng: np.random.Generator, tables: Tables, *, endless: bool = False) -> Tables:
    """The tables with memories that hold between nothing and a bit more than all KV beside the reserve."""
    most = max(1, tables.tokens // max(1, int(rng.integers(1, 4))))
    fixed = tables.static + tables.reserve(most, endless=endless) + tables.prefix_bytes
    size = np.zeros_like(fixed)
    size[: tables.stages] = tables.page_bytes * int(tables.pages[-1])
    spare = rng.integers(0, 13, fixed.size) * max(int(size.max()), 1) // 8
    return replace(tables, capacity=fixed + spare)


def random_profiled_tables(rng: np.random.Generator, *, endless: bool = False, **changes: Any) -> Tables:
    """Tables of `random_profiled` with memories of random size."""
    return tight(rng, build_tables(random_profiled(rng, **changes)), endless=endless)
