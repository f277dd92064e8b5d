"""ATOM's dynamic chunking: as SGLang's, with a cost of the prefix that every chunk pays."""

from __future__ import annotations

from functools import partial

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.baselines.engine_chunks import EngineRule, Setting, smoothed, successive_chunks
from mocap_opt.calibration.fit import features
from mocap_opt.calibration.least_squares import nonnegative_least_squares
from mocap_opt.tables.cost_tables import Tables

SMOOTHING = 0.75
"""Taken where none is given (the engine's ``--dynamic-chunking-smooth-factor``)."""

LEAST_CHUNK = 4096
"""The engine's default least length of a chunk, tokens."""

PREFIX_SHARE = 0.2
"""Part of a chunk's time that work on the prefix may take before the chunk is made longer."""

USEFUL_SHRINK = 0.05
"""Part of the base size by which the second chunk has to be shorter for the engine to leave fixed chunks."""

SAMPLES = 24
"""Lengths and starts that are timed at most, each."""


def fit_with_prefix(tables: Tables) -> tuple[float, float, float, float]:
    """Least-squares c, b, a, gamma of t(L, x) = c + gamma L + b x + a (2 L x + x^2), ticks; none negative.

    Timings are those of the first stage, as the engine has them, of chunks that the limits on lengths
    allow, evenly spread over lengths and starts; residuals count as parts of the time.  L contains the
    cached prefix.
    """
    a, b = _samples(tables)
    if not a.size:
        return 0.0, 0.0, 0.0, 0.0
    times = tables.tau(0, a, b)
    weight = 1 / np.maximum(times, 1)
    columns = features(tables.grid[b] - tables.grid[a], tables.prefix + tables.grid[a]) * weight[:, None]
    c, linear, quadratic, gamma = nonnegative_least_squares(columns, times * weight).tolist()
    return c, linear, quadratic, gamma


def _samples(tables: Tables) -> tuple[IntArray, IntArray]:
    """Start and end of the allowed chunks with a few lengths and a few starts, grid indices."""
    steps, allowed = tables.steps, tables.length_allowed
    length = np.arange(1, steps + 1)
    # A chunk that does not end at the last grid point leaves at least one step after it.
    inner, last = allowed[0, 1:] & (length < steps), allowed[1, 1:]
    shortest = int(np.argmax(inner)) + 1 if inner.any() else steps
    start = np.arange(steps)
    lengths = _spread(length[inner | last])
    starts = _spread(start[(start + shortest < steps) | last[steps - start - 1]])
    a, b = (axis.ravel() for axis in np.broadcast_arrays(starts[:, None], starts[:, None] + lengths))
    there = b <= steps
    a, b = a[there], b[there]
    kept = allowed[(b == steps).astype(np.int64), b - a]
    return a[kept], b[kept]


def _spread(values: IntArray) -> IntArray:
    """At most `SAMPLES` of the sorted values, evenly spread."""
    if not values.size:
        return values
    few: IntArray = values[np.unique(np.linspace(0, values.size - 1, SAMPLES).astype(np.int64))]
    return few


def next_chunk(fit: tuple[float, ...], history: int, base: int, smoothing: float = SMOOTHING) -> float:
    """Smoothed length of the next chunk after `history` tokens, those of a cached prefix included.

    x solves a (2 L x + x^2) + b x = a B^2 + b B - gamma L: the first chunk's time, less what this chunk
    pays for the prefix.  Then base + smoothing (x - base), at least 4096 tokens, at least so long that the
    prefix takes no more than a fifth of its time, and at most the base.  Where the prefix alone takes the
    first chunk's time no length will do, and the chunk is of the base size.

    Parameters
    ----------
    fit : tuple of float
        c, b, a, gamma of `fit_with_prefix`.
    history, base : int
        Tokens.
    smoothing : float
    """
    _, b, a, gamma = fit
    target = a * base * base + b * base - gamma * history
    if target <= 0:
        return float(base)
    length = smoothed(base, _solved(fit, history, target), smoothing)
    within = _solved(fit, history, gamma * history * (1 - PREFIX_SHARE) / PREFIX_SHARE)
    return min(max(length, LEAST_CHUNK, within), base)


def _solved(fit: tuple[float, ...], history: int, target: float) -> float:
    """Length x of a (2 L x + x^2) + b x = target, in the form that stays accurate as a goes to 0."""
    _, b, a, _ = fit
    slope = 2 * a * history + b
    if target <= 0 or (slope <= 0 and a <= 0):
        return 0.0
    length: float = 2 * target / (slope + (slope * slope + 4 * a * target) ** 0.5)
    return length


def shrinks_usefully(fit: tuple[float, ...], base: int) -> bool:
    """Whether a chunk after one of the base size is to be shorter by a twentieth; the engine asks this once.

    Where times grow with the length alone, equal times are equal lengths, and only rounding would make
    more chunks of them.

    Parameters
    ----------
    fit : tuple of float
        c, b, a, gamma of `fit_with_prefix`.
    base : int
        Tokens.
    """
    _, b, a, gamma = fit
    target = a * base * base + b * base - gamma * base
    return a > 0 and target > 0 and _solved(fit, base, target) <= (1 - USEFUL_SHRINK) * base


def atom_dynamic(tables: Tables, setting: Setting) -> IntArray | None:
    """Boundaries of a base size (the engine's token budget), or None.

    Where the fit shows no growth with what a chunk attends to, or too little for chunks to shrink, the
    engine keeps chunks of the base size.

    Source: ATOM, dynamic chunked prefill (``ChunkLatencyCalibrator``, ``ChunkSizePredictor``); least chunk
    as it has it by default.

    Parameters
    ----------
    tables : Tables
    setting : Setting
    """
    fit, base = fit_with_prefix(tables), setting.base
    rule = partial(next_chunk, fit, smoothing=RULE.smoothed(setting))
    sizes = rule if shrinks_usefully(fit, base) else _base_size
    return successive_chunks(tables, base, sizes, sized_first=True)


def _base_size(history: int, base: int) -> float:
    """Length of every chunk where the engine does not size them."""
    return float(base)


RULE = EngineRule("ATOM's dynamic chunking", atom_dynamic, SMOOTHING)
