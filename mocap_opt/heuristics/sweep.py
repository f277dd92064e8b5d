"""All counts of chunks, most promising first, with those that cannot win left out."""

from __future__ import annotations

from collections.abc import Callable

from mocap_opt.heuristics.clock import ChunkClock
from mocap_opt.heuristics.limits import LengthLimits
from mocap_opt.heuristics.occupancy import reserve_varies
from mocap_opt.heuristics.selection import Selection
from mocap_opt.heuristics.walk import backward_walk
from mocap_opt.tables import IntArray


def sweep(
    clock: ChunkClock,
    limits: LengthLimits,
    selection: Selection,
    attempt: Callable[[int], None],
    short: Callable[[IntArray], bool],
) -> None:
    """Call `attempt(count)` for every count that may give the best plan.

    A count is worth at least sum + w D, with the sum of its chunk times on the slowest stage, D the
    average of them and w = `ChunkClock.work`.  With identical stages and affine c this is a lower
    bound on the estimate, so no better count is left out; with unlike ones it is a guide.  One walk
    at the largest D that could still win decides whether a count is tried at all: it must reach 0
    and, where the reserve does not depend on the chunks, fit the memories.

    Parameters
    ----------
    attempt : callable
        Offers the plans of a count to `selection`.
    short : callable
        Whether boundaries do not fit the memories.
    """
    tables = clock.tables
    sums = {count: clock.least_sum(count) for count in limits.counts(tables)}
    bounds = {count: total * (1 + clock.work / count) for count, total in sums.items()}
    for count in sorted(sums, key=lambda count: (bounds[count], count)):
        if selection.best is not None:
            if bounds[count] >= selection.best:
                break
            if clock.work > 0:
                worth = int((selection.best - sums[count]) / clock.work)
                trial = backward_walk(clock, limits, worth, count, tables.exact_chunks)
                if trial.indices is None or (not reserve_varies(tables) and short(trial.indices)):
                    continue
        attempt(count)
