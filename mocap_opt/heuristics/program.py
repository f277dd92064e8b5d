"""Best homes for given boundaries, by the placement program."""

from __future__ import annotations

from mocap_opt.heuristics.greedy import greedy
from mocap_opt.heuristics.proposal import Homes
from mocap_opt.tables import IntArray, Tables

TIME_LIMIT_S = 20.0


def program(tables: Tables, indices: IntArray) -> Homes:
    """Homes of `mocap_opt.formulations.kv_placement`; those of `greedy` if it finds none in time.

    The solver is loaded only when the rule is used.
    """
    from mocap_opt.formulations.kv_placement import solve_kv_placement  # noqa: PLC0415

    fallback = greedy(tables, indices)
    if fallback.pages is not None and not fallback.pages.any():
        return fallback
    result = solve_kv_placement(tables, indices, time_limit_s=TIME_LIMIT_S)
    return fallback if result.plan is None else Homes(result.plan.remote_pages(tables))
