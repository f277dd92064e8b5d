"""Periodic plans without a solver: methods' plans made periodic, and plans to start a search from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.baselines.registry import find_method
from mocap_opt.baselines.uniform import uniform_any_count
from mocap_opt.chunking.bottleneck_partition import min_max_partition
from mocap_opt.chunking.longest_chunk_time import BottleneckTimes
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.homes.greedy import home_orders, periodic_schedule, pooled_fit
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import schedule_violations, smallest_interval
from mocap_opt.search.period_homes import HomeRule, InOrder, WithinReach, housed
from mocap_opt.search.period_local_search import screen
from mocap_opt.search.period_pricing import Residence
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables

CAPS = (1.3, 1.6, 1.1, 2.0, 1.0, 1.45, 1.2, 1.8, 2.5, 3.0)
"""Longest chunk of a start, times that of equal chunks; in the order in which they are tried."""

FARTHEST_BACK = 3
"""Stages by which homes that make no one wait otherwise lie before their stage at most."""

WITHIN_REACH = 12
"""Starts with such homes."""

MOST_COUNTS = 32
"""Counts of chunks that starts are made for; more are sampled evenly in their logarithm."""


def periodic_plan_of_method(
    tables: Tables, name: str, asked_to_stop: AskedToStop = never
) -> tuple[Schedule | None, str]:
    """The plan a latency heuristic proposes, with the fewest slots between requests that are feasible.

    Parameters
    ----------
    tables : Tables
    name : str
        Of the heuristic, as in `mocap_opt.baselines.METHODS`.
    asked_to_stop : callable
        Checked by the heuristic.

    Returns
    -------
    periodic : Schedule or None
    reason : str
        Why there is none; empty if there is one.

    Raises
    ------
    InputError
        If there is no such heuristic.
    PluginError
        If a plugin of this name cannot be loaded, or several have it.
    """
    proposal = find_method(name).propose(tables, asked_to_stop)
    if proposal.plan is None:
        return None, proposal.reason
    periodic = smallest_interval(tables, proposal.plan)
    if periodic is not None:
        return periodic, ""
    apart = Schedule.of(tables, proposal.plan, proposal.plan.chunks + tables.stages - 1)
    return None, f"{schedule_violations(apart)[0]}, however far apart requests are"


def starting_boundaries(
    tables: Tables, plans: Sequence[Plan] = (), asked_to_stop: AskedToStop = never
) -> Iterator[IntArray]:
    """Boundaries to start from, int64[chunks + 1] each, grid indices, no two alike.

    Equal chunks of every count, those of given plans, and for every count and several caps on the
    length of a chunk those of the least longest chunk time that all memories together can hold: the
    cap keeps the reserve small, even times keep stages from waiting for each other.

    Parameters
    ----------
    tables : Tables
    plans : sequence of Plan
        Whose boundaries come first.
    asked_to_stop : callable
        Checked before every partition of even chunk times.
    """
    seen: set[bytes] = set()
    given = [*(plan.grid_indices(tables) for plan in plans), *uniform_any_count(tables)]
    for indices in chain(given, _even_times(tables, asked_to_stop)):
        if indices.tobytes() not in seen:
            seen.add(indices.tobytes())
            yield indices


def _even_times(tables: Tables, asked_to_stop: AskedToStop) -> Iterator[IntArray]:
    clock, within, counts = BottleneckTimes(tables), LengthLimits.of(tables), list(tables.counts)
    if len(counts) > MOST_COUNTS:
        counts = np.unique(np.geomspace(counts[0], counts[-1], MOST_COUNTS).round()).astype(int).tolist()

    def fits(indices: IntArray) -> bool:
        return bool(pooled_fit(tables, indices[None], indices.size - 1)[0])

    for times in CAPS:
        for count in counts:
            if asked_to_stop():
                return
            limits = within.at_most(min(math.ceil(tables.steps / count * times), tables.steps))
            walk = min_max_partition(clock, limits, count, tables.exact_chunks, fits)
            if walk is not None and walk.indices is not None:
                yield walk.indices


def starts(
    tables: Tables, plans: Sequence[Plan] = (), asked_to_stop: AskedToStop = never
) -> Iterator[tuple[Schedule, HomeRule]]:
    """Periodic plans to start from, each with the rule by which its homes were found.

    Every boundaries of `starting_boundaries` with every order of `home_orders`, each at the least W at
    which homes are found.

    Parameters
    ----------
    tables : Tables
    plans : sequence of Plan
        Whose boundaries come first.
    asked_to_stop : callable
        Checked before every order of homes.

    Yields
    ------
    periodic : Schedule
    rule : HomeRule
    """
    orders = home_orders(tables)
    for indices in starting_boundaries(tables, plans, asked_to_stop):
        chunks = indices.size - 1
        for order in orders:
            if asked_to_stop():
                return
            spacings = range(chunks, chunks + tables.stages)
            tried = (periodic_schedule(tables, indices, slots, order) for slots in spacings)
            periodic = next((found for found in tried if found is not None), None)
            if periodic is not None:
                yield periodic, InOrder(order)
            if periodic is None or not periodic.plan.homes:
                break


def starts_within_reach(
    tables: Tables, known: Sequence[Schedule], asked_to_stop: AskedToStop = never
) -> Iterator[tuple[Schedule, HomeRule]]:
    """Known plans' boundaries with homes that make no one wait longer than a distance back does.

    All boundaries are priced with every distance first; homes are sought in the order of these prices.

    Parameters
    ----------
    tables : Tables
    known : sequence of Schedule
        Those without homes away have no need of others.
    asked_to_stop : callable
        Checked before homes are sought.

    Yields
    ------
    periodic : Schedule
        Feasible.
    rule : HomeRule
    """
    unlike: dict[int, dict[bytes, IntArray]] = {}
    for periodic in known:
        if periodic.plan.homes:
            indices = periodic.plan.grid_indices(tables)
            unlike.setdefault(indices.size - 1, {})[indices.tobytes()] = indices
    priced: list[tuple[float, int, IntArray]] = []
    for chunks, same in unlike.items():
        moves = np.array(list(same.values()))
        moves = moves[pooled_fit(tables, moves, chunks)]
        for back in range(min(FARTHEST_BACK, tables.stages - 1) + 1) if moves.size else ():
            prices = screen(tables, moves, Residence.within(tables.stages, chunks, back), chunks)
            priced += [(price, back, cut) for price, cut in zip(prices.tolist(), moves, strict=True)]
    found: set[bytes] = set()
    for _, back, indices in sorted(priced, key=lambda each: each[:2]):
        if len(found) == WITHIN_REACH or asked_to_stop():
            return
        if indices.tobytes() in found:
            continue
        rule = WithinReach(back)
        near = housed(tables, indices, indices.size - 1, rule)
        if near is not None:
            found.add(indices.tobytes())
            yield near, rule
