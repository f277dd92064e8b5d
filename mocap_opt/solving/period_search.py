"""The best period found, its bounds, and how every method does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain

from mocap_opt.baselines import METHODS
from mocap_opt.bounds import Bound, Evidence, Scope, prove_infeasible
from mocap_opt.bounds.period import PartitionBound, period_bounds
from mocap_opt.formulations.period_cpsat import PeriodResult
from mocap_opt.formulations.period_cpsat import solve_period as solve_with_cpsat
from mocap_opt.formulations.presolve import slot_range
from mocap_opt.homes.greedy import home_orders
from mocap_opt.replay.evaluation import Assessment, assess_schedule
from mocap_opt.replay.lockstep import run_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import smallest_interval
from mocap_opt.search.period_homes import HomeRule, InOrder
from mocap_opt.search.period_pricing import steady_period
from mocap_opt.search.period_rounds import Rounds, Start
from mocap_opt.search.period_starts import periodic_plan_of_method, starts, starts_within_reach
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.incumbent import Progress
from mocap_opt.solving.methods import plan_alone
from mocap_opt.solving.schedule_search import ScheduleSearch
from mocap_opt.solving.solution import TIME_LIMIT_S
from mocap_opt.stopping import Deadline, never
from mocap_opt.tables.cost_tables import Tables, require_bounded_queues

HEURISTICS = tuple(name for name in METHODS if name != "search-program")
"""Latency heuristics whose plans are tried for the period: those that run no solver."""

PROMISING = 6
"""Starts that are replayed: so many by each of two estimates."""

NO_ROOM = "the reserve of endless requests leaves some memory no room, however short the chunks"
"""Why there is no periodic plan where the reserve alone rules every partition out."""

ALONE = 0.15
"""Part of the time left that planning one request alone may take."""

BOUNDING = 0.4
"""Part of the time that bounds may take before the search for plans begins."""

STARTING = 0.4
"""Part of the time left that making starts may take."""

REACHING = 0.2
"""Part of the time left that starts with homes that make no one wait may take."""

PROGRAM_SIZE = 600
"""Stages x positions x grid steps up to which the lockstep program is solved for every W."""

LARGE_PROGRAM = 4_000
"""The same up to which it is solved at the end, in the time that the local search leaves."""


@dataclass(frozen=True)
class MethodPeriod:
    """What one method comes to.

    Attributes
    ----------
    name : str
    assessment : Assessment or None
    reason : str
        Why there is no feasible plan; empty if there is one.
    """

    name: str
    assessment: Assessment | None
    reason: str = ""

    @property
    def period(self) -> Fraction | None:
        """Its period, ticks; None if it has no feasible plan."""
        return None if self.assessment is None else self.assessment.period


@dataclass(eq=False)
class PeriodSearch(ScheduleSearch):
    """What is known of the best period.

    Attributes
    ----------
    tables : Tables
    best : Assessment or None
    methods : list of MethodPeriod
    """

    tables: Tables
    best: Assessment | None = None
    methods: list[MethodPeriod] = field(default_factory=list)
    _judged: dict[Schedule, Assessment] = field(default_factory=dict)
    _starts: list[Start] = field(default_factory=list)

    @property
    def machine(self) -> Tables:
        """Tables of the machine and the request."""
        return self.tables

    @property
    def value(self) -> Fraction | None:
        """The best period, ticks."""
        return None if self.best is None else self.best.period

    @property
    def judged(self) -> tuple[Assessment, ...]:
        """Every plan that was replayed, in order."""
        return tuple(self._judged.values())

    def judge(self, periodic: Schedule, source: str) -> Assessment:
        """Replay a feasible periodic plan both ways and keep the best.

        Parameters
        ----------
        periodic : Schedule
            Feasible.
        source : str
            What it came from, for the report.
        """
        if periodic not in self._judged:
            self._judged[periodic] = assess_schedule(periodic)
        found = self._judged[periodic]
        if self.best is None or found.period < self.best.period:
            self.best, self.found_by = found, source
            self.tell(source)
        return found

    def run_methods(self, names: Iterable[str]) -> None:
        """Turn every method's plan periodic."""
        for name in names:
            if self.deadline.expired:
                return
            self.begin(name)
            periodic, reason = periodic_plan_of_method(self.tables, name, self.deadline)
            found = None if periodic is None else self.judge(periodic, name)
            self.methods.append(MethodPeriod(name, found, reason))

    def plan_one_request(self, seed: int) -> Plan | None:
        """Plan a request as if it were alone, and repeat it with the fewest slots between requests."""
        plan = plan_alone(self.tables, self.deadline.share(ALONE), seed=seed, threads=self.threads)
        periodic = None if plan is None else smallest_interval(self.tables, plan)
        if periodic is not None:
            self.judge(periodic, "plan of one request")
        return plan

    def try_starts(self, plans: Sequence[Plan] = ()) -> None:
        """Estimate equal chunks, known plans' chunks and even chunk times, homes cyclic; replay the best.

        Parameters
        ----------
        plans : sequence of Plan
            Known ones, beside those of the methods.
        """
        known = [found.schedule for found in self.judged]
        # Known plans keep their homes; their chunks get homes in the cycle as well.
        nearest: HomeRule = InOrder(home_orders(self.tables)[0])
        made = ((periodic, nearest) for periodic in known)
        chunks = [*(periodic.plan for periodic in known), *plans]
        for periodic, rule in chain(made, starts(self.tables, chunks, self.deadline.share(STARTING))):
            estimate = steady_period(self.tables, periodic.plan, periodic.slots)
            self._starts.append((estimate, periodic, rule))
        found = [periodic for _, periodic, _ in self._starts]
        for periodic, rule in starts_within_reach(self.tables, found, self.deadline.share(REACHING)):
            estimate = steady_period(self.tables, periodic.plan, periodic.slots)
            self._starts.append((estimate, periodic, rule))
        self._starts.sort(key=lambda start: start[0])
        found = [periodic for _, periodic, _ in self._starts]
        lockstep = sorted(found, key=lambda p: run_lockstep(p).period)
        for periodic in [*found[:PROMISING], *lockstep[:PROMISING]]:
            if self.done():
                return
            self.judge(periodic, "starting plan")

    def search_locally(self, seed: int) -> None:
        """Improve the starts by local search and perturbation, in rounds."""
        Rounds(self, self._starts, seed).run()

    def run_programs(self, by_slots: PartitionBound, seed: int, solver: str = "auto") -> None:
        """Solve the lockstep program (formulations/period.md) at every W with a bound below the best period.

        Parameters
        ----------
        by_slots : PartitionBound
            Bounds in lockstep: ``by_slots.at(W)`` on the period at W slots, ticks.
        seed : int
            Of the solver.
        solver : str
            As for `best_period`.
        """
        solve_program = _program_of(solver)
        below = []
        impossible = 0
        closes = True
        waiting = [(by_slots.at(slots) or 0, slots) for slots in slot_range(self.tables)]
        for number, (least, slots) in enumerate(sorted(waiting)):
            if self.done():
                return
            known = min((found.lockstep.period for found in self._judged.values()), default=None)
            if known is not None and least >= known:
                below.append(least)
                continue
            self.begin(f"lockstep program, W = {slots}")
            late = self.deadline.share(1 / (len(waiting) - number))
            result = solve_program(
                self.tables,
                slots,
                time_limit_s=late.limit_s,
                seed=seed,
                threads=self.threads,
                callback=lambda _, late=late: late(),
            )
            if result.periodic is not None:
                self.judge(result.periodic, "lockstep program")
            impossible += result.outcome.status is Status.INFEASIBLE
            if result.outcome.bound is not None:
                bound = self._unbeaten(int(result.outcome.bound), slots)
                closes = closes and (result.outcome.closes or bound <= least)
                below.append(max(bound, least))
            elif result.outcome.status is not Status.INFEASIBLE:
                below.append(least)
        if waiting and impossible == len(waiting):
            self.infeasible = (
                f"no plan fits at any of {len(waiting)} spacings (proved by the lockstep program)"
            )
        if below:
            note = f"the least over {len(waiting)} spacings"
            evidence = Evidence.SOLVER if solver != "highs" else Evidence.SOLVER_CONFIRMED
            evidence = evidence if closes else Evidence.SOLVER_UNCONFIRMED
            self.add_bounds([Bound("period_program", min(below), Scope.LOCKSTEP, evidence, note)])

    def _unbeaten(self, bound: int, slots: int) -> int:
        """A solver's bound on the period at a spacing; 0 if a plan in hand beats it."""
        plans = (found for found in self._judged.values() if found.schedule.slots == slots)
        best = min((found.lockstep.period for found in plans), default=None)
        return bound if best is None or bound <= best else 0


