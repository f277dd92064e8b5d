"""Pairs of queries and keys: what attention costs where layers keep or see part of the tokens.

Formulas are those of ``formulations/profiles.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from mocap_opt.instance.layer_profile import LayerShare, layer_shares
from mocap_opt.tables.curves import Bend
from mocap_opt.tables.rounding import Polynomial

if TYPE_CHECKING:
    from mocap_opt.instance import Instance, ModelSpec


def attention_flops(model: ModelSpec, layers: range) -> int:
    """Return L_i att: FLOPs per (query, key) pair of these layers, scores and weighted values.

    Parameters
    ----------
    model : ModelSpec
    layers : range
        Of a stage, from 0.
    """
    if model.latent is None:
        sizes = 2 * model.head_dim
    else:
        sizes = model.latent.nope_dim + model.latent.rope_dim + model.latent.value_dim
    return 2 * model.heads * sizes * len(layers)


def index_flops(model: ModelSpec) -> int:
    """FLOPs per (query, key) pair and layer of the indexer of sparse attention; 0 without one."""
    return 0 if model.sparse is None else 2 * model.sparse.index_heads * model.sparse.index_dim


def stage_shares(instance: Instance, layers: range) -> tuple[LayerShare, ...]:
    """Return what each of some layers keeps and sees.

    Parameters
    ----------
    instance : Instance
    layers : range
        Of a stage, from 0.
    """
    workload = instance.workload
    context = workload.cached_prefix + workload.tokens
    return layer_shares(instance.model, context)[layers.start : layers.stop]


def attention_work(
    model: ModelSpec, shares: Sequence[LayerShare], prefix: int
) -> tuple[Polynomial, list[Bend], Polynomial, list[Bend]]:
    """FLOPs of attention by the tokens after a prefix, and what full blocks add by a chunk's length.

    A group that sees every kept position has s (P + x) (s (P + x) + 1) / 2 pairs less those of the prefix,
    one with a window A_w(s (P + x)) - A_w(s P); full blocks add s l (s l - 1) / 2 pairs to the former.

    Parameters
    ----------
    model : ModelSpec
    shares : sequence of LayerShare
        Of a stage's layers.
    prefix : int
        P, tokens.

    Returns
    -------
    Polynomial, list of Bend, Polynomial, list of Bend
        Of x; of l.
    """
    each, index, nothing = attention_flops(model, range(1)), index_flops(model), Fraction(0)
    constant, linear, square = nothing, nothing, nothing
    whole_blocks, bends, blocks = nothing, [], []
    for share in shares:
        s = share.keep
        seen_whole = Fraction(index)
        for group in share.groups:
            if group.reach is None:
                seen_whole += each * group.part
                continue
            shape = "sliding" if group.chunk is None else "blocks"
            bend = Bend(each * group.part, shape, s, group.reach, prefix)
            bends.append(bend)
            constant -= bend.at(0)
        linear += seen_whole * s * (s * prefix + Fraction(1, 2))
        square += seen_whole * s * s / 2
        if s == 1:
            whole_blocks += seen_whole
        else:
            blocks.append(Bend(seen_whole, "full_block", s))
    return (constant, linear, square), bends, (nothing, -whole_blocks / 2, whole_blocks / 2), blocks
