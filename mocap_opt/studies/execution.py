"""Doing one run: from a task to its row, whatever happens inside."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mocap_opt.baselines import METHODS
from mocap_opt.errors import InputError, MocapError
from mocap_opt.instance import Instance
from mocap_opt.replay.evaluation import assess
from mocap_opt.solving import Progress
from mocap_opt.solving.api import solve
from mocap_opt.studies.tasks import Task
from mocap_opt.tables import build_tables

OK, FAILED = "ok", "failed"
LONGEST_REASON = 2000

Moment = tuple[float, float | None, float | None]
Curve = list[Moment]
"""Elapsed seconds, latency and lower bound in seconds, at every improvement."""


@dataclass(frozen=True)
class Outcome:
    """A finished run.

    Attributes
    ----------
    key : str
        Of its task.
    row : dict
        ``outcome`` (``"ok"`` or ``"failed"``), ``reason``, what identifies the run, and its answer.
    curve : list of tuple
        How latency and bound improved, see `Curve`.
    """

    key: str
    row: dict[str, Any]
    curve: Curve = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether there is a reason instead of an answer."""
        return bool(self.row["outcome"] == FAILED)


def answer_latency(instance: Instance, task: Task, note: Callable[[Progress], None]) -> dict[str, Any]:
    """Solve for what the instance minimises.

    Parameters
    ----------
    instance : Instance
    task : Task
        What is asked.
    note : callable
        Told of every improvement of plan or bound.

    Returns
    -------
    dict
        The columns of the report.
    """
    ask = task.settings
    columns = solve(
        instance,
        ask.method,
        solver=ask.solver,
        execution=ask.execution,
        time_limit_s=ask.time_limit_s,
        gap=ask.gap_wanted,
        seed=ask.seed,
        callback=note,
        threads=ask.threads,
        deterministic_limit=ask.deterministic_limit,
        without=() if ask.without is None else (ask.without,),
        only=() if ask.only is None else ask.only.split(","),
    ).row
    # The settings stand in columns of their own; the solver asked for is one, the one used another.
    columns["solver_used"] = columns.pop("solver")
    for named in ("instance", "fingerprint", "method", "settings", "event_exceeds_lockstep"):
        del columns[named]
    # Which of two equal replays is named first, and "lockstep" asked for, must not share a column.
    columns["execution_reported"] = columns.pop("execution")
    return columns


Answer = Callable[[Instance, Task, Callable[[Progress], None]], dict[str, Any]]


def answer_paper_comparison(
    instance: Instance, task: Task, note: Callable[[Progress], None]
) -> dict[str, Any]:
    """Answer what the comparison with the paper asks; see `mocap_opt.studies.paper_comparison.answers`.

    Parameters
    ----------
    instance, task, note
        As for `answer_latency`; `note` is never told anything.
    """
    # It loads both solvers, and no other kind of run needs it.
    from mocap_opt.studies.paper_comparison.answers import ANSWERS  # noqa: PLC0415

    return dict(ANSWERS[task.kind](instance, task.settings.method, task.settings.time_limit_s))


def answer_first_heuristic(
    instance: Instance, task: Task, note: Callable[[Progress], None]
) -> dict[str, Any]:
    """Latency of the task's method, or where it has no plan, of the best other heuristic without a solver.

    Parameters
    ----------
    instance : Instance
    task : Task
    note : callable
        Never told anything.

    Returns
    -------
    dict
        ``latency_s`` and ``found_by``; both None if no heuristic has a plan.
    """
    tables, first = build_tables(instance), task.settings.method
    found: list[tuple[float, str]] = []
    for name in (first, *(name for name in METHODS if name not in (first, "search-program"))):
        plan = METHODS[name].propose(tables).plan
        if plan is not None:
            found.append((tables.seconds(assess(tables, plan).latency), name))
            if name == first:
                break
    latency, best = min(found, default=(None, None))
    return {"latency_s": latency, "found_by": best}


KINDS: Mapping[str, Answer] = {
    "latency": answer_latency,
    "first-heuristic": answer_first_heuristic,
    "paper-period": answer_paper_comparison,
    "paper-run": answer_paper_comparison,
    "paper-equal-length": answer_paper_comparison,
    "paper-limited-length": answer_paper_comparison,
}
"""What a run may answer, by the name a study gives it."""


def perform(task: Task, tell: Callable[[Moment], None] = lambda moment: None) -> Outcome:
    """Do a run; an exception becomes a row with its reason.

    Parameters
    ----------
    task : Task
    tell : callable
        Told of every moment of the run's curve as it comes.
    """
    curve: Curve = []

    def note(news: Progress) -> None:
        curve.append((news.elapsed_s, news.latency_s, news.bound_s))
        tell(curve[-1])

    try:
        instance = Instance.from_dict(task.instance)
        columns = KINDS[task.kind](instance, task, note)
    except InputError as error:
        return failure(task, "; ".join(str(problem) for problem in error.problems), curve)
    except MocapError as error:
        return failure(task, str(error), curve)
    except Exception as error:  # a defect in one run must not cost the others
        return failure(task, f"{type(error).__name__}: {error}", curve)
    return Outcome(task.key, {"outcome": OK, **task.identity(), **columns}, curve)


def failure(task: Task, reason: str, curve: Curve | None = None, *, late: bool = False) -> Outcome:
    """Build the outcome of a run that gave no answer.

    Parameters
    ----------
    task : Task
    reason : str
        Why; cut to `LONGEST_REASON` characters.
    curve : Curve, optional
        What it had told before.
    late : bool
        Whether it was killed because it was still running long after its limit.
    """
    row = {"outcome": FAILED, **task.identity(), "reason": reason[:LONGEST_REASON]}
    return Outcome(task.key, row | ({"late": True} if late else {}), curve or [])


def pack_curve(curve: Curve) -> bytes:
    """Curve as compressed JSON, times to a tenth of a millisecond."""
    points = [(round(at, 4), latency, bound) for at, latency, bound in curve]
    return zlib.compress(json.dumps(points, separators=(",", ":")).encode())


def unpack_curve(data: bytes) -> Curve:
    """Read what `pack_curve` wrote."""
    return [(at, latency, bound) for at, latency, bound in json.loads(zlib.decompress(data))]
