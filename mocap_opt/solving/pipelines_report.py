"""What is reported of requests on several pipelines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from mocap_opt.bounds import Bound, best
from mocap_opt.replay.evaluation import Execution
from mocap_opt.replay.pipelines import AssessedAssignment
from mocap_opt.schedule.requests import Request
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import schedule_memory
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.report import Report, covering, relative_gap


def with_value(
    report: Report,
    costs: Mapping[Execution, Fraction],
    bounds: Sequence[Bound],
    shown: Callable[[Fraction | int], float],
) -> Report:
    """The report with what is brought down, against the bounds that cover it.

    Parameters
    ----------
    report : Report
    costs : mapping
        What is brought down, by execution, as the bounds count it.
    bounds : sequence of Bound
    shown : callable
        How reports say it.

    Raises
    ------
    BoundBeatenError
        If a replay beats a bound that covers it.
    """
    execution = min(Execution, key=lambda each: costs[each])
    lockstep = costs[Execution.LOCKSTEP]
    gap = relative_gap(costs[execution], best(bounds, covering(None)))
    sure = relative_gap(costs[execution], best((each for each in bounds if each.closes), covering(None)))
    tolerance = float(report.settings.get("gap", 0.0))
    return replace(
        report,
        status=Status.OPTIMAL if sure is not None and sure <= tolerance else Status.FEASIBLE,
        reason=None,
        value_s=shown(costs[execution]),
        execution=execution.value,
        lockstep_value_s=shown(lockstep),
        event_value_s=shown(costs[Execution.EVENT]),
        gap=gap,
        lockstep_gap=relative_gap(lockstep, best(bounds, covering(Execution.LOCKSTEP))),
    )


def pipeline_figures(
    found: AssessedAssignment, requests: Sequence[Request], execution: Execution
) -> dict[str, Any]:
    """What the pipelines come to in one execution: when each is done, how busy it is, when requests leave.

    Parameters
    ----------
    found : AssessedAssignment
    requests : sequence of Request
        Of the instance.
    execution : Execution
    """
    seconds, ends = requests[0].tables.seconds, found.completions(execution)
    makespan = max(ends.values(), default=Fraction(0))
    rows, work = [], Fraction(0)
    for number, part in enumerate(found.parts):
        row: dict[str, Any] = {"pipeline": number, "requests": 0, "end_s": 0.0, "peak_memory_bytes": None}
        if part is not None:
            work += _busiest_work(part.schedule)
            row |= {
                "requests": len(part.schedule),
                "end_s": seconds(Fraction(max(part.completion_in(execution)))),
                "peak_memory_bytes": schedule_memory(part.schedule).max(axis=1).tolist(),
            }
        rows.append(row)
    span = makespan * len(found.parts)
    waited = [ends[r] - requests[r].release for r in ends]
    return {
        "requests": len(requests),
        "pipelines": rows,
        "mean_completion_s": seconds(sum(waited, Fraction(0)) / len(waited)) if waited else None,
        "throughput_rps": len(ends) / seconds(makespan) if makespan else None,
        "utilisation": float(work / span) if span else None,
        "completions": [
            {
                "request": request.number,
                "name": request.name,
                "pipeline": pipeline,
                "slot": request.slot,
                "chunks": request.plan.chunks,
                "release_s": seconds(request.release),
                "completion_s": seconds(ends[request.number] - request.release),
            }
            for pipeline, request in found.assignment
        ],
        "rejected": sorted(set(range(len(requests))) - set(ends)) or None,
    }


def _busiest_work(stream: Schedule) -> int:
    """Ticks that the stage with the most to do works."""
    total = [0] * stream.stages
    for request in stream:
        cut = request.plan.grid_indices(request.tables)
        for i in range(stream.stages):
            total[i] += int(request.tables.tau(i, cut[:-1], cut[1:]).sum())
    return max(total)
