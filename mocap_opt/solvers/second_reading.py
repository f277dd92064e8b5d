"""What HiGHS claims of a mixed-integer program, and what a second run makes of the claim.

Presolve of HiGHS loses optimal solutions, or calls feasible programs infeasible, in every
release from 1.10 to 1.15 (the programs are in ``tests/test_solver_canaries.py``).  Therefore every
mixed-integer program is solved without presolve, and a claim that would close it (an optimum, a gap
small enough, no solution at all) stands only if a second run, with presolve and another seed, finds
nothing better and agrees: the two take different ways through the same program.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mocap_opt.solvers.linear_program import FEASIBILITY_TOLERANCE, FloatArray, LinearProgram
from mocap_opt.solvers.outcome import RELATIVE_TOLERANCE, Status, StopReason, relative_gap

FIRST_READING: dict[str, Any] = {"presolve": "off"}
"""HiGHS options of the run whose bounds are reported."""

SECOND_READINGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("a second run, with presolve", {"presolve": "on"}),
    ("a second run, without restarts", {"presolve": "off", "mip_allow_restart": False}),
)
"""The runs that may contradict it: how a report calls each, and its HiGHS options.  The later one is for
claims that the first can say nothing about, because a point in hand shows that presolve went wrong."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What one run of HiGHS says of a mixed-integer program.

    Attributes
    ----------
    status : Status
    stop : StopReason
    objective, bound : float or None
        As in `SolveOutcome`.
    values : float64[column] or None
        The best solution, integer columns rounded.
    nodes : int or None
    message : str
    confirmed_by : str or None
        What confirms a claim that closes the program.
    """

    status: Status
    stop: StopReason
    objective: float | None = None
    bound: float | None = None
    values: FloatArray | None = None
    nodes: int | None = None
    message: str = ""
    confirmed_by: str | None = None

    @property
    def ended(self) -> bool:
        """Whether the run came to its own end, not to a limit."""
        return self.stop in (StopReason.OPTIMAL, StopReason.GAP_REACHED, StopReason.INFEASIBLE)

    def closes(self, gap: float) -> bool:
        """Whether its word would end the search: nothing exists, or nothing better by more than a gap."""
        if self.status in (Status.OPTIMAL, Status.INFEASIBLE):
            return True
        found = relative_gap(self.objective, self.bound)
        return found is not None and found <= max(gap, RELATIVE_TOLERANCE)


def feasible(program: LinearProgram, values: FloatArray | None) -> bool:
    """Whether a reading's solution satisfies every row as it stands, whatever the solver says of it.

    Parameters
    ----------
    program : LinearProgram
    values : float64[column] or None
        None satisfies nothing.
    """
    if values is None or not np.isfinite(values).all():
        return False
    return program.violation(values)[0] <= FEASIBILITY_TOLERANCE


def reconcile(program: LinearProgram, first: Reading, second: Reading, gap: float, name: str) -> Reading:
    """What remains of a claim that closes the program, after a second reading.

    Parameters
    ----------
    program : LinearProgram
    first : Reading
        One that `Reading.closes`.
    second : Reading
        Of the same program.
    gap : float
        The relative gap asked for.
    name : str
        How a report calls the second reading.

    Returns
    -------
    Reading
        The claim, confirmed; or the better of both solutions, with the stop reason ``unconfirmed``,
        a message, and no bound if a solution contradicts it.
    """
    nodes = None if first.nodes is None and second.nodes is None else (first.nodes or 0) + (second.nodes or 0)
    first = replace(first, nodes=nodes)
    found = feasible(program, second.values)
    if first.status is Status.INFEASIBLE:
        if second.status is Status.INFEASIBLE:
            return replace(first, confirmed_by=name)
        if found:
            return _contradicted(first, second, "infeasible")
        return _unconfirmed(replace(first, status=Status.UNKNOWN), second, "infeasible")
    assert first.objective is not None
    assert first.bound is not None
    claim = f"a bound of {first.bound:.9g}"
    if found and second.objective is not None and second.objective < first.bound - _slack(first.bound):
        return _contradicted(first, second, claim)
    if second.bound is None or not _within(first.objective, second.bound, gap):
        return _unconfirmed(replace(first, status=Status.FEASIBLE), second, claim)
    if found and second.objective is not None and second.objective < first.objective:
        first = replace(first, objective=second.objective, values=second.values)
        assert first.bound is not None
        assert first.objective is not None
        first = replace(first, bound=min(first.bound, first.objective))
    return replace(first, confirmed_by=name)


def _slack(bound: float) -> float:
    """By how much two readings of one number may differ."""
    return RELATIVE_TOLERANCE * max(1.0, abs(bound))


def _within(objective: float, bound: float, gap: float) -> bool:
    """Whether a bound closes the gap to an objective as far as it was asked for, tolerances aside."""
    return objective - bound <= gap * abs(objective) + _slack(objective)


def _contradicted(first: Reading, second: Reading, claim: str) -> Reading:
    """The second run's solution, and no bound."""
    return replace(
        first,
        status=Status.FEASIBLE,
        stop=StopReason.UNCONFIRMED,
        objective=second.objective,
        bound=None,
        values=second.values,
        message=f"dropped what HiGHS claims ({claim}): a second run has a solution of {second.objective:.9g}",
    )


def _unconfirmed(first: Reading, second: Reading, claim: str) -> Reading:
    """The first run's solution and bound, which close nothing."""
    return replace(
        first,
        stop=StopReason.UNCONFIRMED,
        message=f"HiGHS claims {claim}; the run that was to confirm it ended without ({second.stop.value})",
    )
