"""Coefficients of the cost model from timings: constrained least squares.

A chunk of l tokens after h takes  c + gamma h + b l + a (2 h l + l^2)  seconds, all four at least 0
(formulations/calibration.md).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from mocap_opt.calibration.least_squares import FloatArray, nonnegative_least_squares
from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.timings import Timings

NAMES = ("constant", "linear", "quadratic", "prefix")
"""Coefficients in the order of columns: c, b, a, gamma, as instances name them."""

UNITS = {"constant": "s", "linear": "s per token", "quadratic": "s per token^2", "prefix": "s per token"}

ALIKE = 1e-9
"""Columns whose singular values, scaled to length 1, have a smaller ratio cannot be told apart."""


class Weighting(Enum):
    """What the squares are of."""

    RELATIVE = "relative"
    ABSOLUTE = "absolute"


@dataclass(frozen=True, eq=False)
class Fit:
    """Fitted coefficients of one stage, or of all.

    Attributes
    ----------
    stage : int or None
        None: one fit for all stages.
    coefficients : dict of str to float
        By name, in `UNITS`; none negative.
    standard_errors : dict of str to float or None
        None for a coefficient held at 0 or pressed against it.
    predicted : float64[row]
        Seconds by the fit.
    timings : Timings
        What was fitted.
    """

    stage: int | None
    coefficients: dict[str, float]
    standard_errors: dict[str, float | None]
    predicted: FloatArray
    timings: Timings

    @property
    def residuals(self) -> FloatArray:
        """Measured - fitted, float64[row], as parts of what was measured."""
        part: FloatArray = (self.timings.seconds - self.predicted) / self.timings.seconds
        return part

    def to_dict(self, worst: int = 5) -> dict[str, Any]:
        """Figures for reports, with the rows that fit worst."""
        off = np.abs(self.residuals)
        rows = np.argsort(-off, kind="stable")[:worst].tolist()
        timings = self.timings
        return {
            "stage": self.stage,
            "rows": int(off.size),
            "coefficients": self.coefficients,
            "standard_errors": self.standard_errors,
            "units": UNITS,
            "largest_relative_residual": float(off.max()),
            "rms_relative_residual": float(np.sqrt(np.mean(off**2))),
            "rms_residual_s": float(np.sqrt(np.mean((timings.seconds - self.predicted) ** 2))),
            "worst_rows": [
                {
                    "chunk_tokens": int(timings.length[r]),
                    "prefix_tokens": int(timings.prefix[r]),
                    "seconds": float(timings.seconds[r]),
                    "fitted_s": float(self.predicted[r]),
                    "relative_residual": float(self.residuals[r]),
                }
                for r in rows
            ],
        }


def features(length: npt.ArrayLike, prefix: npt.ArrayLike) -> FloatArray:
    """Columns of the model, float64[row, 4], in the order of `NAMES`.

    Parameters
    ----------
    length, prefix : array_like[row], tokens
        Of chunks, and before them.
    """
    x, h = np.asarray(length, dtype=np.float64), np.asarray(prefix, dtype=np.float64)
    return np.stack([np.ones_like(x), x, 2 * h * x + x * x, h], axis=1)


def fit_timings(
    timings: Timings, *, held: Collection[str] = (), weighting: Weighting = Weighting.RELATIVE
) -> list[Fit]:
    """Fit the coefficients of every stage that the timings name.

    Parameters
    ----------
    timings : Timings
    held : collection of str
        Names of coefficients held at 0.
    weighting : Weighting
        Relative residuals by default: timings are off by parts of themselves.

    Returns
    -------
    list of Fit
        One for all stages, or one for each in ascending order.

    Raises
    ------
    InputError
        If there are too few rows, or rows of too few kinds to tell the coefficients apart.
    """
    return [_fit(stage, part, held, weighting) for stage, part in timings.by_stage().items()]


def _fit(stage: int | None, timings: Timings, held: Collection[str], weighting: Weighting) -> Fit:
    free = [n for n, name in enumerate(NAMES) if name not in held]
    weight = 1 / timings.seconds if weighting is Weighting.RELATIVE else np.ones_like(timings.seconds)
    columns = features(timings.length, timings.prefix) * weight[:, None]
    target = timings.seconds * weight
    _refuse_unidentifiable(timings, columns, free)
    coefficients = nonnegative_least_squares(columns, target, free)
    active = np.flatnonzero(coefficients).tolist()
    errors: dict[str, float | None] = dict.fromkeys(NAMES)
    left = target - columns @ coefficients
    variance = float(left @ left) / (target.size - len(active))
    scale = np.linalg.norm(columns[:, active], axis=0)
    inverse = np.linalg.pinv((columns[:, active] / scale).T @ (columns[:, active] / scale))
    for place, n in enumerate(active):
        errors[NAMES[n]] = float(np.sqrt(variance * inverse[place, place]) / scale[place])
    return Fit(
        stage,
        {name: float(value) for name, value in zip(NAMES, coefficients, strict=True)},
        errors,
        features(timings.length, timings.prefix) @ coefficients,
        timings,
    )


def _refuse_unidentifiable(timings: Timings, columns: FloatArray, free: list[int]) -> None:
    """Refuse timings that many coefficients fit equally well.

    Raises
    ------
    InputError
        Naming what should be measured, or held.
    """
    if not free:
        raise InputError([Problem("--hold", "all of them", "at least one coefficient to fit", "hold fewer")])
    points = np.unique(np.stack([timings.length, timings.prefix]), axis=1).shape[1]
    if points <= len(free):
        expected = f"more than {len(free)} different chunks, one for each coefficient and one to check"
        remedy = "measure more lengths and prefixes, or hold a coefficient at 0 (--hold)"
        raise InputError([Problem(timings.source, f"{points} of them", expected, remedy)])
    norms = np.linalg.norm(columns, axis=0)
    silent = [n for n in free if norms[n] == 0]
    lengths, prefixes = np.unique(timings.length).size, np.unique(timings.prefix).size
    found = f"{lengths} {'length' if lengths == 1 else 'lengths'} and {prefixes} " + (
        "prefix" if prefixes == 1 else "prefixes"
    )
    if silent:
        names = ", ".join(NAMES[n] for n in silent)
        expected = f"chunks after a prefix, to tell what {names} is"
        raise InputError([Problem(timings.source, found, expected, f"measure some, or --hold {names}")])
    singular = np.linalg.svd(columns[:, free] / norms[free], compute_uv=False)
    if singular[-1] < ALIKE * singular[0]:
        names = ", ".join(NAMES[n] for n in free)
        expected = f"lengths and prefixes that tell {names} apart"
        remedy = "measure three lengths and two prefixes or more, or hold a coefficient at 0 (--hold)"
        raise InputError([Problem(timings.source, found, expected, remedy)])
