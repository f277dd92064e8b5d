"""The command that sweeps counts of chunks and layouts: tradeoff."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import PurePath
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from mocap_opt.cli.drawing import FORMATS
from mocap_opt.cli.live import follow
from mocap_opt.cli.options import (
    MethodChoice,
    file_argument,
    json_option,
    override_option,
    print_json,
    seed_option,
    time_limit_option,
)
from mocap_opt.cli.outputs import csv_text, exit_of_several, require_outputs
from mocap_opt.cli.render import console, titled
from mocap_opt.errors import ExitCode, InputError, Problem
from mocap_opt.files import write_text_atomically
from mocap_opt.instance import Instance, load_instance
from mocap_opt.instance.objectives import Objective, objective_of, require_supported
from mocap_opt.optional_dependencies import require
from mocap_opt.questions.tradeoffs import Axis, Choice, Sweep, tradeoff
from mocap_opt.questions.tradeoffs.axes import read_axes
from mocap_opt.questions.tradeoffs.layout_choices import laid_out, load_for_any_layout
from mocap_opt.questions.tradeoffs.result import INFEASIBLE, NO_PLAN, NOT_PLACED
from mocap_opt.schedule.plan_file import save_plan
from mocap_opt.tables import build_tables
from mocap_opt.units import format_percent
from mocap_opt.units import format_seconds_aligned as seconds

if TYPE_CHECKING:
    from mocap_opt.questions.tradeoffs.curve import Curve, Point, Variant

EXAMPLE = """\b
Examples:
  mocap-opt tradeoff instances/gpt3-175b-watos-slack.json --layout auto --method mocap
  mocap-opt tradeoff instances/gpt3-175b-watos-dead-dies.json --layout auto --axes latency,cost \\
      --sort cost --csv layouts.csv --picture layouts.png
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


TOP = 20
"""Rows of the table that are printed unless told otherwise."""

MOST_REASONS = 2
"""Reasons why layouts cannot be placed, or have no plan, that are printed."""


def _figure(axis: Axis, value: Fraction | None) -> str:
    """A value on an axis, as tables show it."""
    if value is None:
        return "-"
    return f"{int(value):,}" if axis is Axis.LONGEST else seconds(float(value))


def _print(found: Sweep, sort: Axis, top: int) -> None:
    choices = found.sorted(sort)
    table = titled(f"{found.instance.name}: {len(choices)} variants by {sort}")
    for column in ("layout", "chunks", *(name for axis in found.axes for name in (axis, "bound")), "outcome"):
        table.add_column(column, justify="right")
    for choice in choices[:top]:
        figures = [
            _figure(axis, held.get(axis)) for axis in found.axes for held in (choice.found, choice.proved)
        ]
        table.add_row(choice.name, str(choice.chunks), *figures, choice.outcome)
    console().print(table)
    if len(choices) > top:
        console().print(f"{len(choices) - top} more: --top {len(choices)} prints, --csv FILE writes them all")
    _print_outcomes(choices)
    if found.pareto:
        _print_pareto(found)
    best, axis = found.best, found.axes[0]
    if best is not None:
        chosen = " ".join(f"--set {quote(change)}" for change in best.overrides)
        figure, gap = _figure(axis, best.found[axis]), format_percent(found.gap)
        console().print(f"best {axis}: {chosen}: {figure}, gap over all variants {gap}")


def _print_outcomes(choices: Sequence[Choice]) -> None:
    """How many variants ended how, and why some have no plan."""
    outcomes = Counter(choice.outcome for choice in choices)
    console().print("variants: " + ", ".join(f"{count} {kind}" for kind, count in outcomes.items()))
    for kind in (NOT_PLACED, INFEASIBLE, NO_PLAN):
        without = [choice for choice in choices if choice.outcome == kind]
        for choice in without[:MOST_REASONS]:
            console().print(f"{kind}: {choice.name}: {choice.reason}")
        if len(without) > MOST_REASONS:
            more = ", ".join(choice.name for choice in without[MOST_REASONS:][:TOP])
            dots = ", ..." if len(without) > MOST_REASONS + TOP else ""
            console().print(f"{kind} as well: {more}{dots}")


