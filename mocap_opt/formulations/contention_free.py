"""The contention-free program for HiGHS: a lower bound on every execution of every plan.

Mathematics: ``formulations/contention_free.md``.  Boundaries, homes and memory rows are those of
the lockstep program (`boundary_families`, `home_families`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Unpack

import numpy as np
import pyomo.environ as pyo

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_times import least_sends, stage_classes
from mocap_opt.formulations.benders import place, solve_in_rounds
from mocap_opt.formulations.benders_state import Solvers
from mocap_opt.formulations.boundary_families import BOUNDARY_FAMILIES, declare_boundaries
from mocap_opt.formulations.chunk_graph import ChunkGraph, chunk_graph
from mocap_opt.formulations.chunk_partition import Memory, pooled_memory_has_room
from mocap_opt.formulations.contention_free_terms import resources, schedule
from mocap_opt.formulations.decomposition import cut_partitions
from mocap_opt.formulations.home_families import (
    HOME_FAMILIES,
    declare_homes,
    horizon,
    kv_load,
    possible_homes,
)
from mocap_opt.formulations.partition_cuts import PartitionCut
from mocap_opt.formulations.pyomo_solution import attempt
from mocap_opt.formulations.resources import links, ports
from mocap_opt.formulations.rows import Family, ModelData, Row, Terms, TimeUnit, Timing, add_families
from mocap_opt.schedule.plan import Plan
from mocap_opt.solvers.limits import Limits, ProgramOptions
from mocap_opt.solvers.outcome import ProgramResult
from mocap_opt.solvers.pyomo_form import without_collection
from mocap_opt.tables.cost_tables import Tables


def sends_take_their_time(model: pyo.ConcreteModel) -> Iterator[Row]:
    """Least send of the chunk chosen at position j, for each class of stages with equal tables."""
    data: ModelData = model.data
    classes, table, unit = model.send_class, model.least_send, data.time_unit.ticks
    for c in sorted(set(classes.tolist())):
        stage = int(np.flatnonzero(classes == c)[0])
        for j, layer in enumerate(model.data.chunks.graph.arcs):
            terms = Terms().add(unit, model.send[c, j])
            for a, b in layer:
                tail = int(b == data.tables.steps)
                terms.add(-int(table[stage, tail, b - a]), model.chunk[j, a, b])
            yield Row((c, j), terms, equal=True, pivot=unit)


def chunk_durations(model: pyo.ConcreteModel) -> Iterator[Row]:
    """Let d >= tau."""
    data: ModelData = model.data
    for i, j in model.busy:
        terms = Terms().add(data.time_unit.ticks, model.busy[i, j])
        yield Row((i, j), terms.plus(-1, data.chunks.duration(i, j)), pivot=data.time_unit.ticks)


def own_kv_takes_time(model: pyo.ConcreteModel) -> Iterator[Row]:
    """Let d >= tau + floor((1 - f) x) and d >= floor(x), a row for each link and port in x.

    In the first x streamed weights do not count.

    Index (i, j, r, s): r is the resource's index; s = 1 where the transfer only stretches tau.
    """
    data: ModelData = model.data
    if not any(data.homes) and not data.tables.messages:
        return
    apart = 1 - data.tables.overlap
    for carrier in [*links(data.tables, homes=data.homes), *ports(data.tables)]:
        for i, j in model.busy:
            load = kv_load(model, carrier, i, j)
            if not load.coefs and not load.constant:
                continue
            yield _floored(model, (i, j, carrier.index, 0), model.busy[i, j], Terms(), load, carrier.rate)
            if apart:
                rate = apart.denominator * carrier.rate
                part = Terms().plus(apart.numerator, kv_load(model, carrier, i, j, weights=False))
                own = data.chunks.duration(i, j)
                yield _floored(model, (i, j, carrier.index, 1), model.busy[i, j], own, part, rate)


def chunks_start(model: pyo.ConcreteModel) -> Iterator[Row]:
    """S after the end of the stage's chunk before (index s = 0) and after the activations' arrival (1).

    On stage 0 once the tokens exist (1) and, in a loop, the chunk N before has left the last stage (2).
    """
    data: ModelData = model.data
    unit, tables = data.time_unit.ticks, data.tables
    for i, j in model.busy:
        if i == 0 and tables.available is not None:
            start = Terms().add(unit, model.start[i, j]).plus(-1, data.chunks.available(j))
            yield Row((i, j, 1), start, pivot=unit)
        if i == 0 and tables.loop and j >= tables.stages:
            left = _end(model, tables.stages - 1, j - tables.stages)
            yield Row((i, j, 2), Terms().add(unit, model.start[i, j]).plus(-1, left))
        start = Terms().add(unit, model.start[i, j])
        if j:
            yield Row((i, j, 0), start.plus(-1, _end(model, i, j - 1)))
        if i:
            start = Terms().add(unit, model.start[i, j]).plus(-1, _end(model, i - 1, j))
            yield Row((i, j, 1), start.add(-unit, model.send[int(model.send_class[i - 1]), j]))


def queues_have_room(model: pyo.ConcreteModel) -> Iterator[Row]:
    """Chunks start no earlier than those Q before them do on the next stage."""
    unit, depth = model.data.time_unit.ticks, model.data.tables.queue_depth
    for i, j in model.busy if depth is not None else ():
        if j >= depth and i + 1 < model.data.tables.stages:
            terms = Terms().add(unit, model.start[i, j])
            yield Row((i, j), terms.add(-unit, model.start[i + 1, j - depth]))


def _end(model: pyo.ConcreteModel, i: int, j: int) -> Terms:
    """When chunk j ends on stage i, ticks."""
    unit = model.data.time_unit.ticks
    return Terms().add(unit, model.start[i, j]).add(unit, model.busy[i, j])


def bytes_pass_resources(model: pyo.ConcreteModel) -> Iterator[Row]:
    """Latency >= first possible use of a link or port + its bytes / its bandwidth + what follows."""
    data: ModelData = model.data
    tables, chunks = data.tables, data.chunks
    arcs = model.data.chunks.graph.arcs
    for r, resource in enumerate(resources(tables)):
        around, load = Terms(), Terms(resource.activations)
        for j, layer in enumerate(arcs):
            for a, b in layer:
                if a == 0 < b:
                    around.add(int(resource.first[b]), model.chunk[j, a, b])
        for a, b in arcs[-1]:
            around.add(int(resource.follow[a]), model.chunk[chunks.count - 1, a, b])
        for i, j in model.busy:
            load.plus(1, kv_load(model, resource, i, j))
        if resource.stage is not None:
            for j in range(chunks.count):
                load.plus(1, chunks.own_traffic(resource.stage, j))
        yield _floored(model, r, model.latency, around, load, resource.rate)


def latency_covers_all(model: pyo.ConcreteModel) -> Iterator[Row]:
    """The latency is at least the end of the last chunk on the last stage."""
    data: ModelData = model.data
    unit = data.time_unit.ticks
    last = _end(model, data.tables.stages - 1, data.chunks.count - 1)
    yield Row(0, Terms().add(unit, model.latency).plus(-1, last))


FAMILIES: tuple[Family, ...] = (
    *(family for family in BOUNDARY_FAMILIES if family[0] != "message_takes_its_time"),
    *HOME_FAMILIES,
    ("pooled_memory_has_room", pooled_memory_has_room),
    ("cut_partitions", cut_partitions),
    ("sends_take_their_time", sends_take_their_time),
    ("chunk_durations", chunk_durations),
    ("own_kv_takes_time", own_kv_takes_time),
    ("chunks_start", chunks_start),
    ("queues_have_room", queues_have_room),
    ("bytes_pass_resources", bytes_pass_resources),
    ("latency_covers_all", latency_covers_all),
)


def _floored(
    model: pyo.ConcreteModel, index: object, target: object, ticks: Terms, load: Terms, rate: int
) -> Row:
    """Row ``target >= ticks + floor(load / rate)``, the target a whole number of ticks."""
    unit = model.data.time_unit.ticks
    terms = Terms(rate - 1).add(rate * unit, target).plus(-rate, ticks)
    return Row(index, terms.plus(-1, load), pivot=rate * unit)


@without_collection
def build(
    tables: Tables,
    graph: ChunkGraph | None = None,
    *,
    no_worse_than: int | None = None,
    homes: bool = True,
    cuts: Sequence[PartitionCut] = (),
    without: Iterable[str] = (),
) -> pyo.ConcreteModel | None:
    """Build the model.

    Parameters
    ----------
    tables : Tables
    graph : ChunkGraph, optional
        The chunks that may stand at each position; all that memory and limits allow, unless given.
    no_worse_than : int, optional
        Contention-free latency of a known plan, ticks; it only sets the unit of time.
    homes : bool
        False leaves homes out and pools memory: the master of the decomposed program.
    cuts : sequence of PartitionCut
        Partitions to leave out.
    without : iterable of str
        Families to leave out, to see what they are good for.

    Returns
    -------
    ConcreteModel or None
        None if no boundaries are allowed at all, so that there is nothing to model.
    """
    graph = chunk_graph(tables) if graph is None else graph
    if graph.empty:
        return None
    model = pyo.ConcreteModel("contention_free")
    time_unit = TimeUnit.for_horizon(horizon(tables) if no_worse_than is None else no_worse_than)
    chunks = declare_boundaries(model, tables, graph, time_unit)
    targets = possible_homes(tables) if homes else ((),) * tables.stages
    model.data = ModelData(tables, time_unit, chunks, targets, TIMING)
    model.memory, model.cuts = None if homes else Memory.POOLED, tuple(cuts)
    if not all(row.terms.coefs for row in cut_partitions(model)):
        return None
    declare_homes(model)
    _declare_times(model, model.data, least_sends(tables))
    add_families(model, FAMILIES, without)
    model.objective = pyo.Objective(expr=model.latency)
    return model


def _declare_times(model: pyo.ConcreteModel, data: ModelData, sends: IntArray) -> None:
    """Declare the times, in the model's units.

    ``send[c, j]``: least send of chunk j from the stages of class c.  ``busy[i, j]``: d.
    ``start[i, j]``: S.  ``latency``.
    """
    count, stages = data.chunks.count, range(data.tables.stages)
    model.least_send, model.send_class = sends, stage_classes(sends)
    model.send = pyo.Var(sorted(set(model.send_class.tolist())), range(count), domain=pyo.NonNegativeReals)
    model.busy = pyo.Var(stages, range(count), domain=data.time_unit.domain)
    model.start = pyo.Var(stages, range(count), domain=pyo.NonNegativeReals)
    model.latency = pyo.Var(domain=data.time_unit.domain)


def solve_contention_free(
    tables: Tables,
    start: Plan | None = None,
    **options: Unpack[ProgramOptions],
) -> ProgramResult:
    """Find the least contention-free latency over all plans; it bounds every execution.

    Parameters
    ----------
    tables : Tables
    start : Plan, optional
        A feasible plan; the result is never worse.
    **options
        `mocap_opt.solvers.limits.ProgramOptions`.

    Returns
    -------
    ProgramResult
        Objective and bound are whole ticks; the bound covers every execution of every feasible plan.

    Raises
    ------
    ValueError
        If the start is not feasible.
    SolverUnavailableError
        If HiGHS cannot be loaded.
    """
    sends = least_sends(tables)

    def arcs(target: int | None) -> ChunkGraph:
        return chunk_graph(tables, no_worse_than=target, sends=sends)

    return solve_in_rounds(ROUNDS, tables, start, arcs, Limits(**options))


def _values(model: pyo.ConcreteModel, tables: Tables, plan: Plan, missing: int) -> Iterator[tuple[Any, int]]:
    """Variables that are times and their ticks for a plan, 0 at empty positions."""
    times = schedule(tables, plan)
    stage_of = {int(c): i for i, c in enumerate(model.send_class.tolist())}
    yield from (
        (variable, 0 if j < missing else int(times.sends[stage_of[c], j - missing]))
        for (c, j), variable in model.send.items()
    )
    for ticks, variables in ((times.durations, model.busy), (times.starts, model.start)):
        for (i, j), variable in variables.items():
            yield variable, 0 if j < missing else int(ticks[i, j - missing])
    yield model.latency, times.latency


def latency(tables: Tables, plan: Plan) -> int:
    """Contention-free latency of a plan, ticks.

    Parameters
    ----------
    tables : Tables
    plan : Plan
    """
    return schedule(tables, plan).latency


# A path adds up to four rows a chunk.
TIMING = Timing(latency, _values, rows_per_slot=4)

ROUNDS = Solvers(partial(build, homes=False), build, attempt, place, latency, exact=False)
"""Master and homes of ``formulations/decomposition.md``, for any execution."""
