"""Homes in a cycle that lie no farther along the pipeline than asked (formulations/period.md, Heuristics).

How far back a stage lends memory decides how long requests wait; greedy homes do not see that another
placement of all stages together would do with shorter distances, a linear program does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import linprog

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_lengths import within_limits
from mocap_opt.homes.slot_placement import room
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.tables.cost_tables import Tables

MOST_CELLS = 16_384
"""Stages x chunks x memories up to which the linear program takes some hundredths of a second."""

WHOLE_S = 1.0
"""Seconds that whole pages may take."""

WHOLE_GAP = 0.05
"""Gap at which whole pages are taken as they are."""

FARTHER = 0.02
"""What a page costs more for each stage farther away."""

DRAWN = 0.5
"""What a page costs more at most where that is drawn."""


def schedule_within_reach(
    tables: Tables,
    indices: IntArray,
    slots: int,
    reach: npt.NDArray[np.bool_],
    rng: np.random.Generator | None = None,
) -> Schedule | None:
    """Boundaries with as few pages as possible away from home, none where it may not live.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices.
    slots : int
        W, at least the chunks.
    reach : bool[stage, chunk, memory]
        Where KV may live.
    rng : numpy.random.Generator, optional
        Draws which memories are dearer; without it farther ones are.

    Returns
    -------
    Schedule or None
        None if there are no such homes, or they are not whole pages, or too many to choose from.
    """
    stages, chunks = tables.stages, indices.size - 1
    if stages * tables.memories * chunks > MOST_CELLS or not within_limits(tables, indices):
        return None
    free = room(tables, indices, interval=slots)
    if (free < 0).any():
        return None
    pages = _fewest_away(tables, indices, free, reach, rng)
    if pages is None:
        return None
    found = Schedule.of(tables, Plan.from_arrays(tables, indices, pages), slots)
    return None if schedule_violations(found) else found


def _fewest_away(
    tables: Tables,
    indices: IntArray,
    free: IntArray,
    reach: npt.NDArray[np.bool_],
    rng: np.random.Generator | None,
) -> IntArray | None:
    """Pages away from home, int64[stage, chunk, memory]; None if no whole ones are found.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices.
    free : int64[memory, slot], bytes
        For KV, in each slot of an interval.
    reach : bool[stage, chunk, memory]
    rng : numpy.random.Generator or None
    """
    (memories, slots), stages, chunks = free.shape, tables.stages, indices.size - 1
    produced = np.tile(np.diff(tables.pages[indices]), (stages, 1))
    stage, chunk, memory = np.nonzero(reach)
    alive = [
        (k * slots + np.arange(i + j, i + chunks) % slots)
        for i, j, k in zip(stage, chunk, memory, strict=True)
    ]
    columns = np.repeat(np.arange(stage.size), [each.size for each in alive])
    unit = float(max(int(np.gcd.reduce(tables.page_bytes)), 1))
    held = sparse.csc_array(
        (tables.page_bytes[stage[columns]] / unit, (np.concatenate(alive), columns)),
        shape=(memories * slots, stage.size),
    )
    each = sparse.csc_array(
        (np.ones(stage.size), (stage * chunks + chunk, np.arange(stage.size))),
        shape=(stages * chunks, stage.size),
    )
    away = np.abs(stage - memory)
    dearer = FARTHER * away if rng is None else rng.random(away.size) * DRAWN
    solve: Any = linprog  # sparse matrices are fine, whatever the stubs say
    pages = np.zeros((stages, chunks, memories), dtype=np.int64)
    # Mostly pages come out whole; where stages' pages are of unlike sizes they may have to be asked for.
    for whole in (0, 1):
        answer = solve(
            np.where(away > 0, 1 + dearer, 0.0),
            A_ub=held,
            b_ub=np.floor(free.reshape(-1) / unit),
            A_eq=each,
            b_eq=produced.reshape(-1).astype(np.float64),
            integrality=whole,
            options={"time_limit": WHOLE_S, "mip_rel_gap": WHOLE_GAP} if whole else {},
        )
        if answer.x is None:
            return None
        pages[stage, chunk, memory] = np.round(answer.x)
        if np.array_equal(pages.sum(axis=2), produced) and np.abs(answer.x - np.round(answer.x)).max() < 1e-6:
            break
    else:
        return None
    pages[np.arange(stages), :, np.arange(stages)] = 0
    return pages
