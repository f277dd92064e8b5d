"""Tokens decoded with a chunk, and tiles that chunks are computed in (formulations/decode.md)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.instance.layer_profile import LayerShare
from mocap_opt.tables.attention import attention_flops, index_flops, stage_shares
from mocap_opt.tables.curves import Part, plus
from mocap_opt.tables.rounding import Rounding, whole
from mocap_opt.tables.stage_costs import (
    StageTimes,
    all_reduce,
    index_bytes_of_layer,
    kv_bytes_of_layer,
    linear_flops,
    stage_speed,
)
from mocap_opt.units import exact

if TYPE_CHECKING:
    from mocap_opt.instance import Instance
    from mocap_opt.tables.layout import Layout

UNLIMITED = 2**62
"""Stands for a budget that is none."""


@dataclass(frozen=True)
class Riders:
    """Tokens decoded with every chunk: r(l) = min(tokens, budget - batch l), at least 0.

    Attributes
    ----------
    tokens : int
    context : int
        Tokens that they attend to, together.
    budget : int
        `UNLIMITED` if there is none.
    batch : int
        Prompts side by side: a chunk of l tokens has batch l of them.
    """

    tokens: int
    context: int
    budget: int
    batch: int

    @classmethod
    def of(cls, instance: Instance) -> Riders:
        """Of an instance, whether any tokens are decoded or not."""
        decode, batch = instance.decode, instance.workload.batch
        if decode is None:
            return cls(0, 0, UNLIMITED, batch)
        context = decode.context if decode.tokens else 0
        return cls(decode.tokens, context, decode.budget or UNLIMITED, batch)

    def at(self, lengths: Any) -> Any:
        """How many ride with chunks of these lengths.

        Parameters
        ----------
        lengths : array of int
            Tokens of each prompt of the batch.
        """
        return np.minimum(np.maximum(self.budget - self.batch * lengths, 0), self.tokens)

    def longest(self, longest: int) -> int:
        """The longest chunk that budget and another limit allow; 0 if the budget is below the batch.

        Parameters
        ----------
        longest : int
            Tokens.
        """
        return min(longest, self.budget // self.batch)

    def seen(self, share: LayerShare, reach: int | None) -> Fraction:
        """Positions of their contexts that riders see in a layer, together: contexts are alike.

        Parameters
        ----------
        share : LayerShare
            Of the layer.
        reach : int or None
            Of its window.
        """
        kept = share.keep * self.context
        return kept if reach is None else min(kept, Fraction(reach * self.tokens))


@dataclass(frozen=True)
class Ride:
    """coefficient x r(l), one part of a curve by the length of a chunk."""

    coefficient: Fraction
    riders: Riders

    @property
    def denominator(self) -> int:
        """What makes the coefficient times `whole` a whole number."""
        return self.coefficient.denominator

    def whole(self, points: Any) -> Any:
        """R at these lengths."""
        return self.riders.at(points)

    def tabulate(self, lengths: IntArray) -> IntArray:
        """Values at these lengths, which are whole: int64 of the same shape."""
        found: IntArray = int(self.coefficient) * self.riders.at(lengths)
        return found


@dataclass(frozen=True)
class Padding:
    """coefficient x what is missing from batch s l + r(l) tokens to whole tiles.

    Attributes
    ----------
    coefficient : Fraction
    riders : Riders
    keep : Fraction
        S, share of the prompt's tokens that a layer keeps.
    tile : int
        Tokens.
    """

    coefficient: Fraction
    riders: Riders
    keep: Fraction
    tile: int

    @property
    def denominator(self) -> int:
        """What makes the coefficient times `whole` a whole number."""
        return self.coefficient.denominator * self.keep.denominator

    def whole(self, points: Any) -> Any:
        """Padding at these lengths, times the denominator of s."""
        parts = self.keep.denominator
        computed = self.keep.numerator * self.riders.batch * points + parts * self.riders.at(points)
        return -computed % (self.tile * parts)


def with_riders(instance: Instance, layout: Layout, stage: int, times: StageTimes) -> StageTimes:
    """Times of a stage's chunks with what is decoded beside them, and with padding to whole tiles.

    Inside the max (lin (r + padding) + att K) / V, in collectives r tokens more.

    Parameters
    ----------
    instance : Instance
        With costs of the roofline.
    layout : Layout
        Of `instance`.
    stage : int
    times : StageTimes
        Of chunks alone.
    """
    costs, riders = instance.costs, Riders.of(instance)
    assert costs.kind == "roofline"
    if not riders.tokens and costs.tile_tokens is None:
        return times
    layers, speed = layout.layers[stage], stage_speed(instance, costs, layout, stage)
    lin, parts = linear_flops(instance.model, layers), list[Part]()
    attention = (rider_flops(instance, layout, stage) - lin * riders.tokens) / speed
    for n, share in zip(layers, stage_shares(instance, layers), strict=True):
        flops = linear_flops(instance.model, range(n, n + 1)) / speed
        parts.append(Ride(flops, riders))
        if costs.tile_tokens is not None:
            parts.append(Padding(flops, riders, share.keep, costs.tile_tokens))
    carried = Ride(2 * len(layers) * all_reduce(instance, layout, stage)[1] / riders.batch, riders)
    return replace(
        times,
        full_block=plus(times.full_block, attention, parts),
        length_cost=plus(times.length_cost, Fraction(0), [carried]),
    )


def rider_flops(instance: Instance, layout: Layout, stage: int) -> Fraction:
    """FLOPs of decoding one token of every request on a stage: lin r + att K.

    Parameters
    ----------
    instance : Instance
    layout : Layout
        Of `instance`.
    stage : int
    """
    riders, layers = Riders.of(instance), layout.layers[stage]
    each, index = attention_flops(instance.model, range(1)), index_flops(instance.model)
    total = Fraction(linear_flops(instance.model, layers) * riders.tokens)
    for share in stage_shares(instance, layers):
        total += each * sum((g.part * riders.seen(share, g.reach) for g in share.groups), Fraction(0))
        total += index * riders.seen(share, None)
    return total


def rider_kv(instance: Instance, layout: Layout, stage: int) -> tuple[Fraction, Fraction]:
    """Bytes of the riders' KV on a stage: what is kept, and what a chunk reads of it.

    Parameters
    ----------
    instance : Instance
    layout : Layout
        Of `instance`.
    stage : int
    """
    riders, kept, read = Riders.of(instance), Fraction(0), Fraction(0)
    if not riders.context:
        return kept, read
    of_layer = kv_bytes_of_layer(instance, layout, stage) / riders.batch
    index = index_bytes_of_layer(instance, layout, stage) / riders.batch
    for share in stage_shares(instance, layout.layers[stage]):
        context = riders.seen(share, None)
        kept += index * context
        read += index * context
        for group in share.groups:
            seen = riders.seen(share, group.reach)
            kept += of_layer * group.part * (seen if group.ring else context)
            read += of_layer * group.part * (context if group.chosen else seen)
    return kept, read


def rider_messages(instance: Instance) -> Ride:
    """Bytes that riders add to the message of a chunk: every layer computes a token that is decoded.

    Parameters
    ----------
    instance : Instance
    """
    size = exact(instance.precision.activations) * instance.model.hidden
    return Ride(Fraction(whole(size, Rounding.UP, "activation bytes per token")), Riders.of(instance))
