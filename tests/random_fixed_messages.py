"""Streamed weights, exports and prefix loads added to any tables that have a memory without a stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil

import numpy as np
from random_pools import with_random_pools
from random_tables import TINY_PAIR, Size, random_tables

from mocap_opt.tables.cost_tables import Tables

WEIGHTS, EXPORT, PREFIX = 0, 1, 2


def with_weights(tables: Tables, sizes: Sequence[int], pool: int, overlap: Fraction | int = 1) -> Tables:
    """Every chunk of stage i fetches so many bytes from a pool; compute waits for the part 1 - overlap."""
    rows = [[WEIGHTS, i, pool, i, size, 0, 0] for i, size in enumerate(sizes)]
    cost = tables.length_cost.copy()
    for i, size in enumerate(sizes):
        rates = zip(tables.share[:, pool, i].tolist(), tables.link_rate.tolist(), strict=True)
        times = [Fraction(size * share, tables.share_denominator * rate) for share, rate in rates]
        slowest = max([*times, Fraction(size, int(tables.port_rate[pool]))])
        cost[i] += ceil((1 - Fraction(overlap)) * slowest)
    return replace(_with_rows(tables, rows), length_cost=cost)


def with_export(tables: Tables, pool: int) -> Tables:
    """Every chunk copies its KV to a pool."""
    sizes = tables.page_bytes.tolist()
    return _with_rows(tables, [[EXPORT, i, i, pool, 0, size, 0] for i, size in enumerate(sizes)])


def with_prefix_load(tables: Tables, pool: int) -> Tables:
    """The first chunk fetches the cached prefix from a pool."""
    sizes = tables.prefix_bytes[: tables.stages].tolist()
    return _with_rows(tables, [[PREFIX, i, pool, i, 0, 0, size] for i, size in enumerate(sizes)])


def with_random_messages(rng: np.random.Generator, tables: Tables, kinds: Sequence[int] = ()) -> Tables:
    """A pool or two, and some of the three kinds of messages, or those given, which load it.

    Parameters
    ----------
    rng : numpy.random.Generator
    tables : Tables
    kinds : sequence of int, optional
        ``WEIGHTS``, ``EXPORT``, ``PREFIX``; drawn unless given.
    """
    tables = with_random_pools(rng, tables, 1)
    chosen = kinds or [kind for kind in (WEIGHTS, EXPORT, PREFIX) if rng.random() < 0.6] or [EXPORT]
    pool = tables.stages
    if WEIGHTS in chosen:
        most = int(tables.tau(np.arange(tables.stages), 0, tables.steps).max())
        sizes = rng.integers(0, 2 * most + 2, tables.stages).tolist()
        overlap = [Fraction(1), Fraction(1, 3), Fraction(0)][int(rng.integers(3))]
        tables = with_weights(tables, sizes, pool, overlap)
    if EXPORT in chosen:
        tables = with_export(tables, pool)
    if PREFIX in chosen:
        tables = with_prefix_load(tables, pool)
    return replace(tables, name=f"{tables.name}, messages {sorted(chosen)}")


def random_case(
    rng: np.random.Generator, kinds: Sequence[int] = (), size: Size = TINY_PAIR, name: str = "tiny"
) -> Tables:
    """Random tables with messages as in `with_random_messages`; with a cached prefix where it is loaded."""
    while True:
        tables = random_tables(rng, size, name)
        if tables.prefix or PREFIX not in kinds:
            return with_random_messages(rng, tables, kinds)


def _with_rows(tables: Tables, rows: list[list[int]]) -> Tables:
    known = [] if tables.fixed_messages is None else tables.fixed_messages.tolist()
    return replace(tables, fixed_messages=np.array([*known, *rows], dtype=np.int64))
