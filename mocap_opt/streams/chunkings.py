"""Divisions of a request to choose from: for every count, that of the least longest chunk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mocap_opt.heuristics.clock import ChunkClock
from mocap_opt.heuristics.limits import LengthLimits
from mocap_opt.heuristics.walk import least_trial
from mocap_opt.tables import IntArray, Tables

MOST_COUNTS = 24
"""Counts tried for a request; more are sampled evenly in their logarithm."""


@dataclass(frozen=True, eq=False)
class Chunking:
    """One division.

    Attributes
    ----------
    indices : int64[chunks + 1]
        Grid indices.
    longest : int, ticks
        Longest chunk, tau + send.
    """

    indices: IntArray
    longest: int


def chunkings(tables: Tables) -> tuple[Chunking, ...]:
    """Divisions by falling longest chunk; empty if none keeps to counts and lengths."""
    limits, clock = LengthLimits.of(tables), ChunkClock(tables)
    counts = np.array(limits.counts(tables), dtype=np.int64)
    if counts.size > MOST_COUNTS:
        wanted = np.geomspace(counts[0], counts[-1], MOST_COUNTS)
        counts = np.unique(counts[np.searchsorted(counts, np.round(wanted))])
    found: dict[bytes, Chunking] = {}
    for count in counts.tolist():
        walk = least_trial(clock, limits, count, tables.exact_chunks)
        if walk is not None and walk.indices is not None:
            found[walk.indices.tobytes()] = Chunking(walk.indices, walk.longest)
    return tuple(sorted(found.values(), key=lambda chunking: (-chunking.longest, chunking.indices.size)))


def within(options: tuple[Chunking, ...], longest: int) -> Chunking:
    """Return the division of the longest chunks that are not above `longest`, else of the shortest."""
    return next((option for option in options if option.longest <= longest), options[-1])
