"""The lockstep execution of a plan: a barrier after each of the two phases of every slot.

Mathematics and a worked example: ``formulations/replay.md``.  Times are exact: every row is a
quotient of integers, and the ceiling of the largest row is the largest of their ceilings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
)
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import memory_use
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True, eq=False)
class LockstepReplay:
    """What a plan costs in lockstep, slot by slot.

    Attributes
    ----------
    work, exchange : int64[slot], ticks
        A_t, in which stages compute and KV cache moves; X_t, in which activations move.
    work_bound_by, exchange_bound_by : tuple of str
        The row that sets each time: ``"stage 3"``, ``"link 0,1>0,2"``, ``"memory 2"`` (its port),
        ``"send 1"``; if rows tie after rounding, the first one (stages or sends, then links, then
        memories); ``""`` if the time is zero.
    link_kv_bytes, link_activation_bytes : int64[link, slot], bytes / share_denominator
        Load of every link in either phase, as numerators over the tables' ``share_denominator``
        (Python integers, dtype object, where int64 might overflow).
    port_bytes : int64[memory, slot], bytes
        Load of every memory's port in the work phase: its own stage's traffic and what other
        stages write and read there.
    memory : int64[memory, slot], bytes
        What every memory holds, by `mocap_opt.schedule.verify.memory_use`.
    """

    work: IntArray
    exchange: IntArray
    work_bound_by: tuple[str, ...]
    exchange_bound_by: tuple[str, ...]
    link_kv_bytes: Whole
    link_activation_bytes: Whole
    port_bytes: IntArray
    memory: IntArray

    @property
    def duration(self) -> IntArray:
        """T_t = A_t + X_t, int64[slot], ticks."""
        return self.work + self.exchange

    @property
    def start(self) -> IntArray:
        """When every slot begins, int64[slot], ticks."""
        return np.cumsum(self.duration) - self.duration

    @property
    def latency(self) -> int:
        """Time to first token, ticks: the sum of all slots."""
        return int(self.duration.sum())


def replay_lockstep(tables: Tables, plan: Plan) -> LockstepReplay:
    """Price a plan in lockstep.

    The price depends on boundaries and homes only, so a plan that overfills a memory is priced
    like any other: `mocap_opt.schedule.verify.violations` tells whether it may run.

    Parameters
    ----------
    tables : Tables
    plan : Plan
        Boundaries on the grid, 0 first and S last; homes within range.

    Returns
    -------
    LockstepReplay

    Raises
    ------
    ValueError
        If a boundary is not on the grid.
    """
    rows = slot_rows(tables, plan)
    return price_slots(tables, rows, memory_use(tables, plan))


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
    port = _by_slot(tables.own_traffic[:, end], slots)
    order = np.argsort(traffic.other, kind="stable")
    touched, moved = reduce_by(np.add, traffic.other[order], traffic.flow[order])
    port[touched] += moved.astype(np.int64)
    alone, load, delay = _exchange(tables, start, end, slots)
    return SlotRows(
        busy=_by_slot(tables.tau(stage, start, end), slots) + stretch(tables, traffic),
        alone=alone,
        link_kv=link_load(tables, traffic.source, traffic.target, traffic.flow),
        link_activation=load,
        port=port,
        delay=delay,
    )


def price_slots(tables: Tables, rows: SlotRows, memory: IntArray) -> LockstepReplay:
    """Price slots by the largest of their rows.

    Parameters
    ----------
    tables : Tables
        For the rates.
    rows : SlotRows
    memory : int64[memory, slot], bytes
        To report.
    """
    slots = rows.busy.shape[1]
    link_kv, load = rows.link_kv, rows.link_activation
    work, work_bound_by = _largest(
        slots,
        (_names("stage", tables.stages), rows.busy),
        (_names("link", tables.links), ceil_div(link_kv, link_capacity(tables, link_kv.dtype))),
        (_names("memory", tables.stages), ceil_div(rows.port, tables.port_rate[:, None])),
    )
    on_links = ceil_div(load, link_capacity(tables, load.dtype)) + rows.delay
    exchange, exchange_bound_by = _largest(
        slots, (_names("send", tables.stages - 1), rows.alone), (_names("link", tables.links), on_links)
    )
    return LockstepReplay(
        work=work,
        exchange=exchange,
        work_bound_by=work_bound_by,
        exchange_bound_by=exchange_bound_by,
        link_kv_bytes=link_kv,
        link_activation_bytes=load,
        port_bytes=rows.port,
        memory=memory,
    )


def _exchange(tables: Tables, start: IntArray, end: IntArray, slots: int) -> tuple[IntArray, Whole, IntArray]:
    """Rows of the exchange phase.

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
    most = sum(tables.activation_bytes.tolist()) * tables.tokens * max(int(tables.share.max(initial=0)), 1)
    kind = whole_type(most, int(tables.link_rate.max(initial=0)) * tables.share_denominator)
    lengths = (tables.grid[end] - tables.grid[start]).astype(kind)
    size = _by_slot(tables.activation_bytes[:-1, None] * lengths, slots)
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
