"""What layers of a model keep of its tokens and which of them a query sees (formulations/profiles.md)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, WithJsonSchema

from mocap_opt.quantities import (
    Count,
    KeptShare,
    Section,
    Tokens,
    Width,
    choice,
    field,
    refuse,
)


class WindowGroup(Section):
    """Key-value heads of a layer whose queries do not see all tokens before them."""

    kv_heads: Count = field("key-value heads of the layer that are so; all groups together, at most all", 4)
    tokens: Tokens | None = field(
        "sliding window: kept positions a query sees, its own included", "4k", unit="tokens", default=None
    )
    chunk: Tokens | None = field(
        "chunked attention instead: a query sees its own block of so many kept positions",
        "8k",
        unit="tokens",
        default=None,
    )


def _read_layers(value: object) -> tuple[int, int]:
    pair = value if isinstance(value, (list, tuple)) else ()
    whole = [n for n in pair if isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= 10_000]
    if len(pair) != 2 or len(whole) != 2 or whole[0] > whole[1]:
        raise refuse("the first and the last of some layers, counted from 0", "write [0, 15]")
    return whole[0], whole[1]


LayerRange = Annotated[
    tuple[int, int],
    BeforeValidator(_read_layers),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": 10_000},
            "minItems": 2,
            "maxItems": 2,
        }
    ),
]


class LayerProfile(Section):
    """What some consecutive layers keep and see; layers of no entry keep and see all."""

    layers: LayerRange = field("first and last layer, counted from 0", [0, 15])
    keep: KeptShare = field(
        "share of the tokens that these layers work on; never more than in a layer before", 0.2, default=1.0
    )
    windows: tuple[WindowGroup, ...] = field(
        "groups of key-value heads with a window; the others see every kept token",
        [{"kv_heads": 6, "tokens": "4k"}],
        default=(),
    )
    hold: Annotated[Literal["window", "all"], *choice("window", "all")] = field(
        "KV of these groups that memory holds: the window, in a ring that does not move, or all of it",
        "window",
        default="window",
    )
    selection: Annotated[Literal["chunk", "prompt"], *choice("chunk", "prompt")] = field(
        "who keeps tokens: each chunk among its own, or the last queries of the prompt among all of it, so "
        "that these layers and later ones wait for the last chunk",
        "prompt",
        default="chunk",
    )

    def covers(self, layer: int) -> bool:
        """Whether the entry is about a layer, counted from 0."""
        return self.layers[0] <= layer <= self.layers[1]


class SparseAttention(Section):
    """Attention to the keys that an indexer scores best (DeepSeek-V3.2); all KV is kept."""

    top_k: Tokens = field("kept positions a query attends to, its own included", 2048, unit="tokens")
    index_heads: Count = field("heads of the indexer, which scores every pair", 64)
    index_dim: Width = field("size of a head of the indexer, and of the index key of a token", 128)
