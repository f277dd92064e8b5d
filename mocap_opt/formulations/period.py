"""The lockstep period program for HiGHS through Pyomo (formulations/period.md), for one W.

Boundaries, homes and slot times are the families of the joint program, over cyclic slots.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import pyomo.environ as pyo

from mocap_opt.formulations.boundary_families import (
    BOUNDARY_FAMILIES,
    FreeChunks,
    declare_boundaries,
    room_units,
)
from mocap_opt.formulations.chunk_graph import chunk_graph
from mocap_opt.formulations.home_families import (
    EXCHANGE_FAMILIES,
    HOME_FAMILIES,
    WORK_FAMILIES,
    add_latency,
    declare_homes_and_times,
    horizon,
)
from mocap_opt.formulations.lockstep_solution import CHUNK_GRAPH, read_plan, without_beaten
from mocap_opt.formulations.memory_limits import local_homes_always_fit, may_house, page_unit
from mocap_opt.formulations.model_data import Frame
from mocap_opt.formulations.period_cpsat import PeriodResult
from mocap_opt.formulations.period_terms import positions, running
from mocap_opt.formulations.rows import Clock, Family, Row, Terms, add_families
from mocap_opt.replay.lockstep import run_lockstep
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.solvers.highs import solve_mip
from mocap_opt.solvers.outcome import Callback, SolveOutcome, Status, StopReason
from mocap_opt.solvers.pyomo_form import compile_model
from mocap_opt.stopping import Deadline
from mocap_opt.tables.cost_tables import Tables, require_bounded_queues


@dataclass(frozen=True, eq=False)
class CyclicChunks(FreeChunks):
    """Boundaries decided by the model; queues hold 2 Q x the longest chunk, without a cap."""

    def held_tokens(self, start: int, end: int) -> int:
        """Tokens held in queues if a chunk [start, end) is the longest one."""
        return self.tables.held_tokens(int(self.tables.grid[end] - self.tables.grid[start]), endless=True)


@dataclass(frozen=True, eq=False)
class CyclicFrame(Frame):
    """Data of a period model.

    Attributes
    ----------
    cycle : int
        W.
    """

    cycle: int = 1

    @property
    def slots(self) -> int:
        """Number of slots."""
        return self.cycle

    def running(self, slot: int) -> list[tuple[int, int]]:
        """Stages at work in a cyclic slot with their positions."""
        return running(self.tables.stages, self.chunks.count, self.cycle, slot)


def cyclic_memory_has_room(model: pyo.ConcreteModel) -> Iterator[Row]:
    """Static bytes, reserve, prefixes and KV fit in every memory in every cyclic slot."""
    frame: CyclicFrame = model.frame
    tables, chunks = frame.tables, frame.chunks
    unit = page_unit(tables)
    for k in range(tables.stages) if any(frame.homes) else ():
        for t in range(frame.slots):
            room = room_units(tables, k, chunks.least_held)
            terms = Terms(room).plus(-1, chunks.reserve_units(k))
            for i, j in frame.running(t):
                if k in frame.homes[i]:
                    terms.add(-int(tables.page_bytes[i]) // unit, model.home[i, j + 1, k])
                if i == k and tables.prefix_bytes[k]:
                    prefix = math.ceil(Fraction(int(tables.prefix_bytes[k]), unit))
                    terms.plus(-prefix, chunks.used(j))
            yield Row((k, t), terms)


FAMILIES: tuple[Family, ...] = (
    *BOUNDARY_FAMILIES,
    *(family for family in HOME_FAMILIES if family[0] != "memory_has_room"),
    ("cyclic_memory_has_room", cyclic_memory_has_room),
    *WORK_FAMILIES,
    *EXCHANGE_FAMILIES,
)


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
    clock = Clock.for_horizon(horizon(limited))
    chunks = _declare(model, limited, declare_boundaries(model, limited, graph, clock))
    homes: tuple[tuple[int, ...], ...] = ((),) * tables.stages
    if not local_homes_always_fit(limited, endless=True):
        fits = may_house(limited, endless=True)
        homes = tuple(tuple(k for k in range(tables.stages) if fits[i, k]) for i in range(tables.stages))
    model.frame = CyclicFrame(limited, clock, chunks, homes, cycle=slots)
    declare_homes_and_times(model, model.frame)
    add_families(model, FAMILIES, without)
    add_latency(model)
    return model


def _declare(model: pyo.ConcreteModel, tables: Tables, single: FreeChunks) -> CyclicChunks:
    """Give the reserve the levels of the period instead of those of one request."""
    chunks = CyclicChunks(**{name: getattr(single, name) for name in single.__dataclass_fields__})
    held = {chunks.held_tokens(a, b) for layer in single.graph.arcs for a, b in layer if b}
    rooms = {
        tuple(room_units(tables, k, level) for k in range(tables.stages)): level for level in sorted(held)
    }
    levels = tuple(sorted(rooms.values()))
    model.del_component("reserve")
    model.reserve = pyo.Var(range(len(levels)), domain=pyo.Binary)
    return replace(chunks, levels=levels)


def solve_period(
    tables: Tables,
    slots: int,
    *,
    time_limit_s: float | None = None,
    gap: float = 0.0,
    seed: int = 0,
    threads: int = 1,
    callback: Callback | None = None,
) -> PeriodResult:
    """Minimise the lockstep period of requests `slots` slots apart with HiGHS.

    Parameters
    ----------
    tables : Tables
    slots : int
        W.
    time_limit_s : float, optional
        For building and solving together.
    gap, seed, threads, callback
        See `mocap_opt.solvers.highs.solve_mip`.

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
    deadline = Deadline(time_limit_s)
    model = build(tables, slots)
    if model is None:
        outcome = SolveOutcome("highs", Status.INFEASIBLE, StopReason.INFEASIBLE, confirmed_by=CHUNK_GRAPH)
        return PeriodResult(None, outcome)
    compiled = compile_model(model)
    built_s = deadline.elapsed_s
    result = solve_mip(
        compiled.program,
        time_limit_s=deadline.limit_s,
        gap=gap,
        seed=seed,
        threads=threads,
        callback=callback,
    )
    raw = replace(result.outcome, build_s=built_s, time_limit_s=time_limit_s)
    clock = model.frame.clock
    bound = None if raw.bound is None else clock.bound_ticks(raw.bound, slots)
    if result.values is None:
        return PeriodResult(None, replace(raw, bound=bound))
    compiled.load(result.values)
    found = Schedule.of(tables, read_plan(model, model.frame.tables), slots)
    broken = schedule_violations(found)
    if broken:
        message = f"the solution breaks a rule, beyond HiGHS's tolerance: {broken[0]}"
        unknown = replace(raw, status=Status.UNKNOWN, stop=StopReason.ERROR, objective=None, bound=bound)
        return PeriodResult(None, replace(unknown, message=message))
    objective = run_lockstep(found).period
    if bound is not None and bound > objective:
        raw, bound = without_beaten(raw, bound, objective)
    status = Status.OPTIMAL if raw.closes and bound == objective else Status.FEASIBLE
    return PeriodResult(found, replace(raw, status=status, objective=objective, bound=bound))
