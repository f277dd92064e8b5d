"""CP-SAT: the only module that runs it.

Facts this module is built around: CP-SAT reports 0.0 on infeasible models and garbage on unknown
ones, so no number is read before the status; it calls a run that reached its gap limit optimal, so
optimality is decided from objective and bound; it may end without any solution even though it had
a complete hint, so the hint itself is kept as the answer to fall back on.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from mocap_opt.solvers.cpsat_model import Built, build_model, cp_model
from mocap_opt.solvers.integer_program import Affine, IntegerProgram, Largest
from mocap_opt.solvers.limits import Limits
from mocap_opt.solvers.outcome import Callback, Progress, SolveOutcome, Status, StopReason, relative_gap

DEFAULT_WORKERS = 4
"""Fastest on two cores in our measurements, ahead of 2 and 8."""

OnSolution = Callable[[tuple[int, ...]], bool]
"""Called with the values of every better solution; returning True asks CP-SAT to stop."""

HEARTBEAT_S = 0.25
"""Longest time between two calls of the progress callback, seconds."""


@dataclass(frozen=True)
class CpSatResult:
    """What a run came to.

    Attributes
    ----------
    outcome : SolveOutcome
        Its objective is that of `values`, exact.
    values : tuple of int or None
        Values of the program's variables, the defined ones recomputed from the decisions.
    """

    outcome: SolveOutcome
    values: tuple[int, ...] | None


class _Watch(cp_model.CpSolverSolutionCallback):  # type: ignore[misc]
    """Follows a run: keeps solutions and the best bound, and asks the caller whether to go on.

    CP-SAT runs in a thread of its own and calls from there; the caller is only called from its
    own thread, where signals arrive and errors may be raised.
    """

    def __init__(self, constant: int, on_solution: OnSolution | None) -> None:
        super().__init__()
        self.constant = constant
        self.on_solution = on_solution
        self.found: deque[tuple[int, ...]] = deque()
        self.incumbent: int | None = None
        self.bound: int | None = None
        self.changed = threading.Event()
        self.over = threading.Event()

    def on_solution_callback(self) -> None:
        """Take note of a better solution."""
        if self.on_solution is not None:
            self.found.append(tuple(self.response_proto.solution))
        self.incumbent = round(self.objective_value) + self.constant
        self.on_bound(self.best_objective_bound)

    def on_bound(self, bound: float) -> None:
        """Take note of a better bound; objectives are whole, so it may be rounded up."""
        whole = math.ceil(bound - max(1e-6, 2 * math.ulp(bound))) + self.constant
        self.bound = whole if self.bound is None else max(whole, self.bound)
        self.changed.set()

    def follow(self, solver: cp_model.CpSolver, callback: Callback | None) -> bool:
        """Report progress until the run is over.

        Parameters
        ----------
        solver : CpSolver
            Told to stop once the callback asks for it.
        callback : callable or None

        Returns
        -------
        bool
            Whether a callback asked to stop.
        """
        began, asked = time.perf_counter(), False
        while not self.over.is_set():
            self.changed.wait(HEARTBEAT_S)
            self.changed.clear()
            asked = self.hand_over() or asked
            if callback is not None and not asked:
                elapsed = time.perf_counter() - began
                asked = callback(Progress(elapsed, self.incumbent, self.bound))
            if asked:
                solver.stop_search()
        # None is left out, so that what is handed over does not depend on the clock.
        return self.hand_over() or asked

    def hand_over(self) -> bool:
        """Give the solutions found meanwhile to the caller, in order; whether it asked to stop."""
        asked = False
        while self.found:
            values = self.found.popleft()
            asked = (self.on_solution is not None and self.on_solution(values)) or asked
        return asked


def _run(
    solver: cp_model.CpSolver,
    model: cp_model.CpModel,
    constant: int,
    callback: Callback | None,
    on_solution: OnSolution | None,
) -> tuple[_Watch, bool]:
    """Run the solver in a thread, so that the caller's own keeps receiving signals."""
    watch = _Watch(constant, on_solution)
    solver.best_bound_callback = watch.on_bound
    solver.parameters.catch_sigint_signal = False
    errors: list[BaseException] = []

    def work() -> None:
        try:
            solver.solve(model, watch)
        except BaseException as error:  # raised again in the caller's thread
            errors.append(error)
        finally:
            watch.over.set()
            watch.changed.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        asked = watch.follow(solver, callback)
    finally:
        while thread.is_alive():
            # Asked again and again, because a request that precedes the search is lost.
            if not watch.over.is_set():
                solver.stop_search()
            thread.join(HEARTBEAT_S)
    if errors:
        raise errors[0]
    return watch, asked


