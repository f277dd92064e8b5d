"""The lockstep program: boundaries and homes at once, least sum of slot times.

Mathematics: ``formulations/joint.md``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

import pyomo.environ as pyo

from mocap_opt.formulations.boundary_families import BOUNDARY_FAMILIES
from mocap_opt.formulations.chunk_graph import ChunkGraph, chunk_graph
from mocap_opt.formulations.home_families import (
    EXCHANGE_FAMILIES,
    HOME_FAMILIES,
    START_FAMILIES,
    WORK_FAMILIES,
    declare_lockstep,
    latency_within_target,
    possible_homes,
)
from mocap_opt.formulations.pyomo_solution import check_start
from mocap_opt.formulations.rows import Family, TimeUnit, add_families
from mocap_opt.formulations.target_search import search_by_targets
from mocap_opt.schedule.plan import Plan
from mocap_opt.solvers.limits import Limits, ProgramOptions
from mocap_opt.solvers.outcome import ProgramResult
from mocap_opt.solvers.pyomo_form import without_collection
from mocap_opt.tables.cost_tables import Tables

FAMILIES: tuple[Family, ...] = (
    *BOUNDARY_FAMILIES,
    *HOME_FAMILIES,
    *WORK_FAMILIES,
    *EXCHANGE_FAMILIES,
    *START_FAMILIES,
    ("latency_within_target", latency_within_target),
)


@without_collection
def build(
    tables: Tables,
    *,
    no_worse_than: int | None = None,
    graph: ChunkGraph | None = None,
    unit: TimeUnit | None = None,
    without: Iterable[str] = (),
) -> pyo.ConcreteModel | None:
    """Build the model.

    Parameters
    ----------
    tables : Tables
    no_worse_than : int, optional
        Ticks: worse plans are not wanted, and chunks that only occur in such are left out.
    graph : ChunkGraph, optional
        The chunks that may stand at each position, where fewer than `chunk_graph` finds are enough.
    unit : TimeUnit, optional
        Of the times; the one that suits HiGHS, unless given.
    without : iterable of str
        Families to leave out, to see what they are good for.

    Returns
    -------
    ConcreteModel or None
        None if no boundaries are allowed at all, so that there is nothing to model.
    """
    graph = chunk_graph(tables, no_worse_than=no_worse_than) if graph is None else graph
    if graph.empty:
        return None
    model = pyo.ConcreteModel("joint")
    declare_lockstep(model, tables, graph, possible_homes(tables), target=no_worse_than, unit=unit)
    add_families(model, FAMILIES, without)
    return model


def solve_joint(
    tables: Tables,
    start: Plan | None = None,
    **options: Unpack[ProgramOptions],
) -> ProgramResult:
    """Find boundaries and homes of least lockstep latency with HiGHS.

    Targets are tried from the least conceivable latency upwards (`target_search`).

    Parameters
    ----------
    tables : Tables
    start : Plan, optional
        A feasible plan.  It prunes the models, is given to the last of them, and the result is
        never worse.
    **options
        `mocap_opt.solvers.limits.ProgramOptions`.

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
    check_start(tables, start)
    return search_by_targets(
        tables, start, Limits(**options), lambda target: build(tables, no_worse_than=target)
    )
