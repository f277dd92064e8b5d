"""Admission in slot order, in the recursion of the heuristics.

What a chunk brings to a memory waits for all that slot order frees there before.  With like stages that
has happened anyway; behind a slow stage the others run ahead of the slots, and homes decide who waits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.recursion import NONE, earliest_starts, latest_starts
from mocap_opt.tables.cost_tables import Tables


def admission_predecessors(tables: Tables, indices: IntArray, pages: IntArray) -> IntArray:
    """The last stage whose end each chunk waits for, int64[stage, chunk]; `NONE` if it waits for none.

    A chunk in slot t waits for every stage i' that frees something in slot i' + chunks - 1 < t in a
    memory to which the chunk brings something.  Stages end one after another, so the last one is enough.

    Parameters
    ----------
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    pages : int64[stage, chunk, memory]
        Pages by home; entries on the stage's own memory are ignored.
    """
    stages, chunks, _ = pages.shape
    stage = np.arange(stages)
    brings = pages > 0
    away = pages.sum(axis=2) - pages[stage, :, stage]
    brings[stage, :, stage] = np.diff(tables.pages[indices])[None, :] > away
    holds: npt.NDArray[np.bool_] = np.logical_or.reduce(brings, axis=1)
    holds[stage, stage] |= tables.prefix_bytes > 0
    # freed[r, k]: the last of stages 0..r that holds anything in memory k.
    freed = np.maximum.accumulate(np.where(holds, stage[:, None], NONE), axis=0)
    ended = stage[:, None] + np.arange(chunks)[None, :] - chunks
    found = np.full((stages, chunks), NONE, dtype=np.int64)
    late = ended >= 0
    found[late] = np.where(brings[late], freed[ended[late]], NONE).max(axis=1)
    return found


def noncritical_predecessors(
    work: IntArray, send: IntArray, depth: int | None, latency: int | IntArray
) -> IntArray:
    """The last stage whose end each chunk can wait for, int64[stage, chunk, ...]; `NONE` if there is none.

    The latency is kept even if every chunk waits for that stage.

    Parameters
    ----------
    work, send : int64[stage, chunk, ...], ticks
    depth : int or None
        Q; None if unbounded.
    latency : int or int64[...], ticks
        What the request may take.

    Notes
    -----
    For ends E of the stages let g(E) be the last stages with E at most the latest start, and F(E) the ends
    if every chunk waits for g(E).  F falls where E rises.  If F(E) <= E, no chunk starts later than its
    latest start, slot after slot: what it waits for ends by E.  Without waits E <= F(E), so F(F(E)) <= F(E):
    F(E) is such ends, and so is every second one from there; they only fall.
    """
    stages, chunks, *many = work.shape
    latest = latest_starts(work, send, depth, latency)
    past = np.arange(stages)[:, None] + np.arange(chunks) - chunks
    past = past.reshape(stages, chunks, *(1 for _ in many))

    def ends(gate: IntArray | None) -> IntArray:
        return earliest_starts(work, send, depth, gate)[:, -1] + work[:, -1]

    def last_within(ended: IntArray) -> IntArray:
        found = np.full(work.shape, NONE, dtype=np.int64)
        for end in ended:
            found += end <= latest
        kept: IntArray = np.maximum(np.minimum(found, past), NONE)
        return kept

    safe = ends(last_within(ends(None)))
    while True:
        lower = ends(last_within(ends(last_within(safe))))
        if np.array_equal(lower, safe):
            return last_within(safe)
        safe = lower
