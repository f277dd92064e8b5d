"""The lockstep period program for HiGHS through Pyomo (formulations/period.md), for one W.

Boundaries, homes and slot times are the families of the joint program, over cyclic slots.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
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
from mocap_opt.formulations.pyomo_solution import no_plan, run_program
from mocap_opt.formulations.rows import Family, add_families
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import Violation, schedule_violations
from mocap_opt.solvers.limits import Limits, SolverOptions
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
        return PeriodResult(
            None, no_plan(limits, "no boundaries keep to the limits and fit in memory").outcome
        )
    result = run_program(model, tables, None, limits, check=partial(_violations, slots))
    found = None if result.plan is None else Schedule.of(tables, result.plan, slots)
    return PeriodResult(found, result.outcome)


def _violations(slots: int, tables: Tables, plan: Plan) -> list[Violation]:
    """What a plan breaks if requests come again so many slots apart."""
    return schedule_violations(Schedule.of(tables, plan, slots))
