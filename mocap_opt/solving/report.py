"""What is known about a plan: its latency, the bounds that cover it, and the gap between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mocap_opt.bounds import Bound, Scope, best
from mocap_opt.replay.evaluation import Assessment, Execution
from mocap_opt.schedule.verify import memory_use
from mocap_opt.solvers.outcome import SolveOutcome, Status
from mocap_opt.solvers.versions import versions
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.units import format_percent

if TYPE_CHECKING:
    import pandas as pd

    from mocap_opt.instance import Instance


class BoundBeatenError(AssertionError):
    """A feasible plan is faster than a lower bound that covers it: a defect of whoever proved it.

    Attributes
    ----------
    bound : Bound
        The one that is none.
    """

    def __init__(self, message: str, bound: Bound) -> None:
        self.bound = bound
        super().__init__(message)


@dataclass(frozen=True)
class ProgramRun:
    """How one program was built and solved.

    Attributes
    ----------
    program, solver : str
    status, stop : str
        What came back, and why the solver ended.
    build_s, solve_s : float
        Seconds of wall time, over all the models the program was solved in.
    rows, columns, nonzeros : int or None
        Size of the last model as the solver got it.
    arcs, all_arcs : int or None
        Chunks left to choose from, of those that the limits allow, where the program chooses one by one.
    threads : int or None
    confirmed_by : str or None
        What else says that the solver's claim is true: of a solver in floating point, a claim that closes
        the program (an optimum, the gap asked for, no solution) counts only with that.
    """

    program: str
    solver: str
    status: str
    stop: str
    build_s: float
    solve_s: float
    rows: int | None
    columns: int | None
    nonzeros: int | None
    threads: int | None
    confirmed_by: str | None = None
    arcs: int | None = None
    all_arcs: int | None = None

    @classmethod
    def of(cls, program: str, outcome: SolveOutcome) -> ProgramRun:
        """Take from a solver's outcome what a report says of it.

        Parameters
        ----------
        program : str
            Its name.
        outcome : SolveOutcome
            Of its run.
        """
        return cls(
            program,
            outcome.solver,
            outcome.status.value,
            outcome.stop.value,
            outcome.build_s,
            outcome.solve_s,
            outcome.rows,
            outcome.columns,
            outcome.nonzeros,
            outcome.threads,
            outcome.confirmed_by,
            outcome.arcs,
            outcome.all_arcs,
        )


@dataclass(frozen=True)
class StepRun:
    """What one step of a solve cost and gained.

    Attributes
    ----------
    step : str
        Its name in `mocap_opt.solving.joint.STEPS`.
    runs : int
        How often it ran: some steps run again as long as time is left.
    skipped : str or None
        Why it did not run, if it never did.
    allowed_s : float or None
        Seconds it was given, over all its runs; None without a time limit.
    cost_s : float
        Seconds it took.
    latency_before_s, latency_after_s : float or None
        Best reported latency before its first and after its last run.
    latency_gain_s : float
        By how much its runs lowered the latency of a plan that was known.
    bound_before_s, bound_after_s : float or None
        Best lower bound on it, likewise.
    bound_gain_s : float
        By how much its runs raised a bound that was known.
    note : str
        How it failed or where it stopped, if it did.
    """

    step: str
    runs: int = 0
    skipped: str | None = None
    allowed_s: float | None = None
    cost_s: float = 0.0
    latency_before_s: float | None = None
    latency_after_s: float | None = None
    latency_gain_s: float = 0.0
    bound_before_s: float | None = None
    bound_after_s: float | None = None
    bound_gain_s: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class Report:
    """One row of an answer, in seconds, tokens and bytes.  What is not known is None.

    Attributes
    ----------
    instance, fingerprint : str
        The instance's name and the fingerprint of its content.
    method, solver : str or None
        How the plan was found; the solver is None for heuristics.
    status : Status
        ``optimal``: the gap to a bound that closes gaps (`Bound.closes`) is at most the tolerance;
        ``feasible``: a plan, not proved best;
        ``infeasible``: proved that no plan exists (or, of a given plan, that it breaks a rule);
        ``unknown``: neither.
    objective : str
        ``"latency"``.
    latency_s : float or None
        The reported latency: the smaller of the two replays, or that of the execution asked for.
    execution : str or None
        Which replay that is, ``"lockstep"`` or ``"event-driven"``.
    lockstep_latency_s, event_latency_s : float or None
        Both replays.
    lower_bound_s, bound_scope, bound_name, bound_evidence : float or None, str or None
        The best bound that covers the reported latency: every execution of every feasible plan, or
        every lockstep execution if that was asked for.
    gap : float or None
        (latency_s - lower_bound_s) / latency_s.
    lockstep_bound_s, lockstep_bound_name, lockstep_bound_evidence, lockstep_gap
        The same for the lockstep execution alone.
    runtime_s, build_s, solve_s : float
        Wall time of everything, of building models, and inside solvers.
    programs : list of ProgramRun
        Every program that was run, in order, with its share of that.
    steps : list of StepRun
        Every step of the joint method, in order, with what it cost and gained; empty for other methods.
    boundaries : list of int or None
        Tokens; 0 first, S last, empty chunks left out.
    homes : list of dict or None
        ``{"stage", "chunk", "memory", "tokens"}`` of the KV that lives away from its stage; tokens are
        whole pages.
    peak_memory_bytes : list of int or None
        Per memory, over all slots, everything included.
    reason : str or None
        Why there is no plan, or why none can exist; or that the method was interrupted.
    notes : list of str
        What a method has to say about its plan.
    settings : dict
        Seed, limits and tolerances.
    versions : dict of str
    """

    instance: str
    fingerprint: str
    method: str | None
    solver: str | None
    status: Status
    objective: str
    latency_s: float | None
    execution: str | None
    lockstep_latency_s: float | None
    event_latency_s: float | None
    lower_bound_s: float | None
    bound_scope: str | None
    bound_name: str | None
    bound_evidence: str | None
    gap: float | None
    lockstep_bound_s: float | None
    lockstep_bound_name: str | None
    lockstep_bound_evidence: str | None
    lockstep_gap: float | None
    runtime_s: float
    build_s: float
    solve_s: float
    boundaries: list[int] | None
    homes: list[dict[str, int]] | None
    peak_memory_bytes: list[int] | None
    reason: str | None = None
    notes: list[str] = field(default_factory=list)
    programs: list[ProgramRun] = field(default_factory=list)
    steps: list[StepRun] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str | None] = field(default_factory=versions)

    @property
    def status_text(self) -> str:
        """The status in words; what counts as optimal is said with it."""
        tolerance = self.settings.get("gap")
        if self.status is not Status.OPTIMAL or not isinstance(tolerance, int | float):
            return self.status.words
        return f"{self.status.words} (gap at most {format_percent(tolerance)})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "status": self.status.value}

    def to_frame(self) -> pd.DataFrame:
        """The report as a DataFrame of one row; chunks, homes and times are in `mocap_opt.frames`."""
        import pandas as pd  # noqa: PLC0415 - slow to load

        return pd.DataFrame([self.to_dict()])


def relative_gap(latency: Fraction | int, bound: Bound | None) -> float | None:
    """(latency - bound) / latency; None where there is no bound.

    Parameters
    ----------
    latency : Fraction or int, ticks
    bound : Bound or None
        Of a scope that covers that latency.

    Raises
    ------
    BoundBeatenError
        If the latency is below the bound.
    """
    if bound is None:
        return None
    if latency < bound.ticks:
        raise BoundBeatenError(
            f"a feasible plan takes {float(latency):.6g} ticks, less than the bound "
            f"{bound.name} = {bound.ticks}",
            bound,
        )
    return float((latency - bound.ticks) / Fraction(latency)) if latency else 0.0


def covering(execution: Execution | None) -> tuple[Scope, ...]:
    """Scopes of the bounds that cover a latency in an execution; None stands for the smaller of both."""
    if execution is Execution.LOCKSTEP:
        return (Scope.ANY_EXECUTION, Scope.LOCKSTEP)
    return (Scope.ANY_EXECUTION,)


def make_report(
    instance: Instance,
    tables: Tables,
    assessment: Assessment | None,
    bounds: Sequence[Bound],
    *,
    method: str | None,
    solver: str | None = None,
    tolerance: float = 0.0,
    runtime_s: float = 0.0,
    build_s: float = 0.0,
    solve_s: float = 0.0,
    reason: str | None = None,
    notes: Sequence[str] = (),
    programs: Sequence[ProgramRun] = (),
    steps: Sequence[StepRun] = (),
    settings: dict[str, Any] | None = None,
    infeasible: bool = False,
    execution: Execution | None = None,
) -> Report:
    """Pair a plan's replays with the bounds that cover them.

    Parameters
    ----------
    instance : Instance
    tables : Tables
        Built from `instance`.
    assessment : Assessment or None
        The plan and its replays; None if there is no plan.
    bounds : sequence of Bound
        All that is known; those whose scope does not cover a replay are left out of its gap.
    tolerance : float
        A gap up to this one counts as optimal.
    execution : Execution, optional
        Report this one's latency instead of the smaller, against what bounds it.

    Raises
    ------
    BoundBeatenError
        If a replay beats a bound that covers it.
    """
    anywhere = best(bounds, covering(execution))
    lockstep = best(bounds, covering(Execution.LOCKSTEP))
    plan = None if assessment is None else assessment.plan
    gap = lockstep_gap = None
    status = Status.INFEASIBLE if infeasible else Status.UNKNOWN
    if assessment is not None:
        gap = relative_gap(assessment.latency_in(execution), anywhere)
        lockstep_gap = relative_gap(assessment.lockstep.latency, lockstep)
        relative_gap(assessment.latency, best(bounds, covering(None)))
        sure = best((bound for bound in bounds if bound.closes), covering(execution))
        sure_gap = relative_gap(assessment.latency_in(execution), sure)
        status = Status.OPTIMAL if sure_gap is not None and sure_gap <= tolerance else Status.FEASIBLE
    return Report(
        instance=instance.name,
        fingerprint=instance.fingerprint,
        method=method,
        solver=solver,
        status=status,
        objective="latency",
        latency_s=None if assessment is None else tables.seconds(assessment.latency_in(execution)),
        execution=None if assessment is None else (execution or assessment.execution).value,
        lockstep_latency_s=None if assessment is None else tables.seconds(assessment.lockstep.latency),
        event_latency_s=None if assessment is None else tables.seconds(assessment.event.latency),
        lower_bound_s=None if anywhere is None else tables.seconds(anywhere.ticks),
        bound_scope=None if anywhere is None else anywhere.scope.value,
        bound_name=None if anywhere is None else anywhere.name,
        bound_evidence=None if anywhere is None else anywhere.evidence.value,
        gap=gap,
        lockstep_bound_s=None if lockstep is None else tables.seconds(lockstep.ticks),
        lockstep_bound_name=None if lockstep is None else lockstep.name,
        lockstep_bound_evidence=None if lockstep is None else lockstep.evidence.value,
        lockstep_gap=lockstep_gap,
        runtime_s=runtime_s,
        build_s=build_s,
        solve_s=solve_s,
        boundaries=None if plan is None else list(plan.boundaries),
        homes=None
        if plan is None
        else [
            {"stage": h.stage, "chunk": h.chunk, "memory": h.memory, "tokens": h.pages * tables.page}
            for h in plan.homes
        ],
        peak_memory_bytes=None if plan is None else memory_use(tables, plan).max(axis=1).tolist(),
        reason=reason,
        notes=list(notes),
        programs=list(programs),
        steps=list(steps),
        settings=settings or {},
    )
