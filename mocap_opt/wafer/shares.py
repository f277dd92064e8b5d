"""How a transfer between two stages spreads over the links."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import lcm

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.wafer.routing import Router
from mocap_opt.wafer.topology import Die, Topology


@dataclass(frozen=True, eq=False)
class Shares:
    """Link fractions of transfers between stages.

    Attributes
    ----------
    denominator : int
        Common denominator of ``numerators``.
    numerators : int64[link, stage, stage]
        Of a unit sent from stage a to b, ``numerators[e, a, b] / denominator`` crosses link e.
    hops : int64[stage, stage]
        Hops of the longest route between a die of a and the die of b it sends to; 0 for a = b.
    """

    denominator: int
    numerators: IntArray
    hops: IntArray


def overlaps(senders: int, receivers: int) -> Iterator[tuple[int, int, int]]:
    """Pair the tensor-parallel ranks of two stages.

    Each side's ranks hold equal intervals of [0, 1), in order; a rank sends to each rank of the
    other side what their intervals have in common.

    Yields
    ------
    rank, rank, numerator
        Sender, receiver and the length of the common part over ``lcm(senders, receivers)``.
    """
    common = lcm(senders, receivers)
    one, other = common // senders, common // receivers
    for r in range(senders):
        for s in range(r * one // other, -(-(r + 1) * one // other)):
            yield r, s, min((r + 1) * one, (s + 1) * other) - max(r * one, s * other)


def link_shares(topology: Topology, stages: Sequence[Sequence[Die]]) -> Shares:
    """Route every transfer between two stages and add up what each link carries.

    Parameters
    ----------
    topology : Topology
    stages : sequence of sequence of Die
        Dies of each stage, in the order of the tensor-parallel ranks.

    Raises
    ------
    InputError
        If two dies that must talk have no living route.
    """
    router = Router(topology)
    denominator = lcm(*(len(dies) for dies in stages))
    numerators = np.zeros((len(topology.links), len(stages), len(stages)), dtype=np.int64)
    hops = np.zeros((len(stages), len(stages)), dtype=np.int64)
    for a, senders in enumerate(stages):
        for b, receivers in enumerate(stages):
            if a == b:
                continue
            unit = denominator // lcm(len(senders), len(receivers))
            for r, s, part in overlaps(len(senders), len(receivers)):
                route = router.route(senders[r], receivers[s])
                numerators[list(route), a, b] += part * unit
                hops[a, b] = max(hops[a, b], len(route))
    return Shares(denominator, numerators, hops)
