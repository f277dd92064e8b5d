"""Small instances taken apart: the partitions that may be best, listed, and homes for the first of them."""

from __future__ import annotations

import math

from mocap_opt.assess import Execution
from mocap_opt.bounds.listed_partitions import least_partitions
from mocap_opt.heuristics.timely import timely
from mocap_opt.plan import Plan
from mocap_opt.solving.state import SearchState

MOST_PLACED = 8
"""Partitions for which homes are sought, least path first."""

SLACK = 1000
"""Homes may take a latency longer than the path by one part in so many."""

SEARCH_S = 2.0
"""Wall time of one search for homes, seconds."""

SEARCH_UNITS = 1.0
"""The same under a deterministic limit, in CP-SAT's units."""


def place_least_partitions(state: SearchState, seed: int) -> None:
    """Bound by the partitions of the least paths, and look for homes with which these paths are met.

    Parameters
    ----------
    state : SearchState
        Receives the bound and the plans.
    seed : int
    """
    latency, headline = state.best_latency, state.headline
    if state.done:
        return
    found = least_partitions(
        state.tables,
        lambda: state.done,
        incumbent=None if latency is None else math.floor(latency),
        known=0 if headline is None else headline.ticks,
    )
    if found is None:
        return
    state.add_bounds([found.bound()])
    if state.execution is Execution.LOCKSTEP:
        return
    deterministic = state.deterministic_limit is not None
    for path, indices in found.partitions[:MOST_PLACED]:
        best = state.best_latency
        if state.done or (best is not None and path >= best):
            break
        pages = timely(
            state.tables,
            indices,
            path + path // SLACK + 1,
            time_limit_s=None if deterministic else min(SEARCH_S, state.remaining_s),
            deterministic_limit=SEARCH_UNITS if deterministic else None,
            seed=seed,
            asked_to_stop=lambda: state.done,
        ).pages
        if pages is not None:
            state.offer(Plan.from_arrays(state.tables, indices, pages), "listed partitions")
