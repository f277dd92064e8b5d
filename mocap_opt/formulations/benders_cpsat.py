"""The decomposed lockstep program for CP-SAT: the same rows of the same master, in exact integers.

Mathematics: ``formulations/decomposition.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Unpack

import pyomo.environ as pyo

from mocap_opt.arrays import IntArray
from mocap_opt.formulations import decomposition, joint, joint_cpsat
from mocap_opt.formulations.benders import solve_in_rounds
from mocap_opt.formulations.benders_state import Solvers
from mocap_opt.formulations.chunk_graph import Arcs, ChunkGraph
from mocap_opt.formulations.exact_rows import exact_rows
from mocap_opt.formulations.partition_cuts import PartitionCut
from mocap_opt.formulations.plan_cpsat import decisions
from mocap_opt.formulations.plan_cpsat import read_plan as read_values
from mocap_opt.formulations.pyomo_solution import Attempt, Check, conclude, read_plan, start_values
from mocap_opt.formulations.rows import TimeUnit
from mocap_opt.formulations.slot_times import lockstep_latency
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers import cpsat
from mocap_opt.solvers.limits import Limits, ProgramOptions
from mocap_opt.solvers.outcome import ProgramResult, Progress
from mocap_opt.tables.cost_tables import Tables

NAMES = tuple(name for name, _ in decomposition.FAMILIES)


def build(
    tables: Tables, graph: ChunkGraph | None = None, *, cuts: Sequence[PartitionCut] = ()
) -> pyo.ConcreteModel | None:
    """Declare the master in whole ticks, without rows: `exact_rows` takes them as they are.

    Parameters
    ----------
    tables, graph, cuts
        As for `decomposition.build`.
    """
    model = decomposition.build(tables, graph, cuts=cuts, unit=TimeUnit(1, True), without=NAMES)
    if model is not None:
        model.families = decomposition.FAMILIES
    return model


def build_whole(tables: Tables, graph: ChunkGraph) -> pyo.ConcreteModel | None:
    """Declare the joint program over the chunks of a graph, likewise.

    Parameters
    ----------
    tables : Tables
    graph : ChunkGraph
    """
    names = [name for name, _ in joint.FAMILIES]
    model = joint.build(tables, graph=graph, unit=TimeUnit(1, True), without=names)
    if model is not None:
        model.families = joint.FAMILIES
    return model


def attempt(
    model: pyo.ConcreteModel, tables: Tables, start: Plan | None, limits: Limits, *, check: Check
) -> Attempt:
    """Give a master to CP-SAT and read what comes back.

    Parameters
    ----------
    model : ConcreteModel
        From `build` or `build_whole`.
    tables, start, limits, check
        As for `pyomo_solution.attempt`.
    """
    rows = exact_rows(model, model.families)
    values = None
    if start is not None:
        given = start_values(model, tables, start)
        values = [round(given[variable]) for variable in rows.variables]
    price = partial(model.data.timing.latency, tables)

    def plan_of(found: Sequence[int]) -> Plan:
        rows.load(found)
        return read_plan(model, tables)

    def on_solution(found: Sequence[int]) -> bool:
        plan = plan_of(found)
        assert limits.callback is not None
        return limits.callback(Progress(limits.deadline.elapsed_s, price(plan), None, plan))

    left = replace(limits, time_limit_s=limits.deadline.limit_s)
    result = cpsat.solve(
        rows.program, start=values, limits=left, on_solution=None if limits.callback is None else on_solution
    )
    plan = None if result.values is None else plan_of(result.values)
    broken = [] if plan is None else check(tables, plan)
    if broken:
        raise RuntimeError(f"CP-SAT's boundaries break a rule: {broken[0]}")
    bound = result.outcome.bound
    return Attempt(result.outcome, plan, None if bound is None else int(bound))


def place(tables: Tables, indices: IntArray, start: Plan | None, limits: Limits) -> ProgramResult:
    """Homes of least lockstep latency for given boundaries: the lockstep program with all boundaries fixed.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices, strictly increasing.
    start : Plan or None
        A feasible plan with these boundaries.
    limits : Limits
    """
    positions = max(tables.counts)
    marks = [0] * (positions + 1 - indices.size) + indices.tolist()
    variables = joint_cpsat.build(tables, windows=[(mark, mark) for mark in marks])
    values = None if start is None else variables.program.complete(decisions(variables, start))
    result = cpsat.solve(
        variables.program, start=values, limits=replace(limits, time_limit_s=limits.deadline.limit_s)
    )
    plans = [] if result.values is None else [read_values(variables, result.values)]
    wrong = [violation for plan in plans for violation in violations(tables, plan)]
    if wrong:
        raise RuntimeError(f"the plan is not feasible: {wrong[0]}")
    bound = result.outcome.bound
    return conclude(
        plans, partial(lockstep_latency, tables), result.outcome, None if bound is None else int(bound)
    )


CPSAT = Solvers(build, build_whole, attempt, place, lockstep_latency, exact=True)


def solve_decomposition(
    tables: Tables,
    start: Plan | None = None,
    *,
    arcs: Arcs | None = None,
    **options: Unpack[ProgramOptions],
) -> ProgramResult:
    """Find boundaries and homes of least lockstep latency with CP-SAT, one after the other.

    Parameters
    ----------
    tables, start, arcs, **options
        As for `benders.solve_decomposition`, and so are the errors.

    Returns
    -------
    ProgramResult
        Objective and bound in ticks, exact.
    """
    return solve_in_rounds(CPSAT, tables, start, arcs, Limits(**options))
