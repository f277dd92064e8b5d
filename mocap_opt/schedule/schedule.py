"""A schedule: who runs what, in which order, in which slots, and whether that is repeated without end.

One request is what latency is about, several are a stream, and one with an initiation interval is a period:
requests alike start one interval after the other, what happens in slot t happens again in slot t + W, and
W slots say everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.schedule.plan import Plan
from mocap_opt.tables.cost_tables import Tables, require_bounded_queues
from mocap_opt.tables.reserve import rings

SHARED = ("capacity", "static", "staging", "port_rate", "link_rate", "share", "hop_ticks")
"""Arrays of the machine and the model, which the tables of all requests must agree on."""


@dataclass(frozen=True)
class ScheduledRequest:
    """A request, how it is cut and placed, and when its turn comes.

    Attributes
    ----------
    tables : Tables
        Its own tokens, prefix and batch on the common machine.
    plan : Plan
    slot : int
        s_r: stage i works on its chunk j in slot s_r + i + j.
    release : int, ticks
        No execution starts it earlier.
    name : str
        For messages only.
    number : int
        Which request of the instance it is.
    """

    tables: Tables
    plan: Plan
    slot: int = 0
    release: int = 0
    name: str = ""
    number: int = 0

    @property
    def last_slot(self) -> int:
        """The slot in which the last stage works on its last chunk."""
        return self.slot + self.plan.chunks + self.tables.stages - 2


def chunk_releases(request: ScheduledRequest) -> list[int]:
    """The earliest start of every chunk of a request on the first stage, ticks.

    The request is released, and all tokens up to the chunk's end exist.

    Parameters
    ----------
    request : ScheduledRequest

    Raises
    ------
    ValueError
        If tokens come to exist by and by and a boundary is not on the grid.
    """
    tables, plan = request.tables, request.plan
    if tables.available is None:
        return [request.release] * plan.chunks
    exist: list[int] = tables.available[plan.grid_indices(tables)[1:]].tolist()
    return [request.release + time for time in exist]


@dataclass(frozen=True)
class Schedule:
    """Requests in the order in which every stage works on them.

    Attributes
    ----------
    requests : tuple of ScheduledRequest
        At least one; all tables describe the same machine on the same tick.
    interval : int or None
        W, the initiation interval in slots after which all requests come again, without end; None: they
        come once.

    Raises
    ------
    ValueError
        If there is no request, or tables describe different machines.
    InputError
        If requests without end have unbounded queues.
    """

    requests: tuple[ScheduledRequest, ...]
    interval: int | None = None

    def __post_init__(self) -> None:
        """Refuse tables that do not describe one machine, and what would fill any memory."""
        if not self.requests:
            raise ValueError("a schedule needs at least one request")
        first = self.requests[0].tables
        checked = {id(first)}
        for number, request in enumerate(self.requests):
            if id(request.tables) not in checked:
                checked.add(id(request.tables))
                _require_same_machine(first, request.tables, number)
        if self.interval is not None:
            require_bounded_queues(first)

    @classmethod
    def of(cls, tables: Tables, plan: Plan, interval: int | None = None) -> Schedule:
        """Schedule one request from slot 0 on, once or every `interval` slots.

        Parameters
        ----------
        tables : Tables
        plan : Plan
        interval : int, optional
            W; None: once.
        """
        return cls((ScheduledRequest(tables, plan),), interval)

    def __iter__(self) -> Iterator[ScheduledRequest]:
        """Go through the requests in order."""
        return iter(self.requests)

    def __len__(self) -> int:
        """Return the number of requests."""
        return len(self.requests)

    @property
    def machine(self) -> Tables:
        """The first request's tables, for what all requests share."""
        return self.requests[0].tables

    @property
    def stages(self) -> int:
        """N, the number of stages."""
        return self.machine.stages

    @property
    def endless(self) -> bool:
        """Whether the requests come again without end."""
        return self.interval is not None

    @property
    def slots(self) -> int:
        """The number of slots that are told apart: one interval, or all until the last request has left."""
        if self.interval is not None:
            return self.interval
        return max(request.last_slot for request in self) + 1

    @property
    def order(self) -> tuple[int, ...]:
        """Which request of the instance each is."""
        return tuple(request.number for request in self)

    @property
    def plan(self) -> Plan:
        """The plan of the only request.

        Raises
        ------
        ValueError
            If there are several.
        """
        (request,) = self.requests
        return request.plan

    @property
    def idle(self) -> int:
        """Slots of an interval in which a stage has nothing to do."""
        return self.slots - sum(request.plan.chunks for request in self)

    @cached_property
    def reserve(self) -> IntArray:
        """Bytes of every memory kept for staging and activations in every slot, int64[memory]."""
        tables = [request.tables for request in self]
        return shared_reserve(tables, [request.plan.longest for request in self], endless=self.endless)

    def overlay(
        self,
        parts: Sequence[npt.NDArray[Any]],
        *,
        together: np.ufunc = np.add,
        dtype: npt.DTypeLike = np.int64,
    ) -> npt.NDArray[Any]:
        """Put what every request asks for in slots of its own into the common slots.

        Parameters
        ----------
        parts : sequence of array[row, slot]
            Of every request, from its first slot on; none negative.
        together : numpy.ufunc
            What becomes of entries in the same slot.
        dtype : data type
            Of the result.

        Returns
        -------
        array[row, slot]
            0 where no request asks for anything.
        """
        offsets = [request.slot for request in self]
        return overlay(parts, offsets, self.slots, together=together, dtype=dtype)


