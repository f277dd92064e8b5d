"""State-space relaxation: the recursion over boundaries, stage by stage the least of all ways to them.

Statement and proof: ``formulations/bounds.md``, `state_space`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

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
    sends : int64[stage, 2, G + 1], ticks
        Least sends by ``[stage, tail, k]``.
    asked_to_stop : callable
        Asked at every position.
    allowed, alive : bool[position, start, end]
        Chunks that limits on lengths and counts allow, and those that are left.
    """

    priced: PricedPartitions
    sends: IntArray
    asked_to_stop: AskedToStop = never
    allowed: npt.NDArray[np.bool_] = field(init=False)
    alive: npt.NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        """Leave all chunks that are allowed."""
        region, tables = self.priced.region, self.tables
        point = np.arange(tables.steps + 1)
        length = point[None, :] - point[:, None]
        tail = (point == tables.steps).astype(np.int64)[None, :]
        allowed = (length > 0) & tables.length_allowed[tail, np.maximum(length, 0)]
        inside = (point >= region.low[:, None]) & (point <= region.high[:, None])
        self.allowed = self.alive = allowed & inside[:-1, :, None] & inside[1:, None, :]

    @property
    def tables(self) -> Tables:
        """The instance."""
        return self.priced.tables

    @cached_property
    def times(self) -> tuple[IntArray, IntArray]:
        """Work and least send of every chunk, two int64[stage, start, end], parts of a tick; 0 for none."""
        tables, parts = self.tables, self.priced.parts
        a, b = np.nonzero(self.allowed.any(axis=0))
        shape = tables.stages, tables.steps + 1, tables.steps + 1
        work, send = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        stage, tail = np.arange(tables.stages)[:, None], (b == tables.steps).astype(np.int64)
        work[:, a, b] = tables.tau(stage, a, b) * parts
        send[:, a, b] = self.sends[stage, tail, b - a] * parts
        return work, send

    def _onward(self, j: int, after: IntArray) -> list[IntArray]:
        """Longest way on from a chunk's start on each stage, int64[start, end] each, given what follows."""
        work, send = self.times
        ways: list[IntArray] = []
        for i in range(self.tables.stages - 1, -1, -1):
            way = after[None, :, i]
            if ways:
                way = np.maximum(way, ways[-1] + send[i])
            way = way + work[i]
            if i and self.tables.queue_depth == 1 and j + 1 < self.priced.region.positions:
                way = np.maximum(way, after[None, :, i - 1])
            ways.append(np.where(self.alive[j], way, NEVER))
        return ways[::-1]

    def _paid(self, j: int) -> IntArray:
        """What a boundary costs that ends the chunk at a position, int64[end], parts of a tick."""
        paid: IntArray = self.priced.per_page[j] * self.tables.pages
        return paid

    def backward(self) -> list[IntArray]:
        """Least over all endings of the longest way on from each stage, int64[start, stage], by position.

        Raises
        ------
        StoppedError
            If asked to stop.
        """
        region, stages = self.priced.region, self.tables.stages
        following = np.full((self.tables.steps + 1, stages), NEVER, dtype=np.int64)
        following[-1] = 0
        left = [following]
        for j in range(region.positions - 1, -1, -1):
            stop_if(self.asked_to_stop)
            after = np.minimum(left[-1] + self._paid(j)[:, None], NEVER)
            here = np.stack([way.min(axis=1) for way in self._onward(j, after)], axis=1)
            if j < region.optional:
                here[0] = np.minimum(here[0], left[-1][0])
            left.append(np.minimum(here, NEVER))
        return left[::-1]

    def delete(self, left: list[IntArray], limit: int) -> int:
        """Delete chunks whose cheapest ways there and on cost `limit` or more; return how many are left.

        Parameters
        ----------
        left : list of int64[start, stage]
            From `backward`.
        limit : int
            Parts of a tick.

        Raises
        ------
        StoppedError
            If asked to stop; what was deleted until then is rightly so.
        """
        region, stages = self.priced.region, self.tables.stages
        work, send = self.times
        before = np.full((self.tables.steps + 1, stages), NEVER, dtype=np.int64)
        before[0] = 0
        for j in range(region.positions):
            stop_if(self.asked_to_stop)
            paid = self._paid(j)
            ways = self._onward(j, np.minimum(left[j + 1] + paid[:, None], NEVER))
            for i, way in enumerate(ways):
                self.alive[j] &= before[:, i, None] + way < limit
            reached = np.full_like(before, NEVER)
            end: IntArray | None = None
            for i in range(stages):
                start = np.broadcast_to(before[:, i, None], work[i].shape)
                if end is not None:
                    start = np.maximum(start, end + send[i - 1])
                    # With queues of one chunk the stage before starts its next one no earlier than this.
                    held = np.maximum(end, start) if self.tables.queue_depth == 1 else end
                    reached[:, i - 1] = np.where(self.alive[j], held, NEVER).min(axis=0)
                end = start + work[i]
            assert end is not None
            reached[:, -1] = np.where(self.alive[j], end, NEVER).min(axis=0)
            reached = np.minimum(reached + paid[:, None], NEVER)
            if j < region.optional:
                reached[0] = np.minimum(reached[0], before[0])
            before = reached
        return int(self.alive.sum())

    def cheapest(self, left: list[IntArray]) -> IntArray | None:
        """A partition that the relaxation likes, int64[chunks + 1], grid indices; None if there is none.

        Parameters
        ----------
        left : list of int64[start, stage]
            From `backward`.
        """
        region, boundaries = self.priced.region, [0]
        for j in range(region.positions):
            after = np.minimum(left[j + 1] + self._paid(j)[:, None], NEVER)
            here = boundaries[-1]
            cost = np.max([way[here] for way in self._onward(j, after)], axis=0)
            end = int(cost.argmin())
            skipped = int(left[j + 1][0].max()) if j < region.optional and here == 0 else NEVER
            if min(int(cost[end]), skipped) >= NEVER:
                return None
            if cost[end] < skipped:
                boundaries.append(end)
        return np.array(boundaries, dtype=np.int64)

    @cached_property
    def whole(self) -> list[IntArray]:
        """`backward` with all chunks left."""
        return self.backward()

    def least(self) -> int:
        """Ticks that no plan is faster than, with all chunks left; 0 if asked to stop."""
        try:
            return self.priced.ticks(int(self.whole[0][0].max()))
        except StoppedError:
            return 0

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
        size = int(self.alive.sum())
        try:
            for n in range(MOST_ROUNDS):
                left = self.backward() if n else self.whole
                cost = int(left[0][0].max())
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


def state_space(
    tables: Tables,
    *,
    limited: bool = False,
    incumbent: int | None = None,
    known: int = 0,
    asked_to_stop: AskedToStop = never,
    on_partition: Callable[[IntArray], object] = lambda found: None,
) -> Bound | None:
    """Bound any execution by the state-space relaxation.

    Parameters
    ----------
    tables : Tables
    limited : bool
        As of `is_affordable`.
    incumbent : int or None, ticks
        Latency of a known plan, rounded down: no higher target is tried.  It is no premise of the proof.
    known : int, ticks
        A bound on any execution known already.
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
    setting = Setting(tables)
    pricer = PartitionPricer(setting, PooledMemory.of(tables))
    region = whole_region(pricer, setting.counts[0], setting.counts[-1])
    if pricer.room(region) is None or asked_to_stop():
        return None
    weights = program_for(pricer).weights(region)
    weights = replace(weights, length_prices=np.zeros_like(weights.length_prices))
    priced = pricer.price(region, weights)
    space = StateSpace(priced, setting.send, asked_to_stop)
    best = max(known, space.least())
    stride, missed = max(1, int(RISE * best)), None
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
    return Bound("state_space", best, Scope.ANY_EXECUTION, Evidence.SEARCH, "boundaries one by one")
