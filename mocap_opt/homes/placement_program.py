"""Best homes for given boundaries, by the placement program."""

from __future__ import annotations

from dataclasses import replace

from mocap_opt.arrays import IntArray
from mocap_opt.homes.greedy import greedy
from mocap_opt.homes.proposal import HomeRule, Homes, Proposal, Propose
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.stopping import STOPPED, AskedToStop, StoppedError, never
from mocap_opt.tables.cost_tables import Tables

TIME_LIMIT_S = 10.0


def program(tables: Tables, indices: IntArray, asked_to_stop: AskedToStop = never) -> Homes:
    """Homes of least lockstep latency found by `mocap_opt.formulations.kv_placement` in `TIME_LIMIT_S`.

    Started from the homes of `greedy`, which are also the answer if the program finds none.  KV
    that can all stay at home stays there.  The solver is loaded only when the rule has to ask it.

    Raises
    ------
    SolverUnavailableError
        If the solver is needed and cannot be loaded.
    """
    simple = greedy(tables, indices, asked_to_stop)
    if simple.pages is not None and not simple.pages.any():
        return simple
    from mocap_opt.formulations.kv_placement import solve_kv_placement  # noqa: PLC0415

    start = None if simple.pages is None else Plan.from_arrays(tables, indices, simple.pages)
    result = solve_kv_placement(
        tables, indices, start=start, time_limit_s=TIME_LIMIT_S, callback=lambda _: asked_to_stop()
    )
    return simple if result.plan is None else Homes(result.plan.remote_pages(tables))


def refine_homes(method: Propose, homes: HomeRule = program) -> Propose:
    """Keep a method's boundaries and place the KV anew by another rule."""

    def propose(tables: Tables, asked_to_stop: AskedToStop = never) -> Proposal:
        proposal = method(tables, asked_to_stop)
        if proposal.plan is None or not proposal.plan.homes:
            return proposal
        indices = proposal.plan.grid_indices(tables)
        try:
            pages = homes(tables, indices, asked_to_stop).pages
        except StoppedError:
            return replace(proposal, notes=tuple(dict.fromkeys([*proposal.notes, STOPPED])))
        if pages is None:
            return proposal
        plan = Plan.from_arrays(tables, indices, pages)
        return proposal if violations(tables, plan) else replace(proposal, plan=plan)

    return propose
