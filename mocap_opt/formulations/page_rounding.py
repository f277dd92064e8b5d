"""Whole pages from fractional ones: a linear program, then the integers next to its solution."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Unpack

import numpy as np

from mocap_opt.solvers.highs import HighsResult, LpResult, solve_lp, solve_mip
from mocap_opt.solvers.highs_listener import OnSolution
from mocap_opt.solvers.limits import Limits, SolverOptions
from mocap_opt.solvers.linear_program import FloatArray, LinearProgram
from mocap_opt.solvers.outcome import (
    RELATIVE_TOLERANCE,
    Progress,
    SolveOutcome,
    Status,
    StopReason,
    relative_gap,
)
from mocap_opt.solvers.safe_dual import CERTIFIED_BY, certified_bound
from mocap_opt.solvers.second_reading import feasible

NEARLY_WHOLE = 1e-6
"""A value of the linear program this close to an integer is taken for it."""

SHARE_OF_TIME = 0.5
"""Part of the time left after the linear program that the search next to its solution may take."""


def solve_by_rounding(
    program: LinearProgram,
    *,
    start: FloatArray | None = None,
    node_limit: int | None = None,
    on_solution: OnSolution | None = None,
    **options: Unpack[SolverOptions],
) -> HighsResult:
    """Minimise a mixed-integer program whose relaxation is nearly whole.

    First the relaxation is solved: its optimum is a bound, proved again from the duals in exact arithmetic.
    Then every integer variable is confined to the two integers around its value there (one, where it is
    whole).  Only if the best of these points is further than the gap asked for from the bound is the whole
    program searched.

    Parameters
    ----------
    program, start, on_solution, **options
        As for `mocap_opt.solvers.highs.solve_mip`, and so are the errors.
    node_limit : int, optional
        Most nodes of each of the two searches.
    """
    limits = Limits(**options)
    deadline = limits.deadline

    def asked_to_stop() -> bool:
        return limits.callback is not None and limits.callback(Progress(deadline.elapsed_s, None, None))

    search = partial(
        solve_mip,
        gap=limits.gap,
        seed=limits.seed,
        threads=limits.threads,
        node_limit=node_limit,
        callback=limits.callback,
        on_solution=on_solution,
    )
    relaxed = solve_lp(
        program,
        time_limit_s=deadline.limit_s,
        seed=limits.seed,
        threads=limits.threads,
        asked_to_stop=asked_to_stop,
    )
    near: HighsResult | None = None
    bound: float | None = None
    if relaxed.primal is not None:
        near = search(
            _next_to(program, relaxed.primal),
            time_limit_s=deadline.share(SHARE_OF_TIME).limit_s,
            confirm=False,
        )
        bound = _certified(program, relaxed, None if near.values is None else near.outcome.objective)
        if near.values is not None and _closed(near.outcome.objective, bound, limits.gap):
            exact = _closed(near.outcome.objective, bound, 0.0)
            outcome = replace(
                near.outcome,
                status=Status.OPTIMAL if exact else Status.FEASIBLE,
                stop=StopReason.OPTIMAL if exact else StopReason.GAP_REACHED,
                bound=bound,
                start_accepted=None,
                solve_s=deadline.elapsed_s,
                time_limit_s=limits.time_limit_s,
                confirmed_by=CERTIFIED_BY,
            )
            return HighsResult(outcome, near.values)
    points = [p for p in (start, None if near is None else near.values) if p is not None]
    points = [p for p in points if feasible(program, p)]
    best = min(points, key=program.objective, default=None)
    result = search(program, start=best, time_limit_s=deadline.limit_s)
    outcome = replace(
        _with_bound(result.outcome, bound), solve_s=deadline.elapsed_s, time_limit_s=limits.time_limit_s
    )
    return HighsResult(outcome, result.values)


def _certified(program: LinearProgram, relaxed: LpResult, known: float | None) -> float | None:
    """The relaxation's optimum as a bound that needs no trust in the solver; at most a known objective."""
    if relaxed.row_duals is None or relaxed.objective is None:
        return None
    below = 2 * abs(relaxed.objective) + 1 if known is None else known
    proved = certified_bound(program, relaxed.row_duals, below)
    if proved is None:
        return None
    rounded = float(proved)
    return rounded if rounded <= proved else float(np.nextafter(rounded, -np.inf))


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
    return found is not None and found <= max(gap, RELATIVE_TOLERANCE)


def _with_bound(outcome: SolveOutcome, bound: float | None) -> SolveOutcome:
    """Add the relaxation's bound where it is the better one."""
    if bound is None or outcome.status is Status.INFEASIBLE or (outcome.bound or -np.inf) >= bound:
        return outcome
    if outcome.objective is not None:
        bound = min(bound, outcome.objective)
    return replace(outcome, bound=bound, confirmed_by=CERTIFIED_BY)
