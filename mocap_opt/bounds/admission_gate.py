"""The gate of admission: where memory is full, the slot after a stage's last one waits for that stage.

Statement and proof: ``formulations/bounds.md``, gate of admission.
"""

from __future__ import annotations

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.flow_shop.chunk_times import chunk_times, entry
from mocap_opt.flow_shop.recursion import earliest_starts, latest_starts


def gated_path(memory: PooledMemory, boundaries: IntArray, sends: IntArray) -> int:
    """Longest path of a partition, queues and the gate behind the first stage included, ticks.

    Parameters
    ----------
    memory : PooledMemory
    boundaries : int64[chunks + 1]
        Grid indices; the pages must fit the pool.
    sends : int64[stage, 2, G + 1], ticks
        Least sends by ``[stage, tail, k]``.

    Returns
    -------
    int
        No execution of a feasible plan with these boundaries is faster.
    """
    tables, chunks = memory.tables, boundaries.size - 1
    work, send = chunk_times(tables, boundaries, sends)
    start = earliest_starts(work, send, tables.queue_depth, entry=entry(tables, boundaries))
    path, first_end = int(start[-1, -1] + work[-1, -1]), int(start[0, -1] + work[0, -1])
    stage = np.arange(1, min(tables.stages, chunks + 1))
    onward = -latest_starts(work, send, tables.queue_depth, 0)[stage, chunks - stage]
    room = memory.room(chunks, int(np.diff(tables.grid[boundaries]).max()))
    if room is None or not stage.size:
        return path
    # Chunks whose KV is in nobody's way need not wait: those that would wait to the worst effect first.
    worst = np.argsort(-onward, kind="stable")
    pages = np.diff(tables.pages[boundaries])[chunks - stage] * tables.page_bytes[stage]
    left = int(room[chunks - 1] - memory.need(boundaries)[chunks - 1])
    waiting = np.flatnonzero(np.cumsum(pages[worst]) > left)
    return max(path, first_end + int(onward[worst[waiting[0]]])) if waiting.size else path
