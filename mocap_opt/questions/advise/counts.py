"""How many chunks a plan can have that is no slower than a known one (formulations/advise.md)."""

from __future__ import annotations

import numpy as np

from mocap_opt.stopping import AskedToStop
from mocap_opt.tables.cost_tables import Tables

BEYOND = np.iinfo(np.int64).max // 4
"""Ticks of what no chunk is allowed to be."""


def most_useful_chunks(tables: Tables, latency: int, asked_to_stop: AskedToStop) -> int:
    """Largest number of chunks that a plan of at most this latency can have.

    A stage runs its chunks one after another, the others run the first or the last one before or after; so
    m chunks take at least W(m) + (N - 1) times the shortest chunk, W(m) the least sum of m chunks' times on
    the slowest stage.

    Parameters
    ----------
    tables : Tables
    latency : int, ticks
        Of a plan.
    asked_to_stop : callable
        Once it says so, nothing is ruled out.

    Returns
    -------
    int
        At most ``tables.max_chunks``; that if the counts allowed leave no choice.
    """
    steps = tables.steps
    start, end = np.meshgrid(np.arange(steps), np.arange(1, steps + 1), indexing="ij")
    forward = end > start
    allowed = np.zeros_like(forward)
    allowed[forward] = tables.length_allowed[(end[forward] == steps).astype(np.int64), (end - start)[forward]]
    if not allowed.any():
        return tables.max_chunks
    totals = [
        int(tables.tau(stage, start[allowed], end[allowed]).sum(dtype=np.float64))
        for stage in range(tables.stages)
    ]
    slowest = int(np.argmax(totals))
    times = np.full(allowed.shape, BEYOND, dtype=np.int64)
    times[allowed] = tables.tau(slowest, start[allowed], end[allowed])
    shortest = min(
        int(tables.tau(stage, start[allowed], end[allowed]).min()) for stage in range(tables.stages)
    )
    rest = (tables.stages - 1) * shortest
    reached = np.full(steps + 1, BEYOND, dtype=np.int64)
    reached[0] = 0
    most = 0
    for count in range(1, tables.max_chunks + 1):
        if asked_to_stop():
            return tables.max_chunks
        # What is beyond the known latency already leads to nothing.
        able = np.flatnonzero(reached[:-1] + rest <= latency)
        if not able.size:
            break
        following = (reached[able, None] + times[able]).min(axis=0)
        reached = np.concatenate(([BEYOND], np.minimum(following, BEYOND)))
        if reached[-1] + rest <= latency:
            most = count
    return max(most, 1) if not tables.exact_chunks else tables.max_chunks
