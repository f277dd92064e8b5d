"""What is known about the plan of a stream, in plain figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mocap_opt.bounds import lower_bounds
from mocap_opt.bounds.makespan import StreamNeeds, completion_bounds, ranked_bound
from mocap_opt.instance.objectives import Objective
from mocap_opt.lower_bound import Bound, Scope
from mocap_opt.lower_bound import best as best_bound
from mocap_opt.replay.evaluation import Assessment
from mocap_opt.replay.event import run_event
from mocap_opt.replay.lockstep import run_lockstep
from mocap_opt.schedule.requests import Request
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.report import relative_gap
from mocap_opt.solving.stream_incumbent import MAKESPAN, StreamGoal
from mocap_opt.stopping import never

if TYPE_CHECKING:
    from mocap_opt.instance import Instance

PERCENTILE = Fraction(99, 100)


@dataclass(frozen=True)
class StreamReport:
    """A stream's plan and how good it is; seconds, None where unknown.

    Attributes
    ----------
    instance, fingerprint : str
    objective : str
        What is minimised, see `mocap_opt.instance.objectives`.
    method : str or None
        None of a plan given.
    runtime_s : float or None
        Wall time of everything.
    requests : int
    status : str
        ``"optimal"`` (the gap is at most the tolerance), ``"feasible"``, ``"infeasible"`` (proved, or the
        plan given breaks a rule) or ``"unknown"``.
    reason : str or None
        Why there is no plan.
    execution : str or None
        The replay in which what is minimised is smaller: the one reported.
    makespan_s, lockstep_makespan_s, event_makespan_s : float or None
    mean_completion_s, lockstep_mean_completion_s, event_mean_completion_s : float or None
    p99_completion_s : float or None
        Of the reported execution, from release to having left; the 99th percentile is the least
        completion that 99 % of the requests do not exceed.
    throughput_rps : float or None
        Requests over makespan.
    lower_bound_s, bound_name, bound_scope : float and str, or None
        The greatest lower bound on what is minimised, in any execution of any feasible plan.
    gap : float or None
        (value - bound) / value of what is minimised.
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
    lockstep_mean_completion_s: float | None = None
    event_mean_completion_s: float | None = None
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
    objective: str = Objective.STREAM.value
    method: str | None = field(default=None, compare=False)
    runtime_s: float | None = field(default=None, compare=False)

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
    assessment : Assessment or None
        Its two replays.
    bounds : tuple of Bound
        On what is minimised, ticks; of a mean, on the sum over the requests.
    tolerance : float
        A gap up to this one counts as optimal.
    goal : StreamGoal
        What is minimised.
    """

    report: StreamReport
    sequence: Schedule | None
    assessment: Assessment | None = None
    bounds: tuple[Bound, ...] = ()
    tolerance: float = 0.0
    goal: StreamGoal = MAKESPAN

    @property
    def row(self) -> dict[str, Any]:
        """The report as plain values."""
        return self.report.to_dict()

    @property
    def schedule(self) -> Schedule | None:
        """The sequence."""
        return self.sequence


def evaluate_stream(
    instance: Instance, requests: Sequence[Request], sequence: Schedule, goal: StreamGoal = MAKESPAN
) -> StreamSolution:
    """Verify and replay a sequence; one that breaks a rule is reported, not replayed.

    Parameters
    ----------
    instance : Instance
    requests : sequence of Request
        In the order of the instance.
    sequence : Schedule
    goal : StreamGoal
        What is minimised.
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
            objective=goal.objective.value,
        )
        return StreamSolution(report, sequence, goal=goal)
    if len(requests) == 1:
        bounds = goal.of_one(requests[0], lower_bounds(requests[0].tables))
    else:
        bounds = goal.bounds(requests, instance.workload.order == "given", never)
    found = Assessment(run_lockstep(sequence), run_event(sequence))
    return stream_solution(instance, requests, found, bounds=bounds, goal=goal)


