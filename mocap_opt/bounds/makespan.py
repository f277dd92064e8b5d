"""Lower bounds on streams, for any execution of any feasible plan (formulations/streams.md)."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.makespan_memory import work_and_memory
from mocap_opt.bounds.stage_work import LeastTotal
from mocap_opt.flow_shop.recursion import machine_ends
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.schedule.requests import Request
from mocap_opt.stopping import AskedToStop, StoppedError, never, stop_if
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True, eq=False)
class LeastTimes:
    """What a request needs at least, whatever its plan.

    Attributes
    ----------
    head, work, tail : int64[stage], ticks
        Before its first chunk reaches each stage, on the stage, after its last chunk has ended there.
    path, crossing : int64[count], ticks
        By the count of chunks: all chunks on the first or the last stage, whichever is faster, and
        some chunk on every stage after the first.
    """

    head: IntArray
    work: IntArray
    tail: IntArray
    path: IntArray
    crossing: IntArray

    @classmethod
    def of(cls, tables: Tables, asked_to_stop: AskedToStop = never) -> LeastTimes | None:
        """Least needs over all counts; None if no plan keeps to counts and lengths.

        Parameters
        ----------
        tables : Tables
        asked_to_stop : callable
            Asked before each stage.

        Raises
        ------
        StoppedError
            If asked to stop.
        """
        setting = Setting(tables)
        counts, limits, stages = setting.counts, setting.limits, tables.stages
        if not counts:
            return None
        least = [limits.least_boundaries(m) for m in counts]
        last = [limits.latest_last_start(m) for m in counts]
        totals = np.empty((stages, len(counts)), dtype=np.int64)
        for i in range(stages):
            stop_if(asked_to_stop)
            total = LeastTotal.of(tables, limits, counts, i, i)
            totals[i] = [total.at(boundaries) for boundaries in least]
        ends = LeastTotal.of(tables, limits, counts, 0, stages - 1)
        crossing = -(-totals[1:].sum(axis=0) // np.array(counts, dtype=np.int64))
        return cls(
            head=setting.heads_and_tails.head[:, [b[1] for b in least]].min(axis=1),
            work=totals.min(axis=1),
            tail=setting.heads_and_tails.tail[:, last].min(axis=1),
            path=np.array([ends.at(boundaries) for boundaries in least], dtype=np.int64),
            crossing=crossing.astype(np.int64),
        )


def least_times(requests: Sequence[Request], asked_to_stop: AskedToStop = never) -> list[LeastTimes] | None:
    """LeastTimes of every request; None if one of them has no plan.

    Parameters
    ----------
    requests : sequence of Request
        Those with the same tables are looked at once.
    asked_to_stop : callable

    Raises
    ------
    StoppedError
        If asked to stop.
    """
    known: dict[int, LeastTimes | None] = {}
    for request in requests:
        if id(request.tables) not in known:
            known[id(request.tables)] = LeastTimes.of(request.tables, asked_to_stop)
    found = [known[id(request.tables)] for request in requests]
    return None if None in found else [each for each in found if each is not None]


def makespan_bounds(
    requests: Sequence[Request], order_given: bool, asked_to_stop: AskedToStop = never
) -> list[Bound]:
    """Bound the time at which the last request has left.

    Parameters
    ----------
    requests : sequence of Request
    order_given : bool
        Whether they run in this order; if not, the bounds cover every order.
    asked_to_stop : callable
        Once it says so, what is proved stands and no further bound is begun.
    """
    found: list[Bound] = []
    with suppress(StoppedError):
        needs = least_times(requests, asked_to_stop)
        if needs is None:
            return []
        found += [_stage_work(requests, needs, order_given), _crossing(requests, needs, order_given)]
        with_memory = work_and_memory(requests, asked_to_stop)
        found += [] if with_memory is None else [with_memory]
    return found


def shifted(bound: Bound, release: int) -> Bound:
    """Return a bound on the latency of a request as one on when it has left.

    Parameters
    ----------
    bound : Bound
    release : int
        When the request arrives, ticks.
    """
    return replace(bound, ticks=bound.ticks + release)


def _stage_work(requests: Sequence[Request], needs: list[LeastTimes], order_given: bool) -> Bound:
    values = []
    for i in range(requests[0].tables.stages):
        jobs = _jobs(requests, needs, i)
        values.append(max(_in_order(jobs)) if order_given else _jackson(jobs))
    at = int(np.argmax(values))
    return Bound("stage_work", values[at], Scope.ANY_EXECUTION, Evidence.CLOSED_FORM, f"stage {at}")


def _jobs(requests: Sequence[Request], needs: Sequence[LeastTimes], stage: int) -> list[tuple[int, int, int]]:
    """Requests as jobs of one stage: when each can be there, its work, what follows."""
    return [
        (request.release + int(n.head[stage]), int(n.work[stage]), int(n.tail[stage]))
        for request, n in zip(requests, needs, strict=True)
    ]


def _in_order(jobs: Sequence[tuple[int, int, int]]) -> list[int]:
    """Completions (delivered) of jobs (release, work, tail) run in order on one machine."""
    release, work, tail = np.array(jobs, dtype=np.int64).T
    delivered: list[int] = (machine_ends(release, work) + tail).tolist()
    return delivered


def _jackson(jobs: Sequence[tuple[int, int, int]]) -> int:
    """Least latest delivery on one machine with preemption: always run the longest tail.

    Tails may be negative, as long as every job is delivered at 0 or later.
    """
    pending = sorted(jobs)
    ready: list[tuple[int, int]] = []
    now = latest = at = 0
    while ready or at < len(pending):
        if not ready:
            now = max(now, pending[at][0])
        while at < len(pending) and pending[at][0] <= now:
            heapq.heappush(ready, (-pending[at][2], pending[at][1]))
            at += 1
        tail, work = heapq.heappop(ready)
        until = pending[at][0] if at < len(pending) else now + work
        done = min(work, until - now)
        now += done
        if done < work:
            heapq.heappush(ready, (tail, work - done))
        else:
            latest = max(latest, now - tail)
    return latest


def _crossing(requests: Sequence[Request], needs: list[LeastTimes], order_given: bool) -> Bound:
    release = np.array([request.release for request in requests], dtype=np.int64)
    if order_given:
        first = np.maximum.accumulate(release)
        groups = [(int(first[k]), list(range(k, len(needs)))) for k in range(len(needs))]
    else:
        groups = [(int(r), np.flatnonzero(release >= r).tolist()) for r in np.unique(release)]
    # Of groups with the same start the largest says most.
    largest = dict(reversed(groups))
    value, note = max(
        (start + least_path([needs[r] for r in members]), f"{len(members)} requests")
        for start, members in largest.items()
    )
    return Bound("crossing", value, Scope.ANY_EXECUTION, Evidence.SEARCH, note)


def least_path(needs: Sequence[LeastTimes]) -> int:
    """Least of sum of path(m_r) + largest crossing(m_r) over counts m_r of every request, ticks."""
    candidates = np.unique(np.concatenate([each.crossing for each in needs]))
    total = np.zeros(candidates.size, dtype=np.int64)
    possible = np.ones(candidates.size, dtype=bool)
    for each in needs:
        order = np.argsort(each.crossing, kind="stable")
        least = np.minimum.accumulate(each.path[order])
        through = np.searchsorted(each.crossing[order], candidates, side="right")
        possible &= through > 0
        total += least[np.maximum(through - 1, 0)]
    return int((total + candidates)[possible].min())


def completion_bounds(
    requests: Sequence[Request], order_given: bool, needs: Sequence[LeastTimes] | None = None
) -> Fraction | None:
    """Bound the mean completion (from release to having left) of any execution, ticks.

    On every stage the requests are jobs of one machine: in a given order each has a least end; in
    any order the sum of the ends is least under the shortest remaining time first, with preemption.

    Parameters
    ----------
    requests : sequence of Request
    order_given : bool
        Whether they run in this order.
    needs : sequence of LeastTimes, optional
        Of the requests, if known already.

    Returns
    -------
    Fraction or None
        None if some request has no plan.
    """
    needs = least_times(requests) if needs is None else needs
    if needs is None:
        return None
    best = 0
    ends = np.zeros(len(needs), dtype=np.int64)
    for i in range(requests[0].tables.stages):
        jobs = _jobs(requests, needs, i)
        if order_given:
            ends = np.maximum(ends, _in_order(jobs))
            best = int(ends.sum())
        else:
            best = max(best, _least_sum_of_ends(jobs) + sum(tail for _, _, tail in jobs))
    return Fraction(best - sum(request.release for request in requests), len(requests))


def ranked_bound(requests: Sequence[Request], order_given: bool, rank: int) -> int | None:
    """Bound the completion (from release to having left) of which `rank` requests are no slower, ticks.

    In a given order every request has a least end, so the sorted least completions are no more than
    the sorted completions.  In any order each takes what it takes alone, and for the slowest of all
    Jackson's rule with due dates at the releases holds on every stage.

    Parameters
    ----------
    requests : sequence of Request
    order_given : bool
    rank : int
        1 for the fastest, up to the number of requests for the slowest.

    Returns
    -------
    int or None
        None if some request has no plan.
    """
    needs = least_times(requests)
    if needs is None:
        return None
    least = np.zeros(len(needs), dtype=np.int64)
    slowest = 0
    for i in range(requests[0].tables.stages):
        jobs = _jobs(requests, needs, i)
        if order_given:
            ends = _in_order(jobs)
        else:
            ends = [release + work + tail for release, work, tail in jobs]
            due = [(job[0], job[1], job[2] - r.release) for job, r in zip(jobs, requests, strict=True)]
            slowest = max(slowest, _jackson(due))
        least = np.maximum(least, np.array(ends) - [request.release for request in requests])
    found = int(np.sort(least)[rank - 1])
    return max(found, slowest) if rank == len(requests) else found


def _least_sum_of_ends(jobs: Sequence[tuple[int, int, int]]) -> int:
    """Least sum of ends on one machine with preemption: shortest remaining time first."""
    pending = sorted(jobs)
    ready: list[int] = []
    now = total = at = 0
    while ready or at < len(pending):
        if not ready:
            now = max(now, pending[at][0])
        while at < len(pending) and pending[at][0] <= now:
            heapq.heappush(ready, pending[at][1])
            at += 1
        work = heapq.heappop(ready)
        until = pending[at][0] if at < len(pending) else now + work
        done = min(work, until - now)
        now += done
        if done < work:
            heapq.heappush(ready, work - done)
        else:
            total += now
    return total
