"""Families that place KV cache in memories and time slots: memory, link and port rows.

Homes are cumulative: ``home[i, j, k]`` is the number of pages of stage i's first j chunks that
live in memory k.  Then memory rows, a chunk's reads and its writes are all short.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyomo.environ as pyo
from pyomo.core.expr import LinearExpression

from mocap_opt.formulations.boundary_families import declare_boundaries
from mocap_opt.formulations.chunk_graph import ChunkGraph
from mocap_opt.formulations.fixed_message_terms import fixed_load, own_traffic_is_hidden
from mocap_opt.formulations.presolve import local_homes_always_fit, may_hold_kv
from mocap_opt.formulations.pyomo_solution import lockstep_timing
from mocap_opt.formulations.resources import Carrier, links, ports
from mocap_opt.formulations.rows import Family, ModelData, Owner, Row, Terms, TimeUnit
from mocap_opt.formulations.slot_times import message_times
from mocap_opt.tables.cost_tables import Tables


def possible_homes(tables: Tables, *, endless: bool = False) -> tuple[tuple[int, ...], ...]:
    """By stage, the memories in which its KV may live (`presolve.may_hold_kv`).

    Empty tuples if everything always fits at home: then moving KV cannot help.

    Parameters
    ----------
    tables : Tables
    endless : bool
        Whether requests come again without end.
    """
    if local_homes_always_fit(tables, endless=endless):
        return ((),) * tables.stages
    return tuple(tuple(np.flatnonzero(fits).tolist()) for fits in may_hold_kv(tables, endless=endless))


def declare_homes_and_times(model: pyo.ConcreteModel, data: ModelData) -> None:
    """Declare the variables of the families below, and the objective: the sum of all slots' times.

    ``home[i, j, k]`` for boundaries j = 1..M, whole pages; ``work[t]`` and ``exchange[t]``, the two
    phases of a slot, in the model's units of time; ``wait[t]``, idle before a slot in which a chunk enters
    stage 0, where tokens come to exist by and by.

    Parameters
    ----------
    model : ConcreteModel
        Receives them, and the data as ``data``.
    data : ModelData
    """
    model.data = data
    declare_homes(model)
    model.work = pyo.Var(range(data.slots), domain=data.time_unit.domain)
    model.exchange = pyo.Var(range(data.slots), domain=data.time_unit.domain)
    declare_waits(model)
    times = [*model.work.values(), *model.exchange.values(), *model.wait.values()]
    body = LinearExpression(constant=0, linear_coefs=[1] * len(times), linear_vars=times)
    model.latency = pyo.Objective(expr=body)


def declare_waits(model: pyo.ConcreteModel) -> None:
    """Declare ``wait[t]`` where tokens come to exist by and by; otherwise none.

    Parameters
    ----------
    model : ConcreteModel
        With its data.
    """
    data: ModelData = model.data
    waits = data.tables.available is not None and data.interval is None
    model.wait = pyo.Var(range(data.chunks.count if waits else 0), domain=data.time_unit.domain)


def declare_homes(model: pyo.ConcreteModel) -> None:
    """Declare ``home[i, j, k]``, whole pages, for boundaries j = 1..M."""
    data: ModelData = model.data
    positions = range(1, data.chunks.count + 1)
    index = [(*owner, j, k) for owner in data.page_bytes for j in positions for k in data.homes[owner[0]]]
    most = [0, *(data.chunks.most_pages(j) for j in positions)]
    model.home = pyo.Var(index, domain=pyo.NonNegativeIntegers, bounds=lambda _, *at: (0, most[at[-2]]))


def declare_lockstep(
    model: pyo.ConcreteModel,
    tables: Tables,
    graph: ChunkGraph,
    homes: tuple[tuple[int, ...], ...],
    *,
    target: int | None = None,
    interval: int | None = None,
    unit: TimeUnit | None = None,
) -> None:
    """Declare all variables and the objective of a lockstep program.

    Parameters
    ----------
    model : ConcreteModel
    tables : Tables
    graph : ChunkGraph
        Not empty.
    homes : tuple of tuple of int
        By stage, the memories in which its KV may live (`possible_homes`).
    target : int, optional
        Latency that plans must not exceed, ticks.
    interval : int, optional
        W, if requests come again without end.
    unit : TimeUnit, optional
        Of the times; the one that suits the target, or the horizon, unless given.
    """
    time_unit = unit or TimeUnit.for_horizon(horizon(tables) if target is None else target)
    chunks = declare_boundaries(model, tables, graph, time_unit, endless=interval is not None)
    data = ModelData(tables, time_unit, chunks, homes, lockstep_timing(interval), target, interval)
    declare_homes_and_times(model, data)


def horizon(tables: Tables) -> int:
    """Ticks that a plan takes about: the whole prompt as one chunk, one stage after the other."""
    stages = np.arange(tables.stages)
    whole = tables.tau(stages, 0, tables.steps) + message_times(tables, stages, 0, tables.steps)
    return int(whole.sum()) + (0 if tables.available is None else int(tables.available[-1]))


def _held(model: pyo.ConcreteModel, owner: Owner, j: int, k: int) -> Terms:
    """H: pages of an owner's first j chunks in memory k."""
    decided = j > 0 and k in model.data.homes[owner[0]]
    return Terms().add(1, model.home[(*owner, j, k)]) if decided else Terms()


