"""Homes by a linear program that shares out the links, rounded to whole pages in slot order."""

from __future__ import annotations

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.homes.link_balanced_greedy import spread_out
from mocap_opt.homes.link_balancing_program import FloatArray, LinkBalancingProgram
from mocap_opt.homes.link_load import Roads
from mocap_opt.homes.proposal import Homes
from mocap_opt.homes.slot_placement import SlotPlacement
from mocap_opt.stopping import AskedToStop, never, stop_if
from mocap_opt.tables.cost_tables import Tables

MOST_ENTRIES = 400_000
"""Coefficients up to which the program is solved in about half a minute (32 stages x 40 chunks has half)."""


def fluid(tables: Tables, indices: IntArray, asked_to_stop: AskedToStop = never) -> Homes:
    """Where KV should live by `LinkBalancingProgram`; what rounding displaces is placed as by `spread`.

    Or the homes of `spread`, where these keep the slots shorter (rounding to few pages may cost more than the
    program gains), or where the program has no answer or too many coefficients.

    Parameters
    ----------
    indices : int64[chunks + 1]
        Grid indices of the boundaries.

    Raises
    ------
    StoppedError
        If asked to stop.
    SolverUnavailableError
        If HiGHS cannot be loaded.
    """
    placing = SlotPlacement.begin(tables, indices)
    if isinstance(placing, Homes):
        return placing
    wanted = _wanted(tables, indices, asked_to_stop)
    if wanted is None:
        return spread_out(placing, Roads(tables, indices), asked_to_stop)
    again = SlotPlacement.begin(tables, indices)
    assert isinstance(again, SlotPlacement)
    shared, one_by_one = Roads(tables, indices), Roads(tables, indices)
    homes, simple = _rounded(placing, shared, wanted), spread_out(again, one_by_one, asked_to_stop)
    if homes.pages is None or (simple.pages is not None and one_by_one.total < shared.total):
        return simple
    return homes


def _wanted(tables: Tables, indices: IntArray, asked_to_stop: AskedToStop) -> FloatArray | None:
    """Pages up to each chunk by the program, float64[stage, chunk, memory]; None if it has no answer."""
    # HiGHS is slow to load, and many instances have nothing to place.
    from mocap_opt.solvers.highs import solve_lp  # noqa: PLC0415

    program = LinkBalancingProgram(tables, indices)
    linear = program.build()
    if linear.nonzeros > MOST_ENTRIES:
        return None
    values = solve_lp(linear, asked_to_stop=asked_to_stop).primal
    stop_if(asked_to_stop)
    return None if values is None else program.held(values)


def _rounded(placing: SlotPlacement, roads: Roads, wanted: FloatArray) -> Homes:
    """Send in every slot what brings the pages in each memory closest to what is wanted by then."""
    stages = placing.tables.stages
    held = np.zeros((stages, stages), dtype=np.int64)
    for t in placing.slots:
        sent = np.zeros((stages, stages), dtype=np.int64)
        for i in placing.running(t):
            more = np.maximum(np.rint(wanted[i, t - i]).astype(np.int64) - held[i], 0)
            # No more than the chunk has, those left out first of which the least is wanted.
            order = np.argsort(held[i] - wanted[i, t - i], kind="stable")
            room = np.maximum(placing.fresh[t - i] - np.cumsum(more[order]) + more[order], 0)
            sent[i, order] = np.minimum(more[order], room)
        for i, left in placing.keep(t, sent.sum(axis=1)):
            for k in np.flatnonzero(sent[i]).tolist():
                moved = min(int(sent[i, k]), left, placing.most(i, t, k))
                if moved > 0:
                    placing.put(i, t, k, moved)
                    roads.take(i, k, t, i + placing.chunks, moved * placing.size(i))
                    left -= moved
            failed = roads.share_out(placing, i, t, left)
            if failed is not None:
                return failed
            held[i] += placing.pages[i, t - i]
    return Homes(placing.pages)
