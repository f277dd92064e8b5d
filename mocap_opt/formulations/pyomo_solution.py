"""From plans to values of a Pyomo model's variables and back, and the run in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pyomo.environ as pyo

from mocap_opt.formulations.rows import ModelData, Timing
from mocap_opt.formulations.slot_times import lockstep_latency, slot_times, slot_waits
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import Violation, violations
from mocap_opt.solvers.highs import HighsResult, solve_mip
from mocap_opt.solvers.limits import Limits
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
from mocap_opt.solvers.pyomo_form import compile_model
from mocap_opt.tables.cost_tables import Tables

Check = Callable[[Tables, Plan], list[Violation]]

CHUNK_GRAPH = "the chunk graph"
"""What proves, in whole numbers and without HiGHS, that a program is empty or takes at least so long."""


def start_values(model: pyo.ConcreteModel, tables: Tables, plan: Plan) -> pyo.ComponentMap:
    """Values of all variables of a model that stand for a plan.

    Parameters
    ----------
    model : ConcreteModel
        Built by one of the programs.
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
    data: ModelData = model.data
    missing = data.chunks.count - plan.chunks
    if missing < 0:
        raise ValueError(f"the plan has {plan.chunks} chunks, the model at most {data.chunks.count}")
    values = pyo.ComponentMap()
    boundaries = [0] * missing + plan.grid_indices(tables).tolist()
    held = np.zeros((tables.stages, data.chunks.count + 1, tables.memories), dtype=np.int64)
    held[:, missing + 1 :] = np.cumsum(plan.all_pages(tables), axis=1)
    homes = ((variable, int(held[at])) for at, variable in model.home.items())
    ticks = data.timing.values(model, tables, plan, missing)
    times = ((variable, time / data.time_unit.ticks) for variable, time in ticks)
    for variable, value in chain(data.chunks.values(boundaries), homes, times):
        values[variable] = value
    return values


def _lockstep_values(
    model: pyo.ConcreteModel, tables: Tables, plan: Plan, missing: int
) -> Iterator[tuple[Any, int]]:
    """Variables that are slot times and their values for a plan (`rows.Timing.values`).

    Parameters
    ----------
    model : ConcreteModel
    tables : Tables
    plan : Plan
    missing : int
        Leading positions that are empty; so are as many slots.

    Yields
    ------
    variable, ticks
    """
    interval = model.data.interval
    times = slot_times(tables, plan.grid_indices(tables), plan.remote_pages(tables), interval)
    if model.wait:
        waits = slot_waits(tables, plan.grid_indices(tables), times[0] + times[1])
        yield from ((model.wait[t + missing], int(ticks)) for t, ticks in enumerate(waits))
        yield from ((model.wait[t], 0) for t in range(missing))
    for ticks, variables in zip(times, (model.work, model.exchange), strict=True):
        # Slots of an interval go round: those that empty chunks push past its end are its first ones.
        for t, variable in variables.items():
            yield variable, int(ticks[t - missing]) if t >= missing or interval else 0


def lockstep_timing(interval: int | None = None) -> Timing:
    """Of programs that minimise the sum of slot times; with an interval, of requests that far apart."""
    return Timing(partial(lockstep_latency, interval=interval), _lockstep_values)


def read_plan(model: pyo.ConcreteModel, tables: Tables) -> Plan:
    """Read the plan that the values of a model's variables stand for; empty chunks are dropped.

    Parameters
    ----------
    model : ConcreteModel
        Its variables have values.
    tables : Tables

    Returns
    -------
    Plan
        Not verified.
    """
    data: ModelData = model.data
    boundaries = data.chunks.boundaries()
    held = np.zeros((tables.stages, data.chunks.count + 1, tables.memories), dtype=np.int64)
    for (i, *_, j, k), variable in model.home.items():
        held[i, j, k] += round(variable.value)
    layout = None if data.layers is None else data.layers.chosen(model)
    return replace(Plan.from_arrays(tables, boundaries, np.diff(held, axis=1)), layout=layout)


