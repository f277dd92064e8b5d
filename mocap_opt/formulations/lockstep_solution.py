"""From plans to values of a model's variables and back, and the run in between.

Shared by the Pyomo programs that minimise the sum of slot times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pyomo.environ as pyo

from mocap_opt.formulations.lockstep_price import slot_times
from mocap_opt.formulations.model_data import Frame
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import Violation, violations
from mocap_opt.solvers.highs import HighsResult, solve_mip
from mocap_opt.solvers.highs_listener import OnSolution
from mocap_opt.solvers.linear_program import FloatArray
from mocap_opt.solvers.outcome import (
    RELATIVE_TOLERANCE,
    Callback,
    ProgramResult,
    Progress,
    SolveOutcome,
    Status,
    StopReason,
    relative_gap,
)
from mocap_opt.solvers.pyomo_form import CompiledModel, compile_model
from mocap_opt.stopping import Deadline
from mocap_opt.tables.cost_tables import Tables

Check = Callable[[Tables, Plan], list[Violation]]

CHUNK_GRAPH = "the chunk graph"
"""What proves, in whole numbers and without HiGHS, that a program is empty or takes at least so long."""

NODES_PER_UNIT = 1000
"""Nodes of HiGHS's search tree that one unit of a deterministic limit stands for."""


def node_limit(deterministic_limit: float | None) -> int | None:
    """Nodes that a deterministic limit allows; None for no limit."""
    return None if deterministic_limit is None else max(1, round(NODES_PER_UNIT * deterministic_limit))


@dataclass(frozen=True)
class Limits:
    """When to stop, and how to search; the clock runs from when this is made.

    Attributes
    ----------
    time_limit_s : float or None
        For building and solving together.
    gap : float
        Relative gap at which to stop.
    seed, threads : int
    callback : Callback or None
        Sees times in ticks.
    nodes : int or None
        Most nodes of the search trees, all runs together.
    deadline : Deadline
        Of the time limit.
    """

    time_limit_s: float | None = None
    gap: float = 0.0
    seed: int = 0
    threads: int = 1
    callback: Callback | None = None
    nodes: int | None = None
    deadline: Deadline = field(init=False)

    def __post_init__(self) -> None:
        """Start the clock."""
        object.__setattr__(self, "deadline", Deadline(self.time_limit_s))


def lockstep_latency(tables: Tables, plan: Plan) -> int:
    """Sum of the slot times of a plan, ticks."""
    work, exchange = slot_times(tables, plan.grid_indices(tables), plan.remote_pages(tables))
    return int(work.sum() + exchange.sum())


def start_values(model: pyo.ConcreteModel, tables: Tables, plan: Plan) -> pyo.ComponentMap:
    """Values of all variables of a model that stand for a plan.

    Parameters
    ----------
    model : ConcreteModel
        Built by one of the lockstep programs.
    tables : Tables
    plan : Plan

    Returns
    -------
    ComponentMap

    Raises
    ------
    ValueError
        If the plan is not one of the model's: too many chunks, or a chunk the model leaves out.
    """
    frame: Frame = model.frame
    missing = frame.chunks.count - plan.chunks
    if missing < 0:
        raise ValueError(f"the plan has {plan.chunks} chunks, the model at most {frame.chunks.count}")
    values = pyo.ComponentMap()
    boundaries = [0] * missing + plan.grid_indices(tables).tolist()
    for variable, value in frame.chunks.values(boundaries):
        values[variable] = value
    held = np.zeros((tables.stages, frame.chunks.count + 1, tables.stages), dtype=np.int64)
    held[:, missing + 1 :] = np.cumsum(plan.all_pages(tables), axis=1)
    for (i, j, k), variable in model.home.items():
        values[variable] = int(held[i, j, k])
    work, exchange = slot_times(tables, plan.grid_indices(tables), plan.remote_pages(tables))
    for times, variables in ((work, model.work), (exchange, model.exchange)):
        padded = [0] * missing + times.tolist()
        for t, variable in variables.items():
            values[variable] = padded[t] / frame.clock.unit
    return values


