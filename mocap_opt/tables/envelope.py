"""The largest envelope below measured times that has the form of the other tables.

Statement: ``formulations/calibration.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray

FloatArray = npt.NDArray[np.float64]

MOST_KNOTS = 16
"""Most corners of the length cost, closer together where chunks are short."""

MOST_ROWS = 1500
"""Chunks in the first linear program; those it violates join later."""

ROUNDS = 6
"""Linear programs solved at most; what is still violated then, scaling takes care of."""

SHRINK = (0.0, 1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)
"""By how much an envelope is lowered until it is nowhere above the times in whole ticks."""


@dataclass(frozen=True, eq=False)
class Envelope:
    """Phi, prefix cost and length cost whose sums are nowhere above the times.

    Attributes
    ----------
    phi, prefix_cost : int64[G + 1], ticks
    length_cost : int64[2, G + 1], ticks
    """

    phi: IntArray
    prefix_cost: IntArray
    length_cost: IntArray

    def times(self, start: IntArray, end: IntArray) -> IntArray:
        """Ticks of chunks between grid indices."""
        tail = (end == self.phi.size - 1).astype(np.int64)
        total: IntArray = self.phi[end] - self.phi[start] + self.prefix_cost[start]
        total += self.length_cost[tail, end - start]
        return total


@dataclass(frozen=True, eq=False)
class _Form:
    """The envelope as a linear function of its coefficients: linear, quadratic, prefix, knots."""

    grid: IntArray
    lengths: IntArray
    prefix: int
    knots: FloatArray

    def rows(self, start: IntArray, end: IntArray) -> FloatArray:
        """One row of coefficients per chunk."""
        h, x = (
            (self.prefix + self.grid[start]).astype(float),
            (self.grid[end] - self.grid[start]).astype(float),
        )
        return np.column_stack([x, 2 * h * x + x * x, h, self.hats(x)])

    def hats(self, length: FloatArray) -> FloatArray:
        """Shares of the knots around each length: piecewise linear, level beyond the outer ones."""
        return np.stack([np.interp(length, self.knots, row) for row in np.eye(self.knots.size)], axis=-1)

    def whole(self, values: FloatArray, shrink: float) -> Envelope:
        """Envelope in ticks, rounded down, of lowered coefficients."""
        values = values * (1 - shrink)
        x, h = self.grid.astype(float), (self.prefix + self.grid).astype(float)
        phi = values[0] * x + values[1] * x * (2 * self.prefix + x)
        by_length = self.hats(self.lengths.astype(float)) @ values[3:]
        parts = [np.floor(part).astype(np.int64) for part in (phi, values[2] * h, by_length)]
        return Envelope(*parts)


def largest_envelope(
    times: IntArray, start: IntArray, end: IntArray, grid: IntArray, lengths: IntArray, prefix: int
) -> Envelope:
    """Find the envelope with the greatest mean part of the times.

    Phi = b x + a x (2 P + x), prefix cost gamma (P + x), and a length cost that is piecewise linear;
    none negative.  A linear program, then rounded down and lowered until it holds in whole ticks.

    Parameters
    ----------
    times : int64[chunk], ticks
    start, end : int64[chunk]
        Grid indices of the chunks, all that a plan may use.
    grid, lengths, prefix
        As of `Tables`.

    Returns
    -------
    Envelope
        In whole ticks, nowhere above `times`.
    """
    knots = np.unique(grid[end] - grid[start])
    if knots.size > MOST_KNOTS:
        knots = knots[np.unique(np.geomspace(1, knots.size, MOST_KNOTS).round().astype(int)) - 1]
    form = _Form(grid, lengths, prefix, knots.astype(float) if knots.size else np.ones(1))
    values = _solve(form, times, start, end) if times.size and times.min() > 0 else None
    if values is None:
        values = np.zeros(3 + form.knots.size)
    for shrink in SHRINK:
        envelope = form.whole(values, shrink)
        if (envelope.times(start, end) <= times).all():
            break
    return envelope


def _solve(form: _Form, times: IntArray, start: IntArray, end: IntArray) -> FloatArray | None:
    """Solve the linear program over a sample of the chunks, and add those that its answer violates."""
    from scipy.optimize import linprog  # noqa: PLC0415 - only measured times need it

    chosen = np.unique(np.linspace(0, times.size - 1, min(times.size, MOST_ROWS)).astype(int))
    answer: FloatArray | None = None
    for _ in range(ROUNDS):
        rows = form.rows(start[chosen], end[chosen]) / times[chosen, None]
        # Scaled to columns of largest entry 1; among equals, the part that is a difference of Phi.
        scale = np.maximum(rows.max(axis=0), np.finfo(float).tiny)
        mean = (rows / scale).mean(axis=0)
        mean[2:] *= 1 - 1e-6
        found = linprog(-mean, A_ub=rows / scale, b_ub=np.ones(chosen.size), method="highs")
        if found.status != 0:
            return answer
        answer = np.asarray(found.x, dtype=np.float64) / scale
        over = _excess(form, answer, times, start, end)
        worst = np.flatnonzero(over > 1e-9)
        if not worst.size:
            break
        worst = worst[np.argsort(-over[worst], kind="stable")][:MOST_ROWS]
        chosen = np.union1d(chosen, worst)
    return answer


def _excess(form: _Form, values: FloatArray, times: IntArray, start: IntArray, end: IntArray) -> FloatArray:
    """By what part of its time the envelope is above each chunk; blocks, so that memory stays small."""
    over = np.empty(times.size)
    for first in range(0, times.size, 2**16):
        here = slice(first, first + 2**16)
        over[here] = form.rows(start[here], end[here]) @ values / times[here] - 1
    return over
