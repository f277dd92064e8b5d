"""The ladder on any execution, where queues of depth 1 make like stages wait for each other as barriers do.

Statement and proof: ``formulations/ladder.md``, queues of depth 1.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.ladder import Ladder, climb, ladder
from mocap_opt.bounds.ladder_costs import LadderCosts
from mocap_opt.flow_shop.chunk_times import chunk_times, least_sends
from mocap_opt.flow_shop.partitions import NEVER
from mocap_opt.flow_shop.recursion import flow_shop_makespan
from mocap_opt.lower_bound import Bound, Scope
from mocap_opt.stopping import AskedToStop, StoppedError, never
from mocap_opt.tables.cost_tables import Tables


class BlockingCosts(LadderCosts):
    """What chunks take on any execution, messages left out: every slot lasts as long as its longest chunk."""

    name: ClassVar[str] = "blocking_ladder"
    scope: ClassVar[Scope] = Scope.ANY_EXECUTION

    @cached_property
    def sends(self) -> IntArray:
        """Least sends, int64[stage, 2, G + 1], ticks."""
        return least_sends(self.tables)

    @cached_property
    def message(self) -> IntArray:
        """Nothing, int64[2, G + 1]."""
        return np.zeros((2, self.tables.steps + 1), dtype=np.int64)

    def further_messages(self, lengths: slice) -> int:
        """Nothing.

        Parameters
        ----------
        lengths : slice
            Of grid steps.
        """
        return 0

    def latency(self, boundaries: IntArray) -> int:
        """Longest path of a partition, queues included; ticks.

        Parameters
        ----------
        boundaries : int64[chunks + 1]
            Grid indices of the non-empty chunks.
        """
        work, send = chunk_times(self.tables, boundaries, self.sends)
        return flow_shop_makespan(work, send, self.tables.queue_depth)


class SendingCosts(BlockingCosts):
    """The same with messages, of all stages but the last: chunks hold a stage until they have arrived."""

    @property
    def ascent(self) -> int:
        """N - 2: what a rise of the levels costs."""
        return self.tables.stages - 2

    @cached_property
    def times(self) -> IntArray:
        """Time of a chunk and its least send over the senders, int64[start, end], ticks; `NEVER` for none."""
        points = np.arange(self.tables.steps + 1)
        length = np.maximum(points[None, :] - points[:, None], 0)
        tail = (points == self.tables.steps).astype(np.int64)[None, :]
        send = self.sends[:-1].min(axis=0)[tail, length]
        times: IntArray = np.where(self.work < NEVER, self.work + send, NEVER)
        return times

    @cached_property
    def message(self) -> IntArray:
        """What the last chunk takes on the last stage, int64[2, G + 1] by ``[tail, k]``."""
        message = np.zeros((2, self.tables.steps + 1), dtype=np.int64)
        lengths = np.flatnonzero(self.tables.length_allowed[1])
        message[1, lengths] = self.tables.tau(0, self.tables.steps - lengths, self.tables.steps)
        return message


KINDS = (SendingCosts, BlockingCosts)


def blocks(tables: Tables) -> bool:
    """Whether queues have depth 1, and there are some."""
    return tables.queue_depth == 1 and tables.stages > 1


def blocking_climb(tables: Tables, target: int, asked_to_stop: AskedToStop = never) -> Ladder | None:
    """Bound plans and list the chunks of those that are faster than a target; the better of both kinds.

    Parameters
    ----------
    tables : Tables
    target : int, ticks
        Any number: a feasible plan faster than it makes the bound lower than it.
    asked_to_stop : callable
        Asked often; what was proved until then stands.

    Returns
    -------
    Ladder or None
        None if queues are deeper, stages are unlike, or no plan keeps to the limits on lengths.

    Raises
    ------
    StoppedError
        If asked to stop before anything was proved.
    OverBudgetError
        As for `mocap_opt.bounds.ladder.climb`.
    """
    best: Ladder | None = None
    for kind in KINDS if blocks(tables) else ():
        try:
            found = climb(tables, target, asked_to_stop, kind)
        except StoppedError:
            if best is None:
                raise
            break
        if best is None or (found is not None and found.ticks > best.ticks):
            best = found
        if best is None or best.ticks >= target or asked_to_stop():
            break
    return best


def blocking_ladder(tables: Tables, asked_to_stop: AskedToStop = never) -> Bound | None:
    """Bound any execution on like stages with queues of depth 1, without a plan.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        Asked often; what was proved until then stands.

    Raises
    ------
    OverBudgetError
        As for `mocap_opt.bounds.ladder.climb`.
    """
    found = [ladder(tables, asked_to_stop, kind) for kind in KINDS] if blocks(tables) else []
    return max((bound for bound in found if bound is not None), key=lambda bound: bound.ticks, default=None)
