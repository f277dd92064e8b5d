"""What ``--method auto`` does: which programs run after the searches, by the size of the instance.

Measured on two cores over ``instances/bench`` (``mocap-opt bench``): CP-SAT proves the lockstep program
at 4 x 8 x 32 in seconds and the contention-free one up to about 8 x 16 x 128; beyond that neither
program nor solver improves on what the searches and the bounds leave, whatever the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mocap_opt.flow_shop.chunk_times import alike
from mocap_opt.replay.evaluation import Execution
from mocap_opt.solving.programs import (
    CONTENTION_FREE_PROGRAM,
    DECOMPOSED_PROGRAM,
    LOCKSTEP_PROGRAM,
    Program,
    Solver,
)
from mocap_opt.tables.cost_tables import Tables

SMALL = 2**12
"""Stages x chunks x grid steps up to which both programs are worth their time (4 x 8 x 32 is a quarter)."""

MEDIUM = 2**14
"""The same for the contention-free program alone; it has gained nothing at 8 x 16 x 256, twice as much."""

LARGE = 2**17
"""The same for the decomposed program where stages are unlike: beyond, too many chunks are left for it."""


@dataclass(frozen=True)
class Strategy:
    """Which programs a solve runs once the searches and bounds have left a gap.

    Attributes
    ----------
    programs : tuple of Program
        In order.
    solver : Solver or None
        None: for each program what is best for it.
    early : bool
        Run them before the slower bounds: at small sizes, and of static schedules, they prove more in
        less time.
    shape : str
        Size of the instance, in words.
    """

    programs: tuple[Program, ...]
    solver: Solver | None
    early: bool
    shape: str

    def solver_of(self, program: Program) -> Solver:
        """Which solver runs a program: the one asked for, if the program is written for it."""
        return self.solver if self.solver in program.functions else program.best

    def account(self, why_not: Mapping[str, str | None]) -> str:
        """What was done, for the report.

        Parameters
        ----------
        why_not : mapping of str to str or None
            Of each program why it did not run; None if it did.
        """
        if not self.programs:
            return f"{self.shape}: searches and bounds alone, no program gains anything at this size"
        ran = [name for name, why in why_not.items() if why is None]
        done = f"{self.shape}: searches, bounds"
        for solver in Solver:
            by = [p.name for p in self.programs if p.name in ran and self.solver_of(p) is solver]
            done += f", {_listed(by)} with {solver.value}" if by else ""
        for why in dict.fromkeys(why for why in why_not.values() if why is not None):
            left = [name for name, each in why_not.items() if each == why]
            done += f"; {_listed(left)} not run: {why}"
        return done


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def size(tables: Tables) -> int:
    """Stages x chunks x grid steps."""
    return tables.stages * tables.max_chunks * tables.steps


def choose(tables: Tables, execution: Execution | None, solver: str, *, by_size: bool) -> Strategy:
    """Decide what follows the searches.

    Parameters
    ----------
    tables : Tables
    execution : Execution or None
        Whose latency counts; a relaxation without barriers improves no static schedule.
    solver : str
        ``"auto"``, for each program what is best for it, or a solver's name.
    by_size : bool
        Leave out programs that are not worth their time at this size; otherwise run them all.

    Returns
    -------
    Strategy
    """
    chosen = None if solver == "auto" else Solver(solver)
    small = not by_size or size(tables) <= SMALL
    shape = f"{tables.stages} stages x {tables.max_chunks} chunks x {tables.steps} grid steps"
    if execution is Execution.LOCKSTEP:
        gains = not by_size or size(tables) <= LARGE or alike(tables)
        first: tuple[Program, ...] = (DECOMPOSED_PROGRAM,) if gains else ()
        programs = (*first, *((LOCKSTEP_PROGRAM,) if small else ()))
    elif small:
        programs = (CONTENTION_FREE_PROGRAM, DECOMPOSED_PROGRAM, LOCKSTEP_PROGRAM)
    elif size(tables) <= MEDIUM:
        programs = (CONTENTION_FREE_PROGRAM,)
    else:
        programs = ()
    early = execution is Execution.LOCKSTEP or size(tables) <= SMALL
    return Strategy(programs, chosen, early, shape)
