"""What a solve is asked for, what a search finds, and the record of an answered question."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mocap_opt.bounds import Bound
from mocap_opt.replay.evaluation import Assessment, Execution
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.solving.incumbent import Progress, Trial
from mocap_opt.solving.report import ProgramRun, Report, StepRun
from mocap_opt.stopping import Deadline
from mocap_opt.tables.cost_tables import Tables

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
    versions: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
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
    bounds : tuple of Bound
        Every bound computed on the way, on what is minimised, ticks; of a mean, on the sum over the requests.
    tables : Tables
        The integer tables all of it was computed from, those of the first request.
    trials : tuple of Trial
        Every plan tried, in order.
    """

    report: Report
    schedule: Schedule | None
    assessment: Assessment | None
    bounds: tuple[Bound, ...]
    tables: Tables
    trials: tuple[Trial, ...] = ()

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
