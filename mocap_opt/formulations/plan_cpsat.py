"""Boundaries, homes and memory rows as exact integer rows: what the CP-SAT programs share.

Boundaries are grid indices and homes are cumulative, ``H[i, j, k]`` = pages of stage i's first j
chunks that live in memory k: then a slot's use of a memory, a chunk's reads and its writes are all
short rows.  H on a stage's own memory is not a variable, it is what the others leave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import gcd
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from mocap_opt.formulations.presolve import local_homes_always_fit, may_hold_kv
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import running
from mocap_opt.solvers.integer_program import Affine, IntegerProgram, total
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.reserve import plain_reserve

SURE = Affine({}, 1)
"""Whether a chunk that no plan leaves empty is used."""

Windows = Sequence[tuple[int, int]]
"""Least and largest grid index of every boundary, M + 1 of them."""


@dataclass
class PlanVariables:
    """The decisions of a plan with up to `chunks` chunks, empty ones in front.

    Attributes
    ----------
    program : IntegerProgram
    tables : Tables
    chunks : int
        M, the most chunks of any plan.
    place_homes : bool
        False leaves homes out, and with them the rows of single memories.
    windows : sequence of (int, int) or None
        Least and largest grid index of each of the M + 1 boundaries, where less than all is wanted.
    interval : int or None
        W, if requests come again without end; slots are then those of an interval.
    boundary : list of Affine
        p_j, grid indices, M + 1 of them.
    used : list of Affine
        1 if chunk j is not empty.
    steps : list of Affine
        p_{j+1} - p_j.
    homes : dict of (int, int, int) to Affine
        H[i, j, k] for k != i and 1 <= j <= M; missing entries are 0.
    queue : Affine or None
        Tokens held in queues, once `held_tokens` has been called.
    reserves : list of Affine
        Bytes of the reserve of every memory, once `reserves` has been called.
    """

    program: IntegerProgram
    tables: Tables
    chunks: int
    place_homes: bool = True
    windows: Windows | None = None
    interval: int | None = None
    boundary: list[Affine] = field(default_factory=list)
    used: list[Affine] = field(default_factory=list)
    steps: list[Affine] = field(default_factory=list)
    homes: dict[tuple[int, int, int], Affine] = field(default_factory=dict)
    queue: Affine | None = None
    reserves: list[Affine] = field(default_factory=list)
    _rider_bytes: dict[int, Affine] = field(default_factory=dict)

    @property
    def slots(self) -> int:
        """Number of slots, W or M + N - 1."""
        return self.interval or self.chunks + self.tables.stages - 1

    @property
    def endless(self) -> bool:
        """Whether requests come again without end."""
        return self.interval is not None

    def running(self, slot: int) -> list[tuple[int, int]]:
        """``(stage, chunk)`` pairs of a slot."""
        return running(self.tables.stages, self.chunks, self.slots, slot)

    def tokens(self, chunk: int) -> Affine:
        """Length of a chunk, tokens; only the last chunk ends at the last grid point."""
        if chunk < self.chunks - 1:
            return self.tables.quantum * self.steps[chunk]
        return self.tables.tokens - self.tables.quantum * self.boundary[chunk]

    def rider_bytes(self, chunk: int) -> Affine:
        """Bytes that tokens decoded with a chunk add to its messages; 0 if it is empty."""
        if self.tables.rider_bytes is None:
            return Affine()
        if chunk not in self._rider_bytes:
            added = self.tables.rider_bytes[int(chunk == self.chunks - 1)].tolist()
            name = f"rider_bytes[{chunk}]"
            self._rider_bytes[chunk] = self.program.entry(name, self.steps[chunk], added, self.used[chunk])
        return self._rider_bytes[chunk]

    def pages(self, boundary: int) -> Affine:
        """Pages of the tokens before a boundary."""
        if boundary == self.chunks:
            return Affine({}, int(self.tables.pages[-1]))
        return (self.tables.quantum // self.tables.page) * self.boundary[boundary]

    def held(self, stage: int, boundary: int, memory: int) -> Affine:
        """H: pages of a stage's KV before a boundary that live in a memory.

        Parameters
        ----------
        stage, boundary, memory : int
        """
        if memory != stage:
            return self.homes.get((stage, boundary, memory), Affine())
        others = [(-1, self.held(stage, boundary, k)) for k in range(self.tables.memories) if k != stage]
        return total([(1, self.pages(boundary)), *others])

    def written(self, stage: int, chunk: int, memory: int) -> Affine:
        """v: pages of one chunk that live in a memory.

        Parameters
        ----------
        stage, chunk, memory : int
        """
        return self.held(stage, chunk + 1, memory) - self.held(stage, chunk, memory)


Variables = TypeVar("Variables", bound=PlanVariables)

Family = tuple[str, Callable[[Variables], None]]
"""Name of a family and the function that adds its variables and rows."""


def build_program(plan: Variables, families: Iterable[Family[Variables]]) -> Variables:
    """Add families to a plan's empty program, in order; return it.

    Parameters
    ----------
    plan : PlanVariables
        With an empty program.
    families : iterable of (str, callable)
    """
    for _, add in families:
        add(plan)
    return plan


def boundaries(plan: PlanVariables) -> None:
    """Grid indices from 0 to G, in order, with every chunk's length within the limits."""
    program, m = plan.program, plan.chunks
    exact = plan.tables.exact_chunks
    inner, final = (_limits(plan.tables.length_allowed[tail]) for tail in (0, 1))
    ranges = _ranges(plan, inner, final)
    if any(first > last for first, last in ranges):
        program.require("boundaries", Affine({}, -1))
        ranges = [(0, 0)] * m + [(plan.tables.steps, plan.tables.steps)]
    for j, (first, last) in enumerate(ranges):
        plan.boundary.append(program.decision(f"boundary[{j}]", first, last))
    for j in range(m):
        first, last = program.bounds(plan.boundary[j + 1])
        used = program.decision(f"used[{j}]", int(exact or first > 0), int(exact or last > 0))
        width = plan.boundary[j + 1] - plan.boundary[j]
        low, high = inner if j < m - 1 else final
        plan.used.append(used)
        plan.steps.append(program.sum(f"steps[{j}]", width, low if used == SURE else 0, high if last else 0))
        if used.terms:
            program.require(f"boundaries[{j}]", plan.steps[j] - low * used)
            program.require(f"boundaries[{j}]", high * used - plan.steps[j])


