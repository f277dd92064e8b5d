"""Whether a layout is one that an instance allows: every reason why it is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.checks import across
from mocap_opt.instance.pipeline import Pipeline, StageLayout
from mocap_opt.messages import show
from mocap_opt.wafer.path import PLACEMENTS
from mocap_opt.wafer.placement import balanced_layers, check_connected
from mocap_opt.wafer.topology import build_topology

if TYPE_CHECKING:
    from mocap_opt.instance.instance import Instance

_PLACES = {
    "pipeline.placement": "layout.dies",
    "pipeline.dies_per_stage": "layout.dies",
    "pipeline.stages": "layout.dies",
    "pipeline.layers": "layout.layers",
}


def layout_problems(instance: Instance, choice: StageLayout) -> list[Problem]:
    """Return what keeps a layout from being one of an instance's.

    Parameters
    ----------
    instance : Instance
    choice : StageLayout

    Returns
    -------
    list of Problem
        With paths in the layout: ``layout.dies[2][0]``.
    """
    if not choice.dies or len(choice.layers) != len(choice.dies):
        found = f"{len(choice.layers)} numbers of layers for {len(choice.dies)} stages"
        return [Problem("layout.layers", found, "at least one stage, and one number for each")]
    sections = {key: getattr(instance, key) for key in type(instance).model_fields}
    broken = across({**sections, "pipeline": instance.pipeline.with_layout(choice)})
    broken = [_in_layout(each) for each in broken]
    broken += _not_among(instance.pipeline, choice)
    broken += _not_as_ruled(instance, choice) if not broken else ()
    return broken


def _in_layout(problem: Problem) -> Problem:
    """A problem of a pipeline, where a layout says what the pipeline's field says."""
    path, found = problem.path, problem.found
    for field, place in _PLACES.items():
        path, found = path.replace(field, place), found.replace(field, place)
    return Problem(path, found, problem.expected, "choose another layout")


def _not_among(pipeline: Pipeline, choice: StageLayout) -> Iterator[Problem]:
    """Require the number of stages, their dies and their layers where the pipeline gives or lists them."""
    remedy = "take a layout of this instance, or leave the field open"
    counts = (pipeline.stages,) if isinstance(pipeline.stages, int) else pipeline.stages
    if isinstance(counts, tuple) and choice.stages not in counts:
        expected = f"pipeline.stages: {' or '.join(map(str, counts))}"
        yield Problem("layout.dies", f"{choice.stages} stages", expected, remedy)
        return
    each = pipeline.dies_per_stage
    dies = pipeline.given_dies or (() if each == "auto" else (each,) * choice.stages)
    for i, (owned, wanted) in enumerate(zip(choice.dies, dies, strict=False)):
        if len(owned) != wanted:
            expected = f"{wanted} dies, as pipeline.dies_per_stage says"
            yield Problem(f"layout.dies[{i}]", f"{len(owned)} dies", expected, remedy)
    listed = pipeline.layers
    if listed == "balanced":
        listed = balanced_layers(sum(choice.layers), choice.stages)
    if isinstance(listed, tuple) and choice.layers != listed:
        expected = f"{show(listed)}, as pipeline.layers says"
        yield Problem("layout.layers", show(choice.layers), expected, remedy)
    if isinstance(pipeline.placement, tuple) and choice.dies != pipeline.placement:
        yield Problem("layout.dies", "other dies", "those of pipeline.placement", remedy)


def _not_as_ruled(instance: Instance, choice: StageLayout) -> Iterator[Problem]:
    """Require stages of one piece each, and in the places of the rule that the pipeline names."""
    topology = build_topology(instance.wafer)
    try:
        check_connected(topology, choice.dies)
        rule = instance.pipeline.placement
        if isinstance(rule, str) and rule in PLACEMENTS:
            placed = PLACEMENTS[rule](topology, [len(stage) for stage in choice.dies])
            if choice.dies != placed:
                expected = f"the dies of pipeline.placement {show(rule)}"
                yield Problem("layout.dies", "other dies", expected, 'write pipeline.placement "auto"')
    except InputError as error:
        yield from map(_in_layout, error.problems)
