"""Random networks of dies: small meshes with dead and slow links, routed around what is missing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np

Die = tuple[int, int]
Link = tuple[Die, Die]


@dataclass(frozen=True)
class Network:
    """The network's part of the tables; the fields are named alike."""

    links: tuple[str, ...]
    link_rate: np.ndarray
    share_denominator: int
    share: np.ndarray
    hop_ticks: np.ndarray
    dead: int  # directed links of the mesh that are missing


def random_network(
    rng: np.random.Generator, stages: int, *, rate: int, slow: float, dead: float, hop: int, wide: float
) -> Network:
    """Stages of one or two dies along a winding path over a mesh.

    Parameters
    ----------
    rng : numpy.random.Generator
    stages : int
    rate : int, bytes per tick
        Rate of a link that is not slow.
    slow, dead : float
        Chance of each directed link to be slow (a quarter to a half of the rate), and to be dead
        unless some die could then no longer be reached.
    hop : int, ticks
        Latency of a hop.
    wide : float
        Chance of each stage to have two dies.
    """
    sizes = [2 if rng.random() < wide else 1 for _ in range(stages)]
    columns = int(rng.integers(2, max(3, stages) + 1))
    rows = -(-sum(sizes) // columns)
    path = [(r, c if r % 2 == 0 else columns - 1 - c) for r in range(rows) for c in range(columns)]
    owned = [path[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(stages)]
    alive = [(a, b) for a in path for b in path if abs(a[0] - b[0]) + abs(a[1] - b[1]) == 1]
    whole = len(alive)
    for link in list(alive):
        rest = [other for other in alive if other != link]
        if rng.random() < dead and _all_reachable(path, rest):
            alive = rest
    rates = [rate if rng.random() >= slow else max(1, int(rate * rng.uniform(0.25, 0.5))) for _ in alive]

    denominator = lcm(*sizes)
    share = np.zeros((len(alive), stages, stages), dtype=np.int64)
    hops = np.zeros((stages, stages), dtype=np.int64)
    position = {link: e for e, link in enumerate(alive)}
    for a in range(stages):
        for b in range(stages):
            if a == b:
                continue
            for source, target, part in _split(owned[a], owned[b]):
                way = _route(alive, source, target)
                hops[a, b] = max(hops[a, b], len(way))
                for link in way:
                    share[position[link], a, b] += int(part * denominator)
    names = tuple(f"{a[0]},{a[1]}>{b[0]},{b[1]}" for a, b in alive)
    return Network(names, np.array(rates, dtype=np.int64), denominator, share, hops * hop, whole - len(alive))


def _split(sources: list[Die], targets: list[Die]) -> list[tuple[Die, Die, Fraction]]:
    """Ranks hold equal intervals of [0, 1); every pair of dies exchanges the overlap of its two."""
    parts = []
    for r, source in enumerate(sources):
        for s, target in enumerate(targets):
            low = max(Fraction(r, len(sources)), Fraction(s, len(targets)))
            high = min(Fraction(r + 1, len(sources)), Fraction(s + 1, len(targets)))
            if low < high:
                parts.append((source, target, high - low))
    return parts


def _route(alive: list[Link], source: Die, target: Die) -> list[Link]:
    """Links of a shortest way, the first one found."""
    came: dict[Die, Die] = {source: source}
    queue = deque([source])
    while queue:
        here = queue.popleft()
        for a, b in alive:
            if a == here and b not in came:
                came[b] = here
                queue.append(b)
    way: list[Link] = []
    while target != source:
        way.append((came[target], target))
        target = came[target]
    return way[::-1]


def _all_reachable(dies: list[Die], alive: list[Link]) -> bool:
    forward = _reached(dies[0], alive)
    backward = _reached(dies[0], [(b, a) for a, b in alive])
    return forward == backward == set(dies)


def _reached(start: Die, alive: list[Link]) -> set[Die]:
    reached, queue = {start}, deque([start])
    while queue:
        here = queue.popleft()
        fresh = [b for a, b in alive if a == here and b not in reached]
        reached.update(fresh)
        queue.extend(fresh)
    return reached
