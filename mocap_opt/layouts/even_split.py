"""No split of the layers makes the longest path shorter than a recursion over chunks and stages says.

Statement and proof: ``formulations/layouts.md``, *Any list of layers*.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.partitions import NEVER
from mocap_opt.layouts.layer_times import Kind, LayerTimes
from mocap_opt.layouts.space import LayoutBox

#: Stages x chunks x ends x lengths beyond which only the closed form is used.
MOST_WORK = 2**27

#: Parts of the time of all chunks: products of two stay below 2^62.
PARTS = 2**30


@dataclass(eq=False)
class EvenSplit:
    """Least longest paths over all ways to split layers, by degree, stages and count.

    Attributes
    ----------
    times : LayerTimes
    """

    times: LayerTimes
    _known: dict[tuple[Kind, tuple[int, ...], int, bool], dict[int, Fraction]] = field(default_factory=dict)

    def least(self, box: LayoutBox, *, ordered: bool, longest: int) -> Fraction | None:
        """Bound any execution on all layouts of a box, memory left out; seconds, None if there is no plan.

        Parameters
        ----------
        box : LayoutBox
        ordered : bool
            Whether the stages stand in this order of degrees.
        longest : int
            The most grid steps of any chunk; with 0 the closed form for chunks of any length will do.
        """
        kind = min_kind(box)
        layers, alike = Fraction(box.layers), isinstance(kind, int)
        if longest:
            speeds = (1,) * box.stages if alike else box.degrees
            speeds = speeds if ordered else tuple(sorted(speeds))
            each = self._by_count(kind, speeds, longest, ordered or alike)
        else:
            layers = least_layer_time(box)
            each = self._by_count(kind, (1,) * box.stages, 0, True)
        cells = {count: box.stages + count - 1 for count in each}
        found = [layers * each[m] + cells[m] * self.times.overhead for m in each]
        return max(Fraction(0), min(found) * self.times.unit) if found else None

    def _by_count(
        self, kind: Kind, speeds: tuple[int, ...], longest: int, ordered: bool
    ) -> dict[int, Fraction]:
        """Units that one layer takes at least, however it is split among stages, by the count of chunks."""
        if (kind, speeds, longest, ordered) not in self._known:
            counts, tables, stages = self.times.setting.counts, self.times.tables, len(speeds)
            times, groups = self.times[kind], _groups(speeds, ordered)
            if not counts:
                found: dict[int, Fraction] = {}
            elif longest and len(groups) * counts[-1] * tables.steps * longest <= MOST_WORK:
                end, start = np.arange(tables.steps + 1)[:, None], np.arange(tables.steps)[None, :]
                allowed = tables.length_allowed[(end == tables.steps) * 1, np.maximum(end - start, 0)]
                chunk = np.where(allowed, times.chunk, NEVER)
                found = _recursion(chunk, times.fixed, groups, counts, longest)
            else:
                whole = int(times.steady[-1])
                even = {m: Fraction(stages + m - 1, stages * m * max(speeds)) for m in counts}
                found = {m: even[m] * (whole + m * times.fixed) for m in counts}
            self._known[kind, speeds, longest, ordered] = found
        return self._known[kind, speeds, longest, ordered]


def min_kind(box: LayoutBox) -> Kind:
    """The kind of layer times by which a box is bounded: its degree, or all of them."""
    return box.degrees[0] if len(set(box.degrees)) == 1 else frozenset(box.degrees)


def least_layer_time(box: LayoutBox) -> Fraction:
    """Least sum over the lists of a box of layers, or of layers / degree where degrees are unlike."""
    if len(set(box.degrees)) == 1:
        return Fraction(box.layers)
    total = sum((Fraction(n, d) for n, d in zip(box.low, box.degrees, strict=True)), Fraction(0))
    left = box.layers - sum(box.low)
    for i in sorted(range(box.stages), key=lambda i: -box.degrees[i]):
        more = min(left, box.high[i] - box.low[i])
        total, left = total + Fraction(more, box.degrees[i]), left - more
    return total


Group = tuple[tuple[int | None, int], ...]
"""Ways to make up some first stages: those without the last one, by number, and the last one's speed."""


def _groups(speeds: tuple[int, ...], ordered: bool) -> list[Group]:
    """Groups of first stages, each after those it is made from; the last one has all stages.

    Parameters
    ----------
    speeds : tuple of int
        Of each stage, at most two different ones unless they are ordered.
    ordered : bool
        Whether they stand in this order, or in any.
    """
    if ordered:
        return [((n - 1 if n else None, speed),) for n, speed in enumerate(speeds)]
    few, many = min(speeds), max(speeds)
    number: dict[tuple[int, int], int | None] = {(0, 0): None}
    groups: list[Group] = []
    for a, b in sorted(np.ndindex(speeds.count(few) + 1, speeds.count(many) + 1), key=sum):
        if a + b:
            without = ((a - 1, b, few), (a, b - 1, many))
            groups.append(tuple((number[i, j], speed) for i, j, speed in without if min(i, j) >= 0))
            number[a, b] = len(groups) - 1
    return groups


def _recursion(
    chunk: IntArray, fixed: int, groups: list[Group], counts: list[int], longest: int
) -> dict[int, Fraction]:
    """(5) of the page, every step rounded down.

    Parameters
    ----------
    chunk : int64[end, start], units
        `NEVER` where there is no chunk.
    fixed : int, units
        What every chunk takes beside.
    groups : list of Group
        See `_groups`.
    counts : list of int
        Of chunks.
    longest : int
        The most grid steps of any chunk.
    """
    points = chunk.shape[0]
    end = np.arange(points)[:, None]
    start = end - longest + np.arange(longest)[None, :]
    window = np.where(start >= 0, chunk[end, np.maximum(start, 0)], NEVER)
    possible = window < NEVER
    scale = max(1, -(-(int(window[possible].max(initial=0)) + fixed) * counts[-1] // PARTS))
    times = np.where(possible, (window + fixed) // scale, 0)
    # The first ones stand before the prompt, so that every end has as many starts.
    least = np.full((len(groups), longest + points), NEVER, dtype=np.int64)
    least[:, longest] = 0
    starts = np.lib.stride_tricks.sliding_window_view(least, longest, axis=1)[:, :points]
    found: dict[int, Fraction] = {}
    for m in range(1, counts[-1] + 1):
        reached = possible & (starts[0] < NEVER)
        made: list[IntArray] = []
        for n, ways in enumerate(groups):
            before = np.where(reached, starts[n], 0)
            here = np.full_like(times, NEVER)
            for other, speed in ways:
                if other is None:
                    np.minimum(here, before + times // speed, out=here)
                    continue
                without = made[other]
                meets = before + (times + (-times * before) // np.maximum(without, 1)) // speed
                # Where the last stage takes less for a chunk than all others, it gets nothing at best.
                nothing = np.maximum(before, without)
                np.minimum(here, np.where(times <= speed * without, meets, nothing), out=here)
            made.append(here)
        for n, here in enumerate(made):
            least[n, longest:] = np.where(reached, here, NEVER).min(axis=1)
        if m in counts and least[-1, -1] < NEVER:
            found[m] = Fraction(int(least[-1, -1]) * scale)
    return found
