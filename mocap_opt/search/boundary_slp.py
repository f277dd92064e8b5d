"""Boundaries by sequential linear programming, for unequal stages, which have no closed form.

Around given boundaries every chunk's time is nearly linear in the chunk's ends.  A linear program over
the recursion, or over the slots of lockstep, then moves all boundaries at once, inside a trust region, the
pooled memory rows and the limits on lengths; boundaries are fractions of grid steps until they are rounded
at the end.  It only proposes: plans are priced and verified elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.recursion import earliest_starts, unqueued_ends
from mocap_opt.homes.greedy import greedy
from mocap_opt.homes.slot_placement import produced
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.search.boundary_slp_rows import (
    FloatArray,
    length_rows,
    level_rows,
    linearised_times,
    memory_rows,
    pooled_room,
    recursion_rows,
    slot_rows,
)
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables

MOST_CELLS = 4096
"""Largest stages x chunks; then a program takes about a second."""

ROUNDS = 12
"""Linear programs at most."""

ROUNDINGS = 16
"""Roundings tried: up from 1/16, 2/16, ... of a step."""


def boundary_slp_plans(
    tables: Tables, plan: Plan, *, lockstep: bool = False, asked_to_stop: AskedToStop = never
) -> list[Plan]:
    """Move all boundaries of a plan at once, and round them.

    Parameters
    ----------
    tables : Tables
    plan : Plan
        Feasible; its count of chunks is kept.
    lockstep : bool
        Whether the time of all slots is to come down, instead of the recursion's.
    asked_to_stop : callable
        Checked between linear programs, and between roundings once there is a plan.

    Returns
    -------
    list of Plan
        Feasible plans with greedy homes, one for each different rounding that has any.
    """
    plans: list[Plan] = []
    start = plan.grid_indices(tables)
    for indices in boundary_slp(tables, start, lockstep=lockstep, asked_to_stop=asked_to_stop):
        if plans and asked_to_stop():
            break
        pages = greedy(tables, indices).pages
        if pages is None:
            continue
        found = Plan.from_arrays(tables, indices, pages)
        if not violations(tables, found):
            plans.append(found)
    return plans


def boundary_slp(
    tables: Tables,
    start: IntArray,
    predecessor: IntArray | None = None,
    *,
    lockstep: bool = False,
    asked_to_stop: AskedToStop = never,
) -> list[IntArray]:
    """Move all boundaries at once, and round them.

    Parameters
    ----------
    start : int64[chunks + 1]
        Grid indices of the boundaries; their count is kept.
    predecessor : int64[stage, chunk], optional
        The last stage for whose end each chunk waits, -1 for none: what comes in before a stage has ended
        has to fit all memories together.  Without it memory is freed in the order of the slots,
        and no chunk waits for it.
    lockstep : bool
        As for `boundary_slp_plans`; without predecessors.
    asked_to_stop : callable
        Checked between linear programs.

    Returns
    -------
    list of int64[chunks + 1]
        Grid indices, one for each different rounding.
    """
    chunks = start.size - 1
    if chunks < 2 or tables.stages * chunks > MOST_CELLS:
        return []
    at = start.astype(np.float64)
    longest = _longest(tables, start)
    best, trust = _price(tables, at, predecessor, lockstep), max(1.0, tables.steps / chunks / 4)
    if predecessor is not None:
        best = np.inf  # the start may lack room
    for _ in range(ROUNDS):
        if asked_to_stop() or trust < 0.05:
            break
        step = _step(tables, at, start, longest, trust, predecessor, lockstep)
        if step is None:
            break
        price = _price(tables, at + step, predecessor, lockstep)
        if price < best:
            at, best, trust = at + step, price, 1.5 * trust
        else:
            trust /= 4
    return _roundings(tables, at)


def _price(tables: Tables, at: FloatArray, predecessor: IntArray | None, lockstep: bool) -> float:
    """The latency at fractional boundaries, ticks; with predecessors, in whole ticks."""
    work, send, *_ = linearised_times(tables, at)
    if lockstep:
        return _slot_total(work) + _slot_total(send[:-1])
    if predecessor is not None:
        whole, sent = np.rint(work).astype(np.int64), np.rint(send).astype(np.int64)
        return float(earliest_starts(whole, sent, tables.queue_depth, predecessor)[-1, -1] + whole[-1, -1])
    return float(list(unqueued_ends(zip(work, send, strict=True)))[-1][-1])


def _slot_total(times: FloatArray) -> float:
    """Total over the slots of the longest time in each; times[stage, chunk]."""
    stages, chunks = times.shape
    longest = np.zeros(stages + chunks)
    for i, row in enumerate(times):
        np.maximum(longest[i : i + chunks], row, out=longest[i : i + chunks])
    return float(longest.sum())


def _step(
    tables: Tables,
    at: FloatArray,
    start: IntArray,
    longest: int,
    trust: float,
    predecessor: IntArray | None,
    lockstep: bool,
) -> FloatArray | None:
    """The best step of the boundaries inside the trust region; None if the program fails."""
    # SciPy is slow to load, and only this module needs it.
    from scipy.optimize import linprog  # noqa: PLC0415
    from scipy.sparse import csr_array, vstack  # noqa: PLC0415

    chunks = at.size - 1
    parts, objective = slot_rows(tables, at) if lockstep else recursion_rows(tables, at, predecessor)
    columns = objective.size
    boundary = columns - chunks - 1 + np.arange(chunks + 1)
    free = pooled_room(tables, start, longest)
    parts.append(length_rows(tables, at, longest, boundary, columns))
    parts.append(memory_rows(tables, at, free, boundary, columns))
    if predecessor is not None:
        parts.append(level_rows(tables, at, predecessor, free, boundary, columns))
    lower, upper = np.zeros(columns), np.full(columns, np.inf)
    lower[boundary[1:-1]], upper[boundary[1:-1]] = -trust, trust
    upper[boundary[[0, -1]]] = 0.0
    solve: Any = linprog  # sparse matrices and arrays of bounds are fine, whatever the stubs say
    result = solve(
        objective,
        A_ub=csr_array(vstack([rows for rows, _ in parts])),
        b_ub=np.concatenate([side for _, side in parts]),
        bounds=np.stack([lower, upper], axis=1),
        method="highs-ds",
    )
    if result.status != 0:
        return None
    step: FloatArray = result.x[boundary]
    return step


def _longest(tables: Tables, start: IntArray) -> int:
    """The longest chunk to allow, grid steps: the longest whose reserve leaves room for the start's KV."""
    allowed = np.flatnonzero(tables.length_allowed[0])
    now = int(np.diff(start).max())
    most = max(now, int(allowed[-1]) if allowed.size else now)
    need = tables.page_bytes @ produced(tables, start)
    for steps in sorted({most, *(min(most, now * part // 8) for part in (32, 16, 12, 10, 9))}, reverse=True):
        if np.all(need <= pooled_room(tables, start, steps)):
            return max(now, steps)
    return now


def _roundings(tables: Tables, at: FloatArray) -> list[IntArray]:
    found: dict[bytes, IntArray] = {}
    for shift in np.arange(ROUNDINGS) / ROUNDINGS:
        indices: IntArray = np.floor(at + shift).astype(np.int64)
        indices[0], indices[-1] = 0, tables.steps
        if np.all(np.diff(indices) > 0):
            found.setdefault(indices.tobytes(), indices)
    return list(found.values())
