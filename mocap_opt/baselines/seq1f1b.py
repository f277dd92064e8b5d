"""Equal compute per chunk, as in Seq1F1B."""

from __future__ import annotations

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_lengths import LengthLimits, for_every_count
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables


def equal_compute(tables: Tables, count: int) -> IntArray | None:
    """`count` chunks of equal compute, solved from the last chunk backwards.

    Compute is Phi summed over the stages; each chunk's share is Phi(S) / count, its length
    is rounded down to the grid, and the first chunk takes what is left over.  Lengths outside the
    limits are moved to the nearest one inside.

    Parameters
    ----------
    tables : Tables
    count : int

    Returns
    -------
    int64[count + 1] or None
        Grid indices; None if the limits admit no such count.

    Source: Sun et al., Seq1F1B (arXiv 2406.03488), whose grid is the tensor-parallel degree.
    """
    limits = LengthLimits.of(tables)
    windows = limits.windows(count)
    if windows is None:
        return None
    low, high = windows
    work = tables.phi.sum(axis=0)
    share, extra = divmod(int(work[-1] - work[0]), count)
    indices = np.full(count + 1, tables.steps, dtype=np.int64)
    for k in range(count - 1, 0, -1):
        end = int(indices[k + 1])
        tail = k == count - 1
        least, most = (limits.last_least, limits.last_most) if tail else (limits.least, limits.most)
        # Rounding the length down is taking the least start whose work is within the share.
        start = int(np.searchsorted(work, int(work[end]) - share - (extra > 0)))
        floor, ceiling = max(int(low[k]), end - most), min(int(high[k]), end - least)
        indices[k] = min(max(start, floor), ceiling)
    indices[0] = 0
    return indices


def flops_balanced(tables: Tables, asked_to_stop: AskedToStop = never) -> list[IntArray]:
    """Chunks of equal compute, one candidate for every count the limits allow, fewest first.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        Asked before each count; `StoppedError` is raised when it says so.

    Returns
    -------
    list of int64[chunks + 1]
        Grid indices.
    """
    return for_every_count(tables, equal_compute, asked_to_stop)
