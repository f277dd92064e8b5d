"""What a chunk computes: FLOPs of a layer, and the compute time of a stage.

Times here are exact polynomials in tokens, in seconds; `mocap_opt.tables.build` rounds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from mocap_opt.instance.matrices import layer_matrices
from mocap_opt.tables.rounding import Polynomial
from mocap_opt.tables.transfer import collectives
from mocap_opt.units import exact

if TYPE_CHECKING:
    from mocap_opt.instance import Instance, ModelSpec, Roofline, StageCoefficients
    from mocap_opt.tables.layout import Layout


@dataclass(frozen=True)
class StageTimes:
    """The parts of tau_i that depend on compute, as polynomials in seconds.

    Attributes
    ----------
    compute : Polynomial
        Phi_i(x), x tokens after the cached prefix.
    full_block : Polynomial
        What counting attention in full blocks adds, by the chunk's length.
    prefix_cost : Polynomial
        gamma_i (P + a), by the chunk's start a.
    length_cost : Polynomial
        c_i(l), by the chunk's length.
    """

    compute: Polynomial
    full_block: Polynomial
    prefix_cost: Polynomial
    length_cost: Polynomial


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
    """Return L_i lin: FLOPs per token of the matrix products of these layers, 2 per active parameter."""
    return 2 * sum(layer_parameters(model, layer, active=True) for layer in layers)


def attention_flops(model: ModelSpec, layers: range) -> int:
    """Return L_i att: FLOPs per (query, key) pair of these layers, scores and weighted values."""
    if model.latent is None:
        sizes = 2 * model.head_dim
    else:
        sizes = model.latent.nope_dim + model.latent.rope_dim + model.latent.value_dim
    return 2 * model.heads * sizes * len(layers)


def roofline_times(instance: Instance, costs: Roofline, layout: Layout, stage: int) -> StageTimes:
    """Return a stage's times from FLOPs and the speed of its dies.

    Phi_i(x) = (lin x + att (P x + x (x + 1) / 2)) batch / (d_i FLOP/s efficiency), summed over the
    stage's layers; full blocks add att l (l - 1) / 2 pairs; c_i(l) is the overhead, the matrix
    products of ``half_efficiency_tokens`` more tokens, and the collectives.
    """
    layers = layout.layers[stage]
    batch, prefix = instance.workload.batch, instance.workload.cached_prefix
    speed = len(layout.dies[stage]) * exact(instance.wafer.die.flops) * exact(costs.efficiency)
    linear = linear_flops(instance.model, layers) * batch / speed
    pair = attention_flops(instance.model, layers) * batch / speed
    nothing = Fraction(0)
    full = (nothing, -pair / 2, pair / 2) if instance.attention == "full_block" else (nothing,)
    gamma = exact(costs.prefix_cost)
    start, slope = collectives(instance, layout, stage)
    fixed = exact(costs.overhead) + linear * exact(costs.half_efficiency_tokens)
    return StageTimes(
        compute=(nothing, linear + pair * (prefix + Fraction(1, 2)), pair / 2),
        full_block=full,
        prefix_cost=(gamma * prefix, gamma),
        length_cost=(fixed + start, slope),
    )


def coefficient_times(instance: Instance, coefficients: StageCoefficients) -> StageTimes:
    """Return a stage's times from fitted coefficients.

    A chunk of l tokens after h takes constant + prefix h + linear l + quadratic (2 h l + l^2), the
    form serving engines fit; h counts the cached prefix.  The fit already contains the batch, the
    collectives and the way attention is counted.
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
