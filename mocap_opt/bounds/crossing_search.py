"""Best-first search over counts, greatest crossings and longest chunks, by least boundaries.

Statement and proof: ``formulations/bounds.md``, `crossing` and `crossing_pooled_memory`.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.stage_work import LeastTotal
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.flow_shop.chunk_times import class_members, compute_classes
from mocap_opt.flow_shop.partitions import NEVER
from mocap_opt.memory_budget import require_memory
from mocap_opt.stopping import AskedToStop, never, stop_if
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True, eq=False)
class Crossing:
    """F of formulations/bounds.md: what a chunk around [a, b) adds at least by crossing the stages.

    Attributes
    ----------
    minus : int64[G + 1, G], ticks
        -F by ``[b, a]``, so that rows ascend; -NEVER where no chunk is admissible.
    by_length : int64[G + 1], ticks
        What a chunk of that many steps or more adds at least, wherever it lies; NEVER if there is none.
    """

    minus: IntArray
    by_length: IntArray

    @classmethod
    def of(
        cls, tables: Tables, send: IntArray, s: int, e: int, asked_to_stop: AskedToStop = never
    ) -> Crossing:
        """Tabulate E = work on stages s..e + sends between them - the smaller of tau_s and tau_e.

        One row per end b: O(G^2) times the number of unlike stages.

        Parameters
        ----------
        tables : Tables
        send : int64[stage, 2, G + 1], ticks
            Least sends by ``[stage, tail, k]``.
        s, e : int
            End stages, s <= e.
        asked_to_stop : callable
            Asked before each row.

        Raises
        ------
        StoppedError
            If asked to stop.
        """
        steps = tables.steps
        require_memory("the table of crossings", (steps + 1) * steps)
        stages = np.arange(s, e + 1)
        _, number = np.unique(compute_classes(tables)[stages], return_inverse=True)
        members = stages[class_members(number)]
        phi, full_block, memory = tables.phi[members], tables.full_block[members], tables.memory_side[members]
        times, first, last = np.bincount(number), number[0], number[-1]
        additive = tables.length_cost[stages].sum(axis=0) + send[s:e].sum(axis=0)
        prefix = tables.prefix_cost[stages].sum(axis=0)
        ends = tables.length_cost[[s, e]]
        end_prefix = tables.prefix_cost[[s, e]]
        same_ends = first == last and np.array_equal(ends[0], ends[1]) and np.array_equal(*end_prefix)
        blocks, reads = bool(full_block.any()), bool((memory > 0).any())
        minus = np.full((steps + 1, steps), -NEVER, dtype=np.int64)
        by_length = np.full(steps + 1, NEVER, dtype=np.int64)
        later = np.full(steps, NEVER, dtype=np.int64)
        for b in range(steps, 0, -1):
            stop_if(asked_to_stop)
            tail = int(b == steps)
            back = slice(b, 0, -1)  # lengths b - a for a = 0 .. b - 1
            slowest = phi[:, b, None] - phi[:, :b]
            if blocks:
                slowest += full_block[:, tail, back]
            if reads:
                np.maximum(slowest, memory[:, b, None], out=slowest)
            if tables.excess is not None:
                slowest += tables.excess[members, :b, b]
            cross = times @ slowest + additive[tail, back] + prefix[:b]
            least = slowest[first] + ends[0, tail, back] + end_prefix[0, :b]
            if not same_ends:
                other = slowest[last] + ends[1, tail, back] + end_prefix[1, :b]
                least = np.minimum(least, other)
            row = np.full(steps, NEVER, dtype=np.int64)
            np.copyto(row[:b], cross - least, where=tables.length_allowed[tail, back])
            np.minimum(by_length[back], row[:b], out=by_length[back])
            later = np.minimum(np.minimum.accumulate(row), later)
            np.negative(later, out=minus[b])
        return cls(minus, np.minimum.accumulate(by_length[::-1])[::-1])

    def walk(self, chunks: int, limit: int, cap: int, limits: LengthLimits) -> LeastBoundaries | None:
        """LeastBoundaries back from the end, each time to the least start that the limits allow.

        Parameters
        ----------
        chunks : int
            How many chunks are owed.
        limit : int, ticks
            D, the most a chunk may add by crossing.
        cap : int
            The most grid steps of any chunk.
        limits : LengthLimits

        Returns
        -------
        LeastBoundaries, or None if no plan keeps to the limits
        """
        boundaries = [0] * (chunks + 1)
        boundaries[chunks] = end = limits.steps
        tight = 0
        for j in range(chunks - 1, -1, -1):
            row = self.minus[end]
            start = max(int(row.searchsorted(-limit)), end - cap, j * limits.least if j else 0)
            most = min(j * limits.most, limits.steps - limits.last_least - (chunks - 1 - j) * limits.least)
            if start > (most if j else 0):
                return None
            # Where the room owed to earlier chunks leads past this end, no chunk is left to be tight.
            tight = max(tight, -int(row[start]))
            boundaries[j] = end = start
        return LeastBoundaries(np.array(boundaries, dtype=np.int64), tight)


@dataclass(frozen=True, eq=False)
class LeastBoundaries:
    """Least boundaries under a limit.

    Attributes
    ----------
    boundaries : int64[chunks + 1]
        No plan within the limit has any boundary below these.
    tight : int, ticks
        The walk is the same for every limit from here up to the one it was made with.
    """

    boundaries: IntArray
    tight: int


#: Walks before a search settles for what it has; where the reserve grows with the longest chunk,
#: 32 stages x 128 chunks x 4096 steps take some 20,000 of them, five seconds.
MOST_WALKS = 60_000


@dataclass(order=True, frozen=True)
class Region:
    """Plans of one count whose greatest crossing and longest chunk lie in intervals.

    Attributes
    ----------
    value : int, ticks
        No plan of the region is faster.
    chunks : int
    low, high : int, ticks
        Greatest crossing D.
    short, long : int, grid steps
        Longest chunk.
    base : int, ticks
        Least total, head and tail at the walk.
    walk : LeastBoundaries
        At `high` and `long`.
    """

    value: int
    chunks: int
    low: int
    high: int
    short: int
    long: int
    base: int = field(compare=False)
    walk: LeastBoundaries = field(compare=False)

    @property
    def settled(self) -> bool:
        """Whether the walk is the same for all of the crossings."""
        return self.low >= self.walk.tight

    def length_first(self, longest_choice: int) -> bool:
        """Whether the interval of lengths is relatively wider than that of crossings.

        Longer chunks than `longest_choice` keep no more memory.
        """
        lengths = min(self.long, longest_choice) - self.short
        return self.settled or lengths * max(self.low, 1) >= (self.walk.tight - self.low) * self.short


class Room(Protocol):
    """Memory that boundaries may not fit."""

    def fits(self, boundaries: IntArray, longest: int) -> bool:
        """Whether boundaries fit; lower ones do if these do.

        Parameters
        ----------
        boundaries : int64[chunks + 1]
            Grid indices.
        longest : int
            Tokens of the longest chunk.
        """


@dataclass(eq=False, kw_only=True)
class RegionSearch(ABC):
    """Best-first search over counts, greatest crossings and longest chunks.

    Attributes
    ----------
    setting : Setting
    crossing : Crossing
    longest_choice : int, grid steps
        Beyond it the reserve stays the same.
    memory : Room or None
        Of the run at hand; None leaves memory out.
    asked_to_stop : callable
        Asked before every split; the bound is valid whenever the search ends.
    walks : int
        Walks made so far.
    cut_short : bool
        Whether the last run ended before its least region was settled.
    """

    setting: Setting
    crossing: Crossing
    longest_choice: int
    asked_to_stop: AskedToStop = never
    memory: Room | None = None
    walks: int = 0
    cut_short: bool = False
    heap: list[Region] = field(default_factory=list)

    @abstractmethod
    def base(self, boundaries: IntArray) -> int:
        """What plans with no boundary below these take at least beside their greatest crossing, ticks."""

    @abstractmethod
    def least_crossing(self, chunks: int) -> int:
        """Least greatest crossing of so many chunks, ticks."""

    def run(self, memory: Room | None) -> Region | None:
        """Search until the least region is settled.

        Parameters
        ----------
        memory : Room or None
            None leaves memory out.

        Returns
        -------
        Region or None
            The least one: its value is a bound, even if the search was cut short and it is not
            settled.  None if all regions are empty.
        """
        steps, limits = self.setting.tables.steps, self.setting.limits
        self.memory, self.walks, self.heap, self.cut_short = memory, 0, [], False
        for chunks in self.setting.counts:
            low = self.least_crossing(chunks)
            self._open(chunks, low, NEVER - 1, limits.shortest_longest(chunks), steps)
        while self.heap:
            region = heapq.heappop(self.heap)
            settled = region.settled and self._fits(region)
            self.cut_short = not settled and (self.walks >= MOST_WALKS or self.asked_to_stop())
            if settled or self.cut_short:
                return region
            self._split(region)
        return None

    def _fits(self, region: Region) -> bool:
        """Whether the memory holds with the walk's own longest chunk, or no finer look is possible."""
        if self.memory is None or region.short == region.long:
            return True
        tables = self.setting.tables
        return self.memory.fits(
            region.walk.boundaries, int(np.diff(tables.grid[region.walk.boundaries]).max())
        )

    def _split(self, region: Region) -> None:
        """Replace a region by smaller ones that cover it."""
        if not self._fits(region) and region.length_first(self.longest_choice):
            middle = (region.short + region.long) // 2
            self._open(region.chunks, region.low, region.high, region.short, middle)
            self._open(region.chunks, region.low, region.high, middle + 1, region.long)
            return
        tight = region.walk.tight
        settled = Region(
            region.base + tight,
            region.chunks,
            tight,
            region.high,
            region.short,
            region.long,
            region.base,
            region.walk,
        )
        heapq.heappush(self.heap, settled)
        if region.low < tight:
            middle = (region.low + tight - 1) // 2
            if self._open(region.chunks, middle + 1, tight - 1, region.short, region.long):
                self._open(region.chunks, region.low, middle, region.short, region.long)

    def _open(self, chunks: int, low: int, high: int, short: int, long: int) -> bool:
        """Add a region to the heap unless it is empty or it says so for all lower crossings too."""
        # One chunk has at least `short` steps, and crosses with what such chunks cross with at least.
        low = max(low, int(self.crossing.by_length[short]))
        if low > high:
            return True
        self.walks += 1
        walk = self.crossing.walk(chunks, high, long, self.setting.limits)
        if walk is None or not self._holds(walk, short):
            return False
        base = self.base(walk.boundaries)
        region = Region(base + low, chunks, low, high, short, long, base, walk)
        heapq.heappush(self.heap, region)
        return True

    def _holds(self, walk: LeastBoundaries, short: int) -> bool:
        """Whether the least boundaries fit the pool with the least reserve of the region."""
        if self.memory is None:
            return True
        # The longest chunk may be the last one, whose final step may be shorter than the others.
        return self.memory.fits(walk.boundaries, int(self.setting.tables.lengths[1, short]))


