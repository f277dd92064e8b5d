"""All memories taken together: what a plan needs at least in each slot, and what there is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True, eq=False)
class PooledMemory:
    """The memory rows added over all memories (formulations/bounds.md, `crossing_pooled_memory`).

    Attributes
    ----------
    tables : Tables
    unit : int, bytes
        Greatest common divisor of the stages' pages: what a memory holds of KV is a multiple of it.
    """

    tables: Tables
    unit: int

    @classmethod
    def of(cls, tables: Tables) -> PooledMemory:
        """Take the rows of an instance."""
        return cls(tables, max(int(np.gcd.reduce(tables.page_bytes)), 1))

    def free(self, longest: int) -> IntArray:
        """Bytes each memory has for KV and prefixes, int64[memory]; negative if it has none.

        Parameters
        ----------
        longest : int
            Tokens of the longest chunk, at least.
        """
        return self.tables.free_memory(self.tables.reserve(longest))

    def need(self, boundaries: IntArray) -> IntArray:
        """KV alive in each slot, int64[slot], bytes; boundaries int64[chunks + 1] as grid indices."""
        need: IntArray = np.convolve(self.tables.pages[boundaries[1:]], self.tables.page_bytes)
        return need

    def room(self, chunks: int, longest: int) -> IntArray | None:
        """Bytes of KV that all memories together can hold, int64[slot].

        Parameters
        ----------
        chunks : int
        longest : int
            Tokens of the longest chunk, at least.

        Returns
        -------
        int64[slot] or None
            None if some memory overflows without any KV of the request.
        """
        free, prefix = self.free(longest), self.tables.prefix_bytes
        if ((free - prefix) < 0).any():
            return None
        slots = chunks + self.tables.stages - 1
        without = free // self.unit * self.unit
        room = np.full(slots, int(without.sum()), dtype=np.int64)
        if prefix.any():
            taken = without - (free - prefix) // self.unit * self.unit
            room -= np.convolve(taken[: self.tables.stages], np.ones(chunks, dtype=np.int64))
        return room

    def fits(self, boundaries: IntArray, longest: int) -> bool:
        """Whether all rows hold at these boundaries with a longest chunk of that many tokens.

        Parameters
        ----------
        boundaries : int64[chunks + 1]
            Grid indices.
        longest : int
            Tokens of the longest chunk.
        """
        room = self.room(boundaries.size - 1, longest)
        return room is not None and bool((self.need(boundaries) <= room).all())
