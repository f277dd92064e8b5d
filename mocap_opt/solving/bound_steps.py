"""Steps that prove: infeasibility, and lower bounds."""

from __future__ import annotations

import math

from mocap_opt.bounds import Scope, best, branch_on_boundaries, lower_bounds, prove_infeasible
from mocap_opt.bounds.boundary_branching import MOST_CELLS
from mocap_opt.bounds.energetic_traffic import energetic_traffic
from mocap_opt.bounds.enumerated_partitions import can_be_enumerated
from mocap_opt.bounds.ladder import lockstep_graph
from mocap_opt.bounds.state_space import is_affordable, state_space
from mocap_opt.bounds.traffic_program import traffic_at
from mocap_opt.flow_shop.chunk_times import alike
from mocap_opt.formulations.presolve import MOST_MASTER_ARCS, allowed_arcs
from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.plan import Plan
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.solving.link_steps import (
    MOST_HOMES,
    WORTH,
    congested,
    latency_at_home,
    no_remote_homes,
    not_congested,
)
from mocap_opt.solving.programs import DECOMPOSED_PROGRAM, housed
from mocap_opt.solving.report import covering
from mocap_opt.solving.search_state import JointSearch
from mocap_opt.stopping import AskedToStop

BRANCHING_PROGRAMS = 4000
"""Linear programs that branch and bound on the boundaries may solve, whatever the time."""

ASIDE = 0.1
"""Part of its share that branching for static plans takes where lockstep is not what counts."""

SLOWER = frozenset({"path_relaxation", "slot_mixture"})
"""Quick bounds that later steps find on their way: the roots of branching on the boundaries."""


def plan_known(search: JointSearch) -> str | None:
    """Why infeasibility is not looked into: there is a plan."""
    return None if search.state.best is None else "a plan is known"


