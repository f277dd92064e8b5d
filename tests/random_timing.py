"""Random availability, decode loops and limits between tokens, for instances that others draw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mocap_opt.tables.cost_tables import Tables


def with_availability(rng: np.random.Generator, tables: Tables) -> Tables:
    """Tokens that come to exist by and by, about as fast as stages work; at times late or in jumps."""
    whole = int(tables.tau(np.arange(tables.stages), 0, tables.steps).sum())
    pace = max(1, round(whole * float(rng.choice([0.05, 0.3, 0.6, 1.2])) / tables.steps))
    each = rng.integers(0, 2 * pace + 1, tables.steps)
    if rng.random() < 0.4:
        each = np.where(rng.random(tables.steps) < 0.4, 3 * each, 0)
    late = int(rng.integers(0, pace + 1)) if rng.random() < 0.3 else 0
    return replace(tables, available=np.concatenate([[0], late + np.cumsum(each)]).astype(np.int64))


def with_limit_between_tokens(rng: np.random.Generator, tables: Tables) -> Tables:
    """A limit that excludes some chunks, the longest ones mostly; now and then all."""
    a, b = np.triu_indices(tables.steps + 1, 1)
    stages = np.arange(tables.stages)[:, None]
    crossing = np.sort((tables.tau(stages, a, b) + tables.send_time(stages, a, b)).sum(axis=0))
    chosen = int(crossing[int(rng.integers(0, crossing.size))])
    return replace(tables, between_tokens=chosen - int(rng.random() < 0.1))


def with_timing(rng: np.random.Generator, tables: Tables, kinds: str = "alb") -> Tables:
    """Some of availability (a), a decode loop (l) and a limit between tokens (b), at least one."""
    chosen = [kind for kind in kinds if rng.random() < 0.6] or [kinds[int(rng.integers(len(kinds)))]]
    if "a" in chosen:
        tables = with_availability(rng, tables)
    if "l" in chosen:
        tables = replace(tables, loop=True)
    if "b" in chosen:
        tables = with_limit_between_tokens(rng, tables)
    return replace(tables, name=", ".join([tables.name, *chosen]))
