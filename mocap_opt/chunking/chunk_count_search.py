"""The least longest chunk time for every count of chunks that may win, memory included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from mocap_opt.arrays import IntArray
from mocap_opt.chunking.bottleneck_partition import (
    Rows,
    TrialPruning,
    bottleneck_partition,
    min_max_partition,
)
from mocap_opt.chunking.longest_chunk_time import BottleneckTimes
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.homes.proposal import HomeRule, Propose, Selection, Shortage, best_offered
from mocap_opt.homes.slot_placement import reserve_varies
from mocap_opt.stopping import AskedToStop, stop_if
from mocap_opt.tables.cost_tables import Tables

MemoryRule = Callable[[Tables, IntArray, int | None], Shortage | None]
"""The memory row that boundaries break, or None if homes of some kind exist for them.

The last argument is the longest chunk that the reserve has to allow for, None for that of the boundaries.
"""


@dataclass(frozen=True)
class CountTrial:
    """Plans of at most a count of chunks within limits.

    Attributes
    ----------
    count : int
    limits : LengthLimits
    above : int
        A longest chunk time that is known to be needed, ticks.
    most : int or None
        One above which no plan can win, ticks; None if not known.
    """

    count: int
    limits: LengthLimits
    above: int
    most: int | None


Attempt = Callable[[CountTrial], None]
"""Offers plans."""

MOST_CAPS = 48
"""Limits on the longest chunk that are tried at most."""

DOUBT = 0.15
"""By how much what a count is worth may be mistaken where stages are unlike."""

UNREACHED = 2**62
"""Stands for the shortage of boundaries that do not exist, bytes."""


def stoppable_rows(memory: MemoryRule, tables: Tables, asked_to_stop: AskedToStop) -> Rows:
    """A memory rule for the boundaries of one instance that raises `StoppedError` when asked to stop.

    Parameters
    ----------
    memory : callable
    tables : Tables
    asked_to_stop : callable
        Asked before every use of the rule.
    """
    return partial(_row, memory, tables, asked_to_stop)


def _row(
    memory: MemoryRule, tables: Tables, asked_to_stop: AskedToStop, indices: IntArray, longest: int | None
) -> Shortage | None:
    stop_if(asked_to_stop)
    return memory(tables, indices, longest)


def search_chunk_counts(clock: BottleneckTimes, selection: Selection, attempt: Attempt, rows: Rows) -> None:
    """Try every count whose least longest chunk time fits the memories, and the least that does fit.

    A count is worth at least sum + w D, with the sum of its chunk times on the slowest stage, D the
    average of them and w = `BottleneckTimes.work`.  With identical stages and affine c this is a lower
    bound on the estimate, so no better count is left out; with unlike ones it is a guide.  One walk
    at the largest D that could still win decides whether a count is tried at all.  The walk at a larger D,
    if it fits no better, decides so for many counts at once.

    Where memory binds, the trial has to grow until the walk's boundaries are low enough.  That
    trial is the same for every count that allows it, so the largest count serves; fewer chunks
    come from larger trials, which the counts themselves stand for.  If the reserve depends on the longest
    chunk, shorter chunks free memory at the price of time, and limits on the length are tried.

    Parameters
    ----------
    clock : BottleneckTimes
    selection : Selection
        Knows the best plan so far.
    attempt : callable
        Offers plans to `selection`.
    rows : callable
        Whether boundaries fit the memories.
    """
    _CountSearch(clock, selection, attempt, rows).run()


class _CountSearch:
    """The state of a sweep: what is refuted so far."""

    def __init__(self, clock: BottleneckTimes, selection: Selection, attempt: Attempt, rows: Rows) -> None:
        self.clock, self.selection, self.attempt, self.rows = clock, selection, attempt, rows
        self.tables, self.exact = clock.tables, clock.tables.exact_chunks
        self.limits = LengthLimits.of(self.tables)
        self.sums = {count: clock.least_sum(count) for count in self.limits.counts(self.tables)}
        self.refuted = TrialPruning(clock, self.limits, rows)

    def run(self) -> None:
        clock, limits, selection = self.clock, self.limits, self.selection
        bounds = {count: total * (1 + clock.work / count) for count, total in self.sums.items()}
        binding = False
        for count in sorted(bounds, key=lambda count: (bounds[count], count)):
            if selection.best is not None and bounds[count] >= selection.best:
                break
            if binding and self.refuted.covers(count):
                continue
            worth = self.worth(count)
            if worth is not None:
                if self.refuted.includes(count, worth):
                    continue
                if self.refuted.refute(count, worth):
                    others = (c for c in bounds if c < count and bounds[c] < (selection.best or 0))
                    largest = max((self.worth(c) or 0 for c in others), default=worth)
                    if largest > worth and not self.refuted.refute(count, largest):
                        self.refuted.extend()
                    continue
            free = min_max_partition(clock, limits, count, self.exact, most=worth)
            if free is None or free.indices is None:
                continue
            if not selection.short(self.rows(free.indices, None)):
                self.attempt(CountTrial(count, limits, free.trial, worth))
            elif binding:
                if self.refuted.refute(count, free.trial):
                    self.refuted.extend(fewer=True)
            else:
                binding = True
                if not self.where_memory_binds(max(bounds), free.trial):
                    break

    def where_memory_binds(self, count: int, trial: int) -> bool:
        """Try the largest count with every limit on the lengths that may matter.

        Parameters
        ----------
        count : int
            The largest.
        trial : int
            One that fails, ticks.

        Returns
        -------
        bool
            False if it turns out that no boundaries fit, whatever their count.
        """
        clock, tables, selection = self.clock, self.tables, self.selection
        tried = _bounded(tables, self.limits, count) if reserve_varies(tables) else [self.limits]
        longest = [max(bounded.most, bounded.last_most) for bounded in tried]
        best, worth_having, possible = None, tables.steps, selection.best is not None
        shortages: dict[int, int] = {}
        between: dict[int, bool] = {}
        # Every fourth first: what the others could give then shows in a walk or two.
        for n in sorted(range(len(tried)), key=lambda n: (n % 4 > 0, n)):
            shorter = longest[n - 1] if n else 0
            if selection.best is not None and selection.best != best:
                best = selection.best
                worth_having = clock.longest_within(self.worth(1) or 0)
            if shorter >= worth_having:
                continue
            if n % 4:
                last = min(n - n % 4 + 3, len(tried) - 1)
                if n // 4 not in between:
                    between[n // 4] = last > n and self.lacking(tried[last], shorter, count) > 0
                if between[n // 4]:
                    continue
            lacking = self.lacking(tried[n], shorter, count, closely=True)
            if lacking:
                shortages[n] = lacking
                continue
            possible = True
            if not self.refuted.count and self.refuted.refute(count, trial):
                self.refuted.extend()
            most = self.worth(_fewest(tried[n]))
            self.attempt(CountTrial(count, tried[n], self.refuted.trial + 1, most))
        if not possible:
            self.report_nearest(tried, longest, shortages, count)
        return possible and (selection.best is not None or reserve_varies(tables))

    def report_nearest(
        self, tried: list[LengthLimits], longest: list[int], shortages: dict[int, int], count: int
    ) -> None:
        """Tell the selection what the limits with the least shortage lack.

        Parameters
        ----------
        tried : list of LengthLimits
        longest : list of int
            The longest chunk of each, grid steps.
        shortages : dict of int to int
            Bytes short by index among `tried`, of those looked at closely.
        count : int
            The most chunks.
        """
        for n in set(range(1, len(tried))) - set(shortages):
            shortages[n] = self.lacking(tried[n], longest[n - 1], count, closely=True)
        if shortages:
            nearest = min(shortages, key=lambda n: (shortages[n], n % 4 > 0, n))
            lowest = tried[nearest].lowest(count)
            if lowest is not None:
                self.selection.short(self.rows(lowest, None))

    def worth(self, count: int) -> int | None:
        """Give the largest longest chunk time that could still beat the best, None if any could."""
        least_sum = self.sums[count] if count in self.sums else self.clock.least_sum(count)
        return _worth(self.clock, self.selection, least_sum)

    def lacking(self, bounded: LengthLimits, shorter: int, count: int, *, closely: bool = False) -> int:
        """Bytes that boundaries within limits are short at least; 0 if some may fit and win.

        Parameters
        ----------
        shorter : int
            The longest chunk has more grid steps than this.
        count : int
            The most chunks.
        closely : bool
            Halve the range of lengths as often as it takes, and judge boundaries that could win by the
            reserve that they need themselves.
        """
        tables, worth = self.tables, self.worth(_fewest(bounded))
        if worth is None:
            least = max(shorter + 1, -(-tables.steps // count))
            longest = max(bounded.most, bounded.last_most)
            halvings = tables.steps if closely else 1
            return _least_shortage(tables, self.limits, self.rows, count, least, longest, halvings)
        walk = bottleneck_partition(self.clock, bounded, worth, count, self.exact)
        if walk.indices is None:
            return UNREACHED
        shortage = self.rows(walk.indices, None if closely else int(tables.lengths[1, shorter + 1]))
        return 0 if shortage is None else shortage.bytes_short


def _least_shortage(
    tables: Tables, limits: LengthLimits, rows: Rows, count: int, least: int, most: int, halvings: int
) -> int:
    """Bytes that boundaries are short at least if their longest chunk has from `least` to `most` steps.

    The lowest boundaries of chunks of at most `most` with the reserve of a chunk of `least`, halving the
    range while that leaves it open, so many times at most; 0 if it stays open.
    """
    if least > most:
        return UNREACHED
    lowest = limits.at_most(most).lowest(count)
    if lowest is None:
        return UNREACHED
    shortage = rows(lowest, int(tables.lengths[1, least]))
    if shortage is not None:
        return shortage.bytes_short
    if least == most or not halvings or rows(lowest, None) is None:
        return 0
    middle, found = (least + most) // 2, UNREACHED
    for part in ((middle + 1, most), (least, middle)):
        found = min(found, _least_shortage(tables, limits, rows, count, *part, halvings - 1))
        if not found:
            break
    return found


def _fewest(limits: LengthLimits) -> int:
    """The fewest chunks that limits allow."""
    return -(-limits.steps // max(limits.most, limits.last_most, 1))


def _worth(clock: BottleneckTimes, selection: Selection, least_sum: float) -> int | None:
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
    chosen = [limits.at_most(cap) for cap in dict.fromkeys([*kept, longest])]
    return [bounded for bounded in chosen if bounded.windows(count) is not None or not tables.exact_chunks]


def bottleneck_search(memory: MemoryRule, homes: HomeRule) -> Propose:
    """Search the boundaries subject to `memory` and place the KV by `homes`.

    Exact for identical stages, affine c, no chunk limits and pooled memory with a fixed reserve;
    for unlike stages a chunk's time is the longest over the stages and the count is chosen by
    the estimate.  If the home rule fails where `memory` holds (pages of unlike sizes do not fill
    every memory), its own verdict takes the place of `memory`.

    Parameters
    ----------
    memory : callable
        Tells the memory row that boundaries break.
    homes : callable
        Where the KV of boundaries lives.
    """
    return best_offered(partial(_offer_bottleneck, memory, homes))


def _offer_bottleneck(
    memory: MemoryRule, homes: HomeRule, selection: Selection, asked_to_stop: AskedToStop
) -> None:
    tables, times = selection.tables, BottleneckTimes(selection.tables)
    rows, exact = stoppable_rows(memory, tables, asked_to_stop), tables.exact_chunks

    def fits(indices: IntArray) -> bool:
        return not selection.short(rows(indices, None))

    def placeable(indices: IntArray) -> bool:
        return homes(tables, indices, asked_to_stop).pages is not None

    def attempt(trial: CountTrial) -> None:
        for allowed in (fits, placeable):
            found = min_max_partition(
                times, trial.limits, trial.count, exact, allowed, above=trial.above, most=trial.most
            )
            if found is None or found.indices is None or selection.known(found.indices):
                return
            placed = homes(tables, found.indices, asked_to_stop)
            selection.offer(found.indices, placed)
            if placed.pages is not None:
                return

    search_chunk_counts(times, selection, attempt, rows)
