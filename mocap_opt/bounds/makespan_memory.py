"""A lower bound on streams that knows memory: work and memory-time weighed (formulations/streams.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.schedule.requests import Request
from mocap_opt.schedule.schedule import queued_bytes
from mocap_opt.stopping import AskedToStop, never, stop_if
from mocap_opt.tables.cost_tables import Tables

FloatArray = npt.NDArray[np.float64]

RANGES = 8
"""Ranges of the longest chunk that are told apart."""

WEIGHTS = 9
"""Weights of work against memory-time that are tried for a range."""

MOST_WORK = 60_000_000
"""Requests x chunks x ranges x weights beyond which the bound is left out."""

SAFE = 1 - 2.0**-36
"""Taken off for rounding: a sum of n terms, none negative, errs by less than n 2^-52 of itself."""


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
    def times(self) -> IntArray:
        return self.tables.tau(np.arange(self.tables.stages)[:, None], *self.ends)

    @cached_property
    def length(self) -> IntArray:
        start, end = self.ends
        within = self.tables.length_allowed[(end == self.tables.steps).astype(np.int64), end - start]
        # Longer than any cap where limits on lengths forbid the chunk.
        far = np.iinfo(np.int64).max
        lengths: IntArray = np.where(within, self.tables.grid[end] - self.tables.grid[start], far)
        return lengths

    @cached_property
    def held(self) -> FloatArray:
        """Bytes x ticks a chunk's time keeps occupied: all KV up to its end, and the prefix."""
        tables, (_, end) = self.tables, self.ends
        there = tables.page_bytes[:, None] * tables.pages[end] + tables.prefix_bytes[:, None]
        occupied: FloatArray = (there * self.times.astype(np.float64)).sum(axis=0)
        return occupied

    def least(self, cost: FloatArray, cap: int) -> FloatArray:
        """Cheapest partitions into chunks within a cap on their length, tokens; inf if there are none.

        The count of chunks is not limited, which makes them no dearer.

        Parameters
        ----------
        cost : float64[weight, chunk]
        cap : int

        Returns
        -------
        float64[weight]
        """
        points = self.tables.steps + 1
        start, end = self.ends
        square = np.full((points, points, cost.shape[0]), np.inf)
        square[end, start] = np.where(self.length <= cap, cost, np.inf).T
        best = np.full((points, cost.shape[0]), np.inf)
        best[0] = 0.0
        for last in range(1, points):
            best[last] = (best[:last] + square[last, :last]).min(axis=0)
        cheapest: FloatArray = best[-1]
        return cheapest


def work_and_memory(requests: Sequence[Request], asked_to_stop: AskedToStop = never) -> Bound | None:
    """Bound the makespan of any execution by a stage's work and by the room of all memories over time.

    Returns
    -------
    Bound or None
        None if it would take too long, or no plan keeps to the limits on lengths.

    Raises
    ------
    StoppedError
        If asked to stop: a bound is one over all ranges of the longest chunk.
    """
    kinds: dict[int, _Chunks] = {id(r.tables): _Chunks(r.tables) for r in requests}
    size = sum(chunks.tables.steps**2 // 2 for chunks in kinds.values())
    if size * RANGES * WEIGHTS > MOST_WORK:
        return None
    number = {key: sum(id(r.tables) == key for r in requests) for key in kinds}
    stage = int(np.argmax(sum(number[key] * chunks.tables.phi[:, -1] for key, chunks in kinds.items())))
    first = min(request.release for request in requests)
    # The longest chunk of all requests, in bytes of activations, lies in one of these ranges.
    most = max(chunks.tables.tokens * chunks.each for chunks in kinds.values())
    edges = np.unique(np.geomspace(max(most // 256, 1), most, RANGES).astype(np.int64))
    values = []
    for low, high in pairwise([0, *edges.tolist()]):
        stop_if(asked_to_stop)
        room = _room(list(kinds.values()), number, low)
        values.append(_range_bound(kinds, number, stage, room, high))
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return None
    ticks = first + int(np.floor(min(finite) * SAFE))
    return Bound("work_and_memory", ticks, Scope.ANY_EXECUTION, Evidence.SEARCH, f"stage {stage}")


def _room(kinds: Sequence[_Chunks], number: dict[int, int], low: int) -> int:
    """Bytes all memories hold at most if some chunk takes more than `low` bytes of activations."""
    machine = kinds[0].tables
    # Whichever request that chunk is of, the reserve covers at least the least of these.
    held = np.min([chunks.tables.working_bytes * (low // chunks.each) for chunks in kinds], axis=0)
    together = np.sum(
        [number[id(c.tables)] * c.tables.working_bytes * c.tables.tokens for c in kinds], axis=0
    )
    sizes = [np.concatenate([c.tables.page_bytes, c.tables.prefix_bytes]) for c in kinds]
    unit = max(int(np.gcd.reduce(np.concatenate(sizes))), 1)
    reserve = machine.staging + queued_bytes(machine.queue_depth, held, together)
    free = np.maximum(machine.free_memory(reserve), 0)
    return int((free // unit * unit).sum())


def _range_bound(
    kinds: dict[int, _Chunks], number: dict[int, int], stage: int, room: int, high: int
) -> float:
    """The bound over all weights if no chunk takes more than `high` bytes of activations."""
    weight = np.linspace(0.0, 1.0, WEIGHTS)[:, None]
    total = np.zeros(WEIGHTS)
    for key, chunks in kinds.items():
        # Without any room, a chunk that keeps bytes for some time cannot run at all.
        over_time = chunks.held / room if room else np.where(chunks.held > 0, np.inf, 0.0)
        memory = (1 - weight) * over_time if room else over_time[None]
        total += number[key] * chunks.least(weight * chunks.times[stage] + memory, high // chunks.each)
    return float(total.max())
