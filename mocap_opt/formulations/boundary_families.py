"""Families that make chunk boundaries a path through the chunk graph, and time the chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyomo.environ as pyo

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_times import stage_classes
from mocap_opt.formulations.chunk_graph import ChunkGraph
from mocap_opt.formulations.presolve import prefix_units, room_units
from mocap_opt.formulations.rows import Family, Owner, Row, Terms, TimeUnit
from mocap_opt.formulations.slot_times import message_table, message_times
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True, eq=False)
class FreeChunks:
    """Boundaries decided by the model (`rows.Chunks`), with the graph they walk through.

    Attributes
    ----------
    model : ConcreteModel
        Holds the variables declared by `declare_boundaries`.
    tables : Tables
    graph : ChunkGraph
    duration_class, message_class : int64[stage]
        Stages with equal tables share their duration and message variables.
    levels : tuple of int
        Tokens of the longest chunk, ascending: the reserve of each covers all that are no longer.
    endless : bool
        Whether requests come again without end.
    """

    model: Any
    tables: Tables
    graph: ChunkGraph
    time_unit: TimeUnit
    duration_class: IntArray
    message_class: IntArray
    levels: tuple[int, ...]
    endless: bool = False

    @property
    def count(self) -> int:
        """M, the number of positions."""
        return self.graph.layers

    def values(self, boundaries: Sequence[int]) -> Iterator[tuple[Any, float]]:
        """Variables and their values where p_j is grid index ``boundaries[j]``, j = 0..M.

        Raises
        ------
        ValueError
            If the graph has no such path.
        """
        model = self.model
        chosen = list(pairwise(boundaries))
        for j, arc in enumerate(chosen):
            if arc not in self.graph.arcs[j]:
                raise ValueError(f"chunk {arc} at position {j} is not in the model")
            yield from ((model.chunk[j, a, b], int((a, b) == arc)) for a, b in self.graph.arcs[j])
            for c in sorted(set(self.duration_class.tolist())):
                yield model.duration[c, j], self._time(self.tables.tau, self.duration_class, c, arc)
            for c in sorted(set(self.message_class[:-1].tolist())):
                yield (
                    model.message[c, j],
                    self._time(partial(message_times, self.tables), self.message_class, c, arc),
                )
        for (j, g), variable in model.boundary.items():
            yield variable, int(boundaries[j] == g)
        needed = max(self.length(a, b) for a, b in chosen if b)
        level = next(at for at, longest in enumerate(self.levels) if longest >= needed)
        for at, variable in model.reserve.items():
            yield variable, int(at == level)

    def _time(self, cost: Any, classes: IntArray, c: int, arc: tuple[int, int]) -> float:
        """Time of a chunk on the stages of a class, in units of time."""
        stage = int(np.flatnonzero(classes == c)[0])
        return float(cost(stage, *arc)) / self.time_unit.ticks if arc[1] else 0.0

    def boundaries(self) -> list[int]:
        """Grid indices p_0 .. p_M that the variables' values stand for."""
        chosen = [g for (_, g), variable in self.model.boundary.items() if variable.value > 0.5]
        return sorted(chosen)

    def pages(self, boundary: int) -> Terms:
        """Pages of the tokens before a boundary."""
        terms = Terms()
        for g in self.graph.nodes[boundary]:
            terms.add(int(self.tables.pages[g]), self.model.boundary[boundary, g])
        return terms

    def kept_pages(self, owner: Owner, boundary: int) -> Terms:
        """`pages`: every stage keeps all of its KV.

        Parameters
        ----------
        owner : Owner
        boundary : int
        """
        return self.pages(boundary)

    def tokens(self, chunk: int) -> Terms:
        """Length of a chunk, tokens."""
        terms = Terms()
        for sign, j in ((1, chunk + 1), (-1, chunk)):
            for g in self.graph.nodes[j]:
                terms.add(sign * int(self.tables.grid[g]), self.model.boundary[j, g])
        return terms

    def rider_bytes(self, chunk: int) -> Terms:
        """Bytes that tokens decoded with a chunk add to its messages; 0 if it is empty."""
        terms, table, last = Terms(), self.tables.rider_bytes, self.tables.steps
        if table is not None:
            for a, b in filter(any, self.graph.arcs[chunk]):
                terms.add(int(table[int(b == last), b - a]), self.model.chunk[chunk, a, b])
        return terms

    def used(self, chunk: int) -> Terms:
        """1 if a chunk is not empty, that is, if its end is not 0."""
        terms = Terms(1)
        if 0 in self.graph.nodes[chunk + 1]:
            terms.add(-1, self.model.boundary[chunk + 1, 0])
        return terms

    def duration(self, stage: int, chunk: int) -> Terms:
        """Time of a chunk on a stage, in ticks.

        Parameters
        ----------
        stage, chunk : int
        """
        return Terms().add(self.time_unit.ticks, self.model.duration[int(self.duration_class[stage]), chunk])

    def message(self, stage: int, chunk: int) -> Terms:
        """Time of a chunk's activations on their own after a stage, in ticks.

        Parameters
        ----------
        stage, chunk : int
        """
        return Terms().add(self.time_unit.ticks, self.model.message[int(self.message_class[stage]), chunk])

    def available(self, chunk: int) -> Terms:
        """When the tokens up to a chunk's end exist, in ticks; 0 if it is empty."""
        terms, exist = Terms(), self.tables.available
        if exist is not None:
            for g in self.graph.nodes[chunk + 1]:
                terms.add(int(exist[g]), self.model.boundary[chunk + 1, g])
        return terms

    def own_traffic(self, memory: int, chunk: int) -> Terms:
        """Bytes that a chunk moves through its own stage's memory port; 0 if it is empty.

        Parameters
        ----------
        memory, chunk : int
        """
        terms = Terms()
        for g in self.graph.nodes[chunk + 1]:
            if g > 0:
                terms.add(int(self.tables.own_traffic[memory, g]), self.model.boundary[chunk + 1, g])
        return terms

    def most_pages(self, boundary: int) -> int:
        """Pages that the tokens before a boundary fill at most."""
        return int(self.tables.pages[self.graph.nodes[boundary][-1]])

    def least_work(self, running: Sequence[tuple[int, int]]) -> int:
        """Ticks that work lasts at least if any of these chunks (stage, position) is not empty."""
        return min(int(self.shortest[i, j]) for i, j in running)

    def durations(self, stage: int) -> list[tuple[Any, Any]]:
        """Tau of all that a stage may be, each with the variables of the chunks that it runs as that."""
        return [(self.tables.tau, self.model.chunk)]

    def messages(self, stage: int) -> list[tuple[Any, Any]]:
        """Likewise `slot_times.message_times`, which are the same whatever the stage is."""
        return [(partial(message_times, self.tables), self.model.chunk)]

    @cached_property
    def shortest(self) -> IntArray:
        """Least time of a chunk that is not empty, int64[stage, position], ticks."""
        least = np.zeros((self.tables.stages, self.count), dtype=np.int64)
        for j, layer in enumerate(self.graph.arcs):
            start, end = np.array([arc for arc in layer if arc[1]] or [(0, self.tables.steps)]).T
            for i in range(self.tables.stages):
                least[i, j] = min(int(cost(i, start, end).min()) for cost, _ in self.durations(i))
        return least

    def room(self, memory: int) -> Terms:
        """Multiples of the page unit free in a memory at the chosen level of the reserve."""
        room = [room_units(self.tables, memory, level, endless=self.endless) for level in self.levels]
        terms = Terms(room[0])
        for level, left in enumerate(room):
            terms.add(left - room[0], self.model.reserve[level])
        return terms

    def prefix(self, stage: int, chunk: int) -> Terms:
        """Multiples of the page unit that the cached prefix takes; 0 if the chunk is empty.

        Parameters
        ----------
        stage, chunk : int
        """
        return Terms().plus(prefix_units(self.tables, stage), self.used(chunk))

    def length(self, start: int, end: int) -> int:
        """Tokens of a chunk [start, end).

        Parameters
        ----------
        start, end : int
            Grid indices.
        """
        return int(self.tables.grid[end] - self.tables.grid[start])


