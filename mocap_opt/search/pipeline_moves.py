"""Requests shared out over pipelines: first free, longest first, then moves, swaps and insertions."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from mocap_opt.search.pipeline_clock import PipelineClock
from mocap_opt.stopping import AskedToStop

Key = Callable[[int], tuple[int, ...]]
"""What the requests of a pipeline are ordered by."""

Lists = list[list[int]]
"""Of every pipeline its requests in order, by their number."""

NEAR = 12
"""Exchanges of two pipelines that are tried, those whose difference of work is nearest to what is wanted."""

CHEAP = 3
"""Pipelines that may take work over, the cheapest first."""


def first_free(clock: PipelineClock, pipelines: int, order: Sequence[int]) -> Lists:
    """Send each request, in an order, where it would leave first.

    Parameters
    ----------
    clock : PipelineClock
    pipelines : int
    order : sequence of int
    """
    lists: Lists = [[] for _ in range(pipelines)]
    free = [clock.idle] * pipelines
    for number in order:
        after = [clock.after(each, number) for each in free]
        at = min(range(pipelines), key=lambda p: (clock.left(after[p]), p))
        lists[at].append(number)
        free[at] = after[at]
    return lists


def longest_first(clock: PipelineClock, pipelines: int, key: Key) -> Lists:
    """Send each request, the most work first, where there is the least work (LPT).

    Parameters
    ----------
    clock : PipelineClock
    pipelines : int
    key : callable
        What requests of a pipeline are ordered by.
    """
    lists: Lists = [[] for _ in range(pipelines)]
    loads = [0] * pipelines
    for number in sorted(range(len(clock.requests)), key=lambda r: (-clock.work(r), r)):
        at = min(range(pipelines), key=lambda p: (loads[p], p))
        lists[at].append(number)
        loads[at] += clock.work(number)
    return [sorted(each, key=key) for each in lists]


def balance(
    clock: PipelineClock,
    lists: Lists,
    key: Key,
    asked_to_stop: AskedToStop,
) -> Lists:
    """Bring the last pipeline to an earlier end until no move, swap or insertion does.

    Work has a price on the pipeline that ends last and costs less the earlier one ends.  Exchanges with the
    cheapest pipelines are tried in the order in which the difference of work comes nearest to half of the
    difference of the ends.

    Parameters
    ----------
    clock : PipelineClock
    lists : list of list of int
    key : callable
        What requests of a pipeline are ordered by; a request is put in where it belongs by it.
    asked_to_stop : callable
    """
    lists = [list(each) for each in lists]
    ends = [clock.end(each) for each in lists]
    while not asked_to_stop():
        dearest = max(range(len(lists)), key=lambda p: (ends[p], p))
        if not _relieved(clock, lists, ends, dearest, key):
            return lists
    return lists


def _relieved(clock: PipelineClock, lists: Lists, ends: list[int], dearest: int, key: Key) -> bool:
    """Take work off one pipeline; whether that was possible."""
    cheapest = sorted((p for p in range(len(lists)) if p != dearest), key=lambda p: (ends[p], p))
    for other in cheapest[:CHEAP]:
        wanted = (ends[dearest] - ends[other]) / 2
        for out, back in _exchanges(clock, lists[dearest], lists[other], wanted):
            giving = [r for r in lists[dearest] if r not in out]
            taking = [r for r in lists[other] if r not in back]
            giving, taking = _with(giving, back, key), _with(taking, out, key)
            found = clock.end(giving), clock.end(taking)
            if max(found) < ends[dearest]:
                lists[dearest], lists[other] = giving, taking
                ends[dearest], ends[other] = found
                return True
    return False


def _exchanges(
    clock: PipelineClock, giving: Sequence[int], taking: Sequence[int], wanted: float
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Requests that go, and that come back for them; those whose difference of work is nearest first."""
    work = {r: clock.work(r) for r in (*giving, *taking)}
    back = sorted(taking, key=lambda r: (work[r], r))
    sizes = [work[r] for r in back]
    near: list[tuple[float, tuple[int, ...], tuple[int, ...]]] = []
    for out in giving:
        near.append((abs(work[out] - wanted), (out,), ()))
        at = bisect_left(sizes, work[out] - wanted)
        near += [
            (abs(work[out] - work[r] - wanted), (out,), (r,))
            for r in back[max(at - 1, 0) : at + 1]
            if work[r] < work[out]
        ]
    for _, gone, come in sorted(near, key=lambda each: each[0])[:NEAR]:
        yield gone, come


def _with(order: Sequence[int], more: Sequence[int], key: Key) -> list[int]:
    return sorted([*order, *more], key=key) if more else list(order)
