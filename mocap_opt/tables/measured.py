"""Chunk times measured on a lattice of lengths and prefixes, as tables (formulations/calibration.md).

A measured time is no difference of a Phi, so it is split: the largest envelope of the form the other
tables have, nowhere above the times, and a residual table that makes up the rest, entry by entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.grid import MOST_RESIDUALS
from mocap_opt.tables.rounding import LIMIT

if TYPE_CHECKING:
    from mocap_opt.instance import Instance, MeasuredTimes

FloatArray = npt.NDArray[np.float64]


def measured_tables(
    instance: Instance, stages: int, tick: Fraction, grid: IntArray, lengths: IntArray
) -> dict[str, IntArray]:
    """Tabulate measured times, each rounded once to the nearest tick.

    Parameters
    ----------
    instance : Instance
        With measured costs.
    stages : int
    tick : Fraction
        Seconds.
    grid : int64[G + 1], tokens
    lengths : int64[2, G + 1], tokens
        Of chunks by ``[tail, steps]``.

    Returns
    -------
    dict
        ``phi``, ``full_block``, ``prefix_cost``, ``length_cost`` and ``residual`` of `Tables`.

    Raises
    ------
    InputError
        If a chunk that the limits allow lies outside what was measured, or the grid is too fine.
    """
    costs = instance.costs
    if costs.kind != "measured":
        raise TypeError(f"expected measured costs, got {costs.kind}")
    points = grid.size
    if stages * points**2 > MOST_RESIDUALS:
        most = int((MOST_RESIDUALS / stages) ** 0.5) - 1
        expected = f"at most {most:,} steps for {stages} stages with measured times"
        raise InputError([Problem("chunking.quantum", f"{points - 1:,} steps", expected, "raise it")])
    shortest, longest = instance.chunking.length_limits(instance.workload.tokens)
    start, end = np.triu_indices(points, 1)
    length = grid[end] - grid[start]
    allowed = (length >= shortest) & (length <= longest)
    start, end, length = start[allowed], end[allowed], length[allowed]
    prefix = instance.workload.cached_prefix + grid[start]
    split: dict[MeasuredTimes, tuple[Envelope, IntArray]] = {}
    chosen = [costs.of_stage(i) for i in range(stages)]
    for i, table in enumerate(chosen):
        if table in split:
            continue
        where = "costs.stages" if not isinstance(costs.stages, tuple) else f"costs.stages[{i}]"
        _require_covered(table, where, length, prefix)
        times = in_ticks(interpolated(table, length, prefix), tick)
        envelope = largest_envelope(times, start, end, grid, lengths, instance.workload.cached_prefix)
        residual = np.zeros((points, points), dtype=np.int64)
        residual[start, end] = times - envelope.times(start, end)
        split[table] = envelope, residual
    parts = [split[table] for table in chosen]
    if len(split) == 1:
        # One table that all stages share.
        together = np.broadcast_to(parts[0][1], (stages, points, points))
    else:
        together = np.stack([residual for _, residual in parts])
    return {
        "phi": np.stack([envelope.phi for envelope, _ in parts]),
        "full_block": np.zeros((stages, 2, points), dtype=np.int64),
        "prefix_cost": np.stack([envelope.prefix_cost for envelope, _ in parts]),
        "length_cost": np.stack([envelope.length_cost for envelope, _ in parts]),
        "residual": together,
    }


def interpolated(table: MeasuredTimes, length: IntArray, prefix: IntArray) -> FloatArray:
    """Seconds of chunks inside the lattice: bilinear between its points, exact at them.

    Where the measured times rise with length and prefix, so do the interpolated ones.

    Parameters
    ----------
    table : MeasuredTimes
    length, prefix : int64[chunk], tokens
    """
    seconds = np.array(table.seconds, dtype=np.float64)
    row, down = _cell(np.array(table.lengths, dtype=np.int64), length)
    column, right = _cell(np.array(table.prefixes, dtype=np.int64), prefix)
    below, beside = np.minimum(row + 1, seconds.shape[0] - 1), np.minimum(column + 1, seconds.shape[1] - 1)
    upper = (1 - right) * seconds[row, column] + right * seconds[row, beside]
    lower = (1 - right) * seconds[below, column] + right * seconds[below, beside]
    result: FloatArray = (1 - down) * upper + down * lower
    return result


def _cell(points: IntArray, at: IntArray) -> tuple[IntArray, FloatArray]:
    """Measured point at or before each value, and how far it is to the next, from 0 to 1."""
    before: IntArray = np.searchsorted(points, at, side="right") - 1
    after = np.minimum(before + 1, points.size - 1)
    gap = np.maximum(points[after] - points[before], 1)
    part: FloatArray = (at - points[before]) / gap
    return before, part


def in_ticks(seconds: FloatArray, tick: Fraction) -> IntArray:
    """Round seconds to the nearest tick.

    Parameters
    ----------
    seconds : float64 array
    tick : Fraction
        Seconds.

    Raises
    ------
    InputError
        If one reaches 2^62 ticks.
    """
    ticks = seconds * float(1 / tick)
    if ticks.size and float(ticks.max()) >= LIMIT:
        raise InputError(
            [Problem("tick", f"{float(ticks.max()):.3g} ticks", "less than 2^62", "lengthen it")]
        )
    return np.rint(ticks).astype(np.int64)


def _require_covered(table: MeasuredTimes, where: str, length: IntArray, prefix: IntArray) -> None:
    """Refuse chunks that no interpolation reaches.

    Raises
    ------
    InputError
        Naming the least and greatest length and prefix that are needed.
    """
    problems = []
    for name, needed, given, remedy in (
        ("lengths", length, table.lengths, "measure more, or set chunking.shortest and chunking.longest"),
        ("prefixes", prefix, table.prefixes, "measure more prefixes"),
    ):
        if needed.size and not given[0] <= needed.min() <= needed.max() <= given[-1]:
            found = f"{given[0]:,} to {given[-1]:,}"
            expected = f"measurements that reach from {needed.min():,} to {needed.max():,} tokens"
            problems.append(Problem(f"{where}.{name}", found, expected, remedy))
    if problems:
        raise InputError(problems)


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
        """Ticks of chunks between grid indices.

        Parameters
        ----------
        start, end : int64[chunk]
            Grid indices.
        """
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
        """One row of coefficients per chunk.

        Parameters
        ----------
        start, end : int64[chunk]
            Grid indices.
        """
        h, x = (
            (self.prefix + self.grid[start]).astype(float),
            (self.grid[end] - self.grid[start]).astype(float),
        )
        return np.column_stack([x, 2 * h * x + x * x, h, self.hats(x)])

    def hats(self, length: FloatArray) -> FloatArray:
        """Shares of the knots around each length: piecewise linear, level beyond the outer ones."""
        return np.stack([np.interp(length, self.knots, row) for row in np.eye(self.knots.size)], axis=-1)

    def whole(self, values: FloatArray, shrink: float) -> Envelope:
        """Envelope in ticks, rounded down, of lowered coefficients.

        Parameters
        ----------
        values : float64[3 + knot]
            Coefficients, those of `rows` in ticks.
        shrink : float
            Part by which they are lowered.
        """
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
