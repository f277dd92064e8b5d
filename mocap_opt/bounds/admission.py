"""The most weight that can leave in time, on one or more pipelines (formulations/pipelines.md).

Requests that must do their work on a stage between x and y have no more of it than machines x (y - x).
Any multipliers of such rows bound the weight accepted; a linear program chooses them, whole numbers prove it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np
import numpy.typing as npt
from scipy import sparse

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.makespan import LeastTimes
from mocap_opt.bounds.pipelines import least_alone, spread, windows
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.schedule.requests import Request
from mocap_opt.solvers.highs import solve_lp
from mocap_opt.solvers.linear_program import LinearProgram
from mocap_opt.stopping import AskedToStop, never

MOST_ROUNDS = 60
"""Programs solved one after the other, each with the intervals that the one before overfills."""

NEW_ROWS = 24
"""Intervals added in a round, those overfilled most."""

FINENESS = 2**70
"""Multipliers are whole numbers over this."""

FLOATS = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Windows:
    """Where requests must do their work on one stage if they are to leave in time.

    Attributes
    ----------
    start, end, work : int64[request], ticks
        No earlier, no later, and how much.
    """

    start: IntArray
    end: IntArray
    work: IntArray


@dataclass(frozen=True)
class Interval:
    """A row: what must be done on a stage between two times is no more than the machines can do.

    Attributes
    ----------
    stage : int
    first, last : int, ticks
    """

    stage: int
    first: int
    last: int

    @property
    def length(self) -> int:
        """Ticks."""
        return self.last - self.first


def rejected_weight_bounds(
    requests: Sequence[Request],
    needs: Sequence[LeastTimes],
    machines: int,
    asked_to_stop: AskedToStop = never,
) -> list[Bound]:
    """Bound the weight that is rejected or late in every execution.

    Parameters
    ----------
    requests : sequence of Request
        Each with a time by which it is due.
    needs : sequence of LeastTimes
        Of each.
    machines : int
        Pipelines.
    asked_to_stop : callable
        Once it says so, the multipliers so far count.

    Returns
    -------
    list of Bound
        ``ticks`` is the weight rejected at least.
    """
    total = sum(request.weight for request in requests)
    possible = [n for n, each in enumerate(needs) if _can_leave_in_time(requests[n], each)]
    alone = sum(requests[n].weight for n in possible)
    late = len(requests) - len(possible)
    note = f"{late} of {len(requests)} requests cannot leave in time even alone"
    found = [Bound("late_alone", total - alone, Scope.ANY_EXECUTION, Evidence.SEARCH, note)]
    if not possible:
        return found
    chosen = [requests[n] for n in possible]
    stages = [_windows(chosen, [needs[n] for n in possible], i) for i in range(requests[0].tables.stages)]
    weights = [request.weight for request in chosen]
    most, rows = most_accepted(stages, weights, machines, asked_to_stop)
    note = f"{rows} intervals"
    found.append(Bound("intervals", total - most, Scope.ANY_EXECUTION, Evidence.LP_DUAL, note))
    return found


def _can_leave_in_time(request: Request, needs: LeastTimes) -> bool:
    assert request.due is not None
    return request.release + least_alone(needs) <= request.due


def _windows(requests: Sequence[Request], needs: Sequence[LeastTimes], stage: int) -> Windows:
    start, work, tail = windows(requests, needs, stage)
    due = np.array([request.due for request in requests], dtype=np.int64)
    return Windows(start, due - tail, work)


def most_accepted(
    stages: Sequence[Windows], weights: Sequence[int], machines: int, asked_to_stop: AskedToStop = never
) -> tuple[int, int]:
    """Bound the weight of requests that can all leave in time.

    Parameters
    ----------
    stages : sequence of Windows
    weights : sequence of int
    machines : int
    asked_to_stop : callable

    Returns
    -------
    int
        No set of requests of more weight can.
    int
        Intervals with a multiplier in the best proof.
    """
    rows: dict[Interval, None] = {}
    best, used = sum(weights), 0
    accepted: FLOATS = np.ones(len(weights))
    for _ in range(MOST_ROUNDS):
        added = [row for row in _overfilled(stages, accepted, machines) if row not in rows]
        if not added or asked_to_stop():
            break
        rows |= dict.fromkeys(added)
        found = _relaxation(stages, weights, machines, list(rows), asked_to_stop)
        if found is None:
            break
        accepted, prices = found
        multipliers = {row: int(p * FINENESS) for row, p in zip(rows, prices.tolist(), strict=True) if p > 0}
        value = proved(stages, weights, machines, multipliers)
        if value < best:
            best, used = value, len(multipliers)
        rows = {row: None for row, p in zip(rows, prices.tolist(), strict=True) if p > 0 or row in added}
    return best, used


def proved(
    stages: Sequence[Windows], weights: Sequence[int], machines: int, multipliers: dict[Interval, int]
) -> int:
    """Bound the weight accepted by multipliers, any at all, in whole numbers.

    sum of weights y <= sum of multipliers x machines x length + sum of max(0, weight - priced work), rounded
    down to what weights can add up to.

    Parameters
    ----------
    stages : sequence of Windows
    weights : sequence of int
    machines : int
    multipliers : dict of int
        By interval, over `FINENESS`; none negative.
    """
    total = sum(price * machines * row.length for row, price in multipliers.items())
    left = [weight * FINENESS for weight in weights]
    for row, price in multipliers.items():
        inside = _inside(stages[row.stage], row)
        for n in np.flatnonzero(inside).tolist():
            left[n] -= price * int(stages[row.stage].work[n])
    total += sum(each for each in left if each > 0)
    step = gcd(*weights)
    return int(total // FINENESS) // step * step


def _inside(stage: Windows, row: Interval) -> npt.NDArray[np.bool_]:
    return np.asarray((stage.start >= row.first) & (stage.end <= row.last))


def _overfilled(stages: Sequence[Windows], accepted: FLOATS, machines: int) -> Iterable[Interval]:
    """Intervals with more work in them than the machines can do, those overfilled most first."""
    found: list[tuple[float, Interval]] = []
    for i, stage in enumerate(stages):
        order = np.argsort(stage.end, kind="stable")
        start, end = stage.start[order], stage.end[order]
        load = (stage.work * accepted)[order]
        for x in spread(start).tolist():
            room = (end - x) * float(machines)
            total = np.cumsum(np.where(start >= x, load, 0.0))
            excess = np.where(room > 0, total / np.maximum(room, 1.0), 0.0)
            at = int(np.argmax(excess))
            if excess[at] > 1 + 1e-7:
                found.append((float(excess[at]), Interval(i, x, int(end[at]))))
    found.sort(key=lambda each: -each[0])
    return [row for _, row in found[:NEW_ROWS]]


def _relaxation(
    stages: Sequence[Windows],
    weights: Sequence[int],
    machines: int,
    rows: Sequence[Interval],
    asked_to_stop: AskedToStop,
) -> tuple[FLOATS, FLOATS] | None:
    """Parts of requests that fill the intervals best, and what a tick of each interval is worth."""
    scale = 1.0 / np.array([row.length * machines for row in rows], dtype=np.float64)
    parts = []
    for row, by in zip(rows, scale.tolist(), strict=True):
        stage = stages[row.stage]
        parts.append(np.where(_inside(stage, row), stage.work * by, 0.0))
    count = len(weights)
    program = LinearProgram(
        cost=-np.array(weights, dtype=np.float64),
        column_lower=np.zeros(count),
        column_upper=np.ones(count),
        integer=np.zeros(count, dtype=np.bool_),
        matrix=sparse.csr_array(np.array(parts)),
        row_lower=np.full(len(rows), -np.inf),
        row_upper=np.ones(len(rows)),
    )
    result = solve_lp(program, asked_to_stop=asked_to_stop)
    if result.primal is None or result.row_duals is None:
        return None
    return result.primal, np.maximum(-result.row_duals, 0.0) * scale
