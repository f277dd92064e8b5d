"""Boundaries by a master, homes by a subproblem, and cuts from the one to the other.

Mathematics: ``formulations/decomposition.md``.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Unpack

import pyomo.environ as pyo

from mocap_opt.arrays import IntArray
from mocap_opt.formulations import joint
from mocap_opt.formulations.benders_state import RoundsState, Solvers
from mocap_opt.formulations.chunk_graph import Arcs, ChunkGraph, chunk_graph
from mocap_opt.formulations.chunk_partition import pooled_violations
from mocap_opt.formulations.decomposition import build
from mocap_opt.formulations.home_families import possible_homes
from mocap_opt.formulations.kv_placement import solve_kv_placement
from mocap_opt.formulations.partition_cuts import PartitionCut
from mocap_opt.formulations.presolve import (
    MOST_MASTER_ARCS,
    MOST_NONZEROS,
    NONZEROS_PER_S,
    allowed_arcs,
    estimated_nonzeros,
)
from mocap_opt.formulations.pyomo_solution import CHUNK_GRAPH, Attempt, attempt, check_start, conclude
from mocap_opt.formulations.slot_times import lockstep_latency
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers.highs import solve_lp
from mocap_opt.solvers.limits import Limits, ProgramOptions
from mocap_opt.solvers.outcome import ProgramResult, SolveOutcome, Status, StopReason
from mocap_opt.solvers.pyomo_form import compile_model
from mocap_opt.solvers.safe_dual import CERTIFIED_BY, certified_bound
from mocap_opt.tables.cost_tables import Tables

SHARE_OF_MASTER = 0.8
"""Part of the time left that a master may take; the rest is for homes."""

SHARE_OF_HOMES = 0.5
"""Part of the time left after it that the homes of its boundaries may take."""

ROUNDING = Fraction(1, 2**52)
"""How far a coefficient of a row that was divided by its pivot may be from what it stands for, relatively."""


def place(tables: Tables, indices: IntArray, start: Plan | None, limits: Limits) -> ProgramResult:
    """Homes of least lockstep latency for given boundaries, by the placement program.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices, strictly increasing.
    start : Plan or None
        A feasible plan with these boundaries.
    limits : Limits
    """
    return solve_kv_placement(
        tables,
        indices,
        start=start,
        time_limit_s=limits.deadline.limit_s,
        gap=limits.gap,
        seed=limits.seed,
        threads=limits.threads,
    )


def _build_whole(tables: Tables, graph: ChunkGraph) -> pyo.ConcreteModel | None:
    """The joint program over the chunks of a graph (`Solvers.build_whole`)."""
    return joint.build(tables, graph=graph)


HIGHS = Solvers(build, _build_whole, attempt, place, lockstep_latency, exact=False)


def solve_decomposition(
    tables: Tables,
    start: Plan | None = None,
    *,
    arcs: Arcs | None = None,
    **options: Unpack[ProgramOptions],
) -> ProgramResult:
    """Find boundaries and homes of least lockstep latency with HiGHS, homes only as far as they matter.

    Parameters
    ----------
    tables : Tables
    start : Plan, optional
        A feasible plan; the result is never worse.
    arcs : callable, optional
        The chunks that plans no worse than a lockstep latency use; `chunk_graph.chunk_graph` unless
        something that leaves fewer is known.
    **options
        `mocap_opt.solvers.limits.ProgramOptions`.

    Returns
    -------
    ProgramResult
        Objective and bound are whole ticks; the bound holds for the lockstep replay of every feasible
        plan.

    Raises
    ------
    ValueError
        If the start is not feasible.
    SolverUnavailableError
        If HiGHS cannot be loaded.
    """
    return solve_in_rounds(HIGHS, tables, start, arcs, Limits(**options))


def solve_in_rounds(
    solvers: Solvers, tables: Tables, start: Plan | None, arcs: Arcs | None, limits: Limits
) -> ProgramResult:
    """Alternate between a master and homes for its boundaries.

    Parameters
    ----------
    solvers : Solvers
    tables, start, arcs
        As for `solve_decomposition`, and so are the errors.
    limits : Limits
        For all rounds together.
    """
    check_start(tables, start)
    arcs = arcs or (lambda target: chunk_graph(tables, no_worse_than=target))
    search = RoundsState(tables, limits, arcs, solvers, limits.deterministic_limit)
    search.offer(start)
    if search.upper is not None:
        search.whole = _at_home(search, search.plans[0]) < search.upper * (1 - limits.gap)
    while not search.closed and not search.stopped and _round(search):
        pass
    return _conclude(search)


def _round(search: RoundsState) -> bool:
    """Solve a master and place the homes of its boundaries; False if another round is of no use."""
    tables = search.tables
    began = search.limits.deadline.elapsed_s
    graph = search.arcs(search.upper)
    search.left = graph.chunks
    if search.left > MOST_MASTER_ARCS:
        search.message = f"not built, {search.left:,} chunks are left, more than {MOST_MASTER_ARCS:,}"
        return False
    model = _model(search, graph)
    if model is None:
        # Plans no worse than the best one would be left: only without one is the graph empty.
        search.prove(None, CHUNK_GRAPH)
        return False
    search.build_s += search.limits.deadline.elapsed_s - began
    if search.closed:
        return False
    limits = search.within(1.0 if search.whole else SHARE_OF_MASTER)
    if search.whole:
        known = search.plans[-1] if search.plans else None
        run = search.solvers.run(model, tables, known, limits, check=violations)
        search.offer(run.plan)
        _learn(search, run)
        return False
    run = search.solvers.run(model, tables, _known(search), limits, check=pooled_violations)
    _learn(search, run)
    if search.closed or search.stopped or run.plan is None or run.raw.stop is StopReason.ERROR:
        return False
    # Another round: with a cut, or with homes unless they make it too large.
    another = _place(search, run.plan)
    _take_bound(search, run)
    return another and run.raw.stop in (StopReason.OPTIMAL, StopReason.GAP_REACHED)


def _model(search: RoundsState, graph: ChunkGraph) -> pyo.ConcreteModel | None:
    """A master, or the program with homes where traffic counts; None if nothing is left.

    Traffic counts where homes have cost latency, or raise what the relaxation proves.
    """
    tables, solvers = search.tables, search.solvers
    search.whole = search.whole and _worth_building(search)
    if not search.whole:
        master = solvers.build(tables, graph, cuts=search.cuts)
        if master is None or solvers.exact:
            return master
        _prove_root(search, master)
        if search.cuts or search.closed or search.upper is None or not _worth_building(search):
            return master
        if not any(possible_homes(tables)):
            return master
    before = search.lower
    whole = solvers.build_whole(tables, graph)
    if whole is None or solvers.exact:
        return whole
    _prove_root(search, whole)
    search.whole = search.whole or search.lower > before * (1 + search.limits.gap)
    return whole if search.whole else master


def _worth_building(search: RoundsState) -> bool:
    """Whether the joint program over the chunks left is small enough, and there is time to build it."""
    left_s = search.limits.deadline.left_s
    nonzeros = estimated_nonzeros(search.tables, arcs=search.left)
    return nonzeros <= MOST_NONZEROS and nonzeros / NONZEROS_PER_S["highs"] < left_s


def _at_home(search: RoundsState, plan: Plan) -> int:
    """Objective of a plan's boundaries if all KV stayed on its own stage, whether or not it fits there."""
    return search.solvers.price(
        search.tables, Plan.from_arrays(search.tables, plan.grid_indices(search.tables))
    )


