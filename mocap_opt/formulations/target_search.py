"""Solving the lockstep program from below: small targets first, because they prune the chunk graph.

A model of the plans no worse than a target has few chunks to choose from as long as the target is
near the least latency that the graph allows.  If such a model has no plan, the target was too
small, and that is a lower bound; if it has one, its optimum is the optimum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import pyomo.environ as pyo

from mocap_opt.formulations.chunk_graph import chunk_graph, least_latency
from mocap_opt.formulations.home_families import horizon
from mocap_opt.formulations.pyomo_solution import (
    CHUNK_GRAPH,
    Attempt,
    Check,
    attempt,
    conclude,
    no_plan,
    without_contradicted,
)
from mocap_opt.formulations.slot_times import lockstep_latency
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers.limits import NODES_PER_UNIT, Limits
from mocap_opt.solvers.outcome import ProgramResult, Progress, SolveOutcome, Status, StopReason, relative_gap
from mocap_opt.tables.cost_tables import Tables

STEPS = 16
"""The first target stands this part of the way from the least to the best known latency."""

FEW_CHUNKS = 300
"""Graphs with so few arcs are not worth pruning further."""

GROWTH = 3
"""From target to target, the distance to the least latency grows so much."""

FIRST_GUESS = 50
"""Without a known plan, the first target is the least latency and a part in so many."""

WORTH_PRUNING = 0.7
"""A target is tried if it leaves at most this part of the chunks."""

SHARE_OF_TIME = 0.5
"""Part of the time or nodes left that a target below the best known latency may take."""

Build = Callable[[int | None], pyo.ConcreteModel | None]


@dataclass
class _Search:
    """What is known so far.

    `lower` is proved, and closes gaps; `unconfirmed` is the word of a run that nothing confirms.
    """

    tables: Tables
    limits: Limits
    check: Check
    lower: int
    plans: list[Plan]
    upper: int | None = None
    unconfirmed: int = 0
    confirmed_by: str = CHUNK_GRAPH
    last: SolveOutcome | None = None
    build_s: float = 0.0
    solve_s: float = 0.0
    nodes: int = 0
    asked_to_stop: bool = False
    solved: bool = False
    infeasible: bool = False

    def __post_init__(self) -> None:
        """Price the start."""
        for plan in self.plans:
            self.upper = lockstep_latency(self.tables, plan)

    @property
    def best(self) -> Plan | None:
        """The best plan known."""
        return self.plans[-1] if self.plans else None

    @property
    def left_nodes(self) -> int | None:
        """Nodes left."""
        return None if self.limits.nodes is None else max(0, self.limits.nodes - self.nodes)

    @property
    def left_s(self) -> float | None:
        """Seconds left."""
        return self.limits.deadline.limit_s

    def close_enough(self, incumbent: float | None, bound: float | None) -> bool:
        """Whether a gap is closed as far as it was asked for.

        Parameters
        ----------
        incumbent, bound : float or None, ticks
        """
        gap = relative_gap(incumbent, bound)
        return gap is not None and gap <= self.limits.gap

    def learn(self, run: Attempt, target: int | None) -> None:
        """Take over what a run proved and found.

        Parameters
        ----------
        run : Attempt
        target : int or None, ticks
            The latency that the model's plans kept to; None if it held all plans.
        """
        self.last = run.raw
        self.build_s += run.raw.build_s
        self.solve_s += run.raw.solve_s
        self.nodes += run.raw.nodes or 0
        if run.raw.status is Status.INFEASIBLE:
            self.infeasible = target is None
            self.lower = self.lower if target is None else max(self.lower, target + 1)
        if run.bound is not None:
            # Plans that the model leaves out are worse than the target.
            bound = run.bound if target is None else min(run.bound, target + 1)
            if run.raw.closes:
                self.lower = max(self.lower, bound)
            else:
                self.unconfirmed = max(self.unconfirmed, bound)
        if run.raw.confirmed_by is not None:
            self.confirmed_by = run.raw.confirmed_by
        if run.plan is not None:
            latency = lockstep_latency(self.tables, run.plan)
            if self.upper is None or latency < self.upper:
                self.upper = latency
                self.plans.append(run.plan)
        within = target is None or (self.upper is not None and self.upper <= target)
        self.solved = within and run.raw.status is Status.OPTIMAL and run.plan is not None

    def watch(self, target: int | None) -> Callable[[Progress], bool]:
        """Report the progress of a run as progress of the whole, and stop it once that is enough."""

        def report(progress: Progress) -> bool:
            known = [v for v in (progress.incumbent, self.upper) if v is not None]
            incumbent = min(known, default=None)
            bound: float = self.lower
            if progress.bound is not None:
                bound = max(bound, progress.bound if target is None else min(progress.bound, target + 1))
            if incumbent is not None:
                bound = min(bound, incumbent)
            if self.limits.callback is not None:
                news = Progress(self.limits.deadline.elapsed_s, incumbent, bound, progress.plan)
                self.asked_to_stop |= self.limits.callback(news)
            # Nothing stops because of a bound on the way: it takes a second reading to close a gap.
            enough = self.limits.nodes is None and self.close_enough(incumbent, self.lower)
            return self.asked_to_stop or enough

        return report


def search_by_targets(
    tables: Tables,
    start: Plan | None,
    limits: Limits,
    build: Build,
    check: Check = violations,
) -> ProgramResult:
    """Solve a program for one target after the other.

    Parameters
    ----------
    tables : Tables
    start : Plan, optional
        Feasible; the result is never worse.
    limits : Limits
    build : callable
        Builds the model of the plans no worse than a target, or of all plans; None if the chunk
        graph is empty.
    check : callable
        Lists what a plan breaks; usually `mocap_opt.schedule.verify.violations`.
    """
    if start is None and chunk_graph(tables).empty:
        return no_plan(limits, "no boundaries keep to the limits and fit in memory")
    search = _Search(tables, limits, check, 0, [] if start is None else [start])
    search.lower = least_latency(tables, search.upper or horizon(tables))
    width = max(1, search.lower // FIRST_GUESS)
    if search.upper is not None:
        width = max(1, (search.upper - search.lower) // STEPS)
    floor = search.lower
    if _arcs(tables, search.upper) <= FEW_CHUNKS:
        width = max(1, search.upper or horizon(tables))
    while not search.solved and not search.close_enough(search.upper, search.lower):
        target: int | None = max(floor + width, search.lower)
        final = width >= floor if search.upper is None else floor + width >= search.upper
        if not final and _arcs(tables, target) > WORTH_PRUNING * _arcs(tables, search.upper):
            width *= GROWTH
            continue
        target = search.upper if final else target
        if not _step(search, target, final, build) or final:
            break
        width *= GROWTH
    return _conclude(search)


def _arcs(tables: Tables, target: int | None) -> int:
    """Count the chunks that plans no worse than a target may use."""
    return sum(map(len, chunk_graph(tables, no_worse_than=target).arcs))


def _step(search: _Search, target: int | None, final: bool, build: Build) -> bool:
    """Solve for one target; False if the search has to end."""
    left = search.left_s
    share = None if left is None else left * (1.0 if final else SHARE_OF_TIME)
    nodes = search.left_nodes
    if nodes is not None and not final:
        nodes = max(1, int(nodes * SHARE_OF_TIME))
    limits = replace(
        search.limits,
        time_limit_s=share,
        deterministic_limit=None if nodes is None else nodes / NODES_PER_UNIT,
        callback=search.watch(target),
    )
    model = build(target)
    if model is None:
        search.infeasible = target is None
        search.lower = max(search.lower, 0 if target is None else target + 1)
        return True
    run = attempt(model, search.tables, search.best if final else None, limits, check=search.check)
    search.learn(run, target)
    if run.raw.stop is StopReason.ERROR or search.asked_to_stop:
        return False
    return search.left_s != 0 and search.left_nodes != 0


def _conclude(search: _Search) -> ProgramResult:
    """Put all steps together."""
    limits = search.limits
    raw = search.last or SolveOutcome(
        "highs",
        Status.UNKNOWN,
        StopReason.OPTIMAL,
        seed=limits.seed,
        threads=limits.threads or 1,
        gap_limit=limits.gap,
    )
    raw = replace(
        raw,
        build_s=search.build_s,
        solve_s=search.solve_s,
        nodes=search.nodes,
        time_limit_s=limits.time_limit_s,
    )
    if raw.stop is StopReason.INTERRUPTED and not search.asked_to_stop:
        raw = replace(raw, stop=StopReason.GAP_REACHED)
    if raw.stop is StopReason.UNCONFIRMED and search.close_enough(search.upper, search.lower):
        # What was left unconfirmed is not needed.
        raw = replace(raw, stop=StopReason.GAP_REACHED, message="")
    if search.infeasible:
        infeasible, why = Status.INFEASIBLE, StopReason.INFEASIBLE
        raw = replace(raw, status=infeasible, stop=why, objective=None, bound=None)
    elif raw.status is Status.INFEASIBLE:
        # Only the last target was too small; either that closed the gap, or time was up.
        stop = StopReason.GAP_REACHED if search.plans else StopReason.TIME_LIMIT
        raw = replace(raw, status=Status.UNKNOWN, stop=stop)
    proved = replace(raw, confirmed_by=search.confirmed_by)
    price = partial(lockstep_latency, search.tables)
    if search.unconfirmed <= search.lower or search.close_enough(search.upper, search.lower):
        return conclude(search.plans, price, proved, search.lower)
    if search.upper is None or search.unconfirmed <= search.upper:
        return conclude(search.plans, price, replace(raw, confirmed_by=None), search.unconfirmed)
    beaten, _ = without_contradicted(replace(raw, confirmed_by=None), search.unconfirmed, search.upper)
    proved = replace(proved, message=beaten.message)
    return conclude(search.plans, price, proved, search.lower)
