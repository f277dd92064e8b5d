"""Steps where links are scarce: homes that balance the links, and moves of boundaries and homes, replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial

from mocap_opt.homes.home_search import improve_grouped_homes, improve_homes, placement_program
from mocap_opt.homes.link_balancing_lp import link_balancing_lp
from mocap_opt.replay.contention_free_makespan import contention_free_latency, without_traffic
from mocap_opt.replay.evaluation import Execution, assess
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.search.boundary_judges import judge_for
from mocap_opt.search.replayed_boundary_search import improve_boundaries
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.solving.search_state import JointSearch, NamedPlan
from mocap_opt.stopping import AskedToStop, StoppedError
from mocap_opt.tables.cost_tables import Tables

MOST_HOMES = 2048
"""Stages squared times chunks, at most, for which every move gets homes by the placement program."""

PLACEMENT_S = 2.0
"""Wall time of one placement, seconds."""

PLACEMENT_UNITS = 1.0
"""The same under a deterministic limit, in units of `mocap_opt.solvers.limits.Limits`."""

Price = Callable[[Plan], Fraction]
"""Latency of a feasible plan, ticks."""

WORTH = Fraction(1, 1000)
"""Least part of the latency that traffic has to cost for boundaries to get other homes."""


def latency_at_home(tables: Tables, plan: Plan, execution: Execution | None) -> Fraction:
    """Latency of a plan's boundaries with all KV at home, ticks; no homes can beat it.

    Parameters
    ----------
    tables : Tables
    plan : Plan
        Only its boundaries count.
    execution : Execution or None
        Whose latency: that of lockstep, otherwise the contention-free one.
    """
    at_home = Plan(plan.boundaries)
    if execution is Execution.LOCKSTEP:
        return Fraction(replay_lockstep(tables, at_home).latency)
    return Fraction(contention_free_latency(tables, at_home))


def congested(state: SearchState) -> bool:
    """Whether traffic costs the best plan latency; waiting for memory is another matter."""
    best, latency = state.best, state.best_latency
    if best is None or latency is None or not best.plan.homes:
        return False
    if state.execution is Execution.LOCKSTEP:
        least = latency_at_home(state.tables, best.plan, state.execution)
    else:
        least = Fraction(without_traffic(state.tables, best.plan))
    return latency - least > WORTH * latency


def not_congested(search: JointSearch) -> str | None:
    """Why traffic is not looked into, in words."""
    if search.state.best is None:
        return "no plan is known"
    return None if congested(search.state) else "traffic costs the best plan no latency"


def no_remote_homes(search: JointSearch) -> str | None:
    """Why no homes are moved, in words."""
    if search.state.best is None:
        return "no plan is known"
    return None if search.state.best.plan.homes else "all KV of the best plan is at home"


def no_better_homes(search: JointSearch) -> str | None:
    """Why no homes of the best plan's boundaries are sought, in words."""
    state = search.state
    best, latency = state.best, state.best_latency
    if best is None or latency is None or not best.plan.homes:
        return no_remote_homes(search)
    if latency - latency_at_home(state.tables, best.plan, state.execution) <= state.gap * latency:
        return "no other homes make the best plan faster"
    return None


