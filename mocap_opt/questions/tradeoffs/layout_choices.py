"""The layouts that an instance leaves to choose from, and those among them that cannot be placed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mocap_opt.errors import InputError, MocapError, Problem
from mocap_opt.files import read_json
from mocap_opt.formulations.presolve import local_homes_always_fit
from mocap_opt.instance import Instance, StageLayout
from mocap_opt.instance.overrides import apply_overrides
from mocap_opt.instance.pipeline import Pipeline
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.layout import layout
from mocap_opt.wafer.path import PLACEMENTS
from mocap_opt.wafer.placement import balanced_layers
from mocap_opt.wafer.topology import Topology, build_topology

ONE_STAGE = {"stages": 1, "dies_per_stage": 1}
"""The layout that fits whenever any does."""

BALANCED, EXTRAS_LAST, AS_GIVEN = "balanced", "extras last", "as given"
"""Where the layers stand that are left over when all stages have as many: in the middle, or last."""


@dataclass(frozen=True)
class LayoutChoice:
    """A layout of an instance.

    Attributes
    ----------
    overrides : tuple of str
        What makes it of the instance; empty for its own.
    sizes : tuple of int
        Dies of each stage.
    dies : int
        Dies in use: those of the stages, and with ``spare_dies: "memory"`` all that live.
    placement : str
        The rule that places the stages.
    layers : str
        `BALANCED`, `EXTRAS_LAST` or `AS_GIVEN`.
    problem : str
        Why no rule that is allowed places it; empty if one does.
    """

    overrides: tuple[str, ...]
    sizes: tuple[int, ...]
    dies: int
    placement: str
    layers: str
    problem: str = ""

    @property
    def stages(self) -> int:
        """N, the number of stages."""
        return len(self.sizes)

    @property
    def dies_per_stage(self) -> int:
        """Dies of the largest stage."""
        return max(self.sizes)


def own_layout(instance: Instance) -> LayoutChoice:
    """The layout that an instance gives."""
    pipeline = instance.pipeline
    ruled = isinstance(pipeline.placement, str)
    return LayoutChoice(
        (),
        pipeline.dies,
        _in_use(instance, pipeline.dies),
        str(pipeline.placement) if ruled else AS_GIVEN,
        BALANCED if pipeline.layers == "balanced" else AS_GIVEN,
    )


def layout_choices(instance: Instance) -> list[LayoutChoice]:
    """Layouts with equal stages, or with the stages given, that living dies and layers admit.

    Of an instance that leaves something open, what it leaves open; of another one, every number of stages
    and of dies per stage.  Stages of too few dies for any of ``pipeline.degrees`` are left out.  Those that
    put most dies to work come first, of these the ones with few stages, which are soon laid out: where time
    ends a sweep they are the ones to have seen.

    Raises
    ------
    InputError
        If the instance gives all of its layout by hand, which says nothing about other layouts.
    """
    pipeline, free = instance.pipeline, instance.pipeline.free
    if not free:
        _require_rules(instance)
        pipeline = pipeline.model_copy(
            update={"stages": "auto", "dies_per_stage": "auto", "degrees": pipeline.degree_rule}
        )
    topology = build_topology(instance.wafer)
    if isinstance(pipeline.placement, tuple):
        shapes = [tuple(len(stage) for stage in pipeline.placement)]
    elif pipeline.given_dies:
        shapes = [pipeline.given_dies]
    else:
        living, layers = instance.wafer.living_dies, instance.model.layers
        given = pipeline.dies_per_stage
        shapes = [
            (width,) * stages
            for width in ([given] if isinstance(given, int) else range(1, living + 1))
            if pipeline.degree(width, instance.model.heads)
            for stages in pipeline.counts(layers, living)
            if isinstance(given, int) or stages * width <= living
        ]
    shapes.sort(key=lambda sizes: (-sum(sizes), len(sizes)))
    return [_choice(instance, topology, sizes, not free) for sizes in shapes]


def extras_last(instance: Instance, choice: LayoutChoice, tables: Tables) -> LayoutChoice | None:
    """The layout with the layers that are left over on the last stages, where memory binds.

    Parameters
    ----------
    instance : Instance
    choice : LayoutChoice
        With these layers in the middle.
    tables : Tables
        Of it.

    Returns
    -------
    LayoutChoice or None
        None if all KV fits at home anyway, if there is none left over, or if layers are not open.
    """
    pipeline = instance.pipeline
    balanced = balanced_layers(instance.model.layers, choice.stages)
    last = tuple(sorted(balanced))
    closed = not choice.overrides or (pipeline.free and pipeline.layers != "auto")
    if choice.layers != BALANCED or closed or last == balanced or local_homes_always_fit(tables):
        return None
    kept = tuple(each for each in choice.overrides if not each.startswith("pipeline.layers="))
    return replace(choice, overrides=(*kept, f"pipeline.layers={json.dumps(list(last))}"), layers=EXTRAS_LAST)


def laid_out(instance: Instance, overrides: Sequence[str]) -> Instance:
    """The instance with one layout; of one that leaves its layout open, with that decided.

    Parameters
    ----------
    instance : Instance
    overrides : sequence of str
        As in `LayoutChoice.overrides`, and others.

    Raises
    ------
    InputError
        If the layout cannot be placed.
    """
    made = instance.replace(*overrides)
    if not instance.pipeline.free:
        return made
    placed = layout(made)
    rest = [each for each in overrides if not each.startswith("pipeline.")]
    left_open = instance.replace(*rest) if rest else instance
    return left_open.with_layout(StageLayout(placed.dies, tuple(map(len, placed.layers))))


def _require_rules(instance: Instance) -> None:
    pipeline = instance.pipeline
    by_hand = {
        "pipeline.layers": pipeline.layers != "balanced",
        "pipeline.placement": not isinstance(pipeline.placement, str),
        "costs.kind": instance.costs.kind != "roofline",
    }
    problems = [
        Problem(path, "figures for one layout", "rules for any layout", "sweep only the chunks")
        for path, given in by_hand.items()
        if given
    ]
    if problems:
        raise InputError(problems)


def _in_use(instance: Instance, sizes: Sequence[int]) -> int:
    return instance.wafer.living_dies if instance.pipeline.spare_dies == "memory" else sum(sizes)


def _choice(instance: Instance, topology: Topology, sizes: tuple[int, ...], any_rule: bool) -> LayoutChoice:
    """Stages of these sizes by the first rule that places them; `any_rule`: beside the one that is named."""
    pipeline, width = instance.pipeline, sizes[0]
    alike = sizes == (width,) * len(sizes)
    overrides = [
        f"pipeline.stages={len(sizes)}",
        f"pipeline.dies_per_stage={width if alike else json.dumps(list(sizes))}",
    ]
    placement, problem = AS_GIVEN, ""
    if isinstance(pipeline.placement, str):
        named = pipeline.placement
        rules: list[str] = [named] if named != "auto" else []
        rules += [rule for rule in PLACEMENTS if rule != named] if any_rule or not rules else []
        placement, problem = _first_that_places(topology, sizes, rules)
        if placement != named:
            overrides.append(f"pipeline.placement={placement}")
    if pipeline.free:
        overrides.append(f"pipeline.degrees={json.dumps(pipeline.degree_rule)}")
    if pipeline.layers == "auto":
        overrides.append("pipeline.layers=balanced")
    layers = AS_GIVEN if isinstance(pipeline.layers, tuple) else BALANCED
    return LayoutChoice(tuple(overrides), sizes, _in_use(instance, sizes), placement, layers, problem)


def _first_that_places(topology: Topology, sizes: tuple[int, ...], rules: Sequence[str]) -> tuple[str, str]:
    """A rule that places stages; where none does, the first with what all of them have against it."""
    problems: list[str] = []
    for rule in rules:
        try:
            PLACEMENTS[rule](topology, sizes)
        except InputError as error:
            problems += [f"{rule}: {each.found}" for each in error.problems]
        except MocapError as error:
            problems.append(f"{rule}: {error}")
        else:
            return rule, ""
    return rules[0], "; ".join(problems)


def load_for_any_layout(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Instance:
    """Read an instance file for a sweep of layouts.

    Parameters
    ----------
    path : path
    overrides : iterable of str
        As for `mocap_opt.load_instance`.

    Returns
    -------
    Instance
        With its own layout if that fits the wafer and the layers, otherwise with one stage on one die.

    Raises
    ------
    InputError
        If something else is wrong than that the layout does not fit, or it is missing.
    """
    data, folder = apply_overrides(read_json(path), overrides), Path(path).parent
    try:
        return Instance.from_dict(data, folder)
    except InputError:
        pipeline = data.get("pipeline", {})
        if not _only_too_large(pipeline):
            raise
        try:
            return Instance.from_dict({**data, "pipeline": {**pipeline, **ONE_STAGE}}, folder)
        except InputError:
            # Other things are wrong as well; all of them are listed with the layout as it is.
            pass
        raise


def _only_too_large(pipeline: Any) -> bool:
    """Whether a pipeline is well formed but for its size, and laid out by rules."""
    if not isinstance(pipeline, Mapping):
        return False
    try:
        read = Pipeline.model_validate({"stages": 1, **pipeline})
    except (ValidationError, InputError):
        return False
    return read.layers == "balanced" and isinstance(read.placement, str)
