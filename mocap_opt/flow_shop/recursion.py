"""Completion times in a permutation flow shop: every stage runs the chunks in the same order.

C[i, j] = max(C[i-1, j] + send[i-1, j], C[i, j-1], start[i+1, j-Q], the end of the stage whose memory
chunk j waits for) + work[i, j], with queues of depth Q between stages (blocking) and admission to memory.
On the first stage chunks may have a release, and in a loop wait until the one N before has left the last.
Every array is ``[stage, chunk, ...]``; further axes are many executions at once.

Sources: Pinedo, Scheduling, chapter 6 (flow shops, blocking); Hall and Sriskandarajah, A survey of machine
scheduling problems with blocking and no-wait in process, Operations Research 44 (1996).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray

NONE = -1
"""No predecessor in memory."""

Numbers = npt.NDArray[Any]
"""int64 for exact times, float64 for times between whole ticks."""


@dataclass(frozen=True, eq=False)
class Entry:
    """What holds chunks back before the first stage, beside the chunk before them.

    Attributes
    ----------
    release : int64[chunk, ...] or None, ticks
        When all tokens of each chunk exist; None: from the start on.
    loop : bool
        Whether a chunk waits until the one N before it has left the last stage.
    """

    release: IntArray | None = None
    loop: bool = False

    @property
    def free(self) -> bool:
        """Whether nothing holds chunks back."""
        return self.release is None and not self.loop


FREE = Entry()


def machine_ends(arrival: npt.ArrayLike, work: Numbers) -> Numbers:
    """Ends of jobs that one machine runs in order, each once it has arrived.

    Parameters
    ----------
    arrival : number[job, ...]
        Or a single number for all jobs.
    work : number[job, ...]

    Returns
    -------
    number[job, ...]
        The largest over j' <= j of arrival[j'] + work[j'] + ... + work[j].
    """
    total = np.cumsum(work, axis=0)
    ends: Numbers = np.maximum.accumulate(np.asarray(arrival) - (total - work), axis=0) + total
    return ends


def unqueued_ends(
    times: Iterable[tuple[Numbers, Numbers]], release: IntArray | None = None
) -> Iterator[Numbers]:
    """Ends of all chunks on one stage after the other, with unbounded queues.

    Parameters
    ----------
    times : iterable of (number[chunk, ...], number[chunk, ...])
        Work and send of every stage in order; taken one at a time.
    release : int64[chunk, ...], optional
        When each chunk may enter the first stage.

    Yields
    ------
    number[chunk, ...]
    """
    arrival: npt.ArrayLike = 0 if release is None else release
    for work, send in times:
        ends = machine_ends(arrival, work)
        yield ends
        arrival = ends + send


def flow_shop_makespan(
    work: IntArray,
    send: IntArray,
    queue_depth: int | None,
    predecessor: IntArray | None = None,
    entry: Entry = FREE,
) -> int:
    """Completion of the last chunk on the last stage, ticks.

    Parameters
    ----------
    work, send : int64[stage, chunk], ticks
    queue_depth : int or None
        Q; None if unbounded.
    predecessor : int64[stage, chunk], optional
        As in `earliest_starts`.
    entry : Entry
        Of the chunks to the first stage.
    """
    if not entry.loop and (predecessor is None or not (predecessor >= 0).any()):
        ends = np.array(list(unqueued_ends(zip(work, send, strict=True), entry.release)))
        depth = work.shape[1] if queue_depth is None else min(queue_depth, work.shape[1])
        start = ends - work
        if np.all(start[:-1, depth:] >= start[1:, : start.shape[1] - depth]):
            return int(ends[-1, -1])  # no queue is ever full
    return int(earliest_starts(work, send, queue_depth, predecessor, entry)[-1, -1] + work[-1, -1])


def earliest_starts(
    work: IntArray,
    send: IntArray,
    depth: int | None,
    predecessor: IntArray | None = None,
    entry: Entry = FREE,
) -> IntArray:
    """When each chunk starts on each stage, int64[stage, chunk, ...], ticks; one slot at a time.

    Parameters
    ----------
    work, send : int64[stage, chunk, ...], ticks
    depth : int or None
        Q; None if unbounded.
    predecessor : int64[stage, chunk, ...], optional
        The stage whose last end each chunk waits for, in an earlier slot; `NONE` for none.
    entry : Entry
        Of the chunks to the first stage.
    """
    stages, chunks, *many = work.shape
    slots = chunks + stages - 1
    skewed, onward = _by_slot(work), _by_slot(work + send)
    waits = None if predecessor is None else _by_slot(predecessor)
    start = np.zeros((stages, slots + 1, *many), dtype=np.int64)
    ended = np.zeros((stages + 1, *many), dtype=np.int64)  # the last entry, that of `NONE`, stays 0
    for t in range(slots):
        low, high = max(0, t - chunks + 1), min(stages - 1, t)
        rows = slice(low, high + 1)
        begin = np.zeros((high + 1 - low, *many), dtype=np.int64)
        if t:
            begin = start[rows, t - 1] + skewed[rows, t - 1]
            first = max(low, 1)
            arrived = start[first - 1 : high, t - 1] + onward[first - 1 : high, t - 1]
            begin[first - low :] = np.maximum(begin[first - low :], arrived)
        if low == 0:
            # Chunk t - N ran on the last stage in the slot before this one.
            left = start[-1, t - 1] + skewed[-1, t - 1] if entry.loop and t >= stages else None
            begin[0] = np.maximum(begin[0], _entered(entry, t, left))
        if waits is not None and t >= chunks:
            begin = np.maximum(begin, np.take_along_axis(ended, waits[rows, t], axis=0))
        if depth is not None and depth > 1 and t + 1 >= depth:
            # start[i+1, j-Q] stands in column t + 1 - Q; 0 where that chunk does not exist.
            room_at = start[low + 1 : high + 2, t + 1 - depth]
            begin[: len(room_at)] = np.maximum(begin[: len(room_at)], room_at)
        elif depth == 1:
            begin = np.maximum.accumulate(begin[::-1])[::-1]
        start[rows, t] = begin
        if t + 1 >= chunks:
            ended[low] = begin[0] + skewed[low, t]
    return np.stack([start[i, i : i + chunks] for i in range(stages)])


def _entered(entry: Entry, slot: int, left: Numbers | None) -> npt.ArrayLike:
    """When the first stage may begin the chunk of a slot, if the last stage ended one in the slot before."""
    released: npt.ArrayLike = 0 if entry.release is None else entry.release[slot]
    return released if left is None else np.maximum(released, left)


def latest_starts(
    work: IntArray, send: IntArray, depth: int | None, latency: int | IntArray, *, loop: bool = False
) -> IntArray:
    """Latest start of each chunk on each stage that keeps to a latency, int64[stage, chunk, ...], ticks.

    The same recursion backwards, without admission to memory and releases.

    Parameters
    ----------
    work, send : int64[stage, chunk, ...], ticks
    depth : int or None
        Q; None if unbounded.
    latency : int or int64[...], ticks
    loop : bool
        Whether a chunk enters the first stage only once the one N before it has left the last.
    """
    stages, chunks, *many = work.shape
    slots = chunks + stages - 1
    latest = np.full((stages + 2, slots + 1, *many), latency, dtype=np.int64)  # row 0 stands before stage 0
    skewed, onward = _by_slot(work), _by_slot(work + send)
    for t in range(slots - 1, -1, -1):
        low, high = max(0, t - chunks + 1), min(stages - 1, t)
        rows, shifted = slice(low, high + 1), slice(low + 1, high + 2)
        ends = np.minimum(latest[shifted, t + 1] - skewed[rows, t], latency - skewed[rows, t])
        # Stage i + 1 starts the chunk one slot later, if there is such a stage.
        ends = np.minimum(ends, latest[low + 2 : high + 3, t + 1] - onward[rows, t])
        if loop and high == stages - 1 and t + 1 < chunks:
            # Chunk t + 1 enters the first stage once the one N before it has left the last, in this slot.
            ends[-1] = np.minimum(ends[-1], latest[1, t + 1] - skewed[-1, t])
        if depth == 1:
            ends = np.minimum.accumulate(ends)
        elif depth is not None and t + depth - 1 < slots:
            # Behind a full queue stage i - 1 starts chunk j + Q only once stage i has started chunk j.
            ends = np.minimum(ends, latest[low : high + 1, t + depth - 1])
        latest[shifted, t] = ends
    return np.stack([latest[i + 1, i : i + chunks] for i in range(stages)])


def latest_ends(latest: IntArray, send: IntArray, latency: int) -> IntArray:
    """Latest end of each chunk on each stage that keeps to a latency, int64[stage, chunk], ticks.

    With bounded queues a chunk may have to start before its work would require it.

    Parameters
    ----------
    latest : int64[stage, chunk], ticks
        From `latest_starts`.
    send : int64[stage, chunk], ticks
    latency : int, ticks
    """
    ends = np.full_like(latest, latency)
    ends[:, :-1] = latest[:, 1:]
    ends[:-1] = np.minimum(ends[:-1], latest[1:] - send[:-1])
    return ends


def _by_slot(values: IntArray) -> IntArray:
    """Rows shifted to the right by their stage, so that column t holds the chunks of slot t; 0 elsewhere."""
    stages, chunks, *many = values.shape
    skewed = np.zeros((stages, chunks + stages - 1, *many), dtype=np.int64)
    for i in range(stages):
        skewed[i, i : i + chunks] = values[i]
    return skewed
