"""What a stage computes, keeps and sends: times as exact curves, sizes in bytes.

Times here are polynomials in tokens, bent where layers have windows, in seconds;
`mocap_opt.tables.build` rounds them.  Symbols and formulas are those of ``formulations/notation.md`` and,
for layers that keep or see part of the tokens, ``formulations/profiles.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from mocap_opt.instance.models import layer_matrices
from mocap_opt.tables.attention import attention_work, stage_shares
from mocap_opt.tables.curves import Bend, Curve, curve, scaled
from mocap_opt.tables.rounding import Polynomial, Rounding, whole
from mocap_opt.units import exact

if TYPE_CHECKING:
    from mocap_opt.instance import Instance, ModelSpec, Roofline, StageCoefficients
    from mocap_opt.tables.layout import Layout


@dataclass(frozen=True)
class StageTimes:
    """The parts of tau_i that depend on compute, in seconds.

    Attributes
    ----------
    compute : Polynomial or Curve
        Phi_i(x), x tokens after the cached prefix.
    full_block : Polynomial or Curve
        What counting attention in full blocks adds, by the chunk's length.
    prefix_cost : Polynomial
        gamma_i (P + a), by the chunk's start a.
    length_cost : Polynomial or Curve
        c_i(l), by the chunk's length.
    """

    compute: Polynomial | Curve
    full_block: Polynomial | Curve
    prefix_cost: Polynomial
    length_cost: Polynomial | Curve


def layer_parameters(model: ModelSpec, layer: int, *, active: bool) -> int:
    """Count the parameters of a layer's matrices.

    Parameters
    ----------
    model : ModelSpec
    layer : int
        From 0.
    active : bool
        Only the experts one token visits, or all of them.
    """
    return sum(
        matrix.size * (matrix.active if active else matrix.copies) for matrix in layer_matrices(model, layer)
    )


def linear_flops(model: ModelSpec, layers: range) -> int:
    """Return L_i lin: FLOPs per token of the matrix products of these layers, 2 per active parameter.

    Parameters
    ----------
    model : ModelSpec
    layers : range
        Of a stage, from 0.
    """
    return 2 * sum(layer_parameters(model, layer, active=True) for layer in layers)


def roofline_times(instance: Instance, costs: Roofline, layout: Layout, stage: int) -> StageTimes:
    """Return a stage's times from FLOPs and the speed of its dies.

    Phi_i(x) = (lin x + att (P x + x (x + 1) / 2)) batch / (d_i FLOP/s efficiency), summed over the
    stage's layers; full blocks add att l (l - 1) / 2 pairs; c_i(l) is the overhead, the matrix
    products of ``half_efficiency_tokens`` more tokens, and the collectives.  Layers that keep a share of the
    tokens compute that share, those with a window see no more than it (`attention_work`).

    Parameters
    ----------
    instance : Instance
    costs : Roofline
        Of `instance`.
    layout : Layout
        Of `instance`.
    stage : int
    """
    model, layers = instance.model, layout.layers[stage]
    batch, prefix = instance.workload.batch, instance.workload.cached_prefix
    speed = stage_speed(instance, costs, layout, stage)
    shares = stage_shares(instance, layers)
    work, bends, blocks, bent_blocks = attention_work(model, shares, prefix)
    kept = sum(
        (linear_flops(model, range(n, n + 1)) * s.keep for n, s in zip(layers, shares, strict=True)),
        Fraction(0),
    )
    work = (work[0], work[1] + kept, work[2])
    gamma = exact(costs.prefix_cost)
    start, slope = collectives(instance, layout, stage)
    linear = linear_flops(model, layers) * batch / speed
    fixed = exact(costs.overhead) + linear * exact(costs.half_efficiency_tokens)
    each = batch / speed
    full = scaled(curve(blocks, bent_blocks), each) if instance.attention == "full_block" else (Fraction(0),)
    return StageTimes(
        compute=scaled(curve(work, bends), each),
        full_block=full,
        prefix_cost=(gamma * prefix, gamma),
        length_cost=(fixed + start, slope),
    )


def stage_speed(instance: Instance, costs: Roofline, layout: Layout, stage: int) -> Fraction:
    """V g(s): FLOP/s that a stage reaches for chunks, all its dies.

    Parameters
    ----------
    instance : Instance
    costs : Roofline
        Of `instance`.
    layout : Layout
        Of `instance`.
    stage : int
    """
    degree, decode = len(layout.ranks[stage]), instance.decode
    part = Fraction(1) if decode is None or decode.share is None else decode.share.prefill_speed
    return part * degree * exact(instance.wafer.die.flops) * costs.efficiency_at(degree)


def die_bandwidth(instance: Instance) -> Fraction:
    """R (1 - beta) of one die: bytes per second with which chunks read its memory."""
    decode, whole_rate = instance.decode, exact(instance.wafer.die.memory_bandwidth)
    return (
        whole_rate if decode is None or decode.share is None else whole_rate * decode.share.prefill_bandwidth
    )


def coefficient_times(instance: Instance, coefficients: StageCoefficients) -> StageTimes:
    """Return a stage's times from fitted coefficients.

    A chunk of l tokens after h takes constant + prefix h + linear l + quadratic (2 h l + l^2), the
    form serving engines fit; h counts the cached prefix.  The fit already contains the batch, the
    collectives and the way attention is counted.

    Parameters
    ----------
    instance : Instance
    coefficients : StageCoefficients
        Of the stage.
    """
    prefix = instance.workload.cached_prefix
    linear, quadratic = exact(coefficients.linear), exact(coefficients.quadratic)
    gamma, nothing = exact(coefficients.prefix), Fraction(0)
    return StageTimes(
        compute=(nothing, linear + 2 * prefix * quadratic, quadratic),
        full_block=(nothing,),
        prefix_cost=(gamma * prefix, gamma),
        length_cost=(exact(coefficients.constant),),
    )


def layer_weight_bytes(instance: Instance, layers: range) -> int:
    """Bytes of the weights of some layers, all experts included; every chunk reads them.

    Parameters
    ----------
    instance : Instance
    layers : range
        From 0.
    """
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

    Parameters
    ----------
    instance : Instance
    layout : Layout
        Of `instance`.
    stage : int
    """
    ends = (stage == 0) + (stage == layout.stages - 1)
    table = instance.model.vocabulary * instance.model.hidden * exact(instance.precision.of_ends)
    return layer_weight_bytes(instance, layout.layers[stage]) + whole(ends * table, Rounding.UP, "weights")


