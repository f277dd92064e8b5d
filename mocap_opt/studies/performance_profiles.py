"""Scores that sum up runs over many instances without letting one large instance decide."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def shifted_geometric_mean(values: Iterable[float], shift: float = 1.0) -> float | None:
    """exp(mean(log(values + shift))) - shift, the usual mean of solution times.

    The shift keeps values far below it from deciding [1]_.

    Parameters
    ----------
    values : iterable of float
        All above ``-shift``; seconds for times.
    shift : float
        In the unit of the values, above 0.

    Returns
    -------
    float or None
        In the unit of the values; None without values.

    Raises
    ------
    ValueError
        If the shift is not above 0, or a value is not finite or not above ``-shift``.

    References
    ----------
    .. [1] T. Achterberg, Constraint Integer Programming, PhD thesis, TU Berlin, 2007, appendix A.3.
    """
    given = np.asarray(list(values), dtype=np.float64)
    if not (shift > 0 and np.isfinite(given).all() and (given > -shift).all()):
        raise ValueError(f"expected finite values above -shift and a shift above 0, got shift {shift:g}")
    if not given.size:
        return None
    return float(np.exp(np.log(given + shift).mean()) - shift)


def ratios_to_best(costs: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Each cost over the least one on its instance.

    Parameters
    ----------
    costs : float64[instance, contender]
        At least 0; NaN where a contender has no answer.

    Returns
    -------
    float64[instance, contender]
        At least 1; infinite where there is no answer, NaN in a row without any answer.  A least
        cost of 0 gives 1 to those that reach it and infinity to the others.
    """
    given = np.asarray(costs, dtype=np.float64)
    answered = ~np.isnan(given)
    least = np.where(answered, given, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(given == least, 1.0, given / least)
    ratios = np.where(answered, ratios, np.inf)
    return np.where(np.isinf(least), np.nan, ratios)


def performance_profile(costs: npt.ArrayLike, factors: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Share of the instances on which a contender is within each factor of the best one.

    Parameters
    ----------
    costs : float64[instance, contender]
        At least 0; NaN where a contender has no answer.  Instances that no one answered are left out.
    factors : float64[factor]
        At least 1.

    Returns
    -------
    float64[contender, factor]
        Between 0 and 1, never falling along the factors.

    References
    ----------
    .. [1] E. D. Dolan and J. J. More, "Benchmarking optimization software with performance profiles",
       Mathematical Programming 91 (2002), 201-213.
    """
    ratios = ratios_to_best(costs)
    ratios = ratios[~np.isnan(ratios).any(axis=1)]
    within = ratios[:, :, None] <= np.asarray(factors, dtype=np.float64)
    return within.mean(axis=0) if len(ratios) else np.zeros(within.shape[1:])
