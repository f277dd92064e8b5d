"""Links and ports as shared resources, and their max-min fair shares by progressive filling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

import numpy as np

from mocap_opt.replay.traffic import Whole, whole_type
from mocap_opt.replay.transfers import Route
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True, eq=False)
class Way:
    """A route and what it loads.

    Attributes
    ----------
    route : Route
    index : int
        Its position among the routes.
    share : dict of int to int
        Resource, and the units of it that a rate of one byte per tick takes.
    cap_numerator, cap_denominator : int, bytes per tick
        The rate of a message that has all links and ports to itself.
    cap_resource : int
        The link or port that sets that rate.
    cap : int
        That rate in 1 / `Resources.unit` bytes per tick.
    """

    route: Route
    index: int
    share: dict[int, int]
    cap_numerator: int
    cap_denominator: int
    cap_resource: int
    cap: int


class Resources:
    """The links and ports that can limit any of some routes.

    A resource that every route loads no more, in proportion to its capacity, than another one can
    never be full before that other, and is left out.

    Attributes
    ----------
    names : tuple of str
        ``"link 0,1>0,2"``, ``"memory 3"`` (its port).
    capacity : tuple of int
        Of links in 1 / share_denominator bytes per tick, of ports in bytes per tick.
    columns : tuple of dict of int to int
        Per resource, what every route that crosses it takes of it at one byte per tick.
    unit : int
        Common denominator of the rates that messages have alone.
    full : tuple of int
        `capacity` x `unit`.
    ways : tuple of Way
        One per route.
    load : int64[resource, route]
        What every route takes of every link and port of the tables, links first, before any is
        left out.
    """

    def __init__(self, tables: Tables, routes: Sequence[Route]) -> None:
        memories, links = tables.memories, len(tables.links)
        names = [*(f"link {name}" for name in tables.links), *map(tables.memory_name, range(memories))]
        self.load = np.zeros((links + memories, len(routes)), dtype=np.int64)
        for column, route in enumerate(routes):
            self.load[:links, column] = tables.share[:, route.source, route.destination]
            if route.port is not None:
                # A stage's own memory traffic crosses no link.
                self.load[:links, column] *= route.source != route.destination
                self.load[links + route.port, column] = 1
        capacity = [
            *(rate * tables.share_denominator for rate in tables.link_rate.tolist()),
            *tables.port_rate.tolist(),
        ]
        kept = _undominated(self.load, capacity)
        self.names = tuple(names[r] for r in kept)
        self.capacity = tuple(capacity[r] for r in kept)
        columns = self.load[kept].T.tolist()
        tightest = [_tightest(column, self.capacity) for column in columns]
        self.unit = lcm(*(cap.denominator for cap, _ in tightest))
        self.full = tuple(amount * self.unit for amount in self.capacity)
        self.columns = tuple(
            {route: share for route, share in enumerate(row) if share} for row in self.load[kept].tolist()
        )
        self.ways = tuple(
            Way(
                route,
                index,
                {resource: share for resource, share in enumerate(column) if share},
                cap.numerator,
                cap.denominator,
                resource,
                int(cap * self.unit),
            )
            for index, (route, column, (cap, resource)) in enumerate(
                zip(routes, columns, tightest, strict=True)
            )
        )


def _tightest(column: list[int], capacity: Sequence[int]) -> tuple[Fraction, int]:
    """Return the rate of a message alone on its way, bytes per tick, and the first resource to limit it."""
    return min((Fraction(capacity[r], share), r) for r, share in enumerate(column) if share)


def _undominated(load: Whole, capacity: Sequence[int]) -> list[int]:
    """Rows of `load` that no other row exceeds everywhere relative to capacity; of equal ones the first."""
    kind = whole_type(int(load.max(initial=0)) * max(capacity))
    used = np.flatnonzero(load.any(axis=1))
    rows, sizes = load[used].astype(kind), np.array(capacity, dtype=kind)[used]
    routes = np.count_nonzero(rows, axis=1)
    alive = np.ones(used.size, dtype=bool)
    for r in range(used.size):
        crossing = np.flatnonzero(rows[r])
        theirs, mine = rows[:, crossing] * sizes[r], rows[r, crossing] * sizes[:, None]
        above = (theirs >= mine).all(axis=1) & alive
        above[r] = False
        equal = above & (routes == routes[r]) & (theirs == mine).all(axis=1)
        alive[r] = not (above & ~equal).any() and not equal[:r].any()
    kept: list[int] = used[alive].tolist()
    return kept


def progressive_filling(
    resources: Resources, active: Sequence[int], contended: Mapping[int, Sequence[int]]
) -> dict[int, tuple[int, int, int]]:
    """Max-min fair rates of messages.

    Parameters
    ----------
    resources : Resources
    active : sequence of int
        The route of every message; a route with two messages is listed twice.
    contended : mapping of int to sequence of int
        Routes, as in `active`, of the messages on every link or port that these would overfill if
        each moved as fast as it can alone.  The others limit nothing.

    Returns
    -------
    dict of int to (int, int, int)
        By route: numerator and denominator of the rate of each of its messages, bytes per tick,
        and the link or port that limits it.
    """
    ways, columns = resources.ways, resources.columns
    growing = dict.fromkeys(active)
    rates: dict[int, tuple[int, int, int]] = {}
    # A route with two messages crosses its resources twice.
    crossed: dict[int, list[tuple[int, int]]] = {route: [] for route in growing}
    weight: dict[int, int] = {}
    left: dict[int, int] = {}
    level: dict[int, float] = {}
    for resource in sorted(contended):
        column, total = columns[resource], 0
        for route in contended[resource]:
            share = column[route]
            total += share
            crossed[route].append((resource, share))
        left[resource] = resources.capacity[resource]
        weight[resource], level[resource] = total, left[resource] / total
    # What is left of a resource is kept x scale, so that it stays an integer.
    scale = 1
    for route in sorted(growing, key=lambda route: (ways[route].cap, route)):
        # Rates grow together.  Before they reach this message's own limit, some shared link or port
        # may fill up: the one with the least left per unit of weight, where those that have stopped
        # growing no longer weigh, but have taken their part.
        while route in growing:
            way = ways[route]
            rate, stopped = (way.cap_numerator, way.cap_denominator, way.cap_resource), [route]
            if level:
                fullest = _first_to_fill(level, left, weight)
                amount, parts = left[fullest], weight[fullest] * scale
                if amount * way.cap_denominator < way.cap_numerator * parts:
                    common = gcd(amount, parts)
                    rate = (amount // common, parts // common, fullest)
                    stopped = [other for other in dict.fromkeys(contended[fullest]) if other in growing]
            if scale % rate[1]:
                factor = rate[1] // gcd(scale, rate[1])
                scale *= factor
                left = {resource: amount * factor for resource, amount in left.items()}
            scaled = rate[0] * (scale // rate[1])
            touched: set[int] = set()
            for other in stopped:
                rates[other] = rate
                del growing[other]
                for resource, share in crossed[other]:
                    weight[resource] -= share
                    left[resource] -= scaled * share
                    touched.add(resource)
            for resource in touched:
                if weight[resource]:
                    level[resource] = left[resource] / (weight[resource] * scale)
                else:
                    del level[resource], left[resource]
    return rates


def _first_to_fill(level: dict[int, float], left: dict[int, int], weight: dict[int, int]) -> int:
    """Return the resource with the least left per unit of weight, the first of several."""
    # Rounded quotients find the few candidates, exact ones decide.
    near = min(level.values()) * (1 + 1e-9)
    candidates = [resource for resource, quotient in level.items() if quotient <= near]
    best = candidates[0]
    for other in candidates[1:]:
        if left[other] * weight[best] < left[best] * weight[other]:
            best = other
    return best