def read_plan(model: pyo.ConcreteModel, tables: Tables) -> Plan:
    """Read the plan that the values of a model's variables stand for; empty chunks are dropped."""
    frame: Frame = model.frame
    boundaries = frame.chunks.boundaries()
    held = np.zeros((tables.stages, frame.chunks.count + 1, tables.stages), dtype=np.int64)
    for (i, j, k), variable in model.home.items():
        held[i, j, k] = round(variable.value)
    return Plan.from_arrays(tables, boundaries, np.diff(held, axis=1))


@dataclass(frozen=True)
class Attempt:
    """One run of HiGHS on one model.

    Attributes
    ----------
    raw : SolveOutcome
        In units of the model's clock, the time spent building included.
    plan : Plan or None
        What it found, verified.
    bound : int or None
        Proved lower bound on the model's optimum, ticks.
    """

    raw: SolveOutcome
    plan: Plan | None
    bound: int | None


def attempt(
    model: pyo.ConcreteModel,
    tables: Tables,
    start: Plan | None,
    limits: Limits,
    *,
    solve: Callable[..., HighsResult] = solve_mip,
    check: Check = violations,
) -> Attempt:
    """Give a model to HiGHS and read what comes back.

    Parameters
    ----------
    model : ConcreteModel
    tables : Tables
    start : Plan, optional
        Feasible, and one of the model's plans.
    limits : Limits
    solve : callable
        `mocap_opt.solvers.highs.solve_mip`, or something with its signature.
    check : callable
        Lists what a plan breaks; usually `mocap_opt.schedule.verify.violations`.
    """
    frame: Frame = model.frame
    compiled = compile_model(model)
    point = None if start is None else compiled.column_values(start_values(model, tables, start))
    built_s = limits.deadline.elapsed_s
    price = partial(lockstep_latency, tables)
    read = partial(read_plan, model, tables)
    kept: list[Plan] = []
    result = solve(
        compiled.program,
        start=point,
        time_limit_s=limits.deadline.limit_s,
        gap=limits.gap,
        seed=limits.seed,
        threads=limits.threads,
        node_limit=limits.nodes,
        callback=_in_ticks(limits.callback, frame),
        on_solution=passing_on(limits, compiled, read, partial(check, tables), price, kept),
    )
    raw = replace(result.outcome, build_s=built_s, time_limit_s=limits.time_limit_s)
    if result.values is not None:
        compiled.load(result.values)
        plan = read()
        broken = check(tables, plan)
        if not broken:
            kept.append(plan)
        else:
            raw = replace(raw, message=f"the solution breaks a rule, beyond HiGHS's tolerance: {broken[0]}")
    bound = None if raw.bound is None else frame.clock.bound_ticks(raw.bound, frame.slots)
    return Attempt(raw, min(kept, key=price, default=None), bound)


def passing_on(
    limits: Limits,
    compiled: CompiledModel,
    read: Callable[[], Plan],
    broken: Callable[[Plan], list[Violation]],
    price: Callable[[Plan], int],
    kept: list[Plan],
) -> OnSolution | None:
    """What HiGHS is to call with better solutions: the callback, with the plan and its exact price.

    Parameters
    ----------
    limits : Limits
        With the callback.
    compiled : CompiledModel
        Takes the values.
    read : callable
        Reads the plan off the model's variables.
    broken : callable
        What a plan breaks; such plans, beyond HiGHS's tolerance, are passed over.
    price : callable
        The program's objective of a plan, ticks.
    kept : list of Plan
        Receives the plans too: asked to stop at one, HiGHS itself may end without it.
    """
    callback = limits.callback
    if callback is None:
        return None

    def found(values: FloatArray) -> bool:
        compiled.load(values)
        plan = read()
        if broken(plan):
            return False
        kept.append(plan)
        return callback(Progress(limits.deadline.elapsed_s, price(plan), None, plan))

    return found


def run_program(
    model: pyo.ConcreteModel,
    tables: Tables,
    start: Plan | None,
    limits: Limits,
    solve: Callable[..., HighsResult] = solve_mip,
) -> ProgramResult:
    """Solve a lockstep program in one run; parameters as for `attempt`.

    Returns
    -------
    ProgramResult
        Never worse than the start.
    """
    run = attempt(model, tables, start, limits, solve=solve)
    return settle(tables, [plan for plan in (start, run.plan) if plan is not None], run.raw, run.bound)