def _known(search: RoundsState) -> Plan | None:
    """The best plan's boundaries: it is feasible, so no cut rules them out."""
    if not search.plans:
        return None
    return Plan.from_arrays(search.tables, search.plans[-1].grid_indices(search.tables))


def _prove_root(search: RoundsState, model: pyo.ConcreteModel) -> None:
    """Bound a program by the duals of its linear relaxation, in exact arithmetic."""
    if search.upper is None:
        return
    program, unit = compile_model(model).program, model.data.time_unit.ticks
    relaxed = solve_lp(
        program,
        time_limit_s=search.limits.deadline.share(SHARE_OF_MASTER).limit_s,
        seed=search.limits.seed,
        threads=search.limits.threads,
    )
    # What calls this counts all its time as building.
    search.solve_s += relaxed.solve_s
    search.build_s -= relaxed.solve_s
    search.size = program.rows, program.columns, program.nonzeros
    if relaxed.row_duals is None:
        return
    proved = certified_bound(program, relaxed.row_duals, search.upper / unit, relative_error=ROUNDING)
    if proved is not None:
        # Cuts rest on the word of a solver, given twice.
        by = f"{CERTIFIED_BY}, with cuts" if search.cuts else CERTIFIED_BY
        search.prove(max(0, -int(-proved * unit // 1)), by)


def _learn(search: RoundsState, run: Attempt) -> None:
    """Take over what a run of the master proved, and what it cost."""
    search.last = run.raw
    search.build_s += run.raw.build_s
    search.solve_s += run.raw.solve_s
    search.nodes += run.raw.nodes or 0
    if run.raw.status is Status.INFEASIBLE:
        search.prove(None, run.raw.solver if run.raw.exact else run.raw.confirmed_by)
    elif run.bound is not None:
        _take_bound(search, run)


def _take_bound(search: RoundsState, run: Attempt) -> None:
    """Take a master's bound in, and what it rests on."""
    if run.bound is not None:
        search.prove(run.bound, run.raw.solver if run.raw.exact else run.raw.confirmed_by)


def _place(search: RoundsState, plan: Plan) -> bool:
    """Place the homes of a master's boundaries; whether another round may prove more.

    Boundaries without homes are cut off; where homes cost more than the master says, they have to enter it.
    """
    tables, indices = search.tables, plan.grid_indices(search.tables)
    alone = _at_home(search, plan)
    known = next((each for each in search.plans if each.boundaries == plan.boundaries), None)
    limits = replace(search.within(SHARE_OF_HOMES), gap=0.0, callback=None)
    placed = search.solvers.place(tables, indices, known, limits)
    search.solve_s += placed.outcome.solve_s
    search.build_s += placed.outcome.build_s
    search.offer(placed.plan)
    if placed.plan is not None and search.solvers.price(tables, placed.plan) == alone:
        return False
    positions = max(tables.counts)
    marks = (*([0] * (positions + 1 - indices.size)), *indices.tolist())
    if placed.outcome.status is Status.INFEASIBLE:
        search.cuts.append(PartitionCut(marks, plan.longest))
        return True
    search.whole = True
    return _worth_building(search)


def _conclude(search: RoundsState) -> ProgramResult:
    """Put all rounds together."""
    limits = search.limits
    name = "cpsat" if search.solvers.exact else "highs"
    rows, columns, nonzeros = search.size or (None, None, None)
    proved = SolveOutcome(
        name, Status.UNKNOWN, StopReason.OPTIMAL, rows=rows, columns=columns, nonzeros=nonzeros
    )
    raw = search.last or proved
    raw = replace(
        raw,
        build_s=max(0.0, search.build_s),
        solve_s=search.solve_s,
        nodes=search.nodes,
        time_limit_s=limits.time_limit_s,
        gap_limit=limits.gap,
        seed=limits.seed,
        threads=limits.threads or raw.threads,
        arcs=search.left,
        all_arcs=allowed_arcs(search.tables),
        message=search.message or raw.message,
    )
    price = partial(search.solvers.price, search.tables)
    if search.infeasible:
        raw = replace(
            raw,
            status=Status.INFEASIBLE,
            stop=StopReason.INFEASIBLE,
            objective=None,
            bound=None,
            confirmed_by=search.confirmed_by,
        )
        return conclude([], price, raw, None)
    if not (search.closed and search.plans and raw.status is Status.OPTIMAL):
        # What the last master ended with is not yet so of all plans.
        raw = replace(raw, status=Status.UNKNOWN, stop=_why(search, raw), objective=None, bound=None)
    if search.unconfirmed <= search.lower or search.closed:
        by = None if search.solvers.exact else search.confirmed_by
        return conclude(search.plans, price, replace(raw, confirmed_by=by), search.lower)
    return conclude(search.plans, price, replace(raw, confirmed_by=None), search.unconfirmed)


def _why(search: RoundsState, raw: SolveOutcome) -> StopReason:
    """Why the rounds ended, where it is not the optimum of the last master."""
    if search.closed:
        return StopReason.GAP_REACHED
    if raw.stop is StopReason.INFEASIBLE:
        # Without a second reading.
        return StopReason.UNCONFIRMED
    return raw.stop
