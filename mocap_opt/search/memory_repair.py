"""Local search on boundaries that reduces the memory shortage at a target latency.

For a target latency the recursion tells which chunks cannot wait until a stage has ended and freed its KV.
Their KV has to fit beside what earlier stages have freed by then; the search minimises the bytes that are
missing, all memories taken together.  Once none are missing the target is lowered.
"""

from __future__ import annotations

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_times import chunk_times, entry
from mocap_opt.homes.slot_placement import room
from mocap_opt.replay.contention_free_makespan import contention_free_makespan, noncritical_predecessors
from mocap_opt.search.boundary_judges import screen
from mocap_opt.search.boundary_moves import shift_moves
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables

FALL = 2.5e-4
"""Part by which the target is lowered once a latency is reached."""

TRIED = 256
"""Neighbours evaluated in a step, at most."""

MOST_ENTRIES = 500_000
"""Largest stages x chunks x neighbours evaluated at once."""

STUCK = 4
"""Samples of neighbours without a better one after which the search ends."""

PARTS = 64
"""Latencies tried by `least_latency`, evenly spaced."""


def bytes_short(tables: Tables, indices: IntArray, latency: int | IntArray) -> IntArray:
    """Greatest shortage of all memories together over the ends of stages, at a target latency, bytes.

    Parameters
    ----------
    indices : int64[partition, chunks + 1]
        Grid indices of boundaries.
    latency : int or int64[partition], ticks

    Returns
    -------
    int64[partition]
        Not above 0 if the KV that cannot wait for a stage's end fits before it, for every stage.
    """
    stages, chunks = tables.stages, indices.shape[1] - 1
    work, send = chunk_times(tables, indices.T)
    waits = noncritical_predecessors(work, send, tables.queue_depth, latency, entry(tables, indices.T))
    fresh = np.diff(tables.pages[indices], axis=1).T
    brought = np.zeros((stages, indices.shape[0]), dtype=np.int64)
    for level in range(stages):
        brought[level] = np.tensordot(tables.page_bytes, ((waits < level) * fresh).sum(axis=1), axes=1)
    freed = np.concatenate([[0], np.cumsum(tables.page_bytes[:-1])]) * tables.pages[-1]
    longest = np.diff(tables.grid[indices], axis=1).max(axis=1)
    sizes, which = np.unique(longest, return_inverse=True)
    free = [np.maximum(room(tables, indices[0], int(n)), 0).sum(axis=0)[chunks - 1 :] for n in sizes]
    short: IntArray = (brought - freed[:, None] - np.stack(free, axis=1)[:, which]).max(axis=0)
    return short


def least_latency(tables: Tables, indices: IntArray, most: int) -> int | None:
    """Least latency tried at which all memories together suffice; None if none below `most` does.

    Parameters
    ----------
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    most : int, ticks
    """
    alone = contention_free_makespan(tables, indices)
    if alone >= most:
        return None
    trials = alone + (most - alone) * np.arange(PARTS) // PARTS
    fits = bytes_short(tables, np.tile(indices, (PARTS, 1)), trials) <= 0
    return int(trials[fits.argmax()]) if fits.any() else None


def repair_memory(
    tables: Tables,
    indices: IntArray,
    latency: int,
    *,
    seed: int = 0,
    asked_to_stop: AskedToStop = never,
) -> tuple[IntArray, int]:
    """Move boundaries so that memory suffices at a lower latency.

    Parameters
    ----------
    indices : int64[chunks + 1]
        Grid indices of the boundaries to start from.
    latency : int, ticks
        One for which they leave room.
    seed : int
        For sampling neighbours.
    asked_to_stop : callable
        Checked at every step.

    Returns
    -------
    indices : int64[chunks + 1]
    latency : int, ticks
        One for which they leave room; what was given if nothing better was found.
    """
    rng = np.random.default_rng(seed)
    best, at = indices, indices
    target = int(latency * (1 - FALL))
    short, stuck = int(bytes_short(tables, at[None], target)[0]), 0
    most = min(TRIED, max(1, MOST_ENTRIES // (tables.stages * (indices.size - 1))))
    while stuck < STUCK and not asked_to_stop():
        neighbours = shift_moves(tables, at, rng)
        moves = neighbours.at(np.flatnonzero(screen(tables, neighbours) <= target))
        if moves.shape[0] > most:
            moves = moves[rng.choice(moves.shape[0], most, replace=False)]
        lacking = bytes_short(tables, moves, target) if moves.size else np.array([short])
        if lacking.min() >= short:
            stuck += 1
            continue
        stuck, at, short = 0, moves[lacking.argmin()], int(lacking.min())
        if short <= 0:
            best, latency = at, least_latency(tables, at, target + 1) or target
            target = int(latency * (1 - FALL))
            short = int(bytes_short(tables, at[None], target)[0])
    return best, latency
