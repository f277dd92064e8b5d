"""Messages whose bytes a plan does not choose: streamed weights, exported KV, loaded prefixes.

One table says who moves what; every reader of messages goes through it.  Mathematics:
``formulations/fixed_messages.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray

if TYPE_CHECKING:
    from mocap_opt.tables.cost_tables import Tables


MOST_EXCESS = 2**25
"""Entries of a table over stages, starts and ends up to which fixed messages count in chunk times."""


class Entry(IntEnum):
    """Columns of the table."""

    KIND = 0
    STAGE = 1
    SOURCE = 2
    TARGET = 3
    EACH = 4
    PER_PAGE = 5
    FIRST = 6


class MessageKind(IntEnum):
    """What a fixed message carries; the first column."""

    WEIGHTS = 0
    EXPORT = 1
    PREFIX = 2


@dataclass(frozen=True)
class FixedMessage:
    """A row of the table: what a stage moves while it runs a chunk that is not empty.

    Attributes
    ----------
    kind : MessageKind
    stage : int
        Whose chunks carry it.
    source, target : int
        Memories; one of them is the stage's own.
    each : int, bytes
        With every chunk.
    per_page : int, bytes
        For every page of the chunk.
    first : int, bytes
        With the request's first chunk besides.
    """

    kind: MessageKind
    stage: int
    source: int
    target: int
    each: int
    per_page: int
    first: int

    @property
    def port(self) -> int:
        """The memory whose port it loads: the one that is not its stage's."""
        return self.target if self.source == self.stage else self.source

    def sizes(self, pages: IntArray) -> npt.NDArray[np.object_]:
        """Bytes with each chunk of a request, object[chunk].

        Parameters
        ----------
        pages : int64[chunk]
            Pages of its chunks, none of them empty.
        """
        sizes = np.array([self.each + self.per_page * int(count) for count in pages], dtype=object)
        sizes[:1] += self.first
        return sizes


def fixed_messages(rows: IntArray | None) -> tuple[FixedMessage, ...]:
    """Rows of the table as records.

    Parameters
    ----------
    rows : int64[message, entry] or None
        ``Tables.fixed_messages``; none where there is no table.
    """
    listed = [] if rows is None else rows.tolist()
    return tuple(FixedMessage(MessageKind(kind), *rest) for kind, *rest in listed)


