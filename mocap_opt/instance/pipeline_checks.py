"""Rules about the pipeline and what it has to fit: model, wafer, costs, a computer's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mocap_opt.errors import Problem
from mocap_opt.instance.costs import Costs, Roofline
from mocap_opt.instance.pipeline import Pipeline
from mocap_opt.instance.schema import Chunking, ModelSpec, Workload
from mocap_opt.messages import show
from mocap_opt.wafer.spec import WaferSpec

MAX_DIES = 4096
MAX_TABLE_CELLS = 2**23
MAX_HOME_CELLS = 2**26
MAX_SHARE_CELLS = 2**27


def _candidates_listed(pipeline: Pipeline) -> Iterator[Problem]:
    """Require something to choose from, each once, in lists of numbers of stages and of degrees."""
    for name in ("stages", "degrees"):
        listed = getattr(pipeline, name)
        if isinstance(listed, tuple) and (not listed or len(set(listed)) < len(listed)):
            expected = "at least one number, each once"
            yield Problem(f"pipeline.{name}", show(listed), expected, "write [4, 8]")


def _lists_have_stages(pipeline: Pipeline) -> Iterator[Problem]:
    """Refuse lists by stage where the number of stages, or what a list already says, is left open."""
    if not isinstance(pipeline.stages, int):
        for name in ("dies_per_stage", "layers", "placement"):
            if isinstance(listed := getattr(pipeline, name), tuple):
                expected = f"no list by stage while pipeline.stages is {show(pipeline.stages)}"
                remedy = f'write "auto", or pipeline.stages={len(listed)}'
                yield Problem(f"pipeline.{name}", f"{len(listed)} entries", expected, remedy)
    if isinstance(pipeline.placement, tuple) and pipeline.dies_per_stage == "auto":
        sizes = [len(stage) for stage in pipeline.placement]
        expected = "the number of dies that pipeline.placement gives each stage"
        yield Problem("pipeline.dies_per_stage", '"auto"', expected, f"write {show(sizes)}")


def _stage_counts(pipeline: Pipeline) -> Iterator[tuple[str, int]]:
    """Numbers of stages that are given or listed, and where."""
    if isinstance(pipeline.stages, int):
        yield "pipeline.stages", pipeline.stages
    elif isinstance(pipeline.stages, tuple):
        yield from ((f"pipeline.stages[{n}]", stages) for n, stages in enumerate(pipeline.stages))


def _stages_have_layers(model: ModelSpec, pipeline: Pipeline) -> Iterator[Problem]:
    """Require a layer for every stage."""
    for path, stages in _stage_counts(pipeline):
        if stages > model.layers:
            expected = f"at most model.layers ({model.layers})"
            yield Problem(path, str(stages), expected, "lower it")


def _degrees_possible(model: ModelSpec, pipeline: Pipeline) -> Iterator[Problem]:
    """Require a degree for every stage whose dies are given."""
    dies = pipeline.dies_per_stage
    for i, owned in enumerate(dies if isinstance(dies, tuple) else (dies,)):
        if isinstance(owned, int) and not pipeline.degree(owned, model.heads):
            path = f"pipeline.dies_per_stage[{i}]" if isinstance(dies, tuple) else "pipeline.dies_per_stage"
            expected = f"enough for one of pipeline.degrees ({show(pipeline.degrees)})"
            yield Problem(path, str(owned), expected, "give more dies, or list a smaller degree")


def _layers_add_up(model: ModelSpec, pipeline: Pipeline) -> Iterator[Problem]:
    """Require that listed layers cover the model, one number per stage."""
    if isinstance(pipeline.layers, str):
        return
    yield from _one_per_stage("pipeline.layers", len(pipeline.layers), pipeline)
    if sum(pipeline.layers) != model.layers:
        expected = f"numbers that add up to model.layers ({model.layers})"
        yield Problem("pipeline.layers", f"a sum of {sum(pipeline.layers)}", expected, 'or write "balanced"')


def _dies_listed(pipeline: Pipeline) -> Iterator[Problem]:
    """Require one number per stage in a list of dies per stage."""
    if isinstance(pipeline.dies_per_stage, tuple):
        yield from _one_per_stage("pipeline.dies_per_stage", len(pipeline.dies_per_stage), pipeline)


def _placement_listed(pipeline: Pipeline) -> Iterator[Problem]:
    """Require that an explicit placement gives every stage as many dies as it has."""
    if isinstance(pipeline.placement, str) or not isinstance(pipeline.stages, int):
        return
    yield from _one_per_stage("pipeline.placement", len(pipeline.placement), pipeline)
    for i, (placed, wanted) in enumerate(zip(pipeline.placement, pipeline.given_dies, strict=False)):
        if len(placed) != wanted:
            expected = f"{wanted} dies, as pipeline.dies_per_stage says"
            yield Problem(f"pipeline.placement[{i}]", f"{len(placed)}", expected, "list that many")


def _placement_on_living_dies(pipeline: Pipeline, wafer: WaferSpec) -> Iterator[Problem]:
    """Require that an explicit placement uses living dies of the wafer, each once."""
    if isinstance(pipeline.placement, str):
        return
    dead, used = set(wafer.dead_dies), dict[tuple[int, int], str]()
    for i, stage in enumerate(pipeline.placement):
        for n, die in enumerate(stage):
            path = f"pipeline.placement[{i}][{n}]"
            yield from die_on_wafer(wafer, die, path)
            if die in dead:
                yield Problem(path, f"{list(die)}, which is dead", "a living die", "choose another")
            if die in used:
                yield Problem(
                    path, f"{list(die)}, used at {used[die]}", "a die of no other place", "choose another"
                )
            used.setdefault(die, path)


def _enough_dies(pipeline: Pipeline, wafer: WaferSpec) -> Iterator[Problem]:
    """Require living dies for all stages."""
    each, living = pipeline.dies_per_stage, wafer.living_dies
    counts = [("pipeline.dies_per_stage", 1)] if pipeline.stages == "auto" else _stage_counts(pipeline)
    for path, stages in counts:
        wanted = sum(each) if isinstance(each, tuple) else stages * (1 if each == "auto" else each)
        if wanted > living:
            path = "pipeline.dies_per_stage" if isinstance(each, tuple) else path
            found = f"{wanted} dies wanted"
            yield Problem(
                path, found, f"at most {living}, the living dies", "use fewer stages or fewer dies per stage"
            )


def _costs_listed(pipeline: Pipeline, costs: Costs) -> Iterator[Problem]:
    """Require one entry per stage in a list of coefficients or measured times."""
    if not isinstance(costs, Roofline) and isinstance(costs.stages, tuple):
        yield from _one_per_stage("costs.stages", len(costs.stages), pipeline)


def _open_stages_are_computed(pipeline: Pipeline, costs: Costs) -> Iterator[Problem]:
    """Refuse to leave stages open whose times are given, and hold for given layers and dies only."""
    left = [name for name in pipeline.open_fields if name != "placement"]
    if left and not isinstance(costs, Roofline):
        expected = f"a value where costs are {costs.kind}, which hold for given layers and dies"
        found = show(getattr(pipeline, left[0]))
        yield Problem(f"pipeline.{left[0]}", found, expected, 'give it, or write costs.kind "roofline"')


def _tables_fit(
    pipeline: Pipeline, wafer: WaferSpec, workload: Workload, chunking: Chunking
) -> Iterator[Problem]:
    """Refuse instances whose tables would not fit in a computer's memory."""
    # Where the number is open, every layout is checked once it is chosen.
    stages = min((count for _, count in _stage_counts(pipeline)), default=1)
    steps = -(-workload.tokens // chunking.quantum)
    if stages * (steps + 1) > MAX_TABLE_CELLS:
        expected = f"a grid of at most {MAX_TABLE_CELLS // stages:,} steps for {stages} stages"
        yield Problem("chunking.quantum", f"{steps:,} steps", expected, "raise it")
    if stages**2 * min(chunking.max_chunks, steps) > MAX_HOME_CELLS:
        expected = f"at most {MAX_HOME_CELLS // stages**2:,} for {stages} stages"
        yield Problem("chunking.max_chunks", str(chunking.max_chunks), expected, "lower it")
    dies = wafer.rows * wafer.cols
    if dies > MAX_DIES:
        yield Problem("wafer.rows", f"{dies:,} dies", f"at most {MAX_DIES:,} dies", "lower rows or cols")
    links = dies * (2 if wafer.topology == "switch" else 4)
    if links * stages**2 > MAX_SHARE_CELLS:
        expected = f"links x stages^2 of at most {MAX_SHARE_CELLS:,}"
        yield Problem(
            "pipeline.stages", f"{links:,} links x {stages}^2", expected, "use fewer stages or dies"
        )


def _one_per_stage(path: str, found: int, pipeline: Pipeline) -> Iterator[Problem]:
    if isinstance(pipeline.stages, int) and found != pipeline.stages:
        expected = f"one entry for each of the {pipeline.stages} stages"
        yield Problem(path, f"{found} entries", expected, "add or remove entries, or change pipeline.stages")


def die_on_wafer(wafer: WaferSpec, die: tuple[int, int], path: str) -> Iterator[Problem]:
    """Require that a wafer has a die.

    Parameters
    ----------
    wafer : WaferSpec
    die : (int, int)
    path : str
        Where the die is named.
    """
    if not wafer.holds(die):
        expected = f"a die of the {wafer.rows} x {wafer.cols} wafer"
        yield Problem(path, str(list(die)), expected, f"the last is [{wafer.rows - 1}, {wafer.cols - 1}]")


PIPELINE_CHECKS: tuple[tuple[tuple[str, ...], Callable[..., Iterator[Problem]]], ...] = (
    (("pipeline",), _candidates_listed),
    (("pipeline",), _lists_have_stages),
    (("model", "pipeline"), _stages_have_layers),
    (("model", "pipeline"), _layers_add_up),
    (("model", "pipeline"), _degrees_possible),
    (("pipeline",), _dies_listed),
    (("pipeline",), _placement_listed),
    (("pipeline", "wafer"), _placement_on_living_dies),
    (("pipeline", "wafer"), _enough_dies),
    (("pipeline", "costs"), _costs_listed),
    (("pipeline", "costs"), _open_stages_are_computed),
    (("pipeline", "wafer", "workload", "chunking"), _tables_fit),
)
"""Each rule with the sections it reads; part of `mocap_opt.instance.checks.CHECKS`."""
