"""Which counts of chunks and which limits on their lengths to try, and which cannot win."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mocap_opt.heuristics.clock import ChunkClock
from mocap_opt.heuristics.limits import LengthLimits
from mocap_opt.heuristics.occupancy import reserve_varies
from mocap_opt.heuristics.proposal import Shortage
from mocap_opt.heuristics.selection import Selection
from mocap_opt.heuristics.walk import backward_walk, least_trial
from mocap_opt.tables import IntArray, Tables

Attempt = Callable[[int, LengthLimits, int, int | None], None]
"""Offers plans of at most a count of chunks within limits; the last two arguments are a longest chunk
time that is known to be needed and one above which no plan can win (None if not known), ticks."""

Rows = Callable[[IntArray, int | None], Shortage | None]
"""The memory row that boundaries break; the reserve may be that of another longest chunk, tokens."""

MOST_CAPS = 48

DOUBT = 0.15
"""By how much what a count is worth may be mistaken where stages are unlike."""

UNREACHED = 2**62
"""Stands for the shortage of boundaries that do not exist, bytes."""


def sweep(clock: ChunkClock, selection: Selection, attempt: Attempt, rows: Rows) -> None:
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
    rows : callable
        Whether boundaries fit the memories.
    """
    tables, limits, exact = clock.tables, LengthLimits.of(clock.tables), clock.tables.exact_chunks
    sums = {count: clock.least_sum(count) for count in limits.counts(tables)}
    bounds = {count: total * (1 + clock.work / count) for count, total in sums.items()}
    binding = False
    for count in sorted(sums, key=lambda count: (bounds[count], count)):
        if selection.best is not None and bounds[count] >= selection.best:
            break
        worth = _worth(clock, selection, sums[count])
        if worth is not None:
            walk = backward_walk(clock, limits, worth, count, exact)
            if walk.indices is None or rows(walk.indices, _least_longest(tables, walk.indices, count)):
                continue
        free = least_trial(clock, limits, count, exact, most=worth)
        if free is None or free.indices is None:
            continue
        if not selection.short(rows(free.indices, None)):
            attempt(count, limits, free.trial, worth)
        elif not binding:
            binding = True
            if not _where_memory_binds(clock, limits, selection, attempt, rows, max(sums)):
                break


def _where_memory_binds(
    clock: ChunkClock,
    limits: LengthLimits,
    selection: Selection,
    attempt: Attempt,
    rows: Rows,
    count: int,
) -> bool:
    """Try the largest count with every limit on the lengths that may matter.

    Returns
    -------
    bool
        False if it turns out that no boundaries fit, whatever their count.
    """
    tables, exact = clock.tables, clock.tables.exact_chunks
    free = least_trial(clock, limits, count, exact)
    above = 0 if free is None else free.trial
    average = -(-tables.steps // count)
    tried = _bounded(tables, limits, count) if reserve_varies(tables) else [limits]
    best, worth_having, possible = None, tables.steps, selection.best is not None
    nearest: tuple[int, LengthLimits] | None = None
    # Every fourth first: what the others could give then shows in a walk or two.
    for n in sorted(range(len(tried)), key=lambda n: (n % 4 > 0, n)):
        bounded, shorter = tried[n], max(tried[n - 1].most, tried[n - 1].last_most) if n else 0
        worth = _worth(clock, selection, clock.least_sum(_fewest(bounded)))
        if worth is None:
            longest = max(bounded.most, bounded.last_most)
            lacking = _least_shortage(tables, rows, count, max(shorter + 1, average), longest)
            if lacking:
                nearest = min(nearest or (lacking, bounded), (lacking, bounded), key=lambda entry: entry[0])
                continue
            possible = True
        else:
            if selection.best != best:
                best = selection.best
                worth_having = clock.longest_within(_worth(clock, selection, clock.least_sum(1)) or 0)
            if shorter >= worth_having:
                continue
            walk = backward_walk(clock, bounded, worth, count, exact)
            if walk.indices is None or rows(walk.indices, None) is not None:
                continue
        attempt(count, bounded, above, worth)
    lowest = None if possible or nearest is None else nearest[1].lowest(count)
    if lowest is not None:
        selection.short(rows(lowest, None))
    return possible and (selection.best is not None or reserve_varies(tables))


def _least_longest(tables: Tables, lowest: IntArray, count: int) -> int:
    """Tokens of the longest chunk at least, over all boundaries no lower than these, counted from the end.

    The first j of `count` chunks reach up to boundary j, so one of them has a j-th of it.
    """
    reached = tables.grid[lowest[1:]]
    return int((-(-reached // np.arange(count - reached.size + 1, count + 1))).max())


def _least_shortage(tables: Tables, rows: Rows, count: int, least: int, most: int) -> int:
    """Bytes that boundaries are short at least if their longest chunk has from `least` to `most` steps.

    The lowest boundaries of chunks of at most `most` with the reserve of a chunk of `least`, halving the
    range while that leaves it open; 0 if it stays open.
    """
    if least > most:
        return UNREACHED
    lowest = LengthLimits.of(tables, most).lowest(count)
    if lowest is None:
        return UNREACHED
    shortage = rows(lowest, int(tables.lengths[1, least]))
    if shortage is not None:
        return shortage.bytes_short
    if least == most or rows(lowest, None) is None:
        return 0
    middle = (least + most) // 2
    upper = _least_shortage(tables, rows, count, middle + 1, most)
    return upper and min(upper, _least_shortage(tables, rows, count, least, middle))


def _fewest(limits: LengthLimits) -> int:
    """The fewest chunks that limits allow."""
    return -(-limits.steps // max(limits.most, limits.last_most, 1))


def _worth(clock: ChunkClock, selection: Selection, least_sum: float) -> int | None:
    """Give the largest longest chunk time that could still beat the best, None if any could.

    With unlike stages the reckoning is a guide only, so what misses by less than `DOUBT` is tried too.
    """
    if selection.best is None or clock.work <= 0:
        return None
    alike = clock.work > clock.tables.stages - 1 - 1e-3
    return int(((1.0 if alike else 1.0 + DOUBT) * selection.best - least_sum) / clock.work)


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
