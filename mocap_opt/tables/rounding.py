"""The one place where numbers become integers: exact polynomials, rounded once, into int64 tables."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from fractions import Fraction
from math import lcm

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.errors import InputError, Problem

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
    if rounding is Rounding.NEAREST:
        total = (2 * total + denominator) // (2 * denominator)
    else:
        total = -(-total // denominator)
    if not small and total.size and max(abs(total.max()), abs(total.min())) >= LIMIT:
        remedy = "use fewer tokens, a smaller batch or a longer tick"
        raise InputError([Problem(what, f"{float(total.max()):.3g}", "less than 2^62", remedy)])
    return total.astype(np.int64)


def tabulate_stages(
    polynomials: Sequence[Polynomial], at: IntArray, rounding: Rounding, what: str
) -> IntArray:
    """Tabulate one polynomial per stage, identical ones once.

    Returns
    -------
    int64[stage, ...]
        Followed by the shape of `at`.
    """
    rows = {p: tabulate(p, at, rounding, what) for p in dict.fromkeys(polynomials)}
    return np.stack([rows[p] for p in polynomials])
