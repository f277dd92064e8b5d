"""The period of an event-driven run without contention on links: many plans of one shape at once.

Requests are run one after the other by the recursion of `mocap_opt.flow_shop.recursion`, with the
waits for memory that slot order frees first.  It ranks plans for the local search; what is reported
comes from the replays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_times import chunk_times
from mocap_opt.replay.contention_free_makespan import durations
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import running
from mocap_opt.tables.cost_tables import Tables

SETTLING = 4
"""Requests that are run beside twice those in flight; the later half of all is measured."""


@dataclass(frozen=True, eq=False)
class Residence:
    """Which memories KV and prefixes of a request live in.

    Attributes
    ----------
    brings : bool[stage, chunk, memory]
        Whether a chunk brings anything to a memory.
    holds : bool[stage, memory]
        Whether anything of a stage is there, until its last chunk ends.
    """

    brings: npt.NDArray[np.bool_]
    holds: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, tables: Tables, indices: IntArray, pages: IntArray) -> Residence:
        """Read it off pages by home.

        Parameters
        ----------
        indices : int64[chunks + 1]
        pages : int64[stage, chunk, memory]
            Pages by home; entries on the stage's own memory are ignored.
        """
        own = np.arange(tables.stages)
        stored = pages.copy()
        stored[own, :, own] = 0
        stored[own, :, own] = np.diff(tables.pages[indices])[None, :] - stored.sum(axis=2)
        brings = stored * tables.page_bytes[:, None, None] > 0
        brings[own, 0, own] |= tables.prefix_bytes > 0
        return cls(brings, np.asarray(brings.any(axis=1)))


def steady_periods(
    tables: Tables, work: IntArray, send: IntArray, residence: Residence, slots: int
) -> npt.NDArray[np.float64]:
    """Estimate the time between requests for plans of the same count, spacing and residence.

    Parameters
    ----------
    tables : Tables
        For the queue depth.
    work, send : int64[plan, stage, chunk], ticks
        How long chunks occupy stages, and their activations the way to the next one.
    residence : Residence
    slots : int
        W, at least the chunks.

    Returns
    -------
    float64[plan], ticks
    """
    plans, stages, chunks = work.shape
    depth = tables.queue_depth or work.shape[2]
    count = SETTLING + 2 * -(-2 * stages // chunks)
    brings, holds = _that_may_wait(residence)
    # Column 0 is a start at time 0, for chunks that no queue holds back.
    start = np.zeros((plans, stages + 1, count * chunks + 1), dtype=np.int64)
    done = np.zeros((plans, stages), dtype=np.int64)
    freed = np.zeros((plans, stages), dtype=np.int64)
    ends = np.zeros((plans, count), dtype=np.int64)
    for t in range((count - 1) * slots + chunks + stages - 1):
        active = [
            (i, (t - i) // slots, j)
            for i, j in running(stages, chunks, slots, t)
            if 0 <= t - i < count * slots
        ]
        if not active:
            continue
        stage, request, chunk = (np.array(axis) for axis in zip(*active, strict=True))
        number = request * chunks + chunk
        begin = done[:, stage]
        onward = stage > 0
        arrived = done[:, stage[onward] - 1] + send[:, stage[onward] - 1, chunk[onward]]
        begin[:, onward] = np.maximum(begin[:, onward], arrived)
        if brings is not None:
            waits = np.where(brings[stage, chunk], freed[:, None, :], 0).max(axis=2)
            begin = np.maximum(begin, waits)
        before = np.where(stage + 1 < stages, np.maximum(number - depth + 1, 0), 0)
        if depth > 1:
            begin = np.maximum(begin, start[:, stage + 1, before])
            start[:, stage, number + 1] = begin
        else:
            # At depth 1 the next stage's start in this very slot comes first.
            for at in np.argsort(-stage):
                column = np.maximum(begin[:, at], start[:, stage[at] + 1, before[at]])
                begin[:, at] = start[:, stage[at], number[at] + 1] = column
        done[:, stage] = begin + work[:, stage, chunk]
        for i, r, j in active:
            if j == chunks - 1:
                np.maximum(freed, done[:, i, None], out=freed, where=holds[i])
                if i == stages - 1:
                    ends[:, r] = done[:, i]
    half = count // 2
    return np.asarray((ends[:, -1] - ends[:, half - 1]) / (count - half))


def _that_may_wait(
    residence: Residence,
) -> tuple[npt.NDArray[np.bool_] | None, npt.NDArray[np.bool_]]:
    """Leave out memories that hold one stage's KV alone: its chunks end in order anyway."""
    shared = residence.holds.sum(axis=0) > 1
    brings = residence.brings & shared
    return (brings if brings.any() else None), residence.holds & shared


def steady_period(tables: Tables, plan: Plan, slots: int) -> float:
    """Estimate the period of one plan, its own KV traffic included, ticks (formulations/period.md).

    Parameters
    ----------
    tables : Tables
    plan : Plan
        Boundaries on the grid.
    slots : int
        W, the initiation interval in slots; at least the plan's chunks.
    """
    indices, pages = plan.grid_indices(tables), plan.remote_pages(tables)
    _, send = chunk_times(tables, indices)
    work = durations(tables, indices, pages)
    residence = Residence.of(tables, indices, pages)
    return float(steady_periods(tables, work[None], send[None], residence, slots)[0])
