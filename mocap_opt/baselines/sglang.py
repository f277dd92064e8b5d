"""SGLang's dynamic chunking: each next chunk is to take as long as the first.

Source: SGLang, ``ChunkSizePredictor`` and ``profile_and_init_predictor`` of its pipeline scheduler.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.baselines.engine_chunks import EngineRule, NoFitError, Setting, smoothed, successive_chunks
from mocap_opt.tables.cost_tables import Tables

SMOOTHING = 0.75
"""The engine's default (SGLANG_DYNAMIC_CHUNKING_SMOOTH_FACTOR)."""

SAMPLES = 128
"""Lengths that the engine times when it starts."""

LONGEST_SAMPLE = 1.25
"""The longest of them, in base sizes."""

LEAST_SAMPLES = 8
"""Samples below which the engine does not fit."""


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


def next_chunk(fit: tuple[float, ...], history: int, base: int, smoothing: float = SMOOTHING) -> float:
    """Smoothed length of a later chunk after `history` tokens, those of a cached prefix included.

    x solves a x^2 + (2 a L + b) x = f(base) - f(0); then base + smoothing (x - base), at least base / 4.

    Parameters
    ----------
    fit : tuple of float
        a, b, c of `fit_quadratic`; a > 0.
    history, base : int
        Tokens.
    smoothing : float
    """
    a, b, *_ = fit
    target = a * base * base + b * base
    slope = 2 * a * history + b
    # The form of the root that stays accurate as a goes to 0.
    length = 2 * target / (slope + math.sqrt(slope * slope + 4 * a * target))
    return max(smoothed(base, length, smoothing), base // 4)


def sglang_dynamic(tables: Tables, setting: Setting) -> IntArray | None:
    """Boundaries of a base size (the engine's ``--chunked-prefill-size``), or None.

    Parameters
    ----------
    tables : Tables
    setting : Setting
        The smoothing is the engine's SGLANG_DYNAMIC_CHUNKING_SMOOTH_FACTOR.

    Raises
    ------
    NoFitError
        As `fit_quadratic`.
    """
    fit = fit_quadratic(tables, setting.base)
    return successive_chunks(tables, setting.base, partial(next_chunk, fit, smoothing=RULE.smoothed(setting)))


RULE = EngineRule("SGLang's dynamic chunking", sglang_dynamic, SMOOTHING)
