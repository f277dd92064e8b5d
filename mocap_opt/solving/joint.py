"""The joint method: heuristics, then both programs, each started from the best plan so far."""

from __future__ import annotations

from mocap_opt.heuristics import METHODS
from mocap_opt.solvers.outcome import StopReason
from mocap_opt.solving.programs import CONTENTION_FREE_PROGRAM, LOCKSTEP_PROGRAM, Solver, run_program
from mocap_opt.solving.state import SearchState

PROGRAM_LIMIT = 2_000_000
"""Largest stages^2 x chunks x grid steps for which the plain programs are worth building."""


def solve_jointly(state: SearchState, *, solver: str, seed: int) -> tuple[str | None, str | None]:
    """Run the heuristics and the programs until the gap is reached or time is up.

    Returns
    -------
    reason : str or None
        Why there is no plan, if there is none.
    solver : str or None
        The solver that was used, if any.
    """
    reasons: list[str] = []
    for name, method in METHODS.items():
        if state.done:
            break
        proposal = method.propose(state.tables)
        state.offer(proposal.plan, name)
        if proposal.plan is None:
            reasons.append(f"{name}: {proposal.reason}")
    if state.done:
        return _no_plan(state, reasons), None
    chosen = Solver.CPSAT if solver == "auto" else Solver(solver)
    for program, share in ((CONTENTION_FREE_PROGRAM, 0.5), (LOCKSTEP_PROGRAM, 1.0)):
        if state.done or state.infeasible_reason:
            break
        best = state.best if program is CONTENTION_FREE_PROGRAM else state.best_lockstep
        result = run_program(
            state,
            program,
            chosen,
            start=None if best is None else best.plan,
            time_limit_s=share * state.remaining_s,
            seed=seed,
        )
        if result.outcome.stop is StopReason.ERROR:
            reasons.append(f"{program.name}: {result.outcome.message}")
    return _no_plan(state, reasons), chosen.value


def _no_plan(state: SearchState, reasons: list[str]) -> str | None:
    if state.best is not None:
        return None
    return "no plan found; " + "; ".join(reasons) if reasons else "no plan found"
