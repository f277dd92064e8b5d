"""What the page shows of an execution, as columns of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mocap_opt.instance.objectives import Objective
from mocap_opt.pictures.palette import byte_unit, time_unit
from mocap_opt.pictures.run_view import RunView, view_answer
from mocap_opt.replay.activity import WAITS, Activity
from mocap_opt.replay.evaluation import Execution
from mocap_opt.replay.transfers import Kind
from mocap_opt.solving.solution import Solution
from mocap_opt.tables.cost_tables import Tables

MOST_BARS = 40_000
"""Chunks on stages, all scenes together, beyond which no further plan is drawn."""

Columns = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Scene:
    """An execution of a plan as columns.

    Attributes
    ----------
    name : str
        Whose plan it is.
    answer : int
        The number of its answer on the page.
    view : RunView
    chunks, waits, transfers : dict of str to array or list
        A row per bar of the timeline; times in the page's unit.
    edges : float64[sample + 1]
        Slots, or equal intervals, in the page's unit of time.
    memory : dict of str to float64[sample x memory]
        ``prefix``, ``own`` and ``hosted`` in the page's unit of size, at the fullest moment of each
        sample.
    link, port : float32[sample x link], float32[sample x memory], % of bandwidth
    """

    name: str
    answer: int
    view: RunView
    chunks: Columns
    waits: Columns
    transfers: Columns
    edges: npt.NDArray[np.float64]
    memory: Columns
    link: npt.NDArray[np.float32]
    port: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Units:
    """Units that a page uses throughout.

    Attributes
    ----------
    time, size : str
    per_tick, per_byte : float
        Units of time in a tick, of size in a byte.
    """

    time: str
    per_tick: float
    size: str
    per_byte: float


def page_units(tables: Tables, latency_s: float) -> Units:
    """Units in which the latency and the largest memory are best written.

    Parameters
    ----------
    tables : Tables
    latency_s : float
        Of the fastest plan drawn.
    """
    scale, time = time_unit(latency_s)
    per_byte, size = byte_unit(float(tables.capacity.max()))
    return Units(time, scale * float(tables.tick_s), size, per_byte)


def make_scenes(answers: Sequence[tuple[str, Solution]]) -> list[Scene]:
    """Scenes of the best plans, each in the reported execution first, until `MOST_BARS` are reached.

    Parameters
    ----------
    answers : sequence of (str, Solution)
        Of one instance, each with its name; those without a plan are passed over.
    """
    ranked = sorted(
        (-value if Objective(answer.report.objective).record.maximised else value, n)
        for n, (_, answer) in enumerate(answers)
        if (value := answer.report.value_s) is not None
    )
    scenes: list[Scene] = []
    units: Units | None = None
    bars = 0
    for _, n in ranked:
        name, answer = answers[n]
        executions = sorted(Execution, key=lambda each: each.value != answers[n][1].report.execution)
        for pipeline, _ in answer.streams:
            views = [view_answer(answer, each, pipeline) for each in executions]
            bars += sum(view.tables.stages * len(view.chunks) for view in views)
            if scenes and bars > MOST_BARS:
                break
            units = units or page_units(views[0].tables, views[0].latency_s)
            whose = name if answer.assignment is None else f"{name}, pipeline {pipeline}"
            scenes.extend(_scene(whose, n, view, units) for view in views)
    return scenes


def _scene(name: str, answer: int, view: RunView, units: Units) -> Scene:
    edges = view.load.edges
    return Scene(
        name=name,
        answer=answer,
        view=view,
        chunks=_chunks(view, units),
        waits=_waits(view, units),
        transfers=_transfers(view, units),
        edges=edges * units.per_tick,
        memory=_memory(view, edges, units),
        link=(100 * view.load.link.T).astype(np.float32).ravel(),
        port=(100 * view.load.port.T).astype(np.float32).ravel(),
    )


def _labels(view: RunView) -> list[str]:
    """What every chunk is called: its number, and of several requests its request's name."""
    if len(view.schedule) == 1:
        return [f"chunk {chunk}" for _, chunk in view.chunks]
    names = [request.name or f"#{n}" for n, request in enumerate(view.schedule)]
    return [f"request {names[n]}, chunk {chunk}" for n, chunk in view.chunks]