def declare_boundaries(
    model: pyo.ConcreteModel,
    tables: Tables,
    graph: ChunkGraph,
    time_unit: TimeUnit,
    *,
    endless: bool = False,
    layered: bool = False,
) -> FreeChunks:
    """Declare the variables that stand for boundaries, and what follows from them alone.

    ``boundary[j, g]``: p_j is grid point g (binary).  ``chunk[j, a, b]``: chunk j is [a, b)
    (continuous: the path makes it 0 or 1 once the boundaries are).  ``duration[c, j]``,
    ``message[c, j]``: times of chunk j on stages of class c.  ``reserve[v]``: level v covers all.

    Parameters
    ----------
    model : ConcreteModel
        Receives the variables.
    tables : Tables
    graph : ChunkGraph
        Not empty.
    time_unit : TimeUnit
    endless : bool
        Whether requests come again without end: then the reserve has no cap of one request's tokens.
    layered : bool
        Whether the layers of stages are decided too: then no two stages need have equal times, nor two
        levels of the reserve leave equal room.
    """
    points = np.arange(tables.steps + 1)
    a, b = np.triu_indices(points.size, 1)
    stages = np.arange(tables.stages)
    duration_class = stages if layered else stage_classes(tables.tau(stages[:, None], a, b))
    message_class = stage_classes(message_table(tables))
    lengths = sorted({int(tables.grid[b] - tables.grid[a]) for layer in graph.arcs for a, b in layer if b})
    levels = _distinct_levels(tables, lengths, endless=endless, layered=layered)
    layers = range(graph.layers)
    nodes = [(j, g) for j, layer in enumerate(graph.nodes) for g in layer]
    model.boundary = pyo.Var(nodes, domain=pyo.Binary)
    arcs = [(j, a, b) for j in layers for a, b in graph.arcs[j]]
    model.chunk = pyo.Var(arcs, bounds=(0, 1))
    model.duration = pyo.Var(sorted(set(duration_class.tolist())), layers, domain=pyo.NonNegativeReals)
    model.message = pyo.Var(sorted(set(message_class[:-1].tolist())), layers, domain=pyo.NonNegativeReals)
    model.reserve = pyo.Var(range(len(levels)), domain=pyo.Binary)
    chunks = FreeChunks(model, tables, graph, time_unit, duration_class, message_class, levels, endless)
    limit_times(chunks)
    return chunks


