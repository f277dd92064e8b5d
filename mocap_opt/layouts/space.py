"""Layouts to choose from: sets of them with one order of degrees and intervals of layers.

Statement: ``formulations/layouts.md``, *Boxes*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from math import factorial, prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mocap_opt.instance import Instance
    from mocap_opt.instance.pipeline import Pipeline


@dataclass(frozen=True)
class LayoutBox:
    """All layouts with given degrees of the stages, in order, and layers within intervals.

    Attributes
    ----------
    degrees : tuple of int
        Tensor-parallel degree of each stage.
    low, high : tuple of int
        Fewest and most layers of each stage.
    layers : int
        L, of all stages together.
    """

    degrees: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    layers: int

    @classmethod
    def of(cls, degrees: tuple[int, ...], layers: int) -> LayoutBox:
        """All lists of layers with one layer a stage or more.

        Parameters
        ----------
        degrees : tuple of int
        layers : int
        """
        stages = len(degrees)
        return cls(degrees, (1,) * stages, (layers - stages + 1,) * stages, layers)

    @property
    def stages(self) -> int:
        """N, the number of stages."""
        return len(self.degrees)

    @property
    def single(self) -> bool:
        """Whether it holds one list of layers only."""
        return self.low == self.high

    def tightened(self) -> LayoutBox | None:
        """The same lists in the least intervals; None if there is none."""
        fewest, most = sum(self.low), sum(self.high)
        if not fewest <= self.layers <= most or any(a > b for a, b in zip(self.low, self.high, strict=True)):
            return None
        pairs = list(zip(self.low, self.high, strict=True))
        low = tuple(max(a, self.layers - most + b) for a, b in pairs)
        high = tuple(min(b, self.layers - fewest + a) for a, b in pairs)
        return replace(self, low=low, high=high)

    def limited(self, stage: int, low: int, high: int) -> LayoutBox | None:
        """Those lists that give a stage so many layers; None if there is none.

        Parameters
        ----------
        stage, low, high : int
        """
        lows, highs = list(self.low), list(self.high)
        lows[stage], highs[stage] = max(low, lows[stage]), min(high, highs[stage])
        return replace(self, low=tuple(lows), high=tuple(highs)).tightened()

    def split(self) -> list[LayoutBox]:
        """Two boxes that cover this one, which holds more than one list.

        The interval of a stage near an end is halved first: bounds know the layers of all others together.
        """
        ends = [min(i, self.stages - 1 - i) for i in range(self.stages)]
        open_ones = [i for i in range(self.stages) if self.low[i] < self.high[i]]
        stage = min(open_ones, key=lambda i: (ends[i], i))
        at = (self.low[stage] + self.high[stage]) // 2
        parts = (self.limited(stage, 0, at), self.limited(stage, at + 1, self.layers))
        return [part for part in parts if part is not None]

    def balanced(self, *, last: bool) -> tuple[int, ...]:
        """A list of the box with even times: layers one by one where they take least, ties by place.

        Parameters
        ----------
        last : bool
            Whether of equal stages later ones get more, and not those in the middle.
        """
        counts, middle = list(self.low), (self.stages - 1) / 2

        def time(i: int) -> tuple[float, float]:
            return (counts[i] + 1) / self.degrees[i], -i if last else abs(i - middle)

        for _ in range(self.layers - sum(counts)):
            counts[min((i for i in range(self.stages) if counts[i] < self.high[i]), key=time)] += 1
        return tuple(counts)

    def latest(self) -> tuple[int, ...]:
        """The list with layers as late as the intervals allow."""
        counts, left = list(self.low), self.layers - sum(self.low)
        for i in reversed(range(self.stages)):
            more = min(left, self.high[i] - self.low[i])
            counts[i], left = counts[i] + more, left - more
        return tuple(counts)

    @property
    def size(self) -> int:
        """How many lists it holds."""
        ways = [1] + [0] * (self.layers - sum(self.low))
        for a, b in zip(self.low, self.high, strict=True):
            ways = [sum(ways[max(0, k - (b - a)) : k + 1]) for k in range(len(ways))]
        return ways[-1]


@dataclass(frozen=True)
class Shape:
    """Stages with their dies, their layers left open.

    Attributes
    ----------
    sizes : tuple of int
        Dies of each stage.
    degrees : tuple of int
        Tensor-parallel degree of each.
    ordered : bool
        Whether it stands for this order of the degrees only, or for all of them.
    """

    sizes: tuple[int, ...]
    degrees: tuple[int, ...]
    ordered: bool = True

    @property
    def stages(self) -> int:
        """N, the number of stages."""
        return len(self.sizes)

    @property
    def orders(self) -> int:
        """In how many orders its stages may stand."""
        return factorial(self.stages) // prod(factorial(n) for n in Counter(self.degrees).values())

    def in_every_order(self) -> Iterator[Shape]:
        """Yield it with its stages in every order; those of one degree are alike but for spare dies."""
        sizes = dict(zip(self.degrees, self.sizes, strict=True))
        few, many = sorted(set(self.degrees), key=self.degrees.count)
        for chosen in combinations(range(self.stages), self.degrees.count(few)):
            degrees = tuple(few if i in chosen else many for i in range(self.stages))
            yield Shape(tuple(sizes[d] for d in degrees), degrees)

    def __str__(self) -> str:
        """Say how many stages have how many dies."""
        counts = Counter(zip(self.sizes, self.degrees, strict=True))
        said = [
            f"{n} of {size} {'die' if size == 1 else 'dies'}" + ("" if size == d else f" at degree {d}")
            for (size, d), n in counts.items()
        ]
        return (
            f"{self.stages} stages, {', '.join(said)}"
            if len(said) > 1
            else said[0].replace(" of", " stages of")
        )


def shapes(instance: Instance) -> Iterator[Shape]:
    """Shapes that an instance leaves to choose from.

    Dies per stage that are open: all stages have one degree, or two degrees that follow each other among
    those allowed.  Where dies beyond the degree are memory, all dies are given out, as evenly as the degrees
    allow; otherwise each stage has as many as its degree.

    Parameters
    ----------
    instance : Instance
        Tables by layer and degree need the roofline.
    """
    pipeline, heads, living = instance.pipeline, instance.model.heads, instance.wafer.living_dies
    for stages in pipeline.counts(instance.model.layers, living):
        if isinstance(pipeline.dies_per_stage, tuple):
            yield _given(pipeline.dies_per_stage, pipeline, heads)
        elif isinstance(pipeline.dies_per_stage, int):
            yield _given((pipeline.dies_per_stage,) * stages, pipeline, heads)
        else:
            allowed = pipeline.allowed_degrees(living, heads)
            for n, degree in enumerate(allowed):
                above = allowed[n + 1] if n + 1 < len(allowed) else living + 1
                for greater in range(stages):
                    if (greater and above > living) or stages * degree + greater * (above - degree) > living:
                        break
                    degrees = (above,) * greater + (degree,) * (stages - greater)
                    limits = [_next(allowed, d, living) - 1 for d in degrees]
                    yield Shape(_spread(degrees, limits, living), degrees, greater == 0)


def _given(sizes: tuple[int, ...], pipeline: Pipeline, heads: int) -> Shape:
    return Shape(sizes, tuple(pipeline.degree(size, heads) for size in sizes))


def _next(allowed: tuple[int, ...], degree: int, living: int) -> int:
    return next((d for d in allowed if d > degree), living + 1)


def _spread(degrees: tuple[int, ...], limits: list[int], living: int) -> tuple[int, ...]:
    """Give dies out one by one to the stage with the fewest beyond its degree, up to a limit for each."""
    sizes = list(degrees)
    for _ in range(living - sum(sizes)):
        open_to_more = [i for i in range(len(sizes)) if sizes[i] < limits[i]]
        if not open_to_more:
            break
        sizes[min(open_to_more, key=lambda i: (sizes[i] - degrees[i], i))] += 1
    return tuple(sizes)
