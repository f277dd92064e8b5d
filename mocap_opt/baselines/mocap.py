"""MOCAP: LBCP and MBKR, iterated until neither changes."""

from __future__ import annotations

from mocap_opt.arrays import IntArray
from mocap_opt.baselines.lbcp import lbcp, reallocation
from mocap_opt.baselines.mbkr import half_apart, mbkr, pair_shortage
from mocap_opt.chunking.bottleneck_partition import Traffic
from mocap_opt.chunking.chunk_count_search import CountTrial, search_chunk_counts, stoppable_rows
from mocap_opt.chunking.longest_chunk_time import BottleneckTimes
from mocap_opt.homes.greedy import page_times
from mocap_opt.homes.proposal import Selection, best_offered
from mocap_opt.homes.thresholds import greatest_thresholds
from mocap_opt.stopping import AskedToStop

ROUNDS = 8
"""Of LBCP and MBKR in turn, at most."""


def _offer_mocap(selection: Selection, asked_to_stop: AskedToStop) -> None:
    tables = selection.tables
    clock, partner, byte_times = BottleneckTimes(tables), half_apart(tables.stages), page_times(tables)
    rows = stoppable_rows(pair_shortage, tables, asked_to_stop)

    def fits(indices: IntArray) -> bool:
        return not selection.short(rows(indices, None))

    def iterate(trial: CountTrial) -> None:
        traffic: Traffic | None = None
        above = trial.above
        tried: list[IntArray] = []
        note = f"LBCP and MBKR reached no fixed point in {ROUNDS} rounds; the best round is kept"
        for n in range(1, ROUNDS + 1):
            found = lbcp(clock, trial.limits, trial.count, traffic, fits, above, trial.most)
            if found is None or found.indices is None:
                note = f"LBCP found no chunks in round {n}, for the traffic of the round before"
                break
            tried.append(found.indices)
            if traffic is None:
                # Trials that fail without any traffic fail with it.
                above = max(above, found.longest)
            thresholds, _ = greatest_thresholds(tables, found.indices, partner)
            caused = reallocation(tables, thresholds, partner, byte_times)
            if caused == traffic:
                note = f"LBCP and MBKR agree after {n} round{'s' if n > 1 else ''}"
                break
            traffic = caused
        for indices in tried:
            if not selection.known(indices):
                selection.offer(indices, mbkr(tables, indices), (note,))

    search_chunk_counts(clock, selection, iterate, rows)


mocap = best_offered(_offer_mocap)
"""Chunks by `lbcp` counting the traffic of `mbkr`'s homes, homes by `mbkr`, in turn.

Starts from all KV at home.  A fixed point is reached when the homes of the new chunks cause
the traffic the chunks were made for; if none is within `ROUNDS` rounds, the notes say so and
the best round counts.  Every count that may win is tried.
"""