def without_room(by_slots: Mapping[Scope, PartitionBound]) -> bool:
    """Whether the reserve alone rules every partition out."""
    return any(not partition.classes for partition in by_slots.values())


def _program_of(solver: str) -> Callable[..., PeriodResult]:
    """The program of one W, for the solver of that name."""
    if solver != "highs":
        return solve_with_cpsat
    # Pyomo takes half a second to load, and only this solver needs it.
    from mocap_opt.formulations.period import solve_period as solve_with_highs  # noqa: PLC0415

    return solve_with_highs


def best_period(
    tables: Tables,
    *,
    deadline: Deadline | None = None,
    gap: float = 1e-4,
    seed: int = 0,
    solver: str = "auto",
    threads: int | None = None,
    callback: Callable[[Progress], None] | None = None,
    known: dict[Scope, PartitionBound] | None = None,
) -> PeriodSearch:
    """Find a periodic plan of least period, with bounds on every other.

    Parameters
    ----------
    tables : Tables
    deadline : Deadline, optional
        `TIME_LIMIT_S` from now by default.
    gap : float
        Stop once (period - bound) / period is at most this.
    seed : int
        For the solver and for the perturbations of the local search.
    solver : str
        Which one runs the programs: ``"highs"``, or ``"cpsat"``, which ``"auto"`` stands for.
    threads : int, optional
        Of each program's solver; by default as many as are best for it.
    callback : callable, optional
        Called with a `Progress` at every better period or bound; its ``latency_s`` is the period.
    known : dict of Scope to PartitionBound, optional
        Bounds over partitions, if they are known already.

    Raises
    ------
    InputError
        If queues are unbounded.
    """
    require_bounded_queues(tables)
    search = PeriodSearch(
        tables, deadline=deadline or Deadline(TIME_LIMIT_S), gap=gap, callback=callback, threads=threads
    )
    impossible = prove_infeasible(tables, search.deadline)
    if impossible is not None:
        # What one request cannot do alone, requests without end cannot do either.
        search.infeasible = impossible.message
        return search
    search.begin("bounds on the period")
    bounds, by_slots = period_bounds(tables, search.deadline.share(BOUNDING), known=known)
    search.add_bounds(bounds)
    if without_room(by_slots):
        search.infeasible = NO_ROOM
        return search
    search.run_methods(HEURISTICS)
    if not search.done():
        search.begin("plan of one request")
        alone = search.plan_one_request(seed)
        search.begin("starting plans")
        search.try_starts([] if alone is None else [alone])
    lockstep = by_slots.get(Scope.LOCKSTEP)
    size = tables.stages * max(tables.counts, default=0) * tables.steps
    if lockstep is not None and size <= PROGRAM_SIZE and not search.done():
        search.run_programs(lockstep, seed, solver)
    if not search.done():
        search.begin("local search")
        search.search_locally(seed)
    if lockstep is not None and PROGRAM_SIZE < size <= LARGE_PROGRAM and not search.done():
        search.run_programs(lockstep, seed, solver)
    return search


