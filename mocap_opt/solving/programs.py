"""Running the programs with either solver, as steps of a solve."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from mocap_opt.bounds import Bound, Evidence, Scope, best
from mocap_opt.bounds.ladder import lockstep_graph
from mocap_opt.homes.greedy import greedy
from mocap_opt.homes.link_balancing_lp import link_balancing_lp
from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers.outcome import EXACT_SOLVERS, ProgramResult, Progress, SolveOutcome, Status
from mocap_opt.solvers.safe_dual import CERTIFIED_BY
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.solving.report import covering
from mocap_opt.stopping import StoppedError

HOUSING = (greedy, link_balancing_lp)
"""Home rules for boundaries that a relaxation came upon; the next is tried where one fails."""

SHARE_OF_ARCS = 0.3
"""Part of the time of the decomposed program in which chunks may be ruled out before masters are built."""

MOST_SEED = 2**31 - 1
MOST_THREADS = 1024
"""Largest seed and number of threads that both solvers take."""


class Solver(StrEnum):
    """Which solver runs the programs."""

    HIGHS = "highs"
    CPSAT = "cpsat"


@dataclass(frozen=True)
class Program:
    """One of the programs.

    Attributes
    ----------
    name : str
        Also the stem of its page in ``formulations/``.
    scope : Scope
        What its optimum bounds from below.
    functions : dict of Solver to str
        ``module:function`` per solver; loaded only when used, because solvers load slowly.
    best : Solver
        What ``auto`` stands for.
    """

    name: str
    scope: Scope
    functions: dict[Solver, str]
    best: Solver = Solver.CPSAT

    def load(self, solver: Solver) -> Callable[..., ProgramResult]:
        """The function that solves this program with that solver."""
        module, _, function = self.functions[solver].partition(":")
        loaded: Callable[..., ProgramResult] = getattr(importlib.import_module(module), function)
        return loaded


LOCKSTEP_PROGRAM = Program(
    "joint",
    Scope.LOCKSTEP,
    {
        Solver.HIGHS: "mocap_opt.formulations.joint:solve_joint",
        Solver.CPSAT: "mocap_opt.formulations.joint_cpsat:solve_joint",
    },
)
DECOMPOSED_PROGRAM = Program(
    "decomposition",
    Scope.LOCKSTEP,
    {
        Solver.HIGHS: "mocap_opt.formulations.benders:solve_decomposition",
        Solver.CPSAT: "mocap_opt.formulations.benders_cpsat:solve_decomposition",
    },
    Solver.HIGHS,
)
CONTENTION_FREE_PROGRAM = Program(
    "contention_free",
    Scope.ANY_EXECUTION,
    {
        Solver.HIGHS: "mocap_opt.formulations.contention_free:solve_contention_free",
        Solver.CPSAT: "mocap_opt.formulations.contention_free_cpsat:solve_contention_free",
    },
)


def run_program(
    state: SearchState,
    program: Program,
    solver: Solver,
    *,
    start: Plan | None,
    seed: int,
) -> ProgramResult:
    """Run a program from a start, and enter its plan, bound or proof of infeasibility.

    Parameters
    ----------
    state : SearchState
        Receives what is found; its deadline holds.
    program : Program
    solver : Solver
    start : Plan or None
        A feasible plan to start from.
    seed : int

    Returns
    -------
    ProgramResult
    """
    source = f"{program.name} ({solver.value})"
    known: dict[str, Any] = {}
    proved = best(state.bounds, covering(Execution.LOCKSTEP))
    if program is LOCKSTEP_PROGRAM and solver is Solver.CPSAT and proved is not None:
        # Lockstep is an execution, so what bounds executions bounds this program's optimum; the
        # other program is itself a relaxation and may lie below such a bound.
        known["lower_bound"] = proved.ticks
    if program is DECOMPOSED_PROGRAM:
        # Under a deterministic limit no clock but that of the whole work decides what is left.
        share = SHARE_OF_ARCS if state.deterministic_limit is None else 1.0
        known["arcs"] = partial(lockstep_graph, state.tables, asked_to_stop=state.deadline.share(share))
    limits: dict[str, Any] = {} if state.threads is None else {"threads": state.threads}
    if state.deterministic_limit is not None:
        limits = {"deterministic_limit": state.deterministic_limit, "threads": 1}
    result = program.load(solver)(
        state.tables,
        start,
        time_limit_s=state.deadline.limit_s,
        gap=state.gap,
        seed=seed,
        callback=partial(_follow, state, program, source, solver),
        **limits,
        **known,
    )
    outcome = result.outcome
    state.record(program.name, outcome)
    if start is not None and outcome.start_accepted is False:
        state.notes.append(f"{source}: the start was not accepted")
    if outcome.message:
        state.notes.append(f"{source}: {outcome.message}")
    if outcome.status is Status.INFEASIBLE:
        state.infeasible_reason = proved_infeasible(source, outcome)
    state.offer(result.plan, source)
    if outcome.bound is not None:
        state.add_bounds([solver_bound(program.name, program.scope, solver, outcome.bound, outcome)], source)
    return result


def solver_bound(
    name: str, scope: Scope, solver: str, ticks: float, outcome: SolveOutcome | None = None
) -> Bound:
    """A program's bound with what it rests on.

    Parameters
    ----------
    name : str
    scope : Scope
    solver : str
    ticks : float
        Latencies of the relaxation are fractions of ticks, so it is only rounded down.
    outcome : SolveOutcome, optional
        Of the run, once it is over.  On the way only the word of an exact solver counts.
    """
    if solver in EXACT_SOLVERS:
        return Bound(name, max(0, math.floor(ticks)), scope, Evidence.SOLVER, solver)
    by = None if outcome is None else outcome.confirmed_by
    evidence = Evidence.SOLVER_UNCONFIRMED if outcome is None else solver_evidence(outcome)
    note = f"{solver}, " + ("not confirmed" if by is None else f"confirmed by {by}")
    return Bound(name, max(0, math.floor(ticks)), scope, evidence, note)


def solver_evidence(outcome: SolveOutcome) -> Evidence:
    """What the bound of a run rests on."""
    if outcome.exact:
        return Evidence.SOLVER
    if outcome.confirmed_by == CERTIFIED_BY:
        return Evidence.LP_DUAL
    return Evidence.SOLVER_CONFIRMED if outcome.closes else Evidence.SOLVER_UNCONFIRMED


def proved_infeasible(source: str, outcome: SolveOutcome) -> str:
    """What a report says where a program has no solution.

    Parameters
    ----------
    source : str
        Program and solver, such as ``"joint (highs)"``.
    outcome : SolveOutcome
        Of that run; says which solver confirmed it, if one did.
    """
    by = "" if outcome.confirmed_by is None else f" (confirmed by {outcome.confirmed_by})"
    return f"{source} proved that no plan meets every rule{by}"


def housed(state: SearchState, plan: Plan) -> Plan | None:
    """The plan itself if it is feasible, else its boundaries with homes; None if none are found.

    Parameters
    ----------
    state : SearchState
        Its deadline holds.
    plan : Plan
    """
    if not violations(state.tables, plan):
        return plan
    indices = plan.grid_indices(state.tables)
    for rule in HOUSING:
        try:
            pages = rule(state.tables, indices, state.deadline).pages
        except StoppedError:
            return None
        if pages is not None:
            return Plan.from_arrays(state.tables, indices, pages)
    return None


def _follow(state: SearchState, program: Program, source: str, solver: Solver, news: Progress) -> bool:
    """Take in what a running program finds: its plans are verified and replayed like any other.

    Returns
    -------
    bool
        Whether to stop: time is up, the caller asks, or the gap is closed; that last, which depends on
        when news arrive, not under a deterministic limit.
    """
    if news.plan is not None:
        state.offer(housed(state, news.plan), source, record=False)
    if news.bound is not None:
        state.add_bounds([solver_bound(program.name, program.scope, solver, news.bound)], source)
    return state.deadline.expired if state.deterministic_limit is not None else state.done