def link_balanced_homes(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Give boundaries homes that balance the links: those of all plans so far, then of the best plan.

    Parameters
    ----------
    search : JointSearch
        Its state receives the plans.
    asked_to_stop : callable
        Checked between plans and by the linear program.
    """
    if search.round == 0:
        place(search, [*search.starts, *search.improved], asked_to_stop)
    if search.state.best is not None and congested(search.state):
        place(search, [(search.state.best_source or "", search.state.best.plan)], asked_to_stop)


def place(search: JointSearch, plans: Sequence[NamedPlan], asked_to_stop: AskedToStop) -> None:
    """Give the boundaries of plans link-balanced homes, where that can make a better plan.

    Parameters
    ----------
    search : JointSearch
    plans : sequence of (str, Plan)
        Where they come from, and the plans; those that take least without traffic go first.
    asked_to_stop : callable
    """
    state = search.state
    for least, source, plan in sorted(
        (
            (latency_at_home(state.tables, plan, state.execution), source, plan)
            for source, plan in plans
            if plan.homes
        ),
        key=lambda entry: entry[:2],
    ):
        latency = state.best_latency
        if asked_to_stop() or latency is None or latency - least <= WORTH * latency:
            break
        if plan.boundaries in search.placed:
            continue
        indices = plan.grid_indices(state.tables)
        try:
            pages = link_balancing_lp(state.tables, indices, asked_to_stop).pages
        except StoppedError:
            break
        search.placed.add(plan.boundaries)
        if pages is not None:
            found = Plan.from_arrays(state.tables, indices, pages, plan.fingerprint)
            state.offer(found, f"{source} + link-balanced homes")


def replayed_boundary_search(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Local search on boundaries, each with link-balanced homes, judged by the replays.

    Parameters
    ----------
    search : JointSearch
        Must have a plan.  Its state receives a better one.
    asked_to_stop : callable
        Checked between moves.
    """
    judge = judge_for(search.tables, search.state.execution)
    moves = partial(improve_boundaries, judge=judge, seed=search.seed, asked_to_stop=asked_to_stop)
    _improve(search.state, moves, "replayed boundary search")


def no_placed_search(search: JointSearch) -> str | None:
    """Why boundaries do not get homes by the placement program, in words."""
    tables = search.tables
    if tables.stages**2 * tables.max_chunks > MOST_HOMES:
        return "too large for the placement program"
    if search.state.execution is Execution.LOCKSTEP:
        # Where memory is nearly full, whole pages decide which boundaries have homes.
        return no_remote_homes(search)
    return not_congested(search)


def placed_boundary_search(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Local search on boundaries, each with homes by the placement program, judged by the replays.

    Parameters
    ----------
    search : JointSearch
        Must have a plan.  Its state receives a better one.
    asked_to_stop : callable
        Checked between moves and by the program.
    """
    deterministic = search.state.deterministic_limit is not None
    homes = partial(
        placement_program,
        first=link_balancing_lp,
        time_limit_s=None if deterministic else PLACEMENT_S,
        deterministic_limit=PLACEMENT_UNITS if deterministic else None,
    )
    judge = judge_for(search.tables, search.state.execution)
    moves = partial(
        improve_boundaries, homes=homes, judge=judge, seed=search.seed, asked_to_stop=asked_to_stop
    )
    _improve(search.state, moves, "placed boundary search")


def home_search(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Local search on single homes of the best plan, down to its latency with all KV at home.

    Parameters
    ----------
    search : JointSearch
        Must have a plan.  Its state receives a better one.
    asked_to_stop : callable
        Checked between moves.
    """
    _improve_homes(search, partial(improve_homes, asked_to_stop=asked_to_stop), "home search")


def no_grouped_search(search: JointSearch) -> str | None:
    """Why groups of homes are not moved, in words."""
    tables = search.tables
    if tables.stages**2 * tables.max_chunks <= MOST_HOMES:
        return "at this size the placement program finds homes"
    return not_congested(search)


def grouped_home_search(search: JointSearch, asked_to_stop: AskedToStop) -> None:
    """Local search on all that a stage keeps in a memory, down to the latency with all KV at home.

    Parameters
    ----------
    search : JointSearch
        Must have a plan.  Its state receives a better one.
    asked_to_stop : callable
        Checked between moves.
    """
    moves = partial(improve_grouped_homes, seed=search.seed, asked_to_stop=asked_to_stop)
    _improve_homes(search, moves, "grouped home search")


def _improve_homes(search: JointSearch, moves: Callable[..., Plan], what: str) -> None:
    """Let a local search on homes go down to the latency that no homes of the best boundaries beat."""
    state = search.state
    assert state.best is not None
    target = latency_at_home(state.tables, state.best.plan, state.execution)
    _improve(state, partial(moves, target=target), what)


def _improve(state: SearchState, moves: Callable[[Tables, Plan, Price], Plan], what: str) -> None:
    """Let a local search look for a better plan than the best one, at the latency that counts."""
    assert state.best is not None
    plan = state.best.plan
    better = moves(state.tables, plan, lambda found: assess(state.tables, found).latency_in(state.execution))
    if better is not plan:
        state.offer(better, f"{state.best_source} + {what}")
