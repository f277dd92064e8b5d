"""The verdict where no plan exists: why, and what would help, which is checked before it is named."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from mocap_opt.baselines import METHODS
from mocap_opt.bounds import Infeasibility, prove_infeasible
from mocap_opt.errors import InputError
from mocap_opt.instance.objectives import Objective, objective_of
from mocap_opt.stopping import AskedToStop, Deadline
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.units import format_tokens

if TYPE_CHECKING:
    from mocap_opt.instance import Instance

ASKED = ("search-greedy", "uniform-greedy", "mocap")
"""Heuristics that are asked for a plan; one is enough."""

SHARE = 0.5
"""Part of the time left that a verdict may take."""

FLOOR_S, TIME_S = 0.5, 6.0
"""Seconds that a verdict may take in any case, even past the time limit, and at most."""

BISECTING = 0.75
"""Part of the time of a bisection after which it ends with what it has."""

MOST_CHUNKS = 512
"""Chunks of which no remedy asks more."""

HOST = (
    '[{"name":"host","memory_bytes":"1TB","memory_bandwidth":"200GB/s",'
    '"link":{"bandwidth":"32GB/s","hop_latency":"2us"},"at":"every"}]'
)
"""A host's memory as the schema's example has it."""


def infeasible_verdict(
    instance: Instance, tables: Tables, proof: Infeasibility | str, deadline: Deadline
) -> str:
    """Say why an instance has no plan and what would help, in the same words wherever that is asked.

    Parameters
    ----------
    instance : Instance
        Proved infeasible; remedies are looked for if its objective is the latency.
    tables : Tables
        Of the instance.
    proof : Infeasibility or str
        Why; a text comes from a program, which names no memory.
    deadline : Deadline
        Of the whole work: `SHARE` of what is left is used, at least `FLOOR_S` and at most `TIME_S`.

    Returns
    -------
    str
        The memory, slot and bytes that are short, as far as any are; then every remedy found.
    """
    allowed = min(TIME_S, max(FLOOR_S, SHARE * deadline.left_s))
    late = deadline.extended(FLOOR_S).at_most(allowed)
    reason = str(proof)
    if isinstance(proof, str) and (shortage := closest_shortage(tables, late)):
        reason += f": {shortage}"
    sought = objective_of(instance) is Objective.LATENCY and not instance.workload.requests
    return "; ".join([reason, *(remedies(instance, late) if sought else ())])


def closest_shortage(tables: Tables, asked_to_stop: AskedToStop) -> str:
    """Where memory is short in plans that come close, for verdicts that name no memory of their own.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable

    Returns
    -------
    str
        A sentence; empty where no heuristic got as far as memory.
    """
    for name in ASKED:
        reason = METHODS[name].propose(tables, asked_to_stop).reason
        if "short" in reason:
            return f"no single memory is short in every plan; in the closest plan of {name} {reason}"
    return ""


def remedies(instance: Instance, late: Deadline) -> list[str]:
    """Changes under which a plan exists, by how little they change; a plan was found and verified for each.

    Every variant is built and looked at by `prove_infeasible` before heuristics are asked for a plan.

    Parameters
    ----------
    instance : Instance
        Proved infeasible.
    late : Deadline
        Asked often; once over, what has been found is returned.  Every kind of change has a share of it.

    Returns
    -------
    list of str
        In words, with the option that makes the change; empty if none of those tried helps.  Where none has a
        plan, those that are not proved infeasible, as "may fit".
    """
    found: list[str] = []
    unknown: list[str] = []
    kinds: list[list[Tried] | Callable[[Deadline], list[Tried]]] = [
        *_kinds(instance),
        _batches(instance),
        _lengths(instance),
    ]
    for n, tries in enumerate(kinds):
        share = late.share(1 / (len(kinds) - n))
        for what, override in tries if isinstance(tries, list) else tries(share):
            if share():
                break
            fit = _looked_at(instance, override, share)
            said = f"fit: {what} (--set {quoted(override)})"
            if fit is Fit.PLAN:
                found.append(f"would {said}")
                break
            if fit is Fit.OPEN:
                unknown.append(f"may {said}, which is not proved infeasible, but no plan was found")
    return found or unknown


class Fit(Enum):
    """What is known of a variant."""

    PLAN = "a plan was found"
    OPEN = "not proved infeasible, no plan found"
    NONE = "infeasible, or no instance"


Tried = tuple[str, str]
"""A change in words, and the override that makes it."""


def quoted(override: str) -> str:
    """An override as a shell takes it."""
    return shlex.quote(override) if set(override) & set('[{"') else override


def _kinds(instance: Instance) -> list[list[Tried]]:
    """Changes that leave the prompt as it is: kinds by how little they change, of each the least first."""
    pipeline, wafer, chunking = instance.pipeline, instance.wafer, instance.chunking
    kinds: list[list[Tried]] = []
    if pipeline.queue_depth is None or pipeline.queue_depth == "unbounded" or pipeline.queue_depth > 1:
        kinds.append([("queues of depth 1", "pipeline.queue_depth=1")])
    if pipeline.spare_dies == "idle" and not pipeline.free and wafer.living_dies > sum(pipeline.dies):
        kinds.append([("spare dies as memory", "pipeline.spare_dies=memory")])
    steps = -(-instance.workload.tokens // chunking.quantum)
    more = sorted({min(factor * chunking.max_chunks, steps, MOST_CHUNKS) for factor in (2, 4)})
    kinds.append([(f"up to {n} chunks", f"chunking.max_chunks={n}") for n in more if n > chunking.max_chunks])
    sizes = (("fp8", 1.0), ("int4", 0.5))
    kinds.append(
        [(f"KV cache in {name}", f"precision.kv={b:g}") for name, b in sizes if b < instance.precision.kv]
    )
    if isinstance(pipeline.dies_per_stage, int) and isinstance(pipeline.placement, str):
        kinds += _larger_pipelines(instance, pipeline.dies_per_stage)
    if not wafer.pools:
        kinds.append([("a host memory of 1 TB behind every die", f"wafer.pools={HOST}")])
    return kinds


def _larger_pipelines(instance: Instance, dies: int) -> list[list[Tried]]:
    """Wider stages and more of them, as far as dies and layers go."""
    pipeline, living = instance.pipeline, instance.wafer.living_dies
    if not isinstance(pipeline.stages, int):
        return []
    width, most = living // pipeline.stages, min(living // dies, instance.model.layers)
    wider = [n for n in sorted({dies + 1, width}) if dies < n <= width]
    longer = [
        n for n in sorted({pipeline.stages + 1, 2 * pipeline.stages, most}) if pipeline.stages < n <= most
    ]
    return [
        [(f"{n} dies per stage", f"pipeline.dies_per_stage={n}") for n in wider],
        [(f"{n} stages", f"pipeline.stages={n}") for n in longer],
    ]


def _looked_at(instance: Instance, override: str, asked_to_stop: AskedToStop) -> Fit:
    """Build a variant, try to prove it infeasible, then ask heuristics, which verify what they propose."""
    try:
        tables = build_tables(instance.replace(override))
    except InputError:
        return Fit.NONE
    if prove_infeasible(tables, asked_to_stop) is not None:
        return Fit.NONE
    if any(METHODS[name].propose(tables, asked_to_stop).plan is not None for name in ASKED):
        return Fit.PLAN
    return Fit.OPEN


def _batches(instance: Instance) -> Callable[[Deadline], list[Tried]]:
    """The most prompts side by side that fit."""

    def _search(late: Deadline) -> list[Tried]:
        most = _most(instance, "workload.batch", instance.workload.batch, late)
        return [] if not most else [(f"a batch of {most}", f"workload.batch={most}")]

    return _search


def _lengths(instance: Instance) -> Callable[[Deadline], list[Tried]]:
    """The longest prompt that fits, in whole quanta."""
    quantum = instance.chunking.quantum

    def _search(late: Deadline) -> list[Tried]:
        steps = -(-instance.workload.tokens // quantum)
        tokens = quantum * _most(instance, "workload.tokens", steps, late, quantum)
        return (
            []
            if not tokens
            else [(f"a prompt of {format_tokens(tokens)} tokens", f"workload.tokens={tokens}")]
        )

    return _search


def _most(instance: Instance, path: str, now: int, late: Deadline, unit: int = 1) -> int:
    """The largest number with a plan that bisection finds below one that is infeasible; 0 if none.

    Parameters
    ----------
    instance : Instance
    path : str
        Of the field.
    now : int
        Its value, in units.
    late : Deadline
        A part of it is left for looking at what is found once more.
    unit : int
    """
    low, high, asked = 0, now, late.share(BISECTING)
    while high - low > 1 and not asked():
        middle = (low + high) // 2
        if _looked_at(instance, f"{path}={middle * unit}", asked) is Fit.PLAN:
            low = middle
        else:
            high = middle
    return low
