"""What ``--method auto`` does: which programs run after the searches, by the size of the instance.

Measured on two cores over ``instances/bench`` (``mocap-opt bench``): CP-SAT proves the lockstep program
at 4 x 8 x 32 in seconds and the contention-free one up to about 8 x 16 x 256; beyond that neither
program nor solver improves on what the searches and the bounds leave, whatever the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mocap_opt.assess import Execution
from mocap_opt.solving.programs import CONTENTION_FREE_PROGRAM, LOCKSTEP_PROGRAM, Program, Solver
from mocap_opt.tables import Tables

SMALL = 2**12
"""Stages x chunks x grid steps up to which both programs are worth their time (4 x 8 x 32 is a quarter)."""

MEDIUM = 2**16
"""The same for the contention-free program alone (8 x 16 x 256 is half)."""


@dataclass(frozen=True)
class Strategy:
    """Which programs a solve runs once the searches and bounds have left a gap.

    Attributes
    ----------
    programs : tuple of (Program, float)
        In order, each with the share of the time left that it may take.
    solver : Solver
    early : bool
        Run them before the shaking and the slower bounds: at small sizes they prove more in less time.
    shape : str
        Size of the instance, in words.
    """

    programs: tuple[tuple[Program, float], ...]
    solver: Solver
    early: bool
    shape: str

    def account(self, ran: Sequence[str], why_not: str) -> str:
        """What was done, for the report.

        Parameters
        ----------
        ran : sequence of str
            Names of the programs that ran.
        why_not : str
            Why the others, if any, did not.
        """
        planned = [program.name for program, _ in self.programs]
        left = [name for name in planned if name not in ran]
        if not planned:
            return f"{self.shape}: searches and bounds alone, no program gains anything at this size"
        done = f"{self.shape}: searches, bounds"
        done += f", {' and '.join(ran)} with {self.solver.value}" if ran else ""
        return done + (f"; {' and '.join(left)} not run: {why_not}" if left else "")


def size(tables: Tables) -> int:
    """Stages x chunks x grid steps."""
    return tables.stages * tables.max_chunks * tables.steps


def choose(tables: Tables, execution: Execution | None, solver: str, *, by_size: bool) -> Strategy:
    """Decide what follows the searches.

    Parameters
    ----------
    tables : Tables
    execution : Execution or None
        Whose latency counts; only the lockstep program improves a static schedule.
    solver : str
        ``"auto"``, which is CP-SAT, or a solver's name.
    by_size : bool
        Leave out programs that are not worth their time at this size; otherwise run them all.

    Returns
    -------
    Strategy
    """
    chosen = Solver.CPSAT if solver == "auto" else Solver(solver)
    shape = f"{tables.stages} stages x {tables.max_chunks} chunks x {tables.steps} grid steps"
    lockstep = (LOCKSTEP_PROGRAM, 1.0)
    if execution is Execution.LOCKSTEP:
        programs: tuple[tuple[Program, float], ...] = (lockstep,)
    elif not by_size or size(tables) <= SMALL:
        programs = ((CONTENTION_FREE_PROGRAM, 0.75), lockstep)
    elif size(tables) <= MEDIUM:
        programs = ((CONTENTION_FREE_PROGRAM, 1.0),)
    else:
        programs = ()
    return Strategy(programs, chosen, size(tables) <= SMALL, shape)
