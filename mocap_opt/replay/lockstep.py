"""The lockstep execution of a schedule: a barrier after each of the two phases of every slot.

Mathematics and worked examples: ``formulations/replay.md``, ``streams.md`` and ``period.md``.  Times are
exact: every row is a quotient of integers, and the ceiling of the largest row is the largest of their
ceilings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.replay.traffic import (
    Whole,
    ceil_div,
    crossings,
    kv_traffic,
    link_capacity,
    link_load,
    reduce_by,
    stretch,
    whole_type,
    with_fixed_messages,
)
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule, chunk_releases, overlay
from mocap_opt.schedule.verify import schedule_memory
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True, eq=False)
class SlotPrices:
    """How long slots last, and why.

    Attributes
    ----------
    work, exchange : int64[slot], ticks
        A_t, the compute phase, in which stages compute and KV cache moves; X_t, the communication phase, in
        which activations move.
    work_bound_by, exchange_bound_by : tuple of str
        The row that sets each time: ``"stage 3"``, ``"link 0,1>0,2"``, ``"memory 2"`` (its port),
        ``"send 1"``; if rows tie after rounding, the first one (stages or sends, then links, then
        memories); ``""`` if the time is zero.
    """

    work: IntArray
    exchange: IntArray
    work_bound_by: tuple[str, ...]
    exchange_bound_by: tuple[str, ...]

    @property
    def duration(self) -> IntArray:
        """T_t = A_t + X_t, int64[slot], ticks."""
        return self.work + self.exchange


@dataclass(frozen=True, eq=False)
class LockstepReplay(SlotPrices):
    """What a schedule costs in lockstep, slot by slot.

    Attributes
    ----------
    schedule : Schedule
    start : int64[slot], ticks
        When every slot begins: after the one before, and not before the release of a request whose
        first slot it is, nor before the tokens exist of the chunk that enters the first stage.
    completion : tuple of int, ticks
        When every request has left: the end of the compute phase of its last slot.  If requests come again
        without end, counted from the first slot of each.
    link_kv_bytes, link_activation_bytes : int64[link, slot], bytes / share_denominator
        Load of every link in either phase, as numerators over the tables' ``share_denominator``
        (Python integers, dtype object, where int64 might overflow).
    port_bytes : int64[memory, slot], bytes
        Load of every memory's port in the compute phase: its own stage's traffic and what other
        stages write and read there.
    """

    schedule: Schedule
    start: IntArray
    completion: tuple[int, ...]
    link_kv_bytes: Whole
    link_activation_bytes: Whole
    port_bytes: IntArray

    @cached_property
    def memory(self) -> IntArray:
        """What every memory holds, int64[memory, slot], bytes."""
        return schedule_memory(self.schedule)

    @property
    def latency(self) -> int:
        """Ticks until the last request has left: of one request, the time to first token."""
        return max(self.completion)

    @property
    def period(self) -> int:
        """Time of an interval, ticks: from one request to the next."""
        return int(self.duration.sum())


def replay_lockstep(tables: Tables, plan: Plan) -> LockstepReplay:
    """`run_lockstep` of one request.

    Parameters
    ----------
    tables : Tables
    plan : Plan

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json")
    >>> tables, plan = mocap_opt.build_tables(instance), mocap_opt.Plan((0, 2, 4))
    >>> replay = mocap_opt.replay_lockstep(tables, plan)
    >>> replay.latency, tables.seconds(replay.latency)
    (73, 7.3e-05)
    """
    return run_lockstep(Schedule.of(tables, plan))


def run_lockstep(schedule: Schedule, rows: Sequence[SlotRows] | None = None) -> LockstepReplay:
    """Price a schedule in lockstep.

    The price depends on boundaries, homes and slots only, so a schedule that overfills a memory is priced
    like any other: `mocap_opt.schedule.verify.schedule_violations` tells whether it may run.  What
    requests ask for in the same slot adds up; what a request without end asks for in slots an interval
    apart, it and those around it ask for at once.

    Parameters
    ----------
    schedule : Schedule
        Boundaries on the grid, 0 first and S last; homes within range.
    rows : sequence of SlotRows, optional
        Of every request, if they are known.

    Raises
    ------
    ValueError
        If a boundary is not on the grid.
    """
    offsets = [request.slot for request in schedule]
    if rows is None:
        rows = [slot_rows(request.tables, request.plan) for request in schedule]
    together = overlap_rows(rows, offsets, schedule.slots)
    priced = price_slots(schedule.machine, together)
    release = np.zeros(schedule.slots, dtype=np.int64)
    if schedule.endless:
        completion = _time_through(schedule, priced)
    else:
        for request in schedule:
            first = slice(request.slot, request.slot + request.plan.chunks)
            release[first] = np.maximum(release[first], chunk_releases(request))
    start = slot_starts(priced.duration, release)
    if not schedule.endless:
        done = start + priced.work
        completion = tuple(int(done[request.last_slot]) for request in schedule)
    return LockstepReplay(
        **vars(priced),
        schedule=schedule,
        start=start,
        completion=completion,
        link_kv_bytes=together.link_kv,
        link_activation_bytes=together.link_activation,
        port_bytes=together.port,
    )


def _time_through(schedule: Schedule, priced: SlotPrices) -> tuple[int, ...]:
    """From the start of a request's first slot to the end of the work in its last one, by request."""
    found = []
    for request in schedule:
        own = np.arange(request.slot, request.last_slot + 1) % schedule.slots
        found.append(int(priced.duration[own].sum() - priced.exchange[own[-1]]))
    return tuple(found)


