"""Rules about when chunks may start: what availability and a decode loop go together with."""

from __future__ import annotations

from collections.abc import Iterator

from mocap_opt.errors import Problem
from mocap_opt.instance.availability import availability_problems
from mocap_opt.instance.costs import Costs, Roofline
from mocap_opt.instance.decode import Decode
from mocap_opt.instance.pipeline import Pipeline
from mocap_opt.instance.schema import Workload


def _availability_in_order(workload: Workload) -> Iterator[Problem]:
    """Require points or items in order."""
    yield from availability_problems(workload.available)


def _availability_of_one_prompt(workload: Workload, objective: str) -> Iterator[Problem]:
    """Refuse availability where it means nothing: among requests, and of requests without end."""
    if workload.available is None:
        return
    if workload.requests:
        expected = "one prompt: a stream's requests have a release, and their tokens exist from then on"
        yield Problem("workload.available", f"{len(workload.requests)} requests", expected, "leave it out")
    elif objective != "latency":
        expected = (
            'objective "latency": requests without end have no time at which their tokens begin to exist'
        )
        yield Problem("workload.available", f'objective "{objective}"', expected, "leave it out")


def _limit_of_one_prompt(decode: Decode | None, workload: Workload, objective: str) -> Iterator[Problem]:
    """Refuse a limit on the time between tokens for anything but the latency of a prompt."""
    if decode is None or decode.between_tokens is None:
        return
    if workload.requests or objective != "latency":
        found = f"{len(workload.requests)} requests" if workload.requests else f'objective "{objective}"'
        expected = 'one prompt and objective "latency"'
        remedy = "leave it out, or limit chunking.longest"
        yield Problem("decode.between_tokens", found, expected, remedy)


def _layout_is_given(
    pipeline: Pipeline, workload: Workload, decode: Decode | None, costs: Costs
) -> Iterator[Problem]:
    """Refuse what programs and bounds of open layouts do not know: times there are those of one layer."""
    if not pipeline.free:
        return
    by_roofline = costs if isinstance(costs, Roofline) else Roofline()
    given_fields = (
        ("workload.available", workload.available),
        ("decode", decode),
        ("costs.prefetch_per_die", by_roofline.prefetch_per_die or None),
        ("costs.tile_tokens", by_roofline.tile_tokens),
    )
    for path, given in given_fields:
        if given is not None:
            open_fields = ", ".join(f"pipeline.{name}" for name in pipeline.open_fields)
            remedy = "solve without it first, and take over the layout that comes out"
            yield Problem(path, f"with {open_fields} left open", "a layout that is given", remedy)


TIMING_CHECKS = (
    (("workload",), _availability_in_order),
    (("workload", "objective"), _availability_of_one_prompt),
    (("decode", "workload", "objective"), _limit_of_one_prompt),
    (("pipeline", "workload", "decode", "costs"), _layout_is_given),
)
