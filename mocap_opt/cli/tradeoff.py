"""The command that sweeps counts of chunks and layouts: tradeoff."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from mocap_opt.cli.live import follow
from mocap_opt.cli.options import (
    MethodChoice,
    file_argument,
    json_option,
    print_json,
    seed_option,
    set_option,
    time_limit_option,
)
from mocap_opt.cli.outputs import csv_text, exit_of_several, require_outputs
from mocap_opt.cli.render import console, seconds, titled
from mocap_opt.errors import ExitCode, InputError, Problem
from mocap_opt.files import write_text_atomically
from mocap_opt.instance import Instance, load_instance
from mocap_opt.instance.objectives import Objective, objective_of, require_supported
from mocap_opt.questions.tradeoffs import Choice, Sweep, sweep
from mocap_opt.questions.tradeoffs.sweep import NOT_REACHED, load_for_any_layout
from mocap_opt.schedule.plan_file import save_plan
from mocap_opt.units import format_percent

if TYPE_CHECKING:
    from mocap_opt.questions.tradeoffs.curve import Curve, Point, Variant

EXAMPLE = """\b
Example:
  mocap-opt tradeoff instances/gpt3-175b-watos-slack.json --layout auto --method mocap
  mocap-opt tradeoff instances/gpt3-175b-watos-tight.json --objective period --curve curve.csv