@dataclass(frozen=True, eq=False)
class SlotRows:
    """What a plan asks of stages, links and ports, slot by slot.

    Attributes
    ----------
    busy, alone : int64[stage, slot], int64[stage - 1, slot], ticks
        tau + (1 - f) x of the chunk in work; its uncontended send.
    link_kv, link_activation : int64 or object [link, slot], bytes / share_denominator
    port : int64[memory, slot], bytes
    delay : int64[link, slot], ticks
        The most hops among the activations that cross the link.
    """

    busy: IntArray
    alone: IntArray
    link_kv: Whole
    link_activation: Whole
    port: IntArray
    delay: IntArray


def slot_rows(tables: Tables, plan: Plan) -> SlotRows:
    """Spell out what a plan asks for in every slot of its own, 0 .. chunks + stages - 2.

    Parameters
    ----------
    tables : Tables
    plan : Plan

    Raises
    ------
    ValueError
        If a boundary is not on the grid.
    """
    index = plan.grid_indices(tables)
    start, end = index[:-1], index[1:]
    stage = np.arange(tables.stages)[:, None]
    slots = tables.stages + plan.chunks - 1

    traffic = kv_traffic(tables, plan.remote_pages(tables), slots)
    traffic = with_fixed_messages(tables, traffic, np.diff(tables.pages[index]))
    port = np.zeros((tables.memories, slots), dtype=np.int64)
    port[: tables.stages] = _by_slot(tables.own_traffic[:, end], slots)
    order = np.argsort(traffic.other, kind="stable")
    touched, moved = reduce_by(np.add, traffic.other[order], traffic.flow[order])
    port[touched] += moved.astype(np.int64)
    alone, load, delay = _exchange(tables, start, end, slots)
    return SlotRows(
        busy=_by_slot(tables.compute_time(stage, start, end), slots) + stretch(tables, traffic),
        alone=alone,
        link_kv=link_load(tables, traffic.source, traffic.target, traffic.flow),
        link_activation=load,
        port=port,
        delay=delay,
    )


