"""What no plan beats, however fine the grid and however many the chunks.

Statement and proof: ``formulations/bounds.md``, `refinement`.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import floor, isqrt

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.crossing import promising_pairs
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.refinement_costs import (
    StageTerms,
    chunk_functions,
    least_by_count,
    least_phi,
    rounding,
)
from mocap_opt.instance import Instance
from mocap_opt.instance.layer_profile import unprofiled
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.layout import layout
from mocap_opt.tables.stage_costs import kv_bytes_per_token

MOST_PAIRS = 2
"""Pairs of end stages tried."""

MOST_CHUNKS = 2**14
"""Chunks cut off from one partition at most; what is left counts as nothing."""

ALL_CHUNKS = 2**15
"""Chunks cut off for a pair of stages in all, at 3 us each."""

PRECISE = 2**13
"""The search ends once its least region is within one part in so many of the best value seen."""


@dataclass(frozen=True)
class Refinement:
    """What is known about lifting the grid and the cap on chunks.

    Attributes
    ----------
    bound : Bound or None
        No plan on any finer grid, of any count, is faster.
    reason : str or None
        Why there is no such bound.
    """

    bound: Bound | None = None
    reason: str | None = None


def refinement(instance: Instance | None, tables: Tables, *, same_grid: bool = False) -> Refinement:
    """Bound any execution of any count of chunks on every finer grid.

    The finest grid is one of the pages that the instance gives, or of tokens where pages follow the grid.

    Parameters
    ----------
    instance : Instance or None
        None if only its tables are known.
    tables : Tables
        Of `instance`.
    same_grid : bool
        Lift the cap on chunks alone.
    """
    if instance is None:
        return Refinement(reason="tables hold no times between the points of their grid")
    if instance.pipeline.free:
        return Refinement(reason="the layout is left open")
    if instance.chunking.exact:
        return Refinement(reason="an exact number of chunks is asked for")
    if instance.costs.kind == "measured":
        return Refinement(reason="times are known only where they were measured")
    if instance.costs.kind == "roofline" and (instance.costs.prefetch_per_die or instance.costs.tile_tokens):
        return Refinement(reason="reading ahead and tiles bend the times")
    if tables.rider_bytes is not None:
        return Refinement(reason="tokens are decoded with every chunk")
    if not unprofiled(instance.model):
        return Refinement(reason="windows and shares of layers bend the times")
    step = instance.chunking.quantum if same_grid else instance.chunking.page or 1
    terms, memory = StageTerms.of(instance, tables), _Memory.of(instance, tables)
    found = []
    for s, e in promising_pairs(Setting(tables))[:MOST_PAIRS]:
        search = _PairSearch(tables, terms, memory, s, e, step)
        ticks = search.run()
        if ticks is None:
            return Refinement(reason="the memories are too small on every grid")
        note = f"stages {s}..{e}" + (", search cut short" if search.chunks > ALL_CHUNKS else "")
        found.append(Bound("refinement", max(ticks, 0), Scope.ANY_EXECUTION, Evidence.SEARCH, note))
    return Refinement(max(found, key=lambda each: each.ticks))


@dataclass(frozen=True)
class _Memory:
    """Pooled rows with pages of no size: KV is charged by the token.

    Attributes
    ----------
    token_bytes : int64[stage]
        KV of a token position, rounded down.
    prefix_bytes : int64[stage]
        KV of the cached prefix, rounded down likewise.
    """

    tables: Tables
    token_bytes: IntArray
    prefix_bytes: IntArray

    @classmethod
    def of(cls, instance: Instance, tables: Tables) -> _Memory:
        """Take the rows of an instance.

        Parameters
        ----------
        instance : Instance
        tables : Tables
            Of `instance`.
        """
        laid_out = layout(instance)
        each = [floor(kv_bytes_per_token(instance, laid_out, i)) for i in range(tables.stages)]
        token_bytes = np.array(each, dtype=np.int64)
        return cls(tables, token_bytes, token_bytes * tables.prefix)

    def fits(self, boundaries: list[int], longest: int) -> bool:
        """Whether boundaries, counted from the end, fit with a longest chunk of that many tokens.

        Parameters
        ----------
        boundaries : list of int
            S first.
        longest : int
            Tokens.
        """
        free, stages = self.tables.free_memory(self.tables.reserve(longest)), self.tables.stages
        if (free[:stages] < self.prefix_bytes).any():
            return False
        chunks = len(boundaries) - 1
        last = np.zeros(stages, dtype=np.int64)
        last[: min(chunks, stages)] = boundaries[: min(chunks, stages)]
        # Slot m - 1 + r: stages from r on are at work, stage i with everything up to boundary m - i + r.
        need = np.correlate(self.token_bytes, last, "full")[stages - 1 :]
        held = np.correlate(self.prefix_bytes, (np.arange(stages) < chunks).astype(np.int64), "full")
        return bool((need + held[stages - 1 :] <= int(free.sum())).all())


@dataclass(order=True, frozen=True)
class _Region:
    """Plans whose greatest crossing and longest chunk lie in intervals; none is faster than `value`."""

    value: int
    low: int
    high: int
    short: int
    long: int
    fits: bool = field(compare=False)


class _PairSearch:
    """Best-first search over the greatest crossing and the longest chunk, for one pair of end stages."""

    def __init__(
        self, tables: Tables, terms: list[StageTerms], memory: _Memory, s: int, e: int, step: int
    ) -> None:
        self.tables, self.memory, self.step = tables, memory, step
        self.tokens = tables.tokens
        self.shortest = min(max(tables.min_length, step), self.tokens)
        inside, senders = terms[s : e + 1], terms[s:e]
        left_out = {each: [*inside[:n], *inside[n + 1 :]] for n, each in ((0, terms[s]), (e - s, terms[e]))}
        self.crossing = [f for rest in left_out.values() for f in chunk_functions(rest, senders)]
        self.ends = _EndStages(terms[s], terms[e], self.tokens)
        self.most = self.tokens // self.shortest + 1
        self.apart = max(f.at(0, self.shortest) for f in chunk_functions(terms[:s], terms[:s]))
        latest, earliest = self.tokens - tables.min_length, max(self.tokens - tables.max_length, 0)
        leaving = chunk_functions(terms[e + 1 :], terms[e:-1])
        self.apart += max(min(f.at(a, self.tokens) for a in (earliest, latest)) for f in leaving)
        # The last chunk has its least length too, where attention is dearest.
        self.least = max(min(f.at(a, self.tokens) for a in (earliest, latest)) for f in self.crossing)
        self.chunks = 0
        self.best: int | None = None
        self.heap: list[_Region] = []

    def run(self) -> int | None:
        """Search until the least region is about as good as the best value seen; None if nothing fits."""
        longest = self.tables.max_length
        last = max(f.at(0, self.tokens) for f in self.crossing) + 1
        self._open(self.least, max(last, 1), -(-self.tokens // self.most), longest, unbounded=True)
        while self.heap:
            region = self.heap[0]
            if self.chunks > ALL_CHUNKS or self._settled(region):
                return region.value if self.best is None else min(region.value, self.best)
            heapq.heappop(self.heap)
            self._split(region)
        return self.best

    def _settled(self, region: _Region) -> bool:
        return (region.low >= region.high and (region.fits or region.short >= region.long)) or (
            self.best is not None and region.value >= self.best - self.best // PRECISE
        )

    def _split(self, region: _Region) -> None:
        """Replace a region by two that cover it."""
        low, high, short, long = max(region.low, 1), region.high, region.short, region.long
        depth = self.tables.queue_depth
        # Longer chunks keep no more memory than this one.
        same = short if depth is None else min(long, -(-self.tokens // (2 * depth)))
        if region.low >= high or (not region.fits and high >= low and same * low > high * short):
            middle = min(max(isqrt(short * same), short), long - 1)
            self._open(region.low, high, short, middle)
            self._open(region.low, high, middle + 1, long)
            return
        # What rounding may take off can leave less than nothing of a crossing of few ticks.
        middle = min(isqrt(low * high), high - 1) if high >= low else (region.low + high) // 2
        self._open(middle + 1, high, short, long)
        self._open(region.low, middle, short, long)

    def _open(self, low: int, high: int, short: int, long: int, *, unbounded: bool = False) -> None:
        """Add a region unless it is empty or no better than what was seen."""
        low = max(low, *(f.at(0, short) for f in self.crossing))
        if low > high or short > long:
            return
        boundaries = self._partition(high, long, self._worth(low), unbounded)
        if boundaries is None or len(boundaries) - 1 > self.most or not self.memory.fits(boundaries, short):
            return
        own = max((b - a for b, a in pairwise(boundaries)), default=0)
        fits = self.memory.fits(boundaries, max(own, short))
        base = self.ends.least(boundaries, self.most) + self.apart
        if fits and (self.best is None or base + high < self.best):
            self.best = base + high
        if self.best is None or base + low < self.best:
            heapq.heappush(self.heap, _Region(base + low, low, high, short, long, fits))

    def _worth(self, low: int) -> int:
        """Chunks beyond which no region of so great a crossing is better than what was seen."""
        if self.best is None or self.ends.each <= 0:
            return MOST_CHUNKS
        rest = self.best - low - self.apart - self.ends.compute - self.ends.by_length
        return min(max(floor(rest / self.ends.each) + 2, 1), MOST_CHUNKS)

    def _partition(self, limit: int, longest: int, most: int, unbounded: bool) -> list[int] | None:
        """Least boundaries, counted from the end, of chunks within limits; None if 0 is out of reach."""
        boundaries, end = [self.tokens], self.tokens
        while end > 0 and len(boundaries) <= most:
            start = first = max(end - longest, 0)
            for each in () if unbounded else self.crossing:
                found = each.least_start(end, limit, first)
                if found is None:
                    return None
                start = max(start, found)
            start += -start % self.step
            if start >= end:
                return None
            boundaries.append(start)
            end = start
        self.chunks += len(boundaries)
        return boundaries


class _EndStages:
    """Least work of the end stages on all chunks, the first ones on one stage and the others on the other."""

    def __init__(self, first: StageTerms, last: StageTerms, tokens: int) -> None:
        def _least(name: str, n: int) -> Fraction:
            found: Fraction = min(getattr(first, name)[n], getattr(last, name)[n])
            return found

        square = _least("block", 1)
        lost = max(rounding(each.prefix) + rounding(each.length) for each in (first, last))
        self.each = _least("length", 0) + _least("prefix", 0) - lost
        self.by_length = _least("length", 1) * tokens
        self.by_start, self.read, self.read_by_end = (
            _least("prefix", 1),
            _least("memory", 0),
            _least("memory", 1),
        )
        self.compute = least_phi(first, last, tokens) - square * tokens
        self.block = square * tokens**2
        self.block_lost = max(rounding(first.block), rounding(last.block))

    def least(self, boundaries: list[int], most: int) -> int:
        """Ticks at least with no boundary below these, counted from the end.

        Parameters
        ----------
        boundaries : list of int
            S first.
        most : int
            Chunks.
        """
        fewest = len(boundaries) - 1
        computing = least_by_count(self.each - self.block_lost, self.block, fewest, most)
        reading = least_by_count(self.each + self.read, Fraction(0), fewest, most)
        reading += self.read_by_end * sum(boundaries[:-1])
        shared = self.by_length + self.by_start * sum(boundaries[1:])
        return floor(shared + max(self.compute + computing, reading))
