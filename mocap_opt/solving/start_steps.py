"""Steps that ask the heuristics for plans."""

from __future__ import annotations

from collections.abc import Sequence

from mocap_opt.baselines import METHODS
from mocap_opt.solving.search_state import JointSearch
from mocap_opt.stopping import AskedToStop

FIRST = ("search-greedy", "uniform-greedy", "mocap")
"""Heuristics that run before any bound: fast, and between them seldom without a plan."""

AGAIN = ("uniform-greedy", "search-greedy", "mocap")
"""The same in the order in which they are asked again where time is too short for all: least work first."""

OTHERS = ("search-spread", "terapipe")
"""Those that find a better start than the first ones on some instances: where links are scarce, and where
chunk times were measured."""

LAST = tuple(name for name in METHODS if name not in (*FIRST, *OTHERS))
"""The rest: they found no better start on the benchmarks, but may find the only plan."""


def first_heuristics(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Ask the first heuristics.

    If the share of this step ends before any of them has a plan, they are asked again, until one has, in
    all the time left and a little more; the quickest first, since the first one may have used up the share.

    Parameters
    ----------
    search : JointSearch
        `starts`, `reasons` and its state receive what is found.
    asked_to_stop : callable
        Checked between heuristics and by them.
    """
    ask_heuristics(search, FIRST, asked_to_stop)
    if search.state.best is not None or not asked_to_stop():
        return
    search.reasons.clear()
    for name in AGAIN:
        if search.state.best is None and not search.state.grace.expired:
            ask_heuristics(search, [name], search.state.grace)


def other_heuristics(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Ask the other heuristics that may have a better plan, and the rest as long as there is no plan.

    Parameters
    ----------
    search : JointSearch
        `starts`, `reasons` and its state receive what is found.
    asked_to_stop : callable
        Checked between heuristics and by them.
    """
    ask_heuristics(search, OTHERS, asked_to_stop)
    for name in LAST:
        if search.state.best is not None:
            break
        ask_heuristics(search, [name], asked_to_stop)


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
