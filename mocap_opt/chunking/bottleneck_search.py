"""The one-dimensional search: the least longest chunk time for every count, memory included."""

from __future__ import annotations

from collections.abc import Callable

from mocap_opt.arrays import IntArray
from mocap_opt.chunking.bottleneck_partition import min_max_partition
from mocap_opt.chunking.chunk_count_search import sweep
from mocap_opt.chunking.longest_chunk_time import ChunkClock
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.homes.proposal import HomeRule, Proposal, Propose, Shortage
from mocap_opt.homes.selection import Selection
from mocap_opt.stopping import AskedToStop, StoppedError, never, stop_if
from mocap_opt.tables.cost_tables import Tables

MemoryRule = Callable[[Tables, IntArray, int | None], Shortage | None]
"""The memory row that boundaries break, or None if homes of some kind exist for them.

The last argument is the longest chunk that the reserve has to allow for, None for that of the boundaries.
"""


def search(memory: MemoryRule, homes: HomeRule) -> Propose:
    """Search the boundaries subject to `memory` and place the KV by `homes`.

    Exact for identical stages, affine c, no chunk limits and pooled memory with a fixed reserve;
    for unlike stages a chunk's time is the longest over the stages and the count is chosen by
    the estimate.  If the home rule fails where `memory` holds (pages of unlike sizes do not fill
    every memory), its own verdict takes the place of `memory`.
    """

    def propose(tables: Tables, asked_to_stop: AskedToStop = never) -> Proposal:
        clock, selection = ChunkClock(tables), Selection(tables)

        def short(indices: IntArray, longest: int | None = None) -> Shortage | None:
            stop_if(asked_to_stop)
            return memory(tables, indices, longest)

        def fits(indices: IntArray) -> bool:
            return not selection.short(short(indices))

        def placeable(indices: IntArray) -> bool:
            return homes(tables, indices, asked_to_stop).pages is not None

        def attempt(count: int, limits: LengthLimits, above: int, most: int | None) -> None:
            for allowed in (fits, placeable):
                walk = min_max_partition(
                    clock, limits, count, tables.exact_chunks, allowed, above=above, most=most
                )
                if walk is None or walk.indices is None or selection.known(walk.indices):
                    return
                placed = homes(tables, walk.indices, asked_to_stop)
                selection.offer(walk.indices, placed)
                if placed.pages is not None:
                    return

        try:
            sweep(clock, selection, attempt, short)
        except StoppedError:
            return selection.proposal(stopped=True)
        return selection.proposal()

    return propose
