"""LBCP as it can be read from what is public: balance the longest chunk time, memory included."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from mocap_opt.heuristics.clock import ChunkClock
from mocap_opt.heuristics.greedy import page_times
from mocap_opt.heuristics.limits import LengthLimits
from mocap_opt.heuristics.search import walks
from mocap_opt.heuristics.walk import Traffic
from mocap_opt.tables import IntArray, Tables


def reallocation(tables: Tables, thresholds: IntArray, partner: IntArray) -> Traffic | None:
    """Time of the KV traffic that thresholds cause, by a chunk's end; None if there is none.

    A chunk that ends at b writes and reads, all told, what stage i has sent away by b: (pages(b) -
    threshold) pages.  They all pass the partner's port, and no link carries more than all of
    them; the longest over the stages counts.
    """
    stage = np.arange(tables.stages)
    beyond = np.maximum(tables.pages[None, :] - thresholds[:, None], 0)
    beyond = np.where((partner != stage)[:, None], beyond, 0)
    if not beyond.any():
        return None
    per_page = tables.page_bytes * page_times(tables)[stage, partner]
    whole = np.ceil((beyond * per_page[:, None]).max(axis=0)).astype(np.int64)
    shown = np.ceil(whole * float(1 - tables.overlap)).astype(np.int64)
    return Traffic(shown.tolist(), whole.tolist())


def lbcp(
    clock: ChunkClock,
    limits: LengthLimits,
    count: int,
    partner: IntArray,
    thresholds: IntArray,
    short: Callable[[IntArray], bool],
) -> Iterator[IntArray]:
    """Boundaries of the least longest chunk time with at most `count` chunks.

    Longest over chunks and stages of max(tau + (1 - f) x + send, x), where x is the
    reallocation traffic of the given thresholds, subject to `short`, the memory rows of the
    partners.  Most often one partition; more where shorter chunks free reserve.

    Source: MOCAP (arXiv 2606.22968): "minimise the balanced longest chunk time subject to memory
    and causality, counting the reallocation overhead".
    """
    traffic = reallocation(clock.tables, thresholds, partner)
    for walk in walks(clock, limits, count, short, traffic):
        if walk.indices is not None:
            yield walk.indices
