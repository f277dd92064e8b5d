"""The best plan and the best bounds so far, and when to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction

from mocap_opt.bounds import Bound, Infeasibility, Scope, best
from mocap_opt.replay.contention_free_makespan import contention_free_latency
from mocap_opt.replay.evaluation import Assessment, Execution
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers.outcome import Progress as SolverProgress
from mocap_opt.solvers.outcome import SolveOutcome
from mocap_opt.solving.report import ProgramRun, StepRun, covering, relative_gap
from mocap_opt.stopping import Deadline
from mocap_opt.tables.cost_tables import Tables

GRACE_S = 0.5
"""Seconds past the time limit in which a first plan may still be looked for."""


@dataclass(frozen=True)
class Progress:
    """A moment of a solve.

    Attributes
    ----------
    elapsed_s : float
        Seconds since the start.
    latency_s, bound_s : float or None
        Best reported latency and best lower bound on any execution so far.  The latency is that of a
        plan in hand, verified and replayed, also while a solver runs; only the plain methods tell their
        program's own objective.
    gap : float or None
        Between the two.
    source : str
        What brought the news: a method, a bound or a program; or the step that begins.
    doing : str or None
        The step of the solve that is running, see `mocap_opt.solving.joint.STEPS`; None outside of steps.
    """

    elapsed_s: float
    latency_s: float | None
    bound_s: float | None
    gap: float | None
    source: str
    doing: str | None = None


@dataclass(frozen=True)
class Trial:
    """A plan that was tried on the way.

    Attributes
    ----------
    source : str
        The method or program it came from.
    lockstep, event : Fraction or None
        Its replays, ticks; both None without a feasible plan, `event` None also where the plan
        was ruled out before that replay.
    """

    source: str
    lockstep: Fraction | None = None
    event: Fraction | None = None

    @classmethod
    def of(cls, source: str, found: Assessment) -> Trial:
        """A plan with both its replays.

        Parameters
        ----------
        source : str
            The method or program that the plan came from.
        found : Assessment
            Its replays.
        """
        return cls(source, Fraction(found.lockstep.latency), found.latency_in(Execution.EVENT))

    @property
    def latency(self) -> Fraction | None:
        """The smaller of the replays that were made, ticks."""
        return min((x for x in (self.lockstep, self.event) if x is not None), default=None)

    def latency_in(self, execution: Execution | None) -> Fraction | None:
        """Latency in an execution, ticks; None if it was not replayed.

        Parameters
        ----------
        execution : Execution or None
            None: the smaller of the replays that were made.
        """
        if execution is None:
            return self.latency
        return self.lockstep if execution is Execution.LOCKSTEP else self.event


def same_decisions(one: Plan, other: Plan) -> bool:
    """Whether two plans have the same boundaries and homes.

    Parameters
    ----------
    one, other : Plan
        Their fingerprints do not count.
    """
    return one.boundaries == other.boundaries and one.homes == other.homes


@dataclass
class SearchState:
    """What a solve knows so far; every plan and every bound goes through it.

    Attributes
    ----------
    tables : Tables
    deadline : Deadline
        Of the running step, if there is one, otherwise of the whole work.
    gap : float
        Stop once the headline gap is at most this.
    callback : callable or None
        Told of every improvement, and of every step that begins.
    execution : Execution or None
        Whose latency to bring down; None: the smaller of both.
    deterministic_limit : float or None
        Effort of every program in the solver's own units; what is searched then depends on no clock
        unless the wall time runs out.
    threads : int or None
        Threads of each program's solver; None: as many as are best for it.
    doing : str or None
        The step that is running.
    steps : list of StepRun
        What the steps so far did.
    plan_step, bound_step : str or None
        The step that supplied the best plan, and the one that raised the headline bound last.
    """

    tables: Tables
    deadline: Deadline
    gap: float
    callback: Callable[[Progress], None] | None = None
    execution: Execution | None = None
    deterministic_limit: float | None = None
    threads: int | None = None
    best: Assessment | None = None
    best_source: str | None = None
    best_lockstep: Assessment | None = None
    bounds: list[Bound] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    infeasible_reason: Infeasibility | str | None = None
    notes: list[str] = field(default_factory=list)
    runs: list[ProgramRun] = field(default_factory=list)
    doing: str | None = None
    steps: list[StepRun] = field(default_factory=list)
    plan_step: str | None = None
    bound_step: str | None = None

    def __post_init__(self) -> None:
        """Measure the grace from the end of the whole work."""
        self.grace = self.deadline.extended(GRACE_S)
        """Until when even the search for a first plan has to end."""

    @contextmanager
    def within(self, share: float, *, closed_too: bool = False) -> Iterator[Deadline]:
        """Give a share of the time left to what runs in this block; `deadline` and `done` then mean it.

        Under a deterministic limit only the end of all time counts: how far a step got would
        otherwise depend on the machine.

        Parameters
        ----------
        share : float
            From 0 to 1.
        closed_too : bool
            Whether to go on once the gap is closed.

        Yields
        ------
        Deadline
            Over also once the gap is closed, unless that is no reason.
        """
        before = self.deadline
        if self.deterministic_limit is None:
            self.deadline = before.share(share)
        try:
            yield self.deadline if closed_too else self.deadline.unless(self.closed)
        finally:
            self.deadline = before

    @property
    def headline(self) -> Bound | None:
        """The best bound on the latency that is to come down."""
        return best(self.bounds, covering(self.execution))

    @property
    def proved_anywhere(self) -> int:
        """The best bound on any execution, ticks, 0 without one; bounds on lockstep alone do not count."""
        found = best(self.bounds, covering(None))
        return 0 if found is None else found.ticks

    def current_gap(self) -> float | None:
        """The headline gap, or None while plan or bound is unknown."""
        latency = self.best_latency
        return None if latency is None else relative_gap(latency, self.headline)

    @property
    def best_latency(self) -> Fraction | None:
        """Latency of the best plan in the execution that counts, ticks."""
        return None if self.best is None else self.best.latency_in(self.execution)

    @property
    def done(self) -> bool:
        """Whether to stop: gap reached, time up, or asked to."""
        return self.deadline.expired or self.closed()

    def closed(self) -> bool:
        """Whether bounds that may close gaps (`Bound.closes`) reach the gap that was asked for."""
        latency = self.best_latency
        sure = best((bound for bound in self.bounds if bound.closes), covering(self.execution))
        gap = None if latency is None else relative_gap(latency, sure)
        return gap is not None and gap <= self.gap

    def lockstep_closed(self) -> bool:
        """Whether bounds that may close gaps reach the best static plan, within the gap asked for."""
        sure = best((bound for bound in self.bounds if bound.closes), covering(Execution.LOCKSTEP))
        found = self.best_lockstep
        gap = None if found is None else relative_gap(found.lockstep.latency, sure)
        return gap is not None and gap <= self.gap

    @property
    def why_done(self) -> str:
        """Why the work ended where it did."""
        if self.infeasible_reason is not None:
            return "there is no plan"
        if self.deadline.interrupted:
            return "asked to stop"
        return "time was up" if self.deadline.expired else "the gap was closed without"

    def offer(self, plan: Plan | None, source: str, *, record: bool = True) -> bool:
        """Judge a plan and keep it if it is better than the best so far.

        The event-driven replay is skipped when even the plan's contention-free latency, which it
        can never beat, is no better than the best known.

        Parameters
        ----------
        plan : Plan or None
        source : str
            What it came from.
        record : bool
            Whether it counts among the trials; the plans on the way of one program do not.

        Returns
        -------
        bool
            Whether the reported latency improved.
        """
        if not record:
            return self._judge(plan, source)[1]
        trial, better = self._judge(plan, source)
        self.trials.append(trial)
        return better

    def _judge(self, plan: Plan | None, source: str) -> tuple[Trial, bool]:
        """Verify and replay a plan; whether it is the best now."""
        if plan is None or violations(self.tables, plan):
            return Trial(source), False
        if self.best is not None and same_decisions(plan, self.best.plan):
            return Trial.of(source, self.best), False
        lockstep = replay_lockstep(self.tables, plan)
        least = Fraction(lockstep.latency)
        if self.execution is None:
            least = min(least, Fraction(contention_free_latency(self.tables, plan)))
        known = self.best_latency
        if known is not None and least >= known and not self._better_lockstep(lockstep.latency):
            return Trial(source, Fraction(lockstep.latency)), False
        found = Assessment(lockstep, replay_event(self.tables, plan))
        trial = Trial.of(source, found)
        if self._better_lockstep(lockstep.latency):
            self.best_lockstep = found
            self._drop_beaten()
        if known is not None and found.latency_in(self.execution) >= known:
            return trial, False
        self.best, self.best_source, self.plan_step = found, source, self.doing
        self._drop_beaten()
        self.tell(source)
        return trial, True

    def _better_lockstep(self, latency: int) -> bool:
        return self.best_lockstep is None or latency < self.best_lockstep.lockstep.latency

    def add_bounds(self, bounds: Iterable[Bound], source: str = "") -> None:
        """Take bounds in, the greatest of each name and scope; tell of a better headline bound.

        Parameters
        ----------
        bounds : iterable of Bound
            One from floating point that a plan in hand beats is dropped with a note.
        source : str
            What the callback is told of; empty: the name of the better bound.

        Raises
        ------
        BoundBeatenError
            If the callback is to be told of a bound that the best plan beats.
        """
        before = self.headline
        for bound in bounds:
            self._keep(bound)
        after = self.headline
        if after is not None and (before is None or after.ticks > before.ticks):
            self.bound_step = self.doing
            self.tell(source or after.name)

    def _keep(self, bound: Bound) -> None:
        kind = (bound.name, bound.scope, bound.closes)
        for n, known in enumerate(self.bounds):
            if (known.name, known.scope, known.closes) == kind:
                self.bounds[n] = max(known, bound, key=lambda each: each.ticks)
                break
        else:
            self.bounds.append(bound)
        self._drop_beaten()

    def _drop_beaten(self) -> None:
        """Drop bounds from floating point that a plan in hand beats; any other beaten bound is a defect."""
        found = [each for each in (self.best, self.best_lockstep) if each is not None]
        for bound in [each for each in self.bounds if each.floating]:
            lockstep = bound.scope is Scope.LOCKSTEP
            latency = min((f.lockstep.latency if lockstep else f.latency for f in found), default=None)
            if latency is not None and latency < bound.ticks:
                self.bounds.remove(bound)
                self.notes.append(
                    f"dropped the bound {bound.name} = {bound.ticks} ticks ({bound.note}): "
                    f"a feasible plan takes {float(latency):.12g}"
                )

    def record(self, name: str, outcome: SolveOutcome) -> None:
        """Note how long a program took to build and to solve, and how large it was.

        Parameters
        ----------
        name : str
            Of the program.
        outcome : SolveOutcome
            Of its run, once it is over.
        """
        self.runs.append(ProgramRun.of(name, outcome))

    @property
    def build_s(self) -> float:
        """Seconds spent building programs."""
        return sum(run.build_s for run in self.runs)

    @property
    def solve_s(self) -> float:
        """Seconds spent in solvers."""
        return sum(run.solve_s for run in self.runs)

    def tell(self, source: str) -> None:
        """Pass the present state on to the callback."""
        if self.callback is None:
            return
        headline = self.headline
        self.callback(
            Progress(
                elapsed_s=self.deadline.elapsed_s,
                latency_s=None if self.best_latency is None else self.tables.seconds(self.best_latency),
                bound_s=None if headline is None else self.tables.seconds(headline.ticks),
                gap=self.current_gap(),
                source=source,
                doing=self.doing,
            )
        )

    def asked_to_stop(self, _: SolverProgress) -> bool:
        """Solver callback: True asks the solver to stop."""
        return self.deadline.interrupted
