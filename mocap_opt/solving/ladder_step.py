"""Steps that prove how good the best plan is where stages are alike, and find better ones."""

from __future__ import annotations

import math

from mocap_opt.bounds.blocking_ladder import blocking_climb, blocks
from mocap_opt.bounds.ladder import Ladder, climb
from mocap_opt.flow_shop.chunk_times import alike
from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.plan import Plan
from mocap_opt.solving.programs import housed
from mocap_opt.solving.search_state import JointSearch
from mocap_opt.stopping import AskedToStop

MOST_HOUSED = 8
"""Partitions of one ladder that are given homes, those of the least latency first."""

ASIDE = 0.3
"""Part of its share that it takes where lockstep is not what counts."""


def no_ladder(search: JointSearch) -> str | None:
    """Why there is no ladder (again), in words."""
    found, known = search.state.best_lockstep, search.ladder
    if not alike(search.tables):
        return "stages are unlike"
    if found is None:
        return "no plan is known"
    if search.state.lockstep_closed():
        return "the best static plan is proved"
    if search.ladder_stopped:
        return "it took more than its share of the time"
    if known is not None and known.target == found.lockstep.latency:
        return "the best static plan is the one it knows"
    return None


def ladder(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Bound static plans faster than the best one known, and offer the partitions come upon with homes.

    Parameters
    ----------
    search : JointSearch
        Must have a plan.  Its state receives bounds and plans, and `ladder` what was proved last.
    asked_to_stop : callable
        Checked by the bound, and between partitions.
    """
    state = search.state
    if state.execution is not Execution.LOCKSTEP and state.deterministic_limit is None:
        # Static plans are beside the point, which other steps need the time for.
        asked_to_stop = state.deadline.share(ASIDE)
    better = True
    while better and not asked_to_stop() and not state.lockstep_closed():
        assert state.best_lockstep is not None
        try:
            found = climb(state.tables, state.best_lockstep.lockstep.latency, asked_to_stop)
        finally:
            # Later shares are smaller.
            search.ladder_stopped = asked_to_stop()
        if found is None:
            return
        search.ladder = found
        state.add_bounds([found.bound()])
        before = state.best_lockstep.lockstep.latency
        _offer_partitions(search, found, asked_to_stop)
        better = state.best_lockstep.lockstep.latency < before


def no_blocking_ladder(search: JointSearch) -> str | None:
    """Why there is no ladder on any execution (again), in words."""
    best, known = search.state.best, search.blocking_ladder
    if not blocks(search.tables):
        return "queues hold more than one chunk"
    if not alike(search.tables):
        return "stages are unlike"
    if search.state.execution is Execution.LOCKSTEP:
        return "lockstep has a ladder of its own"
    if best is None:
        return "no plan is known"
    if known is not None and known.target == math.floor(best.latency):
        return "the best plan is the one it knows"
    return None


def blocking_ladder(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Bound plans faster than the best one known in any execution, and offer the partitions come upon.

    Parameters
    ----------
    search : JointSearch
        Must have a plan.  Its state receives bounds and plans, and `blocking_ladder` what was proved last.
    asked_to_stop : callable
        Checked by the bound, and between partitions.
    """
    state = search.state
    better = True
    while better and not asked_to_stop():
        assert state.best is not None
        before = state.best.latency
        found = blocking_climb(state.tables, math.floor(before), asked_to_stop)
        if found is None:
            return
        search.blocking_ladder = found
        state.add_bounds([found.bound()])
        _offer_partitions(search, found, asked_to_stop)
        better = state.best.latency < before


def _offer_partitions(search: JointSearch, found: Ladder, asked_to_stop: AskedToStop) -> None:
    """Seek homes for the best partitions that a ladder came upon."""
    state = search.state
    for boundaries in found.partitions[:MOST_HOUSED]:
        if asked_to_stop():
            break
        plan = Plan(tuple(state.tables.grid[boundaries].tolist()))
        state.offer(housed(state, plan), found.costs.name, record=False)
