"""Plans whose chunks wait for memory: other homes, and boundaries to go with them."""

from __future__ import annotations

from collections.abc import Sequence

from mocap_opt.assess import Execution
from mocap_opt.heuristics.estimate import estimate
from mocap_opt.heuristics.unhindered import patient_homes, unhindered
from mocap_opt.plan import Plan
from mocap_opt.solving.state import SearchState

SHARE = 0.3
"""Part of the time left that this may take."""

IN_TIME = " + homes in time"
"""Ends the name of what such a plan came from."""


def unhinder(state: SearchState, plans: Sequence[Plan], seed: int) -> None:
    """Let the chunks of the best plan, or of boundaries better than its own, wait less for memory.

    Parameters
    ----------
    state : SearchState
        Receives what is found.
    plans : sequence of Plan
        Feasible; all get greedy homes, and that with the best boundaries is started from, whatever its homes.
    seed : int
    """
    if state.best is None or state.done or state.execution is Execution.LOCKSTEP:
        return
    tables = state.tables
    asked_to_stop = state.deadline(SHARE)
    source = f"{(state.best_source or '').removesuffix(IN_TIME)}{IN_TIME}"
    best = state.best.plan
    known = estimate(tables, best.grid_indices(tables), best.remote_pages(tables))
    ranked = sorted(
        (estimate(tables, plan.grid_indices(tables)), n, plan) for n, plan in enumerate([*plans, best])
    )
    # Boundaries that are best alone need not be so with homes, and greedy homes cost little.
    for alone, _, plan in ranked:
        indices = plan.grid_indices(tables)
        for pages in patient_homes(tables, indices, alone, known, seed, asked_to_stop):
            known = estimate(tables, indices, pages)
            state.offer(Plan.from_arrays(tables, indices, pages), source)
    found = unhindered(
        tables,
        ranked[0][-1],
        deterministic=state.deterministic_limit is not None,
        seed=seed,
        asked_to_stop=asked_to_stop,
    )
    for plan in found:
        state.offer(plan, source)
