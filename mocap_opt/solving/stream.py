"""Answer a stream: exactly where it is short, as one prompt where it is one, by searches otherwise."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mocap_opt.baselines.registry import find_method
from mocap_opt.bounds import Bound, Infeasibility, lower_bounds, prove_infeasible
from mocap_opt.homes.proposal import Method, Proposal
from mocap_opt.replay.evaluation import Assessment, assess_schedule
from mocap_opt.replay.lockstep import run_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.requests import Request, alone, build_requests
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.schedule_file import stream_from_dict
from mocap_opt.search.stream_candidate import Candidate, Pricer
from mocap_opt.search.stream_enumeration import MOST_SCHEDULES, UnfinishedError, schedules, solve_exactly
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.incumbent import Progress
from mocap_opt.solving.latency import TIME_LIMIT_S
from mocap_opt.solving.latency import solve as solve_prompt
from mocap_opt.solving.methods import JOINT_METHODS
from mocap_opt.solving.stream_incumbent import MAKESPAN, StreamGoal, StreamSearch
from mocap_opt.solving.stream_planner import plan_stream
from mocap_opt.solving.stream_report import (
    StreamSolution,
    evaluate_stream,
    stream_solution,
    without_sequence,
)
from mocap_opt.stopping import STOPPED, Deadline
from mocap_opt.tables.cost_tables import Tables

if TYPE_CHECKING:
    from mocap_opt.instance import Instance

BOUNDING = 0.4
"""Part of the time that the bounds may take."""

EXACT_SHARE = 0.5
"""Part of the time that going through all schedules of a short stream may take."""

NOT_FOUND = "no sequence was found"


def solve(
    instance: Instance,
    method: str = "auto",
    *,
    time_limit_s: float | None = None,
    gap: float = 1e-4,
    seed: int = 0,
    callback: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
    goal: StreamGoal = MAKESPAN,
) -> StreamSolution:
    """Plan the requests of an instance.

    A stream of one request is solved as the prompt it is.  Short streams are solved exactly in lockstep
    as well as searched; the better of both sequences is returned.

    Parameters
    ----------
    instance : Instance
        With ``workload.requests``.
    method : str
        ``"auto"`` or ``"joint"``: everything; or one latency heuristic, whose plans of all requests run by
        release (in the order given, if it is), each in the first slot in which it fits.
    time_limit_s : float, optional
        Wall time, seconds; 60 by default.
    gap : float
        Stop once (value - bound) / value is at most this, of what is minimised.
    seed : int
        For the searches.
    callback : callable, optional
        Called with a `Progress` at every better sequence or bound; its ``latency_s`` is what is minimised.
    stop : threading.Event, optional
        Set it from outside to stop early with the best sequence so far.
    goal : StreamGoal
        What is minimised.

    Returns
    -------
    StreamSolution

    Raises
    ------
    InputError
        As `mocap_opt.schedule.requests.build_requests`, or if there is no such method.
    """
    deadline = Deadline(TIME_LIMIT_S if time_limit_s is None else time_limit_s, stop)
    requests = build_requests(instance)
    joint = method in JOINT_METHODS
    if len(requests) == 1:
        answer = _solve_one(instance, method, requests[0], deadline, gap, seed, callback, goal)
    else:
        order_given = instance.workload.order == "given"
        search = StreamSearch(
            requests,
            order_given,
            instance.fingerprint,
            deadline=deadline,
            gap=gap,
            callback=callback,
            goal=goal,
        )
        heuristic = None if joint else find_method(method)
        search.begin(f"bounds on the {goal.objective.record.words}")
        search.add_bounds(goal.bounds(requests, order_given, deadline.share(BOUNDING)))
        reason = _search(search, seed) if heuristic is None else _repeat(search, heuristic)
        answer = _answer(instance, search, reason)
    name = "joint" if joint else method
    return replace(answer, report=replace(answer.report, method=name, runtime_s=deadline.elapsed_s))


def _search(search: StreamSearch, seed: int) -> str:
    """Look for a sequence by every means; return why none was found, should that be so."""
    if schedules(search.requests, search.order_given) <= MOST_SCHEDULES:
        _search_exactly(search)
    if search.infeasible is None and not search.closed:
        plan_stream(search, seed=seed)
    if search.infeasible is None and search.best is None:
        _refute(search)
    return NOT_FOUND


def _repeat(search: StreamSearch, method: Method) -> str:
    """Run a heuristic's plans of all requests one after the other; return why that cannot be done."""
    search.begin(method.name)
    numbers = range(len(search.requests))
    order = list(numbers)
    if not search.order_given:
        order.sort(key=lambda r: (search.requests[r].release, r))
    proposals: dict[int, Proposal] = {}
    for r in numbers:
        tables = search.requests[r].tables
        if id(tables) not in proposals:
            proposals[id(tables)] = method.propose(tables, search.deadline)
    plans: list[Plan] = []
    for r in order:
        proposal = proposals[id(search.requests[r].tables)]
        if proposal.plan is None:
            return f"request {search.requests[r].name}: {proposal.reason}"
        plans.append(proposal.plan)
    pricer = Pricer(search.requests, search.fingerprint, search.goal.ranked)
    cuts = [plan.grid_indices(search.requests[r].tables) for r, plan in zip(order, plans, strict=True)]
    found = pricer.candidate(order, cuts, plans)
    if found is None:
        return "its plans of the requests do not fit in memory one after the other"
    search.offer(found, method.name)
    return ""


