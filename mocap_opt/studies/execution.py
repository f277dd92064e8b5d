"""Doing one run: from a task to its row, whatever happens inside."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mocap_opt.errors import InputError, MocapError
from mocap_opt.instance import Instance
from mocap_opt.solving import Progress, solve
from mocap_opt.studies.tasks import Task

OK, FAILED = "ok", "failed"
LONGEST_REASON = 2000

Curve = list[tuple[float, float | None, float | None]]
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
    """Solve for the least latency; returns the columns of the report."""
    ask = task.settings
    solution = solve(
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
    )
    columns = solution.report.to_dict()
    # The settings stand in columns of their own; the solver asked for is one, the one used another.
    columns["found_by"] = columns.pop("settings").get("found_by")
    columns["solver_used"] = columns.pop("solver")
    for named in ("instance", "fingerprint", "method"):
        del columns[named]
    # Which of two equal replays is named first, and "lockstep" asked for, must not share a column.
    columns["execution_reported"] = columns.pop("execution")
    return columns


Answer = Callable[[Instance, Task, Callable[[Progress], None]], dict[str, Any]]


def answer_headline(instance: Instance, task: Task, note: Callable[[Progress], None]) -> dict[str, Any]:
    """What the headline study asks of a method; see `mocap_opt.studies.paper_comparison.answers`."""
    # It loads both solvers, and no other kind of run needs it.
    from mocap_opt.studies.paper_comparison.answers import ANSWERS  # noqa: PLC0415

    return dict(ANSWERS[task.kind](instance, task.settings.method, task.settings.time_limit_s))


KINDS: Mapping[str, Answer] = {
    "latency": answer_latency,
    "headline-period": answer_headline,
    "headline-run": answer_headline,
    "headline-equal-length": answer_headline,
    "headline-limited-length": answer_headline,
}
"""What a run may answer, by the name a study gives it."""


def perform(task: Task) -> Outcome:
    """Do a run; an exception becomes a row with its reason."""
    curve: Curve = []

    def note(news: Progress) -> None:
        curve.append((news.elapsed_s, news.latency_s, news.bound_s))

    try:
        instance = Instance.from_dict(task.instance)
        columns = KINDS[task.kind](instance, task, note)
    except InputError as error:
        return failure(task, "; ".join(str(problem) for problem in error.problems))
    except MocapError as error:
        return failure(task, str(error))
    except Exception as error:  # a defect in one run must not cost the others
        return failure(task, f"{type(error).__name__}: {error}")
    return Outcome(task.key, {"outcome": OK, **task.identity(), **columns}, curve)


def failure(task: Task, reason: str) -> Outcome:
    """The row of a run that gave no answer."""
    return Outcome(task.key, {"outcome": FAILED, **task.identity(), "reason": reason[:LONGEST_REASON]})


def pack_curve(curve: Curve) -> bytes:
    """Curve as compressed JSON, times to a tenth of a millisecond."""
    points = [(round(at, 4), latency, bound) for at, latency, bound in curve]
    return zlib.compress(json.dumps(points, separators=(",", ":")).encode())


def unpack_curve(data: bytes) -> Curve:
    """Read what `pack_curve` wrote."""
    return [(at, latency, bound) for at, latency, bound in json.loads(zlib.decompress(data))]
