"""The plan that is best for a request alone, to start from."""

from __future__ import annotations

from collections.abc import Sequence

from mocap_opt.schedule.plan import Plan
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.solving.joint import solve_jointly
from mocap_opt.solving.strategy import choose
from mocap_opt.solving.stream_incumbent import StreamSearch
from mocap_opt.stopping import Deadline
from mocap_opt.tables.cost_tables import Tables

LEAST_GAP = 1e-3
"""Gap at which planning a request alone ends: beside others it will be cut differently anyway."""


def own_plans(search: StreamSearch, kinds: Sequence[Tables], share: float, seed: int) -> list[Plan | None]:
    """Plan every kind of request as if it were alone.

    Parameters
    ----------
    search : StreamSearch
        Says how much time is left, and when to stop.
    kinds : sequence of Tables
    share : float
        Part of the time left that all kinds together may take, in equal parts.
    seed : int

    Returns
    -------
    list of Plan or None
        By kind; None where no plan was found, or no time was left.
    """
    late = search.share(share)
    found: list[Plan | None] = []
    for number, tables in enumerate(kinds):
        if late.expired:
            found.append(None)
            continue
        found.append(plan_alone(tables, late.share(1 / (len(kinds) - number)), seed=seed))
    return found


def plan_alone(tables: Tables, deadline: Deadline, *, seed: int) -> Plan | None:
    """Plan one request for its latency, as `mocap_opt.solving.joint` does; None if no plan was found.

    Parameters
    ----------
    tables : Tables
    deadline : Deadline
    seed : int
    """
    state = SearchState(tables, deadline, LEAST_GAP)
    solve_jointly(state, choose(tables, None, "auto", by_size=True), seed=seed)
    return None if state.best is None else state.best.plan
