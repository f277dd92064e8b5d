"""Chunk times measured on a lattice of lengths and prefixes, as tables (formulations/calibration.md).

A measured time is no difference of a Phi, so it is split: an envelope of the form the other tables
have, nowhere above the times, and a residual table that makes up the rest, entry by entry.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.errors import InputError, Problem
from mocap_opt.tables.envelope import Envelope, largest_envelope
from mocap_opt.tables.rounding import LIMIT

if TYPE_CHECKING:
    from mocap_opt.instance import Instance, MeasuredTimes

FloatArray = npt.NDArray[np.float64]

MOST_CELLS = 2**24
"""Most entries of a residual table, stages x (G + 1)^2."""


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
    if stages * points**2 > MOST_CELLS:
        most = int((MOST_CELLS / stages) ** 0.5) - 1
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
