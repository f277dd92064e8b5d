"""A price of memory for the ladder: the row of the slot in which the last chunk starts.

Statement and proof: ``formulations/ladder.md``, memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.ladder_costs import LadderCosts, LadderPrices
from mocap_opt.bounds.ladder_programs import ArcLadder, IntervalLadder
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.stopping import AskedToStop, stop_if
from mocap_opt.tables.cost_tables import Tables

MOST_PRICES = 14
"""Prices of memory that are tried for one program."""

CLOSE = 20_000
"""Prices are good enough once nothing above the best value by more than one part in so many can follow."""


class Priced(NamedTuple):
    """A program at its best price of memory.

    Attributes
    ----------
    ticks : int
        What it proves, at most the target.
    price : int
        Parts of a tick for a unit of KV.
    layers : list of int64[node, level]
        From `forward`.
    prices : LadderPrices
    """

    ticks: int
    price: int
    layers: list[IntArray]
    prices: LadderPrices


@dataclass(frozen=True, eq=False)
class LadderMemory:
    """Memory in the slot in which the last chunk starts, and what it costs at a price.

    Attributes
    ----------
    tables : Tables
    costs : LadderCosts
    positions : int
        M, the most chunks.
    fewest : int
        The fewest chunks of a plan faster than the target.
    longest_time : int, ticks
        The most that a chunk takes.
    target : int, ticks
        No greater value is of use.
    """

    tables: Tables
    costs: LadderCosts
    positions: int
    fewest: int
    longest_time: int
    target: int

    @cached_property
    def pool(self) -> PooledMemory:
        """All memories together."""
        return PooledMemory.of(self.tables)

    @cached_property
    def parts(self) -> int:
        """Parts of a tick with which all sums stay below 2^58."""
        most = (max(self.longest_time, 1) + int(self.costs.message.max())) * (self.tables.stages + 1)
        return 1 << max(0, 57 - max(most * self.positions, self.target, 1).bit_length())

    @cached_property
    def most_price(self) -> int:
        """Price of memory with which all sums stay below 2^59."""
        need = int(self._units.sum()) * int(self.tables.pages[-1])
        return int(2**59 // max(1, need, self.room(1) or 1))

    @cached_property
    def _units(self) -> IntArray:
        units: IntArray = self.tables.page_bytes // self.pool.unit
        return units

    def room(self, short: int) -> int | None:
        """Units of KV that all memories hold in the slot of `need`, at most; None if one has no room at all.

        Parameters
        ----------
        short : int, grid steps
            The longest chunk has as many, or more.
        """
        # The fewer chunks, the fewer stages hold a prefix in that slot.
        room = self.pool.room(self.fewest, int(self.tables.lengths[1, short]))
        return None if room is None else int(room[self.fewest - 1]) // self.pool.unit

    def prices(self, short: int, long: int, price: int, room: int) -> LadderPrices:
        """Costs of a region at a price of memory.

        Parameters
        ----------
        short, long : int, grid steps
        price : int
            Parts of a tick for a unit of KV.
        room : int
            Units of KV.
        """
        per_page = np.zeros(self.positions + 1, dtype=np.int64)
        stages = min(self.tables.stages, self.positions)
        per_page[self.positions - np.arange(stages)] = price * self._units[:stages]
        further = self.costs.further_messages(slice(short, long + 1)) * self.parts
        return LadderPrices(self.parts, per_page, further - price * room)

    def need(self, boundaries: IntArray) -> int:
        """Units of KV alive in the slot in which the last chunk starts."""
        stages = min(self.tables.stages, self.positions)
        last = boundaries[self.positions - np.arange(stages)]
        return int(self._units[:stages] @ self.tables.pages[last])

    def best_price(
        self,
        program: IntervalLadder | ArcLadder,
        short: int,
        long: int,
        price: int,
        asked_to_stop: AskedToStop,
        on_partition: Callable[[IntArray], object],
    ) -> Priced | None:
        """The best price of memory for a program, near a first guess.

        The value is concave in the price: tangents from both sides of its top meet above it.

        Parameters
        ----------
        program : IntervalLadder or ArcLadder
        short, long : int, grid steps
            Of the longest chunk.
        price : int
            First guess, parts of a tick for a unit of KV.
        asked_to_stop : callable
            Asked before each price.
        on_partition : callable
            Told of the cheapest partition at each price, int64[position + 1].

        Returns
        -------
        Priced or None
            None if some memory has no room.

        Raises
        ------
        StoppedError
            If asked to stop.
        """
        room = self.room(short)
        if room is None:
            return None
        best: Priced | None = None
        sides: dict[bool, tuple[int, int, int]] = {}
        guess = price
        for _ in range(MOST_PRICES):
            stop_if(asked_to_stop)
            prices = self.prices(short, long, guess, room)
            layers = program.forward(prices)
            cost = int(layers[-1][0].min())
            ticks = min(prices.ticks(cost), self.target)
            if best is None or ticks > best.ticks:
                best = Priced(ticks, guess, layers, prices)
            if ticks >= self.target:
                break
            chosen = program.boundaries(layers, prices)
            on_partition(chosen)
            slope = self.need(chosen) - room
            if slope == 0 or (slope < 0 and guess == 0):
                break
            sides[slope > 0] = (guess, cost + prices.offset, slope)
            guess = self._next_price(sides, room)
            if guess < 0 or any(guess == known[0] for known in sides.values()):
                break
            if len(sides) == 2:
                at, value, gain = sides[True]
                if (value + gain * (guess - at)) // self.parts <= best.ticks + self.target // CLOSE:
                    break
        return best

    def _next_price(self, sides: dict[bool, tuple[int, int, int]], room: int) -> int:
        """Where to look next; below 0 if nowhere."""
        if len(sides) == 2:
            (low, below, up), (high, above, down) = sides[True], sides[False]
            return max(low, min(high, round((above - down * high - below + up * low) / (up - down))))
        if False in sides:
            return max(0, sides[False][0] // 4 - 1)
        first = max(1, self.target * self.parts // (4 * max(room, 1)))
        guess = max(first, 4 * sides[True][0])
        return guess if guess <= self.most_price else -1
