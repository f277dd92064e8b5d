"""Hand-made integer tables, so that tests need neither a wafer nor a model."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np

from mocap_opt.tables.cost_tables import Tables

AMPLE = 10**12


def per_stage(value: int | Sequence[int], stages: int) -> np.ndarray:
    """Spread one number, or take one per stage."""
    values = [value] * stages if isinstance(value, int) else list(value)
    assert len(values) == stages
    return np.array(values, dtype=np.int64)


def make_tables(
    stages: int = 2,
    tokens: int = 4,
    *,
    quantum: int = 1,
    page: int | None = None,
    max_chunks: int = 4,
    exact: bool = False,
    min_length: int = 1,
    max_length: int | None = None,
    prefix: int = 0,
    linear: int | Sequence[int] = 10,
    quadratic: int | Sequence[int] = 0,
    constant: int | Sequence[int] = 0,
    per_token: int | Sequence[int] = 0,
    full_pair: int | Sequence[int] = 0,
    weights_time: int | Sequence[int] = 0,
    context_time: int | Sequence[int] = 0,
    prefix_time: int | Sequence[int] = 0,
    token_bytes: int | Sequence[int] = 1,
    capacity: int | Sequence[int] = AMPLE,
    static: int | Sequence[int] = 0,
    staging: int | Sequence[int] = 0,
    working_bytes: int | Sequence[int] = 0,
    activation_bytes: int | Sequence[int] = 0,
    queue_depth: int | None = None,
    own_weights: int | Sequence[int] = 0,
    own_per_token: int | Sequence[int] = 0,
    port_rate: int | Sequence[int] = AMPLE,
    link_rate: int | dict[str, int] = AMPLE,
    hop: int = 0,
    overlap: Fraction | int = 1,
    name: str = "hand-made",
) -> Tables:
    """Tables of stages in a row, one die each, links ``0>1``, ``1>0``, ``1>2``, ... between neighbours.

    Phi_i(x) = linear x + quadratic x^2 ticks; c = constant + per_token l; send = hop + the
    activation bytes over the link's rate, rounded up.  Routes run along the row.
    """
    page = quantum if page is None else page
    grid = np.array([*range(0, tokens, quantum), tokens], dtype=np.int64)
    points = grid.size

    def column(value: int | Sequence[int]) -> np.ndarray:
        return per_stage(value, stages)[:, None]

    steps = np.arange(points, dtype=np.int64)
    lengths = np.stack([steps * quantum, tokens - grid[::-1]])
    links = [f"{a}>{b}" for a in range(stages) for b in (a - 1, a + 1) if 0 <= b < stages]
    rates = [link_rate if isinstance(link_rate, int) else link_rate.get(e, AMPLE) for e in links]
    share = np.zeros((len(links), stages, stages), dtype=np.int64)
    hops = np.zeros((stages, stages), dtype=np.int64)
    for a in range(stages):
        for b in range(stages):
            hops[a, b] = abs(a - b)
            way = list(range(a, b + 1)) if a < b else list(range(a, b - 1, -1))
            for u, v in pairwise(way):
                share[links.index(f"{u}>{v}"), a, b] = 1
    message = per_stage(activation_bytes, stages)
    send = np.zeros((stages, 2, points), dtype=np.int64)
    for i in range(stages - 1):
        rate = rates[links.index(f"{i}>{i + 1}")]
        send[i] = hop - (-lengths * message[i] // rate)
    full = column(full_pair)[:, :, None] * (lengths * (lengths - 1) // 2)[None]
    return Tables(
        name=name,
        tick_s=Fraction(1, 10**9),
        max_chunks=max_chunks,
        exact_chunks=exact,
        quantum=quantum,
        page=page,
        min_length=min_length,
        max_length=tokens if max_length is None else max_length,
        prefix=prefix,
        grid=grid,
        phi=column(linear) * grid + column(quadratic) * (grid * grid + 2 * prefix * grid),
        full_block=full,
        memory_side=column(weights_time) + column(context_time) * (prefix + grid),
        prefix_cost=column(prefix_time) * (prefix + grid),
        length_cost=column(constant)[:, :, None] + column(per_token)[:, :, None] * lengths[None],
        send=send,
        activation_bytes=message,
        page_bytes=per_stage(token_bytes, stages) * page,
        prefix_bytes=per_stage(token_bytes, stages) * page * -(-prefix // page),
        capacity=per_stage(capacity, stages),
        static=per_stage(static, stages),
        staging=per_stage(staging, stages),
        working_bytes=per_stage(working_bytes, stages),
        queue_depth=queue_depth,
        own_traffic=column(own_weights) + column(own_per_token) * (prefix + grid),
        port_rate=per_stage(port_rate, stages),
        links=tuple(links),
        link_rate=np.array(rates, dtype=np.int64),
        share_denominator=1,
        share=share,
        hop_ticks=hops * hop,
        overlap=Fraction(overlap),
    )
