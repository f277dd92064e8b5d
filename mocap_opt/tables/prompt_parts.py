"""Tokens chosen among the whole prompt: tables of the two problems that then follow one another.

Statement, readings and proof: ``formulations/prompt_selection.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.layer_profile import kept_tokens, prompt_selection
from mocap_opt.messages import show
from mocap_opt.tables.build import build_tables
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.fixed_messages import Entry, MessageKind
from mocap_opt.tables.layout import Layout, layout
from mocap_opt.tables.table_fields import FIELDS
from mocap_opt.tables.table_shapes import WITHOUT_STAGE

if TYPE_CHECKING:
    from mocap_opt.instance import Instance

BY_STAGE = tuple(field.name for field in FIELDS if field.axes[:1] == ("stage",))
"""Fields of `Tables` whose first axis is the stage."""

BY_MEMORY = tuple(field.name for field in FIELDS if field.axes[:1] == ("memory",))
"""Fields whose first axis is the memory."""

OF_WORK = WITHOUT_STAGE
"""Those of them that only a stage at work has."""


@dataclass(frozen=True, eq=False)
class PromptParts:
    """The two problems.

    Attributes
    ----------
    entry : int
        The entry of ``model.profile`` that chooses.
    stage : int
        s, the first stage of the second problem.
    kept : int
        Tokens of the second problem.
    first, second : Tables
        Their stages are 0 .. s-1 and s .. N-1; the memories of all others hold KV only.
    """

    entry: int
    stage: int
    kept: int
    first: Tables
    second: Tables


def prompt_parts(instance: Instance) -> PromptParts:
    """Split an instance whose layers choose tokens among the whole prompt.

    Parameters
    ----------
    instance : Instance
        With ``selection: "prompt"`` in its profile.

    Raises
    ------
    InputError
        If nothing is chosen among the whole prompt, if the choice does not fall on a stage boundary, or as
        `build_tables`.
    """
    entry = prompt_selection(instance.model)
    if entry is None:
        expected = 'an entry with selection "prompt"'
        raise InputError([Problem("model.profile", show(len(instance.model.profile)) + " entries", expected)])
    laid_out = layout(instance)
    stage = _boundary(instance, laid_out, entry)
    kept = kept_tokens(instance.model.profile[entry].keep, instance.workload.tokens)
    before, behind = _halves(instance, entry, kept)
    whole, chosen = build_tables(before, laid_out), build_tables(behind, laid_out)
    act = int(whole.activation_bytes[stage - 1])
    stages = range(whole.stages)
    first = _part(whole, stages[:stage], stages[stage:])
    arrived = first.static.copy()
    arrived[stage] += act * whole.tokens
    name = f"{instance.name}, before the choice"
    first = replace(first, name=name, static=arrived, fixed_messages=_handed_over(stage, act * whole.page))
    second = _part(chosen, stages[stage:], stages[:stage])
    waiting = second.static.copy()
    waiting[0] += act * kept
    second = replace(second, name=f"{instance.name}, behind the choice", static=waiting)
    return PromptParts(entry, stage, kept, first, second)


def _boundary(instance: Instance, laid_out: Layout, entry: int) -> int:
    """The stage that begins with the first layer of an entry."""
    layers = instance.model.profile[entry].layers
    starts = [each[0] for each in laid_out.layers]
    if layers[0] in starts[1:]:
        return starts.index(layers[0])
    expected = "the first layer of a stage behind the first: " + ", ".join(map(str, starts[1:]))
    remedy = "move the choice, or the stages' layers (pipeline.layers)"
    where = f"model.profile[{entry}].layers"
    raise InputError([Problem(where, show([*layers]), expected if starts[1:] else "two stages", remedy)])


def _halves(instance: Instance, entry: int, kept: int) -> tuple[Instance, Instance]:
    """The instance as its first and as its second part see it: all tokens before, the kept ones behind.

    Both have all layers; those of the other part are left out of the tables later.
    """
    data, profile = instance.to_dict(), instance.model.profile
    first, keep = profile[entry].layers[0], profile[entry].keep
    plain: list[dict[str, Any]] = data["model"]["profile"]
    before = [each for each, given in zip(plain, profile, strict=True) if given.layers[0] < first]
    behind = [
        {**each, "selection": "chunk", "keep": 1.0 if given.keep == keep else given.keep / keep}
        for each, given in zip(plain, profile, strict=True)
        if given.layers[0] >= first
    ]
    model, work = data["model"], {**data["workload"], "tokens": kept}
    made = type(instance).from_dict
    return (
        made({**data, "model": {**model, "profile": before}}),
        made({**data, "model": {**model, "profile": behind}, "workload": work}),
    )


def _part(tables: Tables, working: Sequence[int], idle: Sequence[int]) -> Tables:
    """Tables in which some stages work and the memories of the others hold KV only.

    The memory of an idle stage has its weights and staging buffers in it, and nothing else that is the
    stage's.
    """
    pools = range(tables.stages, tables.memories)
    order = np.array([*working, *idle, *pools])
    fields: dict[str, Any] = {}
    for name in BY_STAGE:
        if (table := getattr(tables, name)) is not None:
            fields[name] = table[[*working]]
    for name in BY_MEMORY:
        if (table := getattr(tables, name)) is not None:
            fields[name] = table[order]
    fields["send"][-1] = 0
    others = slice(len(working), None)
    for name in OF_WORK:
        if name in fields:
            fields[name][others] = 0
    fields["static"][others] += fields["staging"][others]
    fields["staging"][others] = 0
    names = (*(f"stage {i}, idle" for i in idle), *tables.pools)
    hops = tables.hop_ticks[np.ix_(order, order)]
    share = np.ascontiguousarray(tables.share[:, order][:, :, order])
    return replace(tables, pools=names, hop_ticks=hops, share=share, **fields)


def _handed_over(stage: int, page_bytes: int) -> IntArray:
    """The message that takes a chunk's activations to the stage that waits, as `Tables.fixed_messages`."""
    row = dict.fromkeys(Entry, 0)
    row |= {
        Entry.KIND: int(MessageKind.EXPORT),
        Entry.STAGE: stage - 1,
        Entry.SOURCE: stage - 1,
        Entry.TARGET: stage,
        Entry.PER_PAGE: page_bytes,
    }
    return np.array([[row[each] for each in Entry]], dtype=np.int64)
