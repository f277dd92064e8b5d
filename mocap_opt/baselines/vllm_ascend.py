"""vLLM-Ascend's dynamic chunking: SGLang's, then refitted on the batches it serves.

Source: vllm-project/vllm-ascend at 182b75ea84ff (2026-08-22), ``core/profiling_chunk_predictor.py``
(``ChunkSizePredictor``, ``ProfilingChunkManager``), ``core/scheduler_profiling_chunk.py`` and
``patch/platform/patch_profiling_chunk.py``; defaults of ``profiling_chunk_config`` from
``ascend_config.py``, which sets the smoothing to 1 (the classes' own default is 0.8).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.baselines.engine_chunks import EngineRule, NoFitError, Setting, smoothed, successive_chunks
from mocap_opt.tables.cost_tables import Tables

SMOOTHING = 1.0
"""``smooth_factor`` of the engine's configuration by default."""

LEAST_CHUNK = 4096
"""``min_chunk``, tokens; the engine lowers it to the token budget."""

SAMPLES = 64
"""Lengths timed when the engine starts, from the base size down in equal steps."""

LEAST_SAMPLES = 8
"""Samples below which the engine does not fit."""

LEAST_BATCHES, MOST_BATCHES = 5, 30
"""Served batches from which on the engine refits, and at which it stops (``max_fit_chunk``)."""

FIRST_CHUNKS = 3
"""First chunks of requests whose time is taken as the target before the engine stops timing."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Model:
    """What the engine knows of times, ticks.

    Attributes
    ----------
    startup : tuple of float
        a, b, c of f(l) = a l^2 + b l + c, prefix-free chunks.
    target : float
        Time that every chunk is to take.
    served : tuple of float or None
        a, b, c of f(C, H) = a C (C + H) + b (C + H) + c, once enough batches are served.
    timed : bool
        Whether the engine still times batches; then it leaves first chunks alone.
    """

    startup: tuple[float, float, float]
    target: float
    served: tuple[float, float, float] | None = None
    timed: bool = True

    def solved(self, history: int) -> float | None:
        """Length of a chunk after `history` tokens that takes the target; None if there is none."""
        if self.served is None:
            a, b, _ = self.startup
            slope, rest = 2 * a * history + b, -self.target
        else:
            a, b, c = self.served
            slope, rest = a * history + b, b * history + c - self.target
        discriminant = slope * slope - 4 * a * rest
        if a == 0 or discriminant < 0:
            return None
        length = (math.sqrt(discriminant) - slope) / (2 * a)
        return length if length > 0 else None


def fit_startup(tables: Tables, base: int) -> tuple[float, float, float]:
    """Least-squares a, b, c of prefix-free times, a l^2 + b l + c ticks; any sign, as in the engine.

    Sample i of 64 has ``base - (i - 1) base / 64`` tokens, rounded to the grid.  The engine reads the
    reply of the last stage's first rank (``unique_reply_rank``).

    Parameters
    ----------
    tables : Tables
        Times of a request with a cached prefix P contain it, as 2 a P l, which is taken out of b again.
    base : int
        Tokens.

    Raises
    ------
    NoFitError
        If the grid tells fewer than three of the lengths, or eight samples.
    """
    lengths = (base - np.arange(SAMPLES) * (base / SAMPLES)).astype(np.int64)
    steps = np.maximum((lengths[lengths > 0] + tables.quantum // 2) // tables.quantum, 1)
    steps = steps[steps <= tables.steps]
    if tables.residual is not None:
        steps = steps[tables.length_allowed[:, steps].any(axis=0)]
    if steps.size < LEAST_SAMPLES or np.unique(steps).size < 3:
        raise NoFitError(f"base {base}: the grid tells too few lengths up to the base to fit")
    sampled = tables.grid[steps].astype(float)
    times = tables.tau(tables.stages - 1, np.zeros_like(steps), steps).astype(float)
    a, b, c = _least_squares(np.column_stack([sampled**2, sampled, np.ones_like(sampled)]), times)
    return a, b - 2 * a * tables.prefix, c


def _least_squares(columns: FloatArray, times: FloatArray) -> tuple[float, float, float]:
    """Three coefficients by least squares, columns scaled so that they are of one size."""
    scale = np.maximum(np.abs(columns).max(axis=0), 1.0)
    found, *_ = np.linalg.lstsq(columns / scale, times, rcond=None)
    a, b, c = (found / scale).tolist()
    return a, b, c


def calibrated(tables: Tables, setting: Setting) -> Model | None:
    """Model once the engine has served the prompt often enough to stop timing; None if limits are missed.

    The engine's page asks for prompts of full length, one at a time, to calibrate it.  Here it refits
    between them: a pipeline knows the time of a batch (the last stage's) some chunks later.

    Parameters
    ----------
    tables : Tables
    setting : Setting

    Raises
    ------
    NoFitError
        As `fit_startup`.
    """
    a, b, _ = startup = fit_startup(tables, setting.base)
    # The engine falls back to 1 ms where its fit gives no target.
    least = max(1.0, float(1 / (1000 * tables.tick_s)))
    target = a * setting.base**2 + b * setting.base
    model = Model(startup, target if target > 0 else least)
    rows: list[tuple[float, float, float]] = []
    times: list[int] = []
    requests = 0
    while len(rows) < MOST_BATCHES or requests < FIRST_CHUNKS:
        indices = chunks(tables, setting, model)
        if indices is None:
            return None
        requests += 1
        for start, end in zip(indices[:-1].tolist(), indices[1:].tolist(), strict=True):
            time = int(tables.tau(tables.stages - 1, start, end))
            before = tables.prefix + int(tables.grid[start])
            length = int(tables.grid[end] - tables.grid[start])
            if before == 0:
                model = Model(startup, float(time), model.served)
            if len(rows) < MOST_BATCHES:
                rows.append((length * (length + before), length + before, 1.0))
                times.append(time)
        if len(rows) >= LEAST_BATCHES:
            served = _least_squares(np.array(rows), np.array(times, dtype=float))
            model = Model(startup, model.target, served)
    # First chunks are told by having nothing before them; after a cached prefix timing never stops.
    return Model(startup, model.target, model.served, timed=tables.prefix > 0)


def chunks(tables: Tables, setting: Setting, model: Model) -> IntArray | None:
    """Boundaries that the engine makes with what it knows, int64[chunks + 1], or None.

    Parameters
    ----------
    tables : Tables
    setting : Setting
    model : Model
    """
    rule = partial(_next_chunk, model, RULE.smoothed(setting))
    first = not model.timed
    return successive_chunks(tables, setting.base, rule, sized_first=first, up=True, at_most_base=True)


def _next_chunk(model: Model, smoothing: float, history: int, base: int) -> float:
    length = model.solved(history)
    if length is None:
        return float(base)
    return min(max(smoothed(base, length, smoothing), LEAST_CHUNK), base)


def vllm_ascend_dynamic(tables: Tables, setting: Setting) -> IntArray | None:
    """Boundaries of a token budget (the engine's ``--max-num-batched-tokens``), calibrated, or None.

    Parameters
    ----------
    tables : Tables
    setting : Setting
        The smoothing is ``profiling_chunk_config.smooth_factor``.

    Raises
    ------
    NoFitError
        As `fit_startup`.
    """
    model = calibrated(tables, setting)
    return None if model is None else chunks(tables, setting, model)


RULE = EngineRule("vLLM-Ascend's dynamic chunking", vllm_ascend_dynamic, SMOOTHING)
