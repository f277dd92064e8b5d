"""Chunk boundaries alone: memory pooled (a relaxation) or KV at home (a restriction).

Mathematics: ``formulations/chunk_partition.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Unpack

import numpy as np
import pyomo.environ as pyo

from mocap_opt.formulations.boundary_families import BOUNDARY_FAMILIES
from mocap_opt.formulations.chunk_graph import chunk_graph
from mocap_opt.formulations.home_families import (
    EXCHANGE_FAMILIES,
    START_FAMILIES,
    WORK_FAMILIES,
    declare_lockstep,
    latency_within_target,
)
from mocap_opt.formulations.presolve import page_unit
from mocap_opt.formulations.rows import Family, ModelData, Row, Terms, add_families
from mocap_opt.formulations.target_search import search_by_targets
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import Violation, violations
from mocap_opt.solvers.limits import Limits, SolverOptions
from mocap_opt.solvers.outcome import SolveOutcome
from mocap_opt.solvers.pyomo_form import without_collection
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.units import decimal_bytes


class Memory(Enum):
    """Where KV cache may live, as far as boundaries are concerned."""

    POOLED = "pooled"
    """Anywhere and at no cost: every memory row is implied by one row per slot.  A relaxation."""
    LOCAL = "local"
    """On its own stage.  A restriction."""


@dataclass(frozen=True)
class PartitionResult:
    """Boundaries and what is proved about them.

    Attributes
    ----------
    indices : tuple of int or None
        Boundaries as grid indices, strictly increasing; None if none were found.
    memory : Memory
        With LOCAL, the plan of these boundaries without remote homes is feasible.  With POOLED,
        feasible homes may or may not exist.
    outcome : SolveOutcome
        Objective: sum of slot times without KV traffic, ticks.  With POOLED its bound holds for
        the lockstep replay of every feasible plan; with LOCAL for plans without remote homes only.
    """

    indices: tuple[int, ...] | None
    memory: Memory
    outcome: SolveOutcome


def pooled_memory_has_room(model: pyo.ConcreteModel) -> Iterator[Row]:
    """All KV and prefixes of a slot fit in all memories together."""
    data: ModelData = model.data
    tables, chunks = data.tables, data.chunks
    for t in range(data.slots) if model.memory is Memory.POOLED else ():
        terms = Terms()
        for k in range(tables.memories):
            terms.plus(1, _room(data, k, t))
        for i, j in data.running(t):
            terms.plus(-int(tables.page_bytes[i]) // page_unit(tables), chunks.pages(j + 1))
        yield Row(t, terms)


def own_memory_has_room(model: pyo.ConcreteModel) -> Iterator[Row]:
    """A stage's own KV and prefix fit in its own memory."""
    data: ModelData = model.data
    tables, chunks = data.tables, data.chunks
    for t in range(data.slots) if model.memory is Memory.LOCAL else ():
        for i, j in data.running(t):
            terms = _room(data, i, t)
            terms.plus(-int(tables.page_bytes[i]) // page_unit(tables), chunks.pages(j + 1))
            yield Row((i, t), terms)


def _room(data: ModelData, memory: int, slot: int) -> Terms:
    """Page units left in a memory by all but KV."""
    terms = data.chunks.room(memory)
    if 0 <= slot - memory < data.chunks.count and data.tables.prefix_bytes[memory]:
        terms.plus(-1, data.chunks.prefix(memory, slot - memory))
    return terms


FAMILIES: tuple[Family, ...] = (
    *BOUNDARY_FAMILIES,
    ("pooled_memory_has_room", pooled_memory_has_room),
    ("own_memory_has_room", own_memory_has_room),
    *WORK_FAMILIES,
    *EXCHANGE_FAMILIES,
    *START_FAMILIES,
    ("latency_within_target", latency_within_target),
)


@without_collection
def build(
    tables: Tables, memory: Memory, *, no_worse_than: int | None = None, without: Iterable[str] = ()
) -> pyo.ConcreteModel | None:
    """Build the model.

    Parameters
    ----------
    tables : Tables
    memory : Memory
    no_worse_than : int, optional
        Ticks: worse partitions are not wanted, and chunks that only occur in such are left out.
    without : iterable of str
        Families to leave out, to see what they are good for.

    Returns
    -------
    ConcreteModel or None
        None if no boundaries are allowed at all, so that there is nothing to model.
    """
    graph = chunk_graph(tables, no_worse_than=no_worse_than, homes=memory is Memory.POOLED)
    if graph.empty:
        return None
    model = pyo.ConcreteModel("chunk_partition")
    model.memory = memory
    declare_lockstep(model, tables, graph, ((),) * tables.stages, target=no_worse_than)
    add_families(model, FAMILIES, without)
    return model


def solve_chunk_partition(
    tables: Tables,
    memory: Memory = Memory.POOLED,
    *,
    start: Sequence[int] | None = None,
    **options: Unpack[SolverOptions],
) -> PartitionResult:
    """Find boundaries of least lockstep latency with HiGHS, KV traffic ignored.

    Parameters
    ----------
    tables : Tables
    memory : Memory
    start : sequence of int, optional
        Boundaries as grid indices, feasible here; the result is never worse.
    **options
        `mocap_opt.solvers.limits.SolverOptions`.

    Raises
    ------
    ValueError
        If the start breaks a rule.
    SolverUnavailableError
        If HiGHS cannot be loaded.
    """
    limits = Limits(**options)
    first = None if start is None else Plan.from_arrays(tables, start)
    check = violations if memory is Memory.LOCAL else pooled_violations
    wrong = [] if first is None else check(tables, first)
    if wrong:
        raise ValueError(f"the start is not feasible: {wrong[0]}")
    result = search_by_targets(
        tables, first, limits, lambda target: build(tables, memory, no_worse_than=target), check
    )
    if result.plan is None:
        return PartitionResult(None, memory, result.outcome)
    indices = tuple(result.plan.grid_indices(tables).tolist())
    return PartitionResult(indices, memory, result.outcome)


def pooled_violations(tables: Tables, plan: Plan) -> list[Violation]:
    """What a plan breaks if memory is pooled: all rules but those of single memories.

    Parameters
    ----------
    tables : Tables
    plan : Plan
        Its boundaries count; where its KV lives does not matter.
    """
    broken = [violation for violation in violations(tables, plan) if violation.rule != "capacity"]
    return broken or _pool_overflow(tables, plan)


def _pool_overflow(tables: Tables, plan: Plan) -> list[Violation]:
    """Slots in which KV and prefixes overfill all memories together."""
    ends = tables.pages[plan.grid_indices(tables)[1:]]
    unit = page_unit(tables)
    free = tables.free_memory(tables.reserve(plan.longest)) // unit
    found = []
    for t in range(tables.stages + plan.chunks - 1):
        i = np.arange(max(0, t - plan.chunks + 1), min(tables.stages, t + 1))
        prefix = -(-tables.prefix_bytes[i] // unit)
        short = int((tables.page_bytes[i] // unit * ends[t - i] + prefix).sum() - free.sum())
        if short > 0:
            text = f"slot {t}: {decimal_bytes(short * unit)} short in all memories together"
            found.append(Violation("capacity", text, None, t, short * unit))
    return found