def _chunks(view: RunView, units: Units) -> Columns:
    """A row per chunk and stage: its times, its waits and its remote traffic."""
    shape = (view.tables.stages, len(view.chunks))
    columns = {name: np.zeros(shape) for name in ("left", "right", "end", "read", "written")}
    waits: dict[str, dict[tuple[int, int], list[str]]] = {"before": {}, "after": {}}
    for interval in view.intervals:
        at = interval.stage, interval.chunk
        start, end = float(interval.start) * units.per_tick, float(interval.end) * units.per_tick
        if interval.activity is Activity.COMPUTE:
            columns["left"][at], columns["right"][at] = start, end
        else:
            side = "after" if columns["right"][at] else "before"
            text = f"{interval.activity.value} {end - start:.6f} {units.time}"
            waits[side].setdefault(at, []).append(text)
        columns["end"][at] = end
    for transfer in view.transfers:
        name = "read" if transfer.kind is Kind.READ else "written"
        columns[name][transfer.stage, transfer.chunk] = transfer.size * units.per_byte
    stage = np.indices(shape, dtype=np.int32)[0]
    plans = [request.plan.boundaries for request in view.schedule]
    tokens = {
        end: np.broadcast_to(np.array([plans[n][j + k] for n, j in view.chunks], dtype=np.int32), shape)
        for k, end in enumerate(("first", "last"))
    }
    # One request shows its chunks by their colours, several show which chunk is whose.
    several = len(plans) > 1
    shades = np.array([n if several else j for n, j in view.chunks], dtype=np.int32)
    whole: Columns = {"stage": stage, "shade": np.broadcast_to(shades, shape), **tokens, **columns}
    numbers = {name: np.ascontiguousarray(values).ravel() for name, values in whole.items()}
    # Row by row, as the arrays are flattened.
    texts = {
        side: [", ".join(found.get(at, ("nothing",))) for at in np.ndindex(shape)]
        for side, found in waits.items()
    }
    return {**numbers, **texts, "label": _labels(view) * shape[0]}


def _waits(view: RunView, units: Units) -> Columns:
    rows, labels = [i for i in view.intervals if i.activity is not Activity.COMPUTE], _labels(view)
    left = np.array([float(i.start) for i in rows]) * units.per_tick
    right = np.array([float(i.end) for i in rows]) * units.per_tick
    return {
        "stage": np.array([i.stage for i in rows], dtype=np.int32),
        "label": [labels[i.chunk] for i in rows],
        "left": left,
        "right": right,
        "length": right - left,
        "kind": np.array([WAITS.index(i.activity) for i in rows], dtype=np.int32),
        "cause": [i.cause or "-" for i in rows],
    }


def _transfers(view: RunView, units: Units) -> Columns:
    rows, labels = view.transfers, _labels(view)
    reads = np.array([t.kind is Kind.READ for t in rows], dtype=bool)
    return {
        "y": np.array([t.stage for t in rows], dtype=np.float64) + np.where(reads, 0.34, -0.34),
        "stage": np.array([t.stage for t in rows], dtype=np.int32),
        "label": [labels[t.chunk] for t in rows],
        "left": np.array([float(t.start) for t in rows]) * units.per_tick,
        "right": np.array([float(t.end) for t in rows]) * units.per_tick,
        "size": np.array([t.size for t in rows], dtype=np.float64) * units.per_byte,
        "read": reads.astype(np.int32),
        "memories": [", ".join(map(str, t.memories)) for t in rows],
    }


def _memory(view: RunView, edges: npt.NDArray[np.float64], units: Units) -> Columns:
    """What every memory holds at its fullest moment of each sample."""
    history = view.memory
    time = np.array([float(t) for t in history.time])
    total = history.total
    samples, memories = edges.size - 1, total.shape[0]
    columns = {name: np.zeros((samples, memories)) for name in ("prefix", "own", "hosted")}
    begin = np.searchsorted(time, edges[:-1], side="right") - 1
    # An instant on the edge between two samples belongs to the later one.
    end = np.maximum(np.searchsorted(time, edges[1:], side="left"), begin + 1)
    every = np.arange(memories)
    for k in range(samples):
        fullest = begin[k] + total[:, begin[k] : end[k]].argmax(axis=1)
        for name, values in columns.items():
            values[k] = getattr(history, name)[every, fullest]
    return {name: values.ravel() * units.per_byte for name, values in columns.items()}
