"""The joint method: heuristics, local search, then both programs, each from the best plan so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from mocap_opt.bounds import BOUNDS, QUICK, branch_on_boundaries, lower_bounds, prove_infeasible
from mocap_opt.bounds.traffic_windows import traffic_windows
from mocap_opt.formulations.size import MOST_NONZEROS, estimated_building_s, estimated_nonzeros
from mocap_opt.heuristics import METHODS
from mocap_opt.heuristics.estimate import contention_free_latency, estimate
from mocap_opt.heuristics.greedy import greedy
from mocap_opt.heuristics.linearised import linearised
from mocap_opt.heuristics.local_search import improve, perturb
from mocap_opt.plan import Plan
from mocap_opt.solvers.outcome import StopReason
from mocap_opt.solving.links import LinkRelief
from mocap_opt.solving.partitions import place_least_partitions
from mocap_opt.solving.programs import LOCKSTEP_PROGRAM, Solver, run_program
from mocap_opt.solving.state import SearchState
from mocap_opt.solving.strategy import Strategy
from mocap_opt.solving.unhindering import unhinder
from mocap_opt.stopping import AskedToStop

NEEDS_SOLVER = frozenset({"search-program"})
"""Heuristics that run a solver; tried only when the others leave something to gain."""

FIRST = ("search-greedy", "uniform-greedy", "mocap")
"""Heuristics that run before any bound: fast, and between them seldom without a plan."""

QUICK_SHARE = 0.4
"""Part of the time left that the quick bounds may take before more plans are looked for."""

LATER = frozenset({"path_mixture"})
"""Quick bounds that wait where programs follow early: at such sizes the programs prove more in their time."""

CLIMBS = 3
"""Plans that local search starts from, best first."""

CLIMBING_SHARE = 0.3
"""Part of the time left that they may take; large instances have better use for the rest."""

SEARCH_SHARE = 0.2
"""Part of the time left that shaking, and then the search on homes alone, may take."""

SHAKES = 40
"""Rounds of shaking boundaries and climbing again."""

WORSE = Fraction(101, 100)
"""How much longer a plan may take with greedy homes for its boundaries to be shaken."""

BRANCHING_PROGRAMS = 4000
"""Linear programs that branch and bound on the boundaries may solve, whatever the time."""

AIMED = frozenset({"boundary_branching", "listed_partitions", "traffic_windows"})
"""Bounds that are told where to aim, and run on their own."""

STALLED = 3
"""Rounds without a better plan after which shaking ends, time left or not."""

UNHINDERINGS = 3
"""Rounds of letting chunks wait less for memory before the slower bounds."""

BOUNDS_SHARE = 0.4
"""Part of the time left for the slower bounds where programs follow them."""

NEEDED_S = 15.0
"""Seconds that must be left for the heuristics that run a solver, unless no plan is known."""


def solve_jointly(state: SearchState, strategy: Strategy, *, seed: int) -> tuple[str | None, str | None]:
    """Run the heuristics, the local search and the programs until the gap is reached or time is up.

    Parameters
    ----------
    state : SearchState
    strategy : Strategy
        The programs to run when searches and bounds leave a gap.
    seed : int

    Returns
    -------
    reason : str or None
        Why there is no plan, if there is none.
    solver : str or None
        The solver that was used, if any.
    """
    reasons, plans = run_heuristics(state, FIRST)
    if settle_feasibility(state):
        return None, None
    add_quick_bounds(state, QUICK_SHARE, without=LATER if strategy.early else frozenset())
    if strategy.early:
        place_least_partitions(state, seed)
    others = [name for name in METHODS if name not in NEEDS_SOLVER and name not in FIRST]
    why_not, more_plans = run_heuristics(state, others)
    reasons += why_not
    plans += more_plans
    relief = LinkRelief(state)
    relief.place(plans)
    climbed = climb(state, plans, seed)
    relief.place(climbed)
    relief.move_boundaries(seed)
    keep_unhindering(state, [plan for _, plan in climbed], seed)
    rule_out_partitions(state, relief)
    used = run_programs(state, strategy, seed, reasons) if strategy.early else None
    shake(state, seed)
    refine_homes(relief)
    sharpen_bounds(state, 1.0 - SEARCH_SHARE if strategy.early or not strategy.programs else BOUNDS_SHARE)
    if not state.done and (state.best is None or state.remaining_s > NEEDED_S):
        reasons += run_heuristics(state, sorted(NEEDS_SOLVER))[0]
    if not strategy.early:
        used = run_programs(state, strategy, seed, reasons)
    keep_shaking(state, relief, seed)
    if state.best is None:
        return "; ".join(["no plan found", *reasons]), used
    return None, used


def settle_feasibility(state: SearchState) -> bool:
    """Without a plan, try to prove that there is none; whether that is proved."""
    if state.best is None:
        impossible = prove_infeasible(state.tables, state.out_of_grace)
        state.infeasible_reason = None if impossible is None else impossible.message
    return state.infeasible_reason is not None


def add_quick_bounds(state: SearchState, share: float, without: frozenset[str] = frozenset()) -> None:
    """Compute the quick bounds in a share of the time left, and remember if that cut them short."""
    asked_to_stop = state.deadline(share)
    state.add_bounds(lower_bounds(state.tables, asked_to_stop=asked_to_stop, without=without))
    state.bounds_cut_short = bool(without) or (asked_to_stop() and not state.done)


def run_heuristics(state: SearchState, names: Sequence[str]) -> tuple[list[str], list[tuple[str, Plan]]]:
    """Offer what each heuristic proposes; without any plan yet, `FIRST` have a little more time.

    Returns
    -------
    reasons : list of str
        Of those that found no plan, why.
    plans : list of (str, Plan)
        Of the others, their names and plans.
    """
    reasons: list[str] = []
    plans: list[tuple[str, Plan]] = []
    for name in names:
        owed = state.best is None and name in FIRST
        asked_to_stop = state.out_of_grace if owed else state.deadline(1.0)
        if asked_to_stop():
            break
        proposal = METHODS[name].propose(state.tables, asked_to_stop)
        state.offer(proposal.plan, name)
        if proposal.plan is None:
            reasons.append(f"{name}: {proposal.reason}")
        else:
            plans.append((name, proposal.plan))
    return reasons, plans


def climb(state: SearchState, plans: list[tuple[str, Plan]], seed: int) -> list[tuple[str, Plan]]:
    """Improve the most promising distinct plans by local search.

    Returns
    -------
    list of (str, Plan)
        What was found, and from where.
    """
    latencies = {trial.source: trial.latency for trial in state.trials if trial.latency is not None}
    ranked = sorted(((latencies[name], name, plan) for name, plan in plans), key=lambda entry: entry[:2])
    tried: set[tuple[int, ...]] = set()
    climbed: list[tuple[str, Plan]] = []
    asked_to_stop = state.deadline(CLIMBING_SHARE)
    for _, name, plan in ranked:
        if asked_to_stop() or len(tried) == CLIMBS:
            break
        if plan.boundaries in tried:
            continue
        tried.add(plan.boundaries)
        better = improve(state.tables, plan, seed=seed, asked_to_stop=asked_to_stop)
        if better:
            climbed.append((f"{name} + local search", better[0]))
            state.offer(better[0], climbed[-1][0])
        climbed += balance(state, name, better[0] if better else plan, seed, asked_to_stop)
    return climbed


def balance(
    state: SearchState, name: str, plan: Plan, seed: int, asked_to_stop: AskedToStop
) -> list[tuple[str, Plan]]:
    """Move all boundaries at once by linear programs, round, and climb from the best roundings."""
    if asked_to_stop():
        return []
    rounded = linearised(state.tables, plan, asked_to_stop=asked_to_stop)
    rounded.sort(key=lambda found: contention_free_latency(state.tables, found))
    climbed: list[Plan] = []
    for start in rounded[:CLIMBS]:
        if asked_to_stop():
            break
        found = improve(state.tables, start, seed=seed, asked_to_stop=asked_to_stop)
        climbed.append((found or [start])[0])
    climbed = climbed or rounded[:1]
    if not climbed:
        return []
    best = min(climbed, key=lambda found: contention_free_latency(state.tables, found))
    state.offer(best, f"{name} + linearised")
    return [(f"{name} + linearised", best)]


def sharpen_bounds(state: SearchState, share: float) -> None:
    """Compute the bounds that take longer, while the gap is open and for a share of the time left."""
    asked_to_stop = state.deadline(share)
    if state.bounds_cut_short:
        state.add_bounds(lower_bounds(state.tables, asked_to_stop=asked_to_stop))
    for name, bound in BOUNDS.items():
        if asked_to_stop() or name in QUICK or name in AIMED:
            continue
        found = bound(state.tables, asked_to_stop=asked_to_stop)
        if found is not None:
            state.add_bounds([found], name)
    headline = state.headline
    if asked_to_stop() or state.best is None:
        return
    branch_on_boundaries(
        state.tables,
        incumbent=math.floor(state.best.latency),
        known=0 if headline is None else headline.ticks,
        most_programs=BRANCHING_PROGRAMS,
        asked_to_stop=asked_to_stop,
        on_bound=lambda found: state.add_bounds([found], found.name),
    )


def rule_out_partitions(state: SearchState, relief: LinkRelief) -> None:
    """Where traffic costs the best plan latency, and partitions are few: prove that it has to."""
    headline = state.headline
    if state.done or state.best is None or not relief.congested:
        return
    found = traffic_windows(
        state.tables,
        asked_to_stop=lambda: state.done,
        incumbent=math.floor(state.best.latency),
        known=0 if headline is None else headline.ticks,
    )
    if found is not None:
        state.add_bounds([found], found.name)


def shake(state: SearchState, seed: int) -> None:
    """Shake the best plan out of its local optimum."""
    if state.best is None or state.done:
        return
    plan = state.best.plan
    if not greedy_will_do(state, plan):
        return
    better = perturb(state.tables, plan, rounds=SHAKES, seed=seed, asked_to_stop=state.deadline(SEARCH_SHARE))
    if better is not plan:
        state.offer(better, f"{state.best_source} + shaken")


def greedy_will_do(state: SearchState, plan: Plan) -> bool:
    """Whether greedy homes come close to those of a plan; shaken boundaries get no others."""
    if not plan.homes or state.best_latency is None:
        return True
    indices = plan.grid_indices(state.tables)
    pages = greedy(state.tables, indices).pages
    return pages is not None and estimate(state.tables, indices, pages) <= state.best_latency * WORSE


def keep_unhindering(state: SearchState, plans: Sequence[Plan], seed: int) -> None:
    """Let chunks wait less for memory, again from what was found as long as that helps."""
    for n in range(UNHINDERINGS):
        before = state.best_latency
        unhinder(state, plans if n == 0 else [], seed + n)
        if state.best_latency == before:
            break


def keep_shaking(state: SearchState, relief: LinkRelief, seed: int) -> None:
    """Spend what time is left on shaking the best plan, each round with a seed of its own."""
    stalled = 0
    while not state.done and state.best is not None and stalled < STALLED:
        seed += 1
        before = state.best_latency
        unhinder(state, [], seed)
        shake(state, seed)
        relief.move_boundaries(seed)
        refine_homes(relief)
        stalled = stalled + 1 if state.best_latency == before else 0


def refine_homes(relief: LinkRelief) -> None:
    """Make traffic of the best plan cost less: other homes, all at once and then one by one."""
    relief.place_best()
    relief.move_homes()


def worth_building(state: SearchState, name: str, solver: Solver) -> bool:
    """Whether building a program leaves time to solve it; a note says if not."""
    nonzeros = estimated_nonzeros(state.tables, solver.value)
    needed = estimated_building_s(state.tables, solver.value)
    if nonzeros > MOST_NONZEROS:
        why = f"about {nonzeros:,} non-zeros, more than {MOST_NONZEROS:,}"
    elif needed >= state.remaining_s:
        why = f"which would take about {needed:.0f} s, longer than was left"
    else:
        return True
    state.notes.append(f"{name} ({solver.value}): not built, {why}")
    return False


def run_programs(state: SearchState, strategy: Strategy, seed: int, reasons: list[str]) -> str | None:
    """Run the programs of a strategy, each from the best plan so far; the solver's name if one ran."""
    used: str | None = None
    for program, share in strategy.programs:
        if state.done or state.infeasible_reason:
            break
        if not worth_building(state, program.name, strategy.solver):
            continue
        start = state.best_lockstep if program is LOCKSTEP_PROGRAM else state.best
        result = run_program(
            state,
            program,
            strategy.solver,
            start=None if start is None else start.plan,
            time_limit_s=share * state.remaining_s,
            seed=seed,
        )
        used = strategy.solver.value
        if result.outcome.stop is StopReason.ERROR:
            reasons.append(f"{program.name}: {result.outcome.message}")
    return used
