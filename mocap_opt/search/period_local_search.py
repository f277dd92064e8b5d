"""Local search on periodic plans: moves screened with the homes kept, the best few placed anew.

A move shifts a run of neighbouring boundaries, drops a boundary or adds one.  All moves of a plan
are priced at once as if the KV stayed in the memories it is in; those that promise something get
homes of their own and are priced with them, and the first that is better is taken.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.homes.greedy import pooled_fit
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.search.boundary_moves import count_moves, shift_moves
from mocap_opt.search.period_homes import HomeRule, InOrder, assumed_residence, housed, varied
from mocap_opt.search.period_pricing import Residence, steady_period, steady_periods
from mocap_opt.tables.cost_tables import Tables

BATCH = 250_000
"""Moves x stages x chunks priced at once."""

PLACED, PROGRAMS = 24, 6
"""Moves that get homes before the search gives up on a neighbourhood: greedy ones, by linear programs."""

PERTURBED = 3
"""Boundaries that a perturbation of strength 1 moves at most; each moves by as many grid steps at most."""


def improve(
    tables: Tables,
    periodic: Schedule,
    rule: HomeRule,
    *,
    rng: np.random.Generator,
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> tuple[Schedule, float]:
    """Local search: take better neighbours until there are none.

    Parameters
    ----------
    tables : Tables
    periodic : Schedule
        Feasible.  Idle slots are kept.
    rule : HomeRule
        Finds the homes of neighbours.
    rng : numpy.random.Generator
        For sampling moves where there are too many.
    asked_to_stop : callable
        Checked between moves.

    Returns
    -------
    periodic : Schedule
        Never worse by the estimate; it meets the memory rows.
    estimate : float, ticks
        By `mocap_opt.search.period_pricing.steady_period`.
    """
    best, value = periodic, steady_period(tables, periodic.plan, periodic.slots)
    while not asked_to_stop():
        step = _better(tables, best, value, rule, rng, asked_to_stop)
        if step is None:
            break
        best, value = step
    return best, value


def perturb(
    tables: Tables, periodic: Schedule, rule: HomeRule, rng: np.random.Generator, strength: int = 1
) -> tuple[Schedule, HomeRule] | None:
    """Perturb a plan: move a few boundaries at random, sometimes change the interval or the rule of homes.

    Parameters
    ----------
    tables : Tables
    periodic : Schedule
        Feasible.
    rule : HomeRule
        As for `improve`.
    rng : numpy.random.Generator
    strength : int
        Times `PERTURBED` boundaries are moved at most.

    Returns
    -------
    periodic : Schedule
    rule : HomeRule
        None instead of both if the result finds no homes.
    """
    indices = periodic.plan.grid_indices(tables).copy()
    chunks, slots = indices.size - 1, periodic.slots
    rule = varied(tables, rule, rng)
    if rng.random() < 0.1:
        slots = int(np.clip(slots + rng.integers(-1, 2), chunks, chunks + tables.stages - 1))
    if chunks > 1:
        count = int(rng.integers(1, strength * PERTURBED + 1))
        most = max(1, min(PERTURBED, tables.steps // (4 * chunks)))
        np.add.at(indices, rng.integers(1, chunks, count), rng.integers(-most, most + 1, count))
    found = housed(tables, indices, slots, rule)
    return None if found is None else (found, rule)


def _better(
    tables: Tables,
    best: Schedule,
    value: float,
    rule: HomeRule,
    rng: np.random.Generator,
    asked_to_stop: Callable[[], bool],
) -> tuple[Schedule, float] | None:
    """The first neighbour, in the order of the screened prices, with a better estimate."""
    indices = best.plan.grid_indices(tables)
    promising: list[tuple[float, IntArray]] = []
    for some in (shift_moves(tables, indices, rng), *count_moves(tables, indices)):
        moves = some.boundaries
        slots = best.idle + moves.shape[1] - 1
        moves = moves[pooled_fit(tables, moves, slots)] if moves.size else moves
        prices = screen(tables, moves, assumed_residence(tables, best, moves.shape[1] - 1, rule), slots)
        promising += [(float(prices[m]), moves[m]) for m in np.flatnonzero(prices < value)]
    promising.sort(key=lambda priced: priced[0])
    for _, moved in promising[: PLACED if isinstance(rule, InOrder) else PROGRAMS]:
        if asked_to_stop():
            return None
        found = housed(tables, moved, best.idle + moved.size - 1, rule)
        if found is None:
            continue
        estimate = steady_period(tables, found.plan, found.slots)
        if estimate < value:
            return found, estimate
    return None


def screen(
    tables: Tables, moves: IntArray, residence: Residence | None, slots: int
) -> npt.NDArray[np.float64]:
    """Price boundaries without KV traffic, float64[move], ticks.

    Parameters
    ----------
    moves : int64[move, chunks + 1]
        Grid indices.
    residence : Residence or None
        Where KV is taken to live; None: all at home, where nothing waits for memory.
    slots : int
    """
    chunks = moves.shape[1] - 1
    if residence is None:
        home = np.eye(tables.stages, dtype=np.bool_)
        residence = Residence(np.repeat(home[:, None], chunks, axis=1), home)
    stage = np.arange(tables.stages)[:, None]
    most = max(1, BATCH // (tables.stages * chunks))
    found = []
    for first in range(0, moves.shape[0], most):
        part = moves[first : first + most, None]
        work, send = (of(stage, part[..., :-1], part[..., 1:]) for of in (tables.tau, tables.send_time))
        found.append(steady_periods(tables, work, send, residence, slots))
    return np.concatenate(found) if found else np.zeros(0)
