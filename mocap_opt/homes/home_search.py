"""Better homes for the boundaries of a plan: local search under contention, and the placement program.

The contention-free recursion cannot tell two homes apart whose transfers hide behind compute; on the
wafer they may share a link with activations.  A move of the local search gives a remote home to another
chunk of the same stage, another memory, or back to the stage itself.  Moves of groups take all that a
stage keeps in a memory: messages share a link evenly, so it counts how many use it, not bytes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.homes.greedy import greedy
from mocap_opt.homes.proposal import HomeRule, Homes, Proposal, Propose
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.stopping import STOPPED, AskedToStop, StoppedError, never
from mocap_opt.tables.cost_tables import Tables


def moves(tables: Tables, plan: Plan) -> Iterator[Plan]:
    """Plans with one home moved: to other chunks (nearest first), to other memories, or back home.

    Feasibility is not checked.

    Parameters
    ----------
    tables : Tables
    plan : Plan

    Yields
    ------
    Plan
    """
    for home in plan.homes:
        others = [other for other in plan.homes if other is not home]
        yield _with(plan, others)
        nearest = sorted((abs(chunk - home.chunk), chunk) for chunk in range(plan.chunks))
        for distance, chunk in nearest:
            if distance:
                yield _with(plan, [*others, replace(home, chunk=chunk)])
        for memory in range(tables.memories):
            if memory not in (home.memory, home.stage):
                yield _with(plan, [*others, replace(home, memory=memory)])


def improve_homes(
    tables: Tables,
    plan: Plan,
    price: Callable[[Plan], Fraction],
    *,
    target: Fraction,
    most: int = 200,
    asked_to_stop: AskedToStop = never,
) -> Plan:
    """Descend on homes, first improvement first.

    Parameters
    ----------
    tables : Tables
    plan : Plan
        Feasible.
    price : callable
        Latency of a feasible plan, ticks.
    target : Fraction
        Stop when the price is down to this: no homes of these boundaries can do better.
    most : int
        Plans priced at most.
    asked_to_stop : callable
        Checked before each pricing.

    Returns
    -------
    Plan
        The best found; `plan` itself if nothing was better.
    """
    best, latency, priced = plan, price(plan), 0
    improved = True
    while improved and latency > target:
        improved = False
        for candidate in moves(tables, best):
            if priced >= most or asked_to_stop():
                return best
            if violations(tables, candidate):
                continue
            priced += 1
            found = price(candidate)
            if found < latency:
                best, latency, improved = candidate, found, True
                break
    return best


def improve_grouped_homes(
    tables: Tables,
    plan: Plan,
    price: Callable[[Plan], Fraction],
    *,
    target: Fraction,
    seed: int = 0,
    most: int = 100,
    asked_to_stop: AskedToStop = never,
) -> Plan:
    """Descend by random moves of all that a stage keeps in a memory.

    Parameters
    ----------
    tables, plan, price, target, asked_to_stop
        As for `improve_homes`.
    seed : int
        Of the moves.
    most : int
        Plans priced in a row without a better one, at most; and fifty times as many moves.

    Returns
    -------
    Plan
        The best found; `plan` itself if nothing was better.
    """
    rng, indices = np.random.default_rng(seed), plan.grid_indices(tables)
    best, latency, pages = plan, price(plan), plan.remote_pages(tables)
    priced = drawn = 0
    while latency > target and pages.any() and priced < most and drawn < 50 * most and not asked_to_stop():
        drawn += 1
        moved = _group_moved(pages, rng)
        candidate = Plan.from_arrays(tables, indices, moved, plan.fingerprint)
        if (moved == pages).all() or violations(tables, candidate):
            continue
        priced += 1
        found = price(candidate)
        if found < latency:
            best, latency, pages, priced, drawn = candidate, found, moved, 0, 0
    return best


def _group_moved(pages: IntArray, rng: np.random.Generator) -> IntArray:
    """Move what one stage keeps in one memory to another, or exchange it with what another stage keeps there.

    Parameters
    ----------
    pages : int64[stage, chunk, memory]
        Away from home, at least one.
    rng : Generator
    """
    groups, moved = np.argwhere(pages.any(axis=1)), pages.copy()
    (stage, here), (other, there) = groups[rng.integers(len(groups), size=2)]
    exchanged = bool(rng.integers(2)) and other != stage
    if not exchanged:
        there = rng.integers(pages.shape[2])
    if there != here:
        moved[stage, :, here] = 0
        moved[stage, :, there] += pages[stage, :, here]
        if exchanged:
            moved[other, :, there] = 0
            moved[other, :, here] += pages[other, :, there]
    own = np.arange(len(pages))
    moved[own, :, own] = 0
    return moved


def _with(plan: Plan, homes: list[Home]) -> Plan:
    """The plan with these homes, those of the same place added up."""
    pages: dict[tuple[int, int, int], int] = {}
    for home in homes:
        place = (home.stage, home.chunk, home.memory)
        pages[place] = pages.get(place, 0) + home.pages
    return replace(plan, homes=tuple(sorted(Home(*place, count) for place, count in pages.items())))


TIME_LIMIT_S = 10.0


def placement_program(
    tables: Tables,
    indices: IntArray,
    asked_to_stop: AskedToStop = never,
    *,
    first: HomeRule = greedy,
    time_limit_s: float | None = TIME_LIMIT_S,
    deterministic_limit: float | None = None,
) -> Homes:
    """Homes of least lockstep latency found by `mocap_opt.formulations.kv_placement` within a limit.

    Started from the homes of a simpler rule, which are also the answer if the program finds none.  KV
    that can all stay at home stays there.  The solver is loaded only when the rule has to ask it.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    asked_to_stop : callable
        Asked by the simpler rule and by the solver.
    first : callable
        The simpler rule.
    time_limit_s, deterministic_limit : float or None
        Limits of the program, see `mocap_opt.solvers.limits.Limits`.

    Raises
    ------
    SolverUnavailableError
        If the solver is needed and cannot be loaded.
    """
    simple = first(tables, indices, asked_to_stop)
    if simple.pages is not None and not simple.pages.any():
        return simple
    from mocap_opt.formulations.kv_placement import solve_kv_placement  # noqa: PLC0415

    start = None if simple.pages is None else Plan.from_arrays(tables, indices, simple.pages)
    if start is not None and violations(tables, start):
        start = None
    result = solve_kv_placement(
        tables,
        indices,
        start=start,
        time_limit_s=time_limit_s,
        deterministic_limit=deterministic_limit,
        callback=lambda _: asked_to_stop(),
    )
    return simple if result.plan is None else Homes(result.plan.remote_pages(tables))


def refine_homes(method: Propose, homes: HomeRule = placement_program) -> Propose:
    """Keep a method's boundaries and place the KV anew by another rule.

    Parameters
    ----------
    method : callable
        Proposes a plan; it stands where the rule finds no homes, and where all KV is at home.
    homes : callable
        The other rule.
    """
    return partial(_refined, method, homes)


def _refined(
    method: Propose, homes: HomeRule, tables: Tables, asked_to_stop: AskedToStop = never
) -> Proposal:
    proposal = method(tables, asked_to_stop)
    if proposal.plan is None or not proposal.plan.homes:
        return proposal
    indices = proposal.plan.grid_indices(tables)
    try:
        pages = homes(tables, indices, asked_to_stop).pages
    except StoppedError:
        return replace(proposal, notes=tuple(dict.fromkeys([*proposal.notes, STOPPED])))
    if pages is None:
        return proposal
    plan = Plan.from_arrays(tables, indices, pages)
    return proposal if violations(tables, plan) else replace(proposal, plan=plan)
