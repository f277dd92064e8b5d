"""MOCAP: LBCP and MBKR, iterated until neither changes."""

from __future__ import annotations

from mocap_opt.arrays import IntArray
from mocap_opt.baselines.lbcp import lbcp, reallocation
from mocap_opt.baselines.mbkr import half_apart, mbkr
from mocap_opt.chunking.bottleneck_partition import Traffic
from mocap_opt.chunking.chunk_count_search import search_chunk_counts
from mocap_opt.chunking.longest_chunk_time import BottleneckTimes
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.homes.greedy import page_times
from mocap_opt.homes.proposal import Proposal, Selection, Shortage
from mocap_opt.homes.thresholds import greatest_thresholds
from mocap_opt.stopping import AskedToStop, StoppedError, never, stop_if
from mocap_opt.tables.cost_tables import Tables

ROUNDS = 8


def mocap(tables: Tables, asked_to_stop: AskedToStop = never) -> Proposal:
    """Chunks by `lbcp` counting the traffic of `mbkr`'s homes, homes by `mbkr`, in turn.

    Starts from all KV at home.  A fixed point is reached when the homes of the new chunks cause
    the traffic the chunks were made for; if none is within `ROUNDS` rounds, the notes say so and
    the best round counts.  Every count that may win is tried.
    """
    clock, selection = BottleneckTimes(tables), Selection(tables)
    partner, byte_times = half_apart(tables.stages), page_times(tables)

    def short(indices: IntArray, longest: int | None = None) -> Shortage | None:
        stop_if(asked_to_stop)
        return greatest_thresholds(tables, indices, partner, longest)[1]

    def fits(indices: IntArray) -> bool:
        return not selection.short(short(indices))

    def iterate(count: int, limits: LengthLimits, above: int, most: int | None) -> None:
        traffic: Traffic | None = None
        tried: list[IntArray] = []
        note = f"LBCP and MBKR reached no fixed point in {ROUNDS} rounds; the best round is kept"
        for n in range(1, ROUNDS + 1):
            walk = lbcp(clock, limits, count, traffic, fits, above, most)
            if walk is None or walk.indices is None:
                note = f"LBCP found no chunks in round {n}, for the traffic of the round before"
                break
            tried.append(walk.indices)
            if traffic is None:
                # Trials that fail without any traffic fail with it.
                above = max(above, walk.longest)
            thresholds, _ = greatest_thresholds(tables, walk.indices, partner)
            caused = reallocation(tables, thresholds, partner, byte_times)
            if caused == traffic:
                note = f"LBCP and MBKR agree after {n} round{'s' if n > 1 else ''}"
                break
            traffic = caused
        for indices in tried:
            if not selection.known(indices):
                selection.offer(indices, mbkr(tables, indices), (note,))

    try:
        search_chunk_counts(clock, selection, iterate, short)
    except StoppedError:
        return selection.proposal(stopped=True)
    return selection.proposal()
