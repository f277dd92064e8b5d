"""Work of the end stages + the longest crossing, over all counts; with memory slack or pooled.

Statement and proof: ``formulations/bounds.md``, `crossing` and `crossing_pooled_memory`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.crossing_search import PairSearch
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.bounds.stage_work import chunk_costs, sums_of
from mocap_opt.flow_shop.partitions import NEVER, cheapest_by_count
from mocap_opt.lower_bound import Bound, Evidence, Scope, best
from mocap_opt.stopping import AskedToStop, StoppedError, never
from mocap_opt.tables.cost_tables import Tables

#: Grids with more steps are left to other bounds: the crossing table has their square.
MOST_STEPS = 6144
#: Pairs of end stages to try, and how many unlike-stage rows (steps x stages) they may take together.
MOST_PAIRS = 3
PAIR_BUDGET = 2**17


Sums = tuple[int, ...]
"""Costs of cheapest partitions; `NEVER` where there is none."""


def crossing(tables: Tables, asked_to_stop: AskedToStop = never) -> Bound | None:
    """Bound any execution with memory left out; None if no plan keeps to count and lengths.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        Asked often; what was proved until then stands.
    """
    return _slack_and_pooled(tables, asked_to_stop)[0]


def crossing_pooled_memory(tables: Tables, asked_to_stop: AskedToStop = never) -> Bound | None:
    """Bound any execution with all memories pooled; None also if nothing fits the pool.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        Asked often; what was proved until then stands.
    """
    return _slack_and_pooled(tables, asked_to_stop)[1]


_FOUND: WeakKeyDictionary[Tables, tuple[Bound | None, Bound | None]] = WeakKeyDictionary()


def _slack_and_pooled(tables: Tables, asked_to_stop: AskedToStop) -> tuple[Bound | None, Bound | None]:
    """Both bounds, which share their crossing tables; what was stopped early is not kept for later."""
    if tables not in _FOUND:
        slack: list[Bound | None] = []
        pooled: list[Bound | None] = []
        setting, memory = Setting(tables), PooledMemory.of(tables)
        if setting.counts and tables.steps <= MOST_STEPS:
            for s, e in promising_pairs(setting):
                try:
                    search = PairSearch.of(setting, s, e, asked_to_stop)
                except StoppedError:
                    break
                slack.append(_bound("crossing", search, None))
                pooled.append(_bound("crossing_pooled_memory", search, memory))
        measured = None if tables.excess is None else _measured(setting, asked_to_stop)
        found = best([*filter(None, (_greatest(slack), measured))], (Scope.ANY_EXECUTION,)), _greatest(pooled)
        if asked_to_stop():
            return found
        _FOUND[tables] = found
    return _FOUND[tables]


def _bound(name: str, search: PairSearch, memory: PooledMemory | None) -> Bound | None:
    found = search.run(memory)
    if found is None:
        return None
    note = f"stages {search.s}..{search.e}, {found.chunks} chunks" + (
        ", search cut short" if search.cut_short else ""
    )
    return Bound(name, found.value, Scope.ANY_EXECUTION, Evidence.SEARCH, note)


def _measured(setting: Setting, asked_to_stop: AskedToStop) -> Bound | None:
    """Bound by dynamic programs over all pairs tried: measured times are too ragged for the walk alone."""
    found: list[Bound] = []
    for s, e in promising_pairs(setting) if setting.counts else ():
        ticks = least_with_crossing(setting, s, e, asked_to_stop)
        if ticks is not None:
            note = f"stages {s}..{e}, cheapest partitions"
            found.append(Bound("crossing", ticks, Scope.ANY_EXECUTION, Evidence.SEARCH, note))
    return best(found, (Scope.ANY_EXECUTION,))


def _greatest(bounds: list[Bound | None]) -> Bound | None:
    """Return the greatest; None if any pair of stages found no plan at all, or there was no pair."""
    found = [bound for bound in bounds if bound is not None]
    return best(found, (Scope.ANY_EXECUTION,)) if len(found) == len(bounds) else None


def promising_pairs(setting: Setting) -> list[tuple[int, int]]:
    """Pairs of end stages by what equal chunks of the largest count would give; (0, N-1) second at latest."""
    tables, most = setting.tables, setting.counts[-1]
    stages = tables.stages
    work = (tables.phi[:, -1] - tables.phi[:, 0]).astype(np.float64)
    crossing = np.concatenate([[0.0], np.cumsum(work)]) / most
    s, e = np.triu_indices(stages)
    least = np.minimum(work[s], work[e])
    # Outside s..e the first and the last chunk cross; they tend to be short, so half a chunk counts.
    value = least * (1 - 1 / most) + (crossing[e + 1] - crossing[s] + crossing[-1]) / 2
    order = np.lexsort((s - e, -value))
    ranked = [(int(s[n]), int(e[n])) for n in order]
    # Between unlike stages a pair that starts and ends on a slow one is far better than this one.
    ranked.insert(1, (0, stages - 1))
    budget = max(1, min(MOST_PAIRS, PAIR_BUDGET // (tables.steps * stages)))
    return list(dict.fromkeys(ranked))[:budget]


MOST_SUMS = 2**27
"""Sums of one dynamic program, chunks x ends x lengths, beyond which there is no bound."""

ALL_SUMS = 2**29
"""Sums of all of them together: a second or so."""


def least_with_crossing(setting: Setting, s: int, e: int, asked_to_stop: AskedToStop = never) -> int | None:
    """Bound any execution by min over D of (cheapest partition whose chunks cross within D) + D.

    A chunk costs the smaller of the times on stages s and e, and crosses with E of
    formulations/bounds.md.  Best-first over intervals of D; stopped early, the least open interval's
    value is still a bound.

    Parameters
    ----------
    setting : Setting
    s, e : int
        End stages, s <= e.
    asked_to_stop : callable
        Asked before each dynamic program.

    Returns
    -------
    int or None, ticks
        None if the instance is too large, or no partition keeps to count and lengths.
    """
    tables = setting.tables
    sums = sums_of(tables)
    if not 0 < sums <= MOST_SUMS:
        return None
    times, crossing = chunk_costs(tables, setting.send, s, e)
    possible = np.flatnonzero(times < NEVER)
    if not possible.size:
        return None
    thresholds = np.unique(crossing.ravel()[possible])
    apart = int(setting.heads_and_tails.head[s, 1] + setting.heads_and_tails.tail[e, tables.steps - 1])

    def cheapest(limit: int) -> Sums:
        return (_cheapest(np.where(crossing <= limit, times, NEVER), tables.counts),)

    def _value(costs: Sums, limit: int) -> int:
        return costs[0] + limit

    found = least_over_limits(thresholds, cheapest, _value, ALL_SUMS // sums, asked_to_stop)
    return None if found is None else found + apart


def least_over_limits(
    thresholds: IntArray,
    cheapest: Callable[[int], Sums],
    value: Callable[[Sums, int], int],
    programs: int,
    asked_to_stop: AskedToStop = never,
) -> int | None:
    """Bound min over partitions of `value`, which rises with sums and with the greatest crossing.

    Best-first over intervals of the greatest crossing, whose partitions cost at least the cheapest within
    the interval's end; stopped early, the least open interval's value is still a bound.

    Parameters
    ----------
    thresholds : int64[...], ticks
        All that crossings may be, ascending.
    cheapest : callable
        Costs of the cheapest partitions whose chunks cross within a limit.
    value : callable
        Of costs and the greatest crossing.
    programs : int
        How often `cheapest` may be asked.
    asked_to_stop : callable
        Asked before each time.

    Returns
    -------
    int or None, ticks
        None if there is no partition at all.
    """
    # Intervals by index of the threshold: value, first, last, cheapest partitions within the last.
    last = int(thresholds.size - 1)
    whole = cheapest(int(thresholds[last]))
    heap = [(value(whole, int(thresholds[0])), 0, last, whole)]
    programs = max(1, programs)
    while heap and max(heap[0][3]) < NEVER:
        least, first, last, sums = heap[0]
        if first == last or programs <= 0 or asked_to_stop():
            return least
        heapq.heappop(heap)
        middle = (first + last) // 2
        programs -= 1
        lower = cheapest(int(thresholds[middle]))
        heapq.heappush(heap, (value(lower, int(thresholds[first])), first, middle, lower))
        heapq.heappush(heap, (value(sums, int(thresholds[middle + 1])), middle + 1, last, sums))
    return None


def _cheapest(times: IntArray, counts: range) -> int:
    return min(cheapest_by_count(times, counts).values(), default=NEVER)
