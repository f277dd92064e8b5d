"""SGLang's dynamic chunking: each next chunk is to take as long as the first."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mocap_opt.heuristics.limits import LengthLimits
from mocap_opt.stopping import AskedToStop, never, stop_if
from mocap_opt.tables import IntArray, Tables

SMOOTHING = 0.75
ALIGNMENT = 64
TOLERANCE = 1e-3

Rule = Callable[[tuple[float, ...], int, int], float]
"""From a fit, the tokens so far and the base size to the length wanted next, tokens."""


def fit_quadratic(tables: Tables) -> tuple[float, float, float]:
    """Least-squares a, b, c of the longest stage time of prefix-free chunks, a l^2 + b l + c ticks.

    Timings are those of all chunks that start at 0 on the grid, read from `Tables.tau`.  Of a
    request with a cached prefix they contain the prefix, and so does b.  Fewer than three grid
    points are fitted by a line or a constant.  Of measured times only those within the limits on
    lengths are real, and only they are fitted.
    """
    ends = np.arange(1, tables.steps + 1)
    if tables.residual is not None and tables.length_allowed.any():
        ends = np.flatnonzero(tables.length_allowed.any(axis=0))
    times = tables.tau(np.arange(tables.stages)[:, None], 0, ends[None, :]).max(axis=0)
    lengths: npt.NDArray[np.float64] = tables.grid[ends] / tables.tokens
    degree = min(2, ends.size - 1)
    fit = np.polynomial.polynomial.polyfit(lengths, times.astype(float), degree)
    c, b, a = [*(float(v) for v in fit), 0.0, 0.0][:3]
    return a / tables.tokens**2, b / tables.tokens, c


def next_chunk(fit: tuple[float, ...], history: int, base: int) -> float:
    """Smoothed length of the next chunk after `history` tokens, tokens.

    x solves a x^2 + (2 a L + b) x = f(base) - f(0); then base + 0.75 (x - base), at least base / 4.
    """
    a, b, *_ = fit
    target = a * base * base + b * base
    slope = 2 * a * history + b
    length = float(base)
    if target > 0 and (a > 0 or slope > 0):
        # The form of the root that stays accurate as a goes to 0.
        length = 2 * target / (slope + math.sqrt(max(slope * slope + 4 * a * target, 0.0)))
    return max(base + SMOOTHING * (length - base), base // 4)


def dynamic_chunks(
    tables: Tables, base: int, fit: tuple[float, ...], rule: Rule = next_chunk
) -> IntArray | None:
    """Boundaries from a base chunk size, int64[chunks + 1], or None if the limits are missed.

    Lengths are rounded down to a multiple of max(page, 64) tokens, at least one, and of the grid;
    then moved inside the limits.  The number of chunks follows.
    """
    limits = LengthLimits.of(tables)
    unit = math.lcm(max(tables.page, ALIGNMENT), tables.quantum)
    indices = [0]
    while indices[-1] < tables.steps:
        at = indices[-1]
        # The tolerance keeps the first chunk, whose length is exactly the base, from being cut short.
        wanted = max(int(rule(fit, int(tables.grid[at]), base) + TOLERANCE) // unit * unit, unit)
        step = min(max(wanted // tables.quantum, limits.least), limits.most)
        left = tables.steps - at
        if step >= left or left < step + limits.last_least:
            step = left if left <= limits.last_most else left - limits.last_least
        if not (limits.least <= step <= limits.most if step < left else left >= limits.last_least):
            return None
        indices.append(at + step)
    count = len(indices) - 1
    return np.array(indices, dtype=np.int64) if count in tables.counts else None


def sglang_dynamic(tables: Tables, asked_to_stop: AskedToStop = never) -> list[IntArray]:
    """Candidates for the base sizes S / m, m any count: the engine's one setting is free.

    Source: SGLang's dynamic chunking for pipelined prefill.
    """
    bases = dict.fromkeys(-(-tables.tokens // count) for count in range(1, tables.max_chunks + 1))
    fit = fit_quadratic(tables)
    found: list[IntArray] = []
    for base in bases:
        stop_if(asked_to_stop)
        indices = dynamic_chunks(tables, base, fit)
        if indices is not None:
            found.append(indices)
    return found
