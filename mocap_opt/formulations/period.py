"""The lockstep period program for HiGHS through Pyomo (formulations/period.md), for one W.

Boundaries, homes and slot times are the families of the joint program, over cyclic slots.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Unpack

import pyomo.environ as pyo

from mocap_opt.formulations.boundary_families import BOUNDARY_FAMILIES
from mocap_opt.formulations.chunk_graph import chunk_graph
from mocap_opt.formulations.home_families import (
    EXCHANGE_FAMILIES,
    HOME_FAMILIES,
    WORK_FAMILIES,
    declare_lockstep,
    possible_homes,
)
from mocap_opt.formulations.period_cpsat import PeriodResult
from mocap_opt.formulations.presolve import positions
from mocap_opt.formulations.pyomo_solution import CHUNK_GRAPH, read_plan, without_beaten
from mocap_opt.formulations.rows import Family, add_families
from mocap_opt.formulations.slot_times import lockstep_latency
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.solvers.highs import solve_mip
from mocap_opt.solvers.limits import Limits, SolverOptions
from mocap_opt.solvers.outcome import SolveOutcome, Status, StopReason
from mocap_opt.solvers.pyomo_form import compile_model
from mocap_opt.tables.cost_tables import Tables, require_bounded_queues

FAMILIES: tuple[Family, ...] = (*BOUNDARY_FAMILIES, *HOME_FAMILIES, *WORK_FAMILIES, *EXCHANGE_FAMILIES)


def build(tables: Tables, slots: int, *, without: Iterable[str] = ()) -> pyo.ConcreteModel | None:
    """Build the model for requests `slots` slots apart; None if no boundaries are allowed.

    Parameters
    ----------
    tables : Tables
    slots : int
        W.
    without : iterable of str
        Families to leave out, to see what they are good for.

    Raises
    ------
    InputError
        If queues are unbounded.
    """
    require_bounded_queues(tables)
    limited = positions(tables, slots)
    # What a request cannot do alone it cannot do among others, so the graph of one request holds.
    graph = None if limited is None else chunk_graph(limited)
    if limited is None or graph is None or graph.empty:
        return None
    model = pyo.ConcreteModel("period")
    declare_lockstep(model, limited, graph, possible_homes(limited, endless=True), interval=slots)
    add_families(model, FAMILIES, without)
    return model


def solve_period(
    tables: Tables,
    slots: int,
    **options: Unpack[SolverOptions],
) -> PeriodResult:
    """Minimise the lockstep period of requests `slots` slots apart with HiGHS.

    Parameters
    ----------
    tables : Tables
    slots : int
        W.
    **options
        `mocap_opt.solvers.limits.SolverOptions`.

    Returns
    -------
    PeriodResult
        Objective and bound are whole ticks; the bound covers lockstep at this W.

    Raises
    ------
    InputError
        If queues are unbounded.
    SolverUnavailableError
        If HiGHS cannot be loaded.
    """
    limits = Limits(**options)
    model = build(tables, slots)
    if model is None:
        outcome = SolveOutcome("highs", Status.INFEASIBLE, StopReason.INFEASIBLE, confirmed_by=CHUNK_GRAPH)
        return PeriodResult(None, outcome)
    compiled = compile_model(model)
    built_s = limits.deadline.elapsed_s
    result = solve_mip(
        compiled.program,
        time_limit_s=limits.deadline.limit_s,
        gap=limits.gap,
        seed=limits.seed,
        threads=limits.threads,
        callback=limits.callback,
    )
    raw = replace(result.outcome, build_s=built_s, time_limit_s=limits.time_limit_s)
    bound = None if raw.bound is None else model.data.bound_ticks(raw.bound)
    if result.values is None:
        return PeriodResult(None, replace(raw, bound=bound))
    compiled.load(result.values)
    found = Schedule.of(tables, read_plan(model, model.data.tables), slots)
    broken = schedule_violations(found)
    if broken:
        message = f"the solution breaks a rule, beyond HiGHS's tolerance: {broken[0]}"
        unknown = replace(raw, status=Status.UNKNOWN, stop=StopReason.ERROR, objective=None, bound=bound)
        return PeriodResult(None, replace(unknown, message=message))
    objective = lockstep_latency(tables, found.plan, slots)
    if bound is not None and bound > objective:
        raw, bound = without_beaten(raw, bound, objective)
    status = Status.OPTIMAL if raw.closes and bound == objective else Status.FEASIBLE
    return PeriodResult(found, replace(raw, status=status, objective=objective, bound=bound))