def _answer(instance: Instance, search: StreamSearch, reason: str) -> StreamSolution:
    """What a search has found."""
    best = search.best
    if best is None:
        status = Status.UNKNOWN if search.infeasible is None else Status.INFEASIBLE
        why = search.infeasible or reason
        return without_sequence(
            instance, search.requests, status, why, search.bounds, search.notes, goal=search.goal
        )
    return stream_solution(
        instance,
        search.requests,
        Assessment(run_lockstep(best.candidate.sequence), best.event),
        bounds=search.bounds,
        tolerance=search.gap,
        notes=search.notes,
        goal=search.goal,
    )


def _search_exactly(search: StreamSearch) -> None:
    """Go through all schedules in a part of the time."""
    search.begin("all schedules")
    late = search.share(EXACT_SHARE)
    requests, given = search.requests, search.order_given

    def found(sequence: Schedule) -> None:
        search.offer(Candidate.of(sequence, search.goal.ranked), "all schedules")

    try:
        best = solve_exactly(requests, given, search.fingerprint, late, found, search.goal.ranked)
    except UnfinishedError as error:
        if not search.closed:
            search.notes.append(f"not all schedules were gone through: {error}")
        return
    if best is None:
        search.infeasible = "no sequence of these requests fits in memory"


def _refute(search: StreamSearch) -> None:
    """Without a sequence, try to prove that there is none: that some request has no plan even alone."""
    unlike = {id(request.tables): request for request in search.requests}
    for request in unlike.values():
        impossible = prove_infeasible(request.tables, search.deadline)
        if impossible is not None:
            search.infeasible = f"request {request.name} has no plan even alone: {impossible.message}"
            return


def _solve_one(
    instance: Instance,
    method: str,
    request: Request,
    deadline: Deadline,
    gap: float,
    seed: int,
    callback: Callable[[Progress], None] | None,
    goal: StreamGoal,
) -> StreamSolution:
    """Solve a stream of one request as a prompt; all times begin at its release."""
    later_s = 0.0 if goal.from_release else request.tables.seconds(request.release)

    def tell(news: Progress) -> None:
        if callback is None:
            return
        later = [None if value is None else value + later_s for value in (news.latency_s, news.bound_s)]
        relative = None if None in later or not later[0] else (later[0] - (later[1] or 0.0)) / later[0]
        callback(replace(news, latency_s=later[0], bound_s=later[1], gap=relative))

    solution = solve_prompt(
        alone(instance, 0),
        method,
        time_limit_s=deadline.limit_s,
        gap=gap,
        seed=seed,
        callback=tell,
        stop=deadline.stop,
    )
    bounds = goal.of_one(request, solution.bounds)
    report = solution.report
    if solution.plan is None:
        reason = report.reason or NOT_FOUND
        return without_sequence(instance, [request], report.status, reason, bounds, report.notes, goal=goal)
    plan = replace(solution.plan, fingerprint=instance.fingerprint)
    return stream_solution(
        instance,
        [request],
        assess_schedule(Schedule((request.scheduled(plan, 0, 0),))),
        bounds=bounds,
        tolerance=gap,
        notes=report.notes,
        goal=goal,
    )


