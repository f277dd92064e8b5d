"""Timings that an instance's own costs would give: a list of what to measure, or synthetic measurements."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.timings import MOST_SECONDS, Timings
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

if TYPE_CHECKING:
    from mocap_opt.instance import Instance

PREFIXES = 9
"""Prefixes that are listed, evenly spread."""


def sample_timings(instance: Instance, *, noise: float = 0.0, seed: int = 0) -> Timings:
    """List the times of chunks on a lattice that covers every chunk of the instance.

    Lengths double from the shortest chunk allowed to the longest; prefixes are spread evenly from
    the cached prefix to the start of the latest chunk.

    Parameters
    ----------
    instance : Instance
        Of one prompt, with computed costs.
    noise : float
        Standard deviation of the logarithm of a factor that each time is multiplied by.
    seed : int
        Of the noise.

    Returns
    -------
    Timings
        By stage where stages differ.

    Raises
    ------
    InputError
        If no chunk is allowed, or a time is 0 or too long.
    """
    tables = build_tables(instance)
    lengths, starts = _lattice(tables)
    quantum, stages = tables.quantum, tables.stages
    # Long chunks late in the prompt reach beyond it: the same costs, of a longer prompt.
    reach = int(starts[-1] + lengths[-1]) * quantum
    workload = instance.workload.model_copy(update={"tokens": max(reach, instance.workload.tokens)})
    longer = build_tables(instance.model_copy(update={"workload": workload}))
    length, start = (part.ravel() for part in np.meshgrid(lengths, starts, indexing="ij"))
    ticks = longer.tau(np.arange(stages)[:, None], start, start + length)
    if (ticks == ticks[0]).all():
        ticks = ticks[:1]
    seconds = ticks * float(tables.tick_s)
    if noise:
        seconds = seconds * np.exp(noise * np.random.default_rng(seed).standard_normal(seconds.shape))
    if not ((seconds > 0) & (seconds <= MOST_SECONDS)).all():
        found = f"{float(seconds.min()):.3g} s to {float(seconds.max()):.3g} s"
        raise InputError([Problem("costs", found, f"chunk times above 0, up to {MOST_SECONDS:g} s")])
    stage = np.repeat(np.arange(ticks.shape[0]), length.size)
    return Timings(
        instance.name,
        np.tile(length * quantum, ticks.shape[0]),
        np.tile(tables.prefix + start * quantum, ticks.shape[0]),
        np.asarray(seconds, dtype=np.float64).ravel(),
        stage if ticks.shape[0] > 1 else None,
    )


def _lattice(tables: Tables) -> tuple[IntArray, IntArray]:
    """Lengths and starts in grid steps."""
    if tables.tokens % tables.quantum:
        found, expected = f"{tables.tokens}", f"a multiple of the quantum ({tables.quantum})"
        raise InputError([Problem("workload.tokens", found, expected, "round it up")])
    allowed = np.flatnonzero(tables.length_allowed.any(axis=0))
    if not allowed.size:
        raise InputError([Problem("chunking", "none", "a length of chunks that the limits allow")])
    least, most = int(allowed[0]), int(allowed[-1])
    doubled = [least << power for power in range((most // least).bit_length())]
    starts = np.linspace(0, tables.steps - least, PREFIXES).round().astype(np.int64)
    return np.unique(np.array([*doubled, most], dtype=np.int64)), np.unique(starts)


def timings_csv(timings: Timings, comments: Iterable[str] = ()) -> str:
    """Write timings as `mocap_opt.instance.timings.parse_timings` reads them; nine digits.

    Parameters
    ----------
    timings : Timings
    comments : iterable of str
        Written above the header, a line each.
    """
    lines = [f"# {comment}" for comment in comments]
    staged = timings.stage is not None
    lines.append("chunk_tokens,prefix_tokens,seconds" + (",stage" if staged else ""))
    for n in range(timings.length.size):
        row = f"{timings.length[n]},{timings.prefix[n]},{timings.seconds[n]:.9g}"
        lines.append(row + (f",{timings.stage[n]}" if timings.stage is not None else ""))
    return "\n".join(lines) + "\n"
