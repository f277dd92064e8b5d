"""Solve a program for CP-SAT in steps: partition first, then homes, then both at once.

Before each step, boundaries are confined to where plans as good as the best known one have them.

1. Without homes, memory limits what all memories can hold together.  That relaxation has few
   variables and its bound holds for the whole program.
2. With its boundaries kept, homes are placed.  If that costs nothing more, the result is optimal.
3. Otherwise the whole program is solved, from the best plan and the bound so far.

Where no plan needs homes away from their stages, the first step is the whole program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from mocap_opt.formulations.plan_cpsat import PlanVariables, Windows, decisions, read_plan
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers import cpsat
from mocap_opt.solvers.limits import Limits
from mocap_opt.solvers.outcome import (
    ProgramResult,
    Progress,
    SolveOutcome,
    Status,
    StopReason,
    relative_gap,
)
from mocap_opt.tables.cost_tables import Tables

STEP_SHARES = (0.5, 0.5, 1.0)
"""Share of the time left that each of the three steps may take."""


class Build(Protocol):
    """Builds a program, with or without homes, with boundaries confined to windows."""

    def __call__(
        self, tables: Tables, *, homes: bool = True, windows: Windows | None = None
    ) -> PlanVariables:
        """Build it."""


Narrow = Callable[[int], Windows | None]
"""From a latency of the whole program to windows that every plan no worse than it keeps to."""


@dataclass
class _Search:
    """What is known so far, and how much of the limits is used up.

    Attributes
    ----------
    plan, objective : Plan, int or None
        The best plan and its objective in the whole program, ticks.
    bound : int or None
        Proved lower bound on the whole program, ticks.
    share_used : float
        Share of the deterministic limit that is used up.
    outcomes : list of SolveOutcome
        One for each step run.
    """

    limits: Limits
    bound: int | None
    plan: Plan | None = None
    objective: int | None = None
    build_s: float = 0.0
    share_used: float = 0.0
    outcomes: list[SolveOutcome] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether the gap is reached or the caller asked to stop."""
        if self.outcomes and self.outcomes[-1].stop is StopReason.INTERRUPTED:
            return True
        gap = relative_gap(self.objective, self.bound)
        return gap is not None and gap <= self.limits.gap

    def offer(self, plan: Plan, objective: int) -> None:
        """Keep a plan if it is better than the best.

        Parameters
        ----------
        plan : Plan
        objective : int, ticks
        """
        if self.objective is None or objective < self.objective:
            self.plan, self.objective = plan, objective

    def report(self, progress: Progress, *, plans: bool, bounds: bool) -> bool:
        """Pass progress on, as far as the step's plans and bounds are those of the whole program.

        Parameters
        ----------
        progress : Progress
            Of a step.
        plans, bounds : bool
            Whether the step's plans, and bounds, are those of the whole program.
        """
        if self.limits.callback is None:
            return False
        seen = [v for v in (self.objective, progress.incumbent if plans else None) if v is not None]
        known = [v for v in (self.bound, progress.bound if bounds else None) if v is not None]
        elapsed = self.limits.deadline.elapsed_s
        return self.limits.callback(Progress(elapsed, min(seen, default=None), max(known, default=None)))

    def found(self, variables: PlanVariables, plans: bool, values: Sequence[int]) -> bool:
        """Pass on a plan that a step came upon, or its boundaries where homes are left out.

        Parameters
        ----------
        variables : PlanVariables
            Of the step.
        plans : bool
            Whether its plans are those of the whole program.
        values : sequence of int
            Of its variables.
        """
        objective = variables.program.objective.value(values) if plans else self.objective
        news = Progress(self.limits.deadline.elapsed_s, objective, self.bound, read_plan(variables, values))
        return self.limits.callback is not None and self.limits.callback(news)

    def run(
        self,
        variables: PlanVariables,
        share: float,
        *,
        plans: bool,
        bounds: bool,
        lower_bound: int | None,
        start: Sequence[int] | None = None,
    ) -> tuple[int, ...] | None:
        """Run a step for a share of what is left of the limits; return its values.

        Parameters
        ----------
        variables : PlanVariables
            Of the step.
        share : float
            Of the time, or of the deterministic limit, that is left.
        plans, bounds : bool
            Whether the step's plans, and bounds, are those of the whole program.
        lower_bound : int or None
            Known bound on the step's optimum, ticks.
        start : sequence of int, optional
            Values of all its variables.
        """
        limits = replace(
            self.limits,
            time_limit_s=self.limits.deadline.share(share).limit_s,
            callback=partial(self.report, plans=plans, bounds=bounds),
        )
        if limits.deterministic_limit is not None:
            part = share * (1 - self.share_used)
            self.share_used += part
            limits = replace(limits, deterministic_limit=part * limits.deterministic_limit)
        result = cpsat.solve(
            variables.program,
            start=start,
            lower_bound=lower_bound,
            limits=limits,
            on_solution=partial(self.found, variables, plans) if self.limits.callback else None,
        )
        outcome = result.outcome
        self.outcomes.append(outcome)
        if bounds and outcome.bound is not None:
            self.bound = max(int(outcome.bound), int(outcome.bound) if self.bound is None else self.bound)
        if plans and result.values is not None:
            plan = read_plan(variables, result.values)
            self.offer(plan, variables.program.objective.value(result.values))
        return result.values

    def outcome(self, *, infeasible: bool, start_accepted: bool | None) -> SolveOutcome:
        """Sum up all steps.

        Parameters
        ----------
        infeasible : bool
            Whether the program is proved to have no plan.
        start_accepted : bool or None
            As in `SolveOutcome`.
        """
        last = (
            self.outcomes[-1]
            if self.outcomes
            else SolveOutcome("cpsat", Status.UNKNOWN, StopReason.GAP_REACHED)
        )
        status, stop, bound = Status.UNKNOWN, last.stop, self.bound
        if infeasible:
            status, stop, bound = Status.INFEASIBLE, StopReason.INFEASIBLE, None
        elif self.objective is not None:
            proved = bound is not None and bound >= self.objective
            status = Status.OPTIMAL if proved else Status.FEASIBLE
            if stop is not StopReason.INTERRUPTED and self.done:
                stop = StopReason.OPTIMAL if proved else StopReason.GAP_REACHED
        return replace(
            last,
            status=status,
            stop=stop,
            objective=self.objective,
            bound=bound,
            start_accepted=start_accepted,
            build_s=self.build_s + sum(outcome.build_s for outcome in self.outcomes),
            solve_s=sum(outcome.solve_s for outcome in self.outcomes),
            time_limit_s=self.limits.time_limit_s,
            gap_limit=self.limits.gap,
            seed=self.limits.seed,
            threads=cpsat.workers(self.limits),
            nodes=sum(outcome.nodes or 0 for outcome in self.outcomes),
        )


