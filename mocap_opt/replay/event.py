"""The event-driven execution of a schedule: no barriers, links and ports shared max-min fairly.

Mathematics, rules and worked examples: ``formulations/replay.md`` and ``streams.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mocap_opt.replay.accounting import Ledger, StageAccount, Timeline, account, busy_time
from mocap_opt.replay.event_queue import EventQueue, Stamp
from mocap_opt.replay.network import Flow
from mocap_opt.replay.run import Run
from mocap_opt.replay.transfers import Messages, Route, schedule_messages
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.tables.cost_tables import Tables

REFINEMENT = 512
"""Bits that fair sharing may add to the common denominator of all times before it rounds."""


@dataclass(frozen=True)
class MessageRecord:
    """A message of a run.

    Attributes
    ----------
    route : Route
    stage, chunk : int
        The chunk that released it.
    size : int, bytes
    start, end : Fraction, ticks
        From its release to its last byte.
    rates : tuple of (Fraction, Fraction, str)
        From when on (ticks) it moved at what rate (bytes per tick), limited by which link or port.
    """

    route: Route
    stage: int
    chunk: int
    size: int
    start: Fraction
    end: Fraction
    rates: tuple[tuple[Fraction, Fraction, str], ...]


@dataclass(frozen=True, eq=False)
class EventReplay:
    """What a schedule costs when stages go on as soon as they can; chunks are numbered through all requests.

    Attributes
    ----------
    completion : tuple of Fraction, ticks
        When the last stage ends every request's last chunk.
    start, end : tuple of tuple of Fraction, ticks, [stage][chunk]
    compute_end : tuple of tuple of Fraction, ticks, [stage][chunk]
        When each chunk's compute was done; it ends later if its KV messages are slower.
    arrival : tuple of tuple of Fraction, ticks, [stage][chunk]
        When each chunk's activations had arrived; on the first stage, when it was released, its tokens
        existed and, in a loop, the chunk N before it had left the last stage.
    accounts : tuple of StageAccount
        What every stage did, adding up to the latency.
    memory : tuple of tuple of (Fraction, int), by [memory]
        Bytes held from each instant on, weights and the reserve included.
    link_bytes : tuple of Fraction
        Bytes that crossed every link.
    port_bytes : tuple of int
        Bytes at every memory's port.
    link_busy, port_busy : tuple of Fraction, ticks
        Time in which a message was on its way over the link or port.
    rounded : int
        How many message ends were rounded up to the resolution of the clock; 0: all is exact.
    resolution : Fraction, ticks
        The clock's unit of time.
    log : tuple of MessageRecord or None
        All messages in the order of their ends, if asked for.
    """

    completion: tuple[Fraction, ...]
    start: tuple[tuple[Fraction, ...], ...]
    end: tuple[tuple[Fraction, ...], ...]
    compute_end: tuple[tuple[Fraction, ...], ...]
    arrival: tuple[tuple[Fraction, ...], ...]
    accounts: tuple[StageAccount, ...]
    memory: tuple[tuple[tuple[Fraction, int], ...], ...]
    link_bytes: tuple[Fraction, ...]
    port_bytes: tuple[int, ...]
    link_busy: tuple[Fraction, ...]
    port_busy: tuple[Fraction, ...]
    rounded: int
    resolution: Fraction
    log: tuple[MessageRecord, ...] | None = None

    @property
    def latency(self) -> Fraction:
        """When the last request has left, ticks: of one request, the time to first token."""
        return self.completion[-1]

    def recorded(self) -> tuple[MessageRecord, ...]:
        """All messages in the order of their ends.

        Raises
        ------
        ValueError
            If the run was not recorded.
        """
        if self.log is None:
            raise ValueError("the run was not recorded: replay with log=True")
        return self.log


def replay_event(
    tables: Tables, plan: Plan, *, log: bool = False, refinement: int = REFINEMENT
) -> EventReplay:
    """`run_event` of one request.

    Parameters
    ----------
    tables : Tables
    plan : Plan
    log, refinement
        See `run_event`.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json")
    >>> tables = mocap_opt.build_tables(instance)
    >>> mocap_opt.replay_event(tables, mocap_opt.Plan((0, 2, 4))).latency
    Fraction(71, 1)
    """
    return run_event(Schedule.of(tables, plan), log=log, refinement=refinement)


def run_event(schedule: Schedule, *, log: bool = False, refinement: int = REFINEMENT) -> EventReplay:
    """Run the requests of a schedule once, without barriers.

    Queues know no requests, admission follows the slots of all of them, and the first stage starts no
    request before its release.

    Parameters
    ----------
    schedule : Schedule
        Feasible: check with `mocap_opt.schedule.verify.schedule_violations`.
    log : bool
        Whether to record every message with its rates, for `mocap_opt.replay.trace`.
    refinement : int
        Bits by which the clock may be refined beyond what uncontended times need.  Once they are
        used up, the end of a message whose rate was shared is rounded up to the clock's unit.

    Returns
    -------
    EventReplay

    Raises
    ------
    ValueError
        If a boundary is not on the grid, or homes exceed their chunk.
    ReplayError
        If the schedule overfills a memory.
    """
    messages = schedule_messages(schedule)
    run = Run(schedule.machine, messages, refinement)
    run.execute()
    return _summary(schedule.machine, messages, run, log)


def _summary(tables: Tables, messages: Messages, run: Run, log: bool) -> EventReplay:
    clock, scale, links = run.clock, run.clock.scale, len(tables.links)

    def units(rows: list[list[Stamp]]) -> list[list[int]]:
        return [[clock.units(stamp) for stamp in row] for row in rows]

    def ticks(rows: list[list[int]]) -> tuple[tuple[Fraction, ...], ...]:
        return tuple(tuple(Fraction(time, scale) for time in row) for row in rows)

    names = run.network.resources.names
    waits: list[dict[str, int]] = [{} for _ in run.waits]
    for stage, intervals in enumerate(run.waits):
        for resource, begins, ends in sorted(intervals, key=lambda wait: wait[0]):
            length = clock.units(ends) - clock.units(begins)
            waits[stage][names[resource]] = waits[stage].get(names[resource], 0) + length
    arrival = [[stamp for stamp in row if stamp is not None] for row in run.arrival]
    timeline = Timeline(scale, units(run.start), units(run.end), units(run.computed), units(arrival), waits)
    start, end = ticks(timeline.start), ticks(timeline.end)
    flows, load = run.delivered, run.network.resources.load
    route = [flow.way.index for flow in flows]
    busy = busy_time(
        load, route, [clock.units(f.began) for f in flows], [clock.units(f.ended) for f in flows]
    )
    busy_ticks = [Fraction(time, scale) for time in busy]
    moved = load.astype(object) @ np.array([sum(each) for each in run.sizes], dtype=object)
    return EventReplay(
        completion=tuple(time for time, last in zip(end[-1], messages.last, strict=True) if last),
        start=start,
        end=end,
        compute_end=ticks(timeline.computed),
        arrival=ticks(timeline.arrival),
        accounts=account(timeline, messages, tables.queue_depth),
        memory=_breakpoints(run.ledger, messages, start, end),
        link_bytes=tuple(Fraction(size, tables.share_denominator) for size in moved[:links]),
        port_bytes=tuple(int(size) for size in moved[links:]),
        link_busy=tuple(busy_ticks[:links]),
        port_busy=tuple(busy_ticks[links:]),
        rounded=clock.rounded,
        resolution=Fraction(1, scale),
        log=tuple(_record(flow, clock, names) for flow in flows) if log else None,
    )


def _breakpoints(
    ledger: Ledger,
    messages: Messages,
    start: tuple[tuple[Fraction, ...], ...],
    end: tuple[tuple[Fraction, ...], ...],
) -> tuple[tuple[tuple[Fraction, int], ...], ...]:
    memories: list[tuple[tuple[Fraction, int], ...]] = []
    for floor, changes in zip(messages.floor.tolist(), ledger.changes, strict=True):
        points = [(Fraction(0), floor)]
        for stage, chunk, at_start, held in changes:
            time = start[stage][chunk] if at_start else end[stage][chunk]
            if time == points[-1][0]:
                points.pop()
            points.append((time, held))
        memories.append(tuple(points))
    return tuple(memories)


def _record(flow: Flow, clock: EventQueue, names: tuple[str, ...]) -> MessageRecord:
    def ticks(stamp: Stamp) -> Fraction:
        return Fraction(clock.units(stamp), clock.scale)

    rates = tuple((ticks(at), Fraction(n, d), names[resource]) for at, n, d, resource in flow.history)
    return MessageRecord(
        flow.way.route, flow.stage, flow.chunk, flow.size, ticks(flow.began), ticks(flow.ended), rates
    )
