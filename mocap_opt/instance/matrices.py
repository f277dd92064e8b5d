"""The matrices of a transformer's layers: their sides, how many there are, what checkpoints call them."""

from __future__ import annotations

from typing import NamedTuple

from mocap_opt.instance.schema import ModelSpec

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

    Parameters
    ----------
    model : ModelSpec
    """
    hidden, heads, latent = model.hidden, model.heads, model.latent
    if latent is None:
        wide, narrow = heads * model.head_dim, model.kv_heads * model.head_dim
        shapes = [("q", hidden, wide), ("k", hidden, narrow), ("v", hidden, narrow), ("o", wide, hidden)]
        return [Matrix(f"self_attn.{name}_proj", *sides) for name, *sides in shapes]
    key, rank = heads * (latent.nope_dim + latent.rope_dim), latent.query_rank
    queries = (
        [Matrix("self_attn.q_proj", hidden, key)]
        if rank is None
        else [Matrix("self_attn.q_a_proj", hidden, rank), Matrix("self_attn.q_b_proj", rank, key)]
    )
    return [
        *queries,
        Matrix("self_attn.kv_a_proj_with_mqa", hidden, latent.kv_rank + latent.rope_dim),
        Matrix("self_attn.kv_b_proj", latent.kv_rank, heads * (latent.nope_dim + latent.value_dim)),
        Matrix("self_attn.o_proj", heads * latent.value_dim, hidden),
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
        From 0; the first ``experts.dense_layers`` layers have no experts.
    """
    attention, experts = attention_matrices(model), model.experts
    if experts is None or layer < experts.dense_layers:
        return attention + _feed_forward(model, "mlp", model.ffn)
    routed = _feed_forward(model, "mlp.experts.0", experts.ffn, experts.count, experts.active)
    shared = _feed_forward(model, "mlp.shared_experts", experts.ffn, experts.shared, experts.shared)
    return [*attention, *routed, *shared, Matrix(ROUTER, model.hidden, experts.count)]
