"""Exact slot times of a plan in lockstep, and of a single message; whole ticks.

The rows are those of ``formulations/joint.md``.  They complete starts and price what a solver returns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import running
from mocap_opt.tables.cost_tables import Tables

WORD = 2**62


def lockstep_latency(tables: Tables, plan: Plan, interval: int | None = None) -> int:
    """Sum of the slot times of a plan, and of the waits for tokens between them: its latency, or its period.

    Parameters
    ----------
    tables : Tables
    plan : Plan
        On the grid; memory is not looked at.
    interval : int, optional
        W, if requests come again without end.

    Returns
    -------
    int, ticks
    """
    indices = plan.grid_indices(tables)
    work, exchange = slot_times(tables, indices, plan.remote_pages(tables), interval)
    waits = slot_waits(tables, indices, work + exchange) if interval is None else np.zeros(0, dtype=np.int64)
    return int(work.sum() + exchange.sum() + waits.sum())


def slot_waits(tables: Tables, indices: IntArray, duration: IntArray) -> IntArray:
    """How long each slot waits for the tokens of the chunk that enters stage 0 in it, int64[chunk], ticks.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Boundaries as grid indices, strictly increasing.
    duration : int64[slot], ticks
        Of every slot.
    """
    chunks = indices.size - 1
    if tables.available is None:
        return np.zeros(chunks, dtype=np.int64)
    before = np.cumsum(duration[:chunks]) - duration[:chunks]
    late = np.maximum.accumulate(np.maximum(tables.available[indices[1:]] - before, 0))
    waits: IntArray = np.diff(late, prepend=0)
    return waits


def slot_times(
    tables: Tables, indices: IntArray, pages: IntArray, interval: int | None = None
) -> tuple[IntArray, IntArray]:
    """Least work and exchange time of every slot.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Boundaries as grid indices, strictly increasing.
    pages : int64[stage, chunk, memory]
        Pages by home; entries on the stage's own memory are ignored.
    interval : int, optional
        W, if requests come again without end.

    Returns
    -------
    work, exchange : int64[slot], ticks
        Slots 0 .. chunks + stages - 2, or 0 .. W - 1.
    """
    stages, chunks = tables.stages, indices.size - 1
    start, end = indices[:-1], indices[1:]
    stage = np.arange(stages)[:, None]
    away = np.where(np.eye(stages, tables.memories, dtype=np.bool_)[:, None, :], 0, pages)
    written, held = _bytes(tables, away), _bytes(tables, np.cumsum(away, axis=1))
    # share is [link, from, to]; both ways as [stage, memory, link].
    out, back = tables.share.transpose(1, 2, 0)[:stages], tables.share.transpose(2, 1, 0)[:stages]
    # Bytes x share denominator by [stage, chunk, link].
    on_links = np.matmul(written, out) + np.matmul(held - written, back)
    link_rate = tables.link_rate.astype(on_links.dtype) * tables.share_denominator
    at_ports, waited = held, (on_links, held)
    if tables.messages:
        fixed, besides = _fixed(tables, indices, weights=True), _fixed(tables, indices, weights=False)
        waited = on_links + besides[0], at_ports + besides[1]
        on_links, at_ports = on_links + fixed[0], at_ports + fixed[1]
    late = 1 - tables.overlap
    stretch = np.maximum(
        _ceil(late.numerator * waited[0], late.denominator * link_rate).max(axis=2, initial=0),
        _ceil(late.numerator * waited[1], late.denominator * tables.port_rate).max(axis=2, initial=0),
    )
    computed = tables.compute_time(stage, start, end) + stretch.astype(np.int64)
    at_ports = at_ports.copy()
    at_ports[stage, np.arange(chunks), stage] += tables.own_traffic[:, end]
    slots = interval or chunks + stages - 1
    work = np.zeros(slots, dtype=np.int64)
    exchange = np.zeros(slots, dtype=np.int64)
    for t in range(slots):
        i, j = np.array(running(stages, chunks, slots, t), dtype=np.int64).reshape(-1, 2).T
        links = _ceil(on_links[i, j].sum(axis=0), link_rate)
        ports = _ceil(at_ports[i, j].sum(axis=0), tables.port_rate)
        work[t] = max(computed[i, j].max(initial=0), links.max(initial=0), ports.max(initial=0))
        sent = j[i < stages - 1]
        exchange[t] = _exchange(tables, i[i < stages - 1], start[sent], end[sent])
    return work, exchange


def _fixed(tables: Tables, indices: IntArray, *, weights: bool) -> tuple[Any, Any]:
    """Fixed messages on links and at ports by [stage, chunk, resource], Python integers."""
    loads = tables.fixed_loads.of_chunks(np.diff(tables.pages[indices]), tables.stages, weights=weights)
    by_chunk = loads.transpose(1, 2, 0)
    return by_chunk[..., : len(tables.links)], by_chunk[..., len(tables.links) :]


def _exchange(tables: Tables, senders: IntArray, a: IntArray, b: IntArray) -> int:
    """Exchange time of a slot in which these stages send their chunks [a, b) on."""
    if senders.size == 0:
        return 0
    share = tables.share[:, senders, senders + 1]
    size = tables.message_bytes(senders, a, b).astype(object)
    busy = _ceil((share * size).sum(axis=1), tables.link_rate.astype(object) * tables.share_denominator)
    hops = np.where(share > 0, tables.hop_ticks[senders, senders + 1], 0).max(axis=1)
    alone = int(tables.send_time(senders, a, b).max())
    return max(alone, int((busy + hops).max(initial=0)))


def _bytes(tables: Tables, pages: IntArray) -> IntArray:
    """Pages to bytes, in Python integers where sums over links could leave 64 bits."""
    most = int(tables.page_bytes.max()) * int(tables.pages[-1]) * tables.stages * tables.memories
    exact = most * max(1, int(tables.share.max(initial=0))) * tables.overlap.denominator < WORD
    size = tables.page_bytes[:, None, None]
    return pages * size if exact else pages.astype(object) * size


def _ceil(amount: IntArray, rate: IntArray) -> IntArray:
    """Whole ticks that an amount takes at a rate."""
    ticks: IntArray = -(-amount // rate)
    return ticks


def message_times(tables: Tables, stage: npt.ArrayLike, start: npt.ArrayLike, end: npt.ArrayLike) -> IntArray:
    """Least exchange time of a slot in which nothing but this message is sent.

    The largest of the tabulated send and, over the links the message crosses, its bytes over the
    link's rate, rounded up, plus its hops.  0 after the last stage.

    Parameters
    ----------
    tables : Tables
    stage, start, end : array_like of int
        Stage and grid indices of the chunk's ends, ``start < end``; broadcast together.

    Returns
    -------
    int64 array, ticks
    """
    i, a, b = np.broadcast_arrays(stage, start, end)
    ticks = np.array(tables.send_time(i, a, b))
    bytes_sent = tables.message_bytes(i, a, b)
    for sender in range(tables.stages - 1):
        mine = i == sender
        share = tables.share[:, sender, sender + 1]
        rates = tables.share_denominator * tables.link_rate.astype(object)
        for e in np.flatnonzero(share):
            size = bytes_sent[mine].astype(object) * int(share[e])
            busy = np.array(-(-size // rates[e]), dtype=np.int64) + tables.hop_ticks[sender, sender + 1]
            ticks[mine] = np.maximum(ticks[mine], busy)
    return np.where(i < tables.stages - 1, ticks, 0)


def message_table(tables: Tables) -> IntArray:
    """`message_times` of all chunks, which depend on their lengths alone.

    Parameters
    ----------
    tables : Tables

    Returns
    -------
    int64[stage, 2, G + 1], ticks
        By ``[stage, tail, k]`` like ``tables.send``; 0 where no chunk has that length.
    """
    stage, lengths = np.arange(tables.stages)[:, None], np.arange(1, tables.steps + 1)
    times = np.zeros((tables.stages, 2, tables.steps + 1), dtype=np.int64)
    times[:, 0, 1:-1] = message_times(tables, stage, 0, lengths[:-1])
    times[:, 1, 1:] = message_times(tables, stage, tables.steps - lengths, tables.steps)
    return times
