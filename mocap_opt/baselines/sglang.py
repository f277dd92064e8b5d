"""SGLang's dynamic chunking: each next chunk is to take as long as the first.

Source: SGLang, ``ChunkSizePredictor`` and ``profile_and_init_predictor`` of its pipeline scheduler.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.baselines.compose import NoFitError
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.tables.cost_tables import Tables

SMOOTHING = 0.75
ALIGNMENT = 64
TOLERANCE = 1e-3

SAMPLES = 128
"""Lengths that the engine times when it starts."""

LONGEST_SAMPLE = 1.25
"""The longest of them, in base sizes."""

LEAST_SAMPLES = 8
"""Samples below which the engine does not fit."""

Rule = Callable[[tuple[float, ...], int, int], float]
"""From a fit, the tokens so far and the base size to the length wanted next, tokens."""


def sampled_lengths(tables: Tables, base: int) -> IntArray:
    """Lengths that the engine times without a prefix, in grid steps, int64[sample].

    Sample i of 128 has ``1.25 base - i floor(1.25 base / 128)`` tokens, longest first, and the first is
    dropped (it warms the engine up).  Lengths are rounded to the grid, at least one step, and those that
    the tables cannot tell are left out: beyond the prompt, or, of measured times, beyond the limits on
    lengths.

    Parameters
    ----------
    tables : Tables
    base : int
        Base chunk size, tokens.
    """
    longest = LONGEST_SAMPLE * base
    lengths = (longest - np.arange(SAMPLES) * (longest // SAMPLES)).astype(np.int64)[1:]
    steps = np.maximum((lengths[lengths > 0] + tables.quantum // 2) // tables.quantum, 1)
    steps = steps[steps <= tables.steps]
    if tables.residual is not None:
        steps = steps[tables.length_allowed[:, steps].any(axis=0)]
    return steps


def fit_quadratic(tables: Tables, base: int) -> tuple[float, float, float]:
    """Least-squares a, b, c of the first stage's times of prefix-free chunks, a l^2 + b l + c ticks.

    Parameters
    ----------
    tables : Tables
        Times of a request with a cached prefix P contain it, as 2 a P l, which is taken out of b again.
    base : int
        Base chunk size, tokens.

    Raises
    ------
    NoFitError
        If there are too few samples, or a is not positive: the engine then turns the rule off.
    """
    steps = sampled_lengths(tables, base)
    if steps.size < LEAST_SAMPLES or np.unique(steps).size < 3:
        raise NoFitError(f"base {base}: the grid tells too few lengths up to {LONGEST_SAMPLE} x base to fit")
    times = tables.tau(0, np.zeros_like(steps), steps).astype(float)
    # In parts of the longest length, so that the three columns are of one size.
    unit = float(tables.grid[steps].max())
    lengths = tables.grid[steps] / unit
    columns = np.column_stack([lengths**2, lengths, np.ones_like(lengths)])
    (a, b, c), *_ = np.linalg.lstsq(columns, times, rcond=None)
    # Equal times leave rounding, not a curve, in a.
    if a <= 1e-9 * times.max():
        raise NoFitError(f"base {base}: times do not grow with the square of the length (a <= 0)")
    a, b = float(a) / unit**2, float(b) / unit
    return a, max(b - 2 * a * tables.prefix, 0.0), float(c)


def next_chunk(fit: tuple[float, ...], history: int, base: int) -> float:
    """Smoothed length of a later chunk after `history` tokens, those of a cached prefix included.

    x solves a x^2 + (2 a L + b) x = f(base) - f(0); then base + 0.75 (x - base), at least base / 4.

    Parameters
    ----------
    fit : tuple of float
        a, b, c of `fit_quadratic`; a > 0.
    history, base : int
        Tokens.
    """
    a, b, *_ = fit
    target = a * base * base + b * base
    slope = 2 * a * history + b
    # The form of the root that stays accurate as a goes to 0.
    length = 2 * target / (slope + math.sqrt(slope * slope + 4 * a * target))
    return max(base + SMOOTHING * (length - base), base // 4)


def dynamic_chunks(
    tables: Tables, base: int, fit: tuple[float, ...], rule: Rule = next_chunk, *, sized_first: bool = False
) -> IntArray | None:
    """Boundaries from a base chunk size, int64[chunks + 1], or None if the limits are missed.

    Lengths are rounded down to a multiple of max(page, 64) tokens, at least one, and of the grid;
    then moved inside the limits.  The number of chunks follows.

    Parameters
    ----------
    tables : Tables
    base : int
        Base chunk size, tokens.
    fit : tuple of float
        What `rule` takes.
    rule : callable
        From the fit, the tokens so far (a cached prefix included) and the base to a length.
    sized_first : bool
        Whether the rule sizes the first chunk too.  SGLang sizes chunks of a request that is under way:
        the first one is of the base size, also after a cached prefix.
    """
    limits = LengthLimits.of(tables)
    unit = math.lcm(max(tables.page, ALIGNMENT), tables.quantum)
    # A chunk as long as the prompt is the only one.
    most = tables.steps if tables.length_allowed[0, tables.steps] else limits.most
    indices = [0]
    while indices[-1] < tables.steps:
        at = indices[-1]
        length = rule(fit, tables.prefix + int(tables.grid[at]), base) if at or sized_first else base
        # The tolerance keeps a chunk of exactly the base size from being cut short.
        wanted = max(int(length + TOLERANCE) // unit * unit, unit)
        step = min(max(wanted // tables.quantum, limits.least), most)
        left = tables.steps - at
        if step >= left or left < step + limits.last_least:
            step = left if left <= limits.last_most else left - limits.last_least
        if not (limits.least <= step <= limits.most if step < left else left >= limits.last_least):
            return None
        indices.append(at + step)
    count = len(indices) - 1
    return np.array(indices, dtype=np.int64) if count in tables.counts else None


def sglang_dynamic(tables: Tables, base: int) -> IntArray | None:
    """Boundaries of a base size (the engine's ``--chunked-prefill-size``), or None.

    Parameters
    ----------
    tables : Tables
    base : int
        Tokens.

    Raises
    ------
    NoFitError
        As `fit_quadratic`.
    """
    return dynamic_chunks(tables, base, fit_quadratic(tables, base))
