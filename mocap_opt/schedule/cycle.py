"""Periodic plans and whether they are feasible: the specification, with no solver in it.

Request r starts in slot r W.  What happens in slot t happens again in slot t + W, so W slots say
everything: in cyclic slot t stage i works on chunk (t - i) mod W, if there is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.errors import InputError, Problem
from mocap_opt.replay.traffic import Whole
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import Violation, cache_use
from mocap_opt.schedule.verify import violations as single_violations
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.units import format_shortage


@dataclass(frozen=True)
class PeriodicPlan:
    """A plan that every request follows, and how far apart the requests are.

    Attributes
    ----------
    plan : Plan
        Boundaries and homes of each request.
    slots : int
        W, from the first slot of a request to that of the next; the chunks come first, idle slots
        after them.
    """

    plan: Plan
    slots: int

    @property
    def idle(self) -> int:
        """Slots in which a stage has nothing to do, per request."""
        return self.slots - self.plan.chunks


def require_bounded_queues(tables: Tables) -> int:
    """Return the queue depth Q.

    Raises
    ------
    InputError
        If queues are unbounded: requests without end would fill any memory.
    """
    if tables.queue_depth is None:
        raise InputError(
            [
                Problem(
                    "pipeline.queue_depth",
                    "unbounded",
                    "a whole number >= 1 for the objective period",
                    "endless requests need bounded queues; set it to 2",
                )
            ]
        )
    return tables.queue_depth


def period_reserve(tables: Tables, longest: int) -> IntArray:
    """Bytes of every memory kept for staging and activations, int64[memory].

    Queues may hold chunks of several requests, so the 2 Q chunks are not capped at one request's
    tokens.

    Parameters
    ----------
    tables : Tables
    longest : int
        Longest chunk, tokens.

    Raises
    ------
    InputError
        If queues are unbounded.
    """
    reserve: IntArray = tables.staging + 2 * require_bounded_queues(tables) * longest * tables.working_bytes
    return reserve


def fold(values: Whole, slots: int, together: np.ufunc = np.add) -> Whole:
    """Put columns together that are the same cyclic slot: [row, column] to [row, slot]; none is negative."""
    folded = np.zeros((values.shape[0], slots), dtype=values.dtype)
    for first in range(0, values.shape[1], slots):
        part = values[:, first : first + slots]
        there = folded[:, : part.shape[1]]
        there[...] = together(there, part)
    return folded


def memory_use(tables: Tables, periodic: PeriodicPlan) -> IntArray:
    """Bytes in every memory in every cyclic slot, once requests follow each other.

    Returns
    -------
    int64[memory, slot], bytes
        Slots 0 .. W - 1.

    Raises
    ------
    ValueError
        If a boundary is not on the grid.
    InputError
        If queues are unbounded.
    """
    fixed = tables.static + period_reserve(tables, periodic.plan.longest)
    return fixed[:, None] + fold(cache_use(tables, periodic.plan), periodic.slots)


def violations(tables: Tables, periodic: PeriodicPlan) -> list[Violation]:
    """Everything that makes a periodic plan infeasible; an empty list means feasible.

    Parameters
    ----------
    tables : Tables
    periodic : PeriodicPlan
        Anything of the right types; a malformed plan is reported, not raised.

    Returns
    -------
    list of Violation
        Those of the plan alone, besides capacity; ``"slots"`` if W is less than the chunks; then
        ``"capacity"`` by memory and cyclic slot.

    Raises
    ------
    InputError
        If queues are unbounded.
    """
    require_bounded_queues(tables)
    plan, slots = periodic.plan, periodic.slots
    found = [v for v in single_violations(tables, plan) if v.rule != "capacity"]
    if slots < max(plan.chunks, 1):
        found.append(Violation("slots", f"requests {slots} slots apart, but each has {plan.chunks} chunks"))
    if any(v.rule in ("boundaries", "grid", "homes", "slots") for v in found):
        return found
    use = memory_use(tables, periodic)
    for k, t in np.argwhere(use > tables.capacity[:, None]).tolist():
        needed, there = int(use[k, t]), int(tables.capacity[k])
        text = f"memory {k}, cyclic slot {t}: {format_shortage(needed, there)}"
        found.append(Violation("capacity", text, k, t, needed - there))
    return found


def smallest_slots(tables: Tables, plan: Plan) -> PeriodicPlan | None:
    """The plan with the fewest slots between requests that are feasible; None if none are.

    With W = chunks + stages - 1 no two requests share a slot, so more idle slots change nothing.
    """
    for slots in range(plan.chunks, plan.chunks + tables.stages):
        periodic = PeriodicPlan(plan, slots)
        if not violations(tables, periodic):
            return periodic
    return None
