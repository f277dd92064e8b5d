"""Rules that leave out of a region what no plan faster than a target, or none that fits the pool, contains.

Statement and proof: ``formulations/bounds.md``, `boundary_branching`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.crossing_search import PairSearch
from mocap_opt.bounds.partition_pricing import PartitionPricer
from mocap_opt.bounds.partition_region import PartitionRegion

#: Go over the boundaries again when a round takes more than this part of their intervals away.
REPEATED_ABOVE = 0.1


def within_crossings(
    region: PartitionRegion, pairs: Sequence[PairSearch], target: int
) -> PartitionRegion | None:
    """Leave out chunks that take too long to cross the stages between a pair of end stages.

    Parameters
    ----------
    region : PartitionRegion
    pairs : sequence of PairSearch
        Of one instance.
    target : int, ticks
        Plans that take as long or longer may be left out.

    Returns
    -------
    PartitionRegion or None
        None if nothing is left.
    """
    steps = int(region.low[-1])
    earliest = np.zeros(steps + 1, dtype=np.int64)
    for pair in pairs:
        limits = pair.setting.limits
        counts = [m for m in pair.setting.counts if region.fewest <= m <= region.positions]
        most = target - 1 - min(pair.base(limits.least_boundaries(m)) for m in counts)
        for b in range(1, steps + 1):
            earliest[b] = max(earliest[b], int(pair.crossing.minus[b].searchsorted(-most)))
    low, high = region.low.copy(), region.high.copy()
    for j in range(region.positions - 1, -1, -1):
        low[j] = max(low[j], earliest[low[j + 1]])
    for j in range(region.positions):
        high[j + 1] = min(high[j + 1], int(np.flatnonzero(earliest <= high[j])[-1]))
    if (low > high).any():
        return None
    starts = np.empty((2, region.positions, steps + 1), dtype=np.int32)
    starts[0], starts[1] = earliest, steps
    return replace(region, low=low, high=high, starts=starts)


def within_memory(pricer: PartitionPricer, region: PartitionRegion) -> PartitionRegion | None:
    """Lower the greatest boundaries to what the pool has room for; None if nothing is left.

    Parameters
    ----------
    pricer : PartitionPricer
    region : PartitionRegion

    Returns
    -------
    PartitionRegion or None
        None if nothing is left.
    """
    while True:
        region = replace(region, long=min(region.long, int(region.lengths()[1].max())))
        room = pricer.room(region) if region.short <= region.long else None
        if room is None:
            return None
        least = _least_lengths(pricer, region)
        low, high = region.low.copy(), region.high.copy()
        for j in range(region.positions):
            low[j + 1] = max(low[j + 1], low[j] + least[j])
        if (low > high).any() or not _fits(pricer, low, room):
            return None
        ahead = np.concatenate([[0], np.cumsum(least)])
        for j in range(region.positions - 1, 0, -1):
            high[j] = min(high[j], high[j + 1] - least[j])
            inside, beyond = int(low[j]), int(high[j]) + 1
            if inside < beyond and _fits(pricer, _from(low, ahead, j, beyond - 1), room):
                continue
            while beyond - inside > 1:
                middle = (inside + beyond) // 2
                if _fits(pricer, _from(low, ahead, j, middle), room):
                    inside = middle
                else:
                    beyond = middle
            high[j] = min(high[j], inside)
        if (low > high).any():
            return None
        before = int((region.high - region.low).sum())
        region = replace(region, low=low, high=high)
        if before - int((high - low).sum()) <= REPEATED_ABOVE * before:
            return region


def _least_lengths(pricer: PartitionPricer, region: PartitionRegion) -> IntArray:
    """Least steps of the chunk at each position, 0 where it may be empty, int64[position]."""
    limits = pricer.setting.limits
    allowed = np.full(region.positions, limits.least, dtype=np.int64)
    allowed[-1] = limits.last_least
    least: IntArray = np.maximum(region.lengths()[0], allowed)
    least[: region.optional] = 0
    return least


def _from(low: IntArray, ahead: IntArray, j: int, boundary: int) -> IntArray:
    """Least boundaries of partitions whose boundary j is at `boundary` or later."""
    least = low.copy()
    least[j:] = np.minimum(np.maximum(low[j:], boundary + ahead[j:] - ahead[j]), low[-1])
    return least


def _fits(pricer: PartitionPricer, boundaries: IntArray, room: IntArray) -> bool:
    """Whether boundaries keep to the room of every slot, in units."""
    return bool((pricer.memory.need(boundaries) // pricer.memory.unit <= room).all())
