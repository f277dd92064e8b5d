"""The lockstep execution of a periodic plan: the time of W slots, exact (formulations/period.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mocap_opt.period.cycle import PeriodicPlan, fold
from mocap_opt.replay.traffic import (
    KvTraffic,
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
from mocap_opt.tables import IntArray, Tables


@dataclass(frozen=True, eq=False)
class LockstepPeriod:
    """What W slots cost in lockstep.

    Attributes
    ----------
    work, exchange : int64[slot], ticks
        A_t and X_t of the cyclic slots 0 .. W - 1.
    """

    work: IntArray
    exchange: IntArray

    @property
    def period(self) -> int:
        """Time of W slots, ticks: from one request to the next."""
        return int(self.work.sum() + self.exchange.sum())


def replay_lockstep_period(tables: Tables, periodic: PeriodicPlan) -> LockstepPeriod:
    """Price a periodic plan in lockstep; feasible or not.

    Raises
    ------
    ValueError
        If a boundary is not on the grid.
    """
    plan, slots = periodic.plan, periodic.slots
    index = plan.grid_indices(tables)
    start, end = index[:-1], index[1:]
    stage = np.arange(tables.stages)[:, None]
    line = kv_traffic(tables, plan.remote_pages(tables), tables.stages + plan.chunks - 1)
    # Chunks of a request lie in distinct cyclic slots, so folding mixes no two chunks of a row.
    traffic = KvTraffic(line.owner, line.other, line.source, line.target, fold(line.flow, slots))
    link_kv = link_load(tables, traffic.source, traffic.target, traffic.flow)
    port = _by_slot(tables.own_traffic[:, end], slots).astype(link_kv.dtype)
    order = np.argsort(traffic.other, kind="stable")
    touched, moved = reduce_by(np.add, traffic.other[order], traffic.flow[order])
    port[touched] += moved
    work = np.concatenate(
        [
            _by_slot(tables.tau(stage, start, end), slots) + stretch(tables, traffic),
            ceil_div(link_kv, link_capacity(tables, link_kv.dtype)),
            ceil_div(port, tables.port_rate[:, None].astype(port.dtype)),
        ]
    ).max(axis=0)
    return LockstepPeriod(work.astype(np.int64), _exchange(tables, start, end, slots))


def _exchange(tables: Tables, start: IntArray, end: IntArray, slots: int) -> IntArray:
    """X_t of every cyclic slot, int64[slot], ticks."""
    sender = np.arange(tables.stages - 1)
    if sender.size == 0:
        return np.zeros(slots, dtype=np.int64)
    alone = _by_slot(tables.send_time(sender[:, None], start, end), slots)
    most = sum(tables.activation_bytes.tolist()) * tables.tokens * max(int(tables.share.max(initial=0)), 1)
    kind = whole_type(most, int(tables.link_rate.max(initial=0)) * tables.share_denominator)
    lengths = (tables.grid[end] - tables.grid[start]).astype(kind)
    load = link_load(
        tables, sender, sender + 1, _by_slot(tables.activation_bytes[:-1, None] * lengths, slots)
    )
    hops = np.broadcast_to(tables.hop_ticks[sender, sender + 1, None], (sender.size, end.size))
    delay = np.zeros((len(tables.links), slots), dtype=np.int64)
    link, row, _ = crossings(tables, sender, sender + 1)
    used, most_hops = reduce_by(np.maximum, link, _by_slot(hops, slots)[row])
    delay[used] = most_hops
    rows = np.concatenate([alone, ceil_div(load, link_capacity(tables, kind)) + delay])
    exchange: IntArray = rows.max(axis=0)
    return exchange


def _by_slot(values: Whole, slots: int) -> Whole:
    """Rearrange [stage, chunk] into [stage, cyclic slot]."""
    stages, chunks = values.shape
    table = np.zeros((stages, slots), dtype=values.dtype)
    i = np.arange(stages)[:, None]
    table[i, (i + np.arange(chunks)) % slots] = values
    return table
