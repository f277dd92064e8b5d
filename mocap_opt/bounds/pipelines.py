"""Lower bounds on the makespan of requests on several equal pipelines (formulations/pipelines.md)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.makespan import LeastTimes, least_path, least_times, makespan_bounds
from mocap_opt.bounds.pipeline_crossing import longest_chunks
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.schedule.requests import Request
from mocap_opt.stopping import AskedToStop, StoppedError, never

MOST_STARTS = 512
"""Different earliest starts that are tried; of more, some spread evenly."""


def pipelines_makespan_bounds(
    requests: Sequence[Request],
    pipelines: int,
    order_given: bool,
    asked_to_stop: AskedToStop = never,
    needs: Sequence[LeastTimes] | None = None,
) -> list[Bound]:
    """Bound the time at which the last request has left the last pipeline.

    Parameters
    ----------
    requests : sequence of Request
        At least one.
    pipelines : int
        K.
    order_given : bool
        Whether those of a pipeline run in this order; bounds of several pipelines cover every order.
    asked_to_stop : callable
        Once it says so, what is proved stands and no further bound is begun.
    needs : sequence of LeastTimes, optional
        Of every request, if known.

    Returns
    -------
    list of Bound
        Empty if some request has no plan.
    """
    if pipelines == 1:
        return makespan_bounds(requests, order_given, asked_to_stop)
    found: list[Bound] = []
    with suppress(StoppedError):
        known = least_times(requests, asked_to_stop) if needs is None else list(needs)
        if known is None:
            return []
        found.append(_alone(requests, known))
        found.append(_shared_work(requests, known, pipelines))
        found.append(_pigeonhole(requests, known, pipelines))
        found.append(_shared_path(requests, known, pipelines))
        starts = spread(np.array([request.release for request in requests], dtype=np.int64)).tolist()
        found.append(longest_chunks(requests, known, pipelines, starts, asked_to_stop))
    return found


def least_alone(needs: LeastTimes) -> int:
    """Ticks from a request's release until it has left, whatever runs beside it.

    Parameters
    ----------
    needs : LeastTimes
    """
    return max(needs.latency, int((needs.head + needs.work + needs.tail).max()), least_path([needs]))


def windows(
    requests: Sequence[Request], needs: Sequence[LeastTimes], stage: int
) -> tuple[IntArray, IntArray, IntArray]:
    """When each request can be at a stage, its least work there and what follows, int64[request], ticks.

    Parameters
    ----------
    requests : sequence of Request
    needs : sequence of LeastTimes
    stage : int
    """
    release = np.array([request.release for request in requests], dtype=np.int64)
    head = np.array([int(each.head[stage]) for each in needs], dtype=np.int64)
    work = np.array([int(each.work[stage]) for each in needs], dtype=np.int64)
    tail = np.array([int(each.tail[stage]) for each in needs], dtype=np.int64)
    return release + head, work, tail


def spread(values: IntArray) -> IntArray:
    """Different values, ascending; of more than `MOST_STARTS` some spread evenly, the least among them."""
    unlike: IntArray = np.unique(values)
    if unlike.size <= MOST_STARTS:
        return unlike
    return np.asarray(unlike[np.linspace(0, unlike.size - 1, MOST_STARTS).astype(np.int64)])


def _alone(requests: Sequence[Request], needs: Sequence[LeastTimes]) -> Bound:
    value, which = max(
        (request.release + least_alone(each), n)
        for n, (request, each) in enumerate(zip(requests, needs, strict=True))
    )
    note = f"request {requests[which].name}"
    return Bound("request_alone", value, Scope.ANY_EXECUTION, Evidence.SEARCH, note)


def _shared_work(requests: Sequence[Request], needs: Sequence[LeastTimes], pipelines: int) -> Bound:
    best, note = 0, ""
    for stage in range(requests[0].tables.stages):
        value, count = shared_work(*windows(requests, needs, stage), pipelines)
        if value > best:
            best, note = value, f"stage {stage}, {count} requests"
    return Bound("shared_work", best, Scope.ANY_EXECUTION, Evidence.CLOSED_FORM, note)


def shared_work(start: IntArray, work: IntArray, tail: IntArray, machines: int) -> tuple[int, int]:
    """Bound the makespan of jobs on equal machines by their work: x + work / machines + y.

    The largest over all x and y, of the jobs that cannot start before x and have y to go at the end.

    Parameters
    ----------
    start, work, tail : int64[job], ticks
    machines : int

    Returns
    -------
    int, ticks
    int
        How many jobs it is about.
    """
    order = np.argsort(-tail, kind="stable")
    start, work, tail = start[order], work[order], tail[order]
    best, count = 0, 0
    for x in spread(start).tolist():
        inside = start >= x
        total = np.cumsum(np.where(inside, work, 0))
        # Rounded down: event-driven, a makespan need not be whole.
        value = x + total // machines + tail
        value[~inside] = 0
        at = int(np.argmax(value))
        if int(value[at]) > best:
            best, count = int(value[at]), int(inside[: at + 1].sum())
    return best, count


def pigeonhole(start: IntArray, work: IntArray, tail: IntArray, machines: int) -> tuple[int, int]:
    """Bound the makespan of jobs on equal machines by those that must share one.

    Of the c K + 1 longest jobs some machine has c + 1, so at least the c + 1 shortest of these; largest
    over c.

    Parameters
    ----------
    start, work, tail : int64[job], ticks
    machines : int
        K.

    Returns
    -------
    int, ticks
    int
        c + 1; 0 if there are no more jobs than machines.
    """
    order = np.argsort(-work, kind="stable")
    start, work, tail = start[order], work[order], tail[order]
    total = np.concatenate([[0], np.cumsum(work)])
    earliest, least = np.minimum.accumulate(start), np.minimum.accumulate(tail)
    best, count = 0, 0
    for c in range(1, (work.size - 1) // machines + 1):
        last = c * machines
        value = int(total[last + 1] - total[last - c] + earliest[last] + least[last])
        if value > best:
            best, count = value, c + 1
    return best, count


def _pigeonhole(requests: Sequence[Request], needs: Sequence[LeastTimes], pipelines: int) -> Bound:
    best, note = 0, "no more requests than pipelines"
    for stage in range(requests[0].tables.stages):
        value, count = pigeonhole(*windows(requests, needs, stage), pipelines)
        if value > best:
            best, note = value, f"stage {stage}, {count} requests on one pipeline"
    return Bound("pigeonhole", best, Scope.ANY_EXECUTION, Evidence.CLOSED_FORM, note)


def _shared_path(requests: Sequence[Request], needs: Sequence[LeastTimes], pipelines: int) -> Bound:
    """Work on the first or last stage and, on every pipeline, the crossing of some chunk."""
    release = np.array([request.release for request in requests], dtype=np.int64)
    best, note = 0, ""
    for x in spread(release).tolist():
        members = [each for each, at in zip(needs, release.tolist(), strict=True) if at >= x]
        crossing = min(int(each.crossing.min()) for each in members)
        value = x + (least_path(members) + (pipelines - 1) * crossing) // pipelines
        if value > best:
            best, note = value, f"{len(members)} requests"
    return Bound("shared_path", best, Scope.ANY_EXECUTION, Evidence.SEARCH, note)
