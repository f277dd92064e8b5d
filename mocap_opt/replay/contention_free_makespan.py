"""Latency of a plan without contention between stages: the yardstick inside the heuristics.

The recursion of `mocap_opt.flow_shop.recursion` with d = max(tau + (1 - f) x, x) as a chunk's work, where
x is the time of the chunk's own KV traffic alone on the wafer.
Contention only adds to it, so it ranks plans and bounds the replays of one plan, not those of others.

Admission follows slot order: what a chunk brings to a memory waits for all that slots before it free there.
With like stages that has happened anyway; behind a slow stage the others run ahead of the slots, and homes
decide who waits.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_times import chunk_times, entry
from mocap_opt.flow_shop.recursion import (
    FREE,
    NONE,
    Entry,
    earliest_starts,
    flow_shop_makespan,
    latest_starts,
)
from mocap_opt.schedule.plan import Plan
from mocap_opt.tables.cost_tables import Tables

FloatArray = npt.NDArray[np.float64]


def _traffic_times(tables: Tables, pages: IntArray) -> FloatArray:
    """Time each chunk's own KV messages take on an idle wafer.

    Parameters
    ----------
    pages : int64[stage, chunk, memory]
        Pages by home; entries on the stage's own memory are ignored.

    Returns
    -------
    float64[stage, chunk], ticks
        The largest, over links and ports, of the chunk's own bytes / capacity.
    """
    times = np.zeros(pages.shape[:2])
    rate = np.maximum(tables.link_rate, 1) * float(tables.share_denominator)
    for i in range(tables.stages):
        used = np.flatnonzero(pages[i].any(axis=0))
        used = used[used != i]
        if used.size == 0:
            continue
        written = pages[i][:, used] * float(tables.page_bytes[i])
        read = np.cumsum(written, axis=0) - written
        times[i] = ((written + read) / tables.port_rate[used]).max(axis=1)
        if rate.size:
            out, back = tables.share[:, i, used].T / rate, tables.share[:, used, i].T[:, :] / rate
            touched = np.flatnonzero(out.any(axis=0) | back.any(axis=0))
            if touched.size:
                load = written @ out[:, touched] + read @ back[:, touched]
                times[i] = np.maximum(times[i], load.max(axis=1))
    return times


def durations(
    tables: Tables, indices: IntArray, pages: IntArray | None = None, *, below: bool = False
) -> IntArray:
    """d, the time each chunk occupies each stage, int64[stage, chunk], ticks.

    Rounded up to whole ticks, or down (and safely so) if `below`.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    pages : int64[stage, chunk, memory], optional
        Pages by home; None means all at their own stage.
    below : bool
        Round down, so that no execution is faster.
    """
    tau, _ = chunk_times(tables, indices)
    if pages is None or not pages.any():
        return tau
    x = _traffic_times(tables, pages)
    shown = float(Fraction(1) - tables.overlap) * x
    if below:
        x, shown = np.floor(x * (1 - 1e-9)), np.floor(shown * (1 - 1e-9))
    slower: IntArray = np.maximum(tau + np.ceil(shown).astype(np.int64), np.ceil(x).astype(np.int64))
    return slower


def contention_free_makespan(tables: Tables, indices: IntArray, pages: IntArray | None = None) -> int:
    """Latency of boundaries and homes without contention between stages, ticks.

    Parameters
    ----------
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    pages : int64[stage, chunk, memory], optional
        Pages by home; None means all at their own stage.
    """
    _, send = chunk_times(tables, indices)
    waits = None if pages is None or not pages.any() else admission_predecessors(tables, indices, pages)
    work = durations(tables, indices, pages)
    return flow_shop_makespan(work, send, tables.queue_depth, waits, entry(tables, indices))


def contention_free_latency(tables: Tables, plan: Plan) -> int:
    """Whole ticks that no execution of a plan stays below.

    The recursion with every KV time rounded down and a tick less for every send, since tabulated sends
    may be rounded up.  In lockstep, slot order keeps the rules of queues and admission by itself.

    Parameters
    ----------
    plan : Plan
        Boundaries on the grid, 0 first and S last.

    Raises
    ------
    ValueError
        If a boundary is not on the grid.
    """
    indices = plan.grid_indices(tables)
    _, send = chunk_times(tables, indices)
    pages = plan.remote_pages(tables)
    waits = admission_predecessors(tables, indices, pages) if plan.homes else None
    work = durations(tables, indices, pages, below=True)
    least = np.maximum(send - 1, 0)
    return flow_shop_makespan(work, least, tables.queue_depth, waits, entry(tables, indices))


def without_traffic(tables: Tables, plan: Plan) -> int:
    """The same if KV passed in no time: only compute, sends, full queues and waiting for memory are left.

    Parameters
    ----------
    plan : Plan
        Boundaries on the grid, 0 first and S last.
    """
    indices = plan.grid_indices(tables)
    _, send = chunk_times(tables, indices)
    waits = admission_predecessors(tables, indices, plan.remote_pages(tables)) if plan.homes else None
    work, least = durations(tables, indices), np.maximum(send - 1, 0)
    return flow_shop_makespan(work, least, tables.queue_depth, waits, entry(tables, indices))


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
    # Pages without bytes (all KV of the stage in rings) bring nothing.
    some = tables.page_bytes[:, None] > 0
    brings = (pages > 0) & some[:, :, None]
    away = pages.sum(axis=2) - pages[stage, :, stage]
    brings[stage, :, stage] = (np.diff(tables.pages[indices])[None, :] > away) & some
    holds: npt.NDArray[np.bool_] = np.logical_or.reduce(brings, axis=1)
    holds[stage, stage] |= tables.prefix_bytes[:stages] > 0
    # freed[r, k]: the last of stages 0..r that holds anything in memory k.
    freed = np.maximum.accumulate(np.where(holds, stage[:, None], NONE), axis=0)
    ended = stage[:, None] + np.arange(chunks)[None, :] - chunks
    found = np.full((stages, chunks), NONE, dtype=np.int64)
    late = ended >= 0
    found[late] = np.where(brings[late], freed[ended[late]], NONE).max(axis=1)
    return found


def noncritical_predecessors(
    work: IntArray, send: IntArray, depth: int | None, latency: int | IntArray, entry: Entry = FREE
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
    entry : Entry
        Of the chunks to the first stage.

    Notes
    -----
    For ends E of the stages let g(E) be the last stages with E at most the latest start, and F(E) the ends
    if every chunk waits for g(E).  F falls where E rises.  If F(E) <= E, no chunk starts later than its
    latest start, slot after slot: what it waits for ends by E.  Without waits E <= F(E), so F(F(E)) <= F(E):
    F(E) is such ends, and so is every second one from there; they only fall.
    """
    stages, chunks, *many = work.shape
    latest = latest_starts(work, send, depth, latency, loop=entry.loop)
    past = np.arange(stages)[:, None] + np.arange(chunks) - chunks
    past = past.reshape(stages, chunks, *(1 for _ in many))

    def ends(waits: IntArray | None) -> IntArray:
        return earliest_starts(work, send, depth, waits, entry)[:, -1] + work[:, -1]

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
