"""HiGHS: with `mocap_opt.solvers.highs_listener` all that talks to highspy.

Every return code is checked, every limit and tolerance is set explicitly, nothing is printed,
and a number is passed on only where HiGHS vouches for it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np

from mocap_opt.solvers.highs_listener import (
    HighsError,
    Listener,
    OnSolution,
    check,
    deferred_interrupt,
    load_highspy,
)
from mocap_opt.solvers.limits import Limits, SolverOptions
from mocap_opt.solvers.linear_program import FEASIBILITY_TOLERANCE, FloatArray, LinearProgram
from mocap_opt.solvers.outcome import Progress, SolveOutcome, Status, StopReason
from mocap_opt.solvers.second_reading import FIRST_READING, SECOND_READINGS, Reading, feasible, reconcile
from mocap_opt.stopping import AskedToStop, never

__all__ = ["HighsError", "HighsResult", "LpResult", "OnSolution", "load_highspy", "solve_lp", "solve_mip"]

ABSOLUTE_GAP = 1e-6
"""Absolute gap below which HiGHS calls a mixed-integer program optimal (its own default)."""

OTHER_THREADS = "global scheduler has already been initialized"
"""What HiGHS says where the process has run it with other threads."""


@dataclass(frozen=True, eq=False)
class HighsResult:
    """A run of HiGHS on a mixed-integer program.

    Attributes
    ----------
    outcome : SolveOutcome
        In the unit of the program's objective.
    values : float64[column] or None
        The best solution, integer columns rounded; None if there is none.
    """

    outcome: SolveOutcome
    values: FloatArray | None


@dataclass(frozen=True, eq=False)
class LpResult:
    """A run of HiGHS on a linear program.

    Attributes
    ----------
    status : Status
        OPTIMAL, INFEASIBLE or UNKNOWN; an LP that stopped early has no sound bound.
    stop : StopReason
    objective : float or None
        The optimum, only if optimal.
    primal, column_duals : float64[column] or None
    row_duals : float64[row] or None
        Duals with the sign HiGHS gives them in a minimisation: the change of the objective per
        unit of the row's active side.
    iterations : int
        Simplex iterations.
    solve_s : float
    """

    status: Status
    stop: StopReason
    objective: float | None
    primal: FloatArray | None
    column_duals: FloatArray | None
    row_duals: FloatArray | None
    iterations: int
    solve_s: float


def solve_mip(
    program: LinearProgram,
    *,
    start: FloatArray | None = None,
    node_limit: int | None = None,
    on_solution: OnSolution | None = None,
    confirm: bool = True,
    **options: Unpack[SolverOptions],
) -> HighsResult:
    """Minimise a mixed-integer linear program.

    HiGHS runs without presolve.  Where it then claims an optimum, a gap as small as asked for, or that
    there is no solution, a second run with presolve has to agree (`mocap_opt.solvers.second_reading`):
    otherwise the stop reason is ``unconfirmed`` and the status neither optimal nor infeasible.

    Parameters
    ----------
    program : LinearProgram
    start : float64[column], optional
        A feasible point; it is checked before HiGHS sees it.
    node_limit : int, optional
        Most nodes of the search tree; unlike a time limit it stops at the same point every time.
    on_solution : callable, optional
        Receives every better solution as HiGHS finds it, integer columns rounded; may stop the run
        likewise.
    confirm : bool
        False: no second run, for programs whose solutions alone are wanted; claims are then passed on
        as they are, with nothing in `SolveOutcome.confirmed_by`.
    **options
        `mocap_opt.solvers.limits.SolverOptions`.

    Raises
    ------
    ValueError
        If the start is incomplete or infeasible.
    HighsError
        If a call of HiGHS fails.
    SolverUnavailableError
        If highspy cannot be loaded.
    """
    limits = Limits(**options)
    if start is not None:
        worst, where = program.violation(start)
        if worst > FEASIBILITY_TOLERANCE:
            raise ValueError(f"the start violates {where} by {worst:g}")

    def rounded(values: FloatArray) -> bool:
        integers = np.where(program.integer, np.round(values), values)
        return on_solution is not None and on_solution(integers)

    listener = Listener(limits.callback, None if on_solution is None else rounded)
    reading = _read_mip(program, listener, limits, FIRST_READING, node_limit, start)
    accepted = None if start is None else _start_accepted(start, reading.values, listener.log)
    if confirm and reading.status is Status.OPTIMAL and not reading.ended:
        # Stopped just there: nobody has read it again.
        reading = replace(reading, status=Status.FEASIBLE)
    if confirm and reading.ended and reading.closes(limits.gap):
        reading = _read_again(program, reading, start, limits, node_limit)
    outcome = SolveOutcome(
        solver="highs",
        status=reading.status,
        stop=reading.stop,
        objective=reading.objective,
        bound=reading.bound,
        start_accepted=accepted,
        solve_s=limits.deadline.elapsed_s,
        time_limit_s=limits.time_limit_s,
        gap_limit=limits.gap,
        seed=limits.seed,
        threads=limits.threads or 1,
        nodes=reading.nodes,
        rows=program.rows,
        columns=program.columns,
        nonzeros=program.nonzeros,
        message=reading.message,
        confirmed_by=reading.confirmed_by,
    )
    return HighsResult(outcome, reading.values)


def _read_again(
    program: LinearProgram, claim: Reading, start: FloatArray | None, limits: Limits, node_limit: int | None
) -> Reading:
    """What remains of a claim that closes the program, after the second readings it takes."""
    known = claim.values if feasible(program, claim.values) else start

    def stop_early(progress: Progress) -> bool:
        # Without the bound: it is not confirmed yet, and nobody should stop because of it.
        news = Progress(limits.deadline.elapsed_s, claim.objective, None)
        return limits.callback is not None and limits.callback(news)

    reading = claim
    for number, (name, others) in enumerate(SECOND_READINGS, start=1):
        left = replace(
            limits, time_limit_s=limits.deadline.limit_s, seed=(limits.seed + number) % 2**31, callback=None
        )
        second = _read_mip(program, Listener(stop_early), left, others, node_limit, known)
        reading = reconcile(program, claim, second, limits.gap, name)
        contradicted = reading.objective is not None and reading.bound is None
        if reading.confirmed_by is not None or contradicted or not second.ended:
            break
    return reading


def solve_lp(
    program: LinearProgram,
    *,
    time_limit_s: float | None = None,
    seed: int = 0,
    threads: int | None = None,
    asked_to_stop: AskedToStop = never,
) -> LpResult:
    """Minimise a linear program (integrality, if any, is relaxed); returns duals.

    Parameters
    ----------
    program : LinearProgram
    time_limit_s, seed, threads
        As in `mocap_opt.solvers.limits.Limits`.
    asked_to_stop : callable
        Once asked to stop it ends without an answer.

    Raises
    ------
    HighsError
        If a call of HiGHS fails.
    SolverUnavailableError
        If highspy cannot be loaded.
    """
    limits = Limits(time_limit_s, seed=seed, threads=threads)
    highs = _run(program, Listener(lambda _: asked_to_stop()), limits, {"solve_relaxation": True})
    status, stop = _verdict(highs)
    info, solution = highs.getInfo(), highs.getSolution()
    optimal = status is Status.OPTIMAL
    return LpResult(
        status=status,
        stop=stop,
        objective=float(info.objective_function_value) if optimal else None,
        primal=np.array(solution.col_value, dtype=np.float64) if optimal else None,
        column_duals=np.array(solution.col_dual, dtype=np.float64) if optimal else None,
        row_duals=np.array(solution.row_dual, dtype=np.float64) if optimal else None,
        iterations=int(info.simplex_iteration_count),
        solve_s=limits.deadline.elapsed_s,
    )


def _session(program: LinearProgram, listener: Listener, limits: Limits, options: dict[str, Any]) -> Any:
    """Make a HiGHS object that holds the program, with every option set that decides the answer."""
    highspy = load_highspy()
    highs = highspy.Highs()
    settings: dict[str, Any] = {
        # HiGHS logs to the callback only while it also logs to the console or a file.
        "log_to_console": False,
        "log_file": os.devnull,
        "output_flag": True,
        "random_seed": int(limits.seed),
        "threads": int(limits.threads or 1),
        "mip_feasibility_tolerance": FEASIBILITY_TOLERANCE,
        "primal_feasibility_tolerance": 1e-7,
        "dual_feasibility_tolerance": 1e-7,
        **options,
    }
    if limits.time_limit_s is not None:
        settings["time_limit"] = float(limits.time_limit_s)
    listener.attach(highs)
    for name, value in settings.items():
        check(highs.setOptionValue(name, value), f"setOptionValue({name}, {value})")
    infinity = highspy.kHighsInf
    matrix = program.matrix
    status = highs.passModel(
        program.columns,
        program.rows,
        program.nonzeros,
        int(highspy.MatrixFormat.kRowwise),
        int(highspy.ObjSense.kMinimize),
        float(program.offset),
        program.cost,
        np.clip(program.column_lower, -infinity, infinity),
        np.clip(program.column_upper, -infinity, infinity),
        np.clip(program.row_lower, -infinity, infinity),
        np.clip(program.row_upper, -infinity, infinity),
        matrix.indptr.astype(np.int32),
        matrix.indices.astype(np.int32),
        matrix.data,
        program.integer.astype(np.int32),
    )
    # A warning here means that HiGHS changed the model (dropped a tiny coefficient, say).
    check(status, f"passModel: {listener.log[-500:]}", warnings_are_fine=False)
    return highs


def _run(
    program: LinearProgram,
    listener: Listener,
    limits: Limits,
    options: dict[str, Any],
    start: FloatArray | None = None,
) -> Any:
    """Run HiGHS from a feasible point, if there is one; return the object that holds the answer.

    Its scheduler lives as long as the process, and a run that asks for another number of threads fails
    unless the scheduler is reset.  Other users of HiGHS in this process, Pyomo for one, set it up too.
    """
    highspy = load_highspy()
    highs = _session(program, listener, limits, options)
    if start is not None:
        check(highs.setSolution(start.size, np.arange(start.size, dtype=np.int32), start), "setSolution")
    with deferred_interrupt(listener.interrupt):
        status = highs.run()
        if status == highspy.HighsStatus.kError and OTHER_THREADS in listener.log:
            highspy.Highs.resetGlobalScheduler(True)
            status = highs.run()
    if listener.error is not None:
        raise listener.error
    check(status, f"run: {listener.log[-500:]}")
    return highs


def _verdict(highs: Any) -> tuple[Status, StopReason]:
    """Status and stop reason, for a model without solution in hand."""
    model = load_highspy().HighsModelStatus
    reasons = {
        model.kOptimal: (Status.OPTIMAL, StopReason.OPTIMAL),
        model.kModelEmpty: (Status.OPTIMAL, StopReason.OPTIMAL),
        model.kInfeasible: (Status.INFEASIBLE, StopReason.INFEASIBLE),
        model.kTimeLimit: (Status.UNKNOWN, StopReason.TIME_LIMIT),
        model.kSolutionLimit: (Status.UNKNOWN, StopReason.NODE_LIMIT),
        model.kIterationLimit: (Status.UNKNOWN, StopReason.NODE_LIMIT),
        model.kInterrupt: (Status.UNKNOWN, StopReason.INTERRUPTED),
        model.kHighsInterrupt: (Status.UNKNOWN, StopReason.INTERRUPTED),
    }
    return reasons.get(highs.getModelStatus(), (Status.UNKNOWN, StopReason.ERROR))


def _read_mip(
    program: LinearProgram,
    listener: Listener,
    limits: Limits,
    options: dict[str, Any],
    node_limit: int | None,
    start: FloatArray | None,
) -> Reading:
    """Run HiGHS; status, solution and bound, each only where HiGHS vouches for it."""
    options = {"mip_rel_gap": float(limits.gap), "mip_abs_gap": ABSOLUTE_GAP, **options}
    if node_limit is not None:
        options["mip_max_nodes"] = int(node_limit)
    highs = _run(program, listener, limits, options, start)
    highspy = load_highspy()
    info = highs.getInfo()
    status, stop = _verdict(highs)
    reading = Reading(status, stop, nodes=int(info.mip_node_count) if info.mip_node_count >= 0 else None)
    if stop is StopReason.ERROR:
        said = f"HiGHS says {highs.modelStatusToString(highs.getModelStatus())}: {listener.log[-300:]}"
        return replace(reading, status=Status.UNKNOWN, message=said)
    if status is Status.INFEASIBLE:
        return reading
    is_mip = bool(program.integer.any())
    bound: float | None = None
    if is_mip:
        bound = float(info.mip_dual_bound) if abs(info.mip_dual_bound) < highspy.kHighsInf else None
    elif status is Status.OPTIMAL:
        # The objective of an LP that stopped early bounds nothing.
        bound = float(info.objective_function_value)
    usable = is_mip or status is Status.OPTIMAL
    if not usable or info.primal_solution_status != int(highspy.SolutionStatus.kSolutionStatusFeasible):
        return replace(reading, status=Status.UNKNOWN, bound=bound)
    values = np.array(highs.getSolution().col_value, dtype=np.float64)
    objective = float(info.objective_function_value)
    if bound is not None and bound > objective:
        bound = objective
    closed = bound is not None and objective - bound <= ABSOLUTE_GAP * max(1.0, abs(objective))
    return replace(
        reading,
        status=Status.OPTIMAL if closed else Status.FEASIBLE,
        stop=StopReason.GAP_REACHED if stop is StopReason.OPTIMAL and not closed else stop,
        objective=objective,
        bound=bound,
        values=np.where(program.integer, np.round(values), values),
    )


def _start_accepted(start: FloatArray, values: FloatArray | None, log: str) -> bool:
    """Whether HiGHS took the start."""
    return "MIP start solution is feasible" in log or (values is not None and np.array_equal(values, start))
