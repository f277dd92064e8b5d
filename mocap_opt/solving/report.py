"""What is known about a plan, whatever the objective: its value, the bounds that cover it, the gap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mocap_opt.instance.objectives import Objective
from mocap_opt.lower_bound import Bound, Scope
from mocap_opt.replay.evaluation import Execution
from mocap_opt.solvers.outcome import SolveOutcome, Status
from mocap_opt.solvers.versions import versions
from mocap_opt.units import format_percent, format_seconds

if TYPE_CHECKING:
    import pandas as pd


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
    final_plan, final_bound : bool
        Whether the plan that is reported, and the bound on it, came from this step.
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
    final_plan: bool = False
    final_bound: bool = False


def layouts_in_words(found: Mapping[str, Any]) -> str:
    """What a search over layouts covered, from its summary in a report."""
    counts = f"{found['solved']} solved, {found['pruned']} sets left out by bounds, {found['open']} open"
    taken = f"{found['layout']}; " if "layout" in found else ""
    return f"{taken}bound and gap hold for {found['covers']}; {counts}"


def pipelines_in_words(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many pipelines share the requests, and when they are done."""
    ends = [row["end_s"] for row in rows]
    return f"{len(rows)}, done after {format_seconds(min(ends))} to {format_seconds(max(ends))}"


FIGURES: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "static_latency_s": ("best static plan", format_seconds),
    "static_gap": ("static gap", format_percent),
    "refinement_saves": (
        "refinement",
        lambda part: f"a finer grid and more chunks could save at most {format_percent(part)}",
    ),
    "refinement_unknown": ("refinement", lambda reason: f"not known: {reason}"),
    "layouts": ("layouts", layouts_in_words),
    "requests": ("requests", str),
    "requests_per_s": ("requests per s", lambda value: f"{value:.5g}"),
    "request_latency_s": ("each takes", format_seconds),
    "slots": ("slots apart", str),
    "idle_slots": ("idle slots", str),
    "makespan_s": ("makespan", format_seconds),
    "mean_completion_s": ("mean completion", format_seconds),
    "mean_lower_bound_s": ("mean bound", format_seconds),
    "mean_gap": ("mean gap", format_percent),
    "p99_completion_s": ("p99 completion", format_seconds),
    "p99_lower_bound_s": ("p99 bound", format_seconds),
    "p99_gap": ("p99 gap", format_percent),
    "pipelines": ("pipelines", pipelines_in_words),
    "utilisation": ("utilisation", format_percent),
    "rejected": ("rejected", lambda numbers: f"{len(numbers)} requests"),
    "throughput_rps": ("throughput", lambda value: f"{value:.4g} requests/s"),
}
"""What objectives report beside what they minimise: how it is called and written."""


