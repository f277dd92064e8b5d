"""The lockstep program with layers as variables: layers of stages, boundaries and homes at once.

Mathematics: ``formulations/joint_layers.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Literal, Unpack

import numpy as np
import pyomo.environ as pyo

from mocap_opt.arrays import IntArray
from mocap_opt.errors import InputError, Problem
from mocap_opt.formulations import benders_cpsat
from mocap_opt.formulations.boundary_families import (
    BOUNDARY_FAMILIES,
    FreeChunks,
    declare_boundaries,
    limit_times,
)
from mocap_opt.formulations.chunk_graph import ChunkGraph, LeastTimes, chunk_graph
from mocap_opt.formulations.exact_rows import exact_rows
from mocap_opt.formulations.home_families import (
    EXCHANGE_FAMILIES,
    HOME_FAMILIES,
    WORK_FAMILIES,
    declare_homes_and_times,
    horizon,
    latency_within_target,
)
from mocap_opt.formulations.layer_tables import LayerTables
from mocap_opt.formulations.presolve import local_homes_always_fit, prefix_units, room_units
from mocap_opt.formulations.pyomo_solution import conclude, lockstep_timing, no_plan, read_plan, run_program
from mocap_opt.formulations.rows import Family, ModelData, Owner, Row, Terms, TimeUnit, add_families
from mocap_opt.formulations.slot_times import lockstep_latency, message_table
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import Violation, violations
from mocap_opt.solvers.integer_program import IntegerProgram
from mocap_opt.solvers.limits import Limits, SolverOptions
from mocap_opt.solvers.outcome import ProgramResult
from mocap_opt.solvers.pyomo_form import without_collection
from mocap_opt.tables.cost_tables import Tables

MOST_COPIES = 200_000
"""Programs with more copies of chunks are refused before they are built: that takes about ten seconds."""


@dataclass(frozen=True, eq=False)
class LayeredChunks(FreeChunks):
    """Boundaries and layers decided by the model (`rows.Chunks`).

    Attributes
    ----------
    layers : LayerTables
    """

    layers: LayerTables | None = None

    @property
    def held(self) -> LayerTables:
        """The tables by stage and number of layers."""
        assert self.layers is not None
        return self.layers

    def durations(self, stage: int) -> list[tuple[Any, Any]]:
        """Tau with every number of layers, each with the variables of the chunks that run with so many."""
        return [(held.tau, _Copy(self.model, stage, n)) for n, held in self.held.of_stage(stage).items()]

    def _copies(self, owner: Owner, chunk: int, worth: Callable[[int], int]) -> Terms:
        """What a chunk that is not empty is worth by its end, if the stage has so many layers; else 0."""
        terms = Terms()
        for a, b in self.graph.arcs[chunk]:
            if b:
                terms.add(worth(b), self.model.chunk_with[(*owner, chunk, a, b)])
        return terms

    def kept_pages(self, owner: Owner, boundary: int) -> Terms:
        """Pages before a boundary if a stage has so many layers; else 0.

        Parameters
        ----------
        owner : Owner
        boundary : int
        """
        return self._copies(owner, boundary - 1, lambda end: int(self.tables.pages[end]))

    def own_traffic(self, memory: int, chunk: int) -> Terms:
        """Bytes that a chunk moves through its own stage's memory port; 0 if it is empty.

        Parameters
        ----------
        memory, chunk : int
        """
        terms = Terms()
        for n, held in self.held.of_stage(memory).items():
            moved = held.own_traffic[memory]
            terms.plus(1, self._copies((memory, n), chunk, lambda end, moved=moved: int(moved[end])))  # type: ignore[misc]
        return terms

    def prefix(self, stage: int, chunk: int) -> Terms:
        """Multiples of the page unit that the cached prefix takes; 0 if the chunk is empty.

        Parameters
        ----------
        stage, chunk : int
        """
        terms = Terms()
        for n, held in self.held.of_stage(stage).items():
            units = prefix_units(held, stage, self.held.page_unit)
            terms.plus(units, self._copies((stage, n), chunk, lambda end: 1))
        return terms

    def room(self, memory: int) -> Terms:
        """Multiples of the page unit free in a memory at the chosen level and number of layers."""
        terms, unit = Terms(), self.held.page_unit
        for n, held in self.held.of_stage(memory).items():
            for level, longest in enumerate(self.levels):
                chosen = self.model.reserve_with[memory, n, level] if n else self.model.reserve[level]
                terms.add(room_units(held, memory, longest, unit), chosen)
        return terms


@dataclass(frozen=True)
class _Copy:
    """Variables ``chunk_with`` of a stage with a number of layers, by position and ends."""

    model: Any
    stage: int
    layers: int

    def __getitem__(self, arc: tuple[int, int, int]) -> Any:
        return self.model.chunk_with[(self.stage, self.layers, *arc)]


def layers_add_up(model: pyo.ConcreteModel) -> Iterator[Row]:
    """The stages' layers are all of the model's."""
    terms = Terms(-model.data.layers.total)
    for (_, n), variable in model.layers.items():
        terms.add(n, variable)
    yield Row(0, terms, equal=True)


def chunk_runs_with_layers(model: pyo.ConcreteModel) -> Iterator[Row]:
    """On every stage a chunk runs with some number of layers."""
    data: ModelData = model.data
    for (j, a, b), chunk in model.chunk.items():
        for i in range(data.tables.stages):
            terms = Terms().add(-1, chunk)
            for _, n in data.owners[i]:
                terms.add(1, model.chunk_with[i, n, j, a, b])
            yield Row((i, j, a, b), terms, equal=True)


def layers_run_every_chunk(model: pyo.ConcreteModel) -> Iterator[Row]:
    """With the number of layers that a stage has it runs all chunks, with others none."""
    for (i, n), has in model.layers.items():
        for j, arcs in enumerate(model.data.chunks.graph.arcs):
            terms = Terms().add(-1, has)
            for a, b in arcs:
                terms.add(1, model.chunk_with[i, n, j, a, b])
            yield Row((i, n, j), terms, equal=True)


def reserve_stands_with_layers(model: pyo.ConcreteModel) -> Iterator[Row]:
    """On every stage the reserve's level stands with some number of layers."""
    data: ModelData = model.data
    for level, variable in model.reserve.items():
        for i in range(data.tables.stages):
            terms = Terms().add(-1, variable)
            for _, n in data.owners[i]:
                terms.add(1, model.reserve_with[i, n, level])
            yield Row((i, level), terms, equal=True)


