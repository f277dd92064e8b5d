"""What the rounds of master and homes know so far.

Mathematics: ``formulations/decomposition.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pyomo.environ as pyo

from mocap_opt.arrays import IntArray
from mocap_opt.formulations.chunk_graph import Arcs, ChunkGraph
from mocap_opt.formulations.partition_cuts import PartitionCut
from mocap_opt.formulations.pyomo_solution import CHUNK_GRAPH, Attempt
from mocap_opt.schedule.plan import Plan
from mocap_opt.solvers.limits import Limits
from mocap_opt.solvers.outcome import ProgramResult, Progress, SolveOutcome, relative_gap
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True)
class Solvers:
    """What solves masters and places homes.

    Attributes
    ----------
    build : callable
        Builds a master, with the parameters of `decomposition.build`.
    build_whole : callable
        From tables and a graph to the program with homes over its chunks.
    run : callable
        Runs either, with the parameters of `pyomo_solution.attempt`.
    place : callable
        From tables, boundaries, a plan with them or None, and limits to the best homes.
    price : callable
        Exact objective of a plan, ticks.
    exact : bool
        Whether all this computes in whole numbers.  Otherwise the relaxation of a master is proved first.
    """

    build: Callable[..., pyo.ConcreteModel | None]
    build_whole: Callable[[Tables, ChunkGraph], pyo.ConcreteModel | None]
    run: Callable[..., Attempt]
    place: Callable[[Tables, IntArray, Plan | None, Limits], ProgramResult]
    price: Callable[[Tables, Plan], int]
    exact: bool


@dataclass(eq=False)
class RoundsState:
    """What is known so far.

    Attributes
    ----------
    arcs : Arcs
    solvers : Solvers
    effort : float or None
        What is left of a deterministic limit.
    lower : int, ticks
        Proved bound; `unconfirmed` is a run's word that nothing confirms.
    plans : list of Plan
        Feasible, each better than those before.
    cuts : list of PartitionCut
    whole : bool
        Whether homes cost latency, so that they have to be decided with the boundaries.
    left : int
        Chunks that the last master had to choose from.
    size : tuple of int or None
        Rows, columns and non-zeros of the last program whose relaxation was solved.
    """

    tables: Tables
    limits: Limits
    arcs: Arcs
    solvers: Solvers
    effort: float | None = None
    plans: list[Plan] = field(default_factory=list)
    lower: int = 0
    unconfirmed: int = 0
    upper: int | None = None
    cuts: list[PartitionCut] = field(default_factory=list)
    whole: bool = False
    left: int = 0
    size: tuple[int, int, int] | None = None
    message: str = ""
    infeasible: bool = False
    stopped: bool = False
    last: SolveOutcome | None = None
    confirmed_by: str = CHUNK_GRAPH
    build_s: float = 0.0
    solve_s: float = 0.0
    nodes: int = 0

    def offer(self, plan: Plan | None) -> None:
        """Keep a feasible plan if it is better than the best."""
        if plan is None:
            return
        latency = self.solvers.price(self.tables, plan)
        if self.upper is None or latency < self.upper:
            self.upper = latency
            self.plans.append(plan)

    def capped(self, bound: float | None) -> int | None:
        """What a bound on the master's optimum proves of all plans; None stands for no solution at all.

        Parameters
        ----------
        bound : float or None, ticks
        """
        known = [int(value) for value in (bound, self.upper) if value is not None]
        return min(known, default=None)

    def prove(self, bound: int | None, by: str | None) -> None:
        """Take a bound on the master's optimum in.

        Parameters
        ----------
        bound : int or None, ticks
            None: the master has no solution.
        by : str or None
            What it rests on besides the solver's word.
        """
        value = self.capped(bound)
        self.infeasible = value is None
        if value is None:
            self.confirmed_by = by or self.confirmed_by
        elif by is None:
            self.unconfirmed = max(self.unconfirmed, value)
        elif value > self.lower:
            self.lower, self.confirmed_by = value, by

    @property
    def closed(self) -> bool:
        """Whether nothing is left to prove: the gap is closed, or there is no plan."""
        gap = relative_gap(self.upper, self.lower)
        return self.infeasible or (gap is not None and gap <= self.limits.gap)

    def report(self, progress: Progress) -> bool:
        """Pass the progress of a run on; its incumbents are boundaries alone."""
        if self.limits.callback is None:
            return False
        bound = (
            max(self.lower, self.capped(progress.bound) or 0) if progress.bound is not None else self.lower
        )
        elapsed = self.limits.deadline.elapsed_s
        self.stopped |= self.limits.callback(Progress(elapsed, self.upper, bound, progress.plan))
        return self.stopped

    def within(self, share: float) -> Limits:
        """Limits of a run that may take a share of the time left."""
        if self.effort is not None:
            self.effort /= 2
        return replace(
            self.limits,
            time_limit_s=self.limits.deadline.share(share).limit_s,
            deterministic_limit=self.effort,
            callback=None if self.limits.callback is None else self.report,
        )
