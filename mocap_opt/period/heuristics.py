"""Periodic plans without a solver: methods' plans made periodic, homes in a cycle, local search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import numpy as np

from mocap_opt.heuristics import METHODS
from mocap_opt.heuristics.greedy import page_times
from mocap_opt.heuristics.uniform import uniform_any_count
from mocap_opt.period.cycle import PeriodicPlan, smallest_slots, violations
from mocap_opt.period.lockstep import replay_lockstep_period
from mocap_opt.period.terms import period_free
from mocap_opt.plan import Plan
from mocap_opt.tables import IntArray, Tables


def periodic_plan_of_method(tables: Tables, name: str) -> tuple[PeriodicPlan | None, str]:
    """The plan a latency heuristic proposes, with the fewest slots between requests that are feasible.

    Returns
    -------
    periodic : PeriodicPlan or None
    reason : str
        Why there is none; empty if there is one.
    """
    proposal = METHODS[name].propose(tables)
    if proposal.plan is None:
        return None, proposal.reason
    periodic = smallest_slots(tables, proposal.plan)
    if periodic is not None:
        return periodic, ""
    apart = PeriodicPlan(proposal.plan, proposal.plan.chunks + tables.stages - 1)
    return None, f"{violations(tables, apart)[0]}, however far apart requests are"


def cyclic_homes(tables: Tables, indices: IntArray, slots: int) -> IntArray | None:
    """Homes in a cycle: early chunks stay, what does not fit goes to the nearest memory with room.

    A stage's early chunks are read most often, so they stay; what moves is placed longest life
    first.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    slots : int
        W, at least the chunks.

    Returns
    -------
    int64[stage, chunk, memory] or None
        Pages away from their stage; None if the rule finds no room.
    """
    stages, chunks = tables.stages, indices.size - 1
    longest = int(np.diff(tables.grid[indices]).max())
    room = np.repeat(period_free(tables, longest)[:, None], slots, axis=1)
    alive = [[(i + np.arange(j, chunks)) % slots for j in range(chunks)] for i in range(stages)]
    for i in range(stages):
        room[i, alive[i][0]] -= tables.prefix_bytes[i]
    if (room < 0).any():
        return None
    fresh = np.diff(tables.pages[indices])
    spill: list[tuple[int, int, int]] = []
    for i in range(stages):
        size = max(int(tables.page_bytes[i]), 1)
        for j in range(chunks):
            kept = min(int(fresh[j]), int(room[i, alive[i][j]].min()) // size)
            room[i, alive[i][j]] -= kept * size
            if kept < fresh[j]:
                spill.append((j, i, int(fresh[j]) - kept))
    pages = np.zeros((stages, chunks, stages), dtype=np.int64)
    nearest = np.argsort(page_times(tables), axis=1, kind="stable") if spill else None
    for j, i, left in sorted(spill):
        size = max(int(tables.page_bytes[i]), 1)
        for k in nearest[i].tolist() if nearest is not None else ():
            moved = min(left, int(room[k, alive[i][j]].min()) // size) if k != i else 0
            if moved > 0:
                room[k, alive[i][j]] -= moved * size
                pages[i, j, k] += moved
                left -= moved
        if left:
            return None
    return pages


def placed(tables: Tables, indices: IntArray, slots: int) -> PeriodicPlan | None:
    """Boundaries with `cyclic_homes`; None if they do not fit."""
    pages = cyclic_homes(tables, indices, slots)
    if pages is None:
        return None
    periodic = PeriodicPlan(Plan.from_arrays(tables, indices, pages), slots)
    return None if violations(tables, periodic) else periodic


def cyclic_candidates(tables: Tables, plans: Sequence[Plan] = ()) -> Iterator[PeriodicPlan]:
    """Equal chunks of every count and the boundaries of given plans, homes placed anew for every W.

    W goes up to the first at which all KV stays at home.
    """
    for indices in [*uniform_any_count(tables), *(plan.grid_indices(tables) for plan in plans)]:
        chunks = indices.size - 1
        for slots in range(chunks, chunks + tables.stages):
            periodic = placed(tables, indices, slots)
            if periodic is not None:
                yield periodic
                if not periodic.plan.homes:
                    break


def busiest_stage(tables: Tables, plan: Plan) -> int:
    """Time of a request's chunks on the stage where they take longest, ticks: no period is below it."""
    index = plan.grid_indices(tables)
    times = tables.tau(np.arange(tables.stages)[:, None], index[:-1], index[1:])
    return int(times.sum(axis=1).max())


def improve_period(
    tables: Tables,
    periodic: PeriodicPlan,
    price: Callable[[PeriodicPlan], Fraction] | None = None,
    *,
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> PeriodicPlan:
    """Descend on boundaries at a fixed W: shifts of one boundary, halving steps, homes placed anew.

    Parameters
    ----------
    tables : Tables
    periodic : PeriodicPlan
        Feasible.
    price : callable, optional
        What to bring down, ticks; by default the lockstep period.
    asked_to_stop : callable
        Checked before each pricing.

    Returns
    -------
    PeriodicPlan
        Never worse.
    """
    cost = (
        price if price is not None else lambda found: Fraction(replay_lockstep_period(tables, found).period)
    )
    best, value = periodic, cost(periodic)
    step = max(1, tables.steps // (4 * periodic.plan.chunks))
    while step:
        improved = False
        for at in range(1, best.plan.chunks):
            for sign in (-1, 1):
                if asked_to_stop():
                    return best
                indices = best.plan.grid_indices(tables).copy()
                indices[at] += sign * step
                if not indices[at - 1] < indices[at] < indices[at + 1]:
                    continue
                found = placed(tables, indices, periodic.slots)
                if found is not None and (priced := cost(found)) < value:
                    best, value, improved = found, priced, True
        if not improved:
            step //= 2
    return best
