"""The lockstep program in the words of another modeller: multi-mode tasks of PyJobShop.

PyJobShop comes with the extra ``baseline``.  Statement: ``formulations/joint.md``, "In another modeller".  A
relaxation: KV may live anywhere and takes no time to move.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.formulations.chunk_graph import ChunkGraph, chunk_graph
from mocap_opt.formulations.presolve import allowed_arcs, local_homes_always_fit, page_unit, pooled_bytes
from mocap_opt.formulations.slot_times import message_times
from mocap_opt.optional_dependencies import require
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import running
from mocap_opt.solvers.limits import Limits
from mocap_opt.solvers.outcome import SolveOutcome, Status, StopReason
from mocap_opt.tables.cost_tables import Tables

SOLVER = "pyjobshop"

MOST_MODES = 100_000
"""Modes of a model at most; building more takes minutes."""

LONGEST_HORIZON = 2**40
"""Time units of a schedule at most; PyJobShop takes times up to four times that."""

Cell = tuple[int, int]
"""Stage and position of a chunk."""


def mode_count(tables: Tables) -> int:
    """How many modes the model has at most: of every chunk on every stage, and of every message.

    Parameters
    ----------
    tables : Tables
    """
    return allowed_arcs(tables) * (2 * tables.stages - 1)


def solve_modes(tables: Tables, limits: Limits) -> tuple[Plan | None, SolveOutcome]:
    """Find boundaries of least lockstep latency without KV traffic.

    Parameters
    ----------
    tables : Tables
    limits : Limits
        Of building and solving; its callback is told nothing.

    Returns
    -------
    plan : Plan or None
        Boundaries with all KV at home, where it may not fit.
    outcome : SolveOutcome
        Objective and bound in ticks; without a solution PyJobShop tells no bound.

    Raises
    ------
    ExtraMissingError
        If PyJobShop is not installed.
    """
    require("pyjobshop", "baseline")
    import pyjobshop as loaded  # noqa: PLC0415 - an extra

    pyjobshop: Any = loaded
    began = time.perf_counter()
    common: Any = {"solver": SOLVER, "time_limit_s": limits.time_limit_s, "threads": limits.threads}
    graph = chunk_graph(tables)
    if graph.empty:
        return None, SolveOutcome(status=Status.INFEASIBLE, stop=StopReason.INFEASIBLE, **common)
    unit = -(-_horizon(tables) // LONGEST_HORIZON)
    model = pyjobshop.Model()
    _build(model, tables, graph, unit)
    if not _each_fits(model):
        return None, SolveOutcome(status=Status.INFEASIBLE, stop=StopReason.INFEASIBLE, **common)
    built_s = time.perf_counter() - began
    left = limits.deadline.left_s
    options: dict[str, Any] = {} if left is None else {"time_limit": max(left, 0.01)}
    result = model.solve(num_workers=limits.threads, display=False, random_seed=limits.seed, **options)
    status, stop = {
        "Optimal": (Status.OPTIMAL, StopReason.OPTIMAL),
        "Feasible": (Status.FEASIBLE, StopReason.TIME_LIMIT),
        "Infeasible": (Status.INFEASIBLE, StopReason.INFEASIBLE),
    }.get(result.status.value, (Status.UNKNOWN, StopReason.TIME_LIMIT))
    solved = status in (Status.OPTIMAL, Status.FEASIBLE)
    outcome = SolveOutcome(
        status=status,
        stop=stop,
        objective=int(result.objective) * unit if solved else None,
        bound=int(np.floor(result.lower_bound + 1e-6)) * unit if solved else None,
        build_s=built_s,
        solve_s=time.perf_counter() - began - built_s,
        columns=len(model.modes),
        **common,
    )
    if not solved:
        return None, outcome
    # The tasks of stage 0 come first, and so do their modes.
    every = [arc for layer in graph.arcs for arc in layer]
    arcs = [every[task.mode] for task in result.best.tasks[: graph.layers]]
    indices = np.array([0, *(end for start, end in arcs if end > start)], dtype=np.int64)
    return Plan.from_arrays(tables, indices), outcome


def _each_fits(model: Any) -> bool:
    """Whether every task alone has a mode that fits in memory; PyJobShop refuses other models."""
    capacity = min((resource.capacity for resource in model.resources), default=0)
    fits = {mode.task for mode in model.modes if all(demand <= capacity for demand in mode.demands)}
    return len(fits) == len(model.tasks)


def _horizon(tables: Tables) -> int:
    """No less than a schedule that does one thing after the other, ticks."""
    stage, end = np.arange(tables.stages), np.array(tables.steps)
    longest = int((tables.tau(stage, 0, end) + message_times(tables, stage, 0, end)).sum())
    return tables.max_chunks * longest + 1


def _build(model: Any, tables: Tables, graph: ChunkGraph, unit: int) -> None:
    """Fill a model: tasks with their modes, one partition for all, memory, and the order of phases."""
    memory = _pooled_memory(model, tables, graph)
    stages, layers = tables.stages, graph.layers
    arcs = [np.array(layer, dtype=np.int64).T for layer in graph.arcs]
    tasks: dict[tuple[Cell, bool], tuple[Any, list[Any]]] = {}
    for i in range(stages):
        for j, (start, end) in enumerate(arcs):
            kept = memory is not None and i + j < layers
            bytes_kept = tables.page_bytes[i] * (tables.pages[end] - tables.pages[start])
            demand = bytes_kept // page_unit(tables) if kept else None
            work = _chunk_times(tables, i, start, end, sent=False) // unit
            tasks[(i, j), False] = _task(model, work, memory if kept else None, demand)
    for i in range(stages - 1):
        for j, (start, end) in enumerate(arcs):
            send = _chunk_times(tables, i, start, end, sent=True) // unit
            tasks[(i, j), True] = _task(model, send, None, None)
    _one_partition(model, graph, tasks)
    if memory is not None:
        _reserve(model, tables, graph, memory, [tasks[(0, j), False][1] for j in range(layers)])
    slots = layers + stages - 1
    before: Any = None
    for t in range(slots):
        for sent in (False, True):
            cells = [cell for cell in running(stages, layers, slots, t) if (cell, sent) in tasks]
            before = _barrier(model, [tasks[cell, sent][0] for cell in cells], before)


def _chunk_times(tables: Tables, stage: int, start: IntArray, end: IntArray, *, sent: bool) -> IntArray:
    """Time of every chunk on a stage, or of its message onward, ticks; 0 of an empty one."""
    times = np.zeros(start.size, dtype=np.int64)
    full = end > start
    of = (stage, start[full], end[full])
    times[full] = message_times(tables, *of) if sent else tables.tau(*of)
    return times


def _task(model: Any, times: IntArray, memory: Any, demand: IntArray | None) -> tuple[Any, list[Any]]:
    """A task with a mode for every chunk that may stand there."""
    task = model.add_task()
    resources = [] if memory is None else [memory]
    return task, [
        model.add_mode(task, resources, ticks, [] if demand is None else [int(demand[n])])
        for n, ticks in enumerate(times.tolist())
    ]


def _one_partition(
    model: Any, graph: ChunkGraph, tasks: dict[tuple[Cell, bool], tuple[Any, list[Any]]]
) -> None:
    """All stages and messages have the chunk that stage 0 has, and each chunk begins where the last ended."""
    for j, arcs in enumerate(graph.arcs):
        here = tasks[(0, j), False][1]
        others = [modes for ((i, k), sent), (_, modes) in tasks.items() if k == j and (i or sent)]
        for n, (_, end) in enumerate(arcs):
            for modes in others:
                model.add_mode_dependency(here[n], [modes[n]])
            if j + 1 < graph.layers:
                onward = tasks[(0, j + 1), False][1]
                after = [onward[m] for m, (start, _) in enumerate(graph.arcs[j + 1]) if start == end]
                model.add_mode_dependency(here[n], after)


def _lengths(tables: Tables, graph: ChunkGraph) -> list[int]:
    """Lengths of the chunks that may stand anywhere, tokens, shortest first."""
    found = {int(tables.grid[b] - tables.grid[a]) for arcs in graph.arcs for a, b in arcs if b > a}
    return sorted(found)


def _pooled_memory(model: Any, tables: Tables, graph: ChunkGraph) -> Any:
    """All memories together in slot M - 1, in which stage 0 has all its KV; None where KV always fits."""
    if local_homes_always_fit(tables):
        return None
    return model.add_consumable(pooled_bytes(tables, _lengths(tables, graph)[0]) // page_unit(tables))


def _reserve(model: Any, tables: Tables, graph: ChunkGraph, memory: Any, chunks: list[list[Any]]) -> None:
    """A task whose mode is the longest chunk's length takes the memory that the reserve takes then."""
    lengths, task = _lengths(tables, graph), model.add_task()
    most = pooled_bytes(tables, lengths[0])
    taken = [(most - pooled_bytes(tables, length)) // page_unit(tables) for length in lengths]
    levels = [model.add_mode(task, [memory], 0, [demand]) for demand in taken]
    for arcs, modes in zip(graph.arcs, chunks, strict=True):
        for mode, (start, end) in zip(modes, arcs, strict=True):
            length = int(tables.grid[end] - tables.grid[start])
            allowed = [level for level, longest in zip(levels, lengths, strict=True) if longest >= length]
            model.add_mode_dependency(mode, allowed)


def _barrier(model: Any, now: list[Any], before: Any) -> Any:
    """Tasks of a phase begin after the phase before has ended; the task that stands for this one's end."""
    end = model.add_task()
    model.add_mode(end, [], 0)
    for task in now:
        if before is not None:
            model.add_end_before_start(before, task)
        model.add_end_before_start(task, end)
    if before is not None:
        model.add_end_before_start(before, end)
    return end
