"""The one-dimensional search: the least longest chunk time for every count, memory included."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from mocap_opt.heuristics.clock import ChunkClock
from mocap_opt.heuristics.limits import LengthLimits
from mocap_opt.heuristics.occupancy import reserve_varies
from mocap_opt.heuristics.proposal import HomeRule, Proposal, Shortage
from mocap_opt.heuristics.selection import Selection
from mocap_opt.heuristics.sweep import sweep
from mocap_opt.heuristics.walk import Traffic, Walk, least_trial
from mocap_opt.tables import IntArray, Tables

CAP_FACTOR = 0.8
CAPS = 8

MemoryRule = Callable[[Tables, IntArray], Shortage | None]
"""The memory row that boundaries break, or None if homes of some kind exist for them."""


def walks(
    clock: ChunkClock,
    limits: LengthLimits,
    count: int,
    short: Callable[[IntArray], bool],
    traffic: Traffic | None = None,
) -> Iterator[Walk]:
    """Partitions of at most `count` chunks (exactly, if the tables say so) worth placing.

    First the least longest chunk time that ignores memory; only if its boundaries do not fit,
    the least that does.  Where the reserve depends on the longest chunk, ever smaller limits on
    the lengths are tried as well, since they free memory at the price of time.

    Parameters
    ----------
    short : callable
        Whether boundaries do not fit the memories.
    """
    tables, exact = clock.tables, clock.tables.exact_chunks
    free = least_trial(clock, limits, count, exact, traffic=traffic)
    if free is None or free.indices is None:
        return
    if not short(free.indices):
        yield free
        return
    bounded = limits
    for _ in range(CAPS):
        found = least_trial(
            clock, bounded, count, exact, lambda p: not short(p), traffic=traffic, above=free.longest
        )
        if found is not None and found.indices is not None:
            yield found
        if not reserve_varies(tables):
            return
        widest = found.indices if found is not None and found.indices is not None else free.indices
        longest = min(int(np.diff(widest).max()), max(bounded.most, bounded.last_most))
        bounded = LengthLimits.of(tables, int(longest * CAP_FACTOR))
        if bounded.windows(count) is None:
            return
        free = least_trial(clock, bounded, count, exact, traffic=traffic) or free


def search(memory: MemoryRule, homes: HomeRule) -> Callable[[Tables], Proposal]:
    """Search the boundaries subject to `memory` and place the KV by `homes`.

    Exact for identical stages, affine c, no chunk limits and pooled memory with a fixed reserve;
    for unlike stages a chunk's time is the longest over the stages and the count is chosen by
    the estimate.
    """

    def propose(tables: Tables) -> Proposal:
        clock, limits, selection = ChunkClock(tables), LengthLimits.of(tables), Selection(tables)

        def short(indices: IntArray) -> bool:
            return selection.short(memory(tables, indices))

        def attempt(count: int) -> None:
            for walk in walks(clock, limits, count, short):
                if walk.indices is not None and not selection.known(walk.indices):
                    selection.offer(walk.indices, homes(tables, walk.indices))

        sweep(clock, limits, selection, attempt, short)
        return selection.proposal()

    return propose
