"""What is known about the plan of a stream, in plain figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mocap_opt.bounds import lower_bounds
from mocap_opt.bounds.makespan import completion_bounds, makespan_bounds, ranked_bound, shifted
from mocap_opt.lower_bound import Bound, Scope
from mocap_opt.lower_bound import best as best_bound
from mocap_opt.replay.evaluation import Assessment, Execution
from mocap_opt.replay.event import run_event
from mocap_opt.replay.lockstep import run_lockstep
from mocap_opt.schedule.requests import Request
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.report import relative_gap
from mocap_opt.tables.cost_tables import Tables

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
        ``"optimal"`` (the gap is at most the tolerance), ``"feasible"``, ``"infeasible"`` (proved, or the
        plan given breaks a rule) or ``"unknown"``.
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
    notes : tuple of str
        How a search went and why it ended.
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
    notes: tuple[str, ...] = ()
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
    sequence : Schedule or None
    """

    report: StreamReport
    sequence: Schedule | None


def evaluate_stream(instance: Instance, requests: Sequence[Request], sequence: Schedule) -> StreamSolution:
    """Verify and replay a sequence; one that breaks a rule is reported, not replayed.

    Parameters
    ----------
    instance : Instance
    requests : sequence of Request
        In the order of the instance.
    sequence : Schedule
    """
    wrong = [str(violation) for violation in schedule_violations(sequence)]
    if instance.workload.order == "given" and sequence.order != tuple(range(len(requests))):
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
        return StreamSolution(report, sequence)
    if len(requests) == 1:
        bounds = [shifted(bound, requests[0].release) for bound in lower_bounds(requests[0].tables)]
    else:
        bounds = makespan_bounds(requests, instance.workload.order == "given")
    found = Assessment(run_lockstep(sequence), run_event(sequence))
    return stream_solution(instance, requests, found, bounds=bounds)


def without_sequence(
    instance: Instance,
    requests: Sequence[Request],
    status: Status,
    reason: str,
    bounds: Sequence[Bound],
    notes: Sequence[str] = (),
) -> StreamSolution:
    """What is known of a stream without a sequence: why there is none, and the bounds.

    Parameters
    ----------
    instance : Instance
    requests : sequence of Request
    status : Status
        ``INFEASIBLE`` or ``UNKNOWN``; a stream without any sequence has no bounds.
    reason : str
    bounds : sequence of Bound
        On the makespan.
    notes : sequence of str
    """
    best = None if status is Status.INFEASIBLE else _covering(bounds)
    report = StreamReport(
        instance.name,
        instance.fingerprint,
        len(requests),
        status.value,
        reason,
        **_bound_fields(best, requests[0].tables),
        notes=tuple(notes),
    )
    return StreamSolution(report, None)


def _covering(bounds: Sequence[Bound]) -> Bound | None:
    """The best bound that holds in every execution."""
    return best_bound(bounds, {Scope.ANY_EXECUTION})


def _bound_fields(bound: Bound | None, tables: Tables) -> dict[str, Any]:
    if bound is None:
        return {}
    return {
        "lower_bound_s": tables.seconds(bound.ticks),
        "bound_name": bound.name,
        "bound_scope": bound.scope.value,
    }


def stream_solution(
    instance: Instance,
    requests: Sequence[Request],
    found: Assessment,
    *,
    bounds: Sequence[Bound],
    tolerance: float = 0.0,
    notes: Sequence[str] = (),
) -> StreamSolution:
    """Set a feasible sequence and its replays against the bounds.

    Parameters
    ----------
    instance : Instance
    requests : sequence of Request
        In the order of the instance.
    found : Assessment
        A feasible sequence and its replays.
    bounds : sequence of Bound
        On the makespan.
    tolerance : float
        A gap up to this one counts as optimal.
    notes : sequence of str

    Raises
    ------
    BoundBeatenError
        If the makespan is below a bound on any execution.
    """
    sequence, makespan = found.schedule, found.latency
    completion = [Fraction(c) for c in found.completion]
    waited = sorted(c - request.release for c, request in zip(completion, sequence, strict=True))
    mean = sum(waited, Fraction(0)) / len(waited)
    rank = -(-len(waited) * PERCENTILE.numerator // PERCENTILE.denominator)
    slow = waited[rank - 1]
    given = instance.workload.order == "given"
    best = _covering(bounds)
    gap = relative_gap(makespan, best)
    mean_bound, slow_bound = completion_bounds(requests, given), ranked_bound(requests, given, rank)
    if len(waited) == 1 and best is not None:
        # The only request's completion is the makespan less its release.
        least = best.ticks - requests[0].release
        mean_bound, slow_bound = max(mean_bound or Fraction(0), Fraction(least)), max(slow_bound or 0, least)
    seconds = sequence.machine.seconds
    report = StreamReport(
        instance=instance.name,
        fingerprint=instance.fingerprint,
        requests=len(requests),
        status=(Status.OPTIMAL if gap is not None and gap <= tolerance else Status.FEASIBLE).value,
        execution="lockstep" if found.execution is Execution.LOCKSTEP else "event",
        makespan_s=seconds(makespan),
        lockstep_makespan_s=seconds(found.lockstep.latency),
        event_makespan_s=seconds(found.event.latency),
        mean_completion_s=seconds(mean),
        p99_completion_s=seconds(slow),
        throughput_rps=len(waited) / seconds(makespan) if makespan else None,
        **_bound_fields(best, sequence.machine),
        gap=gap,
        mean_lower_bound_s=None if mean_bound is None else seconds(mean_bound),
        mean_gap=None if mean_bound is None or not mean else float(1 - mean_bound / mean),
        p99_lower_bound_s=None if slow_bound is None else seconds(slow_bound),
        p99_gap=None if slow_bound is None or not slow else float(1 - slow_bound / slow),
        notes=tuple(notes),
        completions=tuple(
            {
                "request": request.number,
                "name": request.name,
                "slot": request.slot,
                "chunks": request.plan.chunks,
                "release_s": seconds(request.release),
                "completion_s": seconds(done - request.release),
            }
            for request, done in zip(sequence, completion, strict=True)
        ),
    )
    return StreamSolution(report, sequence)
