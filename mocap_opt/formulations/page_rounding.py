"""Whole pages by way of fluid ones: a linear program, then integers next to its solution."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import numpy as np

from mocap_opt.solvers.highs import HighsResult, solve_lp, solve_mip
from mocap_opt.solvers.highs_listener import OnSolution
from mocap_opt.solvers.linear_program import FloatArray, LinearProgram
from mocap_opt.solvers.outcome import Callback, Progress, SolveOutcome, Status, StopReason, relative_gap

NEARLY_WHOLE = 1e-6
"""A value of the linear program this close to an integer is taken for it."""

SHARE_OF_TIME = 0.5
"""Part of the time left after the linear program that the search next to its solution may take."""


def solve_by_rounding(
    program: LinearProgram,
    *,
    start: FloatArray | None = None,
    time_limit_s: float | None = None,
    gap: float = 0.0,
    seed: int = 0,
    threads: int = 1,
    node_limit: int | None = None,
    callback: Callback | None = None,
    on_solution: OnSolution | None = None,
) -> HighsResult:
    """Minimise a mixed-integer program whose relaxation is nearly whole.

    First the relaxation is solved: its optimum is a bound.  Then every integer variable is
    confined to the two integers around its value there (one, where it is whole).  Only if the best
    of these points is further than `gap` from the bound is the whole program searched.

    Parameters and errors are those of `mocap_opt.solvers.highs.solve_mip`; each of the two searches
    may take as many nodes as the limit allows.
    """
    began = time.perf_counter()

    def left(share: float = 1.0) -> float | None:
        return None if time_limit_s is None else max(0.0, time_limit_s - time.perf_counter() + began) * share

    def asked_to_stop() -> bool:
        return callback is not None and callback(Progress(time.perf_counter() - began, None, None))

    search = partial(
        solve_mip,
        gap=gap,
        seed=seed,
        threads=threads,
        node_limit=node_limit,
        callback=callback,
        on_solution=on_solution,
    )
    relaxed = solve_lp(program, time_limit_s=left(), seed=seed, threads=threads, asked_to_stop=asked_to_stop)
    near: HighsResult | None = None
    if relaxed.primal is not None:
        fixed = _next_to(program, relaxed.primal)
        near = search(fixed, time_limit_s=left(SHARE_OF_TIME))
        bound = relaxed.objective
        if near.values is not None and _closed(near.outcome.objective, bound, gap):
            exact = near.outcome.objective == bound
            outcome = replace(
                near.outcome,
                status=Status.OPTIMAL if exact else Status.FEASIBLE,
                stop=StopReason.OPTIMAL if exact else StopReason.GAP_REACHED,
                bound=bound,
                start_accepted=None,
                solve_s=time.perf_counter() - began,
                time_limit_s=time_limit_s,
            )
            return HighsResult(outcome, near.values)
    points = [p for p in (start, None if near is None else near.values) if p is not None]
    best = min(points, key=program.objective, default=None)
    result = search(program, start=best, time_limit_s=left())
    return HighsResult(_with_bound(result.outcome, relaxed.objective, began, time_limit_s), result.values)


def _next_to(program: LinearProgram, values: FloatArray) -> LinearProgram:
    """Confine the integer columns to the integers around their values."""
    low = np.where(program.integer, np.floor(values + NEARLY_WHOLE), program.column_lower)
    high = np.where(program.integer, np.ceil(values - NEARLY_WHOLE), program.column_upper)
    return replace(
        program,
        column_lower=np.maximum(low, program.column_lower),
        column_upper=np.minimum(high, program.column_upper),
    )


def _closed(objective: float | None, bound: float | None, gap: float) -> bool:
    found = relative_gap(objective, bound)
    return found is not None and found <= max(gap, 1e-9)


def _with_bound(
    outcome: SolveOutcome, bound: float | None, began: float, time_limit_s: float | None
) -> SolveOutcome:
    """Add the relaxation's bound where it is the better one, and the time of all steps."""
    known = [b for b in (outcome.bound, bound) if b is not None]
    best = max(known, default=None) if outcome.status is not Status.INFEASIBLE else None
    if best is not None and outcome.objective is not None:
        best = min(best, outcome.objective)
    return replace(outcome, bound=best, solve_s=time.perf_counter() - began, time_limit_s=time_limit_s)
