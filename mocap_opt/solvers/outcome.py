"""What a solver run came to: why it stopped and what came back are two separate answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from mocap_opt.schedule.plan import Plan

RELATIVE_TOLERANCE = 1e-6
"""How far a bound in floating point may stand above the objective before it is called unsound."""


EXACT_SOLVERS = frozenset({"cpsat", "pyjobshop"})
"""Solvers that compute in whole numbers; PyJobShop hands its models to CP-SAT."""


class Status(Enum):
    """What came back."""

    OPTIMAL = "optimal"
    """A solution, and a bound that meets it."""
    FEASIBLE = "feasible"
    """A solution that is not proved optimal; a bound may be known."""
    INFEASIBLE = "infeasible"
    """A proof that the model has no solution."""
    UNKNOWN = "unknown"
    """No solution and no proof that there is none; a bound may be known."""

    @property
    def words(self) -> str:
        """What people are told everywhere; files and programs get the value."""
        return "no plan" if self is Status.UNKNOWN else self.value


class StopReason(Enum):
    """Why the solver stopped."""

    OPTIMAL = "optimal"
    """It proved its own model's optimum (which may be coarser than whole ticks)."""
    GAP_REACHED = "gap_reached"
    """The gap asked for was reached."""
    INFEASIBLE = "infeasible"
    """It proved that no solution exists."""
    TIME_LIMIT = "time_limit"
    NODE_LIMIT = "node_limit"
    """A limit on work (nodes, iterations or deterministic time)."""
    UNCONFIRMED = "unconfirmed"
    """It claims an optimum, or that there is no solution, and no second reading confirmed that."""
    INTERRUPTED = "interrupted"
    """The caller asked it to stop."""
    ERROR = "error"
    """It failed; `SolveOutcome.message` says how."""


@dataclass(frozen=True)
class Progress:
    """A moment of a run in progress.

    Attributes
    ----------
    elapsed_s : float
        Seconds since the solver was started.
    incumbent : float or None
        Objective of the best solution so far, in the objective's unit.
    bound : float or None
        Best proved lower bound so far, same unit.
    plan : Plan or None
        What stands behind a new incumbent, if the program hands it on: priced by the program's
        objective alone until somebody replays it.  Feasible, or boundaries from a relaxation that
        leaves homes out, with all KV at home.
    """

    elapsed_s: float
    incumbent: float | None
    bound: float | None
    plan: Plan | None = None

    @property
    def gap(self) -> float | None:
        """(incumbent - bound) / incumbent, or None while either is unknown."""
        return relative_gap(self.incumbent, self.bound)


Callback = Callable[[Progress], bool]
"""Called now and then with the progress; returning True asks the solver to stop."""


@dataclass(frozen=True)
class SolveOutcome:
    """The result of one run of a solver on a minimisation model.

    Attributes
    ----------
    solver : str
        Which solver, e.g. ``"highs"``.
    status : Status
        What came back.
    stop : StopReason
        Why the run ended.
    objective : float, int or None
        Objective of the best solution; ticks for the programs of this package.
    bound : float, int or None
        Proved lower bound on the model's optimum, same unit; None if none was proved.
    start_accepted : bool or None
        Whether the solver took the start; None if none was given or the solver does not say.
    build_s, solve_s : float
        Seconds spent building the model and solving it.
    time_limit_s, gap_limit : float or None
        The limits that were set; None = no limit (time) or not applicable (gap).
    seed, threads : int or None
        As set.
    nodes : int or None
        Nodes (or branches) explored.
    rows, columns, nonzeros : int or None
        Size of the model as the solver got it.
    arcs, all_arcs : int or None
        Of programs that choose chunks one by one: those left to choose from, and those that the limits on
        counts and lengths allow.
    message : str
        Anything the user should know, such as an error; usually empty.
    confirmed_by : str or None
        What else says that the solver's claim is true, for solvers that compute in floating point: a
        claim of theirs that closes the model needs it.  None if nothing does, or nothing was claimed.

    Raises
    ------
    ValueError
        If the fields contradict each other.
    """

    solver: str
    status: Status
    stop: StopReason
    objective: float | int | None = None
    bound: float | int | None = None
    start_accepted: bool | None = None
    build_s: float = 0.0
    solve_s: float = 0.0
    time_limit_s: float | None = None
    gap_limit: float | None = None
    seed: int | None = None
    threads: int | None = None
    nodes: int | None = None
    rows: int | None = None
    columns: int | None = None
    nonzeros: int | None = None
    arcs: int | None = None
    all_arcs: int | None = None
    message: str = ""
    confirmed_by: str | None = None

    def __post_init__(self) -> None:
        """Check the invariants."""
        for name in ("objective", "bound"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} is {value}: unknown is None, never a number")
        solved = self.status in (Status.OPTIMAL, Status.FEASIBLE)
        if solved != (self.objective is not None):
            raise ValueError(f"status {self.status.value} with objective {self.objective}")
        if (self.status is Status.INFEASIBLE) != (self.stop is StopReason.INFEASIBLE):
            raise ValueError(f"status {self.status.value} with stop reason {self.stop.value}")
        if self.status is Status.INFEASIBLE and self.bound is not None:
            raise ValueError(f"status infeasible with bound {self.bound}")
        if self.status is Status.OPTIMAL and self.bound is None:
            raise ValueError("status optimal without a bound")
        if self.objective is not None and self.bound is not None:
            slack = RELATIVE_TOLERANCE * max(1.0, abs(self.objective))
            if self.bound > self.objective + slack:
                raise ValueError(f"bound {self.bound} above objective {self.objective}")
            if self.status is Status.OPTIMAL and self.bound < self.objective - slack:
                raise ValueError(f"status optimal with objective {self.objective} and bound {self.bound}")
        if self.build_s < 0 or self.solve_s < 0:
            raise ValueError(f"negative time: build {self.build_s} s, solve {self.solve_s} s")

    @property
    def gap(self) -> float | None:
        """(objective - bound) / objective, or None while either is unknown."""
        return relative_gap(self.objective, self.bound)

    @property
    def exact(self) -> bool:
        """Whether the solver computes in whole numbers, so that its own word is enough."""
        return self.solver in EXACT_SOLVERS

    @property
    def closes(self) -> bool:
        """Whether the bound may close a gap: it is exact, or something else confirms it."""
        return self.exact or self.confirmed_by is not None


@dataclass(frozen=True)
class ProgramResult:
    """A solver's outcome on one of the programs, with the plan it found.

    Attributes
    ----------
    plan : Plan or None
        The best plan found, checked by `mocap_opt.schedule.verify`; None if none was found.
    outcome : SolveOutcome
        Its objective is the program's exact objective of `plan`, in ticks.

    Raises
    ------
    ValueError
        If there is a plan without an objective or the reverse.
    """

    plan: Plan | None
    outcome: SolveOutcome

    def __post_init__(self) -> None:
        """Check the invariants."""
        if (self.plan is None) != (self.outcome.objective is None):
            raise ValueError(f"plan {self.plan} with objective {self.outcome.objective}")


def relative_gap(objective: float | None, bound: float | None) -> float | None:
    """(objective - bound) / objective, never below 0; None if either is unknown or objective is 0.

    Parameters
    ----------
    objective, bound : float or None
        Of a minimisation, same unit.
    """
    if objective is None or bound is None or objective == 0:
        return None
    return max(0.0, (objective - bound) / abs(objective))
