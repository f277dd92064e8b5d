"""Lower bounds of linear programs from duals of any origin, in exact arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from scipy import sparse

from mocap_opt.solvers.linear_program import LinearProgram

FloatArray = npt.NDArray[np.float64]

CERTIFIED_BY = "duals of its relaxation, in exact arithmetic"
"""How a report calls a bound of `certified_bound`."""


def certified_bound(
    program: LinearProgram, duals: FloatArray, below: float, *, relative_error: Fraction = Fraction(0)
) -> Fraction | None:
    """Bound the objective of every feasible point from below, by duals and at most by `below`.

    Columns without an upper bound are capped only where the objective itself caps them: points whose
    objective is at least `below` are no concern of the bound, and in all others a column with a
    positive cost is at most (`below` less the least that the others cost) / its cost.  A cap
    on any other column could make the program infeasible, and then any duals "prove" anything.

    Parameters
    ----------
    program : LinearProgram
        Integrality, if any, is relaxed.
    duals : float64[row]
        As for `safe_dual_bound`.
    below : float
        Objective of a known point, say.
    relative_error : Fraction
        As for `safe_dual_bound`.

    Returns
    -------
    Fraction or None
        None if these duals prove nothing.
    """
    upper = np.minimum(program.column_upper, _caps(program, below))
    proved = safe_dual_bound(
        program.cost,
        program.matrix,
        program.row_lower,
        program.row_upper,
        program.column_lower,
        np.maximum(upper, program.column_lower),
        duals,
        relative_error=relative_error,
    )
    return None if proved is None else min(proved + Fraction(program.offset), Fraction(below))


def _caps(program: LinearProgram, below: float) -> FloatArray:
    """The most that each column can be in points whose objective is at most `below`; inf if unlimited."""
    caps = np.full(program.columns, np.inf)
    ends = np.where(program.cost > 0, program.column_lower, program.column_upper)
    priced = np.flatnonzero(program.cost)
    if not np.isfinite(ends[priced]).all():
        return caps
    least = {int(c): Fraction(float(program.cost[c])) * Fraction(float(ends[c])) for c in priced}
    left = Fraction(below) - Fraction(program.offset) - sum(least.values())
    for c in np.flatnonzero(program.cost > 0).tolist():
        most = (left + least[c]) / Fraction(float(program.cost[c]))
        rounded = float(most)
        caps[c] = rounded if rounded >= most else np.nextafter(rounded, np.inf)
    return caps


def safe_dual_bound(
    cost: FloatArray,
    matrix: sparse.csr_array,
    row_lower: FloatArray,
    row_upper: FloatArray,
    column_lower: FloatArray,
    column_upper: FloatArray,
    duals: FloatArray,
    *,
    relative_error: Fraction = Fraction(0),
) -> Fraction | None:
    """Bound ``min cost x`` over ``row_lower <= matrix x <= row_upper`` and the box of columns from below.

    Weak duality: b'y + the least of (cost - matrix'y) x over the box, for every y.  A dual that
    prices an infinite side of its row counts as 0.  All sums are exact: floats are rationals.

    Parameters
    ----------
    cost, column_lower, column_upper : float64[column]
    matrix : scipy.sparse.csr_array, float64[row, column]
    row_lower, row_upper, duals : float64[row]
        A positive dual prices the lower side, a negative one the upper.
    relative_error : Fraction
        How far each coefficient and each side of a row may be from the number it stands for,
        relative to itself; the bound then holds for the program that was meant.  A column's own
        bounds and its cost are taken to be exact.

    Returns
    -------
    Fraction or None
        None if a column with an infinite bound has a reduced cost of the wrong sign, so that these
        duals prove nothing.

    Raises
    ------
    ValueError
        If a dual is not finite.

    Notes
    -----
    Neumaier and Shcherbina, Safe bounds in linear and mixed-integer programming, Mathematical
    Programming 99 (2004), with rationals instead of intervals.
    """
    if not np.isfinite(duals).all():
        raise ValueError("expected finite duals")
    reduced = [Fraction(value) for value in cost.tolist()]
    slack = [Fraction(0)] * len(reduced)
    total = Fraction(0)
    starts, columns, data = matrix.indptr.tolist(), matrix.indices.tolist(), matrix.data.tolist()
    sides = zip(duals.tolist(), row_lower.tolist(), row_upper.tolist(), strict=True)
    for row, (dual, lower, upper) in enumerate(sides):
        side = lower if dual > 0 else upper
        if dual == 0 or math.isinf(side):
            continue
        y = Fraction(dual)
        total += y * Fraction(side) - abs(y * Fraction(side)) * relative_error
        for at in range(starts[row], starts[row + 1]):
            product = y * Fraction(data[at])
            reduced[columns[at]] -= product
            if relative_error:
                slack[columns[at]] += abs(product) * relative_error
    return _box_minimum(total, reduced, slack, column_lower.tolist(), column_upper.tolist())


def _box_minimum(
    total: Fraction,
    reduced: Sequence[Fraction],
    slack: Sequence[Fraction],
    lower: list[float],
    upper: list[float],
) -> Fraction | None:
    """Add the least of (reduced +- slack) x over the box; linear in both, so at a corner."""
    for price, error, low, high in zip(reduced, slack, lower, upper, strict=True):
        corners = []
        for factor in (price - error, price + error) if error else (price,):
            if factor == 0:
                corners.append(Fraction(0))
                continue
            end = low if factor > 0 else high
            if math.isinf(end):
                return None
            corners.append(factor * Fraction(end))
        total += min(corners)
    return total
