"""What a lower bound is: a number, what it covers and how it was proved."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum


class Scope(Enum):
    """What a bound holds for."""

    ANY_EXECUTION = "any execution of feasible plans"
    LOCKSTEP = "lockstep"


class Evidence(Enum):
    """How a bound is proved."""

    CLOSED_FORM = "closed_form"
    SEARCH = "search"
    LP_DUAL = "lp_dual"
    SOLVER = "solver"
    """The word of a solver that computes in whole numbers."""
    SOLVER_CONFIRMED = "solver_confirmed"
    """The word of a solver in floating point, confirmed by a second reading."""
    SOLVER_UNCONFIRMED = "solver_unconfirmed"
    """The same without: it closes no gap."""

    @property
    def words(self) -> str:
        """What it is, for people who know no name."""
        return _EVIDENCE_WORDS[self]


_EVIDENCE_WORDS = {
    Evidence.CLOSED_FORM: "by a formula in whole numbers",
    Evidence.SEARCH: "by an exhaustive search in whole numbers",
    Evidence.LP_DUAL: "with weights from a linear program, checked exactly",
    Evidence.SOLVER: "by a solver that computes in whole numbers",
    Evidence.SOLVER_CONFIRMED: "by a solver in floating point, confirmed by a second reading",
    Evidence.SOLVER_UNCONFIRMED: "by a solver in floating point alone, which counts as no proof",
}


@dataclass(frozen=True)
class Bound:
    """A lower bound on the latency of every feasible plan.

    Attributes
    ----------
    name : str
        Name in the registry.
    ticks : int
        No latency in the scope is below it.
    scope : Scope
    evidence : Evidence
    note : str
        What it was reached with, for reports.
    """

    name: str
    ticks: int
    scope: Scope
    evidence: Evidence
    note: str = ""

    def __post_init__(self) -> None:
        """Check the number."""
        if self.ticks < 0:
            raise ValueError(f"bound {self.name}: expected ticks >= 0, got {self.ticks}")

    @property
    def closes(self) -> bool:
        """Whether it may close a gap: its evidence is more than the unconfirmed word of a solver."""
        return self.evidence is not Evidence.SOLVER_UNCONFIRMED

    @property
    def floating(self) -> bool:
        """Whether it rests on floating point, so that a plan that beats it refutes it alone."""
        return self.evidence in (Evidence.SOLVER_CONFIRMED, Evidence.SOLVER_UNCONFIRMED)

    def covers(self, scope: Scope) -> bool:
        """Whether the bound holds for executions of `scope`; lockstep is one of any execution."""
        return self.scope is Scope.ANY_EXECUTION or self.scope is scope


def best(bounds: Iterable[Bound], scopes: Collection[Scope]) -> Bound | None:
    """Return the greatest bound whose scope is among `scopes`; None if there is none.

    A lockstep latency may be compared with bounds of both scopes, an event-driven one, or the
    smaller of the two, with ``{Scope.ANY_EXECUTION}`` only.  Of equal bounds the first that closes
    gaps is taken, or else the first.

    Parameters
    ----------
    bounds : iterable of Bound
    scopes : collection of Scope
    """
    return max(
        (bound for bound in bounds if bound.scope in scopes),
        key=lambda bound: (bound.ticks, bound.closes),
        default=None,
    )