def pages_are_housed(model: pyo.ConcreteModel) -> Iterator[Row]:
    """All pages before a boundary have a home."""
    data: ModelData = model.data
    for owner in data.page_bytes:
        targets = data.homes[owner[0]]
        for j in range(1, data.chunks.count + 1) if targets else ():
            terms = Terms()
            for k in targets:
                terms.plus(1, _held(model, owner, j, k))
            yield Row((*owner, j), terms.plus(-1, data.chunks.kept_pages(owner, j)), equal=True)


def homes_stay(model: pyo.ConcreteModel) -> Iterator[Row]:
    """What lives in a memory stays there: cumulative pages never fall."""
    data: ModelData = model.data
    for owner in data.page_bytes:
        for j in range(1, data.chunks.count):
            for k in data.homes[owner[0]]:
                yield Row((*owner, j, k), _held(model, owner, j + 1, k).plus(-1, _held(model, owner, j, k)))


def memory_has_room(model: pyo.ConcreteModel) -> Iterator[Row]:
    """Static bytes, reserve, prefix and KV fit in every memory in every slot.

    Counted in multiples of the page unit, of which KV comes in whole numbers: rounding the room
    down to a multiple loses nothing.
    """
    data: ModelData = model.data
    tables, chunks = data.tables, data.chunks
    unit = math.gcd(*data.page_bytes.values()) or 1
    for k in range(tables.memories) if any(data.homes) else ():
        for t in range(data.slots):
            terms = chunks.room(k)
            for i, j in data.running(t):
                for owner in data.owners[i]:
                    terms.plus(-data.page_bytes[owner] // unit, _held(model, owner, j + 1, k))
                if i == k and tables.prefix_bytes[k]:
                    terms.plus(-1, chunks.prefix(k, j))
            yield Row((k, t), terms)


def compute_ends(model: pyo.ConcreteModel) -> Iterator[Row]:
    """A slot's work lasts as long as each chunk computed in it."""
    data: ModelData = model.data
    for t in range(data.slots):
        for i, j in data.running(t):
            terms = _ticks(data, model.work[t]).plus(-1, data.chunks.duration(i, j))
            yield Row((t, i), terms, pivot=data.time_unit.ticks)


def kv_passes_links(model: pyo.ConcreteModel) -> Iterator[Row]:
    """A slot's work lasts until every link has carried the slot's KV."""
    data: ModelData = model.data
    for link in _links(data):
        for t in range(data.slots):
            load = Terms()
            for i, j in data.running(t):
                load.plus(1, kv_load(model, link, i, j))
            if (load.coefs or load.constant) and not _never_binds(data, load, link.rate, t):
                yield _lasting(data, (t, link.index), model.work[t], load, link.rate)


def kv_passes_ports(model: pyo.ConcreteModel) -> Iterator[Row]:
    """A slot's work lasts until every memory port has moved the slot's bytes."""
    data: ModelData = model.data
    for k, port in enumerate(ports(data.tables)):
        alone = not any(data.homes) and port.fixed is None
        if alone and all(own_traffic_is_hidden(each, k) for each in data.tables_of(k)):
            continue
        for t in range(data.slots):
            load = Terms()
            for i, j in data.running(t):
                load.plus(1, data.chunks.own_traffic(k, j) if i == k else kv_load(model, port, i, j))
            if load.coefs or load.constant:
                yield _lasting(data, (t, k), model.work[t], load, port.rate)


def own_kv_delays_compute(model: pyo.ConcreteModel) -> Iterator[Row]:
    """Where transfers do not overlap fully, a chunk's own KV adds (1 - f) x to its compute.

    So do its export and prefix load; streamed weights have a part of their own, in tau.  Index (t, i, r):
    r is the resource's index.
    """
    data: ModelData = model.data
    tables = data.tables
    part = 1 - tables.overlap
    if part == 0:
        return
    carriers = [*_links(data), *ports(tables)]
    for t in range(data.slots):
        for i, j in data.running(t):
            for carrier in carriers:
                load = kv_load(model, carrier, i, j, weights=False)
                if load.coefs or load.constant:
                    late = Terms().plus(part.numerator, load)
                    index, rate = (t, i, carrier.index), carrier.rate * part.denominator
                    yield _lasting(data, index, model.work[t], late, rate, data.chunks.duration(i, j))


def messages_end(model: pyo.ConcreteModel) -> Iterator[Row]:
    """A slot's exchange lasts as long as each message takes on its own."""
    data: ModelData = model.data
    for t in range(data.slots):
        for i, j in data.running(t):
            if i < data.tables.stages - 1:
                terms = _ticks(data, model.exchange[t]).plus(-1, data.chunks.message(i, j))
                yield Row((t, i), terms, pivot=data.time_unit.ticks)


def activations_pass_links(model: pyo.ConcreteModel) -> Iterator[Row]:
    """A slot's exchange lasts until every link has carried its activations, and the most hops among them.

    Index (t, e, i): i is the stage whose message crosses e and whose hops are counted.
    """
    data: ModelData = model.data
    tables = data.tables
    for e in shared_links(tables):
        rate = tables.share_denominator * int(tables.link_rate[e])
        senders = _senders(tables, e)
        for t in range(data.slots):
            sending = [(i, j) for i, j in data.running(t) if i in senders]
            load = Terms()
            for i, j in sending:
                factor = int(tables.share[e, i, i + 1]) * int(tables.activation_bytes[i])
                load.plus(factor, data.chunks.tokens(j))
                load.plus(int(tables.share[e, i, i + 1]), data.chunks.rider_bytes(j))
            for i, j in sending if len(sending) > 1 else ():
                terms = _lasts(data, model.exchange[t], rate, load)
                terms.plus(-rate * int(tables.hop_ticks[i, i + 1]), data.chunks.used(j))
                yield Row((t, e, i), terms, pivot=rate * data.time_unit.ticks)


def slots_wait_for_tokens(model: pyo.ConcreteModel) -> Iterator[Row]:
    """A slot begins once all tokens exist up to the end of the chunk that enters stage 0 in it."""
    data: ModelData = model.data
    begun = Terms()
    for t in model.wait:
        begun.plus(1, _ticks(data, model.wait[t]))
        yield Row(t, Terms().plus(1, begun).plus(-1, data.chunks.available(t)), pivot=data.time_unit.ticks)
        begun.plus(1, _ticks(data, model.work[t])).plus(1, _ticks(data, model.exchange[t]))


def latency_within_target(model: pyo.ConcreteModel) -> Iterator[Row]:
    """The latency is no worse than the target, if there is one."""
    data: ModelData = model.data
    if data.target is not None:
        terms = Terms(data.target)
        for times in (model.work, model.exchange, model.wait):
            for variable in times.values():
                terms.add(-data.time_unit.ticks, variable)
        yield Row(0, terms, pivot=data.time_unit.ticks)


HOME_FAMILIES: tuple[Family, ...] = (
    ("pages_are_housed", pages_are_housed),
    ("homes_stay", homes_stay),
    ("memory_has_room", memory_has_room),
)

WORK_FAMILIES: tuple[Family, ...] = (
    ("compute_ends", compute_ends),
    ("kv_passes_links", kv_passes_links),
    ("kv_passes_ports", kv_passes_ports),
    ("own_kv_delays_compute", own_kv_delays_compute),
)

EXCHANGE_FAMILIES: tuple[Family, ...] = (
    ("messages_end", messages_end),
    ("activations_pass_links", activations_pass_links),
)


START_FAMILIES: tuple[Family, ...] = (("slots_wait_for_tokens", slots_wait_for_tokens),)


def _ticks(data: ModelData, time: Any) -> Terms:
    """Ticks of a time variable."""
    return Terms().add(data.time_unit.ticks, time)


def _lasts(data: ModelData, time: Any, rate: int, load: Terms) -> Terms:
    """Rate x ticks - load, at least 0 where the phase is long enough."""
    return Terms().plus(rate, _ticks(data, time)).plus(-1, load)


def _lasting(
    data: ModelData, index: tuple[int, ...], time: Any, load: Terms, rate: int, before: Terms | None = None
) -> Row:
    """A phase lasts until a load has passed at a rate, with something else before it."""
    pace = _least_rate(data, load, rate)
    terms = _lasts(data, time, pace, load).plus(-pace, before or Terms())
    return Row(index, terms, pivot=pace * data.time_unit.ticks)


def kv_load(model: pyo.ConcreteModel, carrier: Carrier, i: int, j: int, *, weights: bool = True) -> Terms:
    """Units of load on a link or port by what a stage writes, reads and is sent while it runs a chunk.

    Parameters
    ----------
    model : ConcreteModel
        Holds `home`.
    carrier : Carrier
    i, j : int
        Stage and chunk.
    weights : bool
        Whether streamed weights count.
    """
    data: ModelData = model.data
    load = fixed_load(data, carrier, i, j, weights=weights)
    for owner in data.owners[i]:
        size = data.page_bytes[owner]
        for k in data.homes[i]:
            if k != i:
                write, read = size * int(carrier.write[i, k]), size * int(carrier.read[i, k])
                load.plus(write, _held(model, owner, j + 1, k)).plus(read - write, _held(model, owner, j, k))
    return load


def _never_binds(data: ModelData, load: Terms, rate: int, slot: int) -> bool:
    """Whether any chunk of the slot computes for at least as long as the largest load takes."""
    return _most(load) <= rate * data.chunks.least_work(data.running(slot))


def _most(load: Terms) -> int:
    """Return what a load of KV bytes and own traffic cannot exceed."""
    most = load.constant
    for coef, variable in zip(load.coefs, load.variables, strict=True):
        most += max(0, coef) * int(variable.ub)
    return most


def _least_rate(data: ModelData, load: Terms, rate: int) -> int:
    """Lower a rate at which even the largest load takes no more than a tick to one that says so.

    In whole ticks any load above 0 then still takes exactly one, and the row's numbers stay of a
    size that HiGHS can see.
    """
    return min(rate, max(1, _most(load))) if data.time_unit.whole else rate


def _links(data: ModelData) -> list[Carrier]:
    """Links that KV or fixed messages may cross and that can bind."""
    if not any(data.homes) and not data.tables.messages:
        return []
    return links(data.tables, endless=data.interval is not None, homes=data.homes)


def _senders(tables: Tables, link: int) -> list[int]:
    """Stages whose activations cross a link."""
    return [i for i in range(tables.stages - 1) if tables.share[link, i, i + 1]]


def shared_links(tables: Tables) -> list[int]:
    """Links that activations of several stages cross; of single ones `messages_end` takes care."""
    return [e for e in range(len(tables.links)) if len(_senders(tables, e)) > 1]
