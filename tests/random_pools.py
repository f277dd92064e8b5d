"""Memories without a stage added to any tables, each behind links of its own at a stage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mocap_opt.tables.cost_tables import Tables


def with_pool(
    tables: Tables,
    at: int,
    *,
    capacity: int,
    rate: int,
    back: int | None = None,
    port_rate: int = 10**12,
    static: int = 0,
    staging: int = 0,
    hop: int = 0,
) -> Tables:
    """The tables with one more memory, reached through stage `at` and a link each way.

    Parameters
    ----------
    tables : Tables
    at : int
        The stage whose dies have the links.
    capacity, static, staging : int, bytes
    rate, back, port_rate : int, bytes per tick
        Of the link to the memory, of that back (as `rate` unless given), and of the memory's port.
    hop : int, ticks
    """
    old, links = tables.memories, len(tables.links)
    share = np.zeros((links + 2, old + 1, old + 1), dtype=np.int64)
    share[:links, :old, :old] = tables.share
    share[:links, :old, old] = tables.share[:, :, at]
    share[:links, old, :old] = tables.share[:, at, :]
    share[links, :old, old] = tables.share_denominator
    share[links + 1, old, :old] = tables.share_denominator
    hops = np.pad(tables.hop_ticks, (0, 1))
    hops[:old, old] = tables.hop_ticks[:, at] + hop
    hops[old, :old] = tables.hop_ticks[at, :] + hop
    name = f"pool {len(tables.pools)}"
    return replace(
        tables,
        pools=(*tables.pools, name),
        links=(*tables.links, f"stage {at}>{name}", f"{name}>stage {at}"),
        link_rate=np.append(tables.link_rate, [rate, rate if back is None else back]),
        share=share,
        hop_ticks=hops,
        capacity=np.append(tables.capacity, capacity),
        static=np.append(tables.static, static),
        staging=np.append(tables.staging, staging),
        prefix_bytes=np.append(tables.prefix_bytes, 0),
        working_bytes=np.append(tables.working_bytes, 0),
        port_rate=np.append(tables.port_rate, port_rate),
    )


def with_random_pools(rng: np.random.Generator, tables: Tables, count: int | None = None) -> Tables:
    """One or two memories with room from none to most of the KV of a stage; links mostly scarce.

    Parameters
    ----------
    rng : numpy.random.Generator
    tables : Tables
    count : int, optional
        How many; else drawn.
    """
    kv = int(tables.page_bytes.max() * tables.pages[-1])
    for _ in range(int(rng.integers(1, 3)) if count is None else count):
        static, staging = (int(rng.integers(0, 20)) if rng.random() < 0.3 else 0 for _ in range(2))
        room = int(kv * rng.choice([0.0, rng.uniform(0.1, 0.5), rng.uniform(0.5, 1.5)], p=[0.1, 0.4, 0.5]))
        tables = with_pool(
            tables,
            int(rng.integers(tables.stages)),
            capacity=static + staging + room,
            rate=int(rng.integers(1, 9)),
            back=int(rng.integers(1, 9)),
            port_rate=int(rng.integers(2, 20)),
            static=static,
            staging=staging,
            hop=int(rng.integers(0, 3)),
        )
    return replace(tables, name=f"{tables.name}, {len(tables.pools)} pools")
