"""Links and memory ports that active messages share max-min fairly, in exact arithmetic.

Rates come from progressive filling (Bertsekas & Gallager, *Data Networks*, section 6.5.2): all
messages' rates grow together, a message stops growing when a link or port on its way is full.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd, lcm

from mocap_opt.replay.event_queue import EventQueue, Stamp
from mocap_opt.replay.max_min_fairness import Resources, Way, progressive_filling
from mocap_opt.replay.transfers import Route
from mocap_opt.tables.cost_tables import Tables

MESSAGE = 0
"""Kind of the clock's events at which a message's last byte arrives."""


class NetworkError(RuntimeError):
    """A message ended with bytes left or to spare: the replay is wrong."""


class Flow:
    """A message on its way.

    Attributes
    ----------
    way : Way
    stage, chunk : int
        The chunk that released it.
    size : int, bytes
    began, ended : Stamp
    work : int
        What is left, bytes x `unit` x the clock's scale, as of `since`.
    unit : int
        Common denominator of the rates it has had.
    speed : int
        Its rate, bytes per tick x `unit`.
    history : list of (Stamp, numerator, denominator, resource)
        Its rates, bytes per tick, from when on, and the link or port that limits each.
    """

    __slots__ = (
        "began",
        "chunk",
        "ended",
        "event",
        "history",
        "rate",
        "since",
        "size",
        "speed",
        "stage",
        "unit",
        "way",
        "work",
    )

    def __init__(self, way: Way, stage: int, chunk: int, size: int, clock: EventQueue) -> None:
        self.way = way
        self.stage = stage
        self.chunk = chunk
        self.size = size
        self.began = clock.stamp()
        self.ended = self.began
        self.work = size * clock.scale
        self.unit = 1
        self.speed = 0
        self.since = clock.now
        self.event = -1
        self.rate: tuple[int, int, int] | None = None
        self.history: list[tuple[Stamp, int, int, int]] = []

    def rescale(self, factor: int) -> None:
        """Follow a clock refined by `factor`."""
        self.since *= factor
        self.work *= factor

    def advance(self, now: int) -> None:
        """Send until now at the rate so far."""
        self.work -= self.speed * (now - self.since)
        self.since = now


class Network:
    """The active messages and their rates.

    Parameters
    ----------
    tables : Tables
    routes : sequence of Route
        All routes that will be used; flows name them by position.
    clock : EventQueue
        Receives an event for the end of every message.
    """

    def __init__(self, tables: Tables, routes: Sequence[Route], clock: EventQueue) -> None:
        self.clock = clock
        self.resources = Resources(tables, routes)
        self.ways = self.resources.ways
        count = len(self.resources.capacity)
        # What the messages on a link or port would take if each moved as fast as it can alone: where
        # even that fits, the link or port limits nothing.
        self._full = self.resources.full
        self._demand = [0] * count
        self._members: list[dict[Flow, None]] = [{} for _ in range(count)]
        self._touched: dict[int, bool] = {}
        self._added: dict[Flow, None] = {}
        self._active: dict[Flow, None] = {}
        self._known: dict[tuple[int, ...], dict[int, tuple[int, int, int]]] = {}

    def send(self, route: int, stage: int, chunk: int, size: int) -> None:
        """Release a message now; it gets its rate from the next `share`.

        Parameters
        ----------
        route : int
            Index of the way.
        stage, chunk : int
            The chunk that releases it.
        size : int, bytes
        """
        flow = Flow(self.ways[route], stage, chunk, size, self.clock)
        self._active[flow] = None
        self._added[flow] = None
        self._count(flow, 1)

    def deliver(self, flow: Flow) -> None:
        """Take out a message whose last byte has arrived.

        Raises
        ------
        NetworkError
            If its rates did not add up to its size.
        """
        flow.advance(self.clock.now)
        # A time rounded up to the clock's resolution leaves less than one unit of time to spare.
        if not -flow.speed < flow.work <= 0:
            raise NetworkError(f"{flow.way.route}: {flow.size} bytes sent, not as many received")
        flow.ended = self.clock.stamp()
        del self._active[flow]
        self._count(flow, -1)

    def share(self) -> None:
        """Set the rates of all messages that this instant's changes can affect."""
        if not self._touched:
            return
        seeds: list[Flow] = list(self._added)
        for resource, was_full in self._touched.items():
            if was_full or self._demand[resource] > self._full[resource]:
                seeds.extend(self._members[resource])
        self._touched.clear()
        self._added.clear()
        seen: set[Flow] = set()
        for seed in seeds:
            if seed not in seen:
                self._share_component(*self._component(seed, seen))

    def _count(self, flow: Flow, sign: int) -> None:
        cap = sign * flow.way.cap
        for resource, share in flow.way.share.items():
            if resource not in self._touched:
                self._touched[resource] = self._demand[resource] > self._full[resource]
            self._demand[resource] += share * cap
            if sign > 0:
                self._members[resource][flow] = None
            else:
                del self._members[resource][flow]

    def _component(self, seed: Flow, seen: set[Flow]) -> tuple[list[Flow], set[int]]:
        """All messages connected to one through links and ports that may be full, and these."""
        seen.add(seed)
        found = [seed]
        visited: set[int] = set()
        for flow in found:
            for resource in flow.way.share:
                if resource in visited or self._demand[resource] <= self._full[resource]:
                    continue
                visited.add(resource)
                for other in self._members[resource]:
                    if other not in seen:
                        seen.add(other)
                        found.append(other)
        return found, visited

    def _share_component(self, flows: list[Flow], contended: set[int]) -> None:
        if len(flows) == 1:
            way = flows[0].way
            self._set_rate(flows[0], (way.cap_numerator, way.cap_denominator, way.cap_resource))
            return
        key = tuple(sorted([flow.way.index for flow in flows]))
        rates = self._known.get(key)
        if rates is None:
            users = {r: [flow.way.index for flow in self._members[r]] for r in contended}
            rates = progressive_filling(self.resources, key, users)
            self._known[key] = rates
        for flow in flows:
            self._set_rate(flow, rates[flow.way.index])

    def _set_rate(self, flow: Flow, rate: tuple[int, int, int]) -> None:
        if rate == flow.rate:
            return
        numerator, denominator, resource = rate
        clock = self.clock
        flow.history.append((clock.stamp(), numerator, denominator, resource))
        same = flow.rate is not None and flow.rate[:2] == rate[:2]
        flow.rate = rate
        if same:
            return
        flow.advance(clock.now)
        if flow.unit % denominator:
            factor = denominator // gcd(flow.unit, denominator)
            flow.unit *= factor
            flow.work *= factor
        flow.speed = numerator * (flow.unit // denominator)
        if flow.work % flow.speed:
            self._refine(flow.speed // gcd(flow.work, flow.speed))
        remaining = -(-flow.work // flow.speed)
        if flow.work % flow.speed:
            clock.rounded += 1
        flow.event = clock.push(clock.now + remaining, MESSAGE, flow)

    def _refine(self, factor: int) -> None:
        if self.clock.refine(factor):
            for flow in self._active:
                flow.rescale(factor)


def common_scale(network: Network, sizes: Sequence[Sequence[int]]) -> int:
    """Return the ticks' least subdivision in which every message alone in the network takes whole units.

    Parameters
    ----------
    network : Network
    sizes : sequence of sequence of int
        Bytes of all messages of every route.
    """
    scale = 1
    for way, each in zip(network.ways, sizes, strict=True):
        scale = lcm(scale, way.cap_numerator // gcd(way.cap_numerator, way.cap_denominator * gcd(*each)))
    return scale
