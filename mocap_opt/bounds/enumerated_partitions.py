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
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.flow_shop.partitions import NEVER, least_by_any_count
from mocap_opt.flow_shop.recursion import machine_ends
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.stopping import AskedToStop, StoppedError, never, stop_if
from mocap_opt.tables.cost_tables import Tables

#: Stages x most chunks x grid steps up to which partitions are listed (4 x 8 x 32 is a quarter).
MOST_WORK = 2**12
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
    paths : tuple of int64[stage], ticks
        The longest paths from the starts of these chunks on each stage to the end, first chunk first,
        as many as the queues are deep.
    """

    ends: tuple[int, ...]
    longest: int
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
        tables, steps = self.tables, self.tables.steps
        start, end = np.triu_indices(steps + 1, 1)
        allowed = tables.length_allowed[(end == steps).astype(np.int64), end - start]
        start, end = start[allowed], end[allowed]
        # Time of every chunk on every stage, [start, end, stage]; where no chunk may be, 0.
        self._work = np.zeros((steps + 1, steps + 1, tables.stages), dtype=np.int64)
        self._work[start, end] = tables.tau(np.arange(tables.stages), start[:, None], end[:, None])
        cost = np.full_like(self._work, NEVER)
        cost[start, end] = self._work[start, end]
        # Least time of each stage on all chunks before a boundary, and of the last stage on those after.
        self._before = least_by_any_count(cost.swapaxes(0, 1)).T
        self._after = least_by_any_count(cost[::-1, ::-1, -1])[::-1]

    def _starts(self, end: int) -> IntArray:
        """Where a chunk may start that ends at a boundary."""
        steps = self.tables.steps
        starts: IntArray = np.flatnonzero(self.tables.length_allowed[int(end == steps), end:0:-1])
        return starts

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
        allowed, floor = self._chunks_below(target)
        open_endings = [_Ending((self.tables.steps,), 0, ())]
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
            elif len(ending.ends) <= self.tables.max_chunks:
                open_endings += self._longer(
                    ending, np.flatnonzero(allowed[:, ending.ends[-1]]), floor, target
                )

    def _chunks_below(self, target: int) -> tuple[np.ndarray, IntArray]:
        """Chunks that a partition below the target may have, and the least start of a chunk.

        Returns
        -------
        allowed : bool[start, end]
        floor : int64[end]
            The least start of any chunk that ends there or later.
        """
        steps = self.tables.steps
        allowed = np.zeros((steps + 1, steps + 1), dtype=np.bool_)
        least = np.full(steps + 1, steps, dtype=np.int64)
        least[0] = 0
        for b in range(1, steps + 1):
            starts = self._starts(b)
            cross = self._work[starts, b].sum(axis=1)
            cross += self.setting.send[:, int(b == steps), b - starts].sum(axis=0)
            kept = starts[self._before[0, starts] + cross + self._after[b] < target]
            allowed[kept, b] = True
            if kept.size:
                least[b] = kept[0]
        floor: IntArray = np.minimum.accumulate(least[::-1])[::-1]
        return allowed, floor

    def _longer(self, ending: _Ending, starts: IntArray, floor: IntArray, target: int) -> Iterator[_Ending]:
        """Put one more chunk in front, where that may lead to a partition."""
        tables, end = self.tables, ending.ends[-1]
        tail = int(end == tables.steps)
        for start in starts.tolist():
            longest = max(ending.longest, int(tables.lengths[tail, end - start]))
            ends = (*ending.ends, start)
            if not self._may_fit(ends, longest, floor):
                continue
            path = self._path(self._work[start, end], self.setting.send[:, tail, end - start], ending.paths)
            if (self._before[:, start] + path).max() < target:
                yield _Ending(ends, longest, (path, *ending.paths)[: tables.queue_depth or 1])

    def _path(self, work: IntArray, send: IntArray, after: tuple[IntArray, ...]) -> IntArray:
        """The longest paths from the start of a chunk on each stage, given those of the chunks after it."""
        following = after[0] if after else np.zeros_like(work)
        if len(after) == self.tables.queue_depth:
            # Behind a full queue the stage before starts the chunk Q after it once this one starts.
            following = np.maximum(following, np.append(0, after[-1][:-1]) - work)
        # From the last stage backwards: the chunk's own way on, or the chunks after it on the stage.
        sent = np.append(send[-2::-1], 0)
        path: IntArray = machine_ends(following[::-1], work[::-1] + sent)[::-1] - sent[::-1]
        return path

    def _may_fit(self, ends: tuple[int, ...], longest: int, floor: IntArray) -> bool:
        """Whether the pool may hold what is alive in the slots that the first of these chunks decides.

        The boundaries before it are taken as low as any partition can have them, and prefixes left out.
        """
        free = self.memory.free(longest)
        if (free < 0).any():
            return False
        unit, stages = self.memory.unit, self.tables.stages
        known = list(ends)
        while len(known) < len(ends) + stages:
            known.append(int(floor[known[-1]]))
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