def workers(limits: Limits) -> int:
    """Number of workers: `DEFAULT_WORKERS` if none is set, one under a deterministic limit."""
    if limits.threads is not None:
        return limits.threads
    return DEFAULT_WORKERS if limits.deterministic_limit is None else 1


def _solver(limits: Limits) -> cp_model.CpSolver:
    """A CP-SAT solver with these settings; only the search counts towards the time limit."""
    solver = cp_model.CpSolver()
    solver.parameters.random_seed = limits.seed
    solver.parameters.num_workers = workers(limits)
    solver.parameters.relative_gap_limit = limits.gap
    if limits.time_limit_s is not None:
        solver.parameters.max_time_in_seconds = limits.time_limit_s
    if limits.deterministic_limit is not None:
        solver.parameters.max_deterministic_time = limits.deterministic_limit
    return solver


def solve(
    program: IntegerProgram,
    *,
    start: Sequence[int] | None = None,
    lower_bound: int | None = None,
    limits: Limits | None = None,
    on_solution: OnSolution | None = None,
) -> CpSatResult:
    """Minimise a program.

    Parameters
    ----------
    program : IntegerProgram
    start : sequence of int, optional
        Values of all variables, from `IntegerProgram.complete`.  It is checked exactly
        (`SolveOutcome.start_accepted`); if it satisfies the program, the answer is never worse.
    lower_bound : int, optional
        A known lower bound on the optimum; the bound reported is at least this.
    limits : Limits, optional
        The time limit is one of the search alone.  The callback is called on improvements and a few times
        a second from the caller's thread.
    on_solution : callable, optional
        Called likewise with the values of every better solution, in the order of the program's variables,
        the defined ones recomputed; none is left out, whatever else is going on.

    Raises
    ------
    ValueError
        If `lower_bound` exceeds the objective of a valid start.
    RuntimeError
        If CP-SAT rejects the model, or contradicts the start or the bound it was given.
    """
    limits = limits or Limits()
    began = time.perf_counter()
    accepted = None if start is None else not program.broken(start)
    kept = tuple(start) if start is not None and accepted else None
    worst = None if kept is None else program.objective.value(kept)
    if worst is not None and lower_bound is not None and lower_bound > worst:
        raise ValueError(f"lower bound {lower_bound} exceeds {worst}, the objective of a valid start")
    built = build_model(program, at_least=lower_bound, at_most=worst)
    for variable, value in zip(built.variables, kept or (), strict=False):
        built.model.add_hint(variable, value)
    build_s = time.perf_counter() - began
    solver = _solver(limits)
    found = None if on_solution is None else partial(_completed, program, on_solution)
    watch, asked = _run(solver, built.model, program.objective.constant, limits.callback, found)
    solve_s = time.perf_counter() - began - build_s

    values, bound, infeasible = _answer(program, built, solver, watch, kept, lower_bound)
    objective = None if values is None else program.objective.value(values)
    if infeasible:
        status, stop = Status.INFEASIBLE, StopReason.INFEASIBLE
    else:
        stop = _why(solver, limits, objective, bound, asked)
        status = Status.UNKNOWN
    if objective is not None:
        status = Status.OPTIMAL if bound is not None and bound >= objective else Status.FEASIBLE
    rows = list(_expressions(program))
    outcome = SolveOutcome(
        "cpsat",
        status,
        stop,
        objective,
        bound,
        start_accepted=accepted,
        build_s=build_s,
        solve_s=solve_s,
        time_limit_s=limits.time_limit_s,
        gap_limit=limits.gap,
        seed=limits.seed,
        threads=workers(limits),
        nodes=int(solver.response_proto.num_branches),
        rows=len(rows),
        columns=len(program.names),
        nonzeros=sum(len(row.terms) for row in rows),
        message=f"{len(built.relaxed)} rows weakened to fit 64-bit integers" if built.relaxed else "",
    )
    return CpSatResult(outcome, values)


def _completed(program: IntegerProgram, on_solution: OnSolution, values: tuple[int, ...]) -> bool:
    """Pass a solution on with its defined variables recomputed."""
    return on_solution(tuple(program.complete(dict(enumerate(values)))))


