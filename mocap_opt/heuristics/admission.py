"""Admission in slot order, in the recursion of the heuristics.

What a chunk brings to a memory waits for all that slot order frees there before.  With like stages that
has happened anyway; behind a slow stage the others run ahead of the slots, and homes decide who waits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mocap_opt.tables import IntArray, Tables

NONE = -1
"""No gate."""


def gates(tables: Tables, indices: IntArray, pages: IntArray) -> IntArray:
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


def starts(work: IntArray, send: IntArray, depth: int | None, gate: IntArray | None = None) -> IntArray:
    """When each chunk starts on each stage, int64[stage, chunk, ...], ticks.

    The recursion of `mocap_opt.heuristics.estimate` with full queues and gates, one slot at a time.

    Parameters
    ----------
    work, send : int64[stage, chunk, ...], ticks
        Any further axes are many executions at once.
    depth : int or None
        Q; None if unbounded.
    gate : int64[stage, chunk, ...], optional
        From `gates`.
    """
    stages, chunks, *many = work.shape
    slots = chunks + stages - 1
    # Row i is shifted to the right by i, so that column t holds the chunks of slot t.
    skewed, onward = (np.zeros((stages, slots, *many), dtype=np.int64) for _ in range(2))
    waits = np.full((stages, slots, *many), NONE, dtype=np.int64)
    for i in range(stages):
        skewed[i, i : i + chunks] = work[i]
        onward[i, i : i + chunks] = work[i] + send[i]
        if gate is not None:
            waits[i, i : i + chunks] = gate[i]
    start = np.zeros((stages, slots + 1, *many), dtype=np.int64)
    ended = np.zeros((stages + 1, *many), dtype=np.int64)  # the last entry, that of `NONE`, stays 0
    for t in range(slots):
        low, high = max(0, t - chunks + 1), min(stages - 1, t)
        rows = slice(low, high + 1)
        begin = np.zeros((high + 1 - low, *many), dtype=np.int64)
        if t:
            begin = start[rows, t - 1] + skewed[rows, t - 1]
            first = max(low, 1)
            arrived = start[first - 1 : high, t - 1] + onward[first - 1 : high, t - 1]
            begin[first - low :] = np.maximum(begin[first - low :], arrived)
        if gate is not None and t >= chunks:
            begin = np.maximum(begin, np.take_along_axis(ended, waits[rows, t], axis=0))
        if depth is not None and depth > 1 and t + 1 >= depth:
            # start[i+1, j-Q] stands in column t + 1 - Q; 0 where that chunk does not exist.
            room_at = start[low + 1 : high + 2, t + 1 - depth]
            begin[: len(room_at)] = np.maximum(begin[: len(room_at)], room_at)
        elif depth == 1:
            begin = np.maximum.accumulate(begin[::-1])[::-1]
        start[rows, t] = begin
        if t + 1 >= chunks:
            ended[low] = begin[0] + skewed[low, t]
    return np.stack([start[i, i : i + chunks] for i in range(stages)])


def latest_starts(work: IntArray, send: IntArray, depth: int | None, latency: int | IntArray) -> IntArray:
    """Latest start of each chunk on each stage that keeps to a latency, int64[stage, chunk, ...], ticks.

    The same recursion backwards, without gates.
    """
    stages, chunks, *many = work.shape
    slots = chunks + stages - 1
    latest = np.full((stages + 2, slots + 1, *many), latency, dtype=np.int64)  # row 0 stands before stage 0
    skewed, onward = (np.zeros((stages, slots, *many), dtype=np.int64) for _ in range(2))
    for i in range(stages):
        skewed[i, i : i + chunks] = work[i]
        onward[i, i : i + chunks] = work[i] + send[i]
    for t in range(slots - 1, -1, -1):
        low, high = max(0, t - chunks + 1), min(stages - 1, t)
        rows, shifted = slice(low, high + 1), slice(low + 1, high + 2)
        ends = np.minimum(latest[shifted, t + 1] - skewed[rows, t], latency - skewed[rows, t])
        # Stage i + 1 starts the chunk one slot later, if there is such a stage.
        ends = np.minimum(ends, latest[low + 2 : high + 3, t + 1] - onward[rows, t])
        if depth == 1:
            ends = np.minimum.accumulate(ends)
        elif depth is not None and t + depth - 1 < slots:
            # Behind a full queue stage i - 1 starts chunk j + Q only once stage i has started chunk j.
            ends = np.minimum(ends, latest[low : high + 1, t + depth - 1])
        latest[shifted, t] = ends
    return np.stack([latest[i + 1, i : i + chunks] for i in range(stages)])


def harmless_gates(work: IntArray, send: IntArray, depth: int | None, latency: int | IntArray) -> IntArray:
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
        return starts(work, send, depth, gate)[:, -1] + work[:, -1]

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
