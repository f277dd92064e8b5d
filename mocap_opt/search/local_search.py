"""Local search on boundaries and homes: moves screened by a judge, the best few placed.

A move shifts a run of neighbouring boundaries by a few grid steps, drops a boundary or adds one.
All moves from a plan are priced at once by a judge (`mocap_opt.search.boundary_judges`) without KV traffic,
which no homes can beat; only moves that could improve the plan get homes, and the first that does is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_lengths import within_limits
from mocap_opt.homes.greedy import greedy
from mocap_opt.homes.proposal import HomeRule
from mocap_opt.homes.slot_placement import pooled_shortage
from mocap_opt.schedule.plan import Plan
from mocap_opt.search.boundary_judges import Judge, contention_free_judge
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables

MOST_ENTRIES = 4_000_000
"""Largest stages x chunks x moves priced at once; more moves are sampled."""

PLACED = 24
"""Moves that get homes before the search gives up on a neighbourhood."""


def shift_moves(tables: Tables, indices: IntArray, rng: np.random.Generator) -> IntArray:
    """Boundaries after shifting each run of inner boundaries by each step.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    rng : numpy.random.Generator
        Draws the sample where there are more moves than `MOST_ENTRIES` allows.

    Returns
    -------
    int64[move, chunks + 1]
        Grid indices that keep to the limits on lengths; a sample if there are too many.
    """
    chunks = indices.size - 1
    if chunks < 2:
        return np.empty((0, indices.size), dtype=np.int64)
    first, last = np.triu_indices(chunks - 1)
    sizes = 2 ** np.arange(max(1, int(tables.steps).bit_length() - 3))
    steps = np.concatenate([sizes, -sizes])
    run, step = (axis.ravel() for axis in np.meshgrid(np.arange(first.size), steps, indexing="ij"))
    most = max(1, MOST_ENTRIES // (tables.stages * chunks))
    if run.size > most:
        kept = np.sort(rng.choice(run.size, most, replace=False))
        run, step = run[kept], step[kept]
    position = np.arange(1, chunks)
    moved = np.broadcast_to(indices, (run.size, indices.size)).copy()
    inside = (position >= first[run][:, None] + 1) & (position <= last[run][:, None] + 1)
    moved[:, 1:-1] += np.where(inside, step[:, None], 0)
    allowed: IntArray = moved[within_limits(tables, moved)]
    return allowed


def count_moves(tables: Tables, indices: IntArray) -> list[IntArray]:
    """Boundaries with one boundary fewer, and with one more in the middle of a chunk.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.

    Returns
    -------
    list of int64[move, chunks] and int64[move, chunks + 2]
        Those among them that the instance allows.
    """
    chunks = indices.size - 1
    inner = range(1, chunks)
    fewer = [np.delete(indices, j) for j in inner]
    middle = (indices[:-1] + indices[1:]) // 2
    more = [np.insert(indices, j + 1, middle[j]) for j in range(chunks) if middle[j] > indices[j]]
    found = [
        np.array(moves)
        for moves, count in ((fewer, chunks - 1), (more, chunks + 1))
        if moves and count in tables.counts
    ]
    return [moves[within_limits(tables, moves)] for moves in found]


def improve(
    tables: Tables,
    plan: Plan,
    *,
    judge: Judge | None = None,
    seed: int = 0,
    rules: Sequence[HomeRule] = (greedy,),
    asked_to_stop: AskedToStop = never,
) -> list[Plan]:
    """Improve a plan to a local optimum of a judge's price.

    Parameters
    ----------
    tables : Tables
    plan : Plan
        Where to start; feasible.
    judge : Judge, optional
        By default the contention-free makespan.
    seed : int
        For sampling moves where there are too many.
    rules : sequence of callable
        Home rules to try on every move, in order.
    asked_to_stop : callable
        Checked between moves.

    Returns
    -------
    list of Plan
        The plans on the way, best price first; without the start.  They meet the memory rows
        by their home rule; replay and verify them before use.
    """
    rng = np.random.default_rng(seed)
    indices = plan.grid_indices(tables)
    judge = judge or contention_free_judge(tables)
    best = judge.of(tables, plan)
    found: list[Plan] = []
    while not asked_to_stop():
        step = _best_move(tables, indices, best, judge, rng, rules, asked_to_stop)
        if step is None:
            break
        indices, pages, best = step
        found.append(Plan.from_arrays(tables, indices, pages, plan.fingerprint))
    return found[::-1]


def _best_move(
    tables: Tables,
    indices: IntArray,
    best: int,
    judge: Judge,
    rng: np.random.Generator,
    rules: Sequence[HomeRule],
    asked_to_stop: AskedToStop,
) -> tuple[IntArray, IntArray, int] | None:
    """The first move, in the order of their screened prices, that improves the price."""
    promising: list[tuple[int, IntArray]] = []
    for moves in (shift_moves(tables, indices, rng), *count_moves(tables, indices)):
        if moves.size == 0:
            continue
        if asked_to_stop():
            return None
        prices = judge.screen(moves)
        order = np.argsort(prices, kind="stable")
        promising += [(int(prices[m]), moves[m]) for m in order if prices[m] < best]
    promising.sort(key=lambda priced: priced[0])
    placed = 0
    for _, moved in promising:
        if asked_to_stop() or placed == PLACED:
            return None
        if pooled_shortage(tables, moved) is not None:
            continue
        placed += 1
        for rule in rules:
            pages = rule(tables, moved).pages
            if pages is None:
                continue
            ticks = judge.price(moved, pages)
            if ticks < best:
                return moved, pages, ticks
    return None
