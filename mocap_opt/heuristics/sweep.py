"""Which counts of chunks and which limits on their lengths to try, and which cannot win."""

from __future__ import annotations

from collections.abc import Callable

from mocap_opt.heuristics.clock import ChunkClock
from mocap_opt.heuristics.limits import LengthLimits
from mocap_opt.heuristics.occupancy import reserve_varies
from mocap_opt.heuristics.selection import Selection
from mocap_opt.heuristics.walk import backward_walk, least_trial
from mocap_opt.tables import IntArray, Tables

Attempt = Callable[[int, LengthLimits, int], None]
"""Offers plans of at most a count of chunks within limits; the last argument is a longest chunk
time, ticks, that is known to be needed."""

MOST_CAPS = 48


def sweep(
    clock: ChunkClock, selection: Selection, attempt: Attempt, short: Callable[[IntArray], bool]
) -> None:
    """Try every count whose least longest chunk time fits the memories, and the least that does fit.

    A count is worth at least sum + w D, with the sum of its chunk times on the slowest stage, D the
    average of them and w = `ChunkClock.work`.  With identical stages and affine c this is a lower
    bound on the estimate, so no better count is left out; with unlike ones it is a guide.  One walk
    at the largest D that could still win decides whether a count is tried at all.

    Where memory binds, the trial has to grow until the walk's boundaries are low enough.  That
    trial is the same for every count that allows it, so the largest count serves; fewer chunks
    come from larger trials, which the counts themselves stand for.  If the reserve depends on the longest
    chunk, shorter chunks free memory at the price of time, and limits on the length are tried.

    Parameters
    ----------
    attempt : callable
        Offers plans to `selection`.
    short : callable
        Whether boundaries do not fit the memories.
    """
    tables, limits, exact = clock.tables, LengthLimits.of(clock.tables), clock.tables.exact_chunks
    sums = {count: clock.least_sum(count) for count in limits.counts(tables)}
    bounds = {count: total * (1 + clock.work / count) for count, total in sums.items()}
    varies, binding = reserve_varies(tables), False
    for count in sorted(sums, key=lambda count: (bounds[count], count)):
        if selection.best is not None:
            if bounds[count] >= selection.best:
                break
            worth = _worth(clock, selection, sums[count])
            if worth is not None:
                walk = backward_walk(clock, limits, worth, count, exact)
                if walk.indices is None or (not varies and short(walk.indices)):
                    continue
        free = least_trial(clock, limits, count, exact)
        if free is None or free.indices is None:
            continue
        if not short(free.indices):
            attempt(count, limits, free.trial)
        elif not binding:
            binding = True
            _where_memory_binds(clock, limits, selection, attempt, short, max(sums))
            if selection.best is None and not varies:
                # Boundaries as low as they can be do not fit, so none do.
                break


def _where_memory_binds(
    clock: ChunkClock,
    limits: LengthLimits,
    selection: Selection,
    attempt: Attempt,
    short: Callable[[IntArray], bool],
    count: int,
) -> None:
    """Try the largest count with every limit on the lengths that may matter."""
    tables, exact = clock.tables, clock.tables.exact_chunks
    free = least_trial(clock, limits, count, exact)
    above = 0 if free is None else free.trial
    for bounded in _bounded(tables, limits, count) if reserve_varies(tables) else [limits]:
        # The fewest chunks these limits allow have the least sum.
        fewest = -(-tables.steps // max(bounded.most, bounded.last_most, 1))
        worth = _worth(clock, selection, clock.least_sum(fewest))
        if worth is not None:
            walk = backward_walk(clock, bounded, worth, count, exact)
            if walk.indices is None or short(walk.indices):
                continue
        attempt(count, bounded, above)


def _worth(clock: ChunkClock, selection: Selection, least_sum: float) -> int | None:
    """Give the largest longest chunk time that could still beat the best, None if any could."""
    if selection.best is None or clock.work <= 0:
        return None
    return int((selection.best - least_sum) / clock.work)


def _bounded(tables: Tables, limits: LengthLimits, count: int) -> list[LengthLimits]:
    """List limits on the longest chunk, shortest first.

    All lengths up to four times the average and those that cut the prompt evenly, thinned out to
    `MOST_CAPS`.
    """
    average, longest = -(-tables.steps // count), max(limits.most, limits.last_most)
    even = {-(-tables.steps // k) for k in range(1, count + 1)}
    caps = sorted(even | {*range(average, min(4 * average, longest) + 1), longest})
    kept = [caps[n * len(caps) // MOST_CAPS] for n in range(MOST_CAPS)] if len(caps) > MOST_CAPS else caps
    chosen = [LengthLimits.of(tables, cap) for cap in dict.fromkeys([*kept, longest])]
    return [bounded for bounded in chosen if bounded.windows(count) is not None or not tables.exact_chunks]