def infeasibility_proof(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Try to prove that there is no plan; with a little time beyond the limit.

    Parameters
    ----------
    search : JointSearch
        Without a plan so far.  Its state receives the reason.
    asked_to_stop : callable
        Not asked: the state's grace limits the proof.
    """
    settle_feasibility(search.state)


def settle_feasibility(state: SearchState) -> bool:
    """Without a plan, try to prove that there is none; whether that is proved."""
    if state.best is None:
        state.infeasible_reason = prove_infeasible(state.tables, state.grace)
    return state.infeasible_reason is not None


def quick_bounds(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Compute the bounds that take a second or so at any size.

    Parameters
    ----------
    search : JointSearch
        Its state receives the bounds, and notes on those that were declined.
    asked_to_stop : callable
        Checked by the bounds.
    """
    state = search.state
    state.add_bounds(
        lower_bounds(state.tables, asked_to_stop=asked_to_stop, without=SLOWER, on_decline=state.notes.append)
    )


def add_quick_bounds(state: SearchState) -> None:
    """Compute the quick bounds in the time left."""
    asked_to_stop = state.deadline.unless(state.closed)
    state.add_bounds(lower_bounds(state.tables, asked_to_stop=asked_to_stop, on_decline=state.notes.append))


def no_energetic_traffic(search: JointSearch) -> str | None:
    """Why no partitions are ruled out by their traffic, in words."""
    if not can_be_enumerated(search.tables):
        return "too large for its partitions to be listed"
    if search.state.execution is Execution.LOCKSTEP and search.awaits(DECOMPOSED_PROGRAM):
        return "the decomposed program, which follows, proves more of static plans"
    return not_congested(search)


def traffic_proofs(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Rule out partitions that could be faster: prove that links cannot carry their KV traffic in that time.

    Parameters
    ----------
    search : JointSearch
        Must have a plan.  Its state receives the bound.
    asked_to_stop : callable
        Checked between partitions and by the proofs.
    """
    state = search.state
    assert state.best is not None
    found = energetic_traffic(
        search.tables,
        asked_to_stop=asked_to_stop,
        incumbent=math.floor(state.best.latency),
        known=state.proved_anywhere,
    )
    if found is not None:
        state.add_bounds([found], found.name)


def no_traffic_branching(search: JointSearch) -> str | None:
    """Why boundaries are not branched on with traffic and homes mixed in, in words."""
    tables, state = search.tables, search.state
    if tables.stages**2 * tables.max_chunks > MOST_HOMES:
        return "too large for a program of homes"
    if state.execution is Execution.LOCKSTEP:
        return no_remote_homes(search)
    return not_congested(search)


def traffic_branching(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Raise the lower bound by branch and bound on the boundaries, with traffic and homes mixed in.

    Parameters
    ----------
    search : JointSearch
        Must have a plan.  Its state receives every better bound.
    asked_to_stop : callable
        Checked between linear programs.
    """
    state, tables = search.state, search.tables
    assert state.best is not None
    lockstep = state.execution is Execution.LOCKSTEP
    scope = Scope.LOCKSTEP if lockstep else Scope.ANY_EXECUTION
    plan = state.best.plan
    if not lockstep:
        worth = math.ceil((1 + WORTH) * latency_at_home(tables, plan, None))
        alone = traffic_at(tables, plan.grid_indices(tables), scope, worth, asked_to_stop)
        if alone is None or alone < worth:
            return
    elif search.awaits(DECOMPOSED_PROGRAM) and not (congested(state) and _too_many_chunks(state)):
        # That program proves small instances; this step is for those that it does not.
        asked_to_stop = state.deadline.share(ASIDE)
    known = best(state.bounds, covering(state.execution))
    branch_on_boundaries(
        tables,
        scope=scope,
        incumbent=math.floor(state.best_latency or 0),
        known=0 if known is None else known.ticks,
        traffic=True,
        most_programs=BRANCHING_PROGRAMS,
        asked_to_stop=asked_to_stop,
        on_bound=lambda found: state.add_bounds([found], found.name),
    )


def _too_many_chunks(state: SearchState) -> bool:
    """Whether the decomposed program would not be built for plans no worse than the best one."""
    if allowed_arcs(state.tables) <= MOST_MASTER_ARCS:
        return False
    latency = math.floor(state.best_latency or 0)
    return lockstep_graph(state.tables, latency, state.deadline.share(ASIDE)).chunks > MOST_MASTER_ARCS


def no_state_space(search: JointSearch) -> str | None:
    """Why the state-space relaxation is not looked at (again), in words."""
    if not is_affordable(search.tables, limited=True):
        return "too large for a table of all chunks at all positions"
    if search.state.best is None:
        return "no plan is known"
    if search.state_space_latency == search.state.best_latency:
        return "it ran to its end for the best plan"
    return None


def state_space_bound(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Raise the lower bound by the state-space relaxation, and offer the partitions it likes with homes.

    Parameters
    ----------
    search : JointSearch
        Must have a plan.  Its state receives the bound and plans.
    asked_to_stop : callable
        Checked at every position of every pass, and between partitions; unless time ended it,
        `state_space_latency` is set.
    """
    state = search.state
    latency = state.best_latency
    assert latency is not None
    lockstep = state.execution is Execution.LOCKSTEP
    known = state.headline if lockstep else best(state.bounds, covering(None))
    liked: dict[tuple[int, ...], None] = {}
    found = state_space(
        search.tables,
        scope=Scope.LOCKSTEP if lockstep else Scope.ANY_EXECUTION,
        limited=True,
        incumbent=math.floor(latency),
        known=0 if known is None else known.ticks,
        asked_to_stop=asked_to_stop,
        on_partition=lambda boundaries: liked.setdefault(tuple(state.tables.grid[boundaries].tolist())),
    )
    if found is not None:
        state.add_bounds([found], found.name)
    for boundaries in reversed(liked):
        if asked_to_stop():
            break
        state.offer(housed(state, Plan(boundaries)), "state space", record=False)
    search.state_space_latency = None if asked_to_stop() else latency


def programs_first(search: JointSearch) -> str | None:
    """Why slow bounds wait, in words."""
    if search.strategy.early and any(map(search.awaits, search.strategy.programs)):
        return "at this size the programs, which follow, prove more in less time"
    return None


def no_branching(search: JointSearch) -> str | None:
    """Why boundaries are not branched on (again), in words."""
    state = search.state
    if search.branched:
        return "it ran to its end"
    if state.execution is Execution.LOCKSTEP and not alike(search.tables):
        return "mixtures of slots prove more of static plans"
    if (
        state.best is not None
        and latency_at_home(state.tables, state.best.plan, None) <= state.proved_anywhere
    ):
        # The relaxation has these boundaries among its own.
        return "the boundaries of the best plan alone take no longer than is proved"
    return programs_first(search)


def boundary_branching(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Raise the lower bound by branch and bound on the boundaries.

    Parameters
    ----------
    search : JointSearch
        Its state receives every better bound.
    asked_to_stop : callable
        Checked between linear programs; `branched` is set unless time ended the search.
    """
    state = search.state
    branch_on_boundaries(
        search.tables,
        incumbent=None if state.best is None else math.floor(state.best.latency),
        known=state.proved_anywhere,
        most_programs=BRANCHING_PROGRAMS,
        asked_to_stop=asked_to_stop,
        on_bound=lambda found: state.add_bounds([found], found.name),
    )
    search.branched = not asked_to_stop()


def no_slot_branching(search: JointSearch) -> str | None:
    """Why static plans' boundaries are not branched on (again), in words."""
    state, tables = search.state, search.tables
    if alike(tables):
        return "stages are alike"
    if search.slots_branched:
        return "it ran to its end"
    if state.execution is Execution.LOCKSTEP:
        return None
    if search.round or tables.stages * tables.max_chunks > MOST_CELLS:
        return "lockstep is not what counts"
    return "the best static plan is proved" if state.lockstep_closed() else None


def slot_branching(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Raise the lower bound on static plans by branch and bound on the boundaries.

    Parameters
    ----------
    search : JointSearch
        Its state receives every better bound.
    asked_to_stop : callable
        Checked between linear programs; `slots_branched` is set unless time ended the search.
    """
    state = search.state
    if state.execution is not Execution.LOCKSTEP:
        # Static plans are beside the point, which other steps need the time for.
        asked_to_stop = state.deadline.share(ASIDE)
    known = best(state.bounds, covering(Execution.LOCKSTEP))
    branch_on_boundaries(
        search.tables,
        scope=Scope.LOCKSTEP,
        incumbent=None if state.best_lockstep is None else state.best_lockstep.lockstep.latency,
        known=0 if known is None else known.ticks,
        most_programs=BRANCHING_PROGRAMS,
        asked_to_stop=asked_to_stop,
        on_bound=lambda found: state.add_bounds([found], found.name),
    )
    search.slots_branched = not asked_to_stop()
