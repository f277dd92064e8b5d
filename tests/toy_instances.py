"""Instances small enough for arithmetic by hand: at 1 ns, a link and a die's memory move 1 byte per tick."""

from __future__ import annotations

from typing import Any

from mocap_opt.instance import Instance

# Attention projections 2 x 4 x 2 x (2 + 1) = 48 parameters, feed-forward 2 x 4 x 8 = 64: 112 per layer.
MODEL: dict[str, Any] = {
    "layers": 4,
    "hidden": 4,
    "heads": 2,
    "kv_heads": 1,
    "head_dim": 2,
    "ffn": 8,
    "gated": False,
    "vocabulary": 16,
}
WAFER: dict[str, Any] = {
    "topology": "mesh",
    "rows": 2,
    "cols": 4,
    "die": {"flops": 1e9, "memory_bytes": 10**6, "memory_bandwidth": 1e9},
    "link": {"bandwidth": 1e9, "hop_latency": "10 ns"},
}
TOY: dict[str, Any] = {
    "version": 1,
    "name": "toy",
    "model": MODEL,
    "wafer": WAFER,
    "pipeline": {"stages": 2, "dies_per_stage": 1, "staging_per_die": 100},
    "workload": {"tokens": 10},
    "chunking": {"max_chunks": 3, "quantum": 4, "page": 2},
    "costs": {"efficiency": 0.5, "overhead": "20 ns"},
}


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Put changes over a dict; a dict over a dict changes only the keys it has."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, dict) and value.get("kind") != "coefficients"
        result[key] = merged(old, value) if both else value
    return result


def toy(**changes: Any) -> Instance:
    """The toy instance with changes, section by section."""
    return Instance.from_dict(merged(TOY, changes))


def preset(model: str, wafer: str, stages: int, dies: int, **changes: Any) -> Instance:
    """An instance of presets, 128k tokens in at most 32 chunks."""
    base: dict[str, Any] = {
        "version": 1,
        "name": f"{model} on {wafer}",
        "model": model,
        "wafer": wafer,
        "pipeline": {"stages": stages, "dies_per_stage": dies},
        "workload": {"tokens": "128k"},
        "chunking": {"max_chunks": 32},
    }
    return Instance.from_dict(merged(base, changes))
