"""Latencies between memories, and the uncontended time of activations from stage to stage."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.tables.curves import Curve, curve, with_coefficient
from mocap_opt.tables.riders import Ride
from mocap_opt.tables.rounding import Polynomial, Rounding, whole

if TYPE_CHECKING:
    from mocap_opt.wafer.routing import Shares


def hop_ticks(
    shares: Shares, hop_latency: Fraction, tick: Fraction, behind: Sequence[Fraction] = ()
) -> IntArray:
    """Latency of the longest route between memories, int64[memory, memory], ticks, rounded to nearest.

    Parameters
    ----------
    shares : Shares
    hop_latency : Fraction
        Seconds of a hop.
    tick : Fraction
        Seconds.
    behind : sequence of Fraction
        What the link of each pool off the wafer adds, seconds; these memories are the last ones.
    """
    hops, extra = shares.hops, [Fraction(0), *behind]
    which = np.zeros_like(hops)
    for n in range(1, len(extra)):
        which[-n, :] = which[:, -n] = len(extra) - n
    np.fill_diagonal(which, 0)
    distinct, where = np.unique(np.stack([hops.ravel(), which.ravel()]), axis=1, return_inverse=True)
    ticks = [
        whole((count * hop_latency + extra[n]) / tick, Rounding.NEAREST, "hop latency in ticks")
        for count, n in distinct.T.tolist()
    ]
    return np.array(ticks, dtype=np.int64)[where.ravel()].reshape(hops.shape)


def send_times(
    shares: Shares, hops: IntArray, message: Sequence[int], link_rate: Sequence[int], riding: Ride
) -> tuple[Polynomial | Curve, ...]:
    """Uncontended time of activations from each stage to the next, by tokens of the chunk, ticks.

    send_i(l) = hops + the largest over links of lambda (l bytes + those of riders) / B_e, of the integer
    rates and hop ticks every replay uses.

    Parameters
    ----------
    shares : Shares
    hops : int64[stage, stage], ticks
    message : sequence of int
        Activation bytes per token of each stage.
    link_rate : sequence of int
        Bytes per tick of each link.
    riding : Ride
        Bytes of riders.
    """
    stages = len(message)
    times: list[Polynomial | Curve] = []
    for i in range(stages - 1):
        carried = shares.numerators[:, i, i + 1].tolist()
        slowest = max(Fraction(part, rate) for part, rate in zip(carried, link_rate, strict=True))
        each = slowest / shares.denominator
        riders = with_coefficient(riding, each * riding.coefficient)
        times.append(curve((Fraction(int(hops[i, i + 1])), each * message[i]), [riders]))
    return (*times, (Fraction(0),))