"""
CURVE_COLUMNS = (
    "latency_s",
    "period_s",
    "requests_per_s",
    "period_lower_bound_s",
    "gap",
    "execution",
    "stages",
    "dies_per_stage",
    "chunks",
    "slots",
)


def _row(choice: Choice) -> dict[str, Any]:
    return {
        "stages": choice.stages,
        "dies_per_stage": choice.dies_per_stage,
        "chunks": choice.chunks,
        "lower_bound_s": None if choice.bound is None else float(choice.bound),
        "latency_s": None if choice.latency is None else float(choice.latency),
        "outcome": choice.outcome,
    }


def _print(name: str, found: Sweep) -> None:
    table = titled(f"{name}: {len(found.choices)} variants")
    for column in ("stages", "dies", "chunks", "bound", "latency", "outcome"):
        table.add_column(column, justify="right")
    for choice in found.choices:
        if choice.outcome in ("solved", "no plan", NOT_REACHED):
            row = _row(choice)
            shape = [str(row[key]) for key in ("stages", "dies_per_stage", "chunks")]
            table.add_row(*shape, seconds(row["lower_bound_s"]), seconds(row["latency_s"]), choice.outcome)
    console().print(table)
    left_out = {kind: sum(c.outcome == kind for c in found.choices) for kind in ("pruned", "infeasible")}
    console().print(f"pruned by their bounds: {left_out['pruned']}; infeasible: {left_out['infeasible']}")
    if found.best is not None:
        chosen = " ".join(f"--set {change}" for change in found.best.overrides)
        latency = _row(found.best)["latency_s"]
        console().print(
            f"best: {chosen}: {seconds(latency)}, gap over all variants {format_percent(found.gap)}"
        )


def _point_row(curve: Curve, point: Point) -> dict[str, Any]:
    bound = curve.period_bound(point.latency)
    return {
        "latency_s": float(point.latency),
        "period_s": float(point.period),
        "requests_per_s": float(1 / point.period) if point.period else None,
        "period_lower_bound_s": None if bound is None else float(bound),
        "gap": curve.gap(point),
        "execution": point.execution.value,
        "stages": point.variant.stages,
        "dies_per_stage": point.variant.dies_per_stage,
        "chunks": point.periodic.plan.chunks,
        "slots": point.periodic.slots,
    }


def _variant_row(variant: Variant) -> dict[str, Any]:
    latency, period = variant.latency_bound, variant.period_bound
    return {
        "stages": variant.stages,
        "dies_per_stage": variant.dies_per_stage,
        "chunks": variant.chunks,
        "latency_lower_bound_s": None if latency is None else float(latency),
        "period_lower_bound_s": None if period is None else float(period),
        "outcome": variant.outcome,
    }


def _print_curve(name: str, curve: Curve) -> None:
    table = titled(f"{name}: latency against period, {len(curve.variants)} variants")
    for column in ("latency", "period", "bound", "gap", "stages", "dies", "chunks", "W", "execution"):
        table.add_column(column, justify="right")
    for point in curve.points:
        row = _point_row(curve, point)
        times = [seconds(row[key]) for key in ("latency_s", "period_s", "period_lower_bound_s")]
        shape = [str(row[key]) for key in ("stages", "dies_per_stage", "chunks", "slots")]
        table.add_row(*times, format_percent(row["gap"]), *shape, row["execution"])
    console().print(table)
    outcomes = Counter(variant.outcome for variant in curve.variants)
    console().print("variants: " + ", ".join(f"{count} {kind}" for kind, count in outcomes.items()))
    layouts, unseen = curve.layouts
    if unseen:
        console().print(f"{unseen} of {layouts} layouts were not reached: a longer --time-limit reaches more")


def _curve(
    instance: Instance,
    *,
    layouts: bool,
    time_limit_s: float,
    gap: float,
    seed: int,
    path: str | None,
    as_json: bool,
) -> ExitCode:
    """Latency against period: search, print, and write the curve."""
    from mocap_opt.questions.tradeoffs.pareto import latency_and_period  # noqa: PLC0415 - loads CP-SAT

    curve = follow(
        "bounds of every variant",
        lambda stop, line: latency_and_period(
            instance,
            layouts=layouts,
            time_limit_s=time_limit_s,
            gap=gap,
            seed=seed,
            stop=stop,
            begin=line.say,
            callback=line.tell,
        ),
    )
    rows = [_point_row(curve, point) for point in curve.points]
    if path is not None:
        write_text_atomically(path, csv_text(rows, CURVE_COLUMNS))
    if as_json:
        variants = [_variant_row(variant) for variant in curve.variants]
        print_json({"instance": instance.name, "points": rows, "variants": variants})
    else:
        _print_curve(instance.name, curve)
    return exit_of_several(bool(curve.points), (each.outcome == "infeasible" for each in curve.variants))


@click.command("tradeoff", short_help="counts of chunks and layouts, swept", epilog=EXAMPLE)
@file_argument
@click.option("--chunks", type=click.Choice(["auto"]), help="Every exact count up to max_chunks.")
@click.option("--layout", type=click.Choice(["auto"]), help="All stages x dies per stage that fit the wafer.")
@click.option(
    "--objective",
    type=click.Choice(["latency", "period"]),
    help="Least latency; or the curve of latency against period, every count of chunks tried.  "
    "[default: the instance's own]",
)
@click.option("--curve", "curve_path", type=click.Path(path_type=str), help="Write that curve here (CSV).")
@click.option("--method", type=MethodChoice(), default="auto", show_default=True)
@time_limit_option("Seconds of wall time, bounds included, shared by the variants.", 60.0)
@click.option("--gap", type=click.FloatRange(min=0, max=1), default=1e-4, show_default=True)
@seed_option
@click.option("--out", type=click.Path(path_type=str), help="Write the best variant's plan here (JSON).")
@set_option
@json_option
def _tradeoff(
    file: str,
    chunks: str | None,
    layout: str | None,
    objective: str | None,
    curve_path: str | None,
    method: str,
    time_limit_s: float,
    gap: float,
    seed: int,
    out: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> ExitCode:
    """Find the count of chunks and the layout of the instance FILE with the least latency.

    Variants are solved in the order of their lower bounds; those whose bound is no better than the
    best plan so far are left out.  With --objective period: the plans that no other beats both in the
    latency of a request and in the period of endless requests, each with its gap.

    With --layout the layout that FILE describes need not fit the wafer, and may be left out.
    """
    require_outputs([out, curve_path], [file])
    asked = overrides if objective is None else (*overrides, f"objective={objective}")
    instance = (load_instance if layout is None else load_for_any_layout)(file, asked)
    require_supported(instance, "tradeoff", command=True, method=method, chunks=chunks, out=out)
    if objective_of(instance) is Objective.PERIOD:
        return _curve(
            instance,
            layouts=layout is not None,
            time_limit_s=time_limit_s,
            gap=gap,
            seed=seed,
            path=curve_path,
            as_json=as_json,
        )
    if curve_path is not None:
        raise InputError([Problem("--curve", "given", "--objective period with it", "add it")])
    found = follow(
        "bounds of every variant",
        lambda stop, line: sweep(
            instance,
            chunks=chunks is not None,
            layouts=layout is not None,
            method=method,
            time_limit_s=time_limit_s,
            gap=gap,
            seed=seed,
            stop=stop,
            begin=line.say,
            callback=line.tell,
        ),
    )
    if out is not None and found.solution is not None and found.solution.plan is not None:
        save_plan(out, found.solution.plan, instance.name, found.solution.tables)
    if as_json:
        print_json(
            {
                "instance": instance.name,
                "best": None if found.best is None else _row(found.best),
                "set": None if found.best is None else list(found.best.overrides),
                "lower_bound_s": None if found.bound is None else float(found.bound),
                "gap": found.gap,
                "variants": [_row(choice) for choice in found.choices],
            }
        )
    else:
        _print(instance.name, found)
    return exit_of_several(
        found.best is not None, (choice.outcome == "infeasible" for choice in found.choices)
    )


COMMANDS = (_tradeoff,)