def _answer(
    program: IntegerProgram,
    built: Built,
    solver: cp_model.CpSolver,
    watch: _Watch,
    kept: tuple[int, ...] | None,
    lower_bound: int | None,
) -> tuple[tuple[int, ...] | None, int | None, bool]:
    """Best values, bound, and whether infeasibility is proved; numbers are read after the status."""
    response = solver.response_proto
    status = response.status
    if status == cp_model.MODEL_INVALID:
        raise RuntimeError(f"CP-SAT rejects the model: {built.model.validate()}")
    if status == cp_model.INFEASIBLE:
        if kept is not None:
            raise RuntimeError("CP-SAT calls a program infeasible that its start satisfies")
        return None, None, True
    bounds = [b for b in (watch.bound, lower_bound) if b is not None]
    values = kept
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        bounds.append(int(response.inner_objective_lower_bound) + program.objective.constant)
        found = tuple(program.complete(dict(enumerate(response.solution))))
        broken = program.broken(found)
        if broken and not built.relaxed:
            raise RuntimeError(f"CP-SAT's solution breaks {broken[0]}")
        better = values is None or program.objective.value(found) < program.objective.value(values)
        if better and not broken:
            values = found
    bound = max(bounds, default=None)
    if values is not None and bound is not None and bound > program.objective.value(values):
        raise RuntimeError(f"bound {bound} exceeds a solution of {program.objective.value(values)}")
    return values, bound, False


def _why(
    solver: cp_model.CpSolver, limits: Limits, objective: int | None, bound: int | None, asked: bool
) -> StopReason:
    """Why the run ended."""
    response = solver.response_proto
    gap = relative_gap(objective, bound)
    if objective is not None and bound is not None and bound >= objective:
        return StopReason.OPTIMAL
    if gap is not None and gap <= limits.gap:
        return StopReason.GAP_REACHED
    if asked:
        return StopReason.INTERRUPTED
    if response.status == cp_model.OPTIMAL:
        return StopReason.OPTIMAL
    if limits.deterministic_limit is not None and response.deterministic_time >= limits.deterministic_limit:
        return StopReason.NODE_LIMIT
    return StopReason.TIME_LIMIT


def _expressions(program: IntegerProgram) -> Iterator[Affine]:
    """All linear rows of a program, definitions included."""
    yield from (row.expression for row in program.rows)
    for definition in program.definitions:
        if isinstance(definition, Largest):
            yield from (expression for _, _, expression in definition.rows)


def solve_model(
    model: cp_model.CpModel, start: Sequence[int] | None = None, limits: Limits | None = None
) -> CpSatResult:
    """Minimise a CP-SAT model of one's own, whose objective is its last variable.

    Parameters
    ----------
    model : cp_model.CpModel
        Not changed, but for the hint.
    start : sequence of int, optional
        Values of all variables of a solution; the answer is never worse.
    limits : Limits, optional

    Raises
    ------
    RuntimeError
        If CP-SAT rejects the model, or contradicts the start.
    """
    limits = limits or Limits()
    began = time.perf_counter()
    for index, value in enumerate(start or ()):
        model.add_hint(model.get_int_var_from_proto_index(index), value)
    solver = _solver(limits)
    watch, asked = _run(solver, model, 0, limits.callback, None)
    response = solver.response_proto
    if response.status == cp_model.MODEL_INVALID:
        raise RuntimeError(f"CP-SAT rejects the model: {model.validate()}")
    if response.status == cp_model.INFEASIBLE and start is not None:
        raise RuntimeError("CP-SAT calls a model infeasible that its start satisfies")
    values = None if start is None else tuple(start)
    bound = watch.bound
    if response.status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        bound = max(filter(None, (bound, int(response.inner_objective_lower_bound))), default=None)
        found = tuple(response.solution)
        values = found if values is None or found[-1] < values[-1] else values
    objective = None if values is None else values[-1]
    if response.status == cp_model.INFEASIBLE:
        status, stop = Status.INFEASIBLE, StopReason.INFEASIBLE
    else:
        stop = _why(solver, limits, objective, bound, asked)
        proved = objective is not None and bound is not None and bound >= objective
        status = Status.OPTIMAL if proved else Status.FEASIBLE if values else Status.UNKNOWN
    outcome = SolveOutcome(
        "cpsat",
        status,
        stop,
        objective,
        bound,
        solve_s=time.perf_counter() - began,
        time_limit_s=limits.time_limit_s,
        gap_limit=limits.gap,
        seed=limits.seed,
        threads=workers(limits),
        nodes=int(response.num_branches),
    )
    return CpSatResult(outcome, values)
