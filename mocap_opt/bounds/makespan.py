"""Lower bounds on streams, for any execution of any feasible plan (formulations/streams.md)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.makespan_memory import SUBTICKS, jobs, least_over_ranges, weighed_costs
from mocap_opt.bounds.one_machine import Job, ends_in_order, least_latest_delivery, least_sum_of_ends
from mocap_opt.bounds.registry import BOUNDS, lower_bounds
from mocap_opt.bounds.stage_work import LeastTotal
from mocap_opt.lower_bound import Bound, Evidence, Scope, best
from mocap_opt.schedule.requests import Request
from mocap_opt.stopping import AskedToStop, Deadline, StoppedError, never, stop_if
from mocap_opt.tables.cost_tables import Tables

CLOSED = ("stage_work", "streaming", "fixed_messages", "crossing", "crossing_pooled_memory")
"""Bounds on the latency of a request alone that are quick for any of many."""

THOROUGH = ("path_relaxation", "enumerated_partitions")
"""Those that are asked as well where requests are few and small."""

THOROUGH_SIZE = 2**22
"""Chunks x steps^2 of all unlike requests up to which they are."""


@dataclass(frozen=True, eq=False)
class LeastTimes:
    """What a request needs at least, whatever its plan.

    Attributes
    ----------
    head, work, tail : int64[stage], ticks
        Before its first chunk reaches each stage, on the stage, after its last chunk has ended there.
        On the first stage work and tail, on the last one head and work take no less than `latency`.
    latency : int, ticks
        From its first start to having left, as if it were alone.
    path, crossing : int64[count], ticks
        By the count of chunks: all chunks on the first or the last stage, whichever is faster, and
        some chunk on every stage after the first.
    """

    head: IntArray
    work: IntArray
    tail: IntArray
    path: IntArray
    crossing: IntArray
    latency: int

    @classmethod
    def of(
        cls, tables: Tables, asked_to_stop: AskedToStop = never, names: Sequence[str] = CLOSED
    ) -> LeastTimes | None:
        """Least needs over all counts; None if no plan keeps to counts and lengths.

        Parameters
        ----------
        tables : Tables
        asked_to_stop : callable
            Asked before each stage.
        names : sequence of str
            Of the bounds on the latency alone that count besides, see `mocap_opt.bounds.BOUNDS`.

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
        head = setting.heads_and_tails.head[:, [b[1] for b in least]].min(axis=1)
        tail = setting.heads_and_tails.tail[:, last].min(axis=1)
        path = np.array([ends.at(boundaries) for boundaries in least], dtype=np.int64)
        times = cls(head, totals.min(axis=1), tail, path, crossing.astype(np.int64), 0)
        return times.with_latency(tables, names, asked_to_stop) if names else times

    def with_latency(self, tables: Tables, names: Sequence[str], asked_to_stop: AskedToStop) -> LeastTimes:
        """The same with what further bounds say of the latency.

        Parameters
        ----------
        tables : Tables
        names : sequence of str
            Of the bounds, see `mocap_opt.bounds.BOUNDS`.
        asked_to_stop : callable
            Once it says so, they end with what they have.
        """
        without = [name for name in BOUNDS if name not in names]
        found = best(lower_bounds(tables, False, asked_to_stop, without), {Scope.ANY_EXECUTION})
        if found is None or found.ticks <= self.latency:
            return self
        head, tail = self.head.copy(), self.tail.copy()
        tail[0] = max(int(tail[0]), found.ticks - int(self.work[0]))
        if tables.stages > 1:
            head[-1] = max(int(head[-1]), found.ticks - int(self.work[-1]))
        return replace(self, head=head, tail=tail, latency=found.ticks)


def least_times(
    requests: Sequence[Request], asked_to_stop: AskedToStop = never, names: Sequence[str] = CLOSED
) -> list[LeastTimes] | None:
    """LeastTimes of every request; None if one of them has no plan.

    Parameters
    ----------
    requests : sequence of Request
        Those with the same tables are looked at once.
    asked_to_stop : callable
    names : sequence of str
        As of `LeastTimes.of`.

    Raises
    ------
    StoppedError
        If asked to stop.
    """
    kinds = {id(request.tables): request.tables for request in requests}
    known = {key: LeastTimes.of(tables, asked_to_stop, names) for key, tables in kinds.items()}
    size = sum(max(tables.counts, default=0) * tables.steps**2 for tables in kinds.values())
    late = asked_to_stop.share(0.5) if isinstance(asked_to_stop, Deadline) else asked_to_stop
    for key, tables in kinds.items() if size <= THOROUGH_SIZE and names else ():
        times = known[key]
        if times is not None and not late():
            known[key] = times.with_latency(tables, THOROUGH, late)
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
        last = _last_in_order if order_given else least_latest_delivery
        if value := least_over_ranges(requests, weighed_costs(requests, asked_to_stop), last):
            found.append(Bound("work_and_memory", value, Scope.ANY_EXECUTION, Evidence.SEARCH))
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


def _last_in_order(jobs: Sequence[Job]) -> int:
    return max(ends_in_order(jobs))


