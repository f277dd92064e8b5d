"""The one place where numbers become integers: the length of a tick, exact polynomials rounded once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.errors import InputError, Problem
from mocap_opt.units import format_bandwidth, format_seconds

LIMIT = 2**62
"""No table entry reaches this, so that adding two of them cannot overflow int64."""

Polynomial = tuple[Fraction, ...]
"""Coefficients of 1, x, x^2, ...; hashable, so that identical stages share one row of a table."""


class Rounding(Enum):
    """Which whole number stands for a fraction."""

    NEAREST = "nearest, halves up"
    UP = "up"


def whole(value: Fraction, rounding: Rounding, what: str) -> int:
    """Round one number.

    Parameters
    ----------
    value : Fraction
    rounding : Rounding
    what : str
        What the number is, for the message.

    Raises
    ------
    InputError
        If it reaches 2^62.
    """
    return int(tabulate((value,), np.zeros(1, dtype=np.int64), rounding, what)[0])


def tabulate(polynomial: Polynomial, at: IntArray, rounding: Rounding, what: str) -> IntArray:
    """Evaluate a polynomial exactly and round each value once.

    Parameters
    ----------
    polynomial : tuple of Fraction
    at : int64 array, >= 0
        Where to evaluate it.
    rounding : Rounding
    what : str
        What the table is, for the message.

    Returns
    -------
    int64 array of the shape of `at`

    Raises
    ------
    InputError
        If a value reaches 2^62.
    """
    denominator = lcm(*(c.denominator for c in polynomial))
    numerators = [c.numerator * (denominator // c.denominator) for c in polynomial]
    furthest = int(at.max(initial=0))
    # No intermediate result of Horner's rule exceeds this.
    reach = sum(abs(n) * furthest**power for power, n in enumerate(numerators))
    # Machine integers where they suffice, Python's otherwise: the same result either way.
    small = max(2 * reach + denominator, 2 * denominator, max(map(abs, numerators))) < LIMIT
    points = at if small else at.astype(object)
    total = np.zeros_like(points)
    for numerator in reversed(numerators):
        total = total * points + numerator
    return rounded(total, denominator, rounding, what)


def rounded(total: Any, denominator: int, rounding: Rounding, what: str) -> IntArray:
    """Divide whole numbers and round each once.

    Parameters
    ----------
    total : array of int
        Of Python's integers where int64 could overflow.
    denominator : int
    rounding, what
        As for `tabulate`.

    Raises
    ------
    InputError
        If a value reaches 2^62.
    """
    if rounding is Rounding.NEAREST:
        total = (2 * total + denominator) // (2 * denominator)
    else:
        total = -(-total // denominator)
    if total.dtype == object and total.size and max(abs(total.max()), abs(total.min())) >= LIMIT:
        remedy = "use fewer tokens, a smaller batch or a longer tick"
        raise InputError([Problem(what, f"{float(total.max()):.3g}", "less than 2^62", remedy)])
    whole_numbers: IntArray = total.astype(np.int64)
    return whole_numbers


MAX_LOSS = Fraction(1, 10_000)
"""Rounding a rate down to whole bytes per tick must lose less than this part of it."""

NANOSECOND = Fraction(1, 10**9)
LONGEST_TICK = Fraction(1, 1000)


def rate_per_tick(rate: Fraction, tick: Fraction) -> int:
    """Bytes per tick, rounded down, so that no link or port is ever faster than it is.

    Parameters
    ----------
    rate : Fraction
        Bytes per second.
    tick : Fraction
        Seconds.
    """
    return int(rate * tick)


def loss(rate: Fraction, tick: Fraction) -> Fraction:
    """Return the part of a rate that rounding down to whole bytes per tick loses.

    Parameters
    ----------
    rate : Fraction
        Bytes per second.
    tick : Fraction
        Seconds.
    """
    return 1 - rate_per_tick(rate, tick) / (rate * tick)


def choose_tick(rates: Iterable[Fraction]) -> Fraction:
    """Pick the shortest of 1, 2, 5, 10, ... ns at which no rate loses 1e-4 or more.

    Parameters
    ----------
    rates : iterable of Fraction
        Bytes per second of every link and memory port.

    Returns
    -------
    Fraction
        Seconds.

    Raises
    ------
    InputError
        If no tick up to a millisecond will do.
    """
    distinct = sorted(set(rates))
    for tick in _round_ticks():
        if all(loss(rate, tick) < MAX_LOSS for rate in distinct):
            return tick
    found = f"a rate of {format_bandwidth(distinct[0])}"
    expected = f"rates of many bytes in {format_seconds(LONGEST_TICK)}, the longest tick"
    raise InputError([Problem("wafer", found, expected, "check the bandwidths: they are in bytes/s")])


def check_tick(tick: Fraction, rates: Iterable[Fraction]) -> Fraction:
    """Return a tick the instance asks for, if every rate keeps its value at it.

    Parameters
    ----------
    tick : Fraction
        Seconds.
    rates : iterable of Fraction
        Bytes per second of every link and memory port.

    Raises
    ------
    InputError
        If a rate loses 1e-4 or more; names the tick that would do.
    """
    distinct = sorted(set(rates))
    worst = max(distinct, key=lambda rate: loss(rate, tick))
    if loss(worst, tick) >= MAX_LOSS:
        lost = f"{float(loss(worst, tick)):.2g}"
        found = f"{format_seconds(tick)}, at which {format_bandwidth(worst)} loses {lost} of itself"
        remedy = f"use {format_seconds(choose_tick(distinct))}, or leave it out"
        expected = "a tick at which rates in whole bytes per tick lose less than 1e-4"
        raise InputError([Problem("tick", found, expected, remedy)])
    return tick


def _round_ticks() -> Iterator[Fraction]:
    """1, 2, 5, 10, 20, 50, ... nanoseconds."""
    decade = NANOSECOND
    while decade <= LONGEST_TICK:
        yield from (step * decade for step in (1, 2, 5) if step * decade <= LONGEST_TICK)
        decade *= 10
