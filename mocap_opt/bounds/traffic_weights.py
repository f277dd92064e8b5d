"""KV and activations on links and ports in mixtures of paths and of slots, and memories priced one by one.

Statement and proof: ``formulations/bounds.md``, `traffic_branching`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.tables.cost_tables import Tables

Cell = tuple[int, int]
"""A stage and a position."""


@dataclass(frozen=True)
class TrafficStep:
    """Parts of a mixture that count what passes a link or port while some chunks run.

    Attributes
    ----------
    resource : int
        A link, or the number of links + a memory for its port.
    first, last : (int, int)
        Stages first[0]..last[0] and positions first[1]..last[1]: from the start of the first chunk to the
        end of the last one.  In lockstep, where `slot` is given, all chunks of the slot instead.
    parts : int
    onward : bool
        Until the last chunk starts on the next stage, its activations included.
    slot : int or None
        In lockstep the slot.
    exchange : bool
        In lockstep: the communication phase, in which activations pass; else the compute phase and KV.
    """

    resource: int
    first: Cell
    last: Cell
    parts: int
    onward: bool = False
    slot: int | None = None
    exchange: bool = False


@dataclass(frozen=True)
class Delay:
    """Parts of a chunk's time that also count (1 - f) of its KV's time on a link or port."""

    resource: int
    cell: Cell
    parts: int


@dataclass(frozen=True, eq=False)
class CountedTraffic:
    """By link or port and chunk the parts that count its KV, and its activations onward.

    Attributes
    ----------
    resources : tuple of int
        Those that some part counts.
    moved, delayed, sent : int64[resource, stage, position]
        Of the time of the chunk's KV; of (1 - f) of it; of the time of its activations.
    """

    resources: tuple[int, ...]
    moved: IntArray
    delayed: IntArray
    sent: IntArray

    @classmethod
    def of(cls, shape: Cell, steps: Sequence[TrafficStep], delays: Sequence[Delay]) -> CountedTraffic:
        """Add up.

        Parameters
        ----------
        shape : (int, int)
            Stages and positions.
        steps : sequence of TrafficStep
        delays : sequence of Delay
        """
        resources = sorted({*(step.resource for step in steps), *(delay.resource for delay in delays)})
        number = {resource: n for n, resource in enumerate(resources)}
        moved, delayed, sent = (np.zeros((len(resources), *shape), dtype=np.int64) for _ in range(3))
        slots = np.add.outer(np.arange(shape[0]), np.arange(shape[1]))
        for step in steps:
            rows, columns = slice(step.first[0], step.last[0] + 1), slice(step.first[1], step.last[1] + 1)
            at = number[step.resource]
            if step.slot is None:
                moved[at, rows, columns] += step.parts
                sent[at, step.first[0] : step.last[0] + step.onward, columns] += step.parts
            else:
                (sent if step.exchange else moved)[at][slots == step.slot] += step.parts
        for delay in delays:
            delayed[(number[delay.resource], *delay.cell)] += delay.parts
        return cls(tuple(resources), moved, delayed, sent)


def check_delays(nodes: IntArray, delays: Sequence[Delay]) -> None:
    """Check that no chunk is delayed by more parts than count its time.

    Parameters
    ----------
    nodes : int64[stage, position]
        Parts that count each chunk's time.
    delays : sequence of Delay
    """
    late = np.zeros_like(nodes)
    for delay in delays:
        if delay.parts < 0:
            raise ValueError("expected parts >= 0")
        late[delay.cell] += delay.parts
    if (late > nodes).any():
        raise ValueError("expected no chunk to be delayed by more than what counts its time")


@dataclass(frozen=True, eq=False)
class TrafficPrices:
    """What a mixture's traffic and the prices of single memories ask for.

    Attributes
    ----------
    pages : int64[position]
        Price of a page, on all stages together.
    lengths : int64[position, 2, G + 1]
        Price of activations by position, ``[tail, k]``.
    room : int
        Price of all the room there is.
    """

    pages: IntArray
    lengths: IntArray
    room: int

    @classmethod
    def of(
        cls, tables: Tables, counted: CountedTraffic, memory_prices: IntArray, room: IntArray, unit: int
    ) -> TrafficPrices:
        """Price a page in its cheapest memory, and activations; every term rounded down.

        Parameters
        ----------
        tables : Tables
        counted : CountedTraffic
        memory_prices : int64[memory, slot]
            Of a unit of each memory.
        room : int64[memory, slot]
            Units of KV that fit.
        unit : int, bytes
        """
        (stages, positions), memories = counted.moved.shape[1:], tables.memories
        links, late = len(tables.links), 1 - tables.overlap
        price = np.zeros((stages, positions, memories), dtype=object)
        # A page is alive from its chunk's slot to the last one of its stage.
        after = np.cumsum(memory_prices[:, ::-1], axis=1)[:, ::-1]
        after = np.concatenate([after, np.zeros((memories, 1), dtype=np.int64)], axis=1)
        for i in range(stages):
            alive = after[:, i : i + positions] - after[:, i + positions, None]
            price[i] = (alive.T * (int(tables.page_bytes[i]) // unit)).astype(object)
        lengths = np.zeros((positions, 2, tables.steps + 1), dtype=object)
        tokens = tables.lengths.astype(object)
        for n, resource in enumerate(counted.resources):
            weight = counted.moved[n].astype(object) * late.denominator
            weight = weight + counted.delayed[n].astype(object) * late.numerator
            read = np.zeros_like(weight)
            read[:, :-1] = np.cumsum(weight[:, :0:-1], axis=1)[:, ::-1]
            size = tables.page_bytes.astype(object)[:, None]
            if resource >= links:
                port = resource - links
                rate = int(tables.port_rate[port]) * late.denominator
                counts = (weight + read) * size // rate
                counts[np.arange(stages) == port] = 0
                price[:, :, port] += counts
                continue
            rate = int(tables.link_rate[resource]) * tables.share_denominator * late.denominator
            share = tables.share[resource].astype(object)
            out, back = share[:stages, None, :], share.T[:stages, None, :]
            moved = weight[:, :, None] * out + read[:, :, None] * back
            moved[np.arange(stages), :, np.arange(stages)] = 0
            price += moved * size[:, :, None] // rate
            for i, j in np.argwhere(counted.sent[n, :-1]).tolist():
                each = int(tables.share[resource, i, i + 1]) * int(tables.activation_bytes[i])
                whole = int(tables.link_rate[resource]) * tables.share_denominator
                lengths[j] += int(counted.sent[n, i, j]) * each * tokens // whole
        pages = price.min(axis=2).sum(axis=0).tolist()
        value = sum(p * r for p, r in zip(memory_prices.ravel().tolist(), room.ravel().tolist(), strict=True))
        most = sum(pages) * int(tables.pages[-1]) + sum(int(part.max()) for part in lengths)
        if max(most, value) >= 2**57 or (memory_prices < 0).any():
            raise ValueError("expected prices >= 0 whose sums stay below 2^57")
        lengths[:, :, 0] = 0
        return cls(np.array(pages, dtype=np.int64), lengths.astype(np.int64), value)
