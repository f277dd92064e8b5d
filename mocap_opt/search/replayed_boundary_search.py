"""Local search on boundaries where links are scarce: homes by a rule, evaluated by the replays.

`mocap_opt.search.local_search` evaluates hundreds of moves by a makespan without contention.  Here
every move gets homes of its own, and is replayed.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.homes.link_balancing_lp import link_balancing_lp
from mocap_opt.homes.proposal import HomeRule
from mocap_opt.homes.slot_placement import pooled_shortage
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.search.boundary_judges import Judge
from mocap_opt.search.boundary_moves import BoundaryMoves, count_moves, shift_moves
from mocap_opt.stopping import AskedToStop, StoppedError, never
from mocap_opt.tables.cost_tables import Tables

PLACED = 40
"""Moves that get homes before the search gives up on a neighbourhood."""


def improve_boundaries(
    tables: Tables,
    plan: Plan,
    price: Callable[[Plan], Fraction],
    homes: HomeRule = link_balancing_lp,
    *,
    judge: Judge,
    seed: int = 0,
    asked_to_stop: AskedToStop = never,
) -> Plan:
    """First-improvement local search on boundaries, moves in the order in which a judge screens them.

    Parameters
    ----------
    tables : Tables
    plan : Plan
        Feasible.
    price : callable
        Latency of a feasible plan, ticks.
    homes : callable
        Finds homes for boundaries; those of `plan` get new ones too.
    judge : Judge
        Its screen says of no boundaries more than `price`.
    seed : int
        For sampling moves where there are too many.
    asked_to_stop : callable
        Checked before each placing, and within.

    Returns
    -------
    Plan
        The best found; `plan` itself if nothing was better.
    """
    rng = np.random.default_rng(seed)
    best, latency = plan, price(plan)
    tried: set[tuple[int, ...]] = set()
    improved = True
    while improved:
        improved, placed = False, 0
        for ticks, moved in _moves(tables, best, judge, rng):
            if ticks >= latency or placed == PLACED:
                break
            boundaries = tuple(tables.grid[moved].tolist())
            if boundaries in tried or pooled_shortage(tables, moved) is not None:
                continue
            tried.add(boundaries)
            placed += 1
            try:
                pages = homes(tables, moved, asked_to_stop).pages
            except StoppedError:
                return best
            candidate = None if pages is None else Plan.from_arrays(tables, moved, pages, plan.fingerprint)
            if candidate is None or violations(tables, candidate):
                continue
            found = price(candidate)
            if found < latency:
                best, latency, improved = candidate, found, True
                break
    return best


def _moves(tables: Tables, plan: Plan, judge: Judge, rng: np.random.Generator) -> list[tuple[int, IntArray]]:
    """A plan's boundaries and those one move away, with screened prices, ticks; least first."""
    indices = plan.grid_indices(tables)
    moves: list[tuple[int, IntArray]] = []
    here = BoundaryMoves.of(indices[None])
    for some in (here, shift_moves(tables, indices, rng, judge.rows), *count_moves(tables, indices)):
        if some.size:
            moves += zip(judge.screen(some).tolist(), some.boundaries, strict=True)
    return sorted(moves, key=lambda move: move[0])