def layers_keep_a_reserve(model: pyo.ConcreteModel) -> Iterator[Row]:
    """With the number of layers that a stage has there is one level of the reserve, with others none."""
    for (i, n), has in model.layers.items():
        terms = Terms().add(-1, has)
        for level in model.reserve:
            terms.add(1, model.reserve_with[i, n, level])
        yield Row((i, n), terms, equal=True)


FAMILIES: tuple[Family, ...] = (
    *BOUNDARY_FAMILIES,
    ("layers_add_up", layers_add_up),
    ("chunk_runs_with_layers", chunk_runs_with_layers),
    ("layers_run_every_chunk", layers_run_every_chunk),
    ("reserve_stands_with_layers", reserve_stands_with_layers),
    ("layers_keep_a_reserve", layers_keep_a_reserve),
    *HOME_FAMILIES,
    *WORK_FAMILIES,
    *EXCHANGE_FAMILIES,
    ("latency_within_target", latency_within_target),
)


@without_collection
def build(
    layers: LayerTables,
    *,
    no_worse_than: int | None = None,
    unit: TimeUnit | None = None,
    without: Iterable[str] = (),
) -> pyo.ConcreteModel | None:
    """Build the model.

    Parameters
    ----------
    layers : LayerTables
    no_worse_than : int, optional
        Ticks: worse plans are not wanted, and chunks that only occur in such, in any list, are left out.
    unit : TimeUnit, optional
        Of the times; the one that suits HiGHS, unless given.
    without : iterable of str
        Families to leave out, to see what they are good for.

    Returns
    -------
    ConcreteModel or None
        None if no boundaries are allowed at all, so that there is nothing to model.

    Raises
    ------
    InputError
        If the program is too large.
    """
    tables, pairs = layers.tables, list(layers.by_stage)
    times = None if no_worse_than is None else _least_times(layers)
    graph = chunk_graph(_without_limits(tables), no_worse_than=no_worse_than, times=times)
    if graph.empty:
        return None
    copies = _require_small(graph, pairs)
    model = pyo.ConcreteModel("joint_layers")
    time_unit = unit or TimeUnit.for_horizon(horizon(tables) if no_worse_than is None else no_worse_than)
    plain = declare_boundaries(model, tables, graph, time_unit, layered=True)
    model.layers = pyo.Var(pairs, domain=pyo.Binary)
    model.chunk_with = pyo.Var(copies, bounds=(0, 1))
    levels = [(i, n, level) for i, n in pairs for level in model.reserve]
    model.reserve_with = pyo.Var(levels, bounds=(0, 1))
    chunks = LayeredChunks(**{f.name: getattr(plain, f.name) for f in fields(plain)}, layers=layers)
    limit_times(chunks)
    homes: tuple[tuple[int, ...], ...] = ((),) * tables.stages
    if not all(map(local_homes_always_fit, layers.by_stage.values())):
        homes = (tuple(range(tables.memories)),) * tables.stages
    timing = replace(lockstep_timing(), latency=partial(_latency, layers))
    data = ModelData(tables, time_unit, chunks, homes, timing, no_worse_than, layers=layers)
    declare_homes_and_times(model, data)
    add_families(model, FAMILIES, without)
    return model


