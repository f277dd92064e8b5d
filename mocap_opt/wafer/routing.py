"""Routes from die to die: dimension order, and a fixed shortest detour around dead parts."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

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
