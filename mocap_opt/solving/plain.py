"""The lockstep program given to a solver as it stands: what the other methods are measured against.

No start, no lower bound known beforehand, no search from below: one model of the whole instance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from mocap_opt.bounds import Scope
from mocap_opt.formulations.joint_pyjobshop import MOST_MODES, mode_count, solve_modes
from mocap_opt.formulations.presolve import MOST_NONZEROS, estimated_building_s, estimated_nonzeros
from mocap_opt.schedule.plan import Plan
from mocap_opt.solvers.limits import Limits
from mocap_opt.solvers.outcome import Progress as SolverProgress
from mocap_opt.solvers.outcome import SolveOutcome, Status, relative_gap
from mocap_opt.solving.incumbent import Progress, SearchState
from mocap_opt.solving.programs import housed, proved_infeasible, solver_bound
from mocap_opt.tables.cost_tables import Tables

Listener = Callable[[SolverProgress], bool]
Run = Callable[[SearchState, int, Listener], tuple[Plan | None, SolveOutcome]]


def _with_highs(state: SearchState, seed: int, listen: Listener) -> tuple[Plan | None, SolveOutcome]:
    # Pyomo takes a second to load, and only this method needs it.
    from mocap_opt.formulations.joint import build  # noqa: PLC0415
    from mocap_opt.formulations.pyomo_solution import no_plan, run_program  # noqa: PLC0415

    limits = Limits(state.deadline.limit_s, state.gap, seed, state.threads, listen)
    model = build(state.tables)
    if model is None:
        result = no_plan(limits, "no boundaries keep to the limits and fit in memory")
    else:
        result = run_program(model, state.tables, None, limits)
    return result.plan, result.outcome


def _with_cpsat(state: SearchState, seed: int, listen: Listener) -> tuple[Plan | None, SolveOutcome]:
    # CP-SAT loads pandas, and only this method needs it.
    from mocap_opt.formulations.joint_cpsat import build  # noqa: PLC0415
    from mocap_opt.formulations.plan_cpsat import read_plan  # noqa: PLC0415
    from mocap_opt.solvers import cpsat  # noqa: PLC0415

    began = state.deadline.elapsed_s
    variables = build(state.tables)
    built_s = state.deadline.elapsed_s - began
    limits = Limits(state.deadline.limit_s, state.gap, seed, state.threads, listen)
    result = cpsat.solve(variables.program, limits=limits)
    plan = None if result.values is None else read_plan(variables, result.values)
    return plan, replace(result.outcome, build_s=built_s + result.outcome.build_s)


def _with_pyjobshop(state: SearchState, seed: int, listen: Listener) -> tuple[Plan | None, SolveOutcome]:
    # A relaxation: homes are found afterwards.
    plan, outcome = solve_modes(
        state.tables, Limits(state.deadline.limit_s, state.gap, seed, state.threads, listen)
    )
    return (None if plan is None else housed(state, plan)), outcome


PLAIN_METHODS: dict[str, Run] = {
    "plain-highs": _with_highs,
    "plain-cpsat": _with_cpsat,
    "plain-pyjobshop": _with_pyjobshop,
}


def refusal(tables: Tables, method: str, time_limit_s: float = math.inf) -> str | None:
    """Why a plain method would not try an instance; None if it would.

    Parameters
    ----------
    tables : Tables
    method : str
    time_limit_s : float
        Programs that take longer to build are refused.
    """
    solver = method.removeprefix("plain-")
    if method == "plain-pyjobshop":
        modes = mode_count(tables)
        over = modes > MOST_MODES
        return f"{method}: refused, about {modes:,} modes, more than {MOST_MODES:,}" if over else None
    nonzeros, needed = estimated_nonzeros(tables, solver), estimated_building_s(tables, solver)
    if nonzeros > MOST_NONZEROS:
        return f"{method}: refused, about {nonzeros:,} non-zeros, more than {MOST_NONZEROS:,}"
    if needed >= time_limit_s:
        return f"{method}: refused, building takes about {needed:.0f} s, longer than the time limit"
    return None


def solve_plainly(state: SearchState, method: str, *, seed: int) -> tuple[str | None, str | None]:
    """Run one of the plain methods.

    The progress it tells is the program's own: the lockstep latency of its best plan so far against
    its own bound so far.

    Parameters
    ----------
    state : SearchState
        Receives the plan and the bound.
    method : str
        One of `PLAIN_METHODS`.
    seed : int

    Returns
    -------
    reason : str or None
        Why there is no plan, if there is none.
    solver : str
        The solver that was used.
    """
    solver = method.removeprefix("plain-")
    refused = refusal(state.tables, method, state.deadline.left_s)
    if refused is not None:
        return refused, solver

    def listen(news: SolverProgress) -> bool:
        _tell(state, news.incumbent, news.bound, method)
        return state.deadline.expired

    plan, outcome = PLAIN_METHODS[method](state, seed, listen)
    state.record(method, outcome)
    if outcome.message:
        state.notes.append(f"{method}: {outcome.message}")
    if outcome.status is Status.INFEASIBLE:
        state.infeasible_reason = proved_infeasible(method, outcome)
    tell, state.callback = state.callback, None
    if outcome.bound is not None:
        state.add_bounds([solver_bound("joint", Scope.LOCKSTEP, solver, outcome.bound, outcome)])
    state.offer(plan, method)
    state.callback = tell
    lockstep = None if state.best is None else float(state.best.lockstep.latency)
    _tell(state, lockstep, outcome.bound, method)
    return (None if state.best else f"{method}: no plan within the limit"), solver


def _tell(state: SearchState, latency: float | None, bound: float | None, method: str) -> None:
    """Pass on where a program stands; times in ticks, unknown bounds and those of nothing left out."""
    if state.callback is None or (latency is None and bound is None):
        return
    bound = None if bound is None else max(bound, 0.0)
    second = float(state.tables.tick_s)
    state.callback(
        Progress(
            elapsed_s=state.deadline.elapsed_s,
            latency_s=None if latency is None else latency * second,
            bound_s=None if bound is None else bound * second,
            gap=relative_gap(latency, bound),
            source=method,
        )
    )
