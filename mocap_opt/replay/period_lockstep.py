"""The lockstep execution of a periodic plan: the time of W slots, exact (formulations/period.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.replay.lockstep import SlotRows, price_slots, slot_rows
from mocap_opt.schedule.cycle import PeriodicPlan, fold
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True, eq=False)
class LockstepPeriod:
    """What W slots cost in lockstep.

    Attributes
    ----------
    work, exchange : int64[slot], ticks
        A_t and X_t of the cyclic slots 0 .. W - 1.
    work_bound_by, exchange_bound_by : tuple of str
        The row that sets each, as in `mocap_opt.replay.lockstep.LockstepReplay`.
    latency : int, ticks
        From the start of a request's first slot to the end of the work in its last one.
    """

    work: IntArray
    exchange: IntArray
    work_bound_by: tuple[str, ...]
    exchange_bound_by: tuple[str, ...]
    latency: int

    @property
    def period(self) -> int:
        """Time of W slots, ticks: from one request to the next."""
        return int(self.work.sum() + self.exchange.sum())


def replay_lockstep_period(tables: Tables, periodic: PeriodicPlan) -> LockstepPeriod:
    """Price a periodic plan in lockstep; feasible or not.

    What one request asks for in slots a multiple of W apart, it and those around it ask for at once.

    Raises
    ------
    ValueError
        If a boundary is not on the grid.
    """
    one, slots = slot_rows(tables, periodic.plan), periodic.slots
    rows = SlotRows(
        # A stage works on one chunk in a cyclic slot, so these sums have one term.
        busy=fold(one.busy, slots),
        alone=fold(one.alone, slots),
        link_kv=fold(one.link_kv, slots),
        link_activation=fold(one.link_activation, slots),
        port=fold(one.port, slots),
        delay=fold(one.delay, slots, np.maximum),
    )
    priced = price_slots(tables, rows, np.zeros((tables.stages, slots), dtype=np.int64))
    own = np.arange(periodic.plan.chunks + tables.stages - 1) % slots
    latency = int(priced.duration[own].sum() - priced.exchange[own[-1]])
    return LockstepPeriod(
        priced.work, priced.exchange, priced.work_bound_by, priced.exchange_bound_by, latency
    )