@dataclass(frozen=True)
class Attempt:
    """One run of HiGHS on one model.

    Attributes
    ----------
    raw : SolveOutcome
        In the model's units of time, the time spent building included.
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
    data: ModelData = model.data
    compiled = compile_model(model)
    point = None if start is None else compiled.column_values(start_values(model, tables, start))
    built_s = limits.deadline.elapsed_s
    price = partial(data.timing.latency, tables)
    kept: list[Plan] = []

    def found(values: FloatArray) -> bool:
        compiled.load(values)
        plan = read_plan(model, tables)
        if limits.callback is None or check(tables, plan):
            return False
        # Kept too, because HiGHS, asked to stop at a plan, may end without it.
        kept.append(plan)
        return limits.callback(Progress(limits.deadline.elapsed_s, price(plan), None, plan))

    result = solve(
        compiled.program,
        start=point,
        node_limit=limits.nodes,
        on_solution=None if limits.callback is None else found,
        time_limit_s=limits.deadline.limit_s,
        gap=limits.gap,
        seed=limits.seed,
        threads=limits.threads,
        callback=_in_ticks(limits.callback, data),
    )
    raw = replace(result.outcome, build_s=built_s, time_limit_s=limits.time_limit_s)
    if result.values is not None:
        compiled.load(result.values)
        plan = read_plan(model, tables)
        broken = check(tables, plan)
        if not broken:
            kept.append(plan)
        else:
            raw = replace(raw, message=f"the solution breaks a rule, beyond HiGHS's tolerance: {broken[0]}")
    bound = None if raw.bound is None else data.bound_ticks(raw.bound)
    return Attempt(raw, min(kept, key=price, default=None), bound)


def run_program(
    model: pyo.ConcreteModel,
    tables: Tables,
    start: Plan | None,
    limits: Limits,
    *,
    solve: Callable[..., HighsResult] = solve_mip,
    check: Check = violations,
) -> ProgramResult:
    """Solve a program in one run.

    Parameters
    ----------
    model, tables, start, limits, solve, check
        As for `attempt`.

    Returns
    -------
    ProgramResult
        Never worse than the start.
    """
    run = attempt(model, tables, start, limits, solve=solve, check=check)
    plans = [plan for plan in (start, run.plan) if plan is not None]
    return conclude(plans, partial(model.data.timing.latency, tables), run.raw, run.bound)


def no_plan(limits: Limits, message: str) -> ProgramResult:
    """Build the result for tables whose chunk graph is empty: no boundaries are allowed.

    Parameters
    ----------
    limits : Limits
        Those that the run would have had.
    message : str
        Why there is no plan.
    """
    outcome = SolveOutcome(
        "highs",
        Status.INFEASIBLE,
        StopReason.INFEASIBLE,
        build_s=limits.deadline.elapsed_s,
        time_limit_s=limits.time_limit_s,
        gap_limit=limits.gap,
        seed=limits.seed,
        threads=limits.threads or 1,
        message=message,
        confirmed_by=CHUNK_GRAPH,
    )
    return ProgramResult(None, outcome)


def check_start(tables: Tables, start: Plan | None) -> None:
    """Refuse a start that is not feasible.

    Parameters
    ----------
    tables : Tables
    start : Plan or None

    Raises
    ------
    ValueError
        Naming the first rule it breaks.
    """
    broken = [] if start is None else violations(tables, start)
    if broken:
        raise ValueError(f"the start is not feasible: {broken[0]}")


def conclude(
    plans: Sequence[Plan], price: Callable[[Plan], int], raw: SolveOutcome, bound: int | None
) -> ProgramResult:
    """Keep the best plan, price it exactly, and say what is proved about it in whole ticks.

    Parameters
    ----------
    plans : sequence of Plan
        Feasible.
    price : callable
        The program's objective of a plan, ticks.
    raw : SolveOutcome
        What the solver says, in the model's units of time.
    bound : int or None
        Lower bound on the optimum, ticks; as sound as `raw` says.
    """
    if not plans:
        proved = raw.status is Status.INFEASIBLE
        status = Status.INFEASIBLE if proved else Status.UNKNOWN
        stop = StopReason.ERROR if raw.objective is not None else raw.stop
        bound = None if proved else bound
        return ProgramResult(None, replace(raw, status=status, stop=stop, objective=None, bound=bound))
    priced = [(price(plan), order, plan) for order, plan in enumerate(plans)]
    objective, _, best = min(priced)
    status, stop = Status.FEASIBLE, raw.stop
    if raw.status is Status.INFEASIBLE:
        stop, message = StopReason.ERROR, "HiGHS calls the program infeasible, but the start is feasible"
        raw = replace(raw, status=Status.UNKNOWN, stop=stop, message=message, confirmed_by=None)
        bound = None
    # Where times are continuous, they are rounded to whole ticks only after the solver proved its
    # optimum; that leaves a gap of rounding, far below the tolerance.
    rounded = raw.status is Status.OPTIMAL and (relative_gap(objective, bound) or 0.0) <= RELATIVE_TOLERANCE
    if bound is not None and bound > objective:
        raw, bound = without_contradicted(raw, bound, objective)
        stop = raw.stop
    if raw.closes and bound is not None and (bound >= objective or rounded):
        status = Status.OPTIMAL
        stop = StopReason.OPTIMAL if stop in (StopReason.GAP_REACHED, StopReason.UNCONFIRMED) else stop
    return ProgramResult(best, replace(raw, status=status, stop=stop, objective=objective, bound=bound))


def without_contradicted(raw: SolveOutcome, bound: int, objective: int) -> tuple[SolveOutcome, int | None]:
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


def _in_ticks(callback: Callback | None, data: ModelData) -> Callback | None:
    """Translate the progress from the model's units of time into ticks."""
    if callback is None:
        return None

    def report(progress: Progress) -> bool:
        incumbent = None if progress.incumbent is None else progress.incumbent * data.time_unit.ticks
        bound = None if progress.bound is None else data.bound_ticks(progress.bound)
        return callback(Progress(progress.elapsed_s, incumbent, bound))

    return report
