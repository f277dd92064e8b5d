"""A lower bound on the latency of every layout of a box, memories pooled.

Statement and proof: ``formulations/layouts.md``, *Through-times* and *Pooled memory over lists*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.crossing_search import Crossing, RegionSearch, longest_choice
from mocap_opt.flow_shop.partitions import NEVER
from mocap_opt.layouts.even_split import EvenSplit, least_layer_time, min_kind
from mocap_opt.layouts.layer_times import Kind, LayerTimes
from mocap_opt.layouts.space import LayoutBox
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.wafer.pools import pool_bytes

#: Stages at either end that averages leave out, at most.
MOST_LEFT_OUT = 3

Coefficients = Counter[Kind]
"""Layers by degree, in whole parts of a mixture; of several degrees, layers times their degrees."""


@dataclass(frozen=True)
class Mixture:
    """Pairs of stages, in whole parts: a path stays on one until some chunk, crosses, stays on the other.

    Attributes
    ----------
    parts : tuple of (int, int, int)
        Weight, first stage, second stage.
    averaged : tuple of int
        Stages over which the first, the second or both ends are spread by their degrees; empty if none is.
    first, second : bool
        Which ends are spread.
    """

    parts: tuple[tuple[int, int, int], ...]
    averaged: tuple[int, ...] = ()
    first: bool = False
    second: bool = False


@dataclass(frozen=True, eq=False)
class ThroughTime:
    """What a mixture of paths takes at least: layers before, in and after the chunk that crosses.

    Attributes
    ----------
    before, across, after : Counter
        Layers by degree.
    whole : int
        Parts of the mixture.
    heads : Counter
        Layers by degree that the first chunk crosses.
    tails : Counter
        The same of the last one.
    either : Counter
        Layers that the first or the last chunk crosses.
    """

    before: Coefficients
    across: Coefficients
    after: Coefficients
    whole: int
    heads: Coefficients
    tails: Coefficients
    either: Coefficients


def mixtures(box: LayoutBox) -> Iterator[Mixture]:
    """Mixtures worth trying: pairs of ends and of the stage with the most time, averages over stages.

    Parameters
    ----------
    box : LayoutBox
    """
    time = [Fraction(low, degree) for low, degree in zip(box.low, box.degrees, strict=True)]
    end = box.stages - 1
    slower_than_before = [i for i in range(box.stages) if all(time[i] > time[k] for k in range(i))]
    slower_than_after = [
        i for i in range(box.stages) if all(time[i] > time[k] for k in range(i + 1, end + 1))
    ]
    for s, e in product(slower_than_before, slower_than_after):
        if s <= e:
            yield Mixture(((1, s, e),))
    for first, last in product(range(MOST_LEFT_OUT + 1), repeat=2):
        spread = tuple(range(first, box.stages - last))
        if len(spread) < 2:
            continue
        yield Mixture(tuple((box.degrees[i], i, i) for i in spread), spread, first=True, second=True)
        for s in slower_than_before:
            if s < first:
                yield Mixture(tuple((box.degrees[i], s, i) for i in spread), spread, second=True)
        for e in slower_than_after:
            if e > spread[-1]:
                yield Mixture(tuple((box.degrees[i], i, e) for i in spread), spread, first=True)


def through_time(box: LayoutBox, mixture: Mixture) -> ThroughTime:
    """Count the layers that every list of a box gives a mixture at least.

    Parameters
    ----------
    box : LayoutBox
    mixture : Mixture
    """
    d, low = box.degrees, box.low
    before, across, after, heads, tails, either = (Coefficients() for _ in range(6))
    for weight, s, e in mixture.parts:
        before[d[s]] += weight * low[s]
        after[d[e]] += weight * low[e]
        for i in range(box.stages):
            (heads if i < s else tails if i > e else across)[d[i]] += weight * low[i]
    whole = sum(weight for weight, _, _ in mixture.parts)
    inside = set(mixture.averaged) or set(range(mixture.parts[0][1], mixture.parts[0][2] + 1))
    outside = set(range(box.stages)) - inside
    more = box.layers - sum(box.high[i] for i in outside) - sum(low[i] for i in inside)
    inner: Kind = d[min(inside)] if len({d[i] for i in inside}) == 1 else frozenset(d[i] for i in inside)
    if more > 0 and mixture.averaged:
        # A layer more on stage i counts d_i times in the mixture.
        more *= inner if isinstance(inner, int) else 1
        across[inner] += more
        before[inner] += more * mixture.first
        after[inner] += more * mixture.second
    elif more > 0 and isinstance(inner, int):
        across[inner] += more
    more = box.layers - sum(box.high[i] for i in inside) - sum(low[i] for i in outside)
    if more > 0 and not mixture.averaged and len({d[i] for i in outside}) == 1:
        either[d[min(outside)]] += more
    return ThroughTime(before, across, after, whole, heads, tails, either)


def in_any_order(box: LayoutBox) -> ThroughTime:
    """The average over all stages, whose other layers the first or the last chunk crosses.

    Parameters
    ----------
    box : LayoutBox
        With the same interval for all stages.
    """
    whole, spread = sum(box.degrees), tuple(range(box.stages))
    parts = tuple((degree, i, i) for i, degree in enumerate(box.degrees))
    found = through_time(box, Mixture(parts, spread, first=True, second=True))
    either = Coefficients()
    for degree in box.degrees:
        either[degree] += (whole - degree) * box.low[0]
    return replace(found, heads=Coefficients(), tails=Coefficients(), either=either)


@dataclass(frozen=True, eq=False)
class PooledLayers:
    """The pooled memory row of the last chunk's slot on the first stage, least over all lists of a box.

    Attributes
    ----------
    times : LayerTimes
    latest : tuple of int
        Layers of each stage, as late as the box allows.
    page : int
        Bytes of a page of KV of a layer, at least.
    free : int
        Bytes of all memories without weights and staging, at most.
    working : int
        Bytes of activations per token of the queues of all stages.
    """

    times: LayerTimes
    latest: tuple[int, ...]
    page: int
    free: int
    working: int

    @classmethod
    def of(cls, box: LayoutBox, times: LayerTimes, dies: int) -> PooledLayers:
        """Take the row of a box.

        Parameters
        ----------
        box : LayoutBox
        times : LayerTimes
        dies : int
            With memory that may be used, at most.
        """
        die, staging = times.instance.wafer.die, times.instance.pipeline.staging_per_die
        page = int(min(times[d].kv_page for d in set(box.degrees)))
        # Of the dies only those that compute surely need staging.
        free = dies * int(die.memory_bytes) - times.weight_bytes - sum(box.degrees) * int(staging)
        free += pool_bytes(times.instance.wafer.pools)
        return cls(times, box.latest(), page, free, sum(times[d].working for d in box.degrees))

    def fits(self, boundaries: IntArray, longest: int) -> bool:
        """Whether some list's row may hold at these boundaries.

        Parameters
        ----------
        boundaries : int64[chunks + 1]
            Grid indices.
        longest : int
            Tokens of the longest chunk.
        """
        tables = self.times.tables
        prefix = -(-tables.prefix // tables.page)
        held = self.free - tables.held_tokens(longest) * self.working
        pages = tables.pages[boundaries[:0:-1]].tolist()
        need = sum(layers * (page + prefix) for layers, page in zip(self.latest, pages, strict=False))
        return bool(need * self.page <= held)

    def longest(self) -> int:
        """The most grid steps a chunk can have; 0 if nothing fits.

        Every boundary is at least what chunks of so many steps leave, and some chunk is as long.  The fewer
        chunks, the fewer stages have any KV in the slot, and the lower is what short chunks leave.
        """
        tables, limits = self.times.tables, self.times.setting.limits
        for steps in range(tables.steps, 0, -1):
            within = limits.at_most(steps)
            fewest = next((m for m in self.times.setting.counts if within.possible(m)), None)
            if fewest is not None:
                boundaries = limits.least_boundaries(fewest, steps)
                if self.fits(boundaries, int(tables.lengths[1, steps])):
                    return steps
        return 0


@dataclass(eq=False, kw_only=True)
class BoxSearch(RegionSearch):
    """The search over counts, greatest through-times and longest chunks.

    Attributes
    ----------
    each : int, units
        What every chunk but the one that crosses adds at least.
    """

    each: int

    def base(self, boundaries: IntArray) -> int:
        """What the other chunks take beside their steady time."""
        return (boundaries.size - 2) * self.each

    def least_crossing(self, chunks: int) -> int:
        """Nothing is known before the first walk."""
        return 0


@dataclass(eq=False)
class LayoutBounds:
    """Bounds on the latency of all layouts of a box.

    Attributes
    ----------
    times : LayerTimes
    """

    times: LayerTimes

    def __post_init__(self) -> None:
        """Keep what does not depend on the box."""
        self.even_split = EvenSplit(self.times)

    def latency(
        self,
        box: LayoutBox,
        dies: int,
        asked_to_stop: AskedToStop = never,
        *,
        ordered: bool = True,
        enough: Fraction | None = None,
    ) -> Fraction | None:
        """Bound any execution on all layouts of a box; seconds, None if no plan fits the pool.

        Parameters
        ----------
        box : LayoutBox
            Tightened.
        dies : int
            With memory that may be used, at most.
        asked_to_stop : callable
            The bound is valid whenever it ends.
        ordered : bool
            Whether the stages stand in this order; if not, the bound holds for every order of the degrees.
        enough : Fraction, optional
            A bound of so many seconds will do: plans that take as long or longer are left out.
        """
        times = self.times
        if not times.setting.counts:
            return None
        if not ordered:
            low, high = (min(box.low),) * box.stages, (max(box.high),) * box.stages
            box = replace(box, low=low, high=high)
        memory = PooledLayers.of(box, times, dies)
        if not (longest := memory.longest()):
            return None
        if enough is not None and not (longest := min(longest, self._faster(box, enough))):
            return enough
        known = self.even_split.least(box, ordered=ordered, longest=longest)
        if enough is not None and (known is None or known >= enough):
            return enough
        if known is None:
            return None
        found = [through_time(box, each) for each in mixtures(box)] if ordered else [in_any_order(box)]
        search = BoxSearch(
            setting=times.setting,
            crossing=_crossing(_greatest(found, times, box.stages)),
            longest_choice=longest_choice(times.tables),
            asked_to_stop=asked_to_stop,
            each=min(_fixed(each, times) for each in found) + times.overhead,
        )
        least = search.run(memory)
        return None if least is None else max(known, least.value * times.unit)

    def _faster(self, box: LayoutBox, enough: Fraction) -> int:
        """The most grid steps of any chunk of a plan that takes less: all layers have to process it."""
        chunk = self.times[min_kind(box)].chunk
        most = (enough / self.times.unit - box.stages * self.times.overhead) / least_layer_time(box)
        end, start = np.nonzero(chunk <= int(most))
        return int((end - start).max(initial=0))


def _fixed(through: ThroughTime, times: LayerTimes) -> int:
    """Fixed time of a chunk that does not cross, at least."""
    ends = (through.before, through.after)
    return min(sum(n * times[d].fixed for d, n in end.items()) for end in ends) // through.whole


def _greatest(found: Sequence[ThroughTime], times: LayerTimes, stages: int) -> IntArray:
    """Greatest through-time of every chunk, int64[end, start], units; `NEVER` where there is no chunk."""
    tables = times.tables
    greatest = np.full((tables.steps + 1, tables.steps), -NEVER, dtype=np.int64)
    for each in found:
        total = np.zeros_like(greatest)
        constant = 0
        for d in {*each.before, *each.across, *each.after}:
            steady = times[d].steady
            total += each.before[d] * steady[None, :-1] + each.after[d] * (steady[-1] - steady)[:, None]
            # Where there is no chunk its time would overflow.
            total += each.across[d] * np.where(times[d].chunk < NEVER, times[d].chunk, 0)
            constant += each.across[d] * times[d].fixed
        constant += sum(n * times[d].first for d, n in each.heads.items())
        constant += sum(n * times[d].last for d, n in each.tails.items())
        constant += sum(n * min(times[d].first, times[d].last) for d, n in each.either.items())
        np.maximum(greatest, (total + constant) // each.whole, out=greatest)
    b = np.arange(tables.steps + 1)[:, None]
    a = np.arange(tables.steps)[None, :]
    allowed = (a < b) & tables.length_allowed[(b == tables.steps) * 1, np.maximum(b - a, 0)]
    return np.where(allowed, greatest + stages * times.overhead, NEVER)


def _crossing(through: IntArray) -> Crossing:
    """Monotone minorants of through-times, as `Crossing` keeps them.

    Parameters
    ----------
    through : int64[G + 1, G]
    """
    around = np.minimum.accumulate(through, axis=1)
    around = np.minimum.accumulate(around[::-1], axis=0)[::-1]
    steps = through.shape[1]
    by_length = np.full(steps + 1, NEVER, dtype=np.int64)
    for length in range(1, steps + 1):
        by_length[length] = np.diagonal(through, -length).min()
    return Crossing(-around, np.minimum.accumulate(by_length[::-1])[::-1])