def longest_choice(tables: Tables) -> int:
    """Grid steps of the longest chunk beyond which the reserve stays the same."""
    depth = tables.queue_depth
    return 1 if depth is None else -(-tables.tokens // (2 * depth * tables.quantum))


@dataclass(eq=False, kw_only=True)
class PairSearch(RegionSearch):
    """The search for one pair of end stages.

    Attributes
    ----------
    s, e : int
        End stages.
    total : LeastTotal
    """

    s: int
    e: int
    total: LeastTotal

    @classmethod
    def of(cls, setting: Setting, s: int, e: int, asked_to_stop: AskedToStop = never) -> PairSearch:
        """Tabulate the crossing and the least totals.

        Parameters
        ----------
        setting : Setting
        s, e : int
            End stages, s <= e.
        asked_to_stop : callable
            While the tables are made it raises `StoppedError`.
        """
        tables = setting.tables
        crossing = Crossing.of(tables, setting.send, s, e, asked_to_stop)
        total = LeastTotal.of(tables, setting.limits, setting.counts, s, e)
        return cls(
            setting=setting,
            s=s,
            e=e,
            crossing=crossing,
            total=total,
            longest_choice=longest_choice(tables),
            asked_to_stop=asked_to_stop,
        )

    def least_crossing(self, chunks: int) -> int:
        """Least greatest crossing: chunks cross with at least the differences of Phi, which add up."""
        tables, inside = self.setting.tables, slice(self.s, self.e + 1)
        phi = tables.phi[inside]
        whole = (phi[:, -1] - phi[:, 0]).tolist()
        # Fitted coefficients may have negative parts.
        others = (tables.full_block, tables.length_cost, tables.prefix_cost, self.setting.send)
        rebate = sum(min(0, int(table[inside].min())) for table in others) * len(whole)
        # E is at least the work on all stages but one end, whichever end is left out.
        least: int = -(-(sum(whole) - min(whole[0], whole[-1])) // chunks) + rebate
        return max(0, least)

    def base(self, boundaries: IntArray) -> int:
        """Least total + head + tail of plans with no boundary below these."""
        limits, heads_and_tails = self.setting.limits, self.setting.heads_and_tails
        chunks = boundaries.size - 1
        last_start = limits.latest_last_start(chunks)
        head = int(heads_and_tails.head[self.s, boundaries[1]])
        tail = int(heads_and_tails.tail[self.e, last_start])
        return self.total.at(boundaries) + head + tail
