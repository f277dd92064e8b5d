"""What moves between dies: tensor-parallel collectives, activations, hops."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.tables.rounding import Polynomial, Rounding, whole
from mocap_opt.units import exact

if TYPE_CHECKING:
    from mocap_opt.instance import Instance
    from mocap_opt.tables.layout import Layout
    from mocap_opt.wafer.shares import Shares


def activation_bytes(instance: Instance) -> int:
    """Bytes of the activations of one token position, all prompts of the batch."""
    per_token = exact(instance.precision.activations) * instance.model.hidden * instance.workload.batch
    return whole(per_token, Rounding.UP, "activation bytes per token")


def collectives(instance: Instance, layout: Layout, stage: int) -> tuple[Fraction, Fraction]:
    """Time of a stage's tensor-parallel all-reduces: seconds per chunk, seconds per token.

    Two ring all-reduces of the activations per layer, each moving 2 (d - 1) / d of them over every
    link of the ring and taking 2 (d - 1) steps to the next die.  The ring is paced by the slowest
    living link inside the stage.  Nothing for one die.
    """
    dies = layout.dies[stage]
    d = len(dies)
    if d == 1:
        return Fraction(0), Fraction(0)
    times = 2 * len(layout.layers[stage])
    bandwidth = min(link.bandwidth for link in layout.topology.inner_links(dies))
    step = layout.topology.hop_latency * layout.topology.neighbour_hops
    data = exact(instance.precision.activations) * instance.model.hidden * instance.workload.batch
    return times * 2 * (d - 1) * step, times * Fraction(2 * (d - 1), d) * data / bandwidth


def hop_ticks(shares: Shares, hop_latency: Fraction, tick: Fraction) -> IntArray:
    """Latency of the longest route between stages, int64[stage, stage], ticks, rounded to nearest."""
    distinct, where = np.unique(shares.hops, return_inverse=True)
    ticks = [
        whole(hops * hop_latency / tick, Rounding.NEAREST, "hop latency in ticks")
        for hops in distinct.tolist()
    ]
    return np.array(ticks, dtype=np.int64)[where].reshape(shares.hops.shape)


def send_times(
    shares: Shares, hops: IntArray, message: Sequence[int], link_rate: Sequence[int]
) -> tuple[Polynomial, ...]:
    """Uncontended time of activations from each stage to the next, polynomials in tokens, ticks.

    send_i(l) = hops + the largest over links of lambda l bytes / B_e, of the integer rates and hop
    ticks every replay uses.

    Parameters
    ----------
    shares : Shares
    hops : int64[stage, stage], ticks
    message : sequence of int
        Activation bytes per token of each stage.
    link_rate : sequence of int
        Bytes per tick of each link.
    """
    stages = len(message)
    times: list[Polynomial] = []
    for i in range(stages - 1):
        carried = shares.numerators[:, i, i + 1].tolist()
        slowest = max(Fraction(part, rate) for part, rate in zip(carried, link_rate, strict=True))
        times.append((Fraction(int(hops[i, i + 1])), slowest * message[i] / shares.denominator))
    return (*times, (Fraction(0),))
