"""When tokens of a prompt exist: a curve, or the items of an encoder (formulations/availability.md)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Annotated

from pydantic import Discriminator, Tag

from mocap_opt.errors import Problem
from mocap_opt.messages import show
from mocap_opt.quantities import Count, Elapsed, Instant, Nonnegative, Section, TokensOrZero, by_shape, field
from mocap_opt.units import exact

MOST_POINTS = 100_000
"""Points of a curve, or items, at most."""


class EncodedItems(Section):
    """Tokens that encoders make of items, such as images: E of them at a time, each in the same time."""

    starts: tuple[TokensOrZero, ...] = field(
        "where in the prompt the tokens of each item begin, ascending", [0, 576, 1152], unit="tokens"
    )
    seconds: Elapsed = field("time to encode an item", "80 ms", unit="s")
    workers: Count = field("items encoded at a time, E", 2, default=1)
    cached: tuple[Nonnegative, ...] = field(
        "items, numbered from 0, whose tokens are there already", [0], default=()
    )

    def curve(self) -> list[tuple[int, Fraction]]:
        """Where the tokens of each item that is not cached begin, and when it is there, seconds.

        The n-th of them is there after z ceil(n / E).
        """
        there = set(self.cached)
        encoded = [start for n, start in enumerate(self.starts) if n not in there]
        time = exact(self.seconds)
        return [(start, time * -(-n // self.workers)) for n, start in enumerate(encoded, start=1)]


Available = Annotated[
    Annotated[EncodedItems, Tag("<one>")]
    | Annotated[tuple[tuple[TokensOrZero, Instant], ...], Tag("<list>")],
    Discriminator(by_shape),
]
"""A curve, ``[[tokens, seconds], ...]``, or the items of an encoder."""


def available_at(
    available: EncodedItems | tuple[tuple[int, float], ...], tokens: Sequence[int]
) -> list[Fraction]:
    """When the first tokens of a prompt exist, seconds after its release, exact, for numbers of them.

    A curve is linear between its points and constant before the first and after the last one.

    Parameters
    ----------
    available : EncodedItems or tuple of (int, float)
    tokens : sequence of int
        How many; none at all exist from the release on.
    """
    if isinstance(available, EncodedItems):
        items = available.curve()
        starts = [start for start, _ in items]
        begun = [bisect_left(starts, count) for count in tokens]
        return [items[n - 1][1] if n else Fraction(0) for n in begun]
    points = [point for point, _ in available]
    times = [exact(time) for _, time in available]
    found: list[Fraction] = []
    for count in tokens:
        at = bisect_left(points, count)
        if count == 0:
            found.append(Fraction(0))
        elif at in (0, len(points)):
            found.append(times[min(at, len(points) - 1)])
        else:
            part = Fraction(count - points[at - 1], points[at] - points[at - 1])
            found.append(times[at - 1] + part * (times[at] - times[at - 1]))
    return found


def availability_problems(available: object) -> Iterator[Problem]:
    """Require points, or items, in order and no time that falls.

    Parameters
    ----------
    available : EncodedItems, tuple or None
        ``workload.available``.
    """
    if available is None:
        return
    path = "workload.available"
    if isinstance(available, EncodedItems):
        yield from _items_in_order(available, path)
        return
    assert isinstance(available, tuple)
    if not 1 <= len(available) <= MOST_POINTS:
        yield Problem(
            path, f"{len(available):,} points", f"1 to {MOST_POINTS:,}", "write [[0, 0], [4096, 0.08]]"
        )
    for n, ((low, early), (high, late)) in enumerate(pairwise(available), start=1):
        if low >= high:
            yield Problem(
                f"{path}[{n}][0]", str(high), f"more than {low} tokens, as before it", "sort the points"
            )
        if late < early:
            expected = f"at least {early:g} s, as before it: tokens that exist stay"
            yield Problem(f"{path}[{n}][1]", f"{late:g}", expected, "give the time of all tokens up to there")


def _items_in_order(items: EncodedItems, path: str) -> Iterator[Problem]:
    if not 1 <= len(items.starts) <= MOST_POINTS:
        expected = f"1 to {MOST_POINTS:,}"
        yield Problem(f"{path}.starts", f"{len(items.starts):,} items", expected, "write [0, 576, 1152]")
    if any(a >= b for a, b in pairwise(items.starts)):
        yield Problem(f"{path}.starts", show(list(items.starts)), "ascending numbers", "sort them")
    unknown = [n for n in items.cached if n >= len(items.starts)]
    if unknown or len(set(items.cached)) < len(items.cached):
        expected = f"numbers of items, 0 to {len(items.starts) - 1}, each once"
        yield Problem(f"{path}.cached", show(list(items.cached)), expected, "remove the others")
