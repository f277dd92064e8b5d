"""Memories off the wafer: how stages reach them over the wafer and links of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np

from mocap_opt.errors import InputError, Problem
from mocap_opt.units import exact
from mocap_opt.wafer.routing import Router, Shares
from mocap_opt.wafer.spec import PoolSpec
from mocap_opt.wafer.topology import Die, Node, Topology, node_name


@dataclass(frozen=True)
class PoolLink:
    """A directed link between the wafer and a pool.

    Attributes
    ----------
    node : Node
        The die, or the switch, at its end on the wafer.
    name : str
    bandwidth : Fraction
        Bytes per second.
    """

    node: Node
    name: str
    bandwidth: Fraction


def pool_nodes(topology: Topology, pool: PoolSpec) -> tuple[Node, ...]:
    """Where a pool has links: at the dies listed, at every living one, or at the switch.

    Parameters
    ----------
    topology : Topology
    pool : PoolSpec
    """
    if topology.kind == "switch":
        return (None,)
    return topology.dies if isinstance(pool.at, str) else pool.at


def pool_links(topology: Topology, pools: Sequence[PoolSpec]) -> tuple[PoolLink, ...]:
    """List the links of pools: pool by pool, die by die, there before back.

    Parameters
    ----------
    topology : Topology
    pools : sequence of PoolSpec
    """
    return tuple(
        PoolLink(node, name, exact(pool.link.bandwidth))
        for pool in pools
        for node in pool_nodes(topology, pool)
        for name in (f"{node_name(node)}>{pool.name}", f"{pool.name}>{node_name(node)}")
    )


def pool_bytes(pools: Sequence[PoolSpec]) -> int:
    """Bytes that all pools together hold."""
    return sum(ceil(exact(pool.memory_bytes)) for pool in pools)


def attach(
    topology: Topology, memories: Sequence[Sequence[Die]], pools: Sequence[PoolSpec], on_wafer: Shares
) -> Shares:
    """Add pools, and their links, to the link fractions of the memories on the wafer.

    Every rank goes to, and back from, the die nearest to it by hops at which the pool has a link, of equally
    near ones the first listed.

    Parameters
    ----------
    topology : Topology
    memories : sequence of sequence of Die
        Dies of each memory on the wafer, in the order of the ranks.
    pools : sequence of PoolSpec
    on_wafer : Shares
        Of these memories.

    Raises
    ------
    InputError
        If no living route joins a die with a pool.
    """
    router, known, links = Router(topology), len(memories), len(topology.links)
    more = len(pools)
    numerators = np.pad(on_wafer.numerators, ((0, len(pool_links(topology, pools))), (0, more), (0, more)))
    hops = np.pad(on_wafer.hops, ((0, more), (0, more)))
    for k, pool in enumerate(pools, start=known):
        nodes = pool_nodes(topology, pool)
        for a, dies in enumerate(memories):
            unit = on_wafer.denominator // len(dies)
            for die in dies:
                n, there, back = _nearest(router, die, nodes, pool)
                numerators[[*there, links + 2 * n], a, k] += unit
                numerators[[*back, links + 2 * n + 1], k, a] += unit
                hops[a, k] = max(hops[a, k], len(there))
                hops[k, a] = max(hops[k, a], len(back))
        links += 2 * len(nodes)
    return Shares(on_wafer.denominator, numerators, hops)


def _nearest(
    router: Router, die: Die, nodes: Sequence[Node], pool: PoolSpec
) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Which of a pool's nodes is nearest to a die, and the links of the wafer there and back."""
    index = router.topology.link_index
    ways: list[tuple[int, int, tuple[int, ...], tuple[int, ...]]] = []
    for n, node in enumerate(nodes):
        if node is None:
            ways.append((1, n, (index[die, None],), (index[None, die],)))
        elif router.reaches(die, node):
            there = router.route(die, node)
            ways.append((len(there), n, there, router.route(node, die)))
    if not ways:
        raise InputError(
            [
                Problem(
                    "wafer.pools",
                    f"no living route between die {node_name(die)} and {pool.name}",
                    "a way to every pool",
                    "give the pool links at other dies",
                )
            ]
        )
    _, n, there, back = min(ways)
    return n, there, back
