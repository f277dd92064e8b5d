"""Boundaries with, for every stage, the least of all ways there and on; chunks deleted for a target.

Statement and proof: ``formulations/bounds.md``, `state_space`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.multiplier_program import program_for
from mocap_opt.bounds.partition_pricing import PartitionPricer
from mocap_opt.bounds.path_relaxation import whole_region
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.bounds.priced_partitions import PricedPartitions
from mocap_opt.flow_shop.partitions import NEVER
from mocap_opt.lower_bound import Scope
from mocap_opt.stopping import AskedToStop, StoppedError, never, stop_if
from mocap_opt.tables.cost_tables import Tables

Chunks = tuple[IntArray, IntArray]

MOST_ROUNDS = 12
"""Times that chunks are deleted for one target."""

WORTHWHILE = 0.02
"""Go on as long as a round deletes more than this part of the chunks."""


@dataclass(eq=False)
class StateSpace:
    """All partitions of an instance, and the chunks among them that a faster plan may have.

    Attributes
    ----------
    priced : PricedPartitions
        Of all partitions: what boundaries cost because of memory, in parts of a tick.
    setting : Setting
        What the bound is to hold for, and least sends.
    asked_to_stop : callable
        Asked at every position.
    allowed, alive : list of (int64[chunk], int64[chunk])
        Starts, in order, and ends by position: of the chunks that limits on lengths and counts allow, and of
        those that are left.
    """

    priced: PricedPartitions
    setting: Setting
    asked_to_stop: AskedToStop = never
    allowed: list[Chunks] = field(init=False)
    alive: list[Chunks] = field(init=False)

    @classmethod
    def of(cls, setting: Setting, asked_to_stop: AskedToStop = never) -> StateSpace | None:
        """All partitions with prices of memory; None if no plan keeps to count, lengths and pooled memory.

        Parameters
        ----------
        setting : Setting
        asked_to_stop : callable
        """
        if not setting.counts:
            return None
        pricer = PartitionPricer(setting, PooledMemory.of(setting.tables))
        region = whole_region(pricer, setting.counts[0], setting.counts[-1])
        if pricer.room(region) is None:
            return None
        weights = program_for(pricer).weights(region)
        weights = replace(weights, length_prices=np.zeros_like(weights.length_prices))
        return cls(pricer.price(region, weights), setting, asked_to_stop)

    def __post_init__(self) -> None:
        """Leave all chunks that are allowed."""
        region, tables = self.priced.region, self.tables
        point = np.arange(tables.steps + 1)
        allowed = point[:, None] < point[None, :]
        start, end = np.nonzero(allowed)
        allowed[start, end] = tables.chunk_allowed(start, end)
        inside = (point >= region.low[:, None]) & (point <= region.high[:, None])
        left = [np.nonzero(allowed & a[:, None] & b) for a, b in itertools.pairwise(inside)]
        self.allowed = [(a, b) for a, b in left]
        self.alive = self.allowed.copy()

    @property
    def tables(self) -> Tables:
        """The instance."""
        return self.priced.tables

    @cached_property
    def times(self) -> tuple[IntArray, IntArray]:
        """Work and least send of every chunk, parts of a tick; 0 for none.

        Two int64[stage, start x (G + 1) + end].  In lockstep the send counts as work: all that follows
        waits for it.
        """
        tables, parts = self.tables, self.priced.parts
        a, b = np.divmod(
            np.unique(np.concatenate([self.number(*chunks) for chunks in self.allowed])), tables.steps + 1
        )
        shape = tables.stages, (tables.steps + 1) ** 2
        work, send = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        stage, tail = np.arange(tables.stages)[:, None], (b == tables.steps).astype(np.int64)
        work[:, self.number(a, b)] = tables.tau(stage, a, b) * parts
        send[:, self.number(a, b)] = self.setting.send[stage, tail, b - a] * parts
        return (work + send, np.zeros_like(send)) if self.setting.scope is Scope.LOCKSTEP else (work, send)

    @property
    def blocks(self) -> bool:
        """Whether a chunk starts no earlier than the one before it does on the next stage."""
        return self.setting.scope is Scope.LOCKSTEP or self.tables.queue_depth == 1

    def number(self, a: IntArray, b: IntArray) -> IntArray:
        """Where `times` has chunks.

        Parameters
        ----------
        a, b : int64[chunk]
            Starts and ends.
        """
        return a * (self.tables.steps + 1) + b

    def _onward(self, j: int, a: IntArray, b: IntArray, after: IntArray) -> IntArray:
        """Longest way on from a chunk's start on each stage, int64[stage, chunk], given what follows."""
        work, send = self.times
        at, blocked = self.number(a, b), self.blocks and j + 1 < self.priced.region.positions
        ways = after[:, b]
        for i in range(self.tables.stages - 1, -1, -1):
            if i + 1 < self.tables.stages:
                np.maximum(ways[i], ways[i + 1] + send[i, at], out=ways[i])
            ways[i] += work[i, at]
            if i and blocked:
                np.maximum(ways[i], after[i - 1, b], out=ways[i])
        return ways

    def _least(self, at: IntArray, values: IntArray) -> IntArray:
        """Least value of each stage at each boundary, int64[stage, boundary]; boundaries in order."""
        least = np.full((self.tables.stages, self.tables.steps + 1), NEVER, dtype=np.int64)
        if at.size:
            first = np.flatnonzero(np.diff(at, prepend=-1))
            least[:, at[first]] = np.minimum(np.minimum.reduceat(values, first, axis=1), NEVER)
        return least

    def paid(self, j: int) -> IntArray:
        """What a boundary costs that ends the chunk at a position, int64[end], parts of a tick.

        Parameters
        ----------
        j : int
        """
        paid: IntArray = self.priced.per_page[j] * self.tables.pages
        return paid

    @property
    def size(self) -> int:
        """Chunks that are left, of all positions."""
        return sum(a.size for a, _ in self.alive)

    def backward(self) -> list[IntArray]:
        """Least over all endings of the longest way on from each stage, int64[stage, start], by position.

        Raises
        ------
        StoppedError
            If asked to stop.
        """
        region, stages = self.priced.region, self.tables.stages
        following = np.full((stages, self.tables.steps + 1), NEVER, dtype=np.int64)
        following[:, -1] = 0
        left = [following]
        for j in range(region.positions - 1, -1, -1):
            stop_if(self.asked_to_stop)
            a, b = self.alive[j]
            here = self._least(a, self._onward(j, a, b, np.minimum(left[-1] + self.paid(j), NEVER)))
            if j < region.optional:
                here[:, 0] = np.minimum(here[:, 0], left[-1][:, 0])
            left.append(here)
        return left[::-1]

    def delete(self, left: list[IntArray], limit: int) -> int:
        """Delete chunks whose cheapest ways there and on cost `limit` or more; return how many are left.

        Parameters
        ----------
        left : list of int64[stage, start]
            From `backward`.
        limit : int
            Parts of a tick.

        Raises
        ------
        StoppedError
            If asked to stop; what was deleted until then is rightly so.
        """
        before = self._nothing()
        for j in range(self.priced.region.positions):
            stop_if(self.asked_to_stop)
            a, b = self.alive[j]
            ways = self._onward(j, a, b, np.minimum(left[j + 1] + self.paid(j), NEVER))
            ways += before[:, a]
            kept = ways.max(axis=0, initial=0) < limit
            self.alive[j] = a[kept], b[kept]
            before = self._reached(j, before)
        return self.size

    def _nothing(self) -> IntArray:
        """When stages are free before any chunk, int64[stage, boundary]."""
        before = np.full((self.tables.stages, self.tables.steps + 1), NEVER, dtype=np.int64)
        before[:, 0] = 0
        return before

    def _reached(self, j: int, before: IntArray, *, priced: bool = True) -> IntArray:
        """When stages are free for what follows the chunks left at a position, given when they are before."""
        (a, b), (work, send) = self.alive[j], self.times
        order = np.argsort(b, kind="stable")
        a, b = a[order], b[order]
        at, free = self.number(a, b), before[:, a]
        for i in range(self.tables.stages):
            if i:
                np.maximum(free[i], free[i - 1] + send[i - 1, at], out=free[i])
                if self.blocks:
                    # With queues of one chunk the stage before starts its next one no earlier than this.
                    np.maximum(free[i - 1], free[i], out=free[i - 1])
            free[i] += work[i, at]
        reached: IntArray = np.minimum(self._least(b, free) + (self.paid(j) if priced else 0), NEVER)
        if j < self.priced.region.optional:
            reached[:, 0] = np.minimum(reached[:, 0], before[:, 0])
        return reached

    def beginnings(self, *, priced: bool) -> list[IntArray]:
        """Least over the beginnings left of when each stage is free, with or without prices, by position.

        int64[stage, boundary] each.
        """
        found = [self._nothing()]
        for j in range(self.priced.region.positions - 1):
            found.append(self._reached(j, found[-1], priced=priced))
        return found

    def cheapest(self, left: list[IntArray]) -> IntArray | None:
        """A partition that the relaxation likes, int64[chunks + 1], grid indices; None if there is none.

        Parameters
        ----------
        left : list of int64[stage, start]
            From `backward`.
        """
        region, boundaries = self.priced.region, [0]
        for j in range(region.positions):
            here = boundaries[-1]
            starts, ends = self.alive[j]
            ends = ends[starts == here]
            after = np.minimum(left[j + 1] + self.paid(j), NEVER)
            cost = self._onward(j, np.full_like(ends, here), ends, after).max(axis=0)
            least = int(cost.min(initial=NEVER))
            skipped = int(left[j + 1][:, 0].max()) if j < region.optional and here == 0 else NEVER
            if min(least, skipped) >= NEVER:
                return None
            if least < skipped:
                boundaries.append(int(ends[cost.argmin()]))
        return np.array(boundaries, dtype=np.int64)

    @cached_property
    def whole(self) -> list[IntArray]:
        """`backward` with all chunks left."""
        return self.backward()

    def least(self) -> int:
        """Ticks that no plan is faster than, with all chunks left; 0 if asked to stop."""
        try:
            return self.priced.ticks(int(self.whole[0][:, 0].max()))
        except StoppedError:
            return 0

    def limit(self, target: int) -> int:
        """What no plan faster than a target costs, parts of a tick.

        Parameters
        ----------
        target : int, ticks
        """
        return (target - 1) * self.priced.parts + self.priced.room_value + 1

    def narrow(self, target: int) -> int:
        """Leave chunks out for good that no plan faster than a target has; ticks as of `prove`.

        Parameters
        ----------
        target : int, ticks
            None that is tried later is higher.
        """
        proved = self.prove(target)
        self.allowed = self.alive
        self.__dict__.pop("whole", None)
        return proved

    def prove(self, target: int, on_partition: Callable[[IntArray], object] = lambda found: None) -> int:
        """Delete chunks, of all, that no plan faster than a target has; ticks that no plan is faster than.

        Parameters
        ----------
        target : int, ticks
            Any number.
        on_partition : callable
            Told of a partition that may be faster, if the target is not proved.
        """
        limit, proved = self.limit(target), 0
        self.alive = self.allowed.copy()
        size = self.size
        try:
            for n in range(MOST_ROUNDS):
                left = self.backward() if n else self.whole
                cost = int(left[0][:, 0].max())
                proved = target if cost >= limit else max(proved, self.priced.ticks(cost))
                if proved >= target:
                    return target
                before, size = size, self.delete(left, limit)
                if size > (1 - WORTHWHILE) * before:
                    break
            found = self.cheapest(self.backward())
            if found is not None:
                on_partition(found)
        except StoppedError:
            pass
        return proved
