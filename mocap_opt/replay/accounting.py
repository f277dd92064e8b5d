"""Where the time, the bytes and the memory of an event-driven run went; checked, exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.errors import MocapError
from mocap_opt.replay.transfers import Messages
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.units import decimal_bytes


class ReplayError(MocapError):
    """A run broke a rule that every run of a feasible plan obeys; the message says which and where."""


@dataclass(frozen=True)
class StageAccount:
    """What a stage did from time 0 to the end of the run, ticks; the parts add up to the latency.

    Where several things hold a chunk back, time counts as waiting for activations until they have
    arrived, then for queue room until there is some, then for admission.

    Attributes
    ----------
    computing : Fraction
        tau + (1 - f) x of all its chunks.
    activations : Fraction
        Idle between chunks, the next chunk's activations not yet here; on the first stage, its request not
        released, its tokens not yet there, or its place in the loop not free.
    kv : tuple of (str, Fraction)
        Compute done, memory traffic not: by the link or port (``"memory 3"``) that limited the
        last message to end, in the order of the tables.
    queue_room : Fraction
        The next stage's queue is full.
    admission : Fraction
        Memory that slot order frees first is not yet free.
    before, after : Fraction
        Until the first chunk's activations arrive; after the last chunk has ended.
    """

    computing: Fraction
    activations: Fraction
    kv: tuple[tuple[str, Fraction], ...]
    queue_room: Fraction
    admission: Fraction
    before: Fraction
    after: Fraction

    @property
    def kv_total(self) -> Fraction:
        """Waiting for KV and other memory traffic, on any link or port."""
        return sum((ticks for _, ticks in self.kv), Fraction(0))

    @property
    def total(self) -> Fraction:
        """All parts together."""
        parts = (self.computing, self.activations, self.kv_total, self.queue_room, self.admission)
        return sum(parts, Fraction(0)) + self.before + self.after


@dataclass(frozen=True, eq=False)
class Timeline:
    """When everything happened, in integer units of time, [stage][chunk].

    Attributes
    ----------
    scale : int
        Units per tick.
    start, end : list of list of int
        Of every chunk.
    computed : list of list of int
        When its compute was done.
    arrival : list of list of int
        When its activations had arrived; on the first stage, when it is released and the loop lets it in.
    kv : sequence of dict of str to int
        Per stage, time from `computed` to `end` by link or port.
    """

    scale: int
    start: list[list[int]]
    end: list[list[int]]
    computed: list[list[int]]
    arrival: list[list[int]]
    kv: Sequence[Mapping[str, int]]


def account(timeline: Timeline, messages: Messages, depth: int | None) -> tuple[StageAccount, ...]:
    """Account for every unit of time of every stage.

    Parameters
    ----------
    timeline : Timeline
    messages : Messages
        For what admission waits for.
    depth : int or None
        Queue depth Q.

    Raises
    ------
    ReplayError
        If a chunk did not start at the very instant the last of its conditions came true, or the
        parts do not add up.
    """
    stages, chunks = len(timeline.start), len(timeline.start[0])
    latency = timeline.end[-1][-1]
    accounts: list[StageAccount] = []
    for i in range(stages):
        computing = activations = room = admission = before = ended = 0
        for j in range(chunks):
            start, arrived = timeline.start[i][j], timeline.arrival[i][j]
            here = max(ended, arrived)
            has_room = here
            if depth is not None and j >= depth and i + 1 < stages:
                has_room = max(here, timeline.start[i + 1][j - depth])
            freed = (timeline.end[stage][count - 1] for stage, count in messages.admission_predecessors[i][j])
            admitted = max(has_room, *freed) if messages.admission_predecessors[i][j] else has_room
            if start != admitted:
                raise ReplayError(
                    f"stage {i}, chunk {j} started at {start}, not when it could, at {admitted}"
                )
            if j:
                activations += here - ended
            else:
                before = here
            room += has_room - here
            admission += admitted - has_room
            computing += timeline.computed[i][j] - start
            ended = timeline.end[i][j]
        kv = timeline.kv[i]
        total = computing + activations + sum(kv.values()) + room + admission + before + latency - ended
        if total != latency:
            raise ReplayError(f"stage {i}: the parts add up to {total} of {latency} units")
        ticks = [Fraction(n, timeline.scale) for n in (room, admission, before, latency - ended)]
        by_resource = tuple((name, Fraction(n, timeline.scale)) for name, n in kv.items())
        accounts.append(
            StageAccount(
                Fraction(computing, timeline.scale),
                Fraction(activations, timeline.scale),
                by_resource,
                *ticks,
            )
        )
    return tuple(accounts)


class Ledger:
    """Bytes in every memory while a run goes on.

    Parameters
    ----------
    tables : Tables
    messages : Messages
        For what chunks bring.
    """

    def __init__(self, tables: Tables, messages: Messages) -> None:
        self._capacity: list[int] = tables.capacity.tolist()
        self._floor: list[int] = messages.floor.tolist()
        self._brings = [
            [[(k, n) for k, n in enumerate(chunk) if n] for chunk in stage]
            for stage in messages.brings.tolist()
        ]
        ends = np.flatnonzero(messages.last)
        through = np.cumsum(messages.brings, axis=1)[:, ends]
        # By stage and last chunk of a request: what goes when that chunk ends.
        freed = np.diff(through, axis=1, prepend=0).tolist()
        self._freed: list[dict[int, list[int]]] = [
            dict(zip(ends.tolist(), row, strict=True)) for row in freed
        ]
        self.held = list(self._floor)
        # Per memory: (stage, chunk, whether at the chunk's start or at its end, bytes from then on).
        self.changes: list[list[tuple[int, int, bool, int]]] = [[] for _ in self._floor]
        for k in range(len(self.held)):
            self._check(k, "before the first chunk")

    def admit(self, stage: int, chunk: int) -> None:
        """Charge what a chunk brings.

        Parameters
        ----------
        stage, chunk : int
            The chunk that starts.

        Raises
        ------
        ReplayError
            If a memory would hold more than it can.
        """
        for k, size in self._brings[stage][chunk]:
            self.held[k] += size
            self._check(k, f"when stage {stage} starts chunk {chunk}")
            self.changes[k].append((stage, chunk, True, self.held[k]))

    def free(self, stage: int, chunk: int) -> None:
        """Free all that a stage has brought of a request, at the end of the request's last chunk.

        Parameters
        ----------
        stage, chunk : int
            The last chunk of a request.
        """
        for k, size in enumerate(self._freed[stage][chunk]):
            if size:
                self.held[k] -= size
                self.changes[k].append((stage, chunk, False, self.held[k]))

    def close(self) -> None:
        """Check that nothing is left.

        Raises
        ------
        ReplayError
            If KV cache is left in a memory.
        """
        for k, (held, floor) in enumerate(zip(self.held, self._floor, strict=True)):
            if held != floor:
                raise ReplayError(f"memory {k}: {decimal_bytes(held - floor)} left at the end")

    def _check(self, memory: int, when: str) -> None:
        over = self.held[memory] - self._capacity[memory]
        if over > 0:
            raise ReplayError(
                f"memory {memory} is {decimal_bytes(over)} over its capacity {when}: the plan is infeasible"
            )


def busy_time(load: IntArray, route: Sequence[int], began: Sequence[int], ended: Sequence[int]) -> list[int]:
    """How long every link and port had a message on its way.

    Parameters
    ----------
    load : int64[resource, route]
        Nonzero where a route uses a resource.
    route, began, ended : sequence of int
        Of every message; times in any unit, begun before they end.

    Returns
    -------
    list of int, by resource
        Length of the union of its messages' intervals.
    """
    if not route:
        return [0] * load.shape[0]
    instants = sorted({*began, *ended})
    rank = {time: n for n, time in enumerate(instants)}
    first = np.array([rank[time] for time in began])
    last = np.array([rank[time] for time in ended])
    ways = np.array(route)
    # Resources used by the same routes are busy at the same times.
    patterns, which = np.unique(load > 0, axis=0, return_inverse=True)
    size = len(instants) + 1
    totals: list[int] = []
    for pattern in patterns:
        uses = pattern[ways]
        begun = np.bincount(first[uses], minlength=size) - np.bincount(last[uses], minlength=size)
        edge = np.diff(np.concatenate([[0], (np.cumsum(begun) > 0).astype(np.int8)]))
        up, down = np.flatnonzero(edge > 0).tolist(), np.flatnonzero(edge < 0).tolist()
        totals.append(sum(instants[n] for n in down) - sum(instants[n] for n in up))
    return [totals[n] for n in which.ravel().tolist()]
