"""Routes: dimension order, a fixed shortest detour around dead parts, and the load each puts on links."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import lcm

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.errors import InputError, Problem
from mocap_opt.wafer.topology import Die, Node, Topology, node_name


class Router:
    """Routes on one topology.

    A route is as short as the living links allow: dimension order is a shortest path of the whole
    mesh or torus, and it is left only where a part of it is dead.

    Parameters
    ----------
    topology : Topology
    """

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._before: dict[Node, list[Node]] = {}
        for link in topology.links:
            self._before.setdefault(link.target, []).append(link.source)
        self._distances: dict[Die, dict[Node, int]] = {}

    def route(self, source: Die, target: Die) -> tuple[int, ...]:
        """Return the links a transfer between two dies takes, in order.

        Dimension order corrects the column first (along the row), then the row.  On a torus each
        goes the shorter way round, forwards if both are equally long.  If a link or die of that
        route is dead, the route is a shortest one over what is alive; where several are, each step
        is the first of: forwards, backwards along the row, forwards, backwards along the column.

        Parameters
        ----------
        source, target : Die
            Living dies.

        Returns
        -------
        tuple of int
            Indices into ``topology.links``; empty if the two are the same die.

        Raises
        ------
        InputError
            If no living route joins the two dies.
        """
        if source == target:
            return ()
        index = self.topology.link_index
        nodes = self._dimension_order(source, target)
        if any(hop not in index for hop in pairwise(nodes)):
            nodes = self._detour(source, target)
        return tuple(index[hop] for hop in pairwise(nodes))

    def reaches(self, source: Die, target: Die) -> bool:
        """Say whether a living route joins two dies.

        Parameters
        ----------
        source, target : Die
            Living dies.
        """
        return source in self._hops_to(target)

    def _dimension_order(self, source: Die, target: Die) -> list[Node]:
        """List the nodes of the route when nothing is dead."""
        if self.topology.kind == "switch":
            return [source, None, target]
        wraps = self.topology.kind == "torus"
        cols = _positions(source[1], target[1], self.topology.cols, wraps)
        rows = _positions(source[0], target[0], self.topology.rows, wraps)
        return [*((source[0], col) for col in cols), *((row, target[1]) for row in rows[1:])]

    def _detour(self, source: Die, target: Die) -> list[Node]:
        """List the nodes of the first shortest route over living links."""
        left = self._hops_to(target)
        if source not in left:
            raise InputError([_no_route(source, target)])
        nodes: list[Node] = [source]
        while nodes[-1] != target:
            here = nodes[-1]
            nodes.append(
                next(node for node in self.topology.successors[here] if left.get(node) == left[here] - 1)
            )
        return nodes

    def _hops_to(self, target: Die) -> dict[Node, int]:
        """Count hops to a die from every node that can reach it (breadth first, kept)."""
        if target not in self._distances:
            hops: dict[Node, int] = {target: 0}
            queue: deque[Node] = deque([target])
            while queue:
                node = queue.popleft()
                for earlier in self._before.get(node, ()):
                    if earlier not in hops:
                        hops[earlier] = hops[node] + 1
                        queue.append(earlier)
            self._distances[target] = hops
        return self._distances[target]


def _positions(start: int, end: int, size: int, wraps: bool) -> list[int]:
    """List the coordinates from start to end, both included, the shorter way."""
    forwards, backwards = (end - start) % size, (start - end) % size
    if wraps:
        step, count = (1, forwards) if forwards <= backwards else (-1, backwards)
    else:
        step, count = (1 if end >= start else -1), abs(end - start)
    return [(start + step * n) % size for n in range(count + 1)]


def _no_route(source: Die, target: Die) -> Problem:
    return Problem(
        "wafer.dead_links",
        f"none between dies {node_name(source)} and {node_name(target)}",
        "a living route between every two stages",
        "revive a die or link between them, or place all stages on one side with pipeline.placement",
    )


@dataclass(frozen=True, eq=False)
class Shares:
    """Link fractions of transfers between stages, and memories without a stage behind them.

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

    Parameters
    ----------
    senders, receivers : int
        Ranks of the two stages.

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