def solve_in_steps(
    build: Build,
    narrow: Narrow,
    tables: Tables,
    start: Plan | None,
    *,
    lower_bound: int | None,
    limits: Limits,
) -> ProgramResult:
    """Minimise a program over all plans.

    Parameters
    ----------
    build : Build
    narrow : callable
        Gives the windows of the plans no worse than a known one.
    tables : Tables
    start : Plan or None
        Checked exactly against the whole program; the answer is never worse.
    lower_bound : int or None
        A proved lower bound on the whole program, ticks.
    limits : Limits
        For all steps together; the callback gets only plans and bounds of the whole program.

    Raises
    ------
    ValueError
        If the start is not feasible, or `lower_bound` exceeds its objective.
    RuntimeError
        If a plan that the program calls feasible is not.
    """
    broken = [] if start is None else violations(tables, start)
    if broken:
        raise ValueError(f"the start is not feasible: {broken[0]}")
    search = _Search(limits, lower_bound)
    whole = build(tables)
    accepted = None
    if start is not None:
        values = whole.program.complete(decisions(whole, start))
        accepted = not whole.program.broken(values)
        if accepted:
            # Not the start itself: where homes are not decided, its KV comes home.
            search.offer(read_plan(whole, values), whole.program.objective.value(values))
        if lower_bound is not None and search.objective is not None and lower_bound > search.objective:
            raise ValueError(f"lower bound {lower_bound} exceeds {search.objective}, the start's objective")
    infeasible = False
    if not search.done:
        windows = _windows(search, narrow)
        if whole.homes:
            infeasible = _partition_then_homes(search, build, tables, windows)
            windows = _windows(search, narrow) if not (infeasible or search.done) else None
        whole = whole if windows is None else build(tables, windows=windows)
    search.build_s = search.limits.deadline.elapsed_s - sum(o.build_s + o.solve_s for o in search.outcomes)
    if not (infeasible or search.done):
        best = None if search.plan is None else whole.program.complete(decisions(whole, search.plan))
        search.run(whole, STEP_SHARES[2], plans=True, bounds=True, lower_bound=search.bound, start=best)
        infeasible = search.outcomes[-1].status is Status.INFEASIBLE
    wrong = [] if search.plan is None else violations(tables, search.plan)
    if wrong:
        raise RuntimeError(f"the best plan is not feasible: {wrong[0]}")
    return ProgramResult(search.plan, search.outcome(infeasible=infeasible, start_accepted=accepted))


def _windows(search: _Search, narrow: Narrow) -> Windows | None:
    """Windows of the plans no worse than the best one known."""
    return None if search.objective is None else narrow(search.objective)


def _partition_then_homes(search: _Search, build: Build, tables: Tables, windows: Windows | None) -> bool:
    """Steps 1 and 2; return whether the program is proved infeasible."""
    pooled = build(tables, homes=False, windows=windows)
    if search.bound is not None:
        # What bounds the whole program may exceed the relaxation's optimum.
        pooled.program.raise_objective(search.bound)
    start = None
    if search.plan is not None:
        start = pooled.program.complete(decisions(pooled, search.plan))
    values = search.run(pooled, STEP_SHARES[0], plans=False, bounds=True, lower_bound=None, start=start)
    if search.outcomes[-1].status is Status.INFEASIBLE:
        return True
    if values is not None and not search.done:
        marks = [mark.value(values) for mark in pooled.boundary]
        kept = build(tables, windows=[(mark, mark) for mark in marks])
        search.run(kept, STEP_SHARES[1], plans=True, bounds=False, lower_bound=search.bound)
    return False
