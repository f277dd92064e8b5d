"""What the first chunk takes to reach a stage, the last one to leave, and the least send."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.flow_shop.chunk_times import least_sends
from mocap_opt.flow_shop.partitions import NEVER
from mocap_opt.lower_bound import Scope
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True, eq=False)
class HeadsAndTails:
    """Least travel of a plan's first and last chunk.

    Attributes
    ----------
    head : int64[stage, G + 1], ticks
        Least time from the start until a first chunk that ends at b or later reaches the stage.
    tail : int64[stage, G + 1], ticks
        Least time from the end on the stage, for a last chunk that starts at a or earlier.
    """

    head: IntArray
    tail: IntArray

    @classmethod
    def of(cls, tables: Tables, send: IntArray) -> HeadsAndTails:
        """Tabulate for every stage, over the chunks the limits on lengths allow.

        Parameters
        ----------
        tables : Tables
        send : int64[stage, 2, G + 1], ticks
            Least sends by ``[stage, tail, k]``.
        """
        stages, steps = tables.stages, tables.steps
        stage = np.arange(stages)[:, None]
        ends = np.arange(1, steps + 1)[None, :]
        reach = tables.tau(stage, 0, ends) + send[stage, (ends == steps).astype(np.int64), ends]
        allowed = np.append(tables.length_allowed[0, 1:steps], tables.length_allowed[1, steps])
        head = np.full((stages, steps + 1), NEVER, dtype=np.int64)
        head[:, 1:] = np.cumsum(reach, axis=0) - reach
        head[:, 1:][:, ~allowed] = NEVER
        head = np.minimum.accumulate(head[:, ::-1], axis=1)[:, ::-1]
        starts = np.arange(steps)[None, :]
        work = tables.tau(stage, starts, steps)
        leave = work + send[stage, 1, steps - starts]
        tail = np.full((stages, steps + 1), NEVER, dtype=np.int64)
        tail[:, :steps] = np.cumsum(leave[::-1], axis=0)[::-1] - work
        tail[:, :steps][:, ~tables.length_allowed[1, steps:0:-1]] = NEVER
        return cls(head, np.minimum.accumulate(tail, axis=1))


@dataclass(frozen=True, eq=False)
class Setting:
    """What all bounds of one instance share.

    Attributes
    ----------
    tables : Tables
    scope : Scope
        What they are to hold for.
    """

    tables: Tables
    scope: Scope = Scope.ANY_EXECUTION

    @cached_property
    def send(self) -> IntArray:
        """Least send, int64[stage, 2, G + 1], ticks: in lockstep that of the tables."""
        if self.scope is Scope.ANY_EXECUTION:
            return least_sends(self.tables)
        send = self.tables.send.copy()
        send[-1], send[:, :, 0] = 0, 0
        return send

    @cached_property
    def heads_and_tails(self) -> HeadsAndTails:
        """Least travel of the first and the last chunk."""
        return HeadsAndTails.of(self.tables, self.send)

    @cached_property
    def limits(self) -> LengthLimits:
        """Steps a chunk may have."""
        return LengthLimits.of(self.tables)

    @cached_property
    def counts(self) -> list[int]:
        """The counts of chunks that the limits on lengths allow."""
        return self.limits.counts(self.tables)