def search_of_method(
    tables: Tables,
    name: str,
    *,
    deadline: Deadline | None = None,
    gap: float = 1e-4,
    callback: Callable[[Progress], None] | None = None,
) -> PeriodSearch:
    """Repeat the plan of one method, with bounds on every period.

    Parameters
    ----------
    tables : Tables
    name : str
        As for `period_of_method`.
    deadline : Deadline, optional
        `TIME_LIMIT_S` from now by default.
    gap : float
        Up to which (period - bound) / period counts as optimal.
    callback : callable, optional
        As for `best_period`.

    Raises
    ------
    InputError
        If queues are unbounded, or there is no such method.
    """
    search = PeriodSearch(tables, deadline=deadline or Deadline(TIME_LIMIT_S), gap=gap, callback=callback)
    found = period_of_method(tables, name, deadline=search.deadline)
    search.methods.append(found)
    if found.assessment is not None:
        search.judge(found.assessment.schedule, name)
    search.add_bounds(period_bounds(tables, search.deadline)[0])
    return search


def period_of_method(tables: Tables, name: str, *, deadline: Deadline | None = None) -> MethodPeriod:
    """How endless identical requests fare with one method.

    Parameters
    ----------
    tables : Tables
    name : str
        A latency heuristic of `mocap_opt.baselines.METHODS`, whose plan is repeated with the fewest
        slots between requests that are feasible; or ``"joint"``, the best period found.
    deadline : Deadline, optional

    Raises
    ------
    InputError
        If queues are unbounded, or there is no such method.
    """
    require_bounded_queues(tables)
    if name == "joint":
        search = best_period(tables, deadline=deadline)
        return MethodPeriod(name, search.best, search.infeasible or ("" if search.best else "no plan found"))
    periodic, reason = periodic_plan_of_method(tables, name, deadline or never)
    return MethodPeriod(name, None if periodic is None else assess_schedule(periodic), reason)