def kv_bytes_of_layer(instance: Instance, layout: Layout, stage: int) -> Fraction:
    """Bytes of KV of a kept token on a stage, one layer, all prompts of the batch.

    Keys and values of every KV head; each die holds whole heads, so a stage of d dies holds
    d ceil(heads / d) of them.  Latent attention: the KV latent and the rotary key, on every die.

    Parameters
    ----------
    instance : Instance
    layout : Layout
        Of `instance`.
    stage : int
    """
    model, d = instance.model, len(layout.ranks[stage])
    if model.latent is None:
        elements = 2 * model.head_dim * d * -(-model.kv_heads // d)
    else:
        elements = d * (model.latent.kv_rank + model.latent.rope_dim)
    return elements * exact(instance.precision.kv) * instance.workload.batch


def index_bytes_of_layer(instance: Instance, layout: Layout, stage: int) -> Fraction:
    """Bytes of the index key of a kept token, one layer, on every die; 0 without sparse attention.

    Parameters
    ----------
    instance : Instance
    layout : Layout
        Of `instance`.
    stage : int
    """
    sparse = instance.model.sparse
    elements = 0 if sparse is None else len(layout.ranks[stage]) * sparse.index_dim
    return elements * exact(instance.precision.kv) * instance.workload.batch


def kv_bytes_per_token(instance: Instance, layout: Layout, stage: int) -> Fraction:
    """Return kappa_i, bytes of KV per token position on a stage that have homes.

    Of all its layers and prompts of the batch: what layers keep of a token, index keys included, except what
    lives in rings (`mocap_opt.tables.held_memory`).

    Parameters
    ----------
    instance : Instance
    layout : Layout
        Of `instance`.
    stage : int
    """
    each, index = kv_bytes_of_layer(instance, layout, stage), index_bytes_of_layer(instance, layout, stage)
    total = Fraction(0)
    for share in stage_shares(instance, layout.layers[stage]):
        in_full = sum((group.part for group in share.groups if not group.ring), Fraction(0))
        total += share.keep * (each * in_full + index)
    return total


def own_bytes(instance: Instance, layout: Layout, stage: int) -> Polynomial | Curve:
    """Bytes that a roofline's chunk moves through its stage's own memory port, by the chunk's end b.

    Weights + kappa (P + b); of groups with a window kappa min(s (P + b), w).

    Parameters
    ----------
    instance : Instance
    layout : Layout
        Of `instance`.
    stage : int
    """
    prefix = instance.workload.cached_prefix
    each, index = kv_bytes_of_layer(instance, layout, stage), index_bytes_of_layer(instance, layout, stage)
    kappa, bends = Fraction(0), []
    for share in stage_shares(instance, layout.layers[stage]):
        kappa += share.keep * index
        for group in share.groups:
            if group.reach is None or group.chosen:
                kappa += share.keep * each * group.part
            else:
                bends.append(Bend(each * group.part, "seen", share.keep, group.reach, prefix))
    weights = layer_weight_bytes(instance, layout.layers[stage])
    return curve((weights + kappa * prefix, kappa), bends)


def feed_forward_width(model: ModelSpec) -> int:
    """Return the widest feed-forward activation of a token: of its experts together, or of a dense layer."""
    experts = model.experts
    if experts is None:
        return model.ffn
    width = experts.active * experts.ffn + experts.shared * experts.shared_width
    return max(width, model.ffn) if experts.dense(model.layers) else width


def activation_bytes(instance: Instance, keep: Fraction = Fraction(1)) -> int:
    """Bytes of the activations of one token position, all prompts of the batch.

    Parameters
    ----------
    instance : Instance
    keep : Fraction
        Share of the tokens that the layer keeps which they are for.
    """
    per_token = exact(instance.precision.activations) * instance.model.hidden * instance.workload.batch
    return whole(per_token * keep, Rounding.UP, "activation bytes per token")


def messages(instance: Instance, layout: Layout) -> list[int]:
    """Bytes per token that each stage sends: of the tokens that the next layer keeps, or the last one.

    Parameters
    ----------
    instance : Instance
    layout : Layout
        Of `instance`.
    """
    first = [stage_shares(instance, layers)[0].keep for layers in layout.layers[1:]]
    last = stage_shares(instance, layout.layers[-1])[-1].keep
    return [activation_bytes(instance, keep) for keep in (*first, last)]


def collectives(instance: Instance, layout: Layout, stage: int) -> tuple[Fraction, Fraction]:
    """Time of a stage's tensor-parallel all-reduces: seconds per chunk, seconds per token.

    Two all-reduces of the activations per layer.  A layer sends the tokens that it keeps.

    Parameters
    ----------
    instance : Instance
    layout : Layout
        Of `instance`.
    stage : int
    """
    start, slope = all_reduce(instance, layout, stage)
    kept = sum((s.keep for s in stage_shares(instance, layout.layers[stage])), Fraction(0))
    return 2 * len(layout.layers[stage]) * start, 2 * kept * slope


def all_reduce(instance: Instance, layout: Layout, stage: int) -> tuple[Fraction, Fraction]:
    """Time of one all-reduce of activations over a stage's dies: seconds, seconds per token.

    A ring moves 2 (d - 1) / d of them over every link and takes 2 (d - 1) steps to the next die.  It is
    paced by the slowest living link inside the stage.  Nothing for one die.

    Parameters
    ----------
    instance : Instance
    layout : Layout
        Of `instance`.
    stage : int
    """
    dies = layout.ranks[stage]
    d = len(dies)
    if d == 1:
        return Fraction(0), Fraction(0)
    bandwidth = min(link.bandwidth for link in layout.topology.inner_links(dies))
    step = layout.topology.hop_latency * layout.topology.neighbour_hops
    data = exact(instance.precision.activations) * instance.model.hidden * instance.workload.batch
    return 2 * (d - 1) * step, Fraction(2 * (d - 1), d) * data / bandwidth
