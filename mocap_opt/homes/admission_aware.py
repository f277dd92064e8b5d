"""Homes with which admission to memory delays no chunk that a latency depends on: by CP-SAT, and greedily.

Behind a slow stage, admission in slot order may make chunks wait for memory.  Which waits are too long is
told by `noncritical_predecessors`.  A program over whole pages keeps each late
chunk out of the memories where it would wait so long; the greedy rule does so as long as there is room
elsewhere, and lets stages spill to few memories, so that few are closed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_times import chunk_times, entry
from mocap_opt.homes.greedy import page_times
from mocap_opt.homes.proposal import Homes
from mocap_opt.homes.slot_placement import SlotPlacement, pooled_shortage, room
from mocap_opt.replay.contention_free_makespan import noncritical_predecessors
from mocap_opt.solvers.integer_program import Affine, IntegerProgram, total
from mocap_opt.solvers.limits import Limits
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables

TIME_LIMIT_S = 20.0
"""Wall time of the program unless something else is said, seconds."""


def noncritical_ends(tables: Tables, indices: IntArray, latency: int) -> IntArray:
    """The last stage whose end each chunk can wait for, int64[stage, chunk]; `NONE` if there is none.

    Parameters
    ----------
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    latency : int, ticks
        What the request may take; kept even if all wait so long.
    """
    work, send = chunk_times(tables, indices)
    return noncritical_predecessors(work, send, tables.queue_depth, latency, entry(tables, indices))


def admission_aware_cpsat(
    tables: Tables,
    indices: IntArray,
    latency: int,
    *,
    time_limit_s: float | None = TIME_LIMIT_S,
    deterministic_limit: float | None = None,
    seed: int = 0,
    asked_to_stop: AskedToStop = never,
) -> Homes:
    """Homes with which a latency is kept, as far as the recursion without KV traffic can tell.

    Nothing is freed before slot `chunks`, so all KV of a stage from before then is placed together, and
    split among its chunks afterwards, the last ones away from home: they are read least often.

    Parameters
    ----------
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    latency : int, ticks
    time_limit_s : float or None
        Wall time of the solver.
    deterministic_limit : float, optional
        CP-SAT's deterministic time instead, with one worker.
    seed : int
    asked_to_stop : callable
        Asked by the solver.

    Returns
    -------
    Homes
        Without pages if the solver found none; the reason says whether there are none.
    """
    # Solvers are slow to load, and only this function needs one.
    from mocap_opt.solvers.cpsat import solve  # noqa: PLC0415
    from mocap_opt.solvers.outcome import Status  # noqa: PLC0415

    short = pooled_shortage(tables, indices)
    if short is not None:
        return Homes(None, short)
    program = IntegerProgram()
    placed = _state(program, tables, indices, noncritical_ends(tables, indices, latency))
    limits = Limits(
        time_limit_s,
        deterministic_limit=deterministic_limit,
        seed=seed,
        callback=lambda _: asked_to_stop(),
    )
    result = solve(program, limits=limits)
    if result.values is None:
        proved = result.outcome.status is Status.INFEASIBLE
        return Homes(None, reason="no such homes" if proved else "no such homes found in time")
    fresh = np.diff(tables.pages[indices])
    pages = np.zeros((tables.stages, fresh.size, tables.memories), dtype=np.int64)
    for i, slot, parts in placed:
        amounts = np.array([part.value(result.values) for part in parts])
        amounts[i] = 0
        if slot >= fresh.size:
            pages[i, slot - i] = amounts
            continue
        for j in range(fresh.size - 1 - i, -1, -1):
            # As many pages as the chunk has, from the first memories that are still to get some.
            upto = np.minimum(np.cumsum(amounts), fresh[j])
            pages[i, j] = np.diff(upto, prepend=0)
            amounts -= pages[i, j]
    return Homes(pages)


def _state(
    program: IntegerProgram, tables: Tables, indices: IntArray, noncritical: IntArray
) -> list[tuple[int, int, list[Affine]]]:
    """Add variables and rows; what is placed as stage, slot and pages by memory.

    Parameters
    ----------
    program : IntegerProgram
        Empty.
    tables : Tables
    indices : int64[chunks + 1]
    noncritical : int64[stage, chunk]
        From `noncritical_ends`.
    """
    stages, memories, chunks = tables.stages, tables.memories, indices.size - 1
    held, fresh = tables.pages[indices], np.diff(tables.pages[indices])
    unit = max(1, int(np.gcd.reduce(tables.page_bytes)))
    size, free = (tables.page_bytes // unit).tolist(), room(tables, indices) // unit
    uses = [
        [program.decision(f"uses[{i},{k}]", int(i == k), 1) for k in range(memories)] for i in range(stages)
    ]
    placed: list[tuple[int, int, list[Affine]]] = []
    for i in range(stages):
        first = max(0, chunks - i)
        placed.append((i, chunks - 1, _spread(program, f"early[{i}", int(held[first]), uses[i])))
        for j in range(first, chunks):
            ends = range(int(noncritical[i, j]) + 1, i + j - chunks + 1)
            open_to = uses[i]
            if ends:
                open_to = [program.decision(f"open[{i},{j},{k}]", 0, 1) for k in range(memories)]
                for k, allowed in enumerate(open_to):
                    program.require(f"used[{i},{j},{k}]", uses[i][k] - allowed)
                    for s in ends:
                        program.require(f"no_wait[{i},{j},{k},{s}]", 1 - allowed - uses[s][k])
            placed.append((i, i + j, _spread(program, f"late[{i},{j}", int(fresh[j]), open_to)))
    for k in range(memories):
        for t in range(chunks - 1, chunks + stages - 1):
            there = total((size[i], parts[k]) for i, slot, parts in placed if slot <= t <= i + chunks - 1)
            program.require(f"memory[{k},{t}]", int(free[k, t]) - there)
    return placed


def _spread(program: IntegerProgram, name: str, pages: int, open_to: list[Affine]) -> list[Affine]:
    """Pages by memory: all of them, and only where it is open."""
    parts = [program.decision(f"{name},{k}]", 0, pages) for k in range(len(open_to))]
    for part, allowed in zip(parts, open_to, strict=True):
        program.require(f"only_where_open[{name}]", pages * allowed - part)
    program.require(f"all_placed[{name}]", total((1, part) for part in parts) - pages, equality=True)
    return parts


NOISE = 0.5
"""How far the times by which memories are ranked are blurred, as a power of e."""


def admission_aware_greedy(tables: Tables, indices: IntArray, latency: int, seed: int | None = None) -> Homes:
    """Homes that keep to a latency if chunks find room where they need not wait.

    Parameters
    ----------
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    latency : int, ticks
        What the request may take.
    seed : int, optional
        Ranks memories by blurred times; None: by the times themselves.

    Returns
    -------
    Homes
        Feasible; some chunks may have to wait all the same.
    """
    placement = SlotPlacement.begin(tables, indices)
    if isinstance(placement, Homes):
        return placement
    noncritical, chunks = noncritical_ends(tables, indices, latency), placement.chunks
    times = page_times(tables)
    if seed is not None:
        times = times * np.exp(NOISE * np.random.default_rng(seed).normal(size=times.shape))
    uses: npt.NDArray[np.bool_] = np.diagflat(tables.prefix_bytes > 0)[: tables.stages]
    for t in placement.slots:
        freed = max(t - chunks + 1, 0)
        closed: dict[int, npt.NDArray[np.bool_]] = {
            i: np.logical_or.reduce(uses[noncritical[i, t - i] + 1 : freed]) for i in placement.running(t)
        }
        sent = np.zeros(tables.stages, dtype=np.int64)
        for i, barred in closed.items():
            sent[i] = placement.fresh[t - i] if barred[i] else 0
        spill = placement.keep(t, sent)
        for i in closed:
            uses[i, i] |= placement.fresh[t - i] > dict(spill).get(i, 0)
        for i, over in spill:
            used_first = np.lexsort((times[i], ~uses[i])).tolist()
            left = _spill(placement, t, i, over, used_first, closed[i])
            uses[i] |= placement.pages[i, t - i] > 0
            if left:
                kept = min(left, placement.most(i, t, i))
                placement.free[i, t : i + chunks] -= kept * int(tables.page_bytes[i])
                uses[i, i] |= kept > 0
                left -= kept
            if left:
                return placement.short(i, t, left)
    return Homes(placement.pages)


def _spill(
    placement: SlotPlacement,
    slot: int,
    stage: int,
    pages: int,
    ranked: list[int],
    closed: npt.NDArray[np.bool_],
) -> int:
    """Place pages in the first memories with room, closed ones last; how many are left over."""
    for barred in (closed, np.zeros_like(closed)):
        for available in placement.rooms(stage, slot):
            for k in ranked:
                moved = 0 if barred[k] else min(pages, int(available[k]))
                if moved > 0:
                    placement.put(stage, slot, k, moved)
                    pages -= moved
            if pages == 0:
                return 0
    return pages
