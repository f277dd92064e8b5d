"""Memory over the slots, and KV homes given slot by slot within it.

Slots run from 0 to chunks + N - 2; stage i works on chunk t - i in slot t and its KV lives until
slot i + chunks - 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.homes.proposal import Homes, Shortage
from mocap_opt.schedule.schedule import overlay
from mocap_opt.stopping import AskedToStop, never, stop_if
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.reserve import plain_reserve


def produced(tables: Tables, indices: IntArray) -> IntArray:
    """Pages of its own that each stage has produced and not yet freed.

    Parameters
    ----------
    indices : int64[chunks + 1]
        Grid indices of the boundaries.

    Returns
    -------
    int64[stage, slot], pages
    """
    return in_slots(tables.pages[indices[1:]], tables.stages)


def room(
    tables: Tables, indices: IntArray, longest: int | None = None, *, interval: int | None = None
) -> IntArray:
    """Bytes left for this request's KV, int64[memory, slot]; negative if not even the rest fits.

    Parameters
    ----------
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    longest : int, optional
        The longest chunk that the reserve has to allow for, tokens; by default that of the boundaries.
    interval : int, optional
        W, if requests come again without end; slots are then those of an interval.
    """
    longest = int(np.diff(tables.grid[indices]).max()) if longest is None else longest
    free = tables.free_memory(tables.reserve(longest, endless=interval is not None))
    running = in_slots(np.ones(indices.size - 1, dtype=np.int64), tables.stages)
    prefixes = with_pools(tables, running * tables.prefix_bytes[: tables.stages, None])
    taken: IntArray = prefixes if interval is None else overlay([prefixes], [0], interval)
    return free[:, None] - taken


def with_pools(tables: Tables, rows: IntArray) -> IntArray:
    """Rows by stage as rows by memory: 0 where a memory has no stage.

    Parameters
    ----------
    tables : Tables
    rows : int64[stage, slot]
    """
    return np.pad(rows, ((0, len(tables.pools)), (0, 0)))


def in_slots(values: IntArray, stages: int) -> IntArray:
    """Values by chunk as rows int64[stage, slot], one slot later from stage to stage; 0 elsewhere.

    Parameters
    ----------
    values : int64[chunk]
    stages : int
    """
    slots = values.size + stages - 1
    # Row after row in memory, a row that is one slot longer comes one slot later each time.
    rows = np.zeros((stages, slots + 1), dtype=np.int64)
    rows[:, : values.size] = values
    return rows.ravel()[: stages * slots].reshape(stages, slots)


def reserve_varies(tables: Tables) -> bool:
    """Say whether the reserve depends on the longest chunk."""
    held = tables.queue_depth is not None and bool(tables.working_bytes.any())
    return held or not plain_reserve(tables)


def worst(excess: IntArray) -> Shortage | None:
    """Find the row of int64[memory, slot] with the largest excess, if any is positive."""
    memory, slot = np.unravel_index(int(excess.argmax()), excess.shape)
    short = int(excess[memory, slot])
    return Shortage(int(memory), int(slot), short) if short > 0 else None


def pooled_shortage(tables: Tables, indices: IntArray, longest: int | None = None) -> Shortage | None:
    """Whether all memories together are too small, wherever the KV goes.

    With equal page sizes the room of each memory counts in whole pages.  A memory that cannot
    hold what is not KV is short by itself.  The parameters are those of `room`.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    longest : int, optional
        The longest chunk that the reserve has to allow for, tokens; by default that of the boundaries.
    """
    left = room(tables, indices, longest)
    alone = worst(-left)
    if alone is not None:
        return alone
    size = tables.page_bytes
    if np.all(size == size[0]) and size[0] > 0:
        left = left // size[0] * size[0]
    excess = size @ produced(tables, indices) - left.sum(axis=0)
    slot = int(excess.argmax())
    return Shortage(None, slot, int(excess[slot])) if excess[slot] > 0 else None


@dataclass(frozen=True, eq=False)
class SlotPlacement:
    """Homes in the making.

    KV already placed never grows, so a page that fits now fits for its whole life (prefixes still to
    come are left room for).

    Attributes
    ----------
    tables : Tables
    chunks : int
    fresh : int64[chunk], pages
    future : int64[memory, slot], bytes
        What each memory's stage has produced and not yet freed.
    free : int64[memory, slot], bytes
        Room left; changed as pages are placed.
    pages : int64[stage, chunk, memory]
        Pages away from their stage; changed likewise.
    """

    tables: Tables
    chunks: int
    fresh: IntArray
    future: IntArray
    free: IntArray
    pages: IntArray

    @classmethod
    def begin(cls, tables: Tables, indices: IntArray) -> SlotPlacement | Homes:
        """Nothing placed yet; or the answer, if all fits at home or some memory has no room for the rest.

        Parameters
        ----------
        indices : int64[chunks + 1]
            Grid indices of the boundaries.
        """
        free = room(tables, indices)
        alone = worst(-free)
        if alone is not None:
            return Homes(None, alone)
        placement = cls.within(tables, indices, free)
        return Homes(placement.pages) if placement.keep_all() else placement

    @classmethod
    def within(cls, tables: Tables, indices: IntArray, free: IntArray) -> SlotPlacement:
        """Nothing placed yet, within given room.

        Parameters
        ----------
        indices : int64[chunks + 1]
            Grid indices of the boundaries.
        free : int64[memory, slot], bytes
            Room for the KV alone in the request's own slots; changed as pages are placed.
        """
        stages, chunks = tables.stages, indices.size - 1
        future = with_pools(tables, tables.page_bytes[:, None] * produced(tables, indices))
        pages = np.zeros((stages, chunks, tables.memories), dtype=np.int64)
        return cls(tables, chunks, np.diff(tables.pages[indices]), future, free, pages)

    def keep_all(self) -> bool:
        """Place everything at home if it fits there; nothing otherwise."""
        fits = bool(np.all(self.future <= self.free))
        if fits:
            np.subtract(self.free, self.future, out=self.free)
        return fits

    def in_order(self, order: IntArray, asked_to_stop: AskedToStop = never) -> Homes:
        """Home first; what does not fit goes to the first memory with room to spare, then with any.

        Parameters
        ----------
        order : int64[stage, memory]
            In which order memories are asked.
        asked_to_stop : callable
            Asked before every slot.

        Raises
        ------
        StoppedError
            If asked to stop.
        """
        ranked = order.tolist()
        for t in self.slots:
            stop_if(asked_to_stop)
            for i, left in self.keep(t):
                for available in self.rooms(i, t):
                    for k in ranked[i]:
                        moved = min(left, int(available[k]))
                        if moved:
                            self.put(i, t, k, moved)
                            left -= moved
                    if left == 0:
                        break
                if left:
                    return self.short(i, t, left)
        return Homes(self.pages)

    @property
    def slots(self) -> range:
        """The slots in order."""
        return range(self.chunks + self.tables.stages - 1)

    def running(self, slot: int) -> range:
        """Stages that work on a chunk in a slot."""
        return range(max(0, slot - self.chunks + 1), min(self.tables.stages - 1, slot) + 1)

    def size(self, stage: int) -> int:
        """Bytes of a page of a stage, at least 1."""
        return max(int(self.tables.page_bytes[stage]), 1)

    def keep(self, slot: int, sent: IntArray | None = None) -> list[tuple[int, int]]:
        """Let every stage keep what fits of its new pages, and list the stages and pages left over.

        Parameters
        ----------
        sent : int64[stage], pages, optional
            Not to be kept even where they fit.
        """
        spill: list[tuple[int, int]] = []
        for i in self.running(slot):
            new = int(self.fresh[slot - i])
            wanted = new if sent is None else max(new - int(sent[i]), 0)
            kept = min(wanted, self.most(i, slot, i))
            self.free[i, slot : i + self.chunks] -= kept * int(self.tables.page_bytes[i])
            if kept < new:
                spill.append((i, new - kept))
        return spill

    def rooms(self, stage: int, slot: int) -> Iterator[IntArray]:
        """Pages that each memory can take for as long as the stage needs them, int64[memory].

        First those with room to spare: room left after all that their own stage is still to produce
        within that time.  Then any.

        Parameters
        ----------
        stage, slot : int
            Which chunk's KV.

        Yields
        ------
        int64[memory], pages
        """
        life = slice(slot, stage + self.chunks)
        coming = np.maximum(self.future[:, life] - self.future[:, slot : slot + 1], 0)
        for foreseen in (coming, 0):
            available: IntArray = (self.free[:, life] - foreseen).min(axis=1) // self.size(stage)
            available[stage] = 0
            yield np.maximum(available, 0)

    def most(self, stage: int, slot: int, memory: int) -> int:
        """Pages that a memory can take for as long as the stage needs them.

        Parameters
        ----------
        stage, slot : int
            Which chunk's KV.
        memory : int
        """
        least = int(self.free[memory, slot : stage + self.chunks].min())
        return max(least, 0) // self.size(stage)

    def put(self, stage: int, slot: int, memory: int, pages: int) -> None:
        """Place pages of the chunk that a stage works on in a slot.

        Parameters
        ----------
        stage, slot : int
            Which chunk's KV.
        memory : int
        pages : int
            No more than `most`.
        """
        self.pages[stage, slot - stage, memory] += pages
        self.free[memory, slot : stage + self.chunks] -= pages * int(self.tables.page_bytes[stage])

    def short(self, stage: int, slot: int, pages: int) -> Homes:
        """No homes: pages that fit nowhere.

        Parameters
        ----------
        stage, slot : int
            Which chunk's KV.
        pages : int
        """
        return Homes(None, Shortage(stage, slot, pages * int(self.tables.page_bytes[stage])))
