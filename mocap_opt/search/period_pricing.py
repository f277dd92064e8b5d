"""The period of an event-driven run without contention on links: many plans of one shape at once.

Requests are run one after the other by the recursion of `mocap_opt.flow_shop.recursion`, with the
waits for memory that slot order frees first.  It ranks plans for the local search; what is reported
comes from the replays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

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
        brings[own, 0, own] |= tables.prefix_bytes[: tables.stages] > 0
        return cls(brings, np.asarray(brings.any(axis=1)))

    @classmethod
    def within(cls, stages: int, chunks: int, back: int) -> Residence:
        """Every stage's memory holds its own KV and that of the stages after it, up to a distance.

        Parameters
        ----------
        stages, chunks : int
        back : int
            Stages by which KV lives before its stage at most.
        """
        before = np.arange(stages)[:, None] - np.arange(stages)[None, :]
        return cls(np.repeat((before == 0)[:, None], chunks, axis=1), (before >= 0) & (before <= back))


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
    starts = steady_starts(tables, work, send, residence, slots)
    ends = starts[-1, :, -1] + work[:, -1, -1]
    half = ends.shape[0] // 2
    return np.asarray((ends[-1] - ends[half - 1]) / (ends.shape[0] - half))


def steady_starts(
    tables: Tables, work: IntArray, send: IntArray, residence: Residence, slots: int
) -> IntArray:
    """Starts of all chunks of the requests that `steady_periods` runs, int64[stage, request, chunk, plan].

    Parameters
    ----------
    tables : Tables
    work, send : int64[plan, stage, chunk], ticks
    residence : Residence
    slots : int
        W, at least the chunks.
    """
    plans, stages, chunks = work.shape
    depth = tables.queue_depth or chunks
    count = SETTLING + 2 * -(-2 * stages // chunks)
    brings, holds = _that_may_wait(residence)
    # Plans stand last, and stage -1 first: it is always done, and its sends take no time.
    takes = np.ascontiguousarray(work.transpose(1, 2, 0))
    sent = np.concatenate([np.zeros((1, chunks, plans), np.int64), send.transpose(1, 2, 0)])
    done = np.zeros((stages + 1, plans), dtype=np.int64)
    # Column 0 is a start at time 0, for chunks that no queue holds back.
    start = np.zeros((stages + 1, count * chunks + 1, plans), dtype=np.int64)
    freed = np.zeros((holds.shape[1], plans), dtype=np.int64)
    for stage, chunk, number, ahead, leaving in _timetable(stages, chunks, slots, count, depth):
        begin = np.maximum(done[stage + 1], done[stage] + sent[stage, chunk])
        if brings is not None:
            waits = np.where(brings[stage, chunk, :, None], freed, 0).max(axis=1)
            np.maximum(begin, waits, out=begin)
        if depth > 1:
            np.maximum(begin, start[stage + 1, ahead], out=begin)
            start[stage, number + 1] = begin
        else:
            # At depth 1 the next stage's start in this very slot comes first.
            for at in np.argsort(-stage):
                np.maximum(begin[at], start[stage[at] + 1, ahead[at]], out=begin[at])
                start[stage[at], number[at] + 1] = begin[at]
        done[stage + 1] = begin + takes[stage, chunk]
        for i in leaving:
            freed[holds[i]] = np.maximum(freed[holds[i]], done[i + 1])
    return start[:-1, 1:].reshape(stages, count, chunks, plans)


@lru_cache(maxsize=64)
def _timetable(
    stages: int, chunks: int, slots: int, count: int, depth: int
) -> tuple[tuple[IntArray, IntArray, IntArray, IntArray, tuple[int, ...]], ...]:
    """What runs in every slot of so many requests, and what a full queue makes it wait for.

    Returns
    -------
    stage, chunk, number, ahead : int64[running]
        Chunks are numbered over all requests; the next stage has to start chunk number `ahead` - 1 first.
    leaving : tuple of int
        Stages that work on a request's last chunk.
    """
    found = []
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
        ahead = np.where(stage + 1 < stages, np.maximum(number - depth + 1, 0), 0)
        leaving = tuple(i for i, _, j in active if j == chunks - 1)
        found.append((stage, chunk, number, ahead, leaving))
    return tuple(found)


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
