"""Tables for every number of layers that a stage may have, where dies and places are given.

What a list of layers costs is put together from them stage by stage; ``formulations/joint_layers.md``
says why that is the very table that `mocap_opt.tables.build_tables` makes of the list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, pairwise
from math import gcd
from typing import Any

import numpy as np

from mocap_opt.errors import InputError, Problem
from mocap_opt.instance import Instance
from mocap_opt.instance.pipeline import StageLayout
from mocap_opt.messages import show
from mocap_opt.schedule.plan import Plan
from mocap_opt.tables.build import build_tables
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.layout import placed_dies
from mocap_opt.tables.stage_costs import layer_parameters
from mocap_opt.tables.table_fields import FIELDS
from mocap_opt.wafer.topology import Die, build_topology

MOST_TABLES = 400
"""Instances with more pairs of a stage and its number of layers are refused: tables take seconds to build."""


@dataclass(frozen=True, eq=False)
class LayerTables:
    """An instance whose layers of each stage are open, as tables for every choice.

    Attributes
    ----------
    total : int
        Layers of the model.
    dies : tuple of tuple of Die
        Of each stage.
    by_stage : mapping of (int, int) to Tables
        By stage and its number of layers, ordered: the tables of some list that gives the stage so many.
        Only that stage's entries, and what no list changes, are meant.
    """

    total: int
    dies: tuple[tuple[Die, ...], ...]
    by_stage: Mapping[tuple[int, int], Tables]

    @property
    def tables(self) -> Tables:
        """Of one list: for all that does not depend on it."""
        return next(iter(self.by_stage.values()))

    @cached_property
    def page_unit(self) -> int:
        """Greatest common divisor of all page sizes, bytes, whatever the list."""
        return gcd(*(int(held.page_bytes[i]) for (i, _), held in self.by_stage.items())) or 1

    def of_stage(self, stage: int) -> dict[int, Tables]:
        """Tables by the number of layers of a stage; of a memory without a stage, those of one list."""
        found = {layers: held for (i, layers), held in self.by_stage.items() if i == stage}
        return found or {0: self.tables}

    def lists(self) -> Iterator[tuple[int, ...]]:
        """Every list of layers: positive, with the right sum."""
        for cuts in combinations(range(1, self.total), len(self.dies) - 1):
            yield tuple(b - a for a, b in pairwise((0, *cuts, self.total)))

    def decided(self, layers: Sequence[int]) -> Tables:
        """Tables of a list, every stage's entries taken from those with its number of layers."""
        parts: dict[str, Any] = {}
        for name in (f.name for f in FIELDS if f.axes[:1] in (("stage",), ("memory",))):
            if (kept := getattr(self.tables, name)) is not None:
                parts[name] = np.array(kept)
                for i, count in enumerate(layers):
                    parts[name][i] = getattr(self.by_stage[i, count], name)[i]
        return replace(self.tables, **parts)

    def of_plan(self, plan: Plan) -> Tables:
        """Tables of the list that a plan holds."""
        assert plan.layout is not None
        return self.decided(plan.layout.layers)

    def chosen(self, model: Any) -> StageLayout:
        """The layout that the values of a model's variables ``layers[i, n]`` stand for."""
        counts = {i: n for (i, n), variable in model.layers.items() if variable.value > 0.5}
        return StageLayout(self.dies, tuple(counts[i] for i in range(len(self.dies))))


def layer_tables(instance: Instance) -> LayerTables:
    """Build the tables of every number of layers that a stage may have.

    Raises
    ------
    InputError
        If anything but `pipeline.layers` is open or that is not, if layers differ, or if there are too many.
    """
    pipeline, total = instance.pipeline, instance.model.layers
    if pipeline.layers != "auto":
        raise _refused("layers", pipeline.layers, '"auto"', "the program joint has the layers given")
    pipeline.require_fixed(("stages", "dies_per_stage", "placement"))
    if not _alike(instance):
        expected = "layers that are all alike, as the program decides how many a stage has, not which"
        raise _refused("layers", "auto", expected, "--set pipeline.layers to a list, or solve")
    stages = pipeline.count
    most = total - stages + 1
    if stages * most > MOST_TABLES:
        expected = f"at most {MOST_TABLES} pairs of a stage and its number of layers, got {stages * most:,}"
        raise _refused("layers", "auto", expected, "solve searches lists of layers one after the other")
    dies = placed_dies(build_topology(instance.wafer), pipeline)
    found: dict[tuple[int, int], Tables] = {}
    for pair in ((i, n) for i in range(stages) for n in range(1 if stages > 1 else total, most + 1)):
        if pair not in found:
            counts = _list_with(*pair, stages, total)
            made = build_tables(instance.with_layout(StageLayout(dies, counts)))
            found.update({each: made for each in enumerate(counts) if each not in found})
    return LayerTables(total, dies, dict(sorted(found.items())))


def _refused(field: str, found: object, expected: str, remedy: str) -> InputError:
    return InputError([Problem(f"pipeline.{field}", show(found), expected, remedy)])


def _alike(instance: Instance) -> bool:
    """Whether all layers have the same matrices in the same precision."""
    model = instance.model
    kinds = {
        (
            layer_parameters(model, layer, active=True),
            layer_parameters(model, layer, active=False),
            instance.precision.of_layer(layer),
        )
        for layer in range(model.layers)
    }
    return len(kinds) == 1


def _list_with(stage: int, layers: int, stages: int, total: int) -> tuple[int, ...]:
    """A list that gives a stage so many layers, and what is left to the next stages in turn."""
    counts = [1] * stages
    counts[stage] = layers
    counts[(stage + 1) % stages] += total - sum(counts)
    return tuple(counts)
