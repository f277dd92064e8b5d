"""Rules about several pipelines and about requests with a time to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mocap_opt.errors import Problem
from mocap_opt.instance.objectives import Objective
from mocap_opt.instance.pipeline import Pipeline
from mocap_opt.instance.schema import Workload


def _pipelines_have_requests(workload: Workload, objective: str) -> Iterator[Problem]:
    """Require requests, and an objective that is answered, where there are several pipelines."""
    if workload.pipelines == 1:
        return
    found = str(workload.pipelines)
    if not workload.requests:
        remedy = "list requests, or leave it out: a prompt and a period are of one pipeline"
        yield Problem("workload.pipelines", found, "workload.requests with it", remedy)
        return
    asked = Objective(objective)
    answered = [each.value for each in Objective if each.record.on_pipelines is not None]
    if asked is not Objective.LATENCY and asked.value not in answered:
        remedy = f"write objective {' or '.join(map(repr, answered))}, or one pipeline"
        yield Problem("workload.pipelines", found, f"1 with objective {asked.value!r}", remedy)


def _slo_goes_with_goodput(workload: Workload, objective: str) -> Iterator[Problem]:
    """Require a time to keep of every request where that is what counts, and none where it is not."""
    counts = objective == Objective.GOODPUT.value
    for n, request in enumerate(workload.requests):
        path = f"workload.requests[{n}]"
        if counts and request.slo is None:
            expected = "a time, for objective 'goodput'"
            yield Problem(f"{path}.slo", "none", expected, 'write how long it may take, as "2 s"')
        if not counts and request.slo is not None:
            expected, remedy = "none without objective 'goodput'", "write objective 'goodput', or remove it"
            yield Problem(f"{path}.slo", f"{request.slo:g}", expected, remedy)
        if not counts and request.weight != 1:
            expected, remedy = "1 without objective 'goodput'", "write objective 'goodput', or remove it"
            yield Problem(f"{path}.weight", str(request.weight), expected, remedy)


def _pipelines_are_fixed(workload: Workload, objective: str, pipeline: Pipeline) -> Iterator[Problem]:
    """Refuse stages left open where several pipelines share the requests."""
    if pipeline.free and workload.requests and (workload.pipelines > 1 or objective == "goodput"):
        found = f"pipeline.{pipeline.open_fields[0]} left open"
        yield Problem("pipeline", found, "stages, dies and layers given", "several pipelines are all alike")


ADMISSION_CHECKS: tuple[tuple[tuple[str, ...], Callable[..., Iterator[Any]]], ...] = (
    (("workload", "objective"), _pipelines_have_requests),
    (("workload", "objective"), _slo_goes_with_goodput),
    (("workload", "objective", "pipeline"), _pipelines_are_fixed),
)