def _ranges(plan: PlanVariables, inner: tuple[int, int], final: tuple[int, int]) -> list[tuple[int, int]]:
    """Least and largest grid index of every boundary; the least is above where there is none."""
    steps, m, exact = plan.tables.steps, plan.chunks, plan.tables.exact_chunks
    ranges = []
    for j in range(m + 1):
        after = m - 1 - j
        first = max(j * inner[0] if exact else 0, steps - final[1] - after * inner[1])
        last = min(j * inner[1], steps - final[0] - after * inner[0])
        if j in (0, m):
            first = last = 0 if j == 0 else steps
        elif not exact:
            last = max(last, 0)
        if plan.windows is not None:
            first, last = max(first, plan.windows[j][0]), min(last, plan.windows[j][1])
        ranges.append((first, last))
    return ranges


def empty_chunks_lead(plan: PlanVariables) -> None:
    """A chunk is empty exactly if it ends at 0, so only leading ones are."""
    program = plan.program
    for j, used in enumerate(plan.used):
        if used.terms:
            end = plan.boundary[j + 1]
            program.require(f"empty_chunks_lead[{j}]", program.bounds(end)[1] * used - end)
            program.require(f"empty_chunks_lead[{j}]", plan.used[j + 1] - used)


def _limits(allowed: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """First and last length allowed, grid steps; (1, 0) if there is none."""
    lengths = np.flatnonzero(allowed)
    return (int(lengths[0]), int(lengths[-1])) if lengths.size else (1, 0)


def homes_stay(plan: PlanVariables) -> None:
    """Pages never leave their home, and every chunk's pages have one (H on the own memory is the rest)."""
    program, tables = plan.program, plan.tables
    if not plan.place_homes or local_homes_always_fit(tables, endless=plan.endless):
        return
    fits = may_hold_kv(tables, endless=plan.endless)
    for i in range(tables.stages):
        others = [k for k in range(tables.memories) if k != i and fits[i, k]]
        for j in range(1, plan.chunks + 1):
            most = program.bounds(plan.pages(j))[1]
            for k in others:
                plan.homes[i, j, k] = program.decision(f"held[{i},{j},{k}]", 0, most)
        for j in range(plan.chunks):
            for k in [i, *others]:
                program.require(f"homes_stay[{i},{j},{k}]", plan.written(i, j, k))


def held_tokens(plan: PlanVariables) -> Affine:
    """Tokens whose activations every stage's queues may hold: min(2 Q x the longest chunk, S).

    Without the cap of one request's tokens if requests come again without end.
    """
    tables, program = plan.tables, plan.program
    if plan.queue is not None:
        return plan.queue
    if tables.queue_depth is None or not tables.working_bytes.any():
        plan.queue = Affine({}, tables.tokens)
        return plan.queue
    longest = program.largest("longest", floor=-(-tables.tokens // plan.chunks))
    for j in range(plan.chunks):
        program.at_least(f"longest[{j}]", longest, plan.tokens(j))
    plan.queue = 2 * tables.queue_depth * longest
    if not plan.endless:
        plan.queue = program.least("held_tokens", [plan.queue, Affine({}, tables.tokens)])
    return plan.queue


def reserves(plan: PlanVariables) -> list[Affine]:
    """Bytes of the reserve of every memory: proportional to `held_tokens`, or read from a table.

    The table is by place of the longest chunk among lengths: 2 k for one of k whole steps, 2 k - 1 for one
    that ends with the last step, which may be shorter.
    """
    tables, program = plan.tables, plan.program
    if plan.reserves:
        return plan.reserves
    if plain_reserve(tables):
        each = zip(tables.staging.tolist(), tables.working_bytes.tolist(), strict=True)
        tokens = held_tokens(plan)
        plan.reserves = [staging + working * tokens for staging, working in each]
        return plan.reserves
    place = program.largest("longest_place", floor=2 * -(-tables.steps // plan.chunks) - 1)
    for j in range(plan.chunks):
        last = int(j == plan.chunks - 1)
        program.at_least(f"longest_place[{j}]", place, 2 * plan.steps[j] - last)
    lengths = np.zeros(2 * tables.steps + 1, dtype=np.int64)
    lengths[2::2], lengths[1::2] = tables.lengths[:, 1:]
    table = np.array([tables.reserve(int(length), endless=plan.endless) for length in lengths])
    plan.reserves = [
        program.entry(f"reserve[{k}]", place, table[:, k].tolist()) for k in range(tables.memories)
    ]
    return plan.reserves


def memory_has_room(plan: PlanVariables) -> None:
    """Static bytes, reserve, prefix and KV fit in every memory in every slot."""
    tables, program = plan.tables, plan.program
    if not plan.place_homes or local_homes_always_fit(tables, endless=plan.endless):
        return
    taken, room = reserves(plan), tables.free_memory(np.zeros_like(tables.staging)).tolist()
    for t in range(plan.slots):
        alive = plan.running(t)
        for k in range(tables.memories):
            row: list[tuple[int, Affine | int]] = [(1, room[k]), (-1, taken[k])]
            row += [(-int(tables.prefix_bytes[k]), plan.used[j]) for i, j in alive if i == k]
            row += [(-int(tables.page_bytes[i]), plan.held(i, j + 1, k)) for i, j in alive]
            program.require(f"memory_has_room[{k},{t}]", total(row))


def pooled_memory_has_room(plan: PlanVariables) -> None:
    """All memories together, each with whole pages only: implied by `memory_has_room`, but free of homes.

    Every memory's room is rounded down to a multiple of the greatest common divisor of the page
    sizes, because all KV in it comes in such multiples.
    """
    tables, program = plan.tables, plan.program
    if local_homes_always_fit(tables, endless=plan.endless):
        return
    least = np.array([program.bounds(taken)[0] for taken in reserves(plan)], dtype=np.int64)
    room = tables.free_memory(least)
    unit = gcd(*tables.page_bytes.tolist(), *tables.prefix_bytes.tolist())
    whole = int(np.sum(room // unit * unit)) if unit else int(np.sum(room))
    for t in range(plan.slots):
        alive = plan.running(t)
        cache = [(-int(tables.page_bytes[i]), plan.pages(j + 1)) for i, j in alive]
        prefix = [(-int(tables.prefix_bytes[i]), plan.used[j]) for i, j in alive]
        program.require(f"pooled_memory_has_room[{t}]", total([(1, whole), *cache, *prefix]))


def decisions(plan: PlanVariables, given: Plan) -> dict[int, int]:
    """Values of the decision variables for a plan, by variable.

    Parameters
    ----------
    plan : PlanVariables
        After its families have been added.
    given : Plan

    Raises
    ------
    ValueError
        If the plan has more chunks than the program, or is not on the grid.
    """
    empty = plan.chunks - given.chunks
    if empty < 0:
        raise ValueError(f"a plan of {given.chunks} chunks for a program of {plan.chunks}")
    marks = [0] * empty + given.grid_indices(plan.tables).tolist()
    held = np.cumsum(given.all_pages(plan.tables), axis=1)
    pairs: list[tuple[Affine, int]] = list(zip(plan.boundary, marks, strict=True))
    pairs += [(used, j >= empty) for j, used in enumerate(plan.used)]
    for (i, j, k), pages in plan.homes.items():
        pairs.append((pages, held[i, j - empty - 1, k] if j > empty else 0))
    # A constant has no variable.
    return {variable: int(value) for expression, value in pairs for variable in expression.terms}


def read_plan(plan: PlanVariables, values: Sequence[int]) -> Plan:
    """Build the plan that the variables' values describe.

    Parameters
    ----------
    plan : PlanVariables
    values : sequence of int
        Of all variables, by index.
    """
    tables, m = plan.tables, plan.chunks
    held = np.zeros((tables.stages, m + 1, tables.memories), dtype=np.int64)
    for (i, j, k), expression in plan.homes.items():
        held[i, j, k] = expression.value(values)
    marks = [expression.value(values) for expression in plan.boundary]
    return Plan.from_arrays(tables, marks, np.diff(held, axis=1))
