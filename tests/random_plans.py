"""Random feasible plans, and descent from them: adversaries for every bound."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.tables.cost_tables import Tables

Objective = Callable[[Tables, Plan], int | Fraction]


def random_plan(
    tables: Tables, rng: np.random.Generator, scatter: float = 0.2, tries: int = 8
) -> Plan | None:
    """A random feasible plan, or None if repair does not find one.

    Parameters
    ----------
    tables : Tables
    rng : numpy.random.Generator
    scatter : float
        Share of the chunks of each stage that start with some KV away from home.
    tries : int
        Random partitions to try.
    """
    for _ in range(tries):
        indices = random_partition(tables, rng)
        if indices is None:
            return None
        pages = _scattered(tables, indices, rng, scatter)
        repaired = _repair(tables, indices, pages, rng)
        if repaired is None:
            continue
        plan = Plan.from_arrays(tables, indices, repaired)
        # Repair knows memory; what else may be wrong is a chunk too long between tokens.
        if tables.between_tokens is None or not violations(tables, plan):
            return plan
    return None


def random_partition(tables: Tables, rng: np.random.Generator) -> list[int] | None:
    """Grid indices of a random partition that keeps to count and limits; None if none was found.

    Chunks grow or shrink along the prompt at a random rate, with more or less noise: even, wild,
    falling (as when memory is slack) and steeply rising (as when it is tight) all occur.
    """
    regular, last = (np.flatnonzero(allowed) for allowed in tables.length_allowed)
    counts = list(tables.counts)
    if not last.size:
        return None
    for _ in range(50):
        chunks = int(rng.choice(counts))
        slope, noise = rng.uniform(-2.0, 4.0), rng.choice([0.0, 0.3, 1.0])
        weights = np.exp(slope * np.linspace(0.0, 1.0, chunks) + noise * rng.standard_normal(chunks))
        tail = int(last[np.abs(last - tables.steps * weights[-1] / weights.sum()).argmin()])
        left, inner = tables.steps - tail, chunks - 1
        if inner == 0 and left == 0:
            return [0, tables.steps]
        if inner == 0 or not regular.size or not regular[0] * inner <= left <= regular[-1] * inner:
            continue
        indices = [0]
        for j in range(inner):
            low = max(regular[0], left - (inner - j - 1) * regular[-1])
            high = min(regular[-1], left - (inner - j - 1) * regular[0])
            length = int(np.clip(round(left * weights[j] / weights[j:-1].sum()), low, high))
            indices.append(indices[-1] + length)
            left -= length
        return [*indices, tables.steps]
    return None


def _scattered(tables: Tables, indices: list[int], rng: np.random.Generator, scatter: float) -> np.ndarray:
    """Pages by home, int64[stage, chunk, memory], with random parts away from their stage."""
    stages, sizes = tables.stages, np.diff(tables.pages[indices])
    pages = np.zeros((stages, sizes.size, tables.memories), dtype=np.int64)
    for i in range(stages):
        pages[i, :, i] = sizes
        for j in np.flatnonzero(rng.random(sizes.size) < scatter):
            k, moved = int(rng.integers(tables.memories)), int(rng.integers(1, sizes[j] + 1))
            pages[i, j, i] -= moved
            pages[i, j, k] += moved
    return pages


def _repair(
    tables: Tables, indices: list[int], pages: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    """Move pages out of overfull memories into room that lasts as long as they do."""
    stages, chunks = pages.shape[:2]
    longest = int(np.diff(tables.grid[indices]).max())
    room = np.repeat(
        (tables.capacity - tables.static - tables.reserve(longest))[:, None], chunks + stages - 1, axis=1
    )
    for i in range(stages):
        room[i, i : i + chunks] -= tables.prefix_bytes[i]
        room[:, i : i + chunks] -= tables.page_bytes[i] * np.cumsum(pages[i], axis=0).T
    for _ in range(4 * stages * chunks):
        overfull = np.argwhere(room < 0)
        if not overfull.size:
            return pages
        k, t = (int(x) for x in overfull[rng.integers(len(overfull))])
        there = [(i, j) for i, j in np.argwhere(pages[:, :, k]).tolist() if i + j <= t < i + chunks]
        if not there:
            return None
        i, j = there[rng.integers(len(there))]
        alive, size = slice(i + j, i + chunks), int(tables.page_bytes[i])
        fits = np.maximum(room[:, alive].min(axis=1), 0) // max(size, 1)
        fits[k] = 0
        if not fits.any():
            continue
        other = int(rng.choice(np.flatnonzero(fits)))
        wanted = -(-int(-room[k, alive].min()) // max(size, 1))
        moved = min(int(fits[other]), int(pages[i, j, k]), wanted)
        pages[i, j, k] -= moved
        pages[i, j, other] += moved
        room[k, alive] += moved * size
        room[other, alive] -= moved * size
    return None


def descend(
    tables: Tables, plan: Plan, objective: Objective, rng: np.random.Generator, steps: int = 200
) -> tuple[Plan, int | Fraction]:
    """Local search from a feasible plan; never leaves feasible plans, never gets worse.

    A step shifts, drops or adds a boundary or moves KV, and repairs homes if that overfills a memory.

    Returns
    -------
    plan : Plan
    value : int or Fraction
        Its objective.
    """
    value = objective(tables, plan)
    for _ in range(steps):
        neighbour = _neighbour(tables, plan, rng)
        if neighbour is None or violations(tables, neighbour):
            continue
        changed = objective(tables, neighbour)
        if changed <= value:
            plan, value = neighbour, changed
    return plan, value


def _neighbour(tables: Tables, plan: Plan, rng: np.random.Generator) -> Plan | None:
    indices, remote = plan.grid_indices(tables).tolist(), plan.remote_pages(tables)
    inner = len(indices) - 2
    kind = str(rng.choice(["shift", "shift", "drop", "add", "home", "away"]))
    if kind == "shift" and inner:
        at = int(rng.integers(1, inner + 1))
        indices[at] += int(rng.choice([-3, -2, -1, 1, 2, 3]))
        if not indices[at - 1] < indices[at] < indices[at + 1]:
            return None
    elif kind == "drop" and inner:
        at = int(rng.integers(1, inner + 1))
        del indices[at]
        remote[:, at - 1] += remote[:, at]
        remote = np.delete(remote, at, axis=1)
    elif kind == "add":
        at = int(rng.integers(inner + 1))
        if indices[at + 1] - indices[at] < 2:
            return None
        indices.insert(at + 1, int(rng.integers(indices[at] + 1, indices[at + 1])))
        remote = np.insert(remote, at, 0, axis=1)
    elif kind == "home" and remote.any():
        cells = np.argwhere(remote)
        i, j, k = cells[rng.integers(len(cells))]
        remote[i, j, k] -= int(rng.integers(1, remote[i, j, k] + 1))
    elif kind == "away":
        i, j, k = rng.integers(tables.stages), rng.integers(inner + 1), rng.integers(tables.memories)
        remote[i, j, k] += 1
    else:
        return None
    sizes = np.diff(tables.pages[indices])
    own = np.arange(tables.stages)
    remote[own, :, own] = 0
    # A chunk that shrank keeps away no more than it has: cut from the last memory on.
    remote = np.diff(np.minimum(np.cumsum(remote, axis=2), sizes[None, :, None]), axis=2, prepend=0)
    remote[own, :, own] = sizes - remote.sum(axis=2)
    pages = _repair(tables, indices, remote, rng)
    return None if pages is None else Plan.from_arrays(tables, indices, pages)
