"""The lockstep program: boundaries and homes at once, least sum of slot times.

Mathematics: ``formulations/joint.md``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import pyomo.environ as pyo

from mocap_opt.formulations.boundary_families import (
    BOUNDARY_FAMILIES,
    covering_chunk_delays,
    declare_boundaries,
)
from mocap_opt.formulations.chunk_graph import chunk_graph
from mocap_opt.formulations.frame import Frame
from mocap_opt.formulations.home_families import (
    EXCHANGE_FAMILIES,
    HOME_FAMILIES,
    WORK_FAMILIES,
    add_latency,
    declare_homes_and_times,
    horizon,
    possible_homes,
)
from mocap_opt.formulations.lockstep_solution import (
    Limits,
    check_start,
    lockstep_latency,
    no_plan,
    read_plan,
    run_program,
    start_values,
)
from mocap_opt.formulations.rows import Clock, Family, add_families
from mocap_opt.plan import Plan
from mocap_opt.solvers.outcome import Callback, ProgramResult
from mocap_opt.tables import Tables

__all__ = ["FAMILIES", "build", "read_plan", "solve_joint", "start_values"]

CUT_FAMILIES: tuple[Family, ...] = (("covering_chunk_delays", covering_chunk_delays),)

FAMILIES: tuple[Family, ...] = (
    *BOUNDARY_FAMILIES,
    *HOME_FAMILIES,
    *WORK_FAMILIES,
    *EXCHANGE_FAMILIES,
    *CUT_FAMILIES,
)


def build(
    tables: Tables, *, no_worse_than: int | None = None, without: Iterable[str] = ()
) -> pyo.ConcreteModel | None:
    """Build the model.

    Parameters
    ----------
    tables : Tables
    no_worse_than : int, optional
        Lockstep latency of a known plan, ticks: chunks that only occur in worse plans are left out.
    without : iterable of str
        Families to leave out, to see what they are good for.

    Returns
    -------
    ConcreteModel or None
        None if no boundaries are allowed at all, so that there is nothing to model.
    """
    graph = chunk_graph(tables, no_worse_than=no_worse_than)
    if graph.empty:
        return None
    model = pyo.ConcreteModel("joint")
    clock = Clock.for_horizon(horizon(tables) if no_worse_than is None else no_worse_than)
    chunks = declare_boundaries(model, tables, graph, clock)
    model.frame = Frame(tables, clock, chunks, possible_homes(tables))
    declare_homes_and_times(model, model.frame)
    add_families(model, FAMILIES, without)
    add_latency(model)
    return model


def solve_joint(
    tables: Tables,
    start: Plan | None = None,
    *,
    time_limit_s: float | None = None,
    gap: float = 0.0,
    seed: int = 0,
    threads: int = 1,
    callback: Callback | None = None,
) -> ProgramResult:
    """Find boundaries and homes of least lockstep latency with HiGHS.

    Parameters
    ----------
    tables : Tables
    start : Plan, optional
        A feasible plan.  It is given to HiGHS, prunes the model, and the result is never worse.
    time_limit_s : float, optional
        For building and solving together.
    gap : float
        Relative gap at which to stop.
    seed, threads : int
    callback : Callback, optional
        Sees the progress in ticks; returning True stops the search.

    Returns
    -------
    ProgramResult
        Objective and bound are whole ticks; the bound holds for the lockstep replay of every
        feasible plan.

    Raises
    ------
    ValueError
        If the start is not feasible.
    SolverUnavailableError
        If HiGHS cannot be loaded.
    """
    began = time.perf_counter()
    limits = Limits(time_limit_s, gap, seed, threads, callback)
    check_start(tables, start)
    model = build(tables, no_worse_than=None if start is None else lockstep_latency(tables, start))
    if model is None:
        return no_plan(began, limits, "no boundaries keep to the limits and fit in memory")
    return run_program(model, tables, start, limits, began)
