"""The verdict where no plan exists: why, and what would help, which is checked before it is named."""

from __future__ import annotations

from collections.abc import Iterator
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

FLOOR_S, TIME_S = 0.5, 3.0
"""Seconds that a verdict may take in any case, even past the time limit, and at most."""


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


def remedies(instance: Instance, late: AskedToStop) -> list[str]:
    """Changes under which a plan exists, each with a plan found and verified for it.

    Parameters
    ----------
    instance : Instance
        Proved infeasible.
    late : callable
        Asked often; once True, what has been found is returned.

    Returns
    -------
    list of str
        In words, with the option that makes the change; empty if none of those tried helps.
    """
    found: list[str] = []
    for what, override in _changes(instance):
        if late():
            return found
        if _has_plan(instance, override, late):
            found.append(f"would fit: {what} (--set {override})")
    tokens = _longest_that_fits(instance, late)
    if tokens is not None:
        found.append(
            f"would fit: a prompt of {format_tokens(tokens)} tokens (--set workload.tokens={tokens})"
        )
    return found


def _changes(instance: Instance) -> Iterator[tuple[str, str]]:
    """Changes that leave the prompt as it is: fewer bytes of KV, more dies for each stage."""
    for name, size in (("fp8", 1.0), ("int4", 0.5)):
        if instance.precision.kv > size:
            yield f"KV cache in {name}", f"precision.kv={size:g}"
            break
    pipeline, wafer = instance.pipeline, instance.wafer
    if isinstance(pipeline.dies_per_stage, int) and isinstance(pipeline.placement, str):
        width = wafer.living_dies // pipeline.count
        if width > pipeline.dies_per_stage:
            yield f"{width} dies per stage", f"pipeline.dies_per_stage={width}"


def _has_plan(instance: Instance, override: str, asked_to_stop: AskedToStop) -> bool:
    """Whether a heuristic finds a plan for a variant; heuristics verify what they propose."""
    try:
        tables = build_tables(instance.replace(override))
    except InputError:
        return False
    if prove_infeasible(tables, asked_to_stop) is not None:
        return False
    return any(METHODS[name].propose(tables, asked_to_stop).plan is not None for name in ASKED)


def _longest_that_fits(instance: Instance, asked_to_stop: AskedToStop) -> int | None:
    """The longest prompt with a plan that bisection finds in the time, tokens; None if none."""
    quantum, best = instance.chunking.quantum, 0
    low, high = 0, -(-instance.workload.tokens // quantum)
    while high - low > 1 and not asked_to_stop():
        middle = (low + high) // 2
        if _has_plan(instance, f"workload.tokens={middle * quantum}", asked_to_stop):
            low = best = middle
        else:
            high = middle
    return best * quantum if best else None