def limit_times(chunks: FreeChunks) -> None:
    """Give chunk and message times an upper limit, so that duals not quite exact still prove something."""
    model, unit = chunks.model, chunks.time_unit.ticks
    for times, classes, costs in (
        (model.duration, chunks.duration_class, chunks.durations),
        (model.message, chunks.message_class, chunks.messages),
    ):
        for (c, j), variable in times.items():
            start, end = np.array([arc for arc in chunks.graph.arcs[j] if arc[1]] or [(0, 1)]).T
            stage = int(np.flatnonzero(classes == c)[0])
            variable.setub(max(int(cost(stage, start, end).max()) for cost, _ in costs(stage)) / unit)


def _distinct_levels(tables: Tables, lengths: list[int], *, endless: bool, layered: bool) -> tuple[int, ...]:
    """Of the longest chunks that leave every memory the same room, only the greatest.

    Where layers are decided too, of those whose reserve is the same whatever the layers.
    """
    rooms: dict[tuple[int, ...], int] = {}
    for longest in lengths:
        same: tuple[int, ...] = (tables.held_tokens(longest, endless=endless),)
        if not layered:
            each = range(tables.memories)
            same = tuple(room_units(tables, k, longest, endless=endless) for k in each)
        rooms[same] = longest
    return tuple(sorted(rooms.values()))


def one_boundary(model: pyo.ConcreteModel) -> Iterator[Row]:
    """Every boundary is one grid point."""
    for j, layer in enumerate(model.data.chunks.graph.nodes):
        terms = Terms(-1)
        for g in layer:
            terms.add(1, model.boundary[j, g])
        yield Row(j, terms, equal=True)


