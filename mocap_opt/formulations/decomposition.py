"""Master of the decomposed lockstep program: boundaries without homes, memories pooled.

Mathematics: ``formulations/decomposition.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyomo.environ as pyo
from pyomo.core.expr import LinearExpression

from mocap_opt.arrays import IntArray
from mocap_opt.formulations import home_families
from mocap_opt.formulations.boundary_families import BOUNDARY_FAMILIES, FreeChunks, declare_boundaries
from mocap_opt.formulations.chunk_graph import ChunkGraph, chunk_graph
from mocap_opt.formulations.chunk_partition import Memory, pooled_memory_has_room
from mocap_opt.formulations.fixed_message_terms import fixed_messages_are_hidden, own_traffic_is_hidden
from mocap_opt.formulations.home_families import horizon
from mocap_opt.formulations.partition_cuts import PartitionCut
from mocap_opt.formulations.rows import Family, ModelData, Row, Terms, TimeUnit, Timing, add_families
from mocap_opt.formulations.slot_times import lockstep_latency, message_times, slot_times, slot_waits
from mocap_opt.schedule.plan import Plan
from mocap_opt.solvers.pyomo_form import without_collection
from mocap_opt.tables.cost_tables import Tables

ROWS_A_STAGE = 2
"""Rows with a tolerance that a slot's time adds up, for each stage: ascents cost as much as all but one."""


def latency_at_home(tables: Tables, plan: Plan) -> int:
    """Lockstep latency of a plan's boundaries if all KV stayed on its own stage, ticks.

    Parameters
    ----------
    tables : Tables
    plan : Plan
        Whether its KV would fit there does not matter.
    """
    return lockstep_latency(tables, Plan.from_arrays(tables, plan.grid_indices(tables)))


def closing(times: IntArray, window: int) -> IntArray:
    """Least levels whose ascents pay for all slots, ``formulations/decomposition.md``, the ladder.

    Parameters
    ----------
    times : int64[chunk], ticks
        Of consecutive chunks, on stages that are alike.
    window : int
        Number of these stages.

    Returns
    -------
    int64[chunk], ticks
        Of the ``window`` slots that a chunk is in, the least; a slot lasts as long as its longest chunk.
    """
    around = np.zeros(window - 1, dtype=np.int64)
    padded = np.concatenate([around, times, around])
    slots = np.lib.stride_tricks.sliding_window_view(padded, window).max(axis=1)
    levels: IntArray = np.lib.stride_tricks.sliding_window_view(slots, window).min(axis=1)
    return levels


def levels_cover_chunks(model: pyo.ConcreteModel) -> Iterator[Row]:
    """The level at a chunk is at least its time, on stages that are alike."""
    data: ModelData = model.data
    for j, level in model.level.items():
        yield _above(data, j, level, data.chunks.duration(0, j))


def ascents_are_climbed(model: pyo.ConcreteModel) -> Iterator[Row]:
    """The ascent at a chunk is at least what its level stands above the one before."""
    yield from _ascents(model, model.level, model.ascent)


def levels_cover_messages(model: pyo.ConcreteModel) -> Iterator[Row]:
    """The level of messages at a chunk is at least its message's time, on stages that are alike."""
    data: ModelData = model.data
    for j, level in model.message_level.items():
        yield _above(data, j, level, data.chunks.message(0, j))


def message_ascents_are_climbed(model: pyo.ConcreteModel) -> Iterator[Row]:
    """The ascent of messages at a chunk is at least what their level stands above the one before."""
    yield from _ascents(model, model.message_level, model.message_ascent)


def compute_ends(model: pyo.ConcreteModel) -> Iterator[Row]:
    """A slot's work lasts as long as each chunk computed in it, where there are no levels."""
    return home_families.compute_ends(model) if model.work else iter(())


def kv_passes_ports(model: pyo.ConcreteModel) -> Iterator[Row]:
    """Likewise until own traffic and fixed messages have passed every port, where there are no levels."""
    return home_families.kv_passes_ports(model) if model.work else iter(())


