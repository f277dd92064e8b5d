"""Where dies, links and borders of stages lie on a picture; no drawing library in here.

Coordinates: x rightwards, y downwards, dies on whole numbers (column, row).  Dies behind a switch
stand in rows of about equal length, each with two stubs for its ports.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

from mocap_opt.tables.layout import Layout
from mocap_opt.wafer.pools import PoolLink
from mocap_opt.wafer.topology import Die, Link, neighbours

Point = tuple[float, float]
OFFSET = 0.12
"""How far a directed link lies from the line between its dies."""


@dataclass(frozen=True)
class DrawnDie:
    """A die.

    Attributes
    ----------
    x, y : float
    die : Die
        Row and column on the wafer.
    stage : int or None
        Whose it is; of dies that are memories without a stage, the memory's number.
    dead : bool
    memory_only : bool
        Whether it is memory, of a stage or without one, and does not compute.
    """

    x: float
    y: float
    die: Die
    stage: int | None
    dead: bool
    memory_only: bool


@dataclass(frozen=True)
class DrawnLink:
    """A directed link as a line, with its name."""

    x0: float
    y0: float
    x1: float
    y1: float
    name: str


@dataclass(frozen=True)
class Drawing:
    """All parts of a wafer.

    Attributes
    ----------
    rows, cols : int
        Of the picture.
    half : float
        Half the side of a die.
    dies : tuple of DrawnDie
        Dead ones as well.
    links : tuple of DrawnLink
        Living directed links, in the order of the tables: those to pools off the wafer are stubs.
    cuts : tuple of Point
        Where links between living dies are dead.
    borders : tuple of (Point, Point)
        Lines around every stage.
    labels : tuple of Point
        Where to write the number of every stage, and of memories without one.
    left, right, top, bottom : float
        The area to show; top < bottom.
    """

    rows: int
    cols: int
    half: float
    dies: tuple[DrawnDie, ...]
    links: tuple[DrawnLink, ...]
    cuts: tuple[Point, ...]
    borders: tuple[tuple[Point, Point], ...]
    labels: tuple[Point, ...]
    left: float
    right: float
    top: float
    bottom: float


def draw_wafer(layout: Layout) -> Drawing:
    """Lay a wafer out on a picture."""
    topology = layout.topology
    everything = [(row, col) for row in range(topology.rows) for col in range(topology.cols)]
    switch = topology.kind == "switch"
    cols = ceil(sqrt(len(everything))) if switch else topology.cols
    cols = cols if not switch or topology.rows == 1 else topology.cols
    place: dict[Die, Point] = {
        die: (float(n % cols), float(n // cols)) if switch else (float(die[1]), float(die[0]))
        for n, die in enumerate(everything)
    }
    rows = int(max(y for _, y in place.values())) + 1
    memories = (*layout.dies, *layout.pools)
    owner = {die: number for number, dies in enumerate(memories) for die in dies}
    living = set(topology.dies)
    computing = {die for ranks in layout.ranks for die in ranks}
    dies = tuple(
        DrawnDie(*place[die], die, owner.get(die), die not in living, die in owner.keys() - computing)
        for die in everything
    )
    margin = 0.95 if topology.kind == "torus" else 0.65
    return Drawing(
        rows=rows,
        cols=cols,
        half=0.3,
        dies=dies,
        links=(
            *(_line(link, place) for link in topology.links),
            *(_stub(link, n, place) for n, link in enumerate(layout.pool_links)),
        ),
        cuts=_cuts(layout, place),
        borders=_borders(place, owner),
        labels=tuple(_label([place[die] for die in own]) for own in memories),
        left=-margin,
        right=cols - 1 + margin,
        top=-margin,
        bottom=rows - 1 + margin,
    )


def _stub(link: PoolLink, number: int, place: dict[Die, Point]) -> DrawnLink:
    """A link to a pool below its die, in steps aside; at a switch, above the first die's left corner."""
    x, y = (-0.55, -0.4) if link.node is None else place[link.node]
    x += 0.06 * (number % 8 - 3.5)
    return DrawnLink(x, y + 0.3, x, y + 0.42, link.name)


def _line(link: Link, place: dict[Die, Point]) -> DrawnLink:
    if link.source is None or link.target is None:
        # A die's two ports at a switch: out on the right, in on the left.
        die = link.target if link.source is None else link.source
        if die is None:
            raise ValueError(f"link {link.name} has no die")
        x, y = place[die]
        x += -OFFSET if link.source is None else OFFSET
        return DrawnLink(x, y - 0.3, x, y - 0.46, link.name)
    (x0, y0), (x1, y1) = place[link.source], place[link.target]
    across, down = x1 - x0, y1 - y0
    if abs(across) + abs(down) > 1:
        # The way round a torus leaves on the far side.
        across, down = -_sign(across), -_sign(down)
        x1, y1 = x0 + 0.85 * across, y0 + 0.85 * down
    else:
        x1, y1 = x1 - 0.3 * across, y1 - 0.3 * down
    x0, y0 = x0 + 0.3 * across, y0 + 0.3 * down
    # On the right of the direction of travel, which is clockwise where y points down.
    right_x, right_y = -OFFSET * down, OFFSET * across
    return DrawnLink(x0 + right_x, y0 + right_y, x1 + right_x, y1 + right_y, link.name)


def _sign(value: float) -> float:
    return float((value > 0) - (value < 0))


def _cuts(layout: Layout, place: dict[Die, Point]) -> tuple[Point, ...]:
    topology = layout.topology
    living = set(topology.dies)
    found = []
    for die in topology.dies:
        for other in neighbours(topology.kind, topology.rows, topology.cols, die):
            if other in living and die < other and (die, other) not in topology.link_index:
                (x0, y0), (x1, y1) = place[die], place[other]
                near = abs(x1 - x0) + abs(y1 - y0) <= 1
                found.append(
                    ((x0 + x1) / 2, (y0 + y1) / 2) if near else (x0 - (x1 > x0) / 2, y0 - (y1 > y0) / 2)
                )
    return tuple(found)


def _borders(place: dict[Die, Point], owner: dict[Die, int]) -> tuple[tuple[Point, Point], ...]:
    """Edges of cells between a stage and anything else, each once."""
    at = {place[die]: stage for die, stage in owner.items()}
    found: set[tuple[Point, Point]] = set()
    for (x, y), stage in at.items():
        sides = (
            ((x - 1, y), (x - 0.5, y - 0.5), (x - 0.5, y + 0.5)),
            ((x + 1, y), (x + 0.5, y - 0.5), (x + 0.5, y + 0.5)),
            ((x, y - 1), (x - 0.5, y - 0.5), (x + 0.5, y - 0.5)),
            ((x, y + 1), (x - 0.5, y + 0.5), (x + 0.5, y + 0.5)),
        )
        found.update((start, end) for beside, start, end in sides if at.get(beside) != stage)
    return tuple(sorted(found))


def _label(points: list[Point]) -> Point:
    """The die next to the middle of a stage."""
    x = sum(p[0] for p in points) / len(points)
    y = sum(p[1] for p in points) / len(points)
    return min(points, key=lambda p: ((p[0] - x) ** 2 + (p[1] - y) ** 2, p))