def overlap_rows(parts: Sequence[SlotRows], offsets: Sequence[int], slots: int) -> SlotRows:
    """Rows of requests in slots of their own as rows of common slots: loads add up.

    Parameters
    ----------
    parts : sequence of SlotRows
    offsets : sequence of int
        The common slot in which each begins.
    slots : int
        How many common slots there are; what lies past them is folded into them.
    """

    def added(of: Callable[[SlotRows], Whole]) -> Whole:
        asked = [of(part) for part in parts]
        # In one slot a request may ask for what it does in all the slots that are folded into it.
        most = sum(int(each.max(initial=0)) * -(-each.shape[1] // slots) for each in asked)
        objects = any(each.dtype == np.object_ for each in asked)
        return overlay(asked, offsets, slots, dtype=np.object_ if objects else whole_type(most))

    return SlotRows(
        # A stage works on one chunk in a slot, so these sums have one term.
        busy=added(lambda part: part.busy),
        alone=added(lambda part: part.alone),
        link_kv=added(lambda part: part.link_kv),
        link_activation=added(lambda part: part.link_activation),
        port=added(lambda part: part.port),
        delay=overlay([part.delay for part in parts], offsets, slots, together=np.maximum),
    )


def slot_starts(duration: IntArray, release: IntArray) -> IntArray:
    """When slots begin, int64[slot], ticks.

    Parameters
    ----------
    duration, release : int64[slot], ticks
        Of every slot; no slot begins before its release.
    """
    before = np.cumsum(duration) - duration
    starts: IntArray = before + np.maximum.accumulate(release - before)
    return starts


def price_slots(tables: Tables, rows: SlotRows) -> SlotPrices:
    """Price slots by the largest of their rows.

    Parameters
    ----------
    tables : Tables
        For the rates.
    rows : SlotRows
    """
    slots = rows.busy.shape[1]
    link_kv, load = rows.link_kv, rows.link_activation
    work, work_bound_by = _largest(
        slots,
        (_names("stage", tables.stages), rows.busy),
        (_names("link", tables.links), ceil_div(link_kv, link_capacity(tables, link_kv.dtype))),
        ([*map(tables.memory_name, range(tables.memories))], ceil_div(rows.port, tables.port_rate[:, None])),
    )
    on_links = ceil_div(load, link_capacity(tables, load.dtype)) + rows.delay
    exchange, exchange_bound_by = _largest(
        slots, (_names("send", tables.stages - 1), rows.alone), (_names("link", tables.links), on_links)
    )
    return SlotPrices(work, exchange, work_bound_by, exchange_bound_by)


def _exchange(tables: Tables, start: IntArray, end: IntArray, slots: int) -> tuple[IntArray, Whole, IntArray]:
    """Rows of the communication phase.

    Every chunk of every stage but the last is one message to the next stage.

    Returns
    -------
    alone : int64[stage - 1, slot], ticks
        Uncontended sends.
    load : int64 or object [link, slot], bytes / share_denominator
        Activation bytes on every link.
    delay : int64[link, slot], ticks
        The most hops among them.
    """
    sender = np.arange(tables.stages - 1)
    alone = _by_slot(tables.send_time(sender[:, None], start, end), slots)
    most = sum(tables.activation_bytes.tolist()) * tables.tokens
    if tables.rider_bytes is not None:
        most += tables.stages * int(tables.rider_bytes.max())
    most *= max(int(tables.share.max(initial=0)), 1)
    kind = whole_type(most, int(tables.link_rate.max(initial=0)) * tables.share_denominator)
    size = _by_slot(tables.message_bytes(sender[:, None], start, end).astype(kind), slots)
    load = link_load(tables, sender, sender + 1, size)

    hops = np.broadcast_to(tables.hop_ticks[sender, sender + 1, None], (sender.size, end.size))
    delay = np.zeros((len(tables.links), slots), dtype=np.int64)
    link, row, _ = crossings(tables, sender, sender + 1)
    used, most_hops = reduce_by(np.maximum, link, _by_slot(hops, slots)[row])
    delay[used] = most_hops
    return alone, load, delay


def _by_slot(values: Whole, slots: int) -> Whole:
    """Rearrange [stage, chunk] into [stage, slot]: stage i works on chunk j in slot i + j."""
    rows, chunks = values.shape
    table = np.zeros((rows, slots), dtype=values.dtype)
    table[np.arange(rows)[:, None], np.arange(rows)[:, None] + np.arange(chunks)] = values
    return table


def _names(kind: str, of: int | Sequence[str]) -> list[str]:
    return [f"{kind} {name}" for name in (range(of) if isinstance(of, int) else of)]


def _largest(slots: int, *families: tuple[list[str], IntArray]) -> tuple[IntArray, tuple[str, ...]]:
    """Over all rows of all families, the largest time of every slot and the row that has it."""
    names = [name for family, _ in families for name in family]
    rows = np.concatenate([times for _, times in families])
    if not names:
        return np.zeros(slots, dtype=np.int64), ("",) * slots
    times: IntArray = rows.max(axis=0)
    first = rows.argmax(axis=0).tolist()
    bound_by = tuple(names[row] if time else "" for row, time in zip(first, times.tolist(), strict=True))
    return times, bound_by
