"""The step for plans whose chunks wait for memory: it changes homes, and boundaries with them."""

from __future__ import annotations

from collections.abc import Sequence

from mocap_opt.replay import contention_free_makespan as makespans
from mocap_opt.replay.contention_free_makespan import contention_free_latency
from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.plan import Plan
from mocap_opt.search.waiting_reduction import admission_aware_homes, with_less_waiting
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.solving.link_steps import congested
from mocap_opt.solving.search_state import JointSearch
from mocap_opt.stopping import AskedToStop

ROUNDS = 3
"""Repetitions at most, each from the best plan so far, while the latency falls."""

LESS_WAITING = " + waiting reduction"
"""Suffix of the source of plans that this step found."""


def no_waiting_reduction(search: JointSearch) -> str | None:
    """Why it does not apply, in words."""
    if search.state.execution is Execution.LOCKSTEP:
        return "in lockstep nothing waits for memory"
    if search.state.best is None:
        return "no plan is known"
    if search.round == 0 and congested(search.state) and _traffic_costs_more(search.state):
        return "traffic costs more latency than waiting for memory"
    return None


def _traffic_costs_more(state: SearchState) -> bool:
    """Whether traffic costs the best plan more than waiting for memory: then other steps gain more."""
    assert state.best is not None
    assert state.best_latency is not None
    waiting = makespans.without_traffic(state.tables, state.best.plan)
    alone = contention_free_latency(state.tables, Plan(state.best.plan.boundaries))
    return state.best_latency - waiting > waiting - alone


def waiting_reduction(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Reduce waiting for memory, repeated from the best plan while the latency falls.

    Parameters
    ----------
    search : JointSearch
        Must have a plan.  Its state receives better ones.
    asked_to_stop : callable
        Checked between searches and inside them.
    """
    state = search.state
    for n in range(ROUNDS if search.round == 0 else 1):
        before = state.best_latency
        plans = [plan for _, plan in search.improved] if n == 0 and search.round == 0 else []
        reduce_waiting(state, plans, search.seed + n, asked_to_stop)
        if state.best_latency == before or asked_to_stop():
            break


def reduce_waiting(state: SearchState, plans: Sequence[Plan], seed: int, asked_to_stop: AskedToStop) -> None:
    """Reduce the waiting for memory of the best plan, or of given plans with better boundaries.

    Parameters
    ----------
    state : SearchState
        Receives what is found; must have a plan.
    plans : sequence of Plan
        Feasible; all get greedy homes, and the one with the best boundaries gets the full search.
    seed : int
    asked_to_stop : callable
    """
    assert state.best is not None
    tables = state.tables
    source = f"{(state.best_source or '').removesuffix(LESS_WAITING)}{LESS_WAITING}"
    best = state.best.plan
    known = makespans.contention_free_makespan(tables, best.grid_indices(tables), best.remote_pages(tables))
    ranked = sorted(
        (makespans.contention_free_makespan(tables, plan.grid_indices(tables)), n, plan)
        for n, plan in enumerate([*plans, best])
    )
    # Boundaries that are best alone need not be so with homes, and greedy homes cost little.
    for alone, _, plan in ranked:
        indices = plan.grid_indices(tables)
        for pages in admission_aware_homes(tables, indices, alone, known, seed, asked_to_stop):
            known = makespans.contention_free_makespan(tables, indices, pages)
            state.offer(Plan.from_arrays(tables, indices, pages), source)
    found = with_less_waiting(
        tables,
        ranked[0][-1],
        deterministic=state.deterministic_limit is not None,
        seed=seed,
        asked_to_stop=asked_to_stop,
    )
    for plan in found:
        state.offer(plan, source)
