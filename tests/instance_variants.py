"""Instances of every shape that a file may have."""

from __future__ import annotations

from typing import Any

from malformed import BASE

SMALL: dict[str, Any] = {
    "version": 1,
    "name": "small",
    "model": "llama-3.1-70b",
    "wafer": "watos-c3",
    "pipeline": {"stages": 14, "dies_per_stage": 4},
    "workload": {"tokens": "128k"},
    "chunking": {"max_chunks": 32},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "small": SMALL,
    "explicit": BASE,
    "editor": {**SMALL, "$schema": "schema.json"},
    "wafer-changed": {**SMALL, "wafer": {"preset": "watos-c3", "die": {"memory_bytes": "20 GB"}}},
    "model-changed": {**SMALL, "model": {"preset": "qwen3-235b-a22b", "experts": {"active": 4}}},
    "profile": {
        **SMALL,
        "model": {
            "preset": "llama-3.1-8b",
            "profile": [
                {"layers": [16, 31], "keep": 0.2},
                {
                    "layers": [0, 7],
                    "windows": [{"kv_heads": 6, "tokens": "4k"}, {"kv_heads": 1, "chunk": 64}],
                },
                {"layers": [8, 9], "windows": [{"kv_heads": 8, "tokens": 512}], "hold": "all"},
            ],
        },
    },
    "sparse": {
        **SMALL,
        "model": {
            "preset": "deepseek-v3",
            "sparse": {"top_k": "2k", "index_heads": 64, "index_dim": 128},
        },
    },
    "measured": {
        **SMALL,
        "costs": {
            "kind": "measured",
            "stages": {"lengths": [1, "1k"], "prefixes": [0, "1k"], "seconds": [["1 ms", 2e-3], [0.1, 0.2]]},
        },
    },
    "coefficients": {
        **SMALL,
        "costs": {"kind": "coefficients", "stages": {"constant": "1 ms", "linear": 1e-6}},
    },
    "each-stage": {
        **SMALL,
        "pipeline": {"stages": 2, "queue_depth": "unbounded", "placement": [[[0, 0]], [[0, 1]]]},
        "costs": {"kind": "coefficients", "stages": [{"linear": 1e-6}, {"quadratic": "1 ns"}]},
    },
    "nulls": {**SMALL, "tick": None, "chunking": {"max_chunks": 2, "page": None, "shortest": None}},
    "tick": {**SMALL, "tick": "10 ns", "attention": "full_block", "overlap": 0.5},
}
