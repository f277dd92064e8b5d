"""What is known about the plan of a stream, in plain figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mocap_opt.replay.sequence_event import SequenceEvent, replay_sequence_event
from mocap_opt.replay.sequence_lockstep import replay_sequence_lockstep
from mocap_opt.solvers.outcome import Status
from mocap_opt.streams.bounds import completion_bounds, makespan_bounds, ranked_bound
from mocap_opt.streams.exact import MOST_SCHEDULES, UnfinishedError, schedules, solve_exactly
from mocap_opt.streams.planner import plan_stream
from mocap_opt.streams.requests import Request, build_requests
from mocap_opt.streams.sequence import RequestSequence
from mocap_opt.streams.verify import sequence_violations

if TYPE_CHECKING:
    from mocap_opt.instance import Instance

PERCENTILE = Fraction(99, 100)


@dataclass(frozen=True)
class StreamReport:
    """A stream's plan and how good it is; seconds, None where unknown.

    Attributes
    ----------
    instance, fingerprint : str
    requests : int
    status : str
        ``"optimal"`` (makespan and bound agree), ``"feasible"``, ``"infeasible"`` (proved, or the plan
        given breaks a rule) or ``"unknown"``.
    reason : str or None
        Why there is no plan.
    execution : str or None
        The replay of the smaller makespan: the one reported.
    makespan_s, lockstep_makespan_s, event_makespan_s : float or None
    mean_completion_s, p99_completion_s : float or None
        Of the reported execution, from release to having left; the 99th percentile is the least
        completion that 99 % of the requests do not exceed.
    throughput_rps : float or None
        Requests over makespan.
    lower_bound_s, bound_name, bound_scope : float and str, or None
        The greatest lower bound on the makespan of any execution of any feasible plan.
    gap : float or None
        (makespan - bound) / makespan.
    mean_lower_bound_s, mean_gap : float or None
    p99_lower_bound_s, p99_gap : float or None
        Likewise for the mean and for the 99th percentile of the completions.
    violations : tuple of str
        What a given plan breaks.
    completions : tuple of dict
        By request, in the order they run: ``request``, ``name``, ``slot``, ``chunks``, ``release_s``,
        ``completion_s``.
    """

    instance: str
    fingerprint: str
    requests: int
    status: str
    reason: str | None = None
    execution: str | None = None
    makespan_s: float | None = None
    lockstep_makespan_s: float | None = None
    event_makespan_s: float | None = None
    mean_completion_s: float | None = None
    p99_completion_s: float | None = None
    throughput_rps: float | None = None
    lower_bound_s: float | None = None
    bound_name: str | None = None
    bound_scope: str | None = None
    gap: float | None = None
    mean_lower_bound_s: float | None = None
    mean_gap: float | None = None
    p99_lower_bound_s: float | None = None
    p99_gap: float | None = None
    violations: tuple[str, ...] = ()
    completions: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON holds it."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class StreamSolution:
    """A report, and the sequence it is about.

    Attributes
    ----------
    report : StreamReport
    sequence : RequestSequence or None
    order : tuple of int
        Which request of the instance each is.
    """

    report: StreamReport
    sequence: RequestSequence | None
    order: tuple[int, ...]


def solve_stream(
    instance: Instance,
    *,
    time_limit_s: float = 60.0,
    seed: int = 0,
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> StreamSolution:
    """Plan the requests of an instance.

    Short streams are solved exactly in lockstep as well, in half of the time at most; the better of
    both plans is returned.

    Raises
    ------
    InputError
        As `mocap_opt.streams.requests.build_requests`.
    """
    requests = build_requests(instance)
    given = instance.workload.order == "given"
    found: list[tuple[RequestSequence, tuple[int, ...], SequenceEvent]] = []
    infeasible = False
    until = time.monotonic() + time_limit_s

    def over() -> bool:
        return asked_to_stop() or time.monotonic() >= until - time_limit_s / 2

    if schedules(requests, given) <= MOST_SCHEDULES:
        try:
            exact = solve_exactly(requests, given, instance.fingerprint, over)
            infeasible = exact is None
        except UnfinishedError:
            exact = None
        if exact is not None:
            found.append((exact, _numbers(exact, requests, given), replay_sequence_event(exact)))
    if not infeasible:
        planned = plan_stream(
            requests,
            order_given=given,
            fingerprint=instance.fingerprint,
            time_limit_s=max(until - time.monotonic(), 0.0),
            seed=seed,
            asked_to_stop=asked_to_stop,
        )
        if planned is not None:
            found.append((planned.candidate.sequence, planned.candidate.order, planned.event))
    if not found:
        status = Status.INFEASIBLE if infeasible else Status.UNKNOWN
        reason = "no sequence of these requests fits in memory" if infeasible else "no sequence was found"
        report = StreamReport(instance.name, instance.fingerprint, len(requests), status.value, reason)
        return StreamSolution(report, None, ())
    solutions = [_assessed(instance, requests, *each) for each in found]
    return min(solutions, key=_rank)


def _rank(solution: StreamSolution) -> tuple[float, float]:
    return solution.report.makespan_s or 0.0, solution.report.mean_completion_s or 0.0


def evaluate_stream(
    instance: Instance, requests: Sequence[Request], sequence: RequestSequence, order: tuple[int, ...]
) -> StreamSolution:
    """Verify and replay a sequence; one that breaks a rule is reported, not replayed."""
    wrong = [str(violation) for violation in sequence_violations(sequence)]
    if instance.workload.order == "given" and order != tuple(range(len(requests))):
        wrong.insert(0, "the requests do not run in the order given")
    if wrong:
        report = StreamReport(
            instance.name,
            instance.fingerprint,
            len(requests),
            Status.INFEASIBLE.value,
            "the plan breaks a rule",
            violations=tuple(wrong),
        )
        return StreamSolution(report, sequence, order)
    return _assessed(instance, requests, sequence, order, replay_sequence_event(sequence))


def _numbers(sequence: RequestSequence, requests: Sequence[Request], given: bool) -> tuple[int, ...]:
    """Which request each one is; requests that are alike in everything may stand for one another."""
    if given:
        return tuple(range(len(requests)))
    left = list(range(len(requests)))
    found = []
    for scheduled in sequence:
        same = (scheduled.tables, scheduled.release, scheduled.name)
        number = next(n for n in left if (requests[n].tables, requests[n].release, requests[n].name) == same)
        left.remove(number)
        found.append(number)
    return tuple(found)


def _assessed(
    instance: Instance,
    requests: Sequence[Request],
    sequence: RequestSequence,
    order: tuple[int, ...],
    event: SequenceEvent,
) -> StreamSolution:
    lockstep = replay_sequence_lockstep(sequence)
    in_lockstep = lockstep.makespan <= event.makespan
    completion = [Fraction(c) for c in (lockstep if in_lockstep else event).completion]
    makespan = max(completion)
    waited = sorted(c - request.release for c, request in zip(completion, sequence, strict=True))
    mean = sum(waited, Fraction(0)) / len(waited)
    rank = -(-len(waited) * PERCENTILE.numerator // PERCENTILE.denominator)
    slow = waited[rank - 1]
    given = instance.workload.order == "given"
    bounds = makespan_bounds(requests, given)
    best = max(bounds, key=lambda bound: bound.ticks, default=None)
    mean_bound, slow_bound = completion_bounds(requests, given), ranked_bound(requests, given, rank)
    seconds = sequence.machine.seconds
    optimal = best is not None and best.ticks >= makespan
    report = StreamReport(
        instance=instance.name,
        fingerprint=instance.fingerprint,
        requests=len(requests),
        status=(Status.OPTIMAL if optimal else Status.FEASIBLE).value,
        execution="lockstep" if in_lockstep else "event",
        makespan_s=seconds(makespan),
        lockstep_makespan_s=seconds(lockstep.makespan),
        event_makespan_s=seconds(event.makespan),
        mean_completion_s=seconds(mean),
        p99_completion_s=seconds(slow),
        throughput_rps=len(waited) / seconds(makespan) if makespan else None,
        lower_bound_s=None if best is None else seconds(best.ticks),
        bound_name=None if best is None else best.name,
        bound_scope=None if best is None else best.scope.value,
        gap=None if best is None or not makespan else float(1 - best.ticks / makespan),
        mean_lower_bound_s=None if mean_bound is None else seconds(mean_bound),
        mean_gap=None if mean_bound is None or not mean else float(1 - mean_bound / mean),
        p99_lower_bound_s=None if slow_bound is None else seconds(slow_bound),
        p99_gap=None if slow_bound is None or not slow else float(1 - slow_bound / slow),
        completions=tuple(
            {
                "request": number,
                "name": request.name,
                "slot": request.slot,
                "chunks": request.plan.chunks,
                "release_s": seconds(request.release),
                "completion_s": seconds(done - request.release),
            }
            for number, request, done in zip(order, sequence, completion, strict=True)
        ),
    )
    return StreamSolution(report, sequence, order)
