"""Plans whose chunks wait for memory: other homes, and boundaries to go with them."""

from __future__ import annotations

from collections.abc import Sequence

from mocap_opt.assess import Execution
from mocap_opt.heuristics.estimate import estimate
from mocap_opt.heuristics.unhindered import unhindered
from mocap_opt.plan import Plan
from mocap_opt.solving.state import SearchState

SHARE = 0.3
"""Part of the time left that this may take."""


def unhinder(state: SearchState, plans: Sequence[Plan], seed: int) -> None:
    """Let the chunks of the best plan, or of boundaries better than its own, wait less for memory.

    Parameters
    ----------
    state : SearchState
        Receives what is found.
    plans : sequence of Plan
        Feasible; the one with the best boundaries is started from, whatever its homes.
    seed : int
    """
    if state.best is None or state.done or state.execution is Execution.LOCKSTEP:
        return
    tables = state.tables

    def alone(plan: Plan) -> int:
        return estimate(tables, plan.grid_indices(tables))

    source = state.best_source
    start = min([*plans, state.best.plan], key=alone)
    found = unhindered(
        tables,
        start,
        deterministic=state.deterministic_limit is not None,
        seed=seed,
        asked_to_stop=state.deadline(SHARE),
    )
    for plan in found:
        state.offer(plan, f"{source} + homes in time")
