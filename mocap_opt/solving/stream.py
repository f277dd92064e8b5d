"""Answer a stream: exactly where it is short, as one prompt where it is one, by searches otherwise."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from mocap_opt.bounds import prove_infeasible
from mocap_opt.bounds.makespan import makespan_bounds, shifted
from mocap_opt.replay.evaluation import Assessment, assess_schedule
from mocap_opt.replay.lockstep import run_lockstep
from mocap_opt.schedule.requests import Request, alone, build_requests
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.search.stream_candidate import Candidate
from mocap_opt.search.stream_enumeration import MOST_SCHEDULES, UnfinishedError, schedules, solve_exactly
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.incumbent import Progress
from mocap_opt.solving.latency import solve as solve_prompt
from mocap_opt.solving.stream_incumbent import StreamSearch
from mocap_opt.solving.stream_planner import plan_stream
from mocap_opt.solving.stream_report import StreamSolution, stream_solution, without_sequence
from mocap_opt.stopping import Deadline

if TYPE_CHECKING:
    from mocap_opt.instance import Instance

BOUNDING = 0.4
"""Part of the time that the bounds may take."""

EXACT_SHARE = 0.5
"""Part of the time that going through all schedules of a short stream may take."""

NOT_FOUND = "no sequence was found"


def solve_stream(
    instance: Instance,
    *,
    time_limit_s: float = 60.0,
    gap: float = 1e-4,
    seed: int = 0,
    callback: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> StreamSolution:
    """Plan the requests of an instance.

    A stream of one request is solved as the prompt it is.  Short streams are solved exactly in lockstep
    as well as searched; the better of both sequences is returned.

    Parameters
    ----------
    instance : Instance
        With ``workload.requests``.
    time_limit_s : float
        Wall time, seconds.
    gap : float
        Stop once (makespan - bound) / makespan is at most this.
    seed : int
        For the searches.
    callback : callable, optional
        Called with a `Progress` at every better makespan or bound; its ``latency_s`` is the makespan.
    stop : threading.Event, optional
        Set it from outside to stop early with the best sequence so far.

    Returns
    -------
    StreamSolution

    Raises
    ------
    InputError
        As `mocap_opt.schedule.requests.build_requests`.
    """
    deadline = Deadline(time_limit_s, stop)
    requests = build_requests(instance)
    if len(requests) == 1:
        return _solve_one(instance, requests[0], deadline, gap, seed, callback)
    order_given = instance.workload.order == "given"
    search = StreamSearch(
        requests, order_given, instance.fingerprint, deadline=deadline, gap=gap, callback=callback
    )
    search.begin("bounds on the makespan")
    search.add_bounds(makespan_bounds(requests, order_given, deadline.share(BOUNDING)))
    if schedules(requests, order_given) <= MOST_SCHEDULES:
        _search_exactly(search)
    if search.infeasible is None and not search.closed:
        plan_stream(search, seed=seed)
    if search.infeasible is None and search.best is None:
        _refute(search)
    best = search.best
    if best is None:
        reason, status = search.infeasible or NOT_FOUND, Status.UNKNOWN
        if search.infeasible is not None:
            status = Status.INFEASIBLE
        return without_sequence(instance, requests, status, reason, search.bounds, search.notes)
    return stream_solution(
        instance,
        requests,
        Assessment(run_lockstep(best.candidate.sequence), best.event),
        bounds=search.bounds,
        tolerance=gap,
        notes=search.notes,
    )


def _search_exactly(search: StreamSearch) -> None:
    """Go through all schedules in a part of the time."""
    search.begin("all schedules")
    late = search.share(EXACT_SHARE)
    requests, given = search.requests, search.order_given

    def found(sequence: Schedule) -> None:
        search.offer(Candidate.of(sequence), "all schedules")

    try:
        best = solve_exactly(requests, given, search.fingerprint, late, found)
    except UnfinishedError as error:
        if not search.closed:
            search.notes.append(f"not all schedules were gone through: {error}")
        return
    if best is None:
        search.infeasible = "no sequence of these requests fits in memory"


def _refute(search: StreamSearch) -> None:
    """Without a sequence, try to prove that there is none: a request that fits alone nowhere fits in none."""
    unlike = {id(request.tables): request for request in search.requests}
    for request in unlike.values():
        impossible = prove_infeasible(request.tables, search.deadline)
        if impossible is not None:
            search.infeasible = f"request {request.name} has no plan even alone: {impossible.message}"
            return


def _solve_one(
    instance: Instance,
    request: Request,
    deadline: Deadline,
    gap: float,
    seed: int,
    callback: Callable[[Progress], None] | None,
) -> StreamSolution:
    """Solve a stream of one request as a prompt; all times begin at its release."""
    release, seconds = request.release, request.tables.seconds

    def tell(news: Progress) -> None:
        if callback is None:
            return
        later = [
            None if value is None else value + seconds(release) for value in (news.latency_s, news.bound_s)
        ]
        relative = None if None in later or not later[0] else (later[0] - (later[1] or 0.0)) / later[0]
        callback(replace(news, latency_s=later[0], bound_s=later[1], gap=relative))

    solution = solve_prompt(
        alone(instance, 0),
        time_limit_s=deadline.limit_s,
        gap=gap,
        seed=seed,
        callback=tell,
        stop=deadline.stop,
    )
    bounds = [shifted(bound, release) for bound in solution.bounds]
    report = solution.report
    if solution.plan is None:
        reason = report.reason or NOT_FOUND
        return without_sequence(instance, [request], report.status, reason, bounds, report.notes)
    plan = replace(solution.plan, fingerprint=instance.fingerprint)
    return stream_solution(
        instance,
        [request],
        assess_schedule(Schedule((request.scheduled(plan, 0, 0),))),
        bounds=bounds,
        tolerance=gap,
        notes=report.notes,
    )
