"""Random tiny instances with tight memory and continuous times: where solvers in floating point err.

Times are a few to a few hundred milliseconds at short ticks, so that the programs of HiGHS have continuous
times and rows of unlike sizes; memories hold a bit less, or a bit more, than the KV.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from oracle import partitions

from mocap_opt import Instance, build_tables
from mocap_opt.tables.cost_tables import Tables

MOST_HOMES = 60_000
"""Homes to be enumerated, over all partitions, as far as it can be told beforehand."""


def random_tight(rng: np.random.Generator, name: str) -> Tables:
    """One instance: coefficients, two or three stages in a row, whole pages of one token up to a quantum."""
    while True:
        tables = build_tables(Instance.from_dict(_described(rng, name)))
        if _homes(tables) <= MOST_HOMES:
            return tables


def _described(rng: np.random.Generator, name: str) -> dict[str, Any]:
    """What an instance file would hold."""
    stages = int(rng.choice([2, 3], p=[0.75, 0.25]))
    quantum = int(rng.choice([1, 2, 4]))
    steps = int(rng.integers(2, 7 if stages == 2 else 5))
    page = int(rng.choice([d for d in (1, 2, 4) if quantum % d == 0]))
    tokens = steps * quantum
    hidden, heads = int(rng.integers(1, 3)), int(rng.integers(1, 3))
    prefix = int(rng.choice([0, 0, 100, 1000]))
    # Bytes of KV per token and layer: 2 (keys and values) x heads x head size.  Where ticks are long, links
    # move a few bytes in each, so that KV away from home takes about as long as computing.
    slow = bool(rng.random() < 0.4)
    head = 64 if slow else 1
    kv_bytes = 2 * heads * head
    layers = stages + int(rng.integers(0, 2))
    room = int(kv_bytes * (tokens * rng.uniform(0.5, 1.8) + prefix * layers / stages))

    def milliseconds(choices: tuple[int, ...]) -> str:
        return f"{int(rng.choice(choices))} ms"

    return {
        "version": 1,
        "name": name,
        "model": {
            "layers": layers,
            "hidden": hidden,
            "heads": heads,
            "kv_heads": heads,
            "head_dim": head,
            "ffn": 1,
            "gated": False,
            "vocabulary": 1,
        },
        "precision": {"weights": "fp8", "kv": "fp8", "activations": "fp8"},
        "wafer": {
            "topology": "mesh",
            "rows": 1,
            "cols": stages,
            "die": {
                "flops": "1 TFLOP/s",
                "memory_bytes": max(1, room + int(rng.integers(20, 160))),
                "memory_bandwidth": f"{int(rng.integers(1, 9)) * 100} kB/s" if slow else "1 TB/s",
            },
            "link": {
                "bandwidth": f"{int(rng.integers(1, 9)) * 100} kB/s" if slow else "2 GB/s",
                "hop_latency": 0,
            },
        },
        "pipeline": {
            "stages": stages,
            "queue_depth": int(rng.integers(1, 4)) if rng.random() < 0.8 else "unbounded",
            "staging_per_die": 0,
        },
        "workload": {"tokens": tokens, "cached_prefix": prefix},
        "chunking": {"max_chunks": int(rng.integers(2, 5)), "quantum": quantum, "page": page},
        "overlap": float(rng.choice([1.0, 0.5, 0.0], p=[0.7, 0.15, 0.15])),
        "costs": {
            "kind": "coefficients",
            "stages": [
                {
                    "constant": milliseconds((0, 0, 5, 10, 50)),
                    "linear": milliseconds((1, 3, 5, 10, 14)),
                    "quadratic": milliseconds((0, 0, 1)),
                    "prefix": milliseconds((0, 0, 1, 2)),
                }
                for _ in range(stages)
            ],
        },
        "tick": "10 us" if slow else "1 ns",
    }


def _homes(tables: Tables) -> int:
    """Ways to spread the pages of each partition's first two chunks: how long brute force may take."""
    total = 0
    for marks in partitions(tables):
        ways = 1
        for a, b in list(pairwise(marks))[:2]:
            pages = -(-b // tables.page) - -(-a // tables.page)
            ways *= (pages + 1) ** (tables.stages - 1)
        total += ways ** min(2, tables.stages)
    return total
