"""How busy links and ports are over an execution, and what every memory holds, told apart by whose it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.replay.event import EventReplay
from mocap_opt.replay.lockstep import LockstepReplay
from mocap_opt.replay.transfers import Kind
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.tables.cost_tables import Tables

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Load:
    """Use of links and ports, interval by interval: bytes moved over bytes that could move.

    Attributes
    ----------
    edges : float64[interval + 1], ticks
        Where the intervals begin and end.
    link : float64[link, interval]
        Parts of the links' capacity.
    port : float64[memory, interval]
        Parts of the ports' capacity.
    """

    edges: FloatArray
    link: FloatArray
    port: FloatArray

    def overall(self) -> Load:
        """The same over the whole time, as one interval."""
        length = np.diff(self.edges)
        whole = float(length.sum()) or 1.0
        link = (self.link @ length / whole)[:, None]
        port = (self.port @ length / whole)[:, None]
        return Load(self.edges[[0, -1]], link, port)


def lockstep_load(replay: LockstepReplay) -> Load:
    """Load by slot, KV cache and activations together."""
    tables = replay.schedule.machine
    edges = np.append(replay.start, replay.latency).astype(np.float64)
    length = np.maximum(np.diff(edges), 1.0)
    moved = (replay.link_kv_bytes + replay.link_activation_bytes).astype(np.float64)
    link = moved / tables.share_denominator / tables.link_rate[:, None] / length
    return Load(edges, link, replay.port_bytes / tables.port_rate[:, None] / length)


def event_load(tables: Tables, replay: EventReplay, edges: Sequence[float] | FloatArray) -> Load:
    """Load by the intervals between `edges` (ticks, rising).

    Parameters
    ----------
    tables : Tables
    replay : EventReplay
        Recorded (``log=True``).
    edges : float64[interval + 1], ticks

    Raises
    ------
    ValueError
        If the run was not recorded.
    """
    bounds = np.asarray(edges, dtype=np.float64)
    length = np.diff(bounds)
    log = replay.recorded()
    routes = {record.route: None for record in log}
    rows = {route: n for n, route in enumerate(routes)}
    # Bytes of a route until an edge: a piecewise linear sum over its messages' steps.
    until = np.zeros((len(routes), bounds.size))
    for record in log:
        at = [_number(step[0]) for step in record.rates] + [_number(record.end)]
        moved = [0.0]
        for (_, rate, _), begin, end in zip(record.rates, at[:-1], at[1:], strict=True):
            moved.append(moved[-1] + _number(rate) * (end - begin))
        until[rows[record.route]] += np.interp(bounds, at, moved)
    moved_by_route = np.diff(until, axis=1)
    link = np.zeros((len(tables.links), length.size))
    port = np.zeros((tables.memories, length.size))
    for route, n in rows.items():
        if route.kind is not Kind.OWN:
            share = tables.share[:, route.source, route.destination] / tables.share_denominator
            used = np.flatnonzero(share)
            link[used] += share[used, None] * moved_by_route[n]
        if route.port is not None:
            port[route.port] += moved_by_route[n]
    return Load(bounds, link / tables.link_rate[:, None] / length, port / tables.port_rate[:, None] / length)


def _number(value: Fraction) -> float:
    return value.numerator / value.denominator


@dataclass(frozen=True, eq=False)
class MemoryHistory:
    """Bytes in every memory from each instant until the next.

    Attributes
    ----------
    time : tuple of Fraction, ticks
        The instants, rising; what follows the last one lasts until `end`.
    end : Fraction, ticks
    capacity, static, reserve : int64[memory], bytes
        Size of the memory, weights, staging and activations; constant.
    prefix, own, hosted : int64[memory, instant], bytes
        The stage's cached prefix, its own KV cache at home, KV cache of other stages.
    """

    time: tuple[Fraction, ...]
    end: Fraction
    capacity: IntArray
    static: IntArray
    reserve: IntArray
    prefix: IntArray
    own: IntArray
    hosted: IntArray

    @property
    def total(self) -> IntArray:
        """Everything together, int64[memory, instant], bytes."""
        return (self.static + self.reserve)[:, None] + self.prefix + self.own + self.hosted

    @property
    def peak(self) -> IntArray:
        """The most that every memory ever holds, int64[memory], bytes."""
        peak: IntArray = self.total.max(axis=1)
        return peak


def lockstep_memory(replay: LockstepReplay) -> MemoryHistory:
    """Memory by slot of a run that comes to an end; `total` equals ``replay.memory``."""
    schedule = replay.schedule
    parts = [_held_alone(request.tables, request.plan) for request in schedule]
    sums = (schedule.overlay(of_kind) for of_kind in zip(*parts, strict=True))
    time = tuple(map(Fraction, replay.start.tolist()))
    return _history(schedule, time, Fraction(replay.latency), *sums)


def _held_alone(tables: Tables, plan: Plan) -> tuple[IntArray, IntArray, IntArray]:
    """Prefix, own and hosted KV cache of one request in slots of its own, int64[memory, slot], bytes."""
    slots = plan.chunks + tables.stages - 1
    prefix, own, hosted = (np.zeros((tables.memories, slots), dtype=np.int64) for _ in range(3))
    held = np.cumsum(plan.all_pages(tables), axis=1) * tables.page_bytes[:, None, None]
    for i in range(tables.stages):
        alive = slice(i, i + plan.chunks)
        prefix[i, alive] = tables.prefix_bytes[i]
        own[i, alive] = held[i, :, i]
        others = held[i].T.copy()
        others[i] = 0
        hosted[:, alive] += others
    return prefix, own, hosted


def event_memory(schedule: Schedule, replay: EventReplay) -> MemoryHistory:
    """Memory over the time of an event-driven run.

    A chunk's KV is charged to its home when the chunk starts, a prefix with its stage's first
    chunk; all of a request goes when its last chunk on the stage ends.  At equal instants what goes, goes
    first.

    Parameters
    ----------
    schedule : Schedule
    replay : EventReplay
        Of that schedule.
    """
    past = np.cumsum([request.plan.chunks for request in schedule]).tolist()
    ends = (row[end - 1] for row in replay.end for end in past)
    instants = sorted({Fraction(0), *(t for row in replay.start for t in row), *ends})
    rank = {time: n for n, time in enumerate(instants)}
    memories = schedule.machine.memories
    prefix, own, hosted = (np.zeros((memories, len(instants)), dtype=np.int64) for _ in range(3))
    for request, end in zip(schedule, past, strict=True):
        tables, chunks = request.tables, request.plan.chunks
        brought = request.plan.all_pages(tables) * tables.page_bytes[:, None, None]
        for i in range(schedule.stages):
            gone = rank[replay.end[i][end - 1]]
            begun = [rank[start] for start in replay.start[i][end - chunks : end]]
            prefix[i, begun[0]] += tables.prefix_bytes[i]
            prefix[i, gone] -= tables.prefix_bytes[i]
            at_home = brought[i, :, i]
            elsewhere = brought[i].T.copy()
            elsewhere[i] = 0
            for j in range(chunks):
                own[i, begun[j]] += at_home[j]
                hosted[:, begun[j]] += elsewhere[:, j]
            own[i, gone] -= at_home.sum()
            hosted[:, gone] -= elsewhere.sum(axis=1)
    sums = (np.cumsum(changes, axis=1) for changes in (prefix, own, hosted))
    return _history(schedule, tuple(instants), replay.latency, *sums)


def _history(
    schedule: Schedule,
    time: tuple[Fraction, ...],
    end: Fraction,
    prefix: IntArray,
    own: IntArray,
    hosted: IntArray,
) -> MemoryHistory:
    machine = schedule.machine
    return MemoryHistory(time, end, machine.capacity, machine.static, schedule.reserve, prefix, own, hosted)
