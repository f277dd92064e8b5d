"""Homes of the KV cache for given boundaries, least sum of slot times.

Mathematics: ``formulations/kv_placement.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Unpack

import numpy as np
import pyomo.environ as pyo

from mocap_opt.arrays import IntArray
from mocap_opt.formulations.home_families import (
    EXCHANGE_FAMILIES,
    HOME_FAMILIES,
    START_FAMILIES,
    WORK_FAMILIES,
    declare_homes_and_times,
    possible_homes,
)
from mocap_opt.formulations.page_rounding import solve_by_rounding
from mocap_opt.formulations.presolve import fits_at_home, prefix_units, room_units
from mocap_opt.formulations.pyomo_solution import check_start, lockstep_timing, no_plan, run_program
from mocap_opt.formulations.rows import Family, ModelData, Owner, Terms, TimeUnit, add_families
from mocap_opt.formulations.slot_times import message_times
from mocap_opt.schedule.plan import Plan
from mocap_opt.solvers.limits import Limits, ProgramOptions
from mocap_opt.solvers.outcome import ProgramResult
from mocap_opt.solvers.pyomo_form import without_collection
from mocap_opt.tables.cost_tables import Tables

FAMILIES: tuple[Family, ...] = (*HOME_FAMILIES, *WORK_FAMILIES, *EXCHANGE_FAMILIES, *START_FAMILIES)

DEFAULTS: ProgramOptions = {"time_limit_s": 10.0, "gap": 1e-4}
"""Limits of a search for homes."""


@dataclass(frozen=True, eq=False)
class FixedChunks:
    """Given boundaries (`rows.Chunks`): every expression is a number.

    Attributes
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Boundaries as grid indices, strictly increasing.
    """

    tables: Tables
    indices: IntArray

    @property
    def count(self) -> int:
        """Number of chunks."""
        return self.indices.size - 1

    @cached_property
    def times(self) -> IntArray:
        """Tau, int64[stage, chunk], ticks."""
        stages = np.arange(self.tables.stages)[:, None]
        return self.tables.tau(stages, self.indices[:-1], self.indices[1:])

    @cached_property
    def message_times(self) -> IntArray:
        """Times of messages on their own, int64[stage, chunk], ticks."""
        stages = np.arange(self.tables.stages)[:, None]
        return message_times(self.tables, stages, self.indices[:-1], self.indices[1:])

    def values(self, boundaries: Sequence[int]) -> Iterator[tuple[Any, float]]:
        """Nothing is decided.

        Raises
        ------
        ValueError
            If these are other boundaries.
        """
        if list(boundaries) != self.boundaries():
            raise ValueError(f"boundaries {list(boundaries)} are not those given, {self.boundaries()}")
        return iter(())

    def boundaries(self) -> list[int]:
        """Grid indices p_0 .. p_M."""
        return [int(g) for g in self.indices]

    def pages(self, boundary: int) -> Terms:
        """Pages of the tokens before a boundary."""
        return Terms(self.most_pages(boundary))

    def kept_pages(self, owner: Owner, boundary: int) -> Terms:
        """`pages`: every stage keeps all of its KV.

        Parameters
        ----------
        owner : Owner
        boundary : int
        """
        return self.pages(boundary)

    def tokens(self, chunk: int) -> Terms:
        """Length of a chunk, tokens."""
        start, end = self.tables.grid[self.indices[chunk : chunk + 2]]
        return Terms(int(end - start))

    def rider_bytes(self, chunk: int) -> Terms:
        """Bytes that tokens decoded with a chunk add to its messages."""
        added, (start, end) = self.tables.rider_bytes, self.indices[chunk : chunk + 2]
        return Terms(0 if added is None else int(added[int(end == self.tables.steps), end - start]))

    def used(self, chunk: int) -> Terms:
        """1: no chunk is empty."""
        return Terms(1)

    def duration(self, stage: int, chunk: int) -> Terms:
        """Time of a chunk on a stage, in ticks.

        Parameters
        ----------
        stage, chunk : int
        """
        return Terms(int(self.times[stage, chunk]))

    def message(self, stage: int, chunk: int) -> Terms:
        """Time of a chunk's activations on their own after a stage, in ticks.

        Parameters
        ----------
        stage, chunk : int
        """
        return Terms(int(self.message_times[stage, chunk]))

    def available(self, chunk: int) -> Terms:
        """When the tokens up to a chunk's end exist, in ticks."""
        exist = self.tables.available
        return Terms(0 if exist is None else int(exist[self.indices[chunk + 1]]))

    def own_traffic(self, memory: int, chunk: int) -> Terms:
        """Bytes that a chunk moves through its own stage's memory port.

        Parameters
        ----------
        memory, chunk : int
        """
        return Terms(int(self.tables.own_traffic[memory, self.indices[chunk + 1]]))

    def most_pages(self, boundary: int) -> int:
        """Pages of the tokens before a boundary."""
        return int(self.tables.pages[self.indices[boundary]])

    def least_work(self, running: Sequence[tuple[int, int]]) -> int:
        """Ticks that work lasts at least: that of the slowest of these chunks (stage, position)."""
        return max(int(self.times[i, j]) for i, j in running)

    def room(self, memory: int) -> Terms:
        """Multiples of the page unit free in a memory next to the reserve, which is known."""
        longest = int(np.diff(self.tables.grid[self.indices]).max())
        return Terms(room_units(self.tables, memory, longest))

    def prefix(self, stage: int, chunk: int) -> Terms:
        """Multiples of the page unit that the cached prefix takes.

        Parameters
        ----------
        stage, chunk : int
        """
        return Terms(prefix_units(self.tables, stage))


