"""How local search judges boundaries: by the contention-free recursion, or by the slots of lockstep.

Either judge screens many boundaries at once by what they cost without KV traffic, which no homes can beat,
and prices single boundaries with homes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.recursion import unqueued_ends
from mocap_opt.replay.contention_free_makespan import contention_free_makespan
from mocap_opt.replay.evaluation import Execution
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.search.boundary_moves import BoundaryMoves
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True)
class Judge:
    """Prices of boundaries.

    Attributes
    ----------
    screen : callable
        Takes `BoundaryMoves`; returns int64[move], ticks: no more than `price` with any homes.
    price : callable
        Takes grid indices of boundaries and int64[stage, chunk, memory], pages away from their stage; returns
        ticks.
    rows : int
        Rows of times that `screen` prices for every chunk.
    """

    screen: Callable[[BoundaryMoves], IntArray]
    price: Callable[[IntArray, IntArray], int]
    rows: int

    def of(self, tables: Tables, plan: Plan) -> int:
        """Price of a plan, ticks.

        Parameters
        ----------
        tables : Tables
        plan : Plan
            Boundaries on the grid.
        """
        return self.price(plan.grid_indices(tables), plan.remote_pages(tables))


def judge_for(tables: Tables, execution: Execution | None) -> Judge:
    """The judge for the latency that counts: of lockstep its exact price, otherwise the recursion.

    Parameters
    ----------
    tables : Tables
    execution : Execution or None
        None: the smaller of both, for which the recursion is the guide.
    """
    return lockstep_judge(tables) if execution is Execution.LOCKSTEP else contention_free_judge(tables)


def contention_free_judge(tables: Tables) -> Judge:
    """Judge by `contention_free_makespan`, screened without KV traffic and with unbounded queues."""
    return Judge(partial(screen, tables), partial(contention_free_makespan, tables), tables.stages)


def screen(tables: Tables, moves: BoundaryMoves) -> IntArray:
    """Price boundaries by the recursion without KV traffic and with unbounded queues.

    Parameters
    ----------
    moves : BoundaryMoves

    Returns
    -------
    int64[move], ticks
        No more than `contention_free_makespan` of the same boundaries with any homes.
    """
    exist = None if tables.available is None else tables.available[moves.end][moves.which]
    *_, ends = unqueued_ends(_stage_by_stage(tables, moves), exist)
    priced: IntArray = ends[-1]
    return priced


def _stage_by_stage(tables: Tables, moves: BoundaryMoves) -> Iterator[tuple[IntArray, IntArray]]:
    for stage in range(tables.stages):
        work = tables.tau(stage, moves.start, moves.end)
        yield work[moves.which], tables.send_time(stage, moves.start, moves.end)[moves.which]


def lockstep_judge(tables: Tables) -> Judge:
    """Judge by the lockstep replay, screened by the rows of stages and sends alone (formulations/replay.md).

    A slot lasts as long as the longest of its chunks, and after it the longest of its sends.  Neighbouring
    stages with equal times have the same row one slot later each: together their longest over a sliding
    window, which takes as many steps as the logarithm of the window.
    """
    compute = [tables.phi, tables.full_block, tables.memory_side, tables.prefix_cost, tables.length_cost]
    compute += [] if tables.excess is None else [tables.excess]
    alike = _like_neighbours(tables.stages, compute)
    sends = _like_neighbours(tables.stages - 1, [tables.send])

    def _screened(moves: BoundaryMoves) -> IntArray:
        start, end, which = moves.start, moves.end, moves.which
        work = np.zeros((tables.stages + which.shape[0] - 1, moves.size), dtype=np.int64)
        exchange = np.zeros_like(work)
        for stage, count in alike:
            _raise_to(work[stage:], tables.tau(stage, start, end)[which], count)
        for stage, count in sends:
            _raise_to(exchange[stage:], tables.send_time(stage, start, end)[which], count)
        duration = work + exchange
        total: IntArray = duration.sum(axis=0)
        if tables.available is not None:
            # The last slot that has to wait for its tokens is the one that counts.
            left = total - np.cumsum(duration, axis=0) + duration
            late = tables.available[end][which] + left[: which.shape[0]]
            total = np.maximum(total, late.max(axis=0))
        return total

    def _priced(indices: IntArray, pages: IntArray) -> int:
        return replay_lockstep(tables, Plan.from_arrays(tables, indices, pages)).latency

    return Judge(_screened, _priced, len(alike) + len(sends))


def _like_neighbours(stages: int, parts: list[IntArray]) -> list[tuple[int, int]]:
    """Runs of neighbouring stages with equal rows in all tables, as (first stage, stages)."""
    runs: list[tuple[int, int]] = []
    for stage in range(stages):
        if runs and all(np.array_equal(part[stage], part[stage - 1]) for part in parts):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((stage, 1))
    return runs


def _raise_to(slots: IntArray, times: IntArray, count: int) -> None:
    """Raise slots, in place, to the largest of times that so many stages need, each a slot after the last.

    Parameters
    ----------
    slots : int64[slot, move], ticks
        From the slot on in which the first of the stages begins.
    times : int64[chunk, move], ticks
    count : int
        Stages.
    """
    chunks = times.shape[0]
    longest = np.zeros((chunks + count - 1, times.shape[1]), dtype=np.int64)
    longest[:chunks] = times
    width = 1
    while width < count:
        step = min(width, count - width)
        longest[step:] = np.maximum(longest[step:], longest[:-step])
        width += step
    covered = slots[: chunks + count - 1]
    np.maximum(covered, longest, out=covered)