def evaluate(
    instance: Instance, plan: Schedule | Mapping[str, Any], goal: StreamGoal = MAKESPAN
) -> StreamSolution:
    """Verify and replay a sequence, and set it against the bounds.

    Parameters
    ----------
    instance : Instance
    plan : Schedule or mapping
        A mapping is what a plan file holds.
    goal : StreamGoal
        What is minimised.

    Raises
    ------
    InputError
        If it is not a sequence of the instance's requests.
    """
    requests = build_requests(instance)
    if not isinstance(plan, Schedule):
        plan = stream_from_dict(plan, requests)
    return evaluate_stream(instance, requests, plan, goal)


def bound(
    instance: Instance,
    *,
    quick: bool = False,
    time_limit_s: float | None = None,
    stop: threading.Event | None = None,
    on_note: Callable[[str], None] = lambda note: None,
    on_bound: Callable[[str], None] = lambda name: None,
    goal: StreamGoal = MAKESPAN,
) -> tuple[Tables, list[Bound], Infeasibility | None]:
    """Bound what is minimised, or prove that there is no sequence: a request without a plan alone has none.

    Parameters
    ----------
    instance : Instance
    quick : bool
        Leave out what needs a solver.
    time_limit_s, stop, on_note, on_bound
        As for `mocap_opt.bound`.
    goal : StreamGoal
        What is minimised.

    Returns
    -------
    tables : Tables
        Of the first request.
    bounds : list of Bound
        Weakest first; of one request those of its latency.  A bound on a mean is rounded down to ticks.
    impossible : Infeasibility or None
    """
    deadline = Deadline(TIME_LIMIT_S if time_limit_s is None else time_limit_s, stop)
    requests = build_requests(instance)
    tables = requests[0].tables
    for request in {id(request.tables): request for request in requests}.values():
        impossible = prove_infeasible(request.tables, deadline)
        if impossible is not None:
            return tables, [], replace(impossible, message=f"request {request.name}: {impossible.message}")
    on_bound(f"bounds on the {goal.objective.record.words}")
    if len(requests) == 1:
        found = goal.of_one(requests[0], lower_bounds(tables, quick, deadline))
    else:
        found = goal.bounds(requests, instance.workload.order == "given", deadline)
    if goal.from_release:
        found = [replace(each, ticks=each.ticks // len(requests)) for each in found]
    if deadline.expired:
        on_note(STOPPED)
    return tables, sorted(found, key=lambda each: each.ticks), None


def against(
    instance: Instance, answer: StreamSolution, bounds: Sequence[Bound], proof: str | None, reason: str | None
) -> StreamSolution:
    """Set an answer against other bounds; for `mocap_opt.solving.comparison`.

    Parameters
    ----------
    instance : Instance
    answer : StreamSolution
    bounds : sequence of Bound
    proof : str or None
        Why there is no plan, if that is proved.
    reason : str or None
        What kept the method from going on, if something did.

    Raises
    ------
    BoundBeatenError
        If the plan beats a bound.
    """
    old, requests = answer.report, build_requests(instance)
    if answer.assessment is None:
        status = Status.INFEASIBLE if proof is not None else Status(old.status)
        why = reason or (old.reason if status.value == old.status else proof) or NOT_FOUND
        judged = without_sequence(instance, requests, status, why, bounds, old.notes, goal=answer.goal)
    else:
        judged = stream_solution(
            instance,
            requests,
            answer.assessment,
            bounds=bounds,
            tolerance=answer.tolerance,
            notes=old.notes,
            goal=answer.goal,
        )
    report = replace(judged.report, method=old.method, runtime_s=old.runtime_s)
    return replace(judged, report=report if reason is None else replace(report, reason=reason))
