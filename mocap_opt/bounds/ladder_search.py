"""The search behind the ladder: regions of the longest chunk, prices of memory, chunks deleted one by one.

Statement and proof: ``formulations/ladder.md``.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.ladder_costs import LadderCosts, LadderPrices, thinned
from mocap_opt.bounds.ladder_programs import ArcLadder, IntervalLadder, Mask
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.bounds.stage_work import LeastTotal
from mocap_opt.flow_shop.arc_set import ArcSet
from mocap_opt.flow_shop.partitions import NEVER
from mocap_opt.formulations.slot_times import slot_times
from mocap_opt.stopping import AskedToStop, StoppedError, stop_if
from mocap_opt.tables.cost_tables import Tables

LEVELS = (32, 256)
"""Levels, at most, of programs over intervals of starts: few first, to leave fewer boundaries to the next."""

FINEST = 1024
"""The same of the program over single chunks."""

MOST_CELLS = 300_000_000
"""Arcs x levels of one pass over single chunks, at most; beyond it there are fewer levels."""

MOST_PRICES = 14
"""Prices of memory that are tried for one program."""

MOST_ROUNDS = 6
"""Times that arcs are deleted and levels made finer."""

MOST_LISTED = 64
"""Partitions of a region that are priced one by one."""


@dataclass(frozen=True, eq=False)
class LadderRegion:
    """Plans whose longest chunk has a length in an interval.

    Attributes
    ----------
    short, long : int
        Interval of the longest chunk, grid steps.
    ticks : int
        No plan of the region is faster, or than the target.
    arcs : ArcSet
        Chunks of those that are faster than the target.
    """

    short: int
    long: int
    ticks: int
    arcs: ArcSet


@dataclass(order=True, frozen=True)
class _Open:
    """A region with what its program over intervals proves.

    Attributes
    ----------
    ticks : int
    short, long : int, grid steps
    price : int
        Best price of memory known, parts of a tick for a unit of KV.
    settled : bool
        Whether halving the region would not help: its room is the same throughout, or the cheapest partition
        fits with its own longest chunk.
    nodes : bool[position + 1, G + 1]
        Boundaries of plans faster than the target.
    """

    ticks: int
    short: int
    long: int
    price: int = field(compare=False)
    settled: bool = field(compare=False)
    nodes: Mask = field(compare=False)


class LadderSearch:
    """The search for one target.

    Parameters
    ----------
    setting : Setting
        Of an instance with like stages.
    target : int, ticks
    asked_to_stop : callable
    """

    def __init__(self, setting: Setting, target: int, asked_to_stop: AskedToStop) -> None:
        self.setting, self.target, self.asked_to_stop = setting, target, asked_to_stop
        self.tables, self.limits = setting.tables, setting.limits
        self.costs = LadderCosts(self.tables)
        self.memory = PooledMemory.of(self.tables)
        self.positions = max(setting.counts)
        self.optional = self.positions - min(setting.counts)
        self.most_time = self._most_time()

    def _most_time(self) -> int:
        """The longest chunk time of any plan faster than the target: its N - 1 further slots have to fit."""
        tables, counts = self.tables, self.setting.counts
        total = LeastTotal.of(tables, self.limits, counts, 0, 0)
        work = min(total.at(self.limits.least_boundaries(count)) for count in counts)
        left = self.target - 1 - work
        return left // self.costs.ascent if self.costs.ascent else left

    @cached_property
    def times(self) -> IntArray:
        """Times of all chunks that are short enough."""
        times: IntArray = self.costs.times[self.costs.times <= self.most_time]
        return times

    @cached_property
    def parts(self) -> int:
        """Parts of a tick with which all sums stay below 2^58."""
        most = (int(self.times.max(initial=1)) + int(self.costs.message.max())) * (self.tables.stages + 1)
        return 1 << max(0, 57 - max(most * self.positions, self.target, 1).bit_length())

    @cached_property
    def most_price(self) -> int:
        """Price of memory with which all sums stay below 2^59."""
        need = int(self._units.sum()) * int(self.tables.pages[-1])
        return int(2**59 // max(1, need, self._room(1) or 1))

    @cached_property
    def _units(self) -> IntArray:
        units: IntArray = self.tables.page_bytes // self.memory.unit
        return units

    def _room(self, short: int) -> int | None:
        """Units of KV that all memories hold in the slot of `need`, at most; None if one has no room at all.

        Parameters
        ----------
        short : int, grid steps
            The longest chunk has as many, or more.
        """
        # The fewer chunks, the fewer stages hold a prefix in that slot.
        fewest = min(self.setting.counts)
        room = self.memory.room(fewest, int(self.tables.lengths[1, short]))
        return None if room is None else int(room[fewest - 1]) // self.memory.unit

    def _prices(self, short: int, long: int, price: int, room: int) -> LadderPrices:
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
        lengths = slice(short, long + 1)
        allowed = self.tables.length_allowed[:, lengths]
        longest = int(self.costs.message[:, lengths][allowed].min()) if allowed.any() else 0
        further = max(0, self.tables.stages - 2) * longest * self.parts
        return LadderPrices(self.parts, per_page, further - price * room)

    def _need(self, boundaries: IntArray) -> int:
        """Units of KV alive in the slot in which the last chunk starts."""
        stages = min(self.tables.stages, self.positions)
        last = boundaries[self.positions - np.arange(stages)]
        return int(self._units[:stages] @ self.tables.pages[last])

    def _nodes(self, long: int) -> Mask:
        """Boundaries that limits on lengths and counts allow, bool[position + 1, G + 1]."""
        steps, positions = self.tables.steps, self.positions
        kept = np.zeros((positions + 1, steps + 1), dtype=np.bool_)
        limits = self.limits.at_most(long)
        for count in self.setting.counts:
            windows = limits.windows(count)
            if windows is not None:
                for j, (low, high) in enumerate(zip(*windows, strict=True)):
                    kept[positions - count + j, low : high + 1] = True
                kept[: positions - count + 1, 0] = True
        return kept

    def _priced(
        self, program: IntervalLadder | ArcLadder, short: int, long: int, price: int
    ) -> tuple[int, int, list[IntArray], LadderPrices] | None:
        """The best price of memory for a program, near a first guess.

        The value is concave in the price: tangents from both sides of its top meet above it.

        Returns
        -------
        ticks, price, layers, prices
            None if some memory has no room.
        """
        room = self._room(short)
        if room is None:
            return None
        best: tuple[int, int, list[IntArray], LadderPrices] | None = None
        sides: dict[bool, tuple[int, int, int]] = {}
        guess = price
        for _ in range(MOST_PRICES):
            stop_if(self.asked_to_stop)
            prices = self._prices(short, long, guess, room)
            layers = program.forward(prices)
            cost = int(layers[-1][0].min())
            ticks = min(prices.ticks(cost), self.target)
            if best is None or ticks > best[0]:
                best = (ticks, guess, layers, prices)
            if ticks >= self.target:
                break
            slope = self._need(program.boundaries(layers, prices)) - room
            if slope == 0 or (slope < 0 and guess == 0):
                break
            sides[slope > 0] = (guess, cost + prices.offset, slope)
            guess = self._next_price(sides, room)
            if guess < 0 or any(guess == known[0] for known in sides.values()):
                break
            if len(sides) == 2:
                at, value, gain = sides[True]
                if (value + gain * (guess - at)) // self.parts <= best[0] + self.target // 20_000:
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

    def _open(self, short: int, long: int, price: int, known: int) -> _Open | None:
        """A region with the bound of its program over intervals; None if it has no plan below the target."""
        nodes = self._nodes(long)
        if not nodes.any(axis=1).all() or known >= self.target:
            return None
        ticks = known
        for number in LEVELS:
            levels = thinned(self.times, number)
            program = IntervalLadder(self.costs, levels, long, self.most_time, nodes, self.optional)
            found = self._priced(program, short, long, price)
            if found is None or found[0] >= self.target:
                return None
            ticks, price, layers, prices = max(ticks, found[0]), *found[1:]
            nodes = program.pruned(layers, prices, self.target)
            if not nodes.any(axis=1).all():
                return None
        settled = short == long or self._room(long) == self._room(short)
        if not settled and price == 0:
            chosen = program.boundaries(layers, prices)
            own = self._room(min(max(int(np.diff(chosen).max()), short), long))
            settled = own is not None and self._need(chosen) <= own
        return _Open(ticks, short, long, price, settled, nodes)

    def _regions(self) -> list[_Open]:
        """Regions that may hold plans faster than the target."""
        least = min(self.limits.shortest_longest(count) for count in self.setting.counts)
        start, end = np.nonzero(self.costs.times <= self.most_time)
        most = int((end - start).max(initial=0))
        if least > most:
            return []
        whole = self._open(least, most, 0, 0)
        heap = [] if whole is None else [whole]
        done: list[_Open] = []
        while heap:
            region = heap[0]
            if region.settled:
                done.append(heapq.heappop(heap))
                continue
            middle = (region.short + region.long) // 2
            try:
                halves = [
                    self._open(short, long, region.price, region.ticks)
                    for short, long in ((region.short, middle), (middle + 1, region.long))
                ]
            except StoppedError:
                break
            heapq.heappop(heap)
            for half in halves:
                if half is not None:
                    heapq.heappush(heap, half)
        return [*done, *heap]

    def _refined(self, region: _Open) -> LadderRegion | None:
        """Delete chunks one by one with ever finer levels; None if none are left."""
        arcs = self._arcs(region)
        ticks, price, size = region.ticks, region.price, -1
        try:
            for _ in range(MOST_ROUNDS):
                if arcs.empty or arcs.size == size:
                    break
                times = np.concatenate([self.costs.times[a[b > 0], b[b > 0]] for a, b in self._pairs(arcs)])
                levels = thinned(times, max(LEVELS[0], min(FINEST, MOST_CELLS // arcs.size)))
                exact = levels.size > np.unique(times).size
                program = ArcLadder(self.costs, levels, arcs)
                found = self._priced(program, region.short, region.long, price)
                if found is None or found[0] >= self.target:
                    return None
                ticks, price = max(ticks, found[0]), found[1]
                size = arcs.size if exact else -1
                arcs = program.pruned(found[2], found[3], self.target)
        except StoppedError:
            pass
        left = LadderRegion(region.short, region.long, ticks, arcs)
        return None if arcs.empty else self._listed(left)

    def _listed(self, region: LadderRegion) -> LadderRegion | None:
        """A region with its partitions priced one by one, where they are few; None if none is left."""
        found = region.arcs.partitions(MOST_LISTED)
        if found is None:
            return region
        kept: dict[tuple[int, ...], int] = {}
        for path in found:
            boundaries = path[np.flatnonzero(path == 0)[-1] :]
            longest = int(np.diff(self.tables.grid[boundaries]).max())
            if region.short <= int(np.diff(path).max()) <= region.long and self.memory.fits(
                boundaries, longest
            ):
                latency = lockstep_at_home(self.tables, boundaries)
                if latency < self.target:
                    kept[tuple(path.tolist())] = latency
        if not kept:
            return None
        layers = np.array(list(kept), dtype=np.int64).T
        arcs = ArcSet.of(self.tables.steps, list(pairwise(layers)))
        return replace(region, ticks=max(region.ticks, min(kept.values())), arcs=arcs)

    @staticmethod
    def _pairs(arcs: ArcSet) -> list[tuple[IntArray, IntArray]]:
        """Starts and ends by position."""
        return list(zip(arcs.starts, arcs.ends, strict=True))

    def _arcs(self, region: _Open) -> ArcSet:
        """Chunks between the boundaries that are left of a region."""
        pairs = []
        for j in range(self.positions):
            a, b = np.flatnonzero(region.nodes[j]), np.flatnonzero(region.nodes[j + 1])
            start, end = (each.ravel() for each in np.meshgrid(a, b, indexing="ij"))
            chunk = (self.costs.times[start, end] <= self.most_time) & (end - start <= region.long)
            chunk |= (start == 0) & (end == 0) & (j < self.optional)
            pairs.append((start[chunk], end[chunk]))
        return ArcSet.of(self.tables.steps, pairs)

    def run(self) -> tuple[LadderRegion, ...]:
        """Regions that may hold plans faster than the target, with the chunks of these plans."""
        found = (self._refined(region) for region in self._regions())
        return tuple(region for region in found if region is not None)

    @property
    def all_arcs(self) -> int:
        """Chunks that limits on lengths and counts allow, by position."""
        nodes = self._nodes(self.tables.steps)
        possible = (self.costs.times < NEVER).astype(np.int64)
        return sum(int(nodes[j].astype(np.int64) @ possible @ nodes[j + 1]) for j in range(self.positions))


def lockstep_at_home(tables: Tables, boundaries: IntArray) -> int:
    """Lockstep latency with all KV at home, which no other homes beat; memory is not looked at.

    Parameters
    ----------
    tables : Tables
    boundaries : int64[chunks + 1]
        Grid indices of the non-empty chunks.
    """
    chunks = boundaries.size - 1
    nothing = np.zeros((tables.stages, chunks, tables.stages), dtype=np.int64)
    return int(sum(part.sum() for part in slot_times(tables, boundaries, nothing)))
