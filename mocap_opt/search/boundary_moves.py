"""Moves of boundaries: runs of them shifted, one dropped, one added; and random perturbations.

The chunks of thousands of moves are few: those of the start, and each with one end or both shifted by one
of a few steps.  Moves are choices among these, so that a chunk is priced once however many moves share it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_lengths import within_limits
from mocap_opt.tables.cost_tables import Tables

MOST_ENTRIES = 4_000_000
"""Largest rows of times x chunks x moves priced at once; more moves are sampled."""

PERTURBED = 3
"""Runs that a perturbation shifts at most."""


@dataclass(frozen=True, eq=False)
class BoundaryMoves:
    """Many partitions of the prompt, all of one count.

    Attributes
    ----------
    start, end : int64[distinct]
        Grid indices of the ends of the chunks that occur.
    which : int64[chunk, move]
        Which of these each partition has in each place.
    """

    start: IntArray
    end: IntArray
    which: IntArray

    @classmethod
    def of(cls, boundaries: IntArray) -> BoundaryMoves:
        """Partitions as they are given.

        Parameters
        ----------
        boundaries : int64[move, chunks + 1]
            Grid indices.
        """
        start, end = boundaries.T[:-1], boundaries.T[1:]
        return cls(start.ravel(), end.ravel(), np.arange(start.size).reshape(start.shape))

    @property
    def size(self) -> int:
        """How many there are."""
        return int(self.which.shape[1])

    @property
    def boundaries(self) -> IntArray:
        """All of them as grid indices, int64[move, chunks + 1]."""
        return self.at(slice(None))

    def at(self, moves: int | slice | IntArray) -> IntArray:
        """Grid indices of some of them, int64[..., chunks + 1].

        Parameters
        ----------
        moves : int, slice or int64[...]
            Their numbers.
        """
        which = self.which.T[moves]
        last = self.end[which[..., -1:]]
        found: IntArray = np.concatenate([self.start[which], last], axis=-1)
        return found


def shift_moves(
    tables: Tables, indices: IntArray, rng: np.random.Generator, rows: int | None = None
) -> BoundaryMoves:
    """Shift each run of inner boundaries by each step.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    rng : numpy.random.Generator
        Draws the sample where there are more moves than `MOST_ENTRIES` allows.
    rows : int, optional
        Rows of times that are priced for every chunk; by default one for each stage.

    Returns
    -------
    BoundaryMoves
        Those that keep to the limits on lengths; a sample if there are too many.
    """
    chunks = indices.size - 1
    sizes = 2 ** np.arange(max(1, int(tables.steps).bit_length() - 3))
    steps = np.concatenate([sizes, -sizes])
    first, last = np.triu_indices(chunks - 1)
    run, step = (
        axis.ravel() for axis in np.meshgrid(np.arange(first.size), np.arange(steps.size), indexing="ij")
    )
    most = max(1, MOST_ENTRIES // ((rows or tables.stages) * chunks))
    if run.size > most:
        kept = np.sort(rng.choice(run.size, most, replace=False))
        run, step = run[kept], step[kept]
    first, last = first[run], last[run] + 1
    # Of every chunk: as it is, its end shifted by each step, both ends, its start.
    none = np.zeros(steps.size, dtype=np.int64)
    by_start = np.concatenate([[0], none, steps, steps])
    by_end = np.concatenate([[0], steps, steps, none])
    start, end = indices[:-1, None] + by_start, indices[1:, None] + by_end
    chunk = np.arange(chunks)[:, None]
    variant = np.where(chunk == first, 1, np.where(chunk == last, 1 + 2 * steps.size, 1 + steps.size)) + step
    which = np.where((chunk < first) | (chunk > last), 0, variant) + chunk * by_start.size
    inside = (start >= 0) & (end <= tables.steps) & (start < end)
    inside[inside] = tables.chunk_allowed(start[inside], end[inside])
    # Only the last chunk ends at the last grid point.
    inside[:-1] &= end[:-1] < tables.steps
    allowed = inside.ravel()
    number = np.cumsum(allowed) - 1
    which = which[:, allowed[which].all(axis=0)]
    return BoundaryMoves(start.ravel()[allowed], end.ravel()[allowed], number[which])


def count_moves(tables: Tables, indices: IntArray) -> list[BoundaryMoves]:
    """One boundary fewer, and one more in the middle of a chunk.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.

    Returns
    -------
    list of BoundaryMoves
        Of a chunk fewer and of a chunk more: those among them that the instance allows.
    """
    chunks = indices.size - 1
    inner = range(1, chunks)
    fewer = [np.delete(indices, j) for j in inner]
    middle = (indices[:-1] + indices[1:]) // 2
    more = [np.insert(indices, j + 1, middle[j]) for j in range(chunks) if middle[j] > indices[j]]
    found = [
        np.array(moves)
        for moves, count in ((fewer, chunks - 1), (more, chunks + 1))
        if moves and count in tables.counts
    ]
    return [BoundaryMoves.of(moves[within_limits(tables, moves)]) for moves in found]


def perturbed(tables: Tables, indices: IntArray, rng: np.random.Generator) -> IntArray:
    """Shift a few random runs of inner boundaries, by the average length of a chunk at most.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    rng : numpy.random.Generator

    Returns
    -------
    int64[chunks + 1]
        Grid indices, which may break the limits on lengths.
    """
    chunks, moved = indices.size - 1, indices.copy()
    if chunks < 2:
        return moved
    most = int(rng.integers(1, max(1, tables.steps // chunks) + 1))
    for _ in range(int(rng.integers(1, PERTURBED + 1))):
        first, last = sorted(rng.integers(1, chunks, 2).tolist())
        last = first if rng.random() < 0.5 else last
        moved[first : last + 1] += int(rng.integers(-most, most + 1))
    return moved
