"""Periodic plans without a solver: methods' plans made periodic, and plans to start a search from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mocap_opt.heuristics.clock import ChunkClock
from mocap_opt.heuristics.limits import LengthLimits
from mocap_opt.heuristics.plugin import find_method
from mocap_opt.heuristics.uniform import uniform_any_count
from mocap_opt.heuristics.walk import least_trial
from mocap_opt.period.cycle import PeriodicPlan, smallest_slots, violations
from mocap_opt.period.homes import home_orders, placed, pooled_fit
from mocap_opt.plan import Plan
from mocap_opt.tables import IntArray, Tables

CAPS = (1.0, 1.1, 1.2, 1.3, 1.45, 1.6, 1.8, 2.0, 2.5, 3.0)
"""Longest chunk of a start, times that of equal chunks."""

MOST_COUNTS = 32
"""Counts of chunks that starts are made for; more are sampled evenly in their logarithm."""


def periodic_plan_of_method(tables: Tables, name: str) -> tuple[PeriodicPlan | None, str]:
    """The plan a latency heuristic proposes, with the fewest slots between requests that are feasible.

    Returns
    -------
    periodic : PeriodicPlan or None
    reason : str
        Why there is none; empty if there is one.
    """
    proposal = find_method(name).propose(tables)
    if proposal.plan is None:
        return None, proposal.reason
    periodic = smallest_slots(tables, proposal.plan)
    if periodic is not None:
        return periodic, ""
    apart = PeriodicPlan(proposal.plan, proposal.plan.chunks + tables.stages - 1)
    return None, f"{violations(tables, apart)[0]}, however far apart requests are"


def starting_boundaries(tables: Tables, plans: Sequence[Plan] = ()) -> list[IntArray]:
    """Boundaries to start from, int64[chunks + 1] each, grid indices.

    Equal chunks of every count, those of given plans, and for every count and several caps on the
    length of a chunk those of the least longest chunk time that all memories together can hold: the
    cap keeps the reserve small, even times keep stages from waiting for each other.
    """
    found = [*uniform_any_count(tables), *(plan.grid_indices(tables) for plan in plans)]
    clock, within, counts = ChunkClock(tables), LengthLimits.of(tables), list(tables.counts)
    if len(counts) > MOST_COUNTS:
        counts = np.unique(np.geomspace(counts[0], counts[-1], MOST_COUNTS).round()).astype(int).tolist()
    for count in counts:
        caps = {math.ceil(tables.steps / count * times) for times in CAPS}
        for cap in sorted({min(cap, tables.steps) for cap in caps}):
            limits = within.at_most(cap)

            def fits(indices: IntArray) -> bool:
                return bool(pooled_fit(tables, indices[None], indices.size - 1)[0])

            walk = least_trial(clock, limits, count, tables.exact_chunks, fits)
            if walk is not None and walk.indices is not None:
                found.append(walk.indices)
    return list({indices.tobytes(): indices for indices in found}.values())


def starts(
    tables: Tables, plans: Sequence[Plan] = (), asked_to_stop: Callable[[], bool] = lambda: False
) -> Iterator[tuple[PeriodicPlan, IntArray]]:
    """Periodic plans to start from, each with the order in which its homes were found.

    Every boundaries of `starting_boundaries` with every order of `home_orders`, each at the least W at
    which homes are found.
    """
    orders = home_orders(tables)
    for indices in starting_boundaries(tables, plans):
        chunks = indices.size - 1
        for order in orders:
            if asked_to_stop():
                return
            for slots in range(chunks, chunks + tables.stages):
                periodic = placed(tables, indices, slots, order)
                if periodic is not None:
                    yield periodic, order
                    break
            if periodic is None or not periodic.plan.homes:
                break


def busiest_stage(tables: Tables, plan: Plan) -> int:
    """Time of a request's chunks on the stage where they take longest, ticks: no period is below it."""
    index = plan.grid_indices(tables)
    times = tables.tau(np.arange(tables.stages)[:, None], index[:-1], index[1:])
    return int(times.sum(axis=1).max())
