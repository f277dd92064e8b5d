"""Rules about streamed weights, exports and prefix loads (formulations/fixed_messages.md)."""

from __future__ import annotations

from collections.abc import Iterator

from mocap_opt.errors import Problem
from mocap_opt.instance.pipeline import Pipeline
from mocap_opt.instance.schema import ModelSpec, Workload
from mocap_opt.messages import show
from mocap_opt.wafer.spec import WaferSpec


def _pools_named(pipeline: Pipeline, workload: Workload) -> Iterator[tuple[str, str]]:
    """Where a pool is named, and its name."""
    if pipeline.weights is not None:
        yield "pipeline.weights.pool", pipeline.weights.pool
    for key in ("export", "prefix_from"):
        if (name := getattr(workload, key)) is not None:
            yield f"workload.{key}", name


def _pools_exist(pipeline: Pipeline, workload: Workload, wafer: WaferSpec) -> Iterator[Problem]:
    """Require pools that the wafer has."""
    known = [pool.name for pool in wafer.pools]
    for path, name in _pools_named(pipeline, workload):
        if name not in known:
            expected = f"one of wafer.pools ({', '.join(known) or 'there are none'})"
            yield Problem(path, show(name), expected, "add it to wafer.pools, or leave it out")


def _experts_to_stream(pipeline: Pipeline, model: ModelSpec) -> Iterator[Problem]:
    """Require experts, as many as are streamed."""
    if pipeline.weights is None:
        return
    path = "pipeline.weights.streamed_experts"
    if model.experts is None:
        yield Problem("pipeline.weights", "a model without experts", "a mixture of experts", "leave it out")
    elif pipeline.weights.streamed_experts > model.experts.count:
        expected = f"at most model.experts.count ({model.experts.count})"
        yield Problem(path, str(pipeline.weights.streamed_experts), expected, "lower it")


def _prefix_to_load(workload: Workload) -> Iterator[Problem]:
    """Require a cached prefix where one is loaded."""
    cached = workload.cached_prefix or any(request.prefix for request in workload.requests)
    if workload.prefix_from is not None and not cached:
        expected = "a cached prefix to load"
        yield Problem("workload.prefix_from", show(workload.prefix_from), expected, "set cached_prefix")


def _layout_is_given(pipeline: Pipeline, workload: Workload) -> Iterator[Problem]:
    """Refuse them while the layout is open: bounds over layouts know none of them."""
    for path, _ in _pools_named(pipeline, workload) if pipeline.free else ():
        open_fields = ", ".join(f"pipeline.{name}" for name in pipeline.open_fields)
        remedy = "solve without it first, and take over the layout that comes out"
        yield Problem(path, f"with {open_fields} left open", "a layout that is given", remedy)


MESSAGE_CHECKS = (
    (("pipeline", "workload", "wafer"), _pools_exist),
    (("pipeline", "model"), _experts_to_stream),
    (("workload",), _prefix_to_load),
    (("pipeline", "workload"), _layout_is_given),
)
