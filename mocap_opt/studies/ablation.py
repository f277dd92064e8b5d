"""What every step of a solve is worth: the same instances solved without it, one step at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mocap_opt.instance import Instance
from mocap_opt.instance.objectives import require_supported
from mocap_opt.solving import STEPS
from mocap_opt.studies.driver import Runner, Tally, finished_runs
from mocap_opt.studies.execution import Outcome
from mocap_opt.studies.tasks import Settings, Task
from mocap_opt.units import format_percent

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "step",
    "instance",
    "latency_s",
    "latency_without_s",
    "lower_bound_s",
    "lower_bound_without_s",
    "gap",
    "gap_without",
    "plan_loss",
    "bound_loss",
    "gap_loss",
    "plan_lost",
    "reason",
)
LOSSES = ("plan_loss", "bound_loss", "gap_loss")
NOTABLE = 1e-4
"""Losses up to this are what the gap allows."""


def run_ablation(
    instances: Sequence[Instance],
    settings: Settings,
    results: str | os.PathLike[str],
    runner: Runner,
    *,
    steps: Iterable[str] = (),
    listener: Callable[[Tally], None] | None = None,
) -> list[Outcome]:
    """Solve instances whole, then without each step that ran on them; runs finished before are kept.

    A step that did not run on an instance has nothing to lose there and is not left out again.

    Parameters
    ----------
    instances : sequence of Instance
    settings : Settings
        Of every run; its method has steps.
    results : path
        Finished runs are kept here.
    runner : Runner
    steps : iterable of str
        Names in `mocap_opt.solving.STEPS`; empty: all of them.
    listener : callable, optional
        Told how far the study is, first of the whole solves, then of those without a step.

    Returns
    -------
    list of Outcome
        Whole solves first; ``without`` in the row says which step was left out.

    Raises
    ------
    InputError
        If an instance asks for something else than the least latency, or `results` is another file.
    """
    for instance in instances:
        require_supported(instance, "ablation")
    wanted = tuple(steps) or tuple(step.name for step in STEPS)
    whole = [Task.of("latency", instance, settings) for instance in instances]
    done = finished_runs(whole, results, runner, listener=listener)
    shortened = [
        replace(task, settings=replace(settings, without=run["step"]))
        for task, outcome in zip(whole, done, strict=True)
        for run in outcome.row.get("steps", ())
        if run["runs"] and run["step"] in wanted
    ]
    return done + finished_runs(shortened, results, runner, listener=listener)


def losses(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Compare every solve without a step with the whole one of the same instance.

    Parameters
    ----------
    outcomes : sequence of Outcome
        As `run_ablation` returns them.

    Returns
    -------
    list of dict
        In the order of the steps, with the keys `COLUMNS`.  ``plan_loss``: latency without the step over
        that with it, less 1; ``bound_loss``: 1 less the same ratio of bounds, 1 if no bound is left;
        ``gap_loss``: difference of the gaps, where one that is not known counts as 1.  None where the
        whole solve has nothing to compare with, or no plan is left: ``plan_lost``.
    """
    whole = {o.row["fingerprint"]: o.row for o in outcomes if o.row["without"] is None}
    rows = [_loss(whole[o.row["fingerprint"]], o.row) for o in outcomes if o.row["without"] is not None]
    order = [step.name for step in STEPS]
    return sorted(rows, key=lambda row: order.index(row["step"]))


def _loss(whole: Mapping[str, Any], left: Mapping[str, Any]) -> dict[str, Any]:
    figures = [(row.get("latency_s"), row.get("lower_bound_s"), row.get("gap")) for row in (whole, left)]
    (latency, bound, gap), (latency_left, bound_left, gap_left) = figures
    plan_loss = None if latency is None or latency_left is None else latency_left / latency - 1
    return {
        "step": left["without"],
        "instance": left["instance"],
        "latency_s": latency,
        "latency_without_s": latency_left,
        "lower_bound_s": bound,
        "lower_bound_without_s": bound_left,
        "gap": gap,
        "gap_without": gap_left,
        "plan_loss": plan_loss,
        "bound_loss": None if bound is None else 1 - (bound_left or 0.0) / bound if bound else 0.0,
        "gap_loss": None if gap is None else (1.0 if gap_left is None else gap_left) - gap,
        "plan_lost": latency is not None and latency_left is None,
        "reason": left.get("reason"),
    }


def by_step(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Sum the losses up, a row per step.

    Parameters
    ----------
    rows : sequence of mapping
        As `losses` returns them.

    Returns
    -------
    pandas.DataFrame
        ``instances`` on which the step ran, ``plans lost``; of `LOSSES` the mean and the greatest, the
        latter with its instance: as text, in percent.
    """
    import pandas as pd  # noqa: PLC0415 - slow to load

    table = {}
    for name in dict.fromkeys(row["step"] for row in rows):
        of_step = [row for row in rows if row["step"] == name]
        cells = {"instances": str(len(of_step)), "plans lost": str(sum(row["plan_lost"] for row in of_step))}
        for loss in LOSSES:
            known = [(row[loss], row["instance"]) for row in of_step if row[loss] is not None]
            title = loss.replace("_", " ")
            worst, where = max(known, default=(None, ""))
            cells[f"{title}, mean"] = format_percent(fmean(value for value, _ in known) if known else None)
            # Noise of a few hundredths is no place to look at.
            at = f" ({where})" if worst is not None and worst > NOTABLE else ""
            cells[f"{title}, worst"] = format_percent(worst) + at
        table[name] = cells
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("without")
