"""Models by name, from their public configuration files, and the matrices of a model's layers.

The GPT-3 sizes are those of TeraPipe (arXiv 2102.07988), with a KV head for every query head; its
width is what costs depend on, so heads are taken to be 128 wide where the division is not given.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mocap_opt.instance.schema import ModelSpec


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


ROUTER = "mlp.gate"


class Matrix(NamedTuple):
    """A matrix of a layer, or several alike.

    Attributes
    ----------
    name : str
        As checkpoints of the Llama, Qwen and DeepSeek families call it, within its layer; the routed
        experts stand as expert 0.
    inputs, outputs : int
        Its two sides.
    copies : int
        How many a layer has.
    active : int
        How many of them a token meets.
    """

    name: str
    inputs: int
    outputs: int
    copies: int = 1
    active: int = 1

    @property
    def size(self) -> int:
        """Parameters of one copy."""
        return self.inputs * self.outputs


def attention_matrices(model: ModelSpec) -> list[Matrix]:
    """Projections of a layer's attention.

    Grouped-query attention: query, key, value and output projections.  Latent attention (MLA,
    DeepSeek-V2, arXiv 2405.04434): query projection (through its own latent if it has one), joint
    down-projection to the KV latent and the shared rotary key, joint up-projection, output projection.
    With sparse attention, also the projections of its indexer.

    Parameters
    ----------
    model : ModelSpec
    """
    hidden, heads, latent = model.hidden, model.heads, model.latent
    if latent is None:
        wide, narrow = heads * model.head_dim, model.kv_heads * model.head_dim
        shapes = [("q", hidden, wide), ("k", hidden, narrow), ("v", hidden, narrow), ("o", wide, hidden)]
        return [*(Matrix(f"self_attn.{name}_proj", *sides) for name, *sides in shapes), *_indexer(model)]
    key, rank = heads * (latent.nope_dim + latent.rope_dim), latent.query_rank
    queries = (
        [Matrix("self_attn.q_proj", hidden, key)]
        if rank is None
        else [Matrix("self_attn.q_a_proj", hidden, rank), Matrix("self_attn.q_b_proj", rank, key)]
    )
    return [
        *queries,
        *_indexer(model),
        Matrix("self_attn.kv_a_proj_with_mqa", hidden, latent.kv_rank + latent.rope_dim),
        Matrix("self_attn.kv_b_proj", latent.kv_rank, heads * (latent.nope_dim + latent.value_dim)),
        Matrix("self_attn.o_proj", heads * latent.value_dim, hidden),
    ]


def _indexer(model: ModelSpec) -> list[Matrix]:
    """What chooses keys (DeepSeek-V3.2): queries from the query latent, one key, a weight for each head."""
    sparse = model.sparse
    if sparse is None:
        return []
    rank = model.hidden if model.latent is None else model.latent.query_rank or model.hidden
    return [
        Matrix("self_attn.indexer.wq_b", rank, sparse.index_heads * sparse.index_dim),
        Matrix("self_attn.indexer.wk", model.hidden, sparse.index_dim),
        Matrix("self_attn.indexer.weights_proj", model.hidden, sparse.index_heads),
    ]


def _feed_forward(model: ModelSpec, name: str, width: int, copies: int = 1, active: int = 1) -> list[Matrix]:
    inward = ("gate_proj", "up_proj") if model.gated else ("up_proj",)
    return [
        *(Matrix(f"{name}.{part}", model.hidden, width, copies, active) for part in inward),
        Matrix(f"{name}.down_proj", width, model.hidden, copies, active),
    ]


def layer_matrices(model: ModelSpec, layer: int) -> list[Matrix]:
    """All matrices of a layer, the router of its experts included; norms and biases are left out.

    Parameters
    ----------
    model : ModelSpec
    layer : int
        From 0.
    """
    attention, experts = attention_matrices(model), model.experts
    if experts is None or not experts.on(layer):
        return attention + _feed_forward(model, "mlp", model.ffn)
    routed = _feed_forward(model, "mlp.experts.0", experts.ffn, experts.count, experts.active)
    shared = _feed_forward(model, "mlp.shared_experts", experts.shared_width, experts.shared, experts.shared)
    return [*attention, *routed, *shared, Matrix(ROUTER, model.hidden, experts.count)]
