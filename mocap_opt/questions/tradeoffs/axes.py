"""What layouts are compared by, and the points of any two of it that no other one beats."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from fractions import Fraction
from typing import TypeVar

from mocap_opt.errors import InputError, Problem

Item = TypeVar("Item")


class Axis(StrEnum):
    """What a layout is worth; `LONGEST` is better the greater it is, the others the smaller they are."""

    LATENCY = "latency"
    PERIOD = "period"
    COST = "cost"
    LONGEST = "longest"

    @property
    def sign(self) -> int:
        """What a value is multiplied with so that less is better."""
        return -1 if self is Axis.LONGEST else 1

    @property
    def columns(self) -> tuple[str, str]:
        """Names of the value and of its bound in tables."""
        return _COLUMNS[self]

    @property
    def words(self) -> str:
        """What it is, with its unit."""
        return _WORDS[self]

    def gap(self, value: Fraction, bound: Fraction) -> Fraction:
        """|value - bound| / value, not below 0.

        Parameters
        ----------
        value, bound : Fraction
        """
        return max(self.sign * (value - bound) / value, Fraction(0)) if value else Fraction(0)


_COLUMNS = {
    Axis.LATENCY: ("latency_s", "lower_bound_s"),
    Axis.PERIOD: ("period_s", "period_lower_bound_s"),
    Axis.COST: ("die_s_per_token", "die_s_per_token_lower_bound"),
    Axis.LONGEST: ("longest_tokens", "longest_upper_bound_tokens"),
}
_WORDS = {
    Axis.LATENCY: "latency (s)",
    Axis.PERIOD: "period (s)",
    Axis.COST: "cost (die-seconds per token)",
    Axis.LONGEST: "longest prompt (tokens)",
}


def read_axes(names: Iterable[str]) -> tuple[Axis, ...]:
    """Axes by their names, each once.

    Raises
    ------
    InputError
        If there are none, or one has another name.
    """
    given = tuple(dict.fromkeys(names))
    unknown = [name for name in given if name not in tuple(Axis)]
    if unknown or not given:
        found = ", ".join(map(repr, unknown)) or "nothing"
        raise InputError([Problem("axes", found, f"names of axes: {', '.join(Axis)}")])
    return tuple(Axis(name) for name in given)


def front(items: Iterable[Item], place: Callable[[Item], tuple[Fraction, Fraction]]) -> tuple[Item, ...]:
    """What no other item beats: as good in both and better in one; of equal ones the first.

    Parameters
    ----------
    items : iterable
    place : callable
        Two figures of an item, less is better.

    Returns
    -------
    tuple
        The first figure rising, the second falling.
    """
    kept: list[Item] = []
    for item in sorted(items, key=place):
        if not kept or place(item)[1] < place(kept[-1])[1]:
            kept.append(item)
    return tuple(kept)


def least_second(
    bounds: Iterable[tuple[Fraction | None, Fraction | None]], first: Fraction
) -> Fraction | None:
    """What the second figure is at least where the first is at most this; None if that is not known.

    Parameters
    ----------
    bounds : iterable of (Fraction or None, Fraction or None)
        Of all there is, on either figure; what is above `first` in its first one says nothing here.
    first : Fraction
    """
    least: list[Fraction] = []
    for least_first, second in bounds:
        if least_first is not None and least_first > first:
            continue
        if second is None:
            return None
        least.append(second)
    return min(least, default=None)