@without_collection
def build(tables: Tables, indices: IntArray, *, without: Iterable[str] = ()) -> pyo.ConcreteModel:
    """Build the model.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Boundaries as grid indices: 0 first, G last, strictly increasing.
    without : iterable of str
        Families to leave out, to see what they are good for.
    """
    model = pyo.ConcreteModel("kv_placement")
    chunks = FixedChunks(tables, np.asarray(indices, dtype=np.int64))
    latest = chunks.available(chunks.count - 1).constant
    time_unit = TimeUnit.for_horizon(int(chunks.times.sum() + chunks.message_times.sum()) + latest)
    homes = possible_homes(tables)
    longest = int(np.diff(tables.grid[chunks.indices]).max())
    if fits_at_home(tables, longest):
        homes = ((),) * tables.stages
    declare_homes_and_times(model, ModelData(tables, time_unit, chunks, homes, lockstep_timing()))
    add_families(model, FAMILIES, without)
    return model


def solve_kv_placement(
    tables: Tables,
    indices: IntArray,
    *,
    start: Plan | None = None,
    **options: Unpack[ProgramOptions],
) -> ProgramResult:
    """Find homes of least lockstep latency for given boundaries with HiGHS.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Boundaries as grid indices: 0 first, G last, strictly increasing.
    start : Plan, optional
        A feasible plan with these boundaries; the result is never worse.
    **options
        `mocap_opt.solvers.limits.ProgramOptions`; `DEFAULTS` unless said otherwise.

    Returns
    -------
    ProgramResult
        Objective and bound are whole ticks; the bound holds for plans with these boundaries only,
        so it must never enter a gap of the joint problem.

    Raises
    ------
    ValueError
        If the boundaries are not from 0 to G and increasing, or the start is not feasible or has
        others.
    SolverUnavailableError
        If HiGHS cannot be loaded.
    """
    marks = np.asarray(indices, dtype=np.int64)
    if marks.size < 2 or marks[0] != 0 or marks[-1] != tables.steps or bool((np.diff(marks) <= 0).any()):
        raise ValueError(f"indices: expected 0 .. {tables.steps}, increasing, got {marks.tolist()}")
    chosen: ProgramOptions = {**DEFAULTS, **options}
    limits = Limits(**chosen)
    check_start(tables, start)
    if not tables.chunk_allowed(marks[:-1], marks[1:]).all() or marks.size - 1 not in tables.counts:
        return no_plan(limits, "the number or the lengths of the chunks break the limits")
    return run_program(build(tables, marks), tables, start, limits, solve=solve_by_rounding)
