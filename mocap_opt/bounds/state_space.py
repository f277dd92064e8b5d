"""State-space relaxation: the recursion over boundaries, stage by stage the least of all ways to them.

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
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.stopping import AskedToStop, StoppedError, never, stop_if
from mocap_opt.tables.cost_tables import Tables

Chunks = tuple[IntArray, IntArray]

MOST_WORK = 2**27
"""Stages x positions x steps^2 up to which a round takes a few seconds at most."""

MOST_AMPLE_WORK = 2**30
"""The same where memory does not bind and somebody limits the time: then nothing proves as much."""

MOST_ROUNDS = 12
"""Times that chunks are deleted for one target."""

WORTHWHILE = 0.02
"""Go on as long as a round deletes more than this part of the chunks."""

RISE = 0.02
"""The first target lies this part above what is proved."""

MOST_TARGETS = 12
"""Targets that are tried: farther away after one that is proved, halfway back after one that is not."""


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

    def __post_init__(self) -> None:
        """Leave all chunks that are allowed."""
        region, tables = self.priced.region, self.tables
        point = np.arange(tables.steps + 1)
        length = point[None, :] - point[:, None]
        tail = (point == tables.steps).astype(np.int64)[None, :]
        allowed = (length > 0) & tables.length_allowed[tail, np.maximum(length, 0)]
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
            np.unique(np.concatenate([self._number(*chunks) for chunks in self.allowed])), tables.steps + 1
        )
        shape = tables.stages, (tables.steps + 1) ** 2
        work, send = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        stage, tail = np.arange(tables.stages)[:, None], (b == tables.steps).astype(np.int64)
        work[:, self._number(a, b)] = tables.tau(stage, a, b) * parts
        send[:, self._number(a, b)] = self.setting.send[stage, tail, b - a] * parts
        return (work + send, np.zeros_like(send)) if self.setting.scope is Scope.LOCKSTEP else (work, send)

    @property
    def blocks(self) -> bool:
        """Whether a chunk starts no earlier than the one before it does on the next stage."""
        return self.setting.scope is Scope.LOCKSTEP or self.tables.queue_depth == 1

    def _number(self, a: IntArray, b: IntArray) -> IntArray:
        """Where `times` has a chunk."""
        return a * (self.tables.steps + 1) + b

    def _onward(self, j: int, a: IntArray, b: IntArray, after: IntArray) -> IntArray:
        """Longest way on from a chunk's start on each stage, int64[stage, chunk], given what follows."""
        work, send = self.times
        at, blocked = self._number(a, b), self.blocks and j + 1 < self.priced.region.positions
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

    def _paid(self, j: int) -> IntArray:
        """What a boundary costs that ends the chunk at a position, int64[end], parts of a tick."""
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
            here = self._least(a, self._onward(j, a, b, np.minimum(left[-1] + self._paid(j), NEVER)))
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
        region, (work, send) = self.priced.region, self.times
        before = np.full_like(left[0], NEVER)
        before[:, 0] = 0
        for j in range(region.positions):
            stop_if(self.asked_to_stop)
            a, b = self.alive[j]
            ways = self._onward(j, a, b, np.minimum(left[j + 1] + self._paid(j), NEVER))
            ways += before[:, a]
            kept = ways.max(axis=0, initial=0) < limit
            self.alive[j] = a, b = a[kept], b[kept]
            order = np.argsort(b, kind="stable")
            a, b = a[order], b[order]
            at, free = self._number(a, b), before[:, a]
            for i in range(self.tables.stages):
                if i:
                    np.maximum(free[i], free[i - 1] + send[i - 1, at], out=free[i])
                    if self.blocks:
                        # With queues of one chunk the stage before starts its next one no earlier than this.
                        np.maximum(free[i - 1], free[i], out=free[i - 1])
                free[i] += work[i, at]
            reached = np.minimum(self._least(b, free) + self._paid(j), NEVER)
            if j < region.optional:
                reached[:, 0] = np.minimum(reached[:, 0], before[:, 0])
            before = reached
        return self.size

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
            after = np.minimum(left[j + 1] + self._paid(j), NEVER)
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
        limit, proved = (target - 1) * self.priced.parts + self.priced.room_value + 1, 0
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


def is_affordable(tables: Tables, *, limited: bool = False) -> bool:
    """Whether the instance is small enough for tables of all chunks at all positions.

    Parameters
    ----------
    tables : Tables
    limited : bool
        Whether somebody limits the time: then larger ones are, if no partition lacks memory.
    """
    counts = Setting(tables).counts
    work = tables.stages * (tables.steps + 1) ** 2 * max(counts, default=0)
    if not counts or work <= MOST_WORK:
        return bool(counts)
    if not limited or work > MOST_AMPLE_WORK:
        return False
    pricer = PartitionPricer(Setting(tables), PooledMemory.of(tables))
    region = whole_region(pricer, counts[0], counts[-1])
    return pricer.fits_all(region)


#: What the bound is called, by what it holds for.
NAMES = {Scope.ANY_EXECUTION: "state_space", Scope.LOCKSTEP: "slot_state_space"}


def slot_state_space(tables: Tables, asked_to_stop: AskedToStop = never) -> Bound | None:
    """Bound lockstep by the state-space relaxation.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        As of `state_space`.
    """
    return state_space(tables, scope=Scope.LOCKSTEP, asked_to_stop=asked_to_stop)


def state_space(
    tables: Tables,
    *,
    scope: Scope = Scope.ANY_EXECUTION,
    limited: bool = False,
    incumbent: int | None = None,
    known: int = 0,
    asked_to_stop: AskedToStop = never,
    on_partition: Callable[[IntArray], object] = lambda found: None,
) -> Bound | None:
    """Bound any execution, or lockstep, by the state-space relaxation.

    Parameters
    ----------
    tables : Tables
    scope : Scope
        What the bound is to hold for.
    limited : bool
        As of `is_affordable`.
    incumbent : int or None, ticks
        Latency of a known plan, rounded down: no higher target is tried.  It is no premise of the proof.
    known : int, ticks
        A bound on the same executions known already.
    asked_to_stop : callable
        Asked often; what was proved until then stands.
    on_partition : callable
        Told of partitions near the bound, int64[chunks + 1], grid indices; they need not fit.

    Returns
    -------
    Bound or None
        None if no plan keeps to count, lengths and pooled memory, the instance is too large, or nothing
        above what is known was proved.
    """
    if not is_affordable(tables, limited=limited):
        return None
    setting = Setting(tables, scope)
    pricer = PartitionPricer(setting, PooledMemory.of(tables))
    region = whole_region(pricer, setting.counts[0], setting.counts[-1])
    if pricer.room(region) is None or asked_to_stop():
        return None
    weights = program_for(pricer).weights(region)
    weights = replace(weights, length_prices=np.zeros_like(weights.length_prices))
    priced = pricer.price(region, weights)
    space = StateSpace(priced, setting, asked_to_stop)
    best = max(known, space.least())
    stride, missed = max(1, int(RISE * best)), incumbent
    if incumbent is not None and incumbent > best:
        best = max(best, space.narrow(incumbent))
        stride = min(stride, (incumbent - best) // 2)
    for _ in range(MOST_TARGETS):
        target = best + stride if incumbent is None else min(best + stride, incumbent)
        if target <= best or asked_to_stop():
            break
        proved = space.prove(target, on_partition)
        best = max(best, proved)
        missed = missed if proved >= target else target
        stride = 2 * stride if missed is None else (missed - best) // 2
    if best <= known:
        return None
    return Bound(NAMES[scope], best, scope, Evidence.SEARCH, "boundaries one by one")