def no_plan(limits: Limits, message: str) -> ProgramResult:
    """Build the result for tables whose chunk graph is empty: no boundaries are allowed."""
    outcome = SolveOutcome(
        "highs",
        Status.INFEASIBLE,
        StopReason.INFEASIBLE,
        build_s=limits.deadline.elapsed_s,
        time_limit_s=limits.time_limit_s,
        gap_limit=limits.gap,
        seed=limits.seed,
        threads=limits.threads,
        message=message,
        confirmed_by=CHUNK_GRAPH,
    )
    return ProgramResult(None, outcome)


def check_start(tables: Tables, start: Plan | None) -> None:
    """Refuse a start that is not feasible.

    Raises
    ------
    ValueError
        Naming the first rule it breaks.
    """
    broken = [] if start is None else violations(tables, start)
    if broken:
        raise ValueError(f"the start is not feasible: {broken[0]}")


def settle(tables: Tables, plans: list[Plan], raw: SolveOutcome, bound: int | None) -> ProgramResult:
    """Keep the best plan, price it exactly, and say what is proved about it in whole ticks."""
    if not plans:
        proved = raw.status is Status.INFEASIBLE
        status = Status.INFEASIBLE if proved else Status.UNKNOWN
        stop = StopReason.ERROR if raw.objective is not None else raw.stop
        bound = None if proved else bound
        return ProgramResult(None, replace(raw, status=status, stop=stop, objective=None, bound=bound))
    priced = [(lockstep_latency(tables, plan), order, plan) for order, plan in enumerate(plans)]
    objective, _, best = min(priced)
    status, stop = Status.FEASIBLE, raw.stop
    if raw.status is Status.INFEASIBLE:
        stop, message = StopReason.ERROR, "HiGHS calls the program infeasible, but the start is feasible"
        raw = replace(raw, status=Status.UNKNOWN, stop=stop, message=message, confirmed_by=None)
        bound = None
    # Where times are continuous, slots are rounded up to whole ticks only after the solver proved
    # its optimum; that leaves a gap of rounding, far below the tolerance.
    rounded = raw.status is Status.OPTIMAL and (relative_gap(objective, bound) or 0.0) <= RELATIVE_TOLERANCE
    if bound is not None and bound > objective:
        raw, bound = without_beaten(raw, bound, objective)
        stop = raw.stop
    if raw.closes and bound is not None and (bound >= objective or rounded):
        status = Status.OPTIMAL
        stop = StopReason.OPTIMAL if stop in (StopReason.GAP_REACHED, StopReason.UNCONFIRMED) else stop
    return ProgramResult(best, replace(raw, status=status, stop=stop, objective=objective, bound=bound))


def without_beaten(raw: SolveOutcome, bound: int, objective: int) -> tuple[SolveOutcome, int | None]:
    """Take back a bound that a feasible plan beats.

    Parameters
    ----------
    raw : SolveOutcome
    bound, objective : int, ticks
        The bound is above the objective of a plan.

    Returns
    -------
    raw : SolveOutcome
        With a message, and nothing confirmed.
    bound : int or None
        None; the objective itself if the bound is confirmed and differs by rounding alone.
    """
    if raw.closes and bound - objective <= RELATIVE_TOLERANCE * objective:
        return raw, objective
    dropped = f"dropped HiGHS's bound of {bound} ticks: a feasible plan takes {objective}"
    return replace(raw, stop=StopReason.UNCONFIRMED, message=dropped, confirmed_by=None), None


def _in_ticks(callback: Callback | None, frame: Frame) -> Callback | None:
    """Translate the progress from units of the model's clock into ticks."""
    if callback is None:
        return None

    def report(progress: Progress) -> bool:
        incumbent = None if progress.incumbent is None else progress.incumbent * frame.clock.unit
        bound = None if progress.bound is None else frame.clock.bound_ticks(progress.bound, frame.slots)
        return callback(Progress(progress.elapsed_s, incumbent, bound))

    return report
