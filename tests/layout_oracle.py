"""Every layout of a tiny instance: degrees in every order, all lists of layers, one placement each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise, product
from typing import Any

import numpy as np

from mocap_opt.errors import InputError
from mocap_opt.instance import Instance, StageLayout
from mocap_opt.wafer.path import place_on_path
from mocap_opt.wafer.topology import build_topology


def random_free(rng: np.random.Generator, name: str, *, memories: bool = False) -> Instance:
    """A tiny instance whose dies and layers are open, its memory slack or tight.

    With `memories` spare dies are memory, or there is a pool off the wafer, or both, and dies hold less.
    """
    pick = rng.integers
    layers, dies = int(pick(2, 6)), int(pick(2, 5))
    hidden, heads = 64, int(pick(1, 3)) * 2
    tokens, quantum = int(pick(3, 7)) * 16, 16
    kv_all = 2 * 16 * heads * 2 * layers * tokens
    weights = 2 * layers * (4 * hidden * heads * 16 + 3 * hidden * 96)
    memory = (
        (weights + 4 * 64 * 128 + kv_all * float(rng.uniform(0.4, 3.0))) / dies * float(rng.uniform(1.0, 2.0))
    )
    data: dict[str, Any] = {
        "version": 1,
        "name": name,
        "model": {
            "layers": layers,
            "hidden": hidden,
            "heads": heads,
            "kv_heads": int(rng.choice([1, heads])),
            "head_dim": 16,
            "ffn": 96,
            "vocabulary": 64,
        },
        "wafer": {
            "topology": str(rng.choice(["mesh", "torus"])),
            "rows": 1,
            "cols": dies,
            "die": {
                "flops": float(rng.choice([1e8, 1e9])),
                "memory_bytes": int(memory),
                "memory_bandwidth": float(rng.choice([1e8, 1e10])),
            },
            "link": {"bandwidth": float(rng.choice([1e7, 1e9])), "hop_latency": float(rng.choice([0, 1e-6]))},
        },
        "pipeline": {
            "stages": int(pick(1, min(layers, dies, 3) + 1)),
            "dies_per_stage": "auto",
            "layers": "auto",
            "placement": "path",
            "staging_per_die": 0,
            "degrees": str(rng.choice(["any", "divide-heads"])),
        },
        "workload": {"tokens": tokens - int(pick(0, 2)) * 5, "cached_prefix": int(rng.choice([0, 0, 32]))},
        "chunking": {"max_chunks": int(pick(1, 4)), "quantum": quantum},
        "costs": {
            "kind": "roofline",
            "efficiency": 0.5,
            "overhead": float(rng.choice([0, 1e-5])),
            "half_efficiency_tokens": float(rng.choice([0, 8])),
        },
        "attention": str(rng.choice(["causal", "full_block"])),
    }
    if rng.random() < 0.3:
        data["costs"]["efficiency"] = {"1": 0.6, "4": 0.4}
    if memories:
        both = int(pick(0, 3))
        needed = weights + kv_all * float(rng.uniform(0.2, 0.6))
        data["wafer"]["die"]["memory_bytes"] = int(needed / dies * 1.8)
        if both != 1:
            data["pipeline"]["spare_dies"] = "memory"
        if both:
            link = {"bandwidth": float(rng.choice([1e7, 1e9])), "hop_latency": 0}
            pool = {"name": "host", "memory_bytes": int(kv_all * float(rng.uniform(0.3, 1.0)))}
            data["wafer"]["pools"] = [{**pool, "memory_bandwidth": 1e9, "link": link, "at": [[0, 0]]}]
    return Instance.from_dict(data)


def every_layout(instance: Instance) -> Iterator[StageLayout]:
    """All layouts on a path whose degrees are equal or two that follow each other, in any order."""
    pipeline, living = instance.pipeline, instance.wafer.living_dies
    topology = build_topology(instance.wafer)
    allowed = pipeline.allowed_degrees(living, instance.model.heads)
    for stages in pipeline.counts(instance.model.layers, living):
        cuts = combinations(range(1, instance.model.layers), stages - 1)
        lists = [tuple(b - a for a, b in pairwise((0, *cut, instance.model.layers))) for cut in cuts]
        for sizes in product(range(1, living + 1), repeat=stages):
            degrees = sorted({pipeline.degree(size, instance.model.heads) for size in sizes})
            if sum(sizes) > living or len(degrees) > 2:
                continue
            if len(degrees) == 2 and allowed.index(degrees[1]) != allowed.index(degrees[0]) + 1:
                continue
            try:
                dies = place_on_path(topology, sizes)
            except InputError:
                continue
            for layers in lists:
                yield StageLayout(dies, layers)
