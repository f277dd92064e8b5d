"""The run of an event-driven execution: stages, queues, links, ports and memories, event by event."""

from __future__ import annotations

from math import lcm

from mocap_opt.replay.accounting import Ledger, ReplayError
from mocap_opt.replay.event_queue import EventQueue, Stamp
from mocap_opt.replay.network import MESSAGE, Flow, Network, common_scale
from mocap_opt.replay.transfers import Kind, Messages
from mocap_opt.tables.cost_tables import Tables

COMPUTE, ARRIVAL = 1, 2
"""Kinds of events beside `MESSAGE`; at equal instants they come in this order."""


def loop_length(stages: int) -> int:
    """Chunks that are on their way at once, at most, where they go round in a loop: N.

    Any number from N - 1 on is safe; with N - 2 a chunk could wait for one that slot order runs later.
    """
    return stages


class Run:
    """A plan, or a sequence of them, being executed; `execute` runs it to the end.

    Parameters
    ----------
    tables : Tables
    messages : Messages
    refinement : int
        Bits by which the clock may be refined beyond what uncontended times need.

    Attributes
    ----------
    clock : EventQueue
    network : Network
    ledger : Ledger
    sizes : list of list of int, bytes
        Of all messages of every route.
    start, computed, end : list of list of Stamp, [stage][chunk]
        When each chunk started, was computed, ended.
    arrival : list of list of Stamp, [stage][chunk]
        When its activations had arrived; on the first stage, when it was released and, in a loop, the chunk
        it follows had left the last one.
    waits : list of list of (int, Stamp, Stamp), by stage
        Link or port that limited the last message of a chunk once its compute was done, and when.
    delivered : list of Flow
        All messages in the order of their ends.
    """

    def __init__(self, tables: Tables, messages: Messages, refinement: int) -> None:
        stages, chunks = messages.send.shape
        self.messages = messages
        self.depth = tables.queue_depth
        self.loop = loop_length(stages) if tables.loop else None
        self.stages, self.chunks = stages, chunks
        self.clock = EventQueue()
        self.network = Network(tables, messages.routes, self.clock)
        self.ledger = Ledger(tables, messages)
        self.sizes = _sizes(messages)
        exact = common_scale(self.network, self.sizes)
        exact = lcm(exact, *(time.denominator for row in messages.compute for time in row))
        self.clock.begin(exact, refinement)

        self.hop: list[int] = [int(tables.hop_ticks[i, i + 1]) for i in range(stages - 1)]
        self.started = [0] * stages
        self.ended = [0] * stages
        self.pending = [0] * stages
        self.arrival: list[list[Stamp | None]] = [[None] * chunks for _ in range(stages)]
        self.ready: set[int] = {0}
        self._release()
        self.start: list[list[Stamp]] = [[] for _ in range(stages)]
        self.computed: list[list[Stamp]] = [[] for _ in range(stages)]
        self.end: list[list[Stamp]] = [[] for _ in range(stages)]
        self.waits: list[list[tuple[int, Stamp, Stamp]]] = [[] for _ in range(stages)]
        self.delivered: list[Flow] = []

    def execute(self) -> None:
        """Run all events.

        Raises
        ------
        ReplayError
            If the run stops before the last chunk has ended, or bytes or memory do not add up.
        """
        self._start_ready()
        self.network.share()
        while (event := self.clock.pop()) is not None:
            kind, sequence, item = event
            if kind == MESSAGE:
                if item.event == sequence:
                    self._message_done(item)
            elif kind == COMPUTE:
                self._part_done(item, None)
            else:
                stage, chunk = item
                self.arrival[stage][chunk] = self.clock.stamp()
                self.ready.add(stage)
            if not self.clock.more_now():
                self._start_ready()
                self.network.share()
        if self.ended != [self.chunks] * self.stages:
            raise ReplayError(f"deadlock: stages have ended {self.ended} of {self.chunks} chunks")
        self.ledger.close()
        _check_delivered(self.sizes, self.delivered)

    def _release(self) -> None:
        """Let chunks arrive on the first stage when they are released; in a loop the first ones only."""
        for chunk in range(self.chunks if self.loop is None else min(self.loop, self.chunks)):
            self._admit(chunk)

    def _admit(self, chunk: int) -> None:
        """Let a chunk arrive on the first stage, now or when it is released."""
        time = self.messages.release[chunk] * self.clock.scale
        if time > self.clock.now:
            self.clock.push(time, ARRIVAL, (0, chunk))
        else:
            self.arrival[0][chunk] = self.clock.stamp()
            self.ready.add(0)

    def _start_ready(self) -> None:
        # From the last stage to the first: a start makes room in the queue of the stage before.
        while self.ready:
            stage = max(self.ready)
            self.ready.remove(stage)
            if self._may_start(stage):
                self._start(stage)

    def _may_start(self, stage: int) -> bool:
        chunk = self.started[stage]
        if chunk == self.chunks or self.ended[stage] < chunk or self.arrival[stage][chunk] is None:
            return False
        last = stage + 1 == self.stages
        if self.depth is not None and not last and self.started[stage + 1] <= chunk - self.depth:
            return False
        return all(
            self.ended[other] >= count for other, count in self.messages.admission_predecessors[stage][chunk]
        )

    def _start(self, stage: int) -> None:
        chunk = self.started[stage]
        self.started[stage] += 1
        self.ledger.admit(stage, chunk)
        self.start[stage].append(self.clock.stamp())
        released = self.messages.released[stage][chunk]
        for route, size in released:
            self.network.send(route, stage, chunk, size)
        self.pending[stage] = 1 + len(released)
        time = self.messages.compute[stage][chunk]
        done = self.clock.now + time.numerator * (self.clock.scale // time.denominator)
        self.computed[stage].append((done, self.clock.scale))
        self.clock.push(done, COMPUTE, stage)
        if stage:
            self.ready.add(stage - 1)

    def _message_done(self, flow: Flow) -> None:
        self.network.deliver(flow)
        self.delivered.append(flow)
        if flow.way.route.kind is Kind.ACTIVATION:
            self._arrive(flow.stage, flow.chunk, flow.began)
        else:
            self._part_done(flow.stage, flow)

    def _part_done(self, stage: int, last: Flow | None) -> None:
        """Compute or a message of the running chunk is done; when all are, the chunk ends."""
        self.pending[stage] -= 1
        if self.pending[stage]:
            return
        chunk = self.ended[stage]
        self.ended[stage] += 1
        self.end[stage].append(self.clock.stamp())
        if last is not None:
            self._note_wait(stage, last)
        self.ready.add(stage)
        if self.messages.last[chunk]:
            self.ledger.free(stage, chunk)
            self.ready.update(range(self.stages))
        if self.loop is not None and stage + 1 == self.stages and chunk + self.loop < self.chunks:
            self._admit(chunk + self.loop)
        if stage + 1 < self.stages:
            message = self.messages.activations[stage][chunk]
            if message is None:
                self._arrive(stage, chunk, self.clock.stamp())
            else:
                self.network.send(message[0], stage, chunk, message[1])

    def _arrive(self, stage: int, chunk: int, left: Stamp) -> None:
        """Schedule the arrival of activations whose last byte has just been sent."""
        clock = self.clock
        hops = clock.now + self.hop[stage] * clock.scale
        soonest = clock.units(left) + int(self.messages.send[stage, chunk]) * clock.scale
        clock.push(max(hops, soonest), ARRIVAL, (stage + 1, chunk))

    def _note_wait(self, stage: int, last: Flow) -> None:
        """Note what limited the last message of a chunk after the chunk's compute was done."""
        since, now = self.computed[stage][-1], self.clock.stamp()
        steps = [*(step[0] for step in last.history), now]
        for (_, _, _, resource), begins, ends in zip(last.history, steps[:-1], steps[1:], strict=True):
            begins = max(begins, since, key=self.clock.units)
            if self.clock.units(begins) < self.clock.units(ends):
                self.waits[stage].append((resource, begins, ends))


def _sizes(messages: Messages) -> list[list[int]]:
    """Bytes of all messages of every route."""
    sizes: list[list[int]] = [[] for _ in messages.routes]
    for stage, leaving in zip(messages.released, messages.activations, strict=True):
        for released, message in zip(stage, leaving, strict=True):
            for route, size in released:
                sizes[route].append(size)
            if message is not None:
                sizes[message[0]].append(message[1])
    return sizes


def _check_delivered(sizes: list[list[int]], delivered: list[Flow]) -> None:
    received = [0] * len(sizes)
    for flow in delivered:
        received[flow.way.index] += flow.size
    if received != [sum(each) for each in sizes]:
        raise ReplayError(f"bytes received on the routes: {received}, sent: {[sum(each) for each in sizes]}")