def chunk_starts_at_boundary(model: pyo.ConcreteModel) -> Iterator[Row]:
    """Chunk j starts at boundary j."""
    graph = model.data.chunks.graph
    for j, layer in enumerate(graph.arcs):
        leaving: dict[int, Terms] = {g: Terms() for g in graph.nodes[j]}
        for a, b in layer:
            leaving[a].add(1, model.chunk[j, a, b])
        for g, terms in leaving.items():
            yield Row((j, g), terms.add(-1, model.boundary[j, g]), equal=True)


def chunk_ends_at_boundary(model: pyo.ConcreteModel) -> Iterator[Row]:
    """Chunk j ends at boundary j + 1."""
    graph = model.data.chunks.graph
    for j, layer in enumerate(graph.arcs):
        arriving: dict[int, Terms] = {g: Terms() for g in graph.nodes[j + 1]}
        for a, b in layer:
            arriving[b].add(1, model.chunk[j, a, b])
        for g, terms in arriving.items():
            yield Row((j, g), terms.add(-1, model.boundary[j + 1, g]), equal=True)


def chunk_takes_its_time(model: pyo.ConcreteModel) -> Iterator[Row]:
    """Duration of chunk j on the stages of class c: tau of the chosen chunk."""
    chunks: FreeChunks = model.data.chunks
    for c in sorted(set(chunks.duration_class.tolist())):
        stage = int(np.flatnonzero(chunks.duration_class == c)[0])
        yield from _times(chunks, c, stage, chunks.durations(stage), model.duration)


def message_takes_its_time(model: pyo.ConcreteModel) -> Iterator[Row]:
    """Message time of chunk j after the stages of class c: that of the chosen chunk."""
    chunks: FreeChunks = model.data.chunks
    for c in sorted(set(chunks.message_class[:-1].tolist())):
        stage = int(np.flatnonzero(chunks.message_class == c)[0])
        yield from _times(chunks, c, stage, chunks.messages(stage), model.message)


def _times(
    chunks: FreeChunks, c: int, stage: int, costs: list[tuple[Any, Any]], variable: Any
) -> Iterator[Row]:
    """Rows ``variable[c, j]`` = cost of the chunk chosen at position j."""
    unit = chunks.time_unit.ticks
    for j, layer in enumerate(chunks.graph.arcs):
        terms = Terms().add(unit, variable[c, j])
        solid = [(a, b) for a, b in layer if b]
        if solid:
            starts, ends = np.array(solid, dtype=np.int64).T
            for cost, chosen in costs:
                for (a, b), ticks in zip(solid, cost(stage, starts, ends).tolist(), strict=True):
                    terms.add(-ticks, chosen[j, a, b])
        yield Row((c, j), terms, equal=True, pivot=unit)


def one_reserve_level(model: pyo.ConcreteModel) -> Iterator[Row]:
    """The reserve stands at one level."""
    terms = Terms(-1)
    for level in model.reserve:
        terms.add(1, model.reserve[level])
    yield Row(0, terms, equal=True)


def reserve_covers_chunk(model: pyo.ConcreteModel) -> Iterator[Row]:
    """The reserve's level covers every chunk, hence the longest."""
    chunks: FreeChunks = model.data.chunks
    levels = np.array(chunks.levels)
    if len(levels) < 2:
        return
    for j, layer in enumerate(chunks.graph.arcs):
        terms = Terms()
        for level in model.reserve:
            terms.add(level, model.reserve[level])
        for a, b in layer:
            if b:
                needed = int(np.searchsorted(levels, chunks.length(a, b)))
                terms.add(-needed, model.chunk[j, a, b])
        yield Row(j, terms)


BOUNDARY_FAMILIES: tuple[Family, ...] = (
    ("one_boundary", one_boundary),
    ("chunk_starts_at_boundary", chunk_starts_at_boundary),
    ("chunk_ends_at_boundary", chunk_ends_at_boundary),
    ("chunk_takes_its_time", chunk_takes_its_time),
    ("message_takes_its_time", message_takes_its_time),
    ("one_reserve_level", one_reserve_level),
    ("reserve_covers_chunk", reserve_covers_chunk),
)