def overlay(
    parts: Sequence[npt.NDArray[Any]],
    offsets: Sequence[int],
    slots: int,
    *,
    together: np.ufunc = np.add,
    dtype: npt.DTypeLike = np.int64,
) -> npt.NDArray[Any]:
    """Put rows over slots of their own into common slots; past the last, begin with the first again.

    Parameters
    ----------
    parts : sequence of array[row, slot]
    offsets : sequence of int
        The common slot in which each begins.
    slots : int
        How many common slots there are.
    together, dtype
        See `Schedule.overlay`.
    """
    common = np.zeros((parts[0].shape[0], slots), dtype=dtype)
    for offset, part in zip(offsets, parts, strict=True):
        done = 0
        while done < part.shape[1]:
            at = (offset + done) % slots
            piece = part[:, done : done + slots - at]
            there = common[:, at : at + piece.shape[1]]
            there[...] = together(there, piece)
            done += piece.shape[1]
    return common


def running(stages: int, chunks: int, slots: int, slot: int) -> list[tuple[int, int]]:
    """Stages at work in a slot with their chunks, ``(i, (t - i) mod slots)``.

    Parameters
    ----------
    stages, chunks : int
    slots : int
        W of requests without end; chunks + stages - 1 of one request.
    slot : int
    """
    return [(i, (slot - i) % slots) for i in range(stages) if (slot - i) % slots < chunks]


def shared_reserve(tables: Sequence[Tables], longest: Sequence[int], *, endless: bool = False) -> IntArray:
    """Bytes of every memory kept for staging, activations and rings, int64[memory].

    Queues may hold chunks of several requests at once, so the 2 Q chunks are each as large as the
    largest of any request, and no more than all requests together, if these come to an end.  A stage works
    on one request at a time: its rings are the largest of any.  The reserve must not change from slot to
    slot.

    Parameters
    ----------
    tables : sequence of Tables
        Of every request.
    longest : sequence of int, tokens
        Every plan's longest chunk.
    endless : bool
        Whether the requests come again without end.

    Raises
    ------
    InputError
        If requests without end have unbounded queues.
    """
    if len(tables) == 1 or endless:
        reserves = [each.reserve(most, endless=endless) for each, most in zip(tables, longest, strict=True)]
        return np.asarray(np.max(reserves, axis=0))
    reserve = tables[0].staging + _queued([each.working_bytes for each in tables], tables, longest)
    if tables[0].buffer_bytes is not None:
        limit = np.max([np.asarray(each.buffer_limit) for each in tables], axis=0)
        buffers = np.minimum(_queued([each.buffer_bytes for each in tables], tables, longest), limit)
        reserve += np.maximum(buffers, _queued([each.logit_bytes for each in tables], tables, longest))
    held = [rings(each, most) for each, most in zip(tables, longest, strict=True)]
    total: IntArray = reserve + np.max(held, axis=0)
    return total


def _queued(
    per_token: Sequence[IntArray | None], tables: Sequence[Tables], longest: Sequence[int]
) -> IntArray:
    """Bytes in queues of several requests of which each token takes so many, int64[memory]."""
    sizes = [np.asarray(size) for size in per_token]
    together: IntArray = np.sum([n * t.tokens for n, t in zip(sizes, tables, strict=True)], axis=0)
    largest = np.max([n * length for n, length in zip(sizes, longest, strict=True)], axis=0)
    return queued_bytes(tables[0].queue_depth, largest, together)


def queued_bytes(depth: int | None, largest: IntArray, together: IntArray) -> IntArray:
    """Bytes of activations in queues of several requests, int64[memory].

    Parameters
    ----------
    depth : int or None
        Q.
    largest, together : int64[memory], bytes
        Of the largest chunk; of all tokens of all requests.
    """
    return together if depth is None else np.minimum(2 * depth * largest, together)


def identical_requests(tables: Tables, plan: Plan, count: int, spacing: int) -> Schedule:
    """Return a request repeated, one every `spacing` slots, all released at time 0.

    Parameters
    ----------
    tables : Tables
    plan : Plan
    count : int
        Requests, at least 1.
    spacing : int
        W, at least the plan's chunks.
    """
    if spacing < plan.chunks:
        raise ValueError(f"{plan.chunks} chunks do not fit in {spacing} slots")
    return Schedule(tuple(ScheduledRequest(tables, plan, n * spacing, 0, f"#{n}", n) for n in range(count)))


STEADY_REQUESTS = 2
"""Requests of a period that are shown beyond those that are on the wafer at once."""


def first_requests(schedule: Schedule) -> Schedule:
    """Of requests without end as many as are on the wafer at once, and `STEADY_REQUESTS` more; else itself.

    Parameters
    ----------
    schedule : Schedule
    """
    if schedule.interval is None:
        return schedule
    (request,) = schedule
    at_once = -(-(request.plan.chunks + schedule.stages - 1) // schedule.interval)
    return identical_requests(request.tables, request.plan, at_once + STEADY_REQUESTS, schedule.interval)


def _require_same_machine(first: Tables, other: Tables, number: int) -> None:
    scalars = ("tick_s", "links", "pools", "share_denominator", "overlap", "queue_depth", "loop")
    wrong = [name for name in scalars if getattr(first, name) != getattr(other, name)]
    wrong += [name for name in SHARED if not np.array_equal(getattr(first, name), getattr(other, name))]
    if wrong:
        raise ValueError(f"request {number} is for another machine than request 0: {', '.join(wrong)} differ")