def _print_pareto(found: Sweep) -> None:
    first, second = found.axes[:2]
    table = titled(f"no other layout beats these in {first} and {second}")
    for column in ("layout", "chunks", first, second, f"{second} bound", "gap"):
        table.add_column(column, justify="right")
    for choice in found.pareto:
        figures = [_figure(axis, choice.found[axis]) for axis in (first, second)]
        bound, gap = _figure(second, found.pareto_bound(choice)), format_percent(found.pareto_gap(choice))
        table.add_row(choice.name, str(choice.chunks), *figures, bound, gap)
    console().print(table)


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
        "reason": variant.reason,
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
@click.option(
    "--layout",
    type=click.Choice(["auto"]),
    help="All stages x dies per stage that fit the wafer.  An instance that leaves its layout open has what "
    "it leaves open swept anyway.",
)
@click.option(
    "--axes",
    metavar="A,B,...",
    help="What layouts are compared by: latency, period, cost (die-seconds per token), longest (prompt in "
    "max_chunks equal chunks).  The curve is of the first two.  [default: latency,cost; latency where only "
    "chunks vary or queues are unbounded]",
)
@click.option(
    "--sort",
    type=click.Choice([axis.value for axis in Axis]),
    help="Axis to sort by and to search.  [default: the first one]",
)
@click.option(
    "--top", type=click.IntRange(min=1), default=TOP, show_default=True, help="Rows of the table to print."
)
@click.option("--csv", "csv_path", type=click.Path(path_type=str), help="Write the whole table here (CSV).")
@click.option(
    "--picture",
    type=click.Path(path_type=str),
    help="Draw the first two axes, bounds as whiskers: .png, .svg or .pdf.",
)
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
@override_option
@json_option
def _tradeoff(
    file: str,
    chunks: str | None,
    layout: str | None,
    axes: str | None,
    sort: str | None,
    top: int,
    csv_path: str | None,
    picture: str | None,
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

    Every variant gets lower bounds and the plan of a heuristic, replayed.  Then those that can be the
    best are solved, least bound first.  All of them are in the table, those that cannot be placed or have
    no plan with the reason; and those that no other one beats on two axes, each with its gap.  Every axis
    has a plan of its own.

    With --objective period: the plans that no other beats both in the latency of a request and in the
    period of endless requests, each with its gap.

    With --layout the layout that FILE describes need not fit the wafer, and may be left out.
    """
    require_outputs([out, curve_path, csv_path, picture], [file])
    asked = overrides if objective is None else (*overrides, f"objective={objective}")
    instance = (load_instance if layout is None else load_for_any_layout)(file, asked)
    given = {
        "axes": axes,
        "sort": sort,
        "csv": csv_path,
        "picture": picture,
        "top": None if top == TOP else top,
    }
    require_supported(instance, "tradeoff", command=True, method=method, chunks=chunks, out=out, **given)
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
    wanted = _axes(instance, axes, sort, layout is not None)
    _require_drawable(picture, wanted)
    if out is not None and wanted[0] is not Axis.LATENCY:
        raise InputError([Problem("--out", repr(out), "latency as what is searched", "--sort latency")])
    found = follow(
        "first looks at every variant",
        lambda stop, line: tradeoff(
            instance,
            chunks=chunks is not None,
            layouts=layout is not None,
            axes=wanted,
            method=method,
            time_limit_s=time_limit_s,
            gap=gap,
            seed=seed,
            stop=stop,
            begin=line.say,
            callback=line.tell,
        ),
    )
    best = found.best
    if out is not None and best is not None and best.plan is not None:
        save_plan(out, best.plan, instance.name, build_tables(laid_out(instance, best.overrides)))
    _write(found, csv_path, picture)
    if as_json:
        print_json(_answer(found))
    else:
        _print(found, wanted[0], top)
    return exit_of_several(best is not None, (not choice.known_to_exist for choice in found.choices))


def _axes(instance: Instance, named: str | None, sort: str | None, layouts: bool) -> tuple[Axis, ...]:
    """The axes asked for, what is searched first."""
    if named is not None:
        wanted = read_axes(name.strip() for name in named.split(","))
    elif (layouts or instance.pipeline.free) and instance.pipeline.queue_depth != "unbounded":
        wanted = (Axis.LATENCY, Axis.COST)
    else:
        wanted = (Axis.LATENCY,)
    return wanted if sort is None else tuple(dict.fromkeys((Axis(sort), *wanted)))


def _require_drawable(picture: str | None, axes: Sequence[Axis]) -> None:
    """Refuse a picture that cannot be drawn, before long work is done for it."""
    if picture is None:
        return
    if PurePath(picture).suffix.lower().lstrip(".") not in FORMATS:
        raise InputError([Problem("--picture", repr(picture), "a name that ends in .png, .svg or .pdf")])
    if len(axes) < 2:
        raise InputError([Problem("--picture", repr(picture), "two axes", "--axes latency,cost")])
    require("matplotlib", "plots")


def _write(found: Sweep, csv_path: str | None, picture: str | None) -> None:
    """Write the table and the picture that are asked for."""
    if csv_path is not None:
        rows = found.rows()
        write_text_atomically(csv_path, csv_text(rows, tuple(rows[0])))
    if picture is not None:
        from mocap_opt.pictures import plots  # noqa: PLC0415 - matplotlib is optional and slow to load

        plots.save_figure(plots.tradeoff_figure(found), picture)


def _answer(found: Sweep) -> dict[str, Any]:
    best, bound = found.best, found.bound
    return {
        "instance": found.instance.name,
        "axes": list(found.axes),
        "best": None if best is None else best.row(found.axes),
        "set": None if best is None else list(best.overrides),
        found.axes[0].columns[1]: None if bound is None else float(bound),
        "gap": found.gap,
        "variants": [choice.row(found.axes) for choice in found.choices],
        "pareto": [
            {**choice.row(found.axes), "gap": found.pareto_gap(choice), "set": list(choice.overrides)}
            for choice in found.pareto
        ],
    }


COMMANDS = (_tradeoff,)
