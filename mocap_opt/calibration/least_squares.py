"""Least squares with no negative coefficient, scaled so that lengths squared do not drown constants."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

MOST_ITERATIONS = 100
"""Steps of the active-set method, times the number of columns."""


def nonnegative_least_squares(
    columns: FloatArray, target: FloatArray, free: Collection[int] | None = None
) -> FloatArray:
    """Least squares with no negative coefficient (Lawson and Hanson 1974, as scipy has it).

    Parameters
    ----------
    columns : float64[row, column]
    target : float64[row]
    free : collection of int, optional
        Columns whose coefficients may be above 0; all by default.

    Returns
    -------
    float64[column]
    """
    from scipy.optimize import nnls  # noqa: PLC0415 - scipy.optimize takes its time, and few need it

    found = np.zeros(columns.shape[1])
    chosen = np.arange(found.size) if free is None else np.array(sorted(free), dtype=np.int64)
    scale = np.linalg.norm(columns[:, chosen], axis=0)
    chosen, scale = chosen[scale > 0], scale[scale > 0]
    if chosen.size and target.size:
        scaled = columns[:, chosen] / scale
        if target.size > 2 * chosen.size:
            # The same squares, in as many rows as columns.
            together = np.asarray(np.linalg.qr(np.column_stack([scaled, target]), mode="r"))
            scaled, target = together[:, :-1], together[:, -1]
        found[chosen] = nnls(scaled, target, maxiter=MOST_ITERATIONS * chosen.size)[0] / scale
    return found
