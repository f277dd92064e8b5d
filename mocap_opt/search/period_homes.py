"""How a search for the period finds homes for given boundaries (formulations/period.md, Heuristics)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_lengths import within_limits
from mocap_opt.flow_shop.chunk_times import chunk_times
from mocap_opt.homes.cyclic_reach import schedule_within_reach
from mocap_opt.homes.greedy import home_orders, periodic_schedule, pooled_fit
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.search.period_pricing import Residence, steady_starts
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True, eq=False)
class InOrder:
    """Greedy homes: memories are asked for room in an order.

    Attributes
    ----------
    order : int64[stage, memory]
        See `mocap_opt.homes.greedy.cyclic_homes`.
    """

    order: IntArray

    @property
    def key(self) -> bytes:
        """What tells the rule from others."""
        return self.order.tobytes()


@dataclass(frozen=True, eq=False)
class WithinReach:
    """Homes by linear program, where they make no chunk wait longer than those so far back do.

    Attributes
    ----------
    back : int
        Stages by which KV lives before its stage at most.
    """

    back: int

    @property
    def key(self) -> bytes:
        """What tells the rule from others."""
        return bytes([self.back])


HomeRule = InOrder | WithinReach


def housed(
    tables: Tables, indices: IntArray, slots: int, rule: HomeRule, rng: np.random.Generator | None = None
) -> Schedule | None:
    """Boundaries with homes by a rule; None if they break a limit, or none are found.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices.
    slots : int
        W.
    rule : HomeRule
    rng : numpy.random.Generator, optional
        Draws among the homes within reach.
    """
    if isinstance(rule, InOrder):
        return periodic_schedule(tables, indices, slots, rule.order)
    if slots < indices.size - 1 or not within_limits(tables, indices):
        return None
    if not pooled_fit(tables, indices[None], slots)[0]:
        return None
    reach = harmless_homes(tables, indices, slots, rule.back)
    return schedule_within_reach(tables, indices, slots, reach, rng)


def assumed_residence(tables: Tables, periodic: Schedule, chunks: int, rule: HomeRule) -> Residence | None:
    """Where KV is taken to live in the neighbours of a plan before they have homes; None: at home.

    Parameters
    ----------
    tables : Tables
    periodic : Schedule
    chunks : int
        Of the neighbours.
    rule : HomeRule
    """
    if isinstance(rule, WithinReach):
        return Residence.within(tables.stages, chunks, rule.back)
    if chunks != periodic.plan.chunks:
        return None
    return Residence.of(tables, periodic.plan.grid_indices(tables), periodic.plan.remote_pages(tables))


def varied(tables: Tables, rule: HomeRule, rng: np.random.Generator) -> HomeRule:
    """The rule or, now and then, one like it.

    Parameters
    ----------
    tables : Tables
    rule : HomeRule
    rng : numpy.random.Generator
    """
    draw = rng.random()
    if isinstance(rule, WithinReach):
        return WithinReach(max(0, rule.back + int(rng.integers(-1, 2)))) if draw < 0.1 else rule
    if draw < 0.1:
        orders = home_orders(tables)
        return InOrder(orders[int(rng.integers(len(orders)))])
    if draw < 0.4:
        order = rule.order.copy()
        order[int(rng.integers(tables.stages))] = rng.permutation(tables.memories)
        return InOrder(order)
    return rule


def harmless_homes(tables: Tables, indices: IntArray, slots: int, back: int) -> npt.NDArray[np.bool_]:
    """Where KV may live without making any chunk wait longer than homes up to `back` stages before do.

    With these stages run at certain times.  Another home is admitted if at these times all has been freed
    that its chunk would have to wait for, and that others would have to wait for because of it.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices.
    slots : int
        W, at least the chunks.
    back : int

    Returns
    -------
    bool[stage, chunk, memory]
        Memories without a stage are within reach of all: what waits for them there, prices tell.
    """
    stages, chunks = tables.stages, indices.size - 1
    work, send = chunk_times(tables, indices)
    base = Residence.within(stages, chunks, back)
    starts = steady_starts(tables, work[None], send[None], base, slots)[..., 0]
    freed = starts[:, :, -1] + work[:, -1:]
    # A request in whose slots later ones run as well.
    request = starts.shape[1] - 1 - -(-stages // slots)
    stage = np.arange(stages)
    slot = request * slots + stage[:, None] + np.arange(chunks)
    last = (slot[..., None] - chunks - stage) // slots
    until = np.where(last < 0, 0, freed[stage, np.maximum(last, 0)])
    no_wait = until <= starts[:, request, :, None]
    # holds[i, k]: stage i may keep KV in memory k, as stage k waits for it no longer than it does anyway.
    holds = base.holds | no_wait.all(axis=1).T & (stage[:, None] < stage[None, :])
    waits = np.einsum("ijl,lk->ijk", ~no_wait, holds)
    reach: npt.NDArray[np.bool_] = holds[:, None, :] & ~waits
    reach[stage, :, stage] = True
    return np.pad(reach, ((0, 0), (0, 0), (0, len(tables.pools))), constant_values=True)
