"""Steps that run the programs, each from the best plan so far."""

from __future__ import annotations

from collections.abc import Callable

from mocap_opt.formulations.contention_free_terms import schedule
from mocap_opt.formulations.presolve import MOST_NONZEROS, estimated_building_s, estimated_nonzeros
from mocap_opt.lower_bound import Scope
from mocap_opt.replay.evaluation import Execution
from mocap_opt.solvers.outcome import StopReason
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.solving.programs import (
    CONTENTION_FREE_PROGRAM,
    DECOMPOSED_PROGRAM,
    Program,
    Solver,
    run_program,
)
from mocap_opt.solving.search_state import PROGRAM_STEPS, JointSearch
from mocap_opt.solving.strategy import Strategy
from mocap_opt.stopping import AskedToStop


def program_step(program: Program) -> Callable[[JointSearch, AskedToStop], None]:
    """What runs a program in the time of its step."""

    def run(search: JointSearch, asked_to_stop: AskedToStop) -> None:
        """Run the program, if there is time to build it.

        Parameters
        ----------
        search : JointSearch
            Its state receives plan, bound and notes.
        asked_to_stop : callable
            Not asked: the program follows the state's deadline.
        """
        state, solver = search.state, search.strategy.solver_of(program)
        if program is not DECOMPOSED_PROGRAM and not worth_building(state, program.name, solver):
            return
        start = state.best_lockstep if program.scope is Scope.LOCKSTEP else state.best
        result = run_program(
            state,
            program,
            solver,
            start=None if start is None else start.plan,
            seed=search.seed,
        )
        search.solver = solver.value
        if result.outcome.stop is StopReason.ERROR:
            search.reasons.append(f"{program.name}: {result.outcome.message}")

    return run


def not_planned(program: Program) -> Callable[[JointSearch], str | None]:
    """Why a program does not run, in words."""

    def unless(search: JointSearch) -> str | None:
        if program in search.strategy.programs:
            return _proved_already(search.state, program)
        if search.state.execution is Execution.LOCKSTEP and program is CONTENTION_FREE_PROGRAM:
            return "a relaxation improves no static schedule"
        return "it gains nothing at this size (--method joint runs it)"

    return unless


def _proved_already(state: SearchState, program: Program) -> str | None:
    """Why a program proves nothing new, in words: the best plan is one of its solutions."""
    if program.scope is Scope.LOCKSTEP:
        return "the best static plan is proved" if state.lockstep_closed() else None
    if state.best is None or schedule(state.tables, state.best.plan).latency > state.proved_anywhere:
        return None
    return "without contention the best plan takes no longer than is proved"


def why_not_run(state: SearchState, strategy: Strategy) -> dict[str, str | None]:
    """Say of each program of a strategy why it did not run; None if it did.

    Parameters
    ----------
    state : SearchState
        Of a solve that is over.
    strategy : Strategy
        Whose programs are asked about.

    Returns
    -------
    dict of str to (str or None)
        By the program's name.
    """
    ran = {run.program for run in state.runs}
    records = {run.step: run for run in state.steps}
    why: dict[str, str | None] = {}
    for program in strategy.programs:
        record = records.get(PROGRAM_STEPS[program.name])
        if program.name in ran:
            why[program.name] = None
        elif record is None:
            why[program.name] = "its step was left out"
        else:
            why[program.name] = record.skipped or record.note or "not built"
    return why


def worth_building(state: SearchState, name: str, solver: Solver) -> bool:
    """Whether building a program leaves time to solve it; a note says if not.

    Parameters
    ----------
    state : SearchState
        Receives the note; its deadline is what is left.
    name : str
        Of the program, for the note.
    solver : Solver
        Whose model is built: size and building time differ.
    """
    nonzeros = estimated_nonzeros(state.tables, solver.value)
    needed = estimated_building_s(state.tables, solver.value)
    if nonzeros > MOST_NONZEROS:
        why = f"about {nonzeros:,} non-zeros, more than {MOST_NONZEROS:,}"
    elif needed >= state.deadline.left_s:
        why = f"which would take about {needed:.0f} s, longer than was left"
    else:
        return True
    state.notes.append(f"{name} ({solver.value}): not built, {why}")
    return False
