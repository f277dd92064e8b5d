"""Latency of a plan without contention between stages: the yardstick inside the heuristics.

C[i, j] = max(C[i-1, j] + send, C[i, j-1], start[i+1, j-Q], the end of the stage it waits for to be
admitted) + d[i, j], where
d = max(tau + (1 - f) x, x) and x is the time of the chunk's own KV traffic alone on the wafer.
Contention only adds to it, so it ranks plans and bounds the replays of one plan, not those of others.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from mocap_opt.heuristics.admission import gates, starts
from mocap_opt.plan import Plan
from mocap_opt.tables import IntArray, Tables

FloatArray = npt.NDArray[np.float64]


def traffic_times(tables: Tables, pages: IntArray) -> FloatArray:
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
    """
    stage = np.arange(tables.stages)[:, None]
    tau = tables.tau(stage, indices[None, :-1], indices[None, 1:])
    if pages is None or not pages.any():
        return tau
    x = traffic_times(tables, pages)
    shown = float(Fraction(1) - tables.overlap) * x
    if below:
        x, shown = np.floor(x * (1 - 1e-9)), np.floor(shown * (1 - 1e-9))
    slower: IntArray = np.maximum(tau + np.ceil(shown).astype(np.int64), np.ceil(x).astype(np.int64))
    return slower


def completion(work: IntArray, send: IntArray, queue_depth: int | None, gate: IntArray | None = None) -> int:
    """Completion of the last chunk on the last stage by the recursion above, ticks.

    Parameters
    ----------
    work, send : int64[stage, chunk], ticks
    queue_depth : int or None
        Q; None if unbounded.
    gate : int64[stage, chunk], optional
        From `mocap_opt.heuristics.admission.gates`.
    """
    stages, chunks = work.shape
    if gate is not None and (gate >= 0).any():
        return int(starts(work, send, queue_depth, gate)[-1, -1] + work[-1, -1])
    start = np.zeros_like(work)
    arrival = np.zeros(chunks, dtype=np.int64)
    for i in range(stages):
        # end[j] = max over j' <= j of arrival[j'] + the work from j' to j.
        total = np.cumsum(work[i])
        start[i] = np.maximum.accumulate(arrival - (total - work[i])) + total - work[i]
        arrival = start[i] + work[i] + send[i]
    end = int(start[-1, -1] + work[-1, -1])
    if queue_depth is None or queue_depth >= chunks:
        return end
    if np.all(start[:-1, queue_depth:] >= start[1:, : chunks - queue_depth]):
        return end
    return int(starts(work, send, queue_depth)[-1, -1] + work[-1, -1])


def estimate(tables: Tables, indices: IntArray, pages: IntArray | None = None) -> int:
    """Latency of boundaries and homes without contention between stages, ticks.

    Parameters
    ----------
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    pages : int64[stage, chunk, memory], optional
        Pages by home; None means all at their own stage.
    """
    stage = np.arange(tables.stages)[:, None]
    send = tables.send_time(stage, indices[None, :-1], indices[None, 1:])
    gate = None if pages is None or not pages.any() else gates(tables, indices, pages)
    return completion(durations(tables, indices, pages), send, tables.queue_depth, gate)


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
    stage = np.arange(tables.stages)[:, None]
    send = tables.send_time(stage, indices[None, :-1], indices[None, 1:])
    pages = plan.remote_pages(tables)
    gate = gates(tables, indices, pages) if plan.homes else None
    work = durations(tables, indices, pages, below=True)
    return completion(work, np.maximum(send - 1, 0), tables.queue_depth, gate)


def without_traffic(tables: Tables, plan: Plan) -> int:
    """The same if KV passed in no time: only compute, sends, full queues and waiting for memory are left.

    Parameters
    ----------
    plan : Plan
        Boundaries on the grid, 0 first and S last.
    """
    indices = plan.grid_indices(tables)
    stage = np.arange(tables.stages)[:, None]
    send = tables.send_time(stage, indices[None, :-1], indices[None, 1:])
    gate = gates(tables, indices, plan.remote_pages(tables)) if plan.homes else None
    return completion(durations(tables, indices), np.maximum(send - 1, 0), tables.queue_depth, gate)
