"""The least path over all partitions that fit the pool, where few come near it.

Statement and proof: ``formulations/bounds.md``, `enumerated_partitions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.crossing import crossing_pooled_memory
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.partition_enumeration import FewPartitions, TooManyError, can_be_listed
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.stopping import AskedToStop, StoppedError, never
from mocap_opt.tables.cost_tables import Tables

#: Partitions below a target beyond which a lower one is tried.
MOST_PARTITIONS = 2000
#: Targets tried, and how far the first is above the bound that is known, as a part of it.
MOST_TARGETS = 12
STRIDE = 0.005


@dataclass(frozen=True, eq=False)
class Listing:
    """Every partition that a plan faster than a target can have.

    Attributes
    ----------
    target : int, ticks
        No plan of any other partition is faster.
    partitions : tuple of (int, int64[chunks + 1])
        Longest path, ticks, and boundaries as grid indices; least path first.
    """

    target: int
    partitions: tuple[tuple[int, IntArray], ...]

    def bound(self) -> Bound:
        """What no plan of any partition beats."""
        ticks = self.partitions[0][0] if self.partitions else self.target
        note = f"{len(self.partitions)} partitions listed"
        return Bound("enumerated_partitions", ticks, Scope.ANY_EXECUTION, Evidence.SEARCH, note)


def enumerated_partitions(tables: Tables, asked_to_stop: AskedToStop = never) -> Bound | None:
    """Bound any execution by the least path of any partition; see `least_partitions`."""
    found = least_partitions(tables, asked_to_stop)
    return None if found is None else found.bound()


def least_partitions(
    tables: Tables,
    asked_to_stop: AskedToStop = never,
    *,
    incumbent: int | None = None,
    known: int = 0,
) -> Listing | None:
    """List the partitions of the least paths, below a target that leaves a few.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        Checked often; what was proved until then stands.
    incumbent : int or None, ticks
        Latency of a known plan, rounded down: no higher target is tried.
    known : int, ticks
        A bound on any execution known already.

    Returns
    -------
    Listing or None
        None if nothing above what is known was proved, or the instance is too large.
    """
    setting = Setting(tables)
    if not can_be_listed(tables) or not setting.counts:
        return None
    pooled = crossing_pooled_memory(tables, asked_to_stop)
    if pooled is None:
        return None
    proved = known = max(known, pooled.ticks)
    few = FewPartitions(setting, PooledMemory.of(tables))
    stride = max(1, int(STRIDE * proved))
    for _ in range(MOST_TARGETS):
        target = proved + stride if incumbent is None else min(proved + stride, incumbent)
        if target <= proved:
            break
        try:
            found = list(islice(few.below(target, asked_to_stop), MOST_PARTITIONS + 1))
        except StoppedError:
            break
        except TooManyError:
            found = None
        if found is None or len(found) > MOST_PARTITIONS:
            stride = (target - proved) // 4
        elif found:
            found.sort(key=lambda listed: (listed[0], listed[1].tolist()))
            return Listing(target, tuple(found))
        else:
            proved, stride = target, 2 * stride
    return Listing(proved, ()) if proved > known else None
