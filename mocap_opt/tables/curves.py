"""Exact functions of tokens that bend: a polynomial, and what windows and kept shares add to it.

Symbols are those of ``formulations/profiles.md``.  Like the polynomials of `mocap_opt.tables.rounding`
they are evaluated in whole numbers over a common denominator and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import lcm
from typing import Any, Protocol

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.tables.rounding import Polynomial, Rounding, rounded, tabulate

Whole = Any
"""Whole numbers of any size: an array of Python integers, int64 where these suffice."""


def _sliding(kept: Whole, parts: int, reach: int) -> Whole:
    """W (w + 1) / 2 + (u - w) w beyond a window of w, u (u + 1) / 2 before: pairs of a sliding window."""
    beyond = np.maximum(kept - reach * parts, 0)
    return (kept - beyond) * (kept - beyond + parts) + 2 * beyond * reach * parts


def _blocks(kept: Whole, parts: int, reach: int) -> Whole:
    """floor(u / c) c (c + 1) / 2 + r (r + 1) / 2: pairs within blocks of c, r what is over."""
    whole = kept // (reach * parts)
    over = kept - whole * reach * parts
    return whole * reach * (reach + 1) * parts * parts + over * (over + parts)


def _seen(kept: Whole, parts: int, reach: int) -> Whole:
    """min(u, w): positions of a window."""
    return 2 * parts * np.minimum(kept, reach * parts)


def _full_block(kept: Whole, parts: int, reach: int) -> Whole:
    """U (u - 1) / 2, at least 0: pairs that counting a chunk as a full block adds."""
    del reach
    return np.maximum(kept * (kept - parts), 0)


SHAPES: Mapping[str, Callable[[Whole, int, int], Whole]] = {
    "sliding": _sliding,
    "blocks": _blocks,
    "seen": _seen,
    "full_block": _full_block,
}
"""2 v^2 f(u) by u v and v, where s = n / v is the share kept: whole numbers."""


class Part(Protocol):
    """A part of a curve: hashable, a data class whose `coefficient` is a factor of its values."""

    @property
    def coefficient(self) -> Fraction:
        """Factor of its values."""

    @property
    def denominator(self) -> int:
        """What makes the coefficient times `whole` a whole number."""

    def whole(self, points: Whole) -> Whole:
        """Whole numbers at these x, in proportion to its values."""


@dataclass(frozen=True)
class Bend:
    """coefficient x f(s (before + x)), one part of a curve.

    Attributes
    ----------
    coefficient : Fraction
    shape : str
        f, by its name in `SHAPES`.
    keep : Fraction
        s, share of the tokens that are kept.
    reach : int
        Window or block, kept positions; 0 for a shape without.
    before : int
        Tokens before x = 0.
    """

    coefficient: Fraction
    shape: str
    keep: Fraction
    reach: int = 0
    before: int = 0

    @property
    def denominator(self) -> int:
        """What makes the coefficient times `whole` a whole number."""
        return self.coefficient.denominator * 2 * self.keep.denominator**2

    def whole(self, points: Whole) -> Whole:
        """F at these x, times 2 v^2.

        Parameters
        ----------
        points : array of int
            Of Python's integers where int64 could overflow.
        """
        kept = self.keep.numerator * (points + self.before)
        return SHAPES[self.shape](kept, self.keep.denominator, self.reach)

    def at(self, x: int) -> Fraction:
        """Value at x, exactly."""
        value = int(self.whole(np.array([x], dtype=object))[0])
        return self.coefficient * Fraction(value, 2 * self.keep.denominator**2)


@dataclass(frozen=True)
class Curve:
    """A polynomial and bends, hashable, so that identical stages share one row of a table.

    Attributes
    ----------
    polynomial : tuple of Fraction
        Coefficients of 1, x, x^2, ...
    bends : tuple of Bend, or other parts
    """

    polynomial: Polynomial
    bends: tuple[Part, ...]

    def tabulate(self, at: IntArray, rounding: Rounding, what: str) -> IntArray:
        """Evaluate it exactly and round each value once, as `mocap_opt.tables.rounding.tabulate` does.

        Parameters
        ----------
        at, rounding, what
            As for `mocap_opt.tables.rounding.tabulate`.
        """
        denominator = lcm(*(c.denominator for c in self.polynomial), *(b.denominator for b in self.bends))
        points: Whole = at.astype(object)
        total: Whole = np.zeros_like(points)
        for coefficient in reversed(self.polynomial):
            total = total * points + coefficient.numerator * (denominator // coefficient.denominator)
        for bend in self.bends:
            factor = bend.coefficient.numerator * (denominator // bend.denominator)
            total = total + factor * bend.whole(points)
        return rounded(total, denominator, rounding, what)


def curve(polynomial: Polynomial, bends: Sequence[Part]) -> Polynomial | Curve:
    """Return a polynomial where nothing bends it, parts of one shape put together.

    Parameters
    ----------
    polynomial : tuple of Fraction
    bends : sequence of Bend, or of other parts
    """
    together: dict[Part, Fraction] = {}
    for bend in bends:
        shape = with_coefficient(bend, Fraction(1))
        together[shape] = together.get(shape, Fraction(0)) + bend.coefficient
    kept = tuple(with_coefficient(shape, value) for shape, value in together.items() if value)
    return Curve(polynomial, kept) if kept else polynomial


def with_coefficient(part: Part, coefficient: Fraction) -> Part:
    """Return a part with another coefficient.

    Parameters
    ----------
    part : Part
    coefficient : Fraction
    """
    changed: Part = replace(part, coefficient=coefficient)  # type: ignore[type-var]
    return changed


def plus(given: Polynomial | Curve, constant: Fraction, parts: Sequence[Part]) -> Polynomial | Curve:
    """Return a curve, more by a constant and by some parts.

    Parameters
    ----------
    given : polynomial or Curve
    constant : Fraction
    parts : sequence of Part
    """
    polynomial, bends = (given.polynomial, given.bends) if isinstance(given, Curve) else (given, ())
    return curve((polynomial[0] + constant, *polynomial[1:]), (*bends, *parts))


def straight(given: Polynomial | Curve) -> Polynomial:
    """Return what is a polynomial.

    Raises
    ------
    TypeError
        If windows bend it.
    """
    if isinstance(given, Curve):
        raise TypeError("expected a polynomial, got a curve that windows bend")
    return given


def scaled(given: Polynomial | Curve, factor: Fraction) -> Polynomial | Curve:
    """Return a curve in another unit.

    Parameters
    ----------
    given : polynomial or Curve
    factor : Fraction
    """
    if not isinstance(given, Curve):
        return tuple(c * factor for c in given)
    bends = (with_coefficient(b, b.coefficient * factor) for b in given.bends)
    return Curve(tuple(c * factor for c in given.polynomial), tuple(bends))


def tabulate_stages(
    curves: Sequence[Polynomial | Curve], at: IntArray, rounding: Rounding, what: str
) -> IntArray:
    """Tabulate one curve per stage, identical ones once.

    Parameters
    ----------
    curves : sequence of polynomial or Curve
        One per stage.
    at, rounding, what
        As for `mocap_opt.tables.rounding.tabulate`.

    Returns
    -------
    int64[stage, ...]
        Followed by the shape of `at`.
    """
    rows = {
        each: each.tabulate(at, rounding, what)
        if isinstance(each, Curve)
        else tabulate(each, at, rounding, what)
        for each in dict.fromkeys(curves)
    }
    return np.stack([rows[each] for each in curves])
