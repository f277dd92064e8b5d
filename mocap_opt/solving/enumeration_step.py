"""The step that lists the partitions of small instances that may be best, and seeks homes for the first."""

from __future__ import annotations

import math

from mocap_opt.bounds.enumerated_partitions import can_be_enumerated, least_partitions
from mocap_opt.homes.admission_aware import admission_aware_cpsat
from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.plan import Plan
from mocap_opt.solving.link_steps import congested
from mocap_opt.solving.search_state import JointSearch
from mocap_opt.stopping import AskedToStop

MOST_PLACED = 8
"""Partitions for which homes are sought, least path first."""

SLACK = 1000
"""Homes may take a latency longer than the path by one part in so many."""

SEARCH_S = 2.0
"""Wall time of one search for homes, seconds."""

SEARCH_UNITS = 1.0
"""The same under a deterministic limit, in CP-SAT's units."""


def no_enumeration(search: JointSearch) -> str | None:
    """Why partitions are not listed, in words."""
    if not can_be_enumerated(search.tables):
        return "too large for its partitions to be listed"
    return "traffic costs latency, and paths know nothing of it" if congested(search.state) else None


def partition_enumeration(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Bound by the partitions of the least paths, and look for homes with which these paths are met.

    Parameters
    ----------
    search : JointSearch
        Its state receives the bound and the plans.
    asked_to_stop : callable
        Checked between partitions and by the search for homes.
    """
    state = search.state
    found = least_partitions(
        state.tables,
        asked_to_stop,
        incumbent=None if state.best_latency is None else math.floor(state.best_latency),
        known=state.proved_anywhere,
    )
    if found is None:
        return
    state.add_bounds([found.bound()])
    if state.execution is Execution.LOCKSTEP:
        return
    deterministic = state.deterministic_limit is not None
    for path, indices in found.partitions[:MOST_PLACED]:
        best = state.best_latency
        if asked_to_stop() or (best is not None and path >= best):
            break
        pages = admission_aware_cpsat(
            state.tables,
            indices,
            path + path // SLACK + 1,
            time_limit_s=None if deterministic else min(SEARCH_S, state.deadline.left_s),
            deterministic_limit=SEARCH_UNITS if deterministic else None,
            seed=search.seed,
            asked_to_stop=asked_to_stop,
        ).pages
        if pages is not None:
            state.offer(Plan.from_arrays(state.tables, indices, pages), "partition enumeration")