def _stage_work(requests: Sequence[Request], needs: list[LeastTimes], order_given: bool) -> Bound:
    values = []
    for i in range(requests[0].tables.stages):
        jobs = _jobs(requests, needs, i)
        values.append(_last_in_order(jobs) if order_given else least_latest_delivery(jobs))
    at = int(np.argmax(values))
    return Bound("stage_work", values[at], Scope.ANY_EXECUTION, Evidence.CLOSED_FORM, f"stage {at}")


def _jobs(requests: Sequence[Request], needs: Sequence[LeastTimes], stage: int) -> list[Job]:
    """Requests as jobs of one stage: when each can be there, its work, what follows."""
    return [
        (request.release + int(n.head[stage]), int(n.work[stage]), int(n.tail[stage]))
        for request, n in zip(requests, needs, strict=True)
    ]


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


@dataclass(frozen=True, eq=False)
class StreamNeeds:
    """What the requests of a stream need at least, each alone and of what they share.

    Attributes
    ----------
    requests : sequence of Request
    times : sequence of LeastTimes
        Of every request.
    costs : list of int64[weight, request], subticks
        From `mocap_opt.bounds.makespan_memory.weighed_costs`.
    """

    requests: Sequence[Request]
    times: Sequence[LeastTimes]
    costs: list[IntArray]

    @classmethod
    def of(cls, requests: Sequence[Request], asked_to_stop: AskedToStop = never) -> StreamNeeds | None:
        """Needs of a stream; None if some request has no plan.

        Parameters
        ----------
        requests : sequence of Request
        asked_to_stop : callable
            Once it says so, what is shared is left out.

        Raises
        ------
        StoppedError
            If asked to stop before the needs of each request alone are known.
        """
        times = least_times(requests, asked_to_stop)
        if times is None:
            return None
        costs: list[IntArray] = []
        with suppress(StoppedError):
            costs = weighed_costs(requests, asked_to_stop)
        return cls(requests, times, costs)

    @property
    def releases(self) -> list[int]:
        """When the requests arrive, ticks."""
        return [request.release for request in self.requests]

    def least_ends(self) -> IntArray:
        """When each has left at least if they run in this order, int64[request], ticks."""
        ends = np.zeros(len(self.times), dtype=np.int64)
        for i in range(self.requests[0].tables.stages):
            ends = np.maximum(ends, ends_in_order(_jobs(self.requests, self.times, i)))
        shared = [
            np.max([ends_in_order(jobs(self.requests, row)) for row in each.tolist()], axis=0)
            for each in self.costs
        ]
        return np.maximum(ends, np.min(shared, axis=0) // SUBTICKS) if shared else ends


def completion_bounds(needs: StreamNeeds, order_given: bool) -> int:
    """Bound the sum of the completions (from release to having left) of any execution, ticks.

    On every stage the requests are jobs of one machine, and so they are of what they share: in a given
    order each has a least end; in any order the sum of the ends is least under the shortest remaining
    time first, with preemption.

    Parameters
    ----------
    needs : StreamNeeds
    order_given : bool
        Whether they run in this order.
    """
    released = sum(needs.releases)
    if order_given:
        return int(needs.least_ends().sum()) - released
    total = least_over_ranges(needs.requests, needs.costs, least_sum_of_ends)
    for i in range(needs.requests[0].tables.stages):
        on_stage = _jobs(needs.requests, needs.times, i)
        total = max(total, least_sum_of_ends(on_stage) + sum(tail for _, _, tail in on_stage))
    return total - released


def ranked_bound(needs: StreamNeeds, order_given: bool, rank: int) -> int:
    """Bound the completion (from release to having left) of which `rank` requests are no slower, ticks.

    In a given order every request has a least end, so the sorted least completions are no more than
    the sorted completions.  In any order each takes what it takes alone, and for the slowest of all
    Jackson's rule with due dates at the releases holds on every stage and for what they share.

    Parameters
    ----------
    needs : StreamNeeds
    order_given : bool
    rank : int
        1 for the fastest, up to the number of requests for the slowest.
    """
    releases = needs.releases
    if order_given:
        return int(np.sort(needs.least_ends() - releases)[rank - 1])
    alone = [max(int((n.head + n.work + n.tail).max()), least_path([n])) for n in needs.times]
    found = int(np.sort(alone)[rank - 1])
    if rank < len(alone):
        return found

    shared = least_over_ranges(
        needs.requests, needs.costs, lambda jobs: _least_lateness(jobs, releases, SUBTICKS)
    )
    for i in range(needs.requests[0].tables.stages):
        found = max(found, _least_lateness(_jobs(needs.requests, needs.times, i), releases))
    return max(found, shared)


def _least_lateness(jobs: Sequence[Job], releases: Sequence[int], unit: int = 1) -> int:
    """Least largest time from release to delivery on one machine, in parts of a tick."""
    due = [(job[0], job[1], job[2] - r * unit) for job, r in zip(jobs, releases, strict=True)]
    return least_latest_delivery(due)
