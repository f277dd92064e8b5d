"""Random tiny instances with any mixture of what goes beyond prompts on stages.

Pools, fixed messages, reading ahead, riders, tiles, shares, availability, the decode loop, limits between
tokens, profiles.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
from random_profiles import random_profile, tight
from random_timing import with_limit_between_tokens
from toy_instances import toy

from mocap_opt.instance import Instance
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

MECHANISMS = (
    "pools",
    "weights",
    "export",
    "prefix load",
    "prefetch",
    "riders",
    "tiles",
    "share",
    "availability",
    "loop",
    "between tokens",
    "profile",
)
NEED_POOL = {"pools", "weights", "export", "prefix load"}


def random_instance(
    rng: np.random.Generator, kinds: Collection[str], *, stages: int = 2, steps: int = 4
) -> Instance:
    """A toy instance of up to so many grid steps with these mechanisms, whatever they come to.

    Parameters
    ----------
    rng : numpy.random.Generator
    kinds : collection of str
        From `MECHANISMS`.
    stages, steps : int
    """
    page = int(rng.choice([1, 2]))
    quantum = page * int(rng.integers(1, 3))
    tokens = quantum * int(rng.integers(2, steps + 1)) - int(rng.integers(0, quantum))
    prefix = int(rng.choice([1, 3, 8])) if "prefix load" in kinds else int(rng.choice([0, 0, 2]))
    layers, kv_heads = int(rng.integers(stages, stages + 3)), int(rng.choice([1, 2]))
    model: dict[str, Any] = {"layers": layers, "heads": 2, "kv_heads": kv_heads}
    workload: dict[str, Any] = {
        "tokens": tokens,
        "cached_prefix": prefix,
        "batch": int(rng.integers(1, 3)),
    }
    pipeline: dict[str, Any] = {
        "stages": stages,
        "dies_per_stage": int(rng.choice([2, 2, 1])),
        "queue_depth": int(rng.integers(1, 3)),
        "staging_per_die": 0,
    }
    costs: dict[str, Any] = {"overhead": f"{int(rng.integers(0, 60))} ns"}
    changes: dict[str, Any] = {
        "model": model,
        "workload": workload,
        "pipeline": pipeline,
        "costs": costs,
        "chunking": {"max_chunks": int(rng.integers(1, steps + 1)), "quantum": quantum, "page": page},
        "wafer": {
            "rows": 2,
            "cols": 2 * stages,
            "die": {
                "flops": float(rng.choice([1e9, 1e10])),
                "memory_bandwidth": float(rng.choice([4e9, 8e9])),
            },
            "link": {"bandwidth": float(rng.choice([1e9, 2e9])), "hop_latency": "3 ns"},
        },
        "overlap": float(rng.choice([0, 0.5, 1])),
        "attention": str(rng.choice(["causal", "full_block"])),
        "tick": "1 ns",
    }
    _with_pool(rng, kinds, changes)
    if "prefetch" in kinds:
        costs["prefetch_per_die"] = int(rng.integers(1, 120))
    if "tiles" in kinds:
        costs["tile_tokens"] = int(rng.integers(2, 6))
    if "profile" in kinds:
        model["profile"] = random_profile(rng, layers, kv_heads, prefix + tokens)
        if NEED_POOL & {*kinds}:
            model["profile"] = [{**entry, "hold": "all"} for entry in model["profile"]]
    if "availability" in kinds:
        pace = int(rng.choice([50, 200, 700]))
        late = int(rng.integers(0, pace))
        workload["available"] = [[0, late * 1e-9], [tokens, (late + pace * tokens) * 1e-9]]
    decode = _decode(rng, kinds, quantum, int(workload["batch"]))
    if decode:
        changes["decode"] = decode
    return toy(**changes)


def _with_pool(rng: np.random.Generator, kinds: Collection[str], changes: dict[str, Any]) -> None:
    """A memory off the wafer and what moves to or from it."""
    if not NEED_POOL & {*kinds}:
        return
    rate = float(rng.choice([1e9, 3e9, 8e9]))
    changes["wafer"]["pools"] = [
        {
            "name": "host",
            "memory_bytes": 10**6,
            "memory_bandwidth": 8e9,
            "link": {"bandwidth": rate, "hop_latency": "2 ns"},
            "at": [[0, 0]] if rng.random() < 0.5 else "every",
        }
    ]
    if "export" in kinds:
        changes["workload"]["export"] = "host"
    if "prefix load" in kinds:
        changes["workload"]["prefix_from"] = "host"
    if "weights" in kinds:
        changes["model"]["experts"] = {"count": 4, "active": 1, "ffn": 4}
        overlap = float(rng.choice([0, 0.5, 1]))
        changes["pipeline"]["weights"] = {
            "pool": "host",
            "streamed_experts": int(rng.integers(1, 4)),
            "overlap": overlap,
        }


def _decode(rng: np.random.Generator, kinds: Collection[str], quantum: int, batch: int) -> dict[str, Any]:
    decode: dict[str, Any] = {}
    if "riders" in kinds:
        decode |= {"tokens": int(rng.integers(1, 5)), "context": int(rng.integers(0, 30))}
        if rng.random() < 0.6:
            decode["budget"] = int(batch * quantum * rng.integers(1, 4) + rng.integers(0, 4))
    if "share" in kinds:
        curve = [[0, 0], [1, 1]] if rng.random() < 0.5 else [[0, 0], [0.5, 0.8], [1, 1]]
        part = float(rng.choice([0, 0.3, 0.5]))
        decode["share"] = {"compute": part, "bandwidth": float(rng.choice([0, 0.25, 0.5])), "curve": curve}
    if "loop" in kinds or decode:
        decode["loop"] = "loop" in kinds
    return decode


def random_mixture(rng: np.random.Generator, kinds: Collection[str], **sizes: int) -> Tables:
    """Tables of `random_instance` with memories between none and a bit more than all KV.

    Parameters
    ----------
    rng : numpy.random.Generator
    kinds : collection of str
        From `MECHANISMS`.
    **sizes : int
        As for `random_instance`.
    """
    tables = tight(rng, build_tables(random_instance(rng, kinds, **sizes)))
    if rng.random() < 0.5:
        most = int(tables.page_bytes.max() * tables.pages[-1])
        tables = replace(tables, capacity=tables.capacity + most)
    if NEED_POOL & {*kinds}:
        room = int(tables.page_bytes.max() * tables.pages[-1] * rng.choice([0, 0.3, 1]))
        capacity = tables.capacity.copy()
        capacity[-1] = int(tables.static[-1]) + room
        tables = replace(tables, capacity=capacity)
    if "between tokens" in kinds:
        tables = with_limit_between_tokens(rng, tables)
    return replace(tables, name=", ".join(sorted(kinds)))


def some_kinds(rng: np.random.Generator, count: int | None = None) -> list[str]:
    """Some mechanisms, so many if that is given; else each with one chance in two.

    Parameters
    ----------
    rng : numpy.random.Generator
    count : int, optional
    """
    if count is not None:
        return [str(kind) for kind in rng.choice(MECHANISMS, count, replace=False)]
    return [kind for kind in MECHANISMS if rng.random() < 0.5]
