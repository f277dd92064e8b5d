"""What a solve is asked for, what a search finds, and the record of an answered question."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mocap_opt.bounds import Bound
from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.objectives import Objective
from mocap_opt.replay.evaluation import Assessment, Execution
from mocap_opt.replay.pipelines import AssessedAssignment
from mocap_opt.schedule.assignment import Assignment
from mocap_opt.schedule.assignment_file import save_assignment
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.plan_file import save_plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.schedule_file import save_schedule
from mocap_opt.solving.incumbent import Progress, Trial
from mocap_opt.solving.report import ProgramRun, Report, StepRun
from mocap_opt.stopping import Deadline
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.units import decimal_bytes, format_chunks, format_percent, format_seconds

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from mocap_opt.instance import Instance

EXECUTIONS = ("best", "lockstep")

TIME_LIMIT_S = 60.0
"""Wall time of a solve, or of bounds, unless something else is said, seconds."""


def wanted_execution(name: str) -> Execution | None:
    """The execution whose value counts; None for the smaller of both."""
    return Execution.LOCKSTEP if name == "lockstep" else None


@dataclass(frozen=True)
class SolveOptions:
    """What a solve is asked for; see `mocap_opt.solving.api.solve`."""

    method: str = "auto"
    solver: str = "auto"
    execution: str = "best"
    time_limit_s: float | None = None
    deterministic_limit: float | None = None
    gap: float = 0.0
    seed: int = 0
    threads: int | None = None
    memory_budget_bytes: int | None = None
    without: tuple[str, ...] = ()
    only: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Query:
    """What is asked about an instance, and who is told how it goes.

    Attributes
    ----------
    deadline : Deadline
        Of the time limit asked for.
    asked : SolveOptions
    callback : callable or None
        Told of every better value or bound; its ``latency_s`` is what is minimised.
    known : Solution or None
        An earlier one of the same instance.
    quick : bool
        Leave out bounds that need a solver.
    on_note, on_bound : callable
        Told of bounds that are left out or cut short, and of every bound that is begun, by its name.
    """

    deadline: Deadline
    asked: SolveOptions = SolveOptions()
    callback: Callable[[Progress], None] | None = None
    known: Solution | None = None
    quick: bool = False
    on_note: Callable[[str], None] = lambda note: None
    on_bound: Callable[[str], None] = lambda name: None


@dataclass(frozen=True, kw_only=True)
class Found:
    """What came of a search, in ticks.

    Attributes
    ----------
    tables : Tables
        Of the first request.
    best : Assessment or None
        The best schedule with its replays.
    bounds : sequence of Bound
        On what is minimised; of a mean, on the sum over the requests.
    infeasible : str or None
        Why there is no schedule, if that is proved.
    reason : str or None
        Why none was found.
    figures : mapping
        What the report says of the search beside the rest.
    found_by, solver, notes, programs, steps, versions
        As in `mocap_opt.solving.report.Report`; versions in addition to its own.
    trials : sequence of Trial
        Every plan tried, in order.
    assessed : AssessedAssignment or None
        Instead of `best` where requests are shared out over pipelines.
    """

    tables: Tables
    best: Assessment | None = None
    bounds: Sequence[Bound] = ()
    infeasible: str | None = None
    reason: str | None = None
    found_by: str | None = None
    solver: str | None = None
    notes: Iterable[str] = ()
    programs: Sequence[ProgramRun] = ()
    steps: Sequence[StepRun] = ()
    trials: Iterable[Trial] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    assessed: AssessedAssignment | None = None
    versions: Mapping[str, str | None] = field(default_factory=dict)


def _above(module: str) -> Any:
    """Frames and pictures are made of answers and stand above them; an answer reaches them when asked."""
    return importlib.import_module(f"mocap_opt.{module}")


@dataclass(frozen=True, repr=False)
class Solution:
    """An answer and all that stands behind it.

    Attributes
    ----------
    report : Report
        The answer in seconds, tokens and bytes.
    schedule : Schedule or None
        The best schedule found, or the one given.
    assessment : Assessment or None
        Its two replays; None without one, and where it breaks a rule.
    lower_bounds : tuple of Bound
        Every bound computed on the way, on what is minimised, ticks; of a mean, on the sum over the requests.
    tables : Tables
        The integer tables all of it was computed from, those of the first request.
    trials : tuple of Trial
        Every plan tried, in order.
    instance : Instance or None
        What was asked; None where only tables were given.
    assignment : Assignment or None
        Instead of `schedule` where requests are shared out over pipelines, or some are rejected.
    assessed : AssessedAssignment or None
        Its replays; None without one, and where it breaks a rule.

    Examples
    --------
    >>> import mocap_opt
    >>> solution = mocap_opt.solve(mocap_opt.load_instance("instances/tiny-pooled.json"))
    >>> solution.chunks["tokens"].tolist()
    [2, 2]
    >>> solution.report.gap
    0.0
    """

    report: Report
    schedule: Schedule | None
    assessment: Assessment | None
    lower_bounds: tuple[Bound, ...]
    tables: Tables
    trials: tuple[Trial, ...] = ()
    instance: Instance | None = None
    assignment: Assignment | None = None
    assessed: AssessedAssignment | None = None

    @property
    def streams(self) -> tuple[tuple[int, Schedule], ...]:
        """The streams of the pipelines that have something to do, each with its number."""
        if self.assignment is None:
            return () if self.schedule is None else ((0, self.schedule),)
        return tuple((n, each) for n, each in enumerate(self.assignment.pipelines) if each is not None)

    @property
    def plan(self) -> Plan | None:
        """The plan of the only request; None without a schedule, and of several requests."""
        return self.schedule.plan if self.schedule is not None and len(self.schedule) == 1 else None

    @property
    def row(self) -> dict[str, Any]:
        """The report as plain values, and whether the event-driven run takes longer than lockstep."""
        lockstep, event = self.report.lockstep_value_s, self.report.event_value_s
        slower = None if lockstep is None or event is None else event > lockstep
        return {**self.report.to_dict(), "event_exceeds_lockstep": slower}

    @property
    def chunks(self) -> pd.DataFrame:
        """A row per chunk, see `mocap_opt.frames.chunks`."""
        frame: pd.DataFrame = _above("frames").chunks(self)
        return frame

    @property
    def homes(self) -> pd.DataFrame:
        """A row per piece of KV cache away from its stage, see `mocap_opt.frames.homes`."""
        frame: pd.DataFrame = _above("frames").homes(self)
        return frame

    @property
    def bounds(self) -> pd.DataFrame:
        """A row per lower bound, see `mocap_opt.frames.bounds`."""
        frame: pd.DataFrame = _above("frames").bounds(self)
        return frame

    def plot(
        self, kind: str = "gantt", *, execution: str | None = None, pipeline: int | None = None
    ) -> Figure:
        """Draw the best plan; needs the extra ``plots``.

        Parameters
        ----------
        kind : str
            ``"gantt"``, ``"memory"`` or ``"mesh"``.
        execution : str, optional
            ``"lockstep"`` or ``"event-driven"``; by default the faster one.
        pipeline : int, optional
            Of several pipelines the one to draw, from 0; by default the one with the most slots.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        InputError
            If the kind is another one, there is no plan to draw, or the pipeline has nothing to do.
        """
        figure: Figure = _above("pictures.answer").plot(self, kind, execution, pipeline)
        return figure

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan as a file that `mocap_opt.evaluate` and ``mocap-opt evaluate`` read.

        Parameters
        ----------
        path : path
            Written whole or not at all.

        Raises
        ------
        InputError
            If there is no plan, or the file cannot be written.
        """
        report = self.report
        grid = None if self.instance is None else self.instance.grid_by_rule
        if self.assignment is not None:
            save_assignment(path, self.assignment, report.instance, report.fingerprint, grid)
            return
        if self.schedule is None:
            raise InputError([Problem("solution", self.report.reason or "no plan", "a plan to write")])
        if report.objective == Objective.LATENCY:
            save_plan(path, self.schedule.plan, report.instance, self.tables, grid)
        else:
            save_schedule(path, self.schedule, report.instance, report.fingerprint, grid)

    def save_report(self, path: str | os.PathLike[str]) -> None:
        """Write the HTML report; needs the extra ``report``.

        Parameters
        ----------
        path : path
            Ends in ``.html``; written whole or not at all.

        Raises
        ------
        InputError
            If the name ends otherwise, or the file cannot be written.
        """
        _above("pictures.answer").save_report(self, path)

    def __str__(self) -> str:
        """The answer in at most four lines: value and certificate, bound, chunks, memory."""
        report = self.report
        head = f"{report.instance}: {report.status_text}"
        if report.value_s is None:
            return "\n".join([head, *([f"  {report.reason}"] if report.reason else [])])
        by = f", found by {report.found_by}" if report.found_by else ""
        lines = [f"{head}, {Objective(report.objective).record.text(report.value_s)} {report.execution}{by}"]
        if report.lower_bound_s is not None:
            words = Objective(report.objective).record.words
            proved = f"no {words} below {format_seconds(report.lower_bound_s)} is possible"
            lines.append(f"  {proved} ({report.bound_name}): gap {format_percent(report.gap)}")
        if report.boundaries is not None:
            count, homes = len(report.boundaries) - 1, report.homes or []
            away = f", KV away from home in {len(homes)} places" if homes else ""
            chunks = f"{count} chunk{'s' if count != 1 else ''}: {format_chunks(report.boundaries)}"
            lines.append(f"  {chunks}{away}")
        if report.peak_memory_bytes:
            lines.append(f"  {self._fullest()}; solved in {format_seconds(report.runtime_s)}")
        return "\n".join(lines)

    def _fullest(self) -> str:
        """The memory that is fullest, in words."""
        peaks, sizes = self.report.peak_memory_bytes or [], self.tables.capacity.tolist()
        part, k = max(
            (used / max(size, 1), -k) for k, (used, size) in enumerate(zip(peaks, sizes, strict=True))
        )
        used = f"{decimal_bytes(peaks[-k])} of {decimal_bytes(sizes[-k])}"
        return f"{self.tables.memory_name(-k)} is fullest: {used} ({format_percent(part)})"

    def __repr__(self) -> str:
        """One line for interactive use."""
        return f"<Solution {str(self).partition(chr(10))[0]}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the answer, its certificate, and the pipeline as a small picture."""
        text: str = _above("pictures.answer").to_html(self)
        return text
