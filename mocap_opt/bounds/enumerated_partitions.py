"""All partitions that a plan faster than a target can have, where there are few; the least path over them.

Statement and proof: ``formulations/bounds.md``, `enumerated_partitions`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.admission_gate import gated_path
from mocap_opt.bounds.crossing import crossing_pooled_memory
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.partition_states import StateSpace
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.bounds.state_space import state_space
from mocap_opt.flow_shop.recursion import machine_ends
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.stopping import AskedToStop, StoppedError, never, stop_if
from mocap_opt.tables.cost_tables import Tables

#: Stages x most chunks x grid steps up to which partitions are listed (4 x 8 x 32 is a quarter).
MOST_WORK = 2**13
#: Endings looked at for one target; most are dead ends where measured times rise and fall.
MOST_ENDINGS = 60_000


class TooManyError(Exception):
    """There are too many partitions, or dead ends on the way to them, below a target."""


def can_be_enumerated(tables: Tables) -> bool:
    """Whether an instance is small enough for its partitions to be listed."""
    return tables.stages * tables.max_chunks * tables.steps <= MOST_WORK


@dataclass(frozen=True, eq=False)
class _Ending:
    """The last chunks of a partition.

    Attributes
    ----------
    ends : tuple of int
        Boundaries from the last one, G, back to where the known chunks start; grid indices.
    longest : int
        Tokens of the longest of these chunks.
    paid : int
        Price of these boundaries, parts of a tick.
    paths : tuple of int64[stage]
        The longest paths from the starts of these chunks on each stage to the end, parts of a tick, first
        chunk first, as many as the queues are deep.
    """

    ends: tuple[int, ...]
    longest: int
    paid: int
    paths: tuple[IntArray, ...]


class PartitionEnumeration:
    """Lists partitions whose paths without traffic are shorter than a target, and which fit the pool.

    Parameters
    ----------
    setting : Setting
    memory : PooledMemory
    """

    def __init__(self, setting: Setting, memory: PooledMemory) -> None:
        self.setting, self.memory, self.tables = setting, memory, setting.tables
        self._space = StateSpace.of(setting)

    def below(self, target: int, asked_to_stop: AskedToStop = never) -> Iterator[tuple[int, IntArray]]:
        """List the partitions with their longest paths.

        Parameters
        ----------
        target : int, ticks
        asked_to_stop : callable
            Asked before each ending.

        Yields
        ------
        int, ticks
            The longest path through the partition, below the target.
        int64[chunks + 1]
            Its boundaries as grid indices.

        Raises
        ------
        StoppedError
            If asked to stop: there may be more.
        TooManyError
            If more than `MOST_ENDINGS` endings were looked at: there may be more.
        """
        space = self._space
        if space is None:
            return
        space.asked_to_stop = asked_to_stop
        if space.prove(target) >= target:
            return
        before, free = space.beginnings(priced=True), space.beginnings(priced=False)
        floors = [self._floor(*chunks) for chunks in space.alive]
        open_endings = [_Ending((self.tables.steps,), 0, 0, ())]
        looked_at = 0
        while open_endings:
            stop_if(asked_to_stop)
            looked_at += 1
            if looked_at > MOST_ENDINGS:
                raise TooManyError(f"more than {MOST_ENDINGS} endings")
            ending = open_endings.pop()
            if ending.ends[-1] == 0:
                indices = np.array(ending.ends[::-1], dtype=np.int64)
                if indices.size - 1 in self.tables.counts and self.memory.fits(indices, ending.longest):
                    path = gated_path(self.memory, indices, self.setting.send)
                    if path < target:
                        yield path, indices
            elif len(ending.ends) <= len(before):
                open_endings += self._longer(space, ending, before, free, floors, target)

    def _floor(self, starts: IntArray, ends: IntArray) -> IntArray:
        """The least start of any of these chunks that ends at a boundary or later, int64[boundary]."""
        least = np.full(self.tables.steps + 1, self.tables.steps, dtype=np.int64)
        np.minimum.at(least, ends, starts)
        floor: IntArray = np.minimum.accumulate(least[::-1])[::-1]
        return floor

    def _longer(
        self,
        space: StateSpace,
        ending: _Ending,
        before: list[IntArray],
        free: list[IntArray],
        floors: list[IntArray],
        target: int,
    ) -> Iterator[_Ending]:
        """Put one more chunk in front, where that may lead to a partition.

        Neither with prices, which know memory, nor without may it cost too much; each knows cases that the
        other does not.
        """
        tables, end, j = self.tables, ending.ends[-1], len(before) - len(ending.ends)
        starts = space.alive[j][0][space.alive[j][1] == end]
        at, tail = space.number(starts, np.full_like(starts, end)), int(end == tables.steps)
        work, send = space.times
        path = self._path(work[:, at], send[:, at], ending.paths)
        paid = ending.paid + int(space.paid(j)[end])
        cost = (before[j][:, starts] + path).max(axis=0, initial=0) + paid
        alone = (free[j][:, starts] + path).max(axis=0, initial=0)
        kept = np.flatnonzero((cost < space.limit(target)) & (alone < target * space.priced.parts))
        # Cheap ones last, as the last one is looked at first.
        for k in kept[np.argsort(-cost[kept], kind="stable")].tolist():
            start = int(starts[k])
            longest = max(ending.longest, int(tables.lengths[tail, end - start]))
            ends = (*ending.ends, start)
            if self._may_fit(ends, longest, floors[:j]):
                paths = (path[:, k].copy(), *ending.paths)[: tables.queue_depth or 1]
                yield _Ending(ends, longest, paid, paths)

    def _path(self, work: IntArray, send: IntArray, after: tuple[IntArray, ...]) -> IntArray:
        """The longest paths from the starts of chunks on each stage, given those of the chunks after them.

        int64[stage, chunk].
        """
        following = np.zeros_like(work)
        if after:
            following += after[0][:, None]
        if len(after) == self.tables.queue_depth:
            # Behind a full queue the stage before starts the chunk Q after it once this one starts.
            following = np.maximum(following, np.append(0, after[-1][:-1])[:, None] - work)
        # From the last stage backwards: the chunk's own way on, or the chunks after it on the stage.
        sent = np.concatenate([send[-2::-1] if len(send) > 1 else send[:0], np.zeros_like(send[:1])])
        path: IntArray = machine_ends(following[::-1], work[::-1] + sent)[::-1] - sent[::-1]
        return path

    def _may_fit(self, ends: tuple[int, ...], longest: int, floors: list[IntArray]) -> bool:
        """Whether the pool may hold what is alive in the slots that the first of these chunks decides.

        The boundaries before it are taken as low as chunks of the positions before leave them, and prefixes
        left out.
        """
        free = self.memory.free(longest)
        if (free < 0).any():
            return False
        unit, stages = self.memory.unit, self.tables.stages
        known = list(ends)
        for floor in floors[: -stages - 1 : -1]:
            known.append(int(floor[known[-1]]) if known[-1] else 0)
        known += [0] * (len(ends) + stages - len(known))
        pages, first = self.tables.pages[known], len(ends) - 1
        room = int((free // unit * unit).sum())
        return all(
            int(self.tables.page_bytes @ pages[r : r + stages]) <= room
            for r in range(max(0, first - stages + 1), first + 1)
        )


#: Partitions below a target beyond which a lower one is tried.
MOST_PARTITIONS = 2000
#: Targets tried, and how far the first is above the bound that is known, as a part of it.
MOST_TARGETS = 12
STRIDE = 0.005


@dataclass(frozen=True, eq=False)
class EnumeratedPartitions:
    """Every partition that a plan faster than a target can have.

    Attributes
    ----------
    target : int, ticks
        No plan of any other partition is faster.
    partitions : tuple of (int, int64[chunks + 1])
        Longest path, ticks, and boundaries as grid indices; least path first.
    """

    target: int
    partitions: tuple[tuple[int, IntArray], ...]

    def bound(self) -> Bound:
        """What no plan of any partition beats."""
        ticks = self.partitions[0][0] if self.partitions else self.target
        note = f"{len(self.partitions)} partitions listed"
        return Bound("enumerated_partitions", ticks, Scope.ANY_EXECUTION, Evidence.SEARCH, note)


def enumerated_partitions(tables: Tables, asked_to_stop: AskedToStop = never) -> Bound | None:
    """Bound any execution by the least path of any partition; see `least_partitions`.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        Asked often; what was proved until then stands.
    """
    found = least_partitions(tables, asked_to_stop)
    return None if found is None else found.bound()


def least_partitions(
    tables: Tables,
    asked_to_stop: AskedToStop = never,
    *,
    incumbent: int | None = None,
    known: int = 0,
) -> EnumeratedPartitions | None:
    """List the partitions of the least paths, below a target that leaves a few.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        Checked often; what was proved until then stands.
    incumbent : int or None, ticks
        Latency of a known plan, rounded down: no higher target is tried.
    known : int, ticks
        A bound on any execution known already.

    Returns
    -------
    EnumeratedPartitions or None
        None if nothing above what is known was proved, or the instance is too large.
    """
    setting = Setting(tables)
    if not can_be_enumerated(tables) or not setting.counts:
        return None
    pooled = crossing_pooled_memory(tables, asked_to_stop)
    if pooled is None:
        return None
    proved = known = max(known, pooled.ticks)
    relaxed = state_space(tables, incumbent=incumbent, known=known, asked_to_stop=asked_to_stop)
    proved = proved if relaxed is None else relaxed.ticks
    few = PartitionEnumeration(setting, PooledMemory.of(tables))
    stride = max(1, int(STRIDE * proved))
    for _ in range(MOST_TARGETS):
        target = proved + stride if incumbent is None else min(proved + stride, incumbent)
        if target <= proved:
            break
        try:
            found = list(islice(few.below(target, asked_to_stop), MOST_PARTITIONS + 1))
        except StoppedError:
            break
        except TooManyError:
            found = None
        if found is None or len(found) > MOST_PARTITIONS:
            stride = (target - proved) // 4
        elif found:
            found.sort(key=lambda listed: (listed[0], listed[1].tolist()))
            return EnumeratedPartitions(target, tuple(found))
        else:
            proved, stride = target, 2 * stride
    return EnumeratedPartitions(proved, ()) if proved > known else None
