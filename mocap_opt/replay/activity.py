"""What every stage does at every instant of either execution, as intervals to draw or to count.

For the event-driven execution the intervals add up to the accounts of
`mocap_opt.replay.accounting`; for lockstep they fill every slot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

import numpy as np

from mocap_opt.replay.event import EventReplay, MessageRecord
from mocap_opt.replay.lockstep import LockstepReplay
from mocap_opt.replay.traffic import kv_traffic, stretch, with_fixed_messages
from mocap_opt.replay.transfers import Kind, schedule_messages
from mocap_opt.schedule.schedule import Schedule, ScheduledRequest


class Activity(Enum):
    """What a stage does, or what it waits for."""

    COMPUTE = "computing"
    KV = "waiting for KV traffic"
    SEND = "sending activations"
    ACTIVATIONS = "waiting for activations"
    QUEUE = "waiting for queue room"
    ADMISSION = "waiting for admission"
    BARRIER = "waiting at the barrier"


WAITS = tuple(activity for activity in Activity if activity is not Activity.COMPUTE)
"""Everything but computing, in the order of legends."""


@dataclass(frozen=True)
class Interval:
    """A stage doing one thing; chunks are numbered through all requests.

    Attributes
    ----------
    stage, chunk : int
        The chunk that is computed, or that the wait delays.
    activity : Activity
    start, end : Fraction, ticks
        ``start < end``.
    cause : str
        What limits it: a link, a memory's port, another stage; ``""`` where the activity says it all.
    """

    stage: int
    chunk: int
    activity: Activity
    start: Fraction
    end: Fraction
    cause: str = ""


@dataclass(frozen=True)
class Transfer:
    """From when to when a chunk's remote KV moves.

    Attributes
    ----------
    stage, chunk : int
        The chunk that reads or writes.
    kind : Kind
        ``READ`` or ``WRITE``.
    start, end : Fraction, ticks
        From the release of its messages to the last byte of the last one.
    size : int, bytes
    memories : tuple of int
        The memories read or written.
    """

    stage: int
    chunk: int
    kind: Kind
    start: Fraction
    end: Fraction
    size: int
    memories: tuple[int, ...]


def event_activity(schedule: Schedule, replay: EventReplay) -> tuple[Interval, ...]:
    """Intervals of an event-driven run, stage by stage in order of time.

    Time before a stage's first chunk has arrived and after its last one has ended is left out.
    Waits for KV name the link or port that limited the chunk's last message if the run was
    recorded (``log=True``).

    Parameters
    ----------
    schedule : Schedule
    replay : EventReplay
        Of that schedule.
    """
    waits_for = schedule_messages(schedule).admission_predecessors
    depth, stages = schedule.machine.queue_depth, schedule.stages
    limits = _limits(replay.log or ())
    found: list[Interval] = []
    for i, starts in enumerate(replay.start):
        free = replay.arrival[i][0]
        for j, start in enumerate(starts):
            here = max(free, replay.arrival[i][j])
            room = here
            if depth is not None and j >= depth and i + 1 < stages:
                room = max(here, replay.start[i + 1][j - depth])
            computed, end = replay.compute_end[i][j], replay.end[i][j]
            steps = (
                (Activity.ACTIVATIONS, free, here),
                (Activity.QUEUE, here, room),
                (Activity.ADMISSION, room, start),
                (Activity.COMPUTE, start, computed),
            )
            for activity, begins, ends in steps:
                if begins < ends:
                    cause = f"stage {waits_for[i][j][-1][0]}" if activity is Activity.ADMISSION else ""
                    found.append(Interval(i, j, activity, begins, ends, cause))
            if computed < end:
                cause = limits.get((i, j), "")
                found.append(Interval(i, j, Activity.KV, computed, end, cause))
            free = end
    return tuple(found)


def _limits(log: Sequence[MessageRecord]) -> dict[tuple[int, int], str]:
    """Link or port that limited the last message of every chunk to the end."""
    last = {(r.stage, r.chunk): r for r in log if r.route.kind is not Kind.ACTIVATION}
    return {chunk: record.rates[-1][2] for chunk, record in last.items() if record.rates}


def lockstep_activity(replay: LockstepReplay) -> tuple[Interval, ...]:
    """Intervals of a lockstep run that comes to an end, request by request, stage by stage.

    In the compute phase a stage computes, tau + (1 - f) x, and then waits: for KV traffic if a link
    or port sets the length of the phase, else at the barrier for the stage that does.  In the
    communication phase all but the last stage send, and wait for the slowest send or link.
    """
    found: list[Interval] = []
    first = 0
    for request in replay.schedule:
        found += _request_activity(request, first, replay)
        first += request.plan.chunks
    return tuple(found)


def _request_activity(request: ScheduledRequest, first: int, replay: LockstepReplay) -> Iterator[Interval]:
    """Intervals of one request, whose chunks are numbered from `first` on."""
    tables, plan = request.tables, request.plan
    index = plan.grid_indices(tables)
    own_slots = plan.chunks + tables.stages - 1
    traffic = kv_traffic(tables, plan.remote_pages(tables), own_slots)
    traffic = with_fixed_messages(tables, traffic, np.diff(tables.pages[index]))
    stretched = stretch(tables, traffic).tolist()
    start, work, exchange = replay.start.tolist(), replay.work.tolist(), replay.exchange.tolist()
    for i in range(tables.stages):
        tau = tables.compute_time(i, index[:-1], index[1:]).tolist()
        send = tables.send_time(i, index[:-1], index[1:]).tolist()
        for j in range(plan.chunks):
            t = request.slot + i + j
            setter = replay.work_bound_by[t]
            wait = Activity.BARRIER if setter.startswith("stage") else Activity.KV
            begin = start[t]
            computed, worked = begin + tau[j] + stretched[i][i + j], begin + work[t]
            sent = worked + (send[j] if i + 1 < tables.stages else 0)
            steps = (
                (Activity.COMPUTE, begin, computed, ""),
                (wait, computed, worked, setter),
                (Activity.SEND, worked, sent, ""),
                (Activity.BARRIER, sent, worked + exchange[t], replay.exchange_bound_by[t]),
            )
            for activity, begins, ends, cause in steps:
                if begins < ends:
                    yield Interval(i, first + j, activity, Fraction(begins), Fraction(ends), cause)


def event_transfers(replay: EventReplay) -> tuple[Transfer, ...]:
    """Remote reads and writes of an event-driven run, at most one of either per chunk.

    Raises
    ------
    ValueError
        If the run was not recorded.
    """
    grouped: dict[tuple[int, int, Kind], list[MessageRecord]] = {}
    for record in replay.recorded():
        if record.route.kind in (Kind.READ, Kind.WRITE):
            grouped.setdefault((record.stage, record.chunk, record.route.kind), []).append(record)
    return tuple(
        Transfer(
            *key,
            min(record.start for record in records),
            max(record.end for record in records),
            sum(record.size for record in records),
            tuple(sorted(port for record in records if (port := record.route.port) is not None)),
        )
        for key, records in sorted(grouped.items(), key=lambda item: (*item[0][:2], item[0][2].value))
    )


def lockstep_transfers(replay: LockstepReplay) -> tuple[Transfer, ...]:
    """Remote reads and writes of a lockstep run that comes to an end.

    They are paced to last the whole compute phase of their slot.
    """
    start, work = replay.start.tolist(), replay.work.tolist()
    found: list[Transfer] = []
    first = 0
    for request in replay.schedule:
        written = request.plan.remote_pages(request.tables) * request.tables.page_bytes[:, None, None]
        # Running chunk j, a stage reads what its chunks before j keep elsewhere.
        read = np.cumsum(written, axis=1) - written
        for i, j in np.argwhere((written + read).any(axis=2)).tolist():
            t = request.slot + i + j
            begins, ends = Fraction(start[t]), Fraction(start[t] + work[t])
            for kind, size in ((Kind.READ, read[i, j]), (Kind.WRITE, written[i, j])):
                memories = tuple(np.flatnonzero(size).tolist())
                if memories:
                    found.append(Transfer(i, first + j, kind, begins, ends, int(size.sum()), memories))
        first += request.plan.chunks
    return tuple(found)