def kv_passes_links(model: pyo.ConcreteModel) -> Iterator[Row]:
    """A slot's work lasts until every link has carried the fixed messages, where there are no levels."""
    return home_families.kv_passes_links(model) if model.work else iter(())


def own_kv_delays_compute(model: pyo.ConcreteModel) -> Iterator[Row]:
    """Exports and prefix loads that do not overlap fully delay compute, where there are no levels."""
    return home_families.own_kv_delays_compute(model) if model.work else iter(())


def messages_end(model: pyo.ConcreteModel) -> Iterator[Row]:
    """A slot's exchange lasts as long as each message takes, where there are no levels of messages."""
    return home_families.messages_end(model) if model.exchange else iter(())


def activations_pass_links(model: pyo.ConcreteModel) -> Iterator[Row]:
    """A slot's exchange lasts until every link has carried its activations, where messages share links."""
    return home_families.activations_pass_links(model) if model.exchange else iter(())


def cut_partitions(model: pyo.ConcreteModel) -> Iterator[Row]:
    """Partitions that the subproblem of homes has ruled out do not come again."""
    chunks: FreeChunks = model.data.chunks
    for n, cut in enumerate(model.cuts):
        terms = Terms(-1)
        for j, g in cut.others(chunks.graph.nodes):
            terms.add(1, model.boundary[j, g])
        for level, longest in enumerate(chunks.levels):
            terms.add(int(longest < cut.longest), model.reserve[level])
        yield Row(n, terms)


FAMILIES: tuple[Family, ...] = (
    *BOUNDARY_FAMILIES,
    ("pooled_memory_has_room", pooled_memory_has_room),
    ("levels_cover_chunks", levels_cover_chunks),
    ("ascents_are_climbed", ascents_are_climbed),
    ("levels_cover_messages", levels_cover_messages),
    ("message_ascents_are_climbed", message_ascents_are_climbed),
    ("compute_ends", compute_ends),
    ("kv_passes_links", kv_passes_links),
    ("kv_passes_ports", kv_passes_ports),
    ("own_kv_delays_compute", own_kv_delays_compute),
    ("messages_end", messages_end),
    ("activations_pass_links", activations_pass_links),
    *home_families.START_FAMILIES,
    ("cut_partitions", cut_partitions),
)


@without_collection
def build(
    tables: Tables,
    graph: ChunkGraph | None = None,
    *,
    cuts: Sequence[PartitionCut] = (),
    unit: TimeUnit | None = None,
    without: Iterable[str] = (),
) -> pyo.ConcreteModel | None:
    """Build the master.

    Parameters
    ----------
    tables : Tables
    graph : ChunkGraph, optional
        The chunks that may stand at each position; all that memory and limits allow, unless given.
    cuts : sequence of PartitionCut
        Partitions to leave out.
    unit : TimeUnit, optional
        Of the times; the one that suits HiGHS, unless given.
    without : iterable of str
        Families to leave out, to see what they are good for.

    Returns
    -------
    ConcreteModel or None
        None if no boundaries are left, so that there is nothing to model.
    """
    graph = chunk_graph(tables) if graph is None else graph
    if graph.empty:
        return None
    model = pyo.ConcreteModel("decomposition")
    model.memory, model.cuts = Memory.POOLED, tuple(cuts)
    _declare(model, tables, graph, unit or TimeUnit.for_horizon(horizon(tables)))
    if not all(row.terms.coefs for row in cut_partitions(model)):
        return None
    add_families(model, FAMILIES, without)
    return model


