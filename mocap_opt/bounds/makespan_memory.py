"""A lower bound on streams that knows memory: work and memory-time weighed (formulations/streams.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.forced_traffic import SAFE, ForcedTraffic, pooled_chunks
from mocap_opt.bounds.one_machine import Job
from mocap_opt.flow_shop.partitions import least_by_any_count
from mocap_opt.schedule.requests import Request
from mocap_opt.schedule.schedule import queued_bytes
from mocap_opt.stopping import AskedToStop, never, stop_if
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.reserve import rings

FloatArray = npt.NDArray[np.float64]

RANGES = 32
"""Ranges of the longest chunk that are told apart at most, fewer where chunks are many."""

LEAST_RANGES = 4
"""Ranges below which the bound is left out."""

WEIGHTS = 9
"""Weights of work against memory-time that are tried for a range."""

SUBTICKS = 64
"""Of a tick, in costs: each is rounded down."""

MOST = 2.0**57
"""Costs are cut off here, so that sums stay in 64 bits."""

MOST_WORK = 60_000_000
"""Requests x chunks x ranges x weights beyond which the bound is left out."""


@dataclass(frozen=True, eq=False)
class _Chunks:
    """Every chunk [a, b) of a request, on the first and the last grid index.

    Attributes
    ----------
    tables : Tables
    """

    tables: Tables

    @cached_property
    def each(self) -> int:
        """Activation bytes a token takes in the memory where it takes most."""
        return max(int(self.tables.working_bytes.max(initial=0)), 1)

    @cached_property
    def ends(self) -> tuple[IntArray, IntArray]:
        start, end = np.triu_indices(self.tables.steps + 1, 1)
        return start.astype(np.int64), end.astype(np.int64)

    @cached_property
    def length(self) -> IntArray:
        start, end = self.ends
        lengths: IntArray = self.tables.grid[end] - self.tables.grid[start]
        return lengths

    @cached_property
    def allowed(self) -> npt.NDArray[np.bool_]:
        """Whether the limits on lengths allow the chunk."""
        start, end = self.ends
        within = self.tables.length_allowed[(end == self.tables.steps).astype(np.int64), end - start]
        return np.asarray(within, dtype=np.bool_)

    @cached_property
    def shortest_longest(self) -> int:
        """Tokens of the longest chunk at least, whatever the division."""
        return -(-self.tables.tokens // max(self.tables.counts, default=1))

    @cached_property
    def least_longest(self) -> int:
        """Bytes of activations of the longest chunk at least, whatever the division."""
        return self.shortest_longest * self.each

    def taken(self, free: IntArray) -> IntArray:
        """Time a chunk occupies each stage at least, int64[stage, chunk], ticks.

        Parameters
        ----------
        free : int64[memory], bytes
            For KV and prefixes, at most.
        """
        forced = ForcedTraffic.of(self.tables, free)
        if forced is None:
            return self.tables.tau(np.arange(self.tables.stages)[:, None], *self.ends)
        return forced.occupancy(*self.ends, free)

    def held(self, taken: IntArray) -> FloatArray:
        """Bytes x ticks a chunk's time keeps occupied: all KV up to its end, and the prefix."""
        tables, (_, end) = self.tables, self.ends
        prefix = tables.prefix_bytes[: tables.stages, None]
        there = tables.page_bytes[:, None] * tables.pages[end] + prefix
        occupied: FloatArray = (there * taken.astype(np.float64)).sum(axis=0)
        return occupied

    def least(self, cost: FloatArray, cap: int, room: int) -> FloatArray:
        """Cheapest partitions into chunks that some limits allow; inf if there are none.

        The count of chunks is not limited, which makes them no dearer.

        Parameters
        ----------
        cost : float64[weight, chunk]
        cap : int
            Longest chunk, tokens.
        room : int
            Bytes of KV and prefixes that all memories together hold.

        Returns
        -------
        float64[weight]
        """
        points = self.tables.steps + 1
        start, end = self.ends
        square = np.full((points, points, cost.shape[0]), np.inf)
        steps = -(-cap // self.tables.quantum)
        allowed = self.allowed & (self.length <= cap) & pooled_chunks(self.tables, start, end, room, steps)
        square[end, start] = np.where(allowed, cost, np.inf).T
        cheapest: FloatArray = least_by_any_count(square)[-1]
        return cheapest


def weighed_costs(requests: Sequence[Request], asked_to_stop: AskedToStop = never) -> list[IntArray]:
    """What each request takes at least of one stage and of the room of all memories over time, weighed.

    Parameters
    ----------
    requests : sequence of Request
    asked_to_stop : callable
        Asked before each range of the longest chunk.

    Returns
    -------
    list of int64[weight, request], subticks
        One for each range of the longest chunk of all requests in which all have a partition.  Whatever
        the weight, no more than a tick is taken in a tick.  Empty if it would take too long.

    Raises
    ------
    StoppedError
        If asked to stop: a bound is one over all ranges of the longest chunk.
    """
    kinds: dict[int, _Chunks] = {id(r.tables): _Chunks(r.tables) for r in requests}
    size = sum(chunks.tables.steps**2 // 2 for chunks in kinds.values())
    ranges = min(RANGES, MOST_WORK // max(size * WEIGHTS, 1))
    if ranges < LEAST_RANGES:
        return []
    number = {key: sum(id(r.tables) == key for r in requests) for key in kinds}
    stage = int(np.argmax(sum(number[key] * chunks.tables.phi[:, -1] for key, chunks in kinds.items())))
    # The longest chunk of all requests, in bytes of activations, is one of these.
    least = max(chunks.least_longest for chunks in kinds.values())
    sizes = np.unique(
        np.concatenate([chunks.length[chunks.allowed] * chunks.each for chunks in kinds.values()])
    )
    sizes = sizes[sizes >= least]
    if not sizes.size:
        return []
    edges = np.unique(np.linspace(0, sizes.size, ranges + 1).astype(int)).tolist()
    found = []
    for low, high in pairwise(edges):
        stop_if(asked_to_stop)
        free = _free(list(kinds.values()), number, int(sizes[low]))
        costs = None if free is None else _range_costs(kinds, stage, free, int(sizes[high - 1]))
        if costs is not None:
            found.append(np.stack([costs[id(request.tables)] for request in requests], axis=1))
    return found


def least_over_ranges(
    requests: Sequence[Request], costs: Sequence[IntArray], value: Callable[[list[Job]], int]
) -> int:
    """What holds in every range of the longest chunk, by the weight that says most there, ticks.

    Parameters
    ----------
    requests : sequence of Request
    costs : sequence of int64[weight, request], subticks
        From `weighed_costs`; if there are none, nothing is proved.
    value : callable
        What a machine needs at least for jobs without tails; it scales with their times.
    """
    least = min((max(value(jobs(requests, row)) for row in each.tolist()) for each in costs), default=0)
    return least // SUBTICKS


def jobs(requests: Sequence[Request], costs: Sequence[int]) -> list[Job]:
    """Requests as jobs of what they share, subticks.

    Parameters
    ----------
    requests : sequence of Request
    costs : sequence of int, subticks
    """
    return [(r.release * SUBTICKS, cost, 0) for r, cost in zip(requests, costs, strict=True)]


def _free(kinds: Sequence[_Chunks], number: dict[int, int], low: int) -> IntArray | None:
    """Bytes each memory has for KV and prefixes at most if some chunk takes `low` bytes of activations.

    Returns
    -------
    int64[memory] or None
        None if some memory has no room for its prefix.
    """
    machine = kinds[0].tables
    # Whichever request that chunk is of, the reserve covers at least the least of these.
    held = np.min([chunks.tables.working_bytes * (low // chunks.each) for chunks in kinds], axis=0)
    together = np.sum(
        [number[id(c.tables)] * c.tables.working_bytes * c.tables.tokens for c in kinds], axis=0
    )
    # Rings are those of some request at least; buffers of feed-forward networks are left out.
    ring = np.max([rings(chunks.tables, chunks.shortest_longest) for chunks in kinds], axis=0)
    queued = queued_bytes(machine.queue_depth, held, together)
    free = machine.free_memory(machine.staging + queued + ring)
    prefix = np.max([chunks.tables.prefix_bytes for chunks in kinds], axis=0)
    return None if (free < prefix).any() else free


def _room(kinds: Sequence[_Chunks], free: IntArray) -> int:
    """Bytes of KV and prefixes that all memories hold, each a whole number of what these come in."""
    sizes = [np.concatenate([c.tables.page_bytes, c.tables.prefix_bytes]) for c in kinds]
    unit = max(int(np.gcd.reduce(np.concatenate(sizes))), 1)
    return int((free // unit * unit).sum())


def _range_costs(
    kinds: dict[int, _Chunks], stage: int, free: IntArray, high: int
) -> dict[int, IntArray] | None:
    """Least costs of every kind, int64[weight], if no chunk takes more than `high` bytes of activations.

    Returns
    -------
    dict or None
        None if some request has no such partition.
    """
    room = _room(list(kinds.values()), free)
    weight = np.linspace(0.0, 1.0, WEIGHTS)[:, None]
    found: dict[int, IntArray] = {}
    for key, chunks in kinds.items():
        taken = chunks.taken(free)
        held = chunks.held(taken)
        # Without any room, a chunk that keeps bytes for some time cannot run at all.
        over_time = held / room if room else np.where(held > 0, np.inf, 0.0)
        memory = (1 - weight) * over_time if room else over_time[None]
        least = chunks.least(weight * taken[stage] + memory, high // chunks.each, room)
        if not np.isfinite(least).all():
            return None
        # Work alone is added up in whole numbers.
        whole = (weight[:, 0] == 1.0) & (least < 2.0**53)
        safe = np.where(whole, least, least * SAFE) * SUBTICKS
        found[key] = np.floor(np.minimum(safe, MOST)).astype(np.int64)
    return found