def _require_small(graph: ChunkGraph, pairs: Sequence[Owner]) -> list[tuple[int, ...]]:
    """Indices of all copies of chunks; raises `InputError` if there are too many."""
    arcs = [(j, a, b) for j, layer in enumerate(graph.arcs) for a, b in layer]
    if len(arcs) * len(pairs) > MOST_COPIES:
        found = f"{len(arcs):,} chunks for {len(pairs)} pairs of a stage and its number of layers"
        expected = f"a program of at most {MOST_COPIES:,} of both, multiplied"
        remedy = "a larger chunking.quantum or fewer chunks make it smaller; solve searches layouts instead"
        raise InputError([Problem("pipeline.layers", found, expected, remedy)])
    return [(i, n, *arc) for i, n in pairs for arc in arcs]


def _least_times(layers: LayerTables) -> LeastTimes:
    """Least times of chunks over all lists; through all stages by a knapsack over the layers of each."""
    tables = layers.tables
    points = tables.steps + 1
    a, b = np.triu_indices(points, 1)
    sends, alone = message_table(tables), np.zeros((tables.stages, points, points), dtype=np.int64)
    alone[:, a, b] = sends[:, (b == tables.steps).astype(np.int64), b - a]
    times = {pair: np.zeros((points, points), dtype=np.int64) for pair in layers.by_stage}
    for (i, n), held in layers.by_stage.items():
        times[i, n][a, b] = held.tau(i, a, b)
    least = {0: np.zeros((points, points), dtype=np.int64)}
    ends = []
    for i in range(tables.stages):
        ends.append(np.min([times[i, n] for n in layers.of_stage(i)], axis=0) + alone[i])
        longer: dict[int, IntArray] = {}
        for used, before in least.items():
            for n in layers.of_stage(i):
                through = before + times[i, n] + alone[i]
                longer[used + n] = np.minimum(longer.get(used + n, through), through)
        least = longer
    return ends[0], ends[-1], least[layers.total]


def _without_limits(tables: Tables) -> Tables:
    """The tables with memories that hold everything: what one list cannot hold another may."""
    kept = int(tables.page_bytes.sum()) * int(tables.pages[-1])
    everything = tables.static + tables.reserve(tables.tokens) + tables.prefix_bytes
    return replace(tables, capacity=everything + kept)


def _latency(layers: LayerTables, _: Tables, plan: Plan) -> int:
    """Lockstep latency of a plan with the layers that it holds, ticks."""
    return lockstep_latency(layers.of_plan(plan), plan)


def _violations(layers: LayerTables, _: Tables, plan: Plan) -> list[Violation]:
    """What a plan breaks with the layers that it holds."""
    return violations(layers.of_plan(plan), plan)


def build_whole_ticks(layers: LayerTables, no_worse_than: int | None = None) -> pyo.ConcreteModel | None:
    """Declare the program in whole ticks, without rows: `exact_rows` takes them as they are.

    Parameters
    ----------
    layers, no_worse_than
        As for `build`.
    """
    names = [name for name, _ in FAMILIES]
    model = build(layers, no_worse_than=no_worse_than, unit=TimeUnit(1, True), without=names)
    if model is not None:
        model.families = FAMILIES
    return model


def integer_program(layers: LayerTables) -> tuple[IntegerProgram, Callable[[list[int]], Plan]] | None:
    """The program in exact integers and what reads a plan from values; None if no boundaries are allowed."""
    model = build_whole_ticks(layers)
    if model is None:
        return None
    rows = exact_rows(model, FAMILIES)

    def read(values: list[int]) -> Plan:
        rows.load(values)
        return read_plan(model, layers.tables)

    return rows.program, read


def solve_joint_layers(
    layers: LayerTables,
    *,
    solver: Literal["highs", "cpsat"] = "highs",
    no_worse_than: int | None = None,
    **options: Unpack[SolverOptions],
) -> ProgramResult:
    """Find layers, boundaries and homes of least lockstep latency.

    Parameters
    ----------
    layers : LayerTables
        From `layer_tables.layer_tables`.
    solver : str
    no_worse_than : int, optional
        Ticks: worse plans are not wanted; infeasible then means that there is none as good.
    **options
        `mocap_opt.solvers.limits.SolverOptions`.

    Returns
    -------
    ProgramResult
        Its plan holds the layout.  Objective and bound are whole ticks; the bound covers lockstep and every
        list of layers.

    Raises
    ------
    InputError
        If the program is too large.
    """
    limits = Limits(**options)
    make = build_whole_ticks if solver == "cpsat" else build
    model = make(layers, no_worse_than=no_worse_than)
    check = partial(_violations, layers)
    if model is None:
        return no_plan(limits, "no boundaries keep to the limits and the latency wanted")
    if solver == "highs":
        return run_program(model, layers.tables, None, limits, check=check)
    run = benders_cpsat.attempt(model, layers.tables, None, limits, check=check)
    plans = [] if run.plan is None else [run.plan]
    return conclude(plans, partial(_latency, layers, layers.tables), run.raw, run.bound)