def _declare(model: pyo.ConcreteModel, tables: Tables, graph: ChunkGraph, unit: TimeUnit) -> None:
    """Declare boundaries, times and the objective; levels in place of slots where stages are alike."""
    chunks = declare_boundaries(model, tables, graph, unit)
    timing = Timing(latency_at_home, _values, ROWS_A_STAGE * tables.stages)
    data = ModelData(tables, unit, chunks, ((),) * tables.stages, timing)
    model.data = data
    model.home = pyo.Var([])
    longest, longest_message = (
        max((variable.ub for variable in times.values()), default=0.0)
        for times in (model.duration, model.message)
    )
    # With waits for tokens, slots have to be told apart.
    levels, message_levels = _alike(chunks) if tables.available is None else (False, False)
    positions, slots = range(graph.layers), range(data.slots)
    weighted: list[tuple[int, Any]] = []

    def _times(name: str, index: Iterable[int], weight: int, most: float | None = None) -> None:
        variable = pyo.Var(index, domain=unit.domain, bounds=(0, most))
        model.add_component(name, variable)
        weighted.extend((weight, each) for each in variable.values() if weight)

    _times("level", positions if levels else (), 1, longest)
    _times("ascent", positions if levels else (), tables.stages - 1, longest)
    _times("message_level", positions if message_levels else (), 1, longest_message)
    _times("message_ascent", positions if message_levels else (), tables.stages - 2, longest_message)
    _times("work", () if levels else slots, 1)
    _times("exchange", () if message_levels else slots, 1)
    home_families.declare_waits(model)
    weighted.extend((1, each) for each in model.wait.values())
    body = LinearExpression(
        constant=0,
        linear_coefs=[weight for weight, _ in weighted],
        linear_vars=[each for _, each in weighted],
    )
    model.latency = pyo.Objective(expr=body)


def _alike(chunks: FreeChunks) -> tuple[bool, bool]:
    """Whether levels tell the time of all slots: of their work, and of their exchange."""
    tables = chunks.tables
    work = (
        len(set(chunks.duration_class.tolist())) == 1
        and all(own_traffic_is_hidden(tables, k) for k in range(tables.stages))
        and fixed_messages_are_hidden(tables)
    )
    exchange = len(set(chunks.message_class[:-1].tolist())) == 1
    return work, exchange and not home_families.shared_links(tables)


def _values(model: pyo.ConcreteModel, tables: Tables, plan: Plan, missing: int) -> Iterator[tuple[Any, int]]:
    """Variables that are times and their values for a plan's boundaries (`rows.Timing.values`)."""
    indices = plan.grid_indices(tables)
    start, end = indices[:-1], indices[1:]
    padding = np.zeros(missing, dtype=np.int64)
    none = np.zeros((tables.stages, plan.chunks, tables.memories), dtype=np.int64)
    work, exchange = slot_times(tables, indices, none)
    levels = closing(tables.tau(0, start, end), tables.stages)
    messages = closing(message_times(tables, 0, start, end), max(1, tables.stages - 1))
    for variables, ticks in (
        (model.level, levels),
        (model.ascent, _climbed(levels)),
        (model.message_level, messages),
        (model.message_ascent, _climbed(messages)),
        (model.work, work),
        (model.exchange, exchange),
        (model.wait, slot_waits(tables, indices, work + exchange)),
    ):
        for variable, value in zip(variables.values(), [*padding, *ticks], strict=False):
            yield variable, int(value)


def _climbed(levels: IntArray) -> IntArray:
    """Ascent to each level from the one before, the first from 0."""
    return np.maximum(np.diff(levels, prepend=0), 0)


def _above(data: ModelData, j: int, level: Any, time: Terms) -> Row:
    """A level is at least a time."""
    unit = data.time_unit.ticks
    return Row(j, Terms().add(unit, level).plus(-1, time), pivot=unit)


def _ascents(model: pyo.ConcreteModel, level: Any, ascent: Any) -> Iterator[Row]:
    """Rows ``ascent[j] >= level[j] - level[j - 1]``."""
    for j in level:
        terms = Terms().add(1, ascent[j]).add(-1, level[j])
        yield Row(j, terms.add(1, level[j - 1]) if j else terms)
