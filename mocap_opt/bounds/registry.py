"""Bounds by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from mocap_opt.bounds.availability import availability
from mocap_opt.bounds.blocking_ladder import blocking_ladder
from mocap_opt.bounds.boundary_branching import boundary_branching, slot_branching
from mocap_opt.bounds.crossing import crossing, crossing_pooled_memory
from mocap_opt.bounds.energetic_traffic import energetic_traffic
from mocap_opt.bounds.enumerated_partitions import enumerated_partitions
from mocap_opt.bounds.fixed_messages import fixed_messages
from mocap_opt.bounds.ladder import ladder
from mocap_opt.bounds.path_relaxation import path_relaxation, slot_mixture
from mocap_opt.bounds.stage_work import stage_work
from mocap_opt.bounds.state_space import slot_state_space, state_space
from mocap_opt.bounds.streaming import streaming
from mocap_opt.lower_bound import Bound
from mocap_opt.memory_budget import OverBudgetError
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables

#: Bounds in the order of formulations/bounds.md; None where a bound has nothing to say.
BOUNDS: Mapping[str, Callable[..., Bound | None]] = MappingProxyType(
    {
        "stage_work": stage_work,
        "streaming": streaming,
        "fixed_messages": fixed_messages,
        "crossing": crossing,
        "crossing_pooled_memory": crossing_pooled_memory,
        "path_relaxation": path_relaxation,
        "boundary_branching": boundary_branching,
        "slot_mixture": slot_mixture,
        "slot_branching": slot_branching,
        "state_space": state_space,
        "slot_state_space": slot_state_space,
        "enumerated_partitions": enumerated_partitions,
        "energetic_traffic": energetic_traffic,
        "ladder": ladder,
        "blocking_ladder": blocking_ladder,
        "availability": availability,
    }
)

#: Those that take at most a second or so at 32 stages x 128 chunks x 4096 steps, or a few seconds at
#: most and decline such sizes.
QUICK = (
    "stage_work",
    "streaming",
    "fixed_messages",
    "crossing",
    "crossing_pooled_memory",
    "path_relaxation",
    "slot_mixture",
    "availability",
)


def lower_bounds(
    tables: Tables,
    quick: bool = True,
    asked_to_stop: AskedToStop = never,
    without: Collection[str] = (),
    on_decline: Callable[[str], None] = lambda reason: None,
) -> list[Bound]:
    """Bounds that have something to say about an instance, in the order of the registry.

    Parameters
    ----------
    tables : Tables
    quick : bool
        Leave out those that may take long.
    asked_to_stop : callable
        Asked often; once it says True, searches end with what they have and no other is begun.  The
        first bound has something to say even then.
    without : collection of str
        Names of bounds to leave out.
    on_decline : callable
        Told, in words, of each bound that would outgrow the memory budget and was left out.
    """
    found: list[Bound | None] = []
    for name in BOUNDS:
        if (quick and name not in QUICK) or name in without:
            continue
        if found and asked_to_stop():
            break
        found.append(affordable_bound(name, tables, asked_to_stop, on_decline))
    return [bound for bound in found if bound is not None]


def affordable_bound(
    name: str, tables: Tables, asked_to_stop: AskedToStop, on_decline: Callable[[str], None]
) -> Bound | None:
    """One bound by name; None also if it would outgrow the memory budget, and then `on_decline` is told.

    Parameters
    ----------
    name : str
        In `BOUNDS`.
    tables : Tables
    asked_to_stop : callable
        Asked by the bound.
    on_decline : callable
        Told, in words, that the bound was left out.
    """
    try:
        return BOUNDS[name](tables, asked_to_stop=asked_to_stop)
    except OverBudgetError as error:
        on_decline(f"{name}: {error}")
        return None
