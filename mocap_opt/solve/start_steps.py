"""Steps that ask the heuristics for plans."""

from __future__ import annotations

from collections.abc import Sequence

from mocap_opt.baselines import METHODS
from mocap_opt.solve.search_state import JointSearch
from mocap_opt.stopping import AskedToStop

FIRST = ("search-greedy", "uniform-greedy", "mocap")
"""Heuristics that run before any bound: fast, and between them seldom without a plan."""

WITH_SOLVER = ("search-program",)
"""Heuristics that run a solver; tried only when the others leave something to gain."""

OTHERS = tuple(name for name in METHODS if name not in (*FIRST, *WITH_SOLVER))
"""The rest."""

NEEDED_S = 15.0
"""Seconds that must be left for the heuristics that run a solver, unless no plan is known."""


def first_heuristics(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Ask the first heuristics.

    If the share of this step ends before any of them has a plan, they are asked again, until one has, in
    all the time left and a little more.
    """
    ask_heuristics(search, FIRST, asked_to_stop)
    if search.state.best is not None or not asked_to_stop():
        return
    search.reasons.clear()
    for name in FIRST:
        if search.state.best is None and not search.state.grace.expired:
            ask_heuristics(search, [name], search.state.grace)


def other_heuristics(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Ask every other heuristic that needs no solver."""
    ask_heuristics(search, OTHERS, asked_to_stop)


def heuristics_with_solver(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Ask the heuristics that run a solver."""
    ask_heuristics(search, WITH_SOLVER, asked_to_stop)


def too_late_for_solver(search: JointSearch) -> str | None:
    """Why heuristics that run a solver are not worth their time, in words."""
    if search.state.best is None or search.state.deadline.left_s > NEEDED_S:
        return None
    return f"a plan is known, and less than {NEEDED_S:g} s are left"


def ask_heuristics(search: JointSearch, names: Sequence[str], asked_to_stop: AskedToStop) -> None:
    """Offer what each heuristic proposes.

    Parameters
    ----------
    search : JointSearch
        Receives the plans, and the reasons of those that found none.
    names : sequence of str
        Of `METHODS`.
    asked_to_stop : callable
    """
    for name in names:
        if asked_to_stop():
            break
        proposal = METHODS[name].propose(search.tables, asked_to_stop)
        search.state.offer(proposal.plan, name)
        if proposal.plan is None:
            search.reasons.append(f"{name}: {proposal.reason}")
        else:
            search.starts.append((name, proposal.plan))
