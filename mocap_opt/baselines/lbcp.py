"""LBCP as it can be read from what is public: balance the longest chunk time, memory included."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.chunking.bottleneck_partition import BottleneckPartition, Traffic, min_max_partition
from mocap_opt.chunking.longest_chunk_time import BottleneckTimes
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.homes.greedy import page_times
from mocap_opt.tables.cost_tables import Tables

FloatArray = npt.NDArray[np.float64]


def reallocation(
    tables: Tables, thresholds: IntArray, partner: IntArray, byte_times: FloatArray | None = None
) -> Traffic | None:
    """Time of the KV traffic that thresholds cause, by a chunk's end; None if there is none.

    A chunk that ends at b writes and reads, all told, what stage i has sent away by b: (pages(b) -
    threshold) pages.  They all pass the partner's port, and no link carries more than all of
    them; the longest over the stages counts.

    Parameters
    ----------
    byte_times : float64[stage, memory], optional
        `page_times` of the tables, if they are at hand.
    """
    stage = np.arange(tables.stages)
    beyond = np.maximum(tables.pages[None, :] - thresholds[:, None], 0)
    beyond = np.where((partner != stage)[:, None], beyond, 0)
    if not beyond.any():
        return None
    each = page_times(tables) if byte_times is None else byte_times
    per_page = tables.page_bytes * each[stage, partner]
    whole = np.ceil((beyond * per_page[:, None]).max(axis=0)).astype(np.int64)
    shown = np.ceil(whole * float(1 - tables.overlap)).astype(np.int64)
    return Traffic(shown.tolist(), whole.tolist())


def lbcp(
    clock: BottleneckTimes,
    limits: LengthLimits,
    count: int,
    traffic: Traffic | None,
    fits: Callable[[IntArray], bool],
    above: int = 0,
    most: int | None = None,
) -> BottleneckPartition | None:
    """Boundaries of the least longest chunk time with at most `count` chunks.

    Longest over chunks and stages of max(tau + (1 - f) x + send, x), where x is the
    reallocation traffic, subject to the memory rows.

    Parameters
    ----------
    traffic : Traffic or None
        Reallocation by a chunk's end, see `reallocation`.
    fits : callable
        Whether boundaries fit the memories, with homes chosen for them.
    above : int
        A longest chunk time that is known to be needed, ticks.
    most : int, optional
        The largest longest chunk time of interest, ticks.

    Returns
    -------
    Walk or None
        With boundaries; None if no chunks fit.

    Source: MOCAP (arXiv 2606.22968): "minimise the balanced longest chunk time subject to memory
    and causality, counting the reallocation overhead".
    """
    return min_max_partition(clock, limits, count, clock.tables.exact_chunks, fits, traffic, above, most)
