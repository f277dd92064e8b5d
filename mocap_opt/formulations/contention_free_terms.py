"""What both solvers' contention-free programs are made of, as integer tables.

Mathematics: ``formulations/contention_free.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_times import chunk_times, entry, least_sends
from mocap_opt.flow_shop.recursion import earliest_starts
from mocap_opt.formulations.presolve import may_hold_kv
from mocap_opt.formulations.resources import Carrier, fixed_on
from mocap_opt.schedule.plan import Plan
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True, eq=False)
class Resource(Carrier):
    """A link or a memory port, and all that has to pass it during a request.

    Weights of KV are 0 where it cannot live (`presolve.may_hold_kv`).

    Attributes
    ----------
    activations : int
        Units of load of all activations.
    own : int64[G + 1] or None
        Units that a chunk ending at b moves through its own stage's port.
    stage : int or None
        The stage whose port it is; None for links and for ports of memories without a stage.
    first : int64[G + 1], ticks
        Before this nothing passes, by the end of the first chunk.
    follow : int64[G + 1], ticks
        What the execution lasts at least after the last unit has passed, by the start of the last
        chunk.
    """

    activations: int
    own: IntArray | None
    stage: int | None
    first: IntArray
    follow: IntArray


@dataclass(frozen=True, eq=False)
class _Passage:
    """The first chunk's way in and the last chunk's way out, without contention and KV.

    ``start[i]`` and ``end[i]`` are those of the first chunk on stage i, by its end; ``leave[i]`` is
    what the last chunk still takes after its end on stage i, ``depart[i]`` the same without the
    send to stage i + 1, by its start.
    """

    start: IntArray
    end: IntArray
    leave: IntArray
    depart: IntArray

    @classmethod
    def of(cls, tables: Tables) -> _Passage:
        sends, g = least_sends(tables), tables.steps
        stage = np.arange(tables.stages)[:, None]
        ends, starts = np.arange(1, g + 1), np.arange(g)
        work = tables.tau(stage, 0, ends)
        send = sends[stage, (ends == g).astype(np.int64), ends]
        end = np.zeros((tables.stages, g + 1), dtype=np.int64)
        start = np.zeros_like(end)
        end[:, 1:] = np.cumsum(work, axis=0) + np.cumsum(send, axis=0) - send
        start[:, 1:] = end[:, 1:] - work
        # So that both grow with the first chunk, whatever the tables: the least over longer ones.
        for times in (start, end):
            times[:, 1:] = np.minimum.accumulate(times[:, :0:-1], axis=1)[:, ::-1]
        last, onward = tables.tau(stage, starts, g), sends[stage, 1, g - starts]
        leave = np.zeros_like(end)
        depart = np.zeros_like(end)
        for i in range(tables.stages - 2, -1, -1):
            depart[i, :g] = last[i + 1] + leave[i + 1, :g]
            leave[i, :g] = depart[i, :g] + onward[i]
        return cls(start, end, leave, depart)


def resources(tables: Tables) -> list[Resource]:
    """All links that something may cross, and all ports; of links that are the same, one."""
    passage, found, fixed = _Passage.of(tables), [], fixed_on(tables)
    away = may_hold_kv(tables) & ~np.eye(tables.stages, tables.memories, dtype=np.bool_)
    step = np.arange(tables.stages - 1)
    seen: set[tuple[int, bytes]] = set()
    for e, name in enumerate(tables.links):
        key = (int(tables.link_rate[e]), tables.share[e].tobytes())
        senders = [int(i) for i in np.flatnonzero(tables.share[e, step, step + 1])]
        write = np.where(away, tables.share[e, : tables.stages], 0)
        read = np.where(away, tables.share[e].T[: tables.stages], 0)
        if key in seen or not (senders or write.any() or read.any() or e in fixed):
            continue
        seen.add(key)
        sizes = [int(tables.share[e, i, i + 1]) * int(tables.activation_bytes[i]) for i in senders]
        first, follow = _around(passage, write, read, senders, _carried(tables, e))
        rate, sent = key[0] * tables.share_denominator, sum(sizes) * tables.tokens
        found.append(
            Resource(e, f"link {name}", rate, write, read, fixed.get(e), sent, None, None, first, follow)
        )
    for k in range(tables.memories):
        touch = np.zeros((tables.stages, tables.memories), dtype=np.int64)
        touch[:, k] = away[:, k]
        stage = k if k < tables.stages else None
        index = len(tables.links) + k
        if stage is None and not touch.any() and index not in fixed:
            continue
        first, follow = _around(passage, touch, touch, [], _carried(tables, index))
        if stage is not None:
            first = np.minimum(first, passage.start[k])
            follow = np.minimum(follow, passage.leave[k])
        rate, own = int(tables.port_rate[k]), None if stage is None else tables.own_traffic[k]
        held = fixed.get(index)
        found.append(Resource(index, f"port {k}", rate, touch, touch, held, 0, own, stage, first, follow))
    return found


def _carried(tables: Tables, index: int) -> list[int]:
    """Stages whose fixed messages load a link or port."""
    if not tables.messages:
        return []
    loads = tables.fixed_loads
    some = (loads.each[index] != 0) | (loads.per_page[index] != 0) | (loads.first[index] != 0)
    return [int(i) for i in np.flatnonzero(some)]


def _around(
    passage: _Passage, write: IntArray, read: IntArray, senders: list[int], carried: list[int]
) -> tuple[IntArray, IntArray]:
    """Least time before and after everything that may pass a resource; fixed messages are like writes."""
    writers, readers = [*np.flatnonzero(write.any(axis=1)), *carried], np.flatnonzero(read.any(axis=1))
    # A write may start with its chunk, a read with the stage's second chunk, activations at a
    # chunk's end; KV messages end no later than their chunk.
    first = [passage.start[i] for i in writers] + [passage.end[i] for i in [*readers, *senders]]
    follow = [passage.leave[i] for i in [*writers, *readers]] + [passage.depart[i] for i in senders]
    never = np.full(passage.start.shape[1], 2**61, dtype=np.int64)
    return np.min([never, *first], axis=0), np.min([never, *follow], axis=0)


@dataclass(frozen=True, eq=False)
class Schedule:
    """A plan's times in the contention-free program.

    Attributes
    ----------
    sends, durations, starts : int64[stage, chunk], ticks
        Least sends, d and S.
    latency : int
        Ticks; a lower bound on every execution of the plan.
    """

    sends: IntArray
    durations: IntArray
    starts: IntArray
    latency: int


def schedule(tables: Tables, plan: Plan) -> Schedule:
    """Exact times of a plan in the contention-free program.

    Parameters
    ----------
    tables : Tables
    plan : Plan
        Memory is not looked at.

    Raises
    ------
    ValueError
        If a boundary is not on the grid.
    """
    indices = plan.grid_indices(tables)
    start, end = indices[:-1], indices[1:]
    work, sends = chunk_times(tables, indices, least_sends(tables))
    written = plan.remote_pages(tables).astype(object) * tables.page_bytes.astype(object)[:, None, None]
    held = np.cumsum(written, axis=1) - written
    tau = work.astype(object)
    apart = 1 - tables.overlap
    durations, latency = tau, 0
    pages = np.diff(tables.pages[indices])
    for r in resources(tables):
        load = waited = (written * r.write[:, None, :] + held * r.read[:, None, :]).sum(axis=2)
        if r.fixed is not None:
            loads = (r.fixed.of_chunks(pages, tables.stages, weights=w)[r.index] for w in (True, False))
            load, waited = (load + each for each in loads)
        stretched = tau + apart.numerator * waited // (apart.denominator * r.rate)
        durations = np.maximum(durations, np.maximum(stretched, load // r.rate))
        units = int(load.sum()) + r.activations + (0 if r.own is None else sum(r.own[end].tolist()))
        latency = max(latency, int(r.first[end[0]]) + units // r.rate + int(r.follow[start[-1]]))
    durations = durations.astype(np.int64)
    starts = earliest_starts(durations, sends, tables.queue_depth, entry=entry(tables, indices))
    return Schedule(sends, durations, starts, max(latency, int(starts[-1, -1] + durations[-1, -1])))
