"""What a stage keeps: weights, KV cache, activations, in bytes."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from mocap_opt.tables.compute import layer_parameters
from mocap_opt.tables.rounding import Rounding, whole
from mocap_opt.units import exact

if TYPE_CHECKING:
    from mocap_opt.instance import Instance, ModelSpec
    from mocap_opt.tables.layout import Layout


def layer_weight_bytes(instance: Instance, layers: range) -> int:
    """Bytes of the weights of some layers, all experts included; every chunk reads them."""
    sizes = (
        layer_parameters(instance.model, layer, active=False) * exact(instance.precision.of_layer(layer))
        for layer in layers
    )
    return whole(sum(sizes, Fraction(0)), Rounding.UP, "weights")


def static_bytes(instance: Instance, layout: Layout, stage: int) -> int:
    """Bytes always in a stage's memory: its layers, the embedding on the first stage, the head on the last.

    Embedding and head have vocabulary x hidden parameters each, in a precision of their own: quantised
    checkpoints leave them as they are.  They are not part of the traffic of a chunk: one is a lookup, the
    other runs once at the end.
    """
    ends = (stage == 0) + (stage == layout.stages - 1)
    table = instance.model.vocabulary * instance.model.hidden * exact(instance.precision.of_ends)
    return layer_weight_bytes(instance, layout.layers[stage]) + whole(ends * table, Rounding.UP, "weights")


def kv_bytes_per_token(instance: Instance, layout: Layout, stage: int) -> Fraction:
    """Return kappa_i, bytes of KV per token position on a stage, all layers and prompts of the batch.

    Keys and values of every KV head; each die holds whole heads, so a stage of d dies holds
    d ceil(heads / d) of them.  Latent attention: the KV latent and the rotary key, on every die.
    """
    model, d = instance.model, len(layout.dies[stage])
    if model.latent is None:
        elements = 2 * model.head_dim * d * -(-model.kv_heads // d)
    else:
        elements = d * (model.latent.kv_rank + model.latent.rope_dim)
    return len(layout.layers[stage]) * elements * exact(instance.precision.kv) * instance.workload.batch


def feed_forward_width(model: ModelSpec) -> int:
    """Return the widest feed-forward activation of a token: of its experts together, or of a dense layer."""
    experts = model.experts
    if experts is None:
        return model.ffn
    width = (experts.active + experts.shared) * experts.ffn
    return max(width, model.ffn) if experts.dense_layers else width


def working_bytes(instance: Instance, layout: Layout, stage: int) -> int:
    """Bytes of activations per token of a stage's queues, all its dies: each 2 hidden + 2 FFN / d."""
    d = len(layout.dies[stage])
    elements = 2 * instance.model.hidden * d + 2 * feed_forward_width(instance.model)
    return whole(
        elements * exact(instance.precision.activations) * instance.workload.batch, Rounding.UP, "activations"
    )
