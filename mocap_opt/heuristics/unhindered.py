"""Plans in which admission holds nobody up: boundaries and homes for unlike stages together.

Where chunks of the best plan wait for memory, a latency between that of its boundaries alone and its own
is tried: homes are sought that keep to it, also for boundaries moved so that what comes in before a stage
ends leaves room; the latency then comes down by halving.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mocap_opt.heuristics.estimate import estimate
from mocap_opt.heuristics.linearised import balanced
from mocap_opt.heuristics.occupancy import pooled_shortage, room
from mocap_opt.heuristics.timely import harmless_ends, timely
from mocap_opt.plan import Plan
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables import IntArray, Tables
from mocap_opt.verify import violations

SLACKS = (0.0, 0.005, 0.01)
"""By how much more than their own latency boundaries are moved for, as a part of it."""

ROUNDS = 2
"""How often boundaries are moved for one such latency; what is harmless changes with them."""

BASES = 3
"""Boundaries for which homes are sought, the most promising first."""

FINE = 1e-3
"""Part of the latency at which halving ends."""

SEARCH_S = 10.0
"""Wall time for one search of homes up to `SEARCH_CELLS`, seconds; beyond, in proportion."""

SEARCH_CELLS = 512
"""Stages x chunks."""

SEARCH_UNITS = 5.0
"""The same under a deterministic limit, in CP-SAT's units."""


def unhindered(
    tables: Tables,
    plan: Plan,
    *,
    deterministic: bool = False,
    seed: int = 0,
    asked_to_stop: AskedToStop = never,
) -> Iterator[Plan]:
    """Better and better plans by the estimate, if chunks of a plan wait for memory.

    Parameters
    ----------
    tables : Tables
    plan : Plan
        Feasible.
    deterministic : bool
        Whether searches end by CP-SAT's own time instead of the clock.
    seed : int
    asked_to_stop : callable
        Checked between searches and inside them.
    """
    start = plan.grid_indices(tables)
    known = estimate(tables, start, plan.remote_pages(tables))
    if estimate(tables, start) * (1 + FINE) >= known:
        return
    bases = sorted(
        (least, n, indices)
        for n, indices in enumerate(_moved(tables, start, asked_to_stop))
        if (least := least_latency(tables, indices, known)) is not None
    )
    effort = max(1.0, tables.stages * plan.chunks / SEARCH_CELLS)
    seconds = SEARCH_S * effort
    for least, _, indices in bases[:BASES]:
        # The least latency of all is a hard one; where searches take long, start halfway.
        low, trial = least, least if effort == 1.0 else (least + known) // 2
        while trial < known * (1 - FINE / 4) and not asked_to_stop():
            homes = timely(
                tables,
                indices,
                trial,
                time_limit_s=None if deterministic else seconds,
                deterministic_limit=SEARCH_UNITS if deterministic else None,
                seed=seed,
                asked_to_stop=asked_to_stop,
            )
            reached = None if homes.pages is None else estimate(tables, indices, homes.pages)
            if homes.pages is not None and reached is not None and reached < known:
                found = Plan.from_arrays(tables, indices, homes.pages, plan.fingerprint)
                if not violations(tables, found):
                    known = reached
                    yield found
            if homes.pages is None or reached is None or reached >= known:
                low = max(low, trial)
            if known - low <= FINE * known:
                break
            trial = (low + known) // 2


def _moved(tables: Tables, start: IntArray, asked_to_stop: AskedToStop) -> list[IntArray]:
    """The boundaries, and others moved to leave room before each stage ends."""
    found = [start]
    alone = estimate(tables, start)
    for slack in SLACKS:
        indices = start
        for _ in range(ROUNDS):
            if asked_to_stop():
                return found
            latency = int(alone * (1 + slack))
            gate = _waits(tables, indices, latency)
            rounded = [
                other
                for other in balanced(tables, indices, gate, asked_to_stop=asked_to_stop)
                if pooled_shortage(tables, other) is None
            ]
            if not rounded:
                break
            indices = min(rounded, key=lambda other: estimate(tables, other))
            found.append(indices)
    return found


def _waits(tables: Tables, indices: IntArray, latency: int) -> IntArray:
    """The last stage each chunk may wait for, int64[stage, chunk]; -1 for none."""
    slot = np.arange(tables.stages)[:, None] + np.arange(indices.size - 1)
    ended: IntArray = np.minimum(harmless_ends(tables, indices, latency), slot - indices.size + 1)
    return np.maximum(ended, -1)


def least_latency(tables: Tables, indices: IntArray, most: int) -> int | None:
    """Least latency, of a few tried, for which all memories together have room; None if none below `most`.

    What has to come in before a stage ends has to fit beside what the stages before it have not freed.
    """
    alone = estimate(tables, indices)
    if alone >= most:
        return None
    latencies = [alone + (most - alone) * n // 16 for n in range(16)]
    low, high = 0, len(latencies)
    while low < high:
        middle = (low + high) // 2
        if _has_room(tables, indices, latencies[middle]):
            high = middle
        else:
            low = middle + 1
    return latencies[low] if low < len(latencies) else None


def _has_room(tables: Tables, indices: IntArray, latency: int) -> bool:
    """Whether what comes in before each stage's end fits all memories together."""
    gate, chunks = _waits(tables, indices, latency), indices.size - 1
    fresh, whole = np.diff(tables.pages[indices]), int(tables.pages[-1])
    free = np.maximum(room(tables, indices), 0).sum(axis=0)
    freed = 0
    for level in range(-1, tables.stages - 1):
        if level >= 0:
            freed += int(tables.page_bytes[level]) * whole
        brought = int(tables.page_bytes @ ((gate <= level) @ fresh))
        if brought - freed > int(free[chunks + level]):
            return False
    return True
