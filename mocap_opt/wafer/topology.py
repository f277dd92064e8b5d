"""What of a wafer is alive: dies, directed links and the bandwidth of each.

Dies are ``(row, column)``.  A mesh links every die with its neighbours in its row and column; a
torus also closes each row and column to a ring; a switch gives every die one port in and one out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from mocap_opt.units import exact
from mocap_opt.wafer.spec import WaferSpec

Die = tuple[int, int]
Node = Die | None
"""A die, or None for the switch in the middle."""

# Along the row before along the column, forwards before backwards: this order settles every tie
# between equally short detours.
DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))


def node_name(node: Node) -> str:
    """Name a node as link names do: ``"2,5"`` or ``"switch"``."""
    return "switch" if node is None else f"{node[0]},{node[1]}"


@dataclass(frozen=True)
class Link:
    """A living directed link.

    Attributes
    ----------
    source, target : Node
    bandwidth : Fraction
        Bytes per second.
    """

    source: Node
    target: Node
    bandwidth: Fraction

    @property
    def name(self) -> str:
        """Its name in tables and reports, ``"0,1>0,2"``."""
        return f"{node_name(self.source)}>{node_name(self.target)}"


@dataclass(frozen=True)
class Topology:
    """The living part of a wafer.

    Attributes
    ----------
    kind : str
        ``"mesh"``, ``"torus"`` or ``"switch"``.
    rows, cols : int
    dies : tuple of Die
        Living dies, row by row.
    links : tuple of Link
        Living directed links, by source row by row, then in the order of ``DIRECTIONS``.
    hop_latency : Fraction
        Seconds per hop.
    """

    kind: str
    rows: int
    cols: int
    dies: tuple[Die, ...]
    links: tuple[Link, ...]
    hop_latency: Fraction

    @cached_property
    def link_index(self) -> Mapping[tuple[Node, Node], int]:
        """Position of each link in ``links``, by its two ends."""
        return {(link.source, link.target): e for e, link in enumerate(self.links)}

    @cached_property
    def successors(self) -> Mapping[Node, tuple[Node, ...]]:
        """Where the living links out of each node lead, in the order of ``links``."""
        found: dict[Node, list[Node]] = {die: [] for die in self.dies}
        for link in self.links:
            found.setdefault(link.source, []).append(link.target)
        return {node: tuple(targets) for node, targets in found.items()}

    @property
    def neighbour_hops(self) -> int:
        """Hops between dies next to each other: 1, or 2 through a switch."""
        return 2 if self.kind == "switch" else 1

    def inner_links(self, dies: Iterable[Die]) -> tuple[Link, ...]:
        """Return the links among these dies, those to and from the switch included."""
        inside = {*dies, None}
        return tuple(link for link in self.links if link.source in inside and link.target in inside)

    def connected(self, dies: Iterable[Die]) -> bool:
        """Say whether these dies form one piece over living links among themselves."""
        wanted = set(dies)
        return bool(wanted) and self._piece(min(wanted), wanted) == wanted

    def pieces(self, dies: Iterable[Die]) -> tuple[tuple[Die, ...], ...]:
        """Split dies into pieces that living links among themselves join, row by row."""
        left, found = set(dies), list[tuple[Die, ...]]()
        while left:
            piece = self._piece(min(left), left)
            found.append(tuple(sorted(piece)))
            left -= piece
        return tuple(found)

    def _piece(self, start: Die, wanted: set[Die]) -> set[Die]:
        """What of these dies is joined with one of them."""
        seen: set[Node] = {start}
        frontier: list[Node] = [start]
        while frontier:
            for node in self.successors.get(frontier.pop(), ()):
                if node not in seen and (node is None or node in wanted):
                    seen.add(node)
                    frontier.append(node)
        return {node for node in seen if node is not None}


def neighbours(kind: str, rows: int, cols: int, die: Die) -> tuple[Die, ...]:
    """Return the dies linked with a die when nothing is dead, in the order of ``DIRECTIONS``.

    In a torus of two rows (or columns) the way round and the direct way are one link.

    Parameters
    ----------
    kind : str
        ``"mesh"``, ``"torus"`` or ``"switch"``.
    rows, cols : int
        Of the wafer.
    die : Die
    """
    if kind == "switch":
        return ()
    found: list[Die] = []
    for down, right in DIRECTIONS:
        row, col = die[0] + down, die[1] + right
        if kind == "torus":
            row, col = row % rows, col % cols
        if 0 <= row < rows and 0 <= col < cols and (row, col) != die and (row, col) not in found:
            found.append((row, col))
    return tuple(found)


def build_topology(wafer: WaferSpec) -> Topology:
    """Take the dead parts out of a wafer and slow its slow links, both in either direction."""
    dead = set(wafer.dead_dies)
    dies = tuple(
        (row, col) for row in range(wafer.rows) for col in range(wafer.cols) if (row, col) not in dead
    )
    normal = exact(wafer.link.bandwidth)
    links: tuple[Link, ...]
    if wafer.topology == "switch":
        links = tuple(Link(a, b, normal) for die in dies for a, b in ((die, None), (None, die)))
    else:
        cut = {frozenset(ends) for ends in wafer.dead_links}
        slow = {frozenset(link.between): exact(link.bandwidth) for link in wafer.slow_links}
        pairs = [(a, b) for a in dies for b in neighbours(wafer.topology, wafer.rows, wafer.cols, a)]
        living = [(a, b) for a, b in pairs if b not in dead and frozenset((a, b)) not in cut]
        links = tuple(Link(a, b, slow.get(frozenset((a, b)), normal)) for a, b in living)
    return Topology(wafer.topology, wafer.rows, wafer.cols, dies, links, exact(wafer.link.hop_latency))
