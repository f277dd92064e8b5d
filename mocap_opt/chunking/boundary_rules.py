"""Boundaries by a rule: wanted ones moved to the grid and within the limits, for one count or all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.stopping import AskedToStop, stop_if
from mocap_opt.tables.cost_tables import Tables


def snap(tables: Tables, limits: LengthLimits, targets: npt.ArrayLike) -> IntArray | None:
    """Grid indices nearest to wanted boundaries, within the limits.

    Parameters
    ----------
    tables : Tables
    limits : LengthLimits
    targets : float[count + 1], tokens
        Wanted boundaries, 0 first and S last.

    Returns
    -------
    int64[count + 1], or None if the limits admit no boundaries of that count
    """
    wanted = np.asarray(targets, dtype=np.float64)
    windows = limits.windows(wanted.size - 1)
    if windows is None:
        return None
    low, high = windows
    above = np.clip(np.searchsorted(tables.grid, wanted), 1, tables.steps)
    nearest = above - (wanted - tables.grid[above - 1] <= tables.grid[above] - wanted)
    indices = np.zeros(wanted.size, dtype=np.int64)
    for k in range(1, wanted.size):
        # Each window is exact, so any choice inside both intervals can be completed.
        floor = max(int(low[k]), int(indices[k - 1]) + limits.least)
        ceiling = min(int(high[k]), int(indices[k - 1]) + limits.most)
        indices[k] = min(max(int(nearest[k]), floor), ceiling)
    indices[-1] = tables.steps
    return indices


def for_every_count(
    tables: Tables, rule: Callable[[Tables, int], IntArray | None], asked_to_stop: AskedToStop
) -> list[IntArray]:
    """Boundaries by a rule for every count the limits allow, fewest first, where it finds any."""
    found: list[IntArray] = []
    for count in LengthLimits.of(tables).counts(tables):
        stop_if(asked_to_stop)
        indices = rule(tables, count)
        if indices is not None:
            found.append(indices)
    return found
