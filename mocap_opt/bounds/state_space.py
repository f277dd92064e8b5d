"""State-space relaxation: the recursion over boundaries, stage by stage the least of all ways to them.

Statement and proof: ``formulations/bounds.md``, `state_space`.
"""

from __future__ import annotations

from collections.abc import Callable

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.partition_pricing import PartitionPricer
from mocap_opt.bounds.partition_states import StateSpace
from mocap_opt.bounds.path_relaxation import whole_region
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables

MOST_WORK = 2**27
"""Stages x positions x steps^2 up to which a round takes a few seconds at most."""

MOST_AMPLE_WORK = 2**30
"""The same where memory does not bind and somebody limits the time: then nothing proves as much."""

RISE = 0.02
"""The first target lies this part above what is proved."""

MOST_TARGETS = 12
"""Targets that are tried: farther away after one that is proved, halfway back after one that is not."""


def is_affordable(tables: Tables, *, limited: bool = False) -> bool:
    """Whether the instance is small enough for tables of all chunks at all positions.

    Parameters
    ----------
    tables : Tables
    limited : bool
        Whether somebody limits the time: then larger ones are, if no partition lacks memory.
    """
    counts = Setting(tables).counts
    work = tables.stages * (tables.steps + 1) ** 2 * max(counts, default=0)
    if not counts or work <= MOST_WORK:
        return bool(counts)
    if not limited or work > MOST_AMPLE_WORK:
        return False
    pricer = PartitionPricer(Setting(tables), PooledMemory.of(tables))
    region = whole_region(pricer, counts[0], counts[-1])
    return pricer.fits_all(region)


#: What the bound is called, by what it holds for.
NAMES = {Scope.ANY_EXECUTION: "state_space", Scope.LOCKSTEP: "slot_state_space"}


def slot_state_space(tables: Tables, asked_to_stop: AskedToStop = never) -> Bound | None:
    """Bound lockstep by the state-space relaxation.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        As of `state_space`.
    """
    return state_space(tables, scope=Scope.LOCKSTEP, asked_to_stop=asked_to_stop)


def state_space(
    tables: Tables,
    *,
    scope: Scope = Scope.ANY_EXECUTION,
    limited: bool = False,
    incumbent: int | None = None,
    known: int = 0,
    asked_to_stop: AskedToStop = never,
    on_partition: Callable[[IntArray], object] = lambda found: None,
) -> Bound | None:
    """Bound any execution, or lockstep, by the state-space relaxation.

    Parameters
    ----------
    tables : Tables
    scope : Scope
        What the bound is to hold for.
    limited : bool
        As of `is_affordable`.
    incumbent : int or None, ticks
        Latency of a known plan, rounded down: no higher target is tried.  It is no premise of the proof.
    known : int, ticks
        A bound on the same executions known already.
    asked_to_stop : callable
        Asked often; what was proved until then stands.
    on_partition : callable
        Told of partitions near the bound, int64[chunks + 1], grid indices; they need not fit.

    Returns
    -------
    Bound or None
        None if no plan keeps to count, lengths and pooled memory, the instance is too large, or nothing
        above what is known was proved.
    """
    if not is_affordable(tables, limited=limited):
        return None
    space = None if asked_to_stop() else StateSpace.of(Setting(tables, scope), asked_to_stop)
    if space is None:
        return None
    best = max(known, space.least())
    stride, missed = max(1, int(RISE * best)), incumbent
    if incumbent is not None and incumbent > best:
        best = max(best, space.narrow(incumbent))
        stride = min(stride, (incumbent - best) // 2)
    for _ in range(MOST_TARGETS):
        target = best + stride if incumbent is None else min(best + stride, incumbent)
        if target <= best or asked_to_stop():
            break
        proved = space.prove(target, on_partition)
        best = max(best, proved)
        missed = missed if proved >= target else target
        stride = 2 * stride if missed is None else (missed - best) // 2
    if best <= known:
        return None
    return Bound(NAMES[scope], best, scope, Evidence.SEARCH, "boundaries one by one")