def without_sequence(
    instance: Instance,
    requests: Sequence[Request],
    status: Status,
    reason: str,
    bounds: Sequence[Bound],
    notes: Sequence[str] = (),
    *,
    goal: StreamGoal = MAKESPAN,
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
        On what is minimised.
    notes : sequence of str
    goal : StreamGoal
        What is minimised.
    """
    best = None if status is Status.INFEASIBLE else _covering(bounds)
    report = StreamReport(
        instance.name,
        instance.fingerprint,
        len(requests),
        status.value,
        reason,
        **_bound_fields(best, requests, goal),
        notes=tuple(notes),
        objective=goal.objective.value,
    )
    return StreamSolution(report, None, bounds=tuple(bounds), goal=goal)


def _covering(bounds: Sequence[Bound]) -> Bound | None:
    """The best bound that holds in every execution."""
    return best_bound(bounds, {Scope.ANY_EXECUTION})


def _bound_fields(bound: Bound | None, requests: Sequence[Request], goal: StreamGoal) -> dict[str, Any]:
    if bound is None:
        return {}
    return {
        "lower_bound_s": goal.seconds(requests, bound.ticks),
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
    goal: StreamGoal = MAKESPAN,
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
        On what is minimised.
    tolerance : float
        A gap up to this one counts as optimal.
    notes : sequence of str
    goal : StreamGoal
        What is minimised.

    Raises
    ------
    BoundBeatenError
        If it is below a bound on any execution.
    """
    sequence = found.schedule
    values = {
        name: goal.value(requests, goal.ranked(Fraction(run.latency), Fraction(sum(run.completion))))
        for name, run in (("lockstep", found.lockstep), ("event", found.event))
    }
    execution = min(values, key=lambda name: values[name])
    reported = found.lockstep if execution == "lockstep" else found.event
    makespan = Fraction(reported.latency)
    completion = [Fraction(c) for c in reported.completion]
    waited = sorted(c - request.release for c, request in zip(completion, sequence, strict=True))
    mean = sum(waited, Fraction(0)) / len(waited)
    rank = -(-len(waited) * PERCENTILE.numerator // PERCENTILE.denominator)
    slow = waited[rank - 1]
    given = instance.workload.order == "given"
    best = _covering(bounds)
    gap = relative_gap(values[execution], best)
    needs = StreamNeeds.of(requests)
    mean_bound = None if needs is None else Fraction(completion_bounds(needs, given), len(waited))
    slow_bound = None if needs is None else ranked_bound(needs, given, rank)
    if goal.from_release and best is not None:
        mean_bound = max(mean_bound or Fraction(0), Fraction(best.ticks, len(waited)))
    if len(waited) == 1 and best is not None:
        # The only request's completion is the makespan less its release.
        least = best.ticks - (0 if goal.from_release else requests[0].release)
        mean_bound, slow_bound = max(mean_bound or Fraction(0), Fraction(least)), max(slow_bound or 0, least)
    seconds = sequence.machine.seconds
    report = StreamReport(
        instance=instance.name,
        fingerprint=instance.fingerprint,
        requests=len(requests),
        status=(Status.OPTIMAL if gap is not None and gap <= tolerance else Status.FEASIBLE).value,
        execution=execution,
        makespan_s=seconds(makespan),
        lockstep_makespan_s=seconds(found.lockstep.latency),
        event_makespan_s=seconds(found.event.latency),
        mean_completion_s=seconds(mean),
        lockstep_mean_completion_s=seconds(_mean(requests, found.lockstep.completion)),
        event_mean_completion_s=seconds(_mean(requests, found.event.completion)),
        p99_completion_s=seconds(slow),
        throughput_rps=len(waited) / seconds(makespan) if makespan else None,
        **_bound_fields(best, requests, goal),
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
        objective=goal.objective.value,
    )
    return StreamSolution(report, sequence, found, tuple(bounds), tolerance, goal)


def _mean(requests: Sequence[Request], completion: Sequence[Fraction | int]) -> Fraction:
    """Mean time from release to having left, ticks."""
    return (sum(map(Fraction, completion), Fraction(0)) - sum(r.release for r in requests)) / len(requests)