@dataclass(frozen=True)
class Report:
    """One row of an answer, in seconds, tokens and bytes.  What is not known is None.

    What is minimised is called after the objective wherever a report is read: a latency is
    ``report.latency_s`` and ``"latency_s"`` in `to_dict`, with ``lockstep_latency_s`` and
    ``event_latency_s`` beside it; see `mocap_opt.instance.objectives.Record.figure`.

    Attributes
    ----------
    instance, fingerprint : str
        The instance's name and the fingerprint of its content.
    objective : str
        See `mocap_opt.instance.objectives.Objective`.
    method, solver : str or None
        How the plan was found; the solver is None for heuristics, both are None of a plan given.
    status : Status
        ``optimal``: the gap to a bound that closes gaps (`Bound.closes`) is at most the tolerance;
        ``feasible``: a plan, not proved best;
        ``infeasible``: proved that no plan exists (or, of a given plan, that it breaks a rule);
        ``unknown``: neither.
    value_s : float or None
        What is minimised, as reported: the smaller of the two replays, or that of the execution asked for.
    execution : str or None
        Which replay that is, ``"lockstep"`` or ``"event-driven"``.
    lockstep_value_s, event_value_s : float or None
        Both replays; an event-driven period is unknown where the run is not proved to repeat.
    lower_bound_s, bound_scope, bound_name, bound_evidence : float or None, str or None
        The best bound that covers the reported value: every execution of every feasible plan, or
        every lockstep execution if that was asked for.
    gap : float or None
        (value_s - lower_bound_s) / value_s.
    lockstep_bound_s, lockstep_bound_name, lockstep_bound_evidence, lockstep_gap
        The same for the lockstep execution alone.
    runtime_s, build_s, solve_s : float
        Wall time of everything, of building models, and inside solvers.
    found_by : str or None
        What the plan came from: a method, a step or a program.
    boundaries : list of int or None
        Of a single request: tokens; 0 first, S last, empty chunks left out.
    homes : list of dict or None
        Likewise: ``{"stage", "chunk", "memory", "tokens"}`` of the KV that lives away from its stage;
        tokens are whole pages.
    peak_memory_bytes : list of int or None
        Per memory, over all slots, everything included.
    reason : str or None
        Why there is no plan, or why none can exist; or that the method was interrupted.
    violations : list of str
        What a given plan breaks.
    notes : list of str
        What a method has to say about its plan.
    programs : list of ProgramRun
        Every program that was run, in order, with its share of the time.
    steps : list of StepRun
        Every step of the joint method, in order, with what it cost and gained; empty for other methods.
    figures : dict
        What else the objective's plans come to, by name: each is an attribute of the report, too.  Of a
        latency: ``static_latency_s`` and ``static_gap`` (a search's best plan in lockstep);
        ``refinement_bound_s`` (below which none comes on finer grids with more chunks),
        ``refinement_saves`` (the part of the latency above it), ``refinement_unknown`` (why they are null).
    settings : dict
        Seed, limits and tolerances.
    versions : dict of str

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-pooled.json")
    >>> report = mocap_opt.solve(instance).report
    >>> report.latency_s, report.lower_bound_s, report.gap
    (7.1e-05, 7.1e-05, 0.0)
    >>> report.to_dict()["status"]
    'optimal'
    """

    instance: str
    fingerprint: str
    objective: str
    method: str | None
    status: Status
    solver: str | None = None
    value_s: float | None = None
    execution: str | None = None
    lockstep_value_s: float | None = None
    event_value_s: float | None = None
    lower_bound_s: float | None = None
    bound_scope: str | None = None
    bound_name: str | None = None
    bound_evidence: str | None = None
    gap: float | None = None
    lockstep_bound_s: float | None = None
    lockstep_bound_name: str | None = None
    lockstep_bound_evidence: str | None = None
    lockstep_gap: float | None = None
    runtime_s: float = 0.0
    build_s: float = 0.0
    solve_s: float = 0.0
    found_by: str | None = None
    boundaries: list[int] | None = None
    homes: list[dict[str, int]] | None = None
    peak_memory_bytes: list[int] | None = None
    reason: str | None = None
    violations: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    programs: list[ProgramRun] = field(default_factory=list)
    steps: list[StepRun] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str | None] = field(default_factory=versions)

    def __getattr__(self, name: str) -> Any:
        """Look up what the objective calls a figure of its own."""
        if name.startswith("_") or name not in (known := {**self._values, **self.figures}):
            raise AttributeError(f"a report has no {name!r}")
        return known[name]

    @property
    def _values(self) -> dict[str, float | None]:
        """What is minimised, under the objective's name for it."""
        values = (self.value_s, self.lockstep_value_s, self.event_value_s)
        return dict(zip(Objective(self.objective).record.fields, values, strict=True))

    @property
    def status_text(self) -> str:
        """The status in words; what counts as optimal is said with it."""
        tolerance = self.settings.get("gap")
        if self.status is not Status.OPTIMAL or not isinstance(tolerance, int | float):
            return self.status.words
        return f"{self.status.words} (gap at most {format_percent(tolerance)})"

    @property
    def figure_texts(self) -> list[tuple[str, str]]:
        """The objective's other figures in words; bound and gap of what is minimised stand elsewhere."""
        own = Objective(self.objective).record.figure.split("_")[0] + "_"
        known = [(name, self.figures.get(name)) for name in FIGURES if not name.startswith(own)]
        return [(FIGURES[name][0], FIGURES[name][1](value)) for name, value in known if value is not None]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        plain = asdict(self)
        for name in ("value_s", "lockstep_value_s", "event_value_s"):
            del plain[name]
        head = {name: plain.pop(name) for name in ("instance", "fingerprint", "objective", "method")}
        figures = plain.pop("figures")
        return {**head, **self._values, **plain, **figures, "status": self.status.value}

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
