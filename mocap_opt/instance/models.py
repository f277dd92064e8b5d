"""Models by name, from their public configuration files.

The GPT-3 sizes are those of TeraPipe (arXiv 2102.07988), with a KV head for every query head; its
width is what costs depend on, so heads are taken to be 128 wide where the division is not given.
"""

from __future__ import annotations

from typing import Any


def _plain(layers: int, hidden: int, heads: int, kv_heads: int, ffn: int, vocabulary: int) -> dict[str, Any]:
    return {
        "layers": layers,
        "hidden": hidden,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": 128,
        "ffn": ffn,
        "gated": True,
        "vocabulary": vocabulary,
    }


def _gpt3(layers: int, hidden: int, note: str) -> dict[str, Any]:
    heads = hidden // 128
    sizes = _plain(layers, hidden, heads, heads, 4 * hidden, 50257)
    return sizes | {"gated": False, "description": note}


_TERAPIPE = "Size from TeraPipe (arXiv 2102.07988); heads assumed to be 128 wide."

MODELS: dict[str, dict[str, Any]] = {
    "llama-3.1-8b": _plain(32, 4096, 32, 8, 14336, 128256),
    "llama-3.1-70b": _plain(80, 8192, 64, 8, 28672, 128256),
    "llama-3.1-405b": _plain(126, 16384, 128, 8, 53248, 128256),
    "qwen2.5-72b": _plain(80, 8192, 64, 8, 29568, 152064),
    "qwen3-32b": _plain(64, 5120, 64, 8, 25600, 151936),
    "qwen3-235b-a22b": _plain(94, 4096, 64, 4, 0, 151936)
    | {"experts": {"count": 128, "active": 8, "ffn": 1536}},
    "mixtral-8x7b": _plain(32, 4096, 32, 8, 0, 32000) | {"experts": {"count": 8, "active": 2, "ffn": 14336}},
    "deepseek-v3": _plain(61, 7168, 128, 128, 18432, 129280)
    | {
        "head_dim": 192,
        "experts": {"count": 256, "active": 8, "shared": 1, "ffn": 2048, "dense_layers": 3},
        "latent": {"kv_rank": 512, "query_rank": 1536, "nope_dim": 128, "rope_dim": 64, "value_dim": 128},
    },
    "gpt3-175b": _gpt3(96, 12288, ""),
    "gpt3-44b": _gpt3(96, 6144, _TERAPIPE),
    "gpt3-13b": _gpt3(40, 5120, _TERAPIPE),
    "gpt3-1b": _gpt3(24, 2048, _TERAPIPE),
}
