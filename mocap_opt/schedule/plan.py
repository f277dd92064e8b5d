"""A plan: decisions only, never times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.instance.pipeline import StageLayout
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True, order=True)
class Home:
    """KV of one chunk on one stage that lives away from that stage.

    Attributes
    ----------
    stage, chunk : int
        Whose KV; chunk 0 is the first non-empty one.
    memory : int
        Where it lives; never the stage's own memory.
    pages : int
        How much, whole pages, > 0.

    Examples
    --------
    One page of the second chunk's KV cache, which stage 0 keeps in the memory of stage 1:

    >>> from mocap_opt import Home
    >>> Home(stage=0, chunk=1, memory=1, pages=1)
    Home(stage=0, chunk=1, memory=1, pages=1)
    """

    stage: int
    chunk: int
    memory: int
    pages: int


@dataclass(frozen=True)
class Plan:
    """Chunk boundaries and homes of the KV cache.

    Empty chunks are left out, so ``chunks`` is the number of non-empty ones.  Whatever no entry
    of ``homes`` places elsewhere lives in its stage's own memory.

    Attributes
    ----------
    boundaries : tuple of int, tokens
        0 first, S last, strictly increasing.
    homes : tuple of Home
        The non-local homes, sorted, at most one per (stage, chunk, memory).
    fingerprint : str or None
        Fingerprint of the instance the plan was made for.
    layout : StageLayout or None
        Dies and layers of every stage, of a plan for an instance that leaves them open.

    Examples
    --------
    >>> from mocap_opt import Home, Plan
    >>> plan = Plan((0, 2, 4), (Home(stage=0, chunk=1, memory=1, pages=1),))
    >>> plan.chunks, plan.longest
    (2, 2)
    """

    boundaries: tuple[int, ...]
    homes: tuple[Home, ...] = ()
    fingerprint: str | None = None
    layout: StageLayout | None = None

    @property
    def chunks(self) -> int:
        """The number of non-empty chunks."""
        return len(self.boundaries) - 1

    @property
    def longest(self) -> int:
        """Length of the longest chunk, tokens."""
        return max(b - a for a, b in zip(self.boundaries, self.boundaries[1:], strict=False))

    def grid_indices(self, tables: Tables) -> IntArray:
        """Boundaries as grid indices, int64[chunks + 1].

        Raises
        ------
        ValueError
            If a boundary is not on the grid; `mocap_opt.schedule.verify` says so without raising.
        """
        wanted = np.asarray(self.boundaries, dtype=np.int64)
        index = np.minimum(np.searchsorted(tables.grid, wanted), tables.steps)
        if not np.array_equal(tables.grid[index], wanted):
            raise ValueError(f"boundaries {self.boundaries} are not all on the grid")
        return index.astype(np.int64)

    def remote_pages(self, tables: Tables) -> IntArray:
        """Pages by home, int64[stage, chunk, memory]; 0 on the stage's own memory."""
        pages = np.zeros((tables.stages, self.chunks, tables.memories), dtype=np.int64)
        for home in self.homes:
            pages[home.stage, home.chunk, home.memory] += home.pages
        return pages

    def all_pages(self, tables: Tables) -> IntArray:
        """Pages by home, the stage's own memory included, int64[stage, chunk, memory]."""
        pages = self.remote_pages(tables)
        produced = np.diff(tables.pages[self.grid_indices(tables)])
        own = np.arange(tables.stages)
        pages[own, :, own] = produced[None, :] - pages.sum(axis=2)
        return pages

    @classmethod
    def from_arrays(
        cls,
        tables: Tables,
        indices: Iterable[int],
        pages: IntArray | None = None,
        fingerprint: str | None = None,
    ) -> Plan:
        """Build a plan from grid indices and pages by home.

        Parameters
        ----------
        tables : Tables
        indices : iterable of int
            Grid indices, non-decreasing, 0 first and G last; repeated leading zeros (empty
            chunks) are dropped together with their rows of `pages`.
        pages : int64[stage, chunk, memory], optional
            Pages by home; entries on the stage's own memory are ignored.
        """
        given = [int(g) for g in indices]
        empty = next(j for j in range(len(given)) if j + 1 == len(given) or given[j + 1] > 0)
        homes: list[Home] = []
        if pages is not None:
            for i, j, k in zip(*np.nonzero(pages), strict=True):
                if i != k and j >= empty:
                    homes.append(Home(int(i), int(j) - empty, int(k), int(pages[i, j, k])))
        boundaries = tuple(int(tables.grid[g]) for g in given[empty:])
        return cls(boundaries, tuple(sorted(homes)), fingerprint)