@dataclass(frozen=True, eq=False)
class FixedLoads:
    """What fixed messages put on links and ports, in units of `rate`.

    Attributes
    ----------
    rate : object[resource]
        Units per tick of every link, then of every memory's port: bytes x share denominator on links,
        bytes at ports.
    each, per_page, first : object[resource, memory]
        Units with every chunk of a stage, for every page of it, and with the first chunk besides; Python
        integers, 0 of memories without a stage.
    weights : object[resource, memory]
        Those of `each` that streamed weights make up: they overlap by a part of their own.
    """

    rate: npt.NDArray[np.object_]
    each: npt.NDArray[np.object_]
    per_page: npt.NDArray[np.object_]
    first: npt.NDArray[np.object_]
    weights: npt.NDArray[np.object_]

    @classmethod
    def of(
        cls, messages: tuple[FixedMessage, ...], share: IntArray, unit: int, rates: tuple[IntArray, IntArray]
    ) -> FixedLoads:
        """Add up messages by resource and stage.

        Parameters
        ----------
        messages : tuple of FixedMessage
        share : int64[link, memory, memory]
        unit : int
            What shares are divided by.
        rates : (int64[link], int64[memory])
            Bytes per tick of links and ports.
        """
        links, memories = share.shape[0], share.shape[1]
        rate = np.concatenate([rates[0].astype(object) * unit, rates[1].astype(object)])
        each, per_page, first, weights = (
            np.full((links + memories, memories), 0, dtype=object) for _ in range(4)
        )
        for message in messages:
            units = np.zeros(links + memories, dtype=object)
            units[:links] = share[:, message.source, message.target].tolist()
            units[links + message.port] = 1
            each[:, message.stage] += units * message.each
            per_page[:, message.stage] += units * message.per_page
            first[:, message.stage] += units * message.first
            if message.kind is MessageKind.WEIGHTS:
                weights[:, message.stage] += units * message.each
        return cls(rate, each, per_page, first, weights)

    def used(self) -> list[int]:
        """Links and ports that some fixed message loads."""
        some = (self.each != 0) | (self.per_page != 0) | (self.first != 0)
        return [int(r) for r in np.flatnonzero(some.any(axis=1))]

    def units(self, resource: int, stage: int, pages: int, *, first: bool, weights: bool = True) -> int:
        """Load of one resource by one chunk.

        Parameters
        ----------
        resource, stage : int
        pages : int
            Of the chunk, which is not empty.
        first : bool
            Whether it is its request's first chunk.
        weights : bool
            Whether streamed weights count.
        """
        found = self.each[resource, stage] + self.per_page[resource, stage] * pages
        found += self.first[resource, stage] if first else 0
        return int(found if weights else found - self.weights[resource, stage])

    def of_chunks(self, pages: IntArray, stages: int, *, weights: bool = True) -> npt.NDArray[np.object_]:
        """Loads by the chunks of a request, object[resource, stage, chunk].

        Parameters
        ----------
        pages : int64[chunk]
            None of them empty.
        stages : int
        weights : bool
            Whether streamed weights count.
        """
        base = (self.each if weights else self.each - self.weights)[:, :stages, None]
        loads: npt.NDArray[np.object_] = base + self.per_page[:, :stages, None] * pages.astype(object)
        loads[:, :, :1] += self.first[:, :stages, None]
        return loads

    def alone(self, stage: int, pages: IntArray, *, first: bool, part: Fraction) -> IntArray:
        """A part of the time that chunks' fixed messages need on an idle wafer, rounded down, ticks.

        Parameters
        ----------
        stage : int
        pages : int64[...]
            Of the chunks.
        first : bool
            Whether they are their requests' first ones.
        part : Fraction
        """
        times = np.zeros(pages.shape, dtype=np.int64)
        for r in self.used():
            base = self.each[r, stage] + (self.first[r, stage] if first else 0)
            load = base + self.per_page[r, stage] * pages.astype(object)
            ticks = part.numerator * load // (part.denominator * self.rate[r])
            times = np.maximum(times, ticks.astype(np.int64))
        return times


def excess(tables: Tables) -> IntArray | None:
    """`Tables.excess`: what fixed messages, and measured times, add to the tables Phi to c.

    Parameters
    ----------
    tables : Tables
    """
    points = tables.steps + 1
    if not tables.messages or tables.stages * points**2 > MOST_EXCESS:
        return tables.residual
    start, end = np.triu_indices(points, 1)
    pages = tables.pages[end] - tables.pages[start]
    found = np.zeros((tables.stages, points, points), dtype=np.int64)
    for i in range(tables.stages):
        needed = tables.fixed_loads.alone(i, pages, first=False, part=tables.overlap)
        leading = start == 0
        needed[leading] = tables.fixed_loads.alone(i, pages[leading], first=True, part=tables.overlap)
        missing = np.maximum(needed - tables.compute_time(i, start, end), 0)
        found[i, start, end] = missing
    if not found.any():
        return tables.residual
    return found if tables.residual is None else found + tables.residual


def streaming_stall(messages: tuple[FixedMessage, ...], loads: FixedLoads, part: Fraction) -> dict[int, int]:
    """By stage, the part of its streamed weights' time that compute waits for, rounded up, ticks.

    Parameters
    ----------
    messages : tuple of FixedMessage
    loads : FixedLoads
        Of them.
    part : Fraction
        1 - f_w.
    """
    stall: dict[int, int] = {}
    for message in messages:
        if message.kind is MessageKind.WEIGHTS:
            stall[message.stage] = max(
                -(
                    -part.numerator
                    * int(loads.weights[r, message.stage])
                    // (part.denominator * loads.rate[r])
                )
                for r in loads.used()
            )
    return stall
