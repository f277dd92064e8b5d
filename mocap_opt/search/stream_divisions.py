"""Partitions of a request into chunks to choose from: a family for each way to make chunks alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.baselines.uniform import equal_chunks
from mocap_opt.chunking.bottleneck_partition import min_max_partition
from mocap_opt.chunking.longest_chunk_time import BottleneckTimes
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.tables.cost_tables import Tables

MOST_COUNTS = 24
"""Counts tried for a request; more are sampled evenly in their logarithm."""

CAPS = (1.0, 1.25, 1.6, 2.2)
"""Caps on the length of a chunk that all requests keep to, times the least that all of them can keep to."""


@dataclass(frozen=True, eq=False)
class Chunking:
    """One division.

    Attributes
    ----------
    indices : int64[chunks + 1]
        Grid indices.
    longest : int
        Longest chunk by what the family of divisions evens out: ticks (tau + send) or tokens.
    """

    indices: IntArray
    longest: int


Options = tuple[Chunking, ...]
"""Divisions of one request, the longest chunk falling."""


def families(tables: Sequence[Tables]) -> Iterator[dict[int, Options]]:
    """Yield families of divisions, by the position of the tables; each has some for all of them.

    First those of the least longest chunk time for every count: the fastest where memory is ample.
    Then equal chunks, and those of the least longest chunk time within a cap on their length: the
    reserve grows with the longest chunk of any request, and the first chunks of even times are long.

    Parameters
    ----------
    tables : sequence of Tables
        One entry for each kind of request.
    """
    least = max((_shortest_cap(each) for each in tables), default=0)
    makers: list[Callable[[Tables], Options]] = [_even_times, _equal]
    makers += [partial(_even_times, cap=factor * least) for factor in CAPS]
    for make in makers:
        found = {number: make(each) for number, each in enumerate(tables)}
        if all(found.values()):
            yield found


def within(options: Options, longest: int) -> Chunking:
    """Return the division of the longest chunks that are not above `longest`, else of the shortest.

    Parameters
    ----------
    options : Options
        At least one; the longest chunk falling.
    longest : int
        In the unit of ``Chunking.longest``: ticks or tokens.
    """
    return next((option for option in options if option.longest <= longest), options[-1])


def _counts(tables: Tables, limits: LengthLimits) -> list[int]:
    counts = np.array(limits.counts(tables), dtype=np.int64)
    if counts.size > MOST_COUNTS:
        wanted = np.geomspace(counts[0], counts[-1], MOST_COUNTS)
        counts = np.unique(counts[np.searchsorted(counts, np.round(wanted))])
    found: list[int] = counts.tolist()
    return found


def _shortest_cap(tables: Tables) -> int:
    """Tokens of the longest chunk where the prompt is cut into as many equal chunks as may be."""
    counts = LengthLimits.of(tables).counts(tables)
    return -(-tables.steps // counts[-1]) * tables.quantum if counts else tables.tokens


def _even_times(tables: Tables, cap: float | None = None) -> Options:
    """For every count the division of the least longest chunk time, no chunk longer than `cap` tokens."""
    limits, clock = LengthLimits.of(tables), BottleneckTimes(tables)
    if cap is not None:
        limits = limits.at_most(max(int(cap) // tables.quantum, 1))
    walks = (
        min_max_partition(clock, limits, count, tables.exact_chunks) for count in _counts(tables, limits)
    )
    return _sorted([Chunking(w.indices, w.longest) for w in walks if w is not None and w.indices is not None])


def _equal(tables: Tables) -> Options:
    """Equal chunks of every count."""
    cuts = (equal_chunks(tables, count) for count in _counts(tables, LengthLimits.of(tables)))
    return _sorted([Chunking(cut, int(np.diff(tables.grid[cut]).max())) for cut in cuts if cut is not None])


def _sorted(found: list[Chunking]) -> Options:
    unlike = {chunking.indices.tobytes(): chunking for chunking in found}
    return tuple(sorted(unlike.values(), key=lambda chunking: (-chunking.longest, chunking.indices.size)))
