"""What a run of a solver may use: one record, and the keywords of all that run one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict

from mocap_opt.solvers.outcome import Callback
from mocap_opt.stopping import Deadline

NODES_PER_UNIT = 1000
"""Nodes of HiGHS's search tree that one unit of a deterministic limit stands for."""


class SolverOptions(TypedDict, total=False):
    """Keywords of all that run a solver; what they mean stands in `Limits`."""

    time_limit_s: float | None
    gap: float
    seed: int
    threads: int | None
    callback: Callback | None


class ProgramOptions(SolverOptions, total=False):
    """Those of programs that can be limited so that the result is repeatable."""

    deterministic_limit: float | None


@dataclass(frozen=True)
class Limits:
    """When to stop, and how to search; the time runs from when this is made.

    Attributes
    ----------
    time_limit_s : float or None
        Wall-clock seconds for building and searching, all runs together; None for no limit.
    gap : float
        Relative gap, (incumbent - bound) / incumbent, at which to stop.
    seed : int
    threads : int or None
        None for what suits the solver: one thread of HiGHS, `mocap_opt.solvers.cpsat.DEFAULT_WORKERS`.
    callback : callable or None
        Receives the progress, in ticks from a program of this package; returning True stops the run, and
        so does an exception, which is then raised by whatever runs the solver.
    deterministic_limit : float or None
        Limit on work: thousands of nodes of HiGHS's search trees, CP-SAT's own deterministic time.  With one
        thread and no time limit the result is repeatable.
    deadline : Deadline
        Of the time limit.
    """

    time_limit_s: float | None = None
    gap: float = 0.0
    seed: int = 0
    threads: int | None = None
    callback: Callback | None = None
    deterministic_limit: float | None = None
    deadline: Deadline = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Let the time run."""
        object.__setattr__(self, "deadline", Deadline(self.time_limit_s))

    @property
    def nodes(self) -> int | None:
        """Most nodes of HiGHS's search trees; None for no limit."""
        limit = self.deterministic_limit
        return None if limit is None else max(1, round(NODES_PER_UNIT * limit))
