"""From plans to values of the contention-free Pyomo model and back, and the run in between."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pyomo.environ as pyo

from mocap_opt.formulations.contention_free_terms import schedule
from mocap_opt.formulations.lockstep_solution import Limits, passing_on, read_plan, without_beaten
from mocap_opt.formulations.model_data import Frame
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers.highs import solve_mip
from mocap_opt.solvers.outcome import (
    RELATIVE_TOLERANCE,
    ProgramResult,
    Progress,
    SolveOutcome,
    Status,
    StopReason,
    relative_gap,
)
from mocap_opt.solvers.pyomo_form import compile_model
from mocap_opt.tables.cost_tables import Tables


def start_values(model: pyo.ConcreteModel, tables: Tables, plan: Plan) -> pyo.ComponentMap:
    """Values of all variables of the model that stand for a plan.

    Parameters
    ----------
    model : ConcreteModel
        From `mocap_opt.formulations.contention_free.build`.
    tables : Tables
    plan : Plan

    Raises
    ------
    ValueError
        If the plan is not one of the model's.
    """
    frame: Frame = model.frame
    missing = frame.chunks.count - plan.chunks
    if missing < 0:
        raise ValueError(f"the plan has {plan.chunks} chunks, the model at most {frame.chunks.count}")
    values = pyo.ComponentMap()
    for variable, value in frame.chunks.values([0] * missing + plan.grid_indices(tables).tolist()):
        values[variable] = value
    held = np.zeros((tables.stages, frame.chunks.count + 1, tables.stages), dtype=np.int64)
    held[:, missing + 1 :] = np.cumsum(plan.all_pages(tables), axis=1)
    for (i, j, k), variable in model.home.items():
        values[variable] = int(held[i, j, k])
    times, unit = schedule(tables, plan), frame.clock.unit
    stage_of = {int(c): i for i, c in enumerate(model.send_class.tolist())}
    for (c, j), variable in model.send.items():
        values[variable] = 0 if j < missing else int(times.sends[stage_of[c], j - missing]) / unit
    for ticks, variables in ((times.durations, model.busy), (times.ends, model.end)):
        for (i, j), variable in variables.items():
            values[variable] = 0 if j < missing else int(ticks[i, j - missing]) / unit
    values[model.latency] = times.latency / unit
    return values


def run_program(
    model: pyo.ConcreteModel, tables: Tables, start: Plan | None, limits: Limits
) -> ProgramResult:
    """Solve the model with HiGHS; the result is never worse than the start.

    Parameters
    ----------
    model : ConcreteModel
    tables : Tables
    start : Plan, optional
        Feasible.
    limits : Limits
    """
    frame: Frame = model.frame
    compiled = compile_model(model)
    point = None if start is None else compiled.column_values(start_values(model, tables, start))
    built_s = limits.deadline.elapsed_s

    def report(progress: Progress) -> bool:
        incumbent = None if progress.incumbent is None else progress.incumbent * frame.clock.unit
        bound = None if progress.bound is None else _whole_ticks(frame, progress.bound)
        return limits.callback is not None and limits.callback(Progress(progress.elapsed_s, incumbent, bound))

    plans = [] if start is None else [start]
    result = solve_mip(
        compiled.program,
        start=point,
        time_limit_s=limits.deadline.limit_s,
        gap=limits.gap,
        seed=limits.seed,
        threads=limits.threads,
        node_limit=limits.nodes,
        callback=None if limits.callback is None else report,
        on_solution=passing_on(
            limits,
            compiled,
            partial(read_plan, model, tables),
            partial(violations, tables),
            lambda plan: schedule(tables, plan).latency,
            plans,
        ),
    )
    raw = replace(result.outcome, build_s=built_s, time_limit_s=limits.time_limit_s)
    if result.values is not None:
        compiled.load(result.values)
        found = read_plan(model, tables)
        broken = violations(tables, found)
        if broken:
            raw = replace(raw, message=f"the solution breaks a rule, beyond HiGHS's tolerance: {broken[0]}")
        else:
            plans.append(found)
    bound = None if raw.bound is None else _whole_ticks(frame, float(raw.bound))
    return _settle(tables, plans, raw, bound)


def _whole_ticks(frame: Frame, bound: float) -> int:
    """Turn HiGHS's bound into ticks; a path through the model adds up to four rows a chunk."""
    return frame.clock.bound_ticks(bound, 4 * frame.slots)


def _settle(tables: Tables, plans: list[Plan], raw: SolveOutcome, bound: int | None) -> ProgramResult:
    """Keep the best plan, price it exactly, and say what is proved about it in whole ticks."""
    if not plans:
        proved = raw.status is Status.INFEASIBLE
        status = Status.INFEASIBLE if proved else Status.UNKNOWN
        stop = StopReason.ERROR if raw.objective is not None else raw.stop
        bound = None if proved else bound
        return ProgramResult(None, replace(raw, status=status, stop=stop, objective=None, bound=bound))
    priced = [(schedule(tables, plan).latency, order, plan) for order, plan in enumerate(plans)]
    objective, _, best = min(priced)
    status, stop, message = Status.FEASIBLE, raw.stop, raw.message
    if raw.status is Status.INFEASIBLE:
        stop, bound = StopReason.ERROR, None
        raw = replace(raw, confirmed_by=None)
        message = "HiGHS calls the program infeasible, but the start is feasible"
    # Where times are continuous, they are rounded to whole ticks only after HiGHS proved its
    # optimum; that leaves a gap of rounding, far below the tolerance.
    rounded = raw.status is Status.OPTIMAL and (relative_gap(objective, bound) or 0.0) <= RELATIVE_TOLERANCE
    if bound is not None and bound > objective:
        raw, bound = without_beaten(raw, bound, objective)
        stop, message = raw.stop, raw.message
    if raw.closes and bound is not None and (bound >= objective or rounded):
        status = Status.OPTIMAL
        stop = StopReason.OPTIMAL if stop in (StopReason.GAP_REACHED, StopReason.UNCONFIRMED) else stop
    settled = replace(raw, status=status, stop=stop, objective=objective, bound=bound, message=message)
    return ProgramResult(best, settled)
