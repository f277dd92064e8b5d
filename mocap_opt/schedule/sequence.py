"""A sequence of requests: who runs what, in which order and in which slots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.schedule.plan import Plan
from mocap_opt.tables.cost_tables import Tables

SHARED = ("capacity", "static", "port_rate", "link_rate", "share", "hop_ticks")
"""Arrays of the machine and the model, which the tables of all requests must agree on."""


@dataclass(frozen=True, eq=False)
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
    """

    tables: Tables
    plan: Plan
    slot: int
    release: int = 0
    name: str = ""

    @property
    def last_slot(self) -> int:
        """The slot in which the last stage works on its last chunk."""
        return self.slot + self.plan.chunks + self.tables.stages - 2


@dataclass(frozen=True, eq=False)
class RequestSequence:
    """Requests in the order in which every stage works on them.

    Attributes
    ----------
    requests : tuple of ScheduledRequest
        At least one; all tables describe the same machine on the same tick.
    """

    requests: tuple[ScheduledRequest, ...]

    def __post_init__(self) -> None:
        """Refuse tables that do not describe one machine."""
        if not self.requests:
            raise ValueError("a sequence needs at least one request")
        first = self.requests[0].tables
        checked = {id(first)}
        for number, request in enumerate(self.requests):
            if id(request.tables) not in checked:
                checked.add(id(request.tables))
                _require_same_machine(first, request.tables, number)

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
    def slots(self) -> int:
        """The number of slots, idle ones included; slot 0 is the first."""
        return max(request.last_slot for request in self) + 1

    @cached_property
    def reserve(self) -> IntArray:
        """Bytes of every memory kept for staging and activations in every slot, int64[memory]."""
        return sequence_reserve(
            [request.tables for request in self], [request.plan.longest for request in self]
        )


def sequence_reserve(tables: list[Tables], longest: list[int]) -> IntArray:
    """Bytes of every memory kept for staging and activations, int64[memory].

    Queues may hold chunks of several requests at once, so the 2 Q chunks are each as large as the
    largest of any request, and no more than all requests together.  The reserve must not change
    from slot to slot.

    Parameters
    ----------
    tables : list of Tables
        Of every request.
    longest : list of int, tokens
        Every plan's longest chunk.
    """
    depth = tables[0].queue_depth
    together = np.sum([each.working_bytes * each.tokens for each in tables], axis=0, dtype=np.int64)
    staging: IntArray = np.max([each.staging for each in tables], axis=0)
    if depth is None:
        held = together
    else:
        largest = np.max(
            [each.working_bytes * length for each, length in zip(tables, longest, strict=True)], axis=0
        )
        held = np.minimum(2 * depth * largest, together)
    reserve: IntArray = staging + held
    return reserve


def identical_requests(tables: Tables, plan: Plan, count: int, spacing: int) -> RequestSequence:
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
    return RequestSequence(
        tuple(ScheduledRequest(tables, plan, number * spacing, 0, f"#{number}") for number in range(count))
    )


def _require_same_machine(first: Tables, other: Tables, number: int) -> None:
    scalars = ("tick_s", "links", "share_denominator", "overlap", "queue_depth")
    wrong = [name for name in scalars if getattr(first, name) != getattr(other, name)]
    wrong += [name for name in SHARED if not np.array_equal(getattr(first, name), getattr(other, name))]
    if wrong:
        raise ValueError(f"request {number} is for another machine than request 0: {', '.join(wrong)} differ")
