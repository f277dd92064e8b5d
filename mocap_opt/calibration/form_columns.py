"""What fitted forms of chunk times are made of: columns that are multiplied by coefficients of at least 0.

A chunk of l tokens after h.  Every column rises with l, so whatever is fitted rises with the length
(formulations/calibration.md, forms).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
LengthKind = Literal["affine", "tiles", "free"]

MOST_KNOTS = 32
"""All lengths measured are corners of a free function of the length where they are no more."""

FEW_KNOTS = 12
"""Its corners where lengths are more, as in the log of an engine."""


def knots_of(length: FloatArray) -> FloatArray:
    """Corners of a free function of the length: the lengths that occur, thinned out if they are many.

    Parameters
    ----------
    length : float64[row], tokens
    """
    knots = np.unique(length)
    if knots.size > MOST_KNOTS:
        knots = knots[np.unique(np.linspace(0, knots.size - 1, FEW_KNOTS).round().astype(int))]
    return knots


def ramps(length: FloatArray, knots: FloatArray) -> FloatArray:
    """Columns of a monotone, piecewise linear function: 1, and a ramp from 0 to 1 between two knots each.

    Level below the first knot; above the last it goes on as between the last two.

    Parameters
    ----------
    length : float64[row], tokens
    knots : float64[knot], tokens
        Ascending.

    Returns
    -------
    float64[row, knot]
    """
    risen = np.maximum((length[:, None] - knots[:-1]) / np.diff(knots), 0.0)
    risen[:, :-1] = np.minimum(risen[:, :-1], 1.0)
    return np.column_stack([np.ones_like(length), risen])


def windowed_pairs(length: FloatArray, prefix: FloatArray, window: float) -> FloatArray:
    """(Query, key) pairs of chunks whose queries see at most `window` keys, their own included; twice.

    2 (A(h + l) - A(h)) with A(u) = u^2/2 up to the window w, then w^2/2 + (u - w) w.

    Parameters
    ----------
    length, prefix : float64[row], tokens
    window : float, tokens
    """

    def until(tokens: FloatArray) -> FloatArray:
        inside = np.minimum(tokens, window)
        both: FloatArray = inside * inside + 2 * window * (tokens - inside)
        return both

    return until(length + prefix) - until(prefix)


def overlaps(length: FloatArray, prefix: FloatArray, places: FloatArray) -> FloatArray:
    """Tokens of chunks between one place and the next, float64[row, place - 1]; the last goes on.

    Parameters
    ----------
    length, prefix : float64[row], tokens
    places : float64[place], tokens
        Ascending, two at least.
    """
    upper = np.append(places[1:-1], np.inf)
    found = np.minimum((length + prefix)[:, None], upper) - np.maximum(prefix[:, None], places[:-1])
    inside: FloatArray = np.maximum(found, 0.0)
    return inside


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns of one branch of a form.

    Attributes
    ----------
    kind : {"affine", "tiles", "free"}
        What the length costs: c + b l, c + b tile ceil(l / tile), or any function that does not fall.
    floor : bool
        Of the length alone, nothing else.
    tile : int, tokens
        Of kind "tiles".
    window : int or None, tokens
        Keys that a query sees at most, of sparse attention.
    slope : bool
        Whether what a token of prefix costs is a free function of the length as well.
    places : float64[place] or None, tokens
        Where what a token costs by its position changes, of a free function of the position.
    knots : float64[knot], tokens
        Of kind "free".
    """

    kind: LengthKind
    floor: bool = False
    tile: int = 1
    window: int | None = None
    slope: bool = False
    places: FloatArray | None = None
    knots: FloatArray = field(default_factory=lambda: np.ones(1))

    def names(self) -> list[str]:
        """Of the coefficients, in the order of `of`."""
        if self.kind == "free":
            found = ["length_constant", *(f"length_until_{knot:g}" for knot in self.knots[1:])]
        else:
            found = ["constant"] if self.floor else ["constant", "linear"]
        if self.floor:
            return found
        found += ["prefix", "quadratic"]
        if self.slope:
            found += [f"prefix_until_{knot:g}" for knot in self.knots[1:]]
        if self.places is not None:
            found += [f"position_from_{place:g}" for place in self.places[:-1]]
        return found + (["sparse"] if self.window is not None else [])

    def of(self, length: FloatArray, prefix: FloatArray) -> FloatArray:
        """Columns of chunks, float64[row, column].

        Parameters
        ----------
        length, prefix : float64[row], tokens
        """
        parts = [ramps(length, self.knots)] if self.kind == "free" else [np.ones((length.size, 1))]
        if not self.floor:
            if self.kind != "free":
                parts.append((np.ceil(length / self.tile) * self.tile)[:, None])
            parts += [prefix[:, None], (2 * prefix * length + length * length)[:, None]]
            if self.slope:
                parts.append(ramps(length, self.knots)[:, 1:] * prefix[:, None])
            if self.places is not None:
                parts.append(overlaps(length, prefix, self.places))
            if self.window is not None:
                parts.append(windowed_pairs(length, prefix, self.window)[:, None])
        return np.concatenate(parts, axis=1)
