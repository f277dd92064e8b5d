"""ATOM's dynamic chunking: as SGLang's, with a cost of the prefix that every chunk pays."""

from __future__ import annotations

from functools import partial

import numpy as np

from mocap_opt.calibration.fit import features, nonnegative_least_squares
from mocap_opt.heuristics.sglang_dynamic import SMOOTHING, dynamic_chunks
from mocap_opt.stopping import AskedToStop, never, stop_if
from mocap_opt.tables import IntArray, Tables

LEAST_CHUNK = 4096
"""The engine's default least length of a chunk, tokens."""

SAMPLES = 24
"""Lengths and starts that are timed at most, each."""


def fit_with_prefix(tables: Tables) -> tuple[float, float, float, float]:
    """Least-squares c, b, a, gamma of t(L, x) = c + gamma L + b x + a (2 L x + x^2), ticks; none negative.

    Timings are the longest stage times of chunks that the limits on lengths allow, evenly spread
    over lengths and starts; residuals count as parts of the time.  L contains the cached prefix.
    """
    a, b = _samples(tables)
    if not a.size:
        return 0.0, 0.0, 0.0, 0.0
    times = tables.tau(np.arange(tables.stages)[:, None], a, b).max(axis=0)
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


def next_chunk(fit: tuple[float, ...], history: int, base: int, *, prefix: int) -> float:
    """Smoothed length of the next chunk after `history` tokens of the prompt, tokens.

    x solves t(L, x) = t(P, base) with L = P + history; then base + 0.75 (x - base), at least 4096
    tokens and at most the base.
    """
    _, b, a, gamma = fit
    least = min(LEAST_CHUNK, base)
    # What is left of the first chunk's time once the longer prefix is paid for.
    target = a * base * base + (2 * a * prefix + b) * base - gamma * history
    slope = 2 * a * (prefix + history) + b
    if target <= 0:
        return float(least)
    length = float(base)
    if a > 0 or slope > 0:
        length = 2 * target / (slope + (slope * slope + 4 * a * target) ** 0.5)
    return min(max(base + SMOOTHING * (length - base), least), base)


def atom_dynamic(tables: Tables, asked_to_stop: AskedToStop = never) -> list[IntArray]:
    """Candidates for the base sizes S / m, m any count: the engine's token budget is free.

    Source: ATOM, dynamic chunked pipeline parallelism; smoothing factor and least chunk as it has
    them by default.
    """
    bases = dict.fromkeys(-(-tables.tokens // count) for count in range(1, tables.max_chunks + 1))
    fit, rule = fit_with_prefix(tables), partial(next_chunk, prefix=tables.prefix)
    found: list[IntArray] = []
    for base in bases:
        stop_if(asked_to_stop)
        indices = dynamic_chunks(tables, base, fit, rule)
        if indices is not None:
            found.append(indices)
    return found
