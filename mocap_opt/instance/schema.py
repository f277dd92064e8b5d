"""The sections of an instance: what every field means, its unit, its default and an example.

Documentation, the JSON schema and error messages all read these fields.  Unions are told apart by
the shape of the value or by ``kind``; their tags stand in angle brackets so that paths can leave
them out.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Tag, model_validator
from pydantic.config import JsonDict

from mocap_opt import units
from mocap_opt.instance.availability import Available
from mocap_opt.instance.profile_spec import LayerProfile, SparseAttention
from mocap_opt.instance.stream_request import StreamRequest
from mocap_opt.quantities import (
    Batch,
    Chunks,
    Count,
    Description,
    Flag,
    Label,
    Name,
    Nonnegative,
    Precision,
    Section,
    Tokens,
    TokensOrAuto,
    TokensOrZero,
    Width,
    WidthOrZero,
    by_shape,
    choice,
    field,
)


class Experts(Section):
    """Mixture of experts: which layers have them and how wide they are."""

    count: Count = field("routed experts per layer", 128)
    active: Count = field("routed experts that process a token", 8)
    shared: Nonnegative = field("experts that process every token", 1, default=0)
    ffn: Width = field("width of one expert's feed-forward network", 1536)
    dense_layers: Nonnegative = field("leading layers with a plain feed-forward network", 3, default=0)
    shared_ffn: Width | None = field(
        "width of one shared expert's feed-forward network; null: as the routed ones", 5632, default=None
    )
    layers: tuple[Nonnegative, ...] | None = field(
        "layers with experts, from 0, ascending; null: all but the leading dense ones",
        [1, 3, 5],
        default=None,
    )

    @property
    def shared_width(self) -> int:
        """Width of one shared expert."""
        return self.ffn if self.shared_ffn is None else self.shared_ffn

    def dense(self, layers: int) -> tuple[int, ...]:
        """Layers with a plain feed-forward network, from 0.

        Parameters
        ----------
        layers : int
            Of the model.
        """
        if self.layers is None:
            return tuple(range(min(self.dense_layers, layers)))
        return tuple(sorted({*range(layers)} - {*self.layers}))

    def on(self, layer: int) -> bool:
        """Whether a layer has experts.

        Parameters
        ----------
        layer : int
            From 0.
        """
        return layer >= self.dense_layers if self.layers is None else layer in self.layers


class Latent(Section):
    """Multi-head latent attention: the KV cache holds a compressed vector per token."""

    kv_rank: Width = field("length of the compressed KV vector", 512)
    query_rank: Width | None = field(
        "length of the compressed query; null if not compressed", 1536, default=None
    )
    nope_dim: Width = field("query-key size per head without position", 128)
    rope_dim: Width = field("query-key size with rotary position, shared by the heads", 64)
    value_dim: Width = field("value size per head", 128)


class ModelSpec(Section):
    """A transformer, as far as its costs go."""

    name: Label = field("label for reports; means nothing", "llama-3.1-70b", default="")
    description: Description = field("free text; means nothing", default="")
    layers: Count = field("transformer layers", 80)
    hidden: Width = field("width of the residual stream", 8192)
    heads: Count = field("query heads", 64)
    kv_heads: Count = field("key-value heads", 8)
    head_dim: Width = field("size of a head; with latent attention the sizes there are used instead", 128)
    ffn: WidthOrZero = field(
        "width of the plain feed-forward network; may be 0 if every layer has experts", 28672
    )
    gated: Flag = field(
        "whether feed-forward networks, experts too, have a gate (three matrices)", True, default=True
    )
    vocabulary: Width = field("entries of the embedding and of the output head", 128256)
    experts: Experts | None = field("experts; null for a plain model", default=None)
    latent: Latent | None = field("latent attention; null for ordinary attention", default=None)
    profile: tuple[LayerProfile, ...] = field(
        "layers that keep fewer tokens or see a window of them; layers that are not listed keep and see all",
        [{"layers": [16, 31], "keep": 0.2}],
        default=(),
    )
    sparse: SparseAttention | None = field(
        "attention to the best keys by an indexer; null: to all", default=None
    )


_Weights = Annotated[
    Annotated[Precision, Tag("<one>")] | Annotated[tuple[Precision, ...], Tag("<list>")],
    Discriminator(by_shape),
]


class PrecisionSpec(Section):
    """How many bytes numbers take."""

    weights: _Weights = field(
        "of a weight of the layers, scales of quantised ones included, or a list with one number per layer",
        "bf16",
        2,
        unit="bytes per element",
        default=2.0,
    )
    embedding: Precision | None = field(
        "of a weight of the embedding and of the output head; null: as the widest of the layers",
        "bf16",
        unit="bytes per element",
        default=None,
    )
    kv: Precision = field("of an element of the KV cache", "bf16", 2, unit="bytes per element", default=2.0)
    activations: Precision = field("of an activation", "bf16", 2, unit="bytes per element", default=2.0)

    def of_layer(self, layer: int) -> float:
        """Bytes of a weight of a layer."""
        return self.weights[layer] if isinstance(self.weights, tuple) else self.weights

    @property
    def of_ends(self) -> float:
        """Bytes of a weight of the embedding and of the output head."""
        if self.embedding is not None:
            return self.embedding
        return max(self.weights) if isinstance(self.weights, tuple) else self.weights


def _tokens_or_requests(schema: JsonDict) -> None:
    """A stream needs no tokens of its own."""
    schema["required"] = []
    schema["anyOf"] = [{"required": ["tokens"]}, {"required": ["requests"]}]


class Workload(Section):
    """The prompt, or a stream of requests."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_tokens_or_requests)

    tokens: Tokens = field(
        "tokens to prefill; with requests, those of the longest (the default)", 131072, "128k", unit="tokens"
    )
    cached_prefix: TokensOrZero = field("tokens already cached before them", "16k", unit="tokens", default=0)
    batch: Batch = field("prompts of this length processed side by side", 8, default=1)
    requests: tuple[StreamRequest, ...] = field(
        "a stream of unlike requests instead of one prompt", [{"tokens": "64k", "release": 0.5}], default=()
    )
    order: Annotated[Literal["given", "free"], *choice("given", "free")] = field(
        "whether requests run in the order listed or in any", "given", default="given"
    )
    available: Available | None = field(
        "when the first tokens of the prompt exist after its release, [[tokens, seconds], ...], or the items "
        "of an encoder; null: all at once",
        [[0, 0.0], [4096, 0.08]],
        default=None,
    )
    pipelines: Count = field(
        "equal pipelines side by side; each request runs on one of them, each pipeline has a stream",
        1,
        4,
        default=1,
    )
    export: Name | None = field(
        "one of wafer.pools to which every chunk's KV is copied, as for a decode pool; null: none",
        "host",
        default=None,
    )
    prefix_from: Name | None = field(
        "one of wafer.pools from which the cached prefix is loaded with the first chunk; null: it is there",
        "host",
        default=None,
    )

    @model_validator(mode="before")
    @classmethod
    def _longest(cls, data: Any) -> Any:
        """Take the tokens of the longest request where none are given."""
        if (
            not isinstance(data, dict)
            or "tokens" in data
            or not isinstance(data.get("requests"), (list, tuple))
        ):
            return data
        lengths = [each.get("tokens") for each in data["requests"] if isinstance(each, dict)]
        try:
            longest = max(units.parse_tokens(length) for length in lengths)
        except ValueError:
            # Some request is wrong, and says so itself.
            longest = 1
        return {**data, "tokens": longest}


AUTO_QUANTUM = 0
"""Stands for the quantum that a rule picks, until `mocap_opt.instance.grid` has picked it."""


class Chunking(Section):
    """Which divisions of the prompt are allowed."""

    max_chunks: Chunks = field("the most chunks a plan may use", 32)
    exact: Flag = field("whether a plan must use exactly max_chunks", True, default=False)
    quantum: TokensOrAuto = field(
        'boundaries are multiples of this, except the last; "auto": by a rule',
        1024,
        unit="tokens",
        default=1024,
    )
    page: Tokens | None = field(
        "KV is placed in pages of this size, which divides quantum; null: one quantum",
        256,
        unit="tokens",
        default=None,
    )
    shortest: Tokens | None = field(
        "least length of a chunk; null: no limit", 1024, unit="tokens", default=None
    )
    longest: Tokens | None = field(
        "greatest length of a chunk; null: no limit", "16k", unit="tokens", default=None
    )

    @property
    def page_tokens(self) -> int:
        """Size of a page, tokens."""
        return self.quantum if self.page is None else self.page

    def length_limits(self, tokens: int) -> tuple[int, int]:
        """Least and greatest length of a chunk of a prompt of so many tokens."""
        return self.shortest or 1, min(self.longest or tokens, tokens)
