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
from mocap_opt.search.boundary_moves import count_moves, perturbed, shift_moves
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables

PLACED = 24
"""Moves that get homes before the search gives up on a neighbourhood."""

FRUITLESS = 96
"""Perturbations in a row without a better plan after which the iterated search ends."""

TOLERATED = 1.0005
"""Factor up to which the search goes on from a plan that is worse than the best."""


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
    neighbourhoods = [shift_moves(tables, indices, rng, judge.rows), *count_moves(tables, indices)]
    promising: list[tuple[int, int, int]] = []
    for n, moves in enumerate(neighbourhoods):
        if moves.size == 0:
            continue
        if asked_to_stop():
            return None
        prices = judge.screen(moves)
        better = np.flatnonzero(prices < best)
        promising += [
            (price, n, m) for price, m in zip(prices[better].tolist(), better.tolist(), strict=True)
        ]
    placed = 0
    for _, n, m in sorted(promising):
        moved = neighbourhoods[n].at(m)
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


def iterate(
    tables: Tables,
    plan: Plan,
    judge: Judge,
    *,
    seed: int = 0,
    asked_to_stop: AskedToStop = never,
) -> Plan:
    """Iterated local search: perturb the best boundaries, improve, and go on from what is hardly worse.

    Parameters
    ----------
    tables : Tables
    plan : Plan
        Feasible, best a local optimum.
    judge : Judge
    seed : int
    asked_to_stop : callable
        Checked between perturbations and moves.

    Returns
    -------
    Plan
        With greedy homes; `plan` itself if nothing was better.

    Notes
    -----
    Lourenco, Martin and Stuetzle, Iterated local search, Handbook of Metaheuristics (2003).
    """
    rng = np.random.default_rng(seed)
    best, latency = plan, judge.of(tables, plan)
    at, fruitless = plan, 0
    while fruitless < FRUITLESS and not asked_to_stop():
        fruitless += 1
        moved = perturbed(tables, at.grid_indices(tables), rng)
        if not within_limits(tables, moved) or pooled_shortage(tables, moved) is not None:
            continue
        pages = greedy(tables, moved).pages
        if pages is None:
            continue
        start = Plan.from_arrays(tables, moved, pages, plan.fingerprint)
        draw = int(rng.integers(2**32))
        found = (improve(tables, start, judge=judge, seed=draw, asked_to_stop=asked_to_stop) or [start])[0]
        ticks = judge.of(tables, found)
        if ticks <= latency * TOLERATED:
            at = found
        if ticks < latency:
            best, latency, fruitless = found, ticks, 0
    return best
