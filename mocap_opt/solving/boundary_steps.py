"""Steps that move boundaries: local search, sequential linear programming."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.plan import Plan
from mocap_opt.search.boundary_judges import judge_for
from mocap_opt.search.boundary_slp import boundary_slp_plans
from mocap_opt.search.local_search import improve, iterate
from mocap_opt.solving.search_state import JointSearch, NamedPlan
from mocap_opt.stopping import AskedToStop

STARTS = 3
"""Plans that local search starts from, best first, and roundings that it goes on from."""

LOCAL_SEARCH = " + local search"

ITERATED = " + iterated local search"
"""Suffix of the source of plans that perturbations led to."""


def _starts(search: JointSearch) -> Iterator[NamedPlan]:
    """The most promising plans of the heuristics, of unlike boundaries, best first."""
    trials = {trial.source: trial.latency_in(search.state.execution) for trial in search.state.trials}
    known = [
        (latency, name, plan) for name, plan in search.starts if (latency := trials.get(name)) is not None
    ]
    tried: set[tuple[int, ...]] = set()
    for _, name, plan in sorted(known, key=lambda entry: entry[:2]):
        if len(tried) == STARTS:
            return
        if plan.boundaries not in tried:
            tried.add(plan.boundaries)
            yield name, plan


def local_search(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Improve the most promising plans of the heuristics, each until no move helps.

    Parameters
    ----------
    search : JointSearch
        Its starts are improved; `improved` and its state receive the results.
    asked_to_stop : callable
        Checked between plans and between moves.
    """
    judge = judge_for(search.tables, search.state.execution)
    for name, plan in _starts(search):
        if asked_to_stop():
            break
        found = improve(search.tables, plan, judge=judge, seed=search.seed, asked_to_stop=asked_to_stop)
        if found:
            source = f"{name}{LOCAL_SEARCH}"
            search.improved.append((source, found[0]))
            search.state.offer(found[0], source)


def boundary_slp(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Move all boundaries at once by linear programs, round, and improve the best roundings by local search.

    Parameters
    ----------
    search : JointSearch
        `improved` and its state receive the best plan of every start.
    asked_to_stop : callable
        Checked between linear programs, roundings and moves.
    """
    tables, reached = search.tables, dict(search.improved)
    judge = judge_for(tables, search.state.execution)
    price, lockstep = partial(judge.of, tables), search.state.execution is Execution.LOCKSTEP
    for name, start in list(_starts(search)):
        if asked_to_stop():
            break
        plan = reached.get(f"{name}{LOCAL_SEARCH}", start)
        rounded = boundary_slp_plans(tables, plan, lockstep=lockstep, asked_to_stop=asked_to_stop)
        rounded.sort(key=price)
        found: list[Plan] = []
        for rounding in rounded[:STARTS]:
            if asked_to_stop():
                break
            better = improve(tables, rounding, judge=judge, seed=search.seed, asked_to_stop=asked_to_stop)
            found.append((better or [rounding])[0])
        found = found or rounded[:1]
        if found:
            best = min(found, key=price)
            search.state.offer(best, f"{name} + boundary SLP")
            search.improved.append((f"{name} + boundary SLP", best))


def no_iterated_search(search: JointSearch) -> str | None:
    """Why boundaries are not perturbed, in words."""
    if search.state.execution is not Execution.LOCKSTEP:
        return "only lockstep has many local optima"
    return None if search.state.best is not None else "no plan is known"


def iterated_local_search(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Perturb the boundaries of the best plan and improve them by local search, again and again.

    Parameters
    ----------
    search : JointSearch
        Must have a plan.  Its state receives a better one.
    asked_to_stop : callable
        Checked between perturbations and between moves.
    """
    state = search.state
    assert state.best is not None
    judge, plan = judge_for(state.tables, state.execution), state.best.plan
    better = iterate(state.tables, plan, judge, seed=search.seed, asked_to_stop=asked_to_stop)
    if better is not plan:
        source = (state.best_source or "").removesuffix(ITERATED)
        state.offer(better, f"{source}{ITERATED}")
