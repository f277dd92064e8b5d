"""The command that sets virtual stages beside the ordinary pipeline: virtual."""

from __future__ import annotations

from typing import Any

import click

from mocap_opt.cli.live import follow
from mocap_opt.cli.options import (
    file_argument,
    json_option,
    print_json,
    seed_option,
    set_option,
    time_limit_option,
)
from mocap_opt.cli.render import console, pairs, titled
from mocap_opt.errors import ExitCode
from mocap_opt.flow_shop.virtual_pipeline import Shape
from mocap_opt.instance import load_instance
from mocap_opt.questions.virtual_stages import VirtualAnswer, virtual_stages
from mocap_opt.units import format_percent
from mocap_opt.units import format_seconds_aligned as seconds

MOST_SIZES = 12
"""Sizes of chunks shown: the largest ones by powers of two, and the fastest."""

EXAMPLE = """\b
Examples:
  mocap-opt virtual instances/llama-3.1-70b-pjlab-measured.json
  mocap-opt virtual instances/llama-3.1-70b-pjlab-measured.json --shape interleaved --overhead 0.001
"""


@click.command("virtual", short_help="what devices gain that host several runs of layers", epilog=EXAMPLE)
@file_argument
@click.option(
    "--shape",
    type=click.Choice([str(shape) for shape in Shape]),
    default=str(Shape.V),
    show_default=True,
    help="v: there and back again; interleaved: round and round.",
)
@click.option("--runs", type=click.IntRange(min=2), default=2, show_default=True, help="Runs of a device.")
@click.option(
    "--overhead",
    "overhead_s",
    type=click.FloatRange(min=0),
    default=0.0,
    help="Seconds that every chunk takes longer on every virtual stage.",
)
@time_limit_option("Seconds of wall time.", 60.0)
@seed_option
@set_option
@json_option
def _virtual(
    file: str,
    shape: str,
    runs: int,
    overhead_s: float,
    time_limit_s: float,
    seed: int,
    overrides: tuple[str, ...],
    as_json: bool,
) -> ExitCode:
    """Set virtual stages on the devices of the instance FILE beside its ordinary pipeline.

    Every device hosts several runs of layers, its layers and its work being the same as before.  Chunks of
    every one size are tried on both, chunks of any sizes searched for, and bounds tell what no order of the
    devices can reach.  KV cache stays at home on virtual stages, and sends do not contend.
    """
    instance = load_instance(file, overrides)
    found = follow(
        "virtual stages",
        lambda stop, line: virtual_stages(
            instance,
            shape,
            runs,
            overhead_s=overhead_s,
            time_limit_s=time_limit_s,
            seed=seed,
            stop=stop,
            tell=line.say,
        ),
    )
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)
    return ExitCode.ANSWERED if found.best is not None else ExitCode.NO_PLAN


def _print(found: VirtualAnswer) -> None:
    report, best = found.ordinary.report, found.best
    table = titled("Chunks of one size")
    for name in ("size", "chunks", "ordinary", "virtual", "bound, any order"):
        table.add_column(name, justify="right")
    powers = {row.size for row in found.sizes if row.size & (row.size - 1) == 0}
    fastest = {min(found.sizes, key=lambda row: row.ordinary).size} if found.sizes else set()
    shown = powers | fastest | ({found.fixed.size} if found.fixed else set())
    for row in [row for row in found.sizes if row.size in shown][-MOST_SIZES:]:
        times = [seconds(found.seconds(ticks)) for ticks in (row.ordinary, row.virtual, row.bound)]
        table.add_row(str(row.size), str(row.chunks), *times)
    out = console()
    out.print(table)
    gap = "-" if report.gap is None else format_percent(report.gap)
    rows: list[tuple[str, Any]] = [
        ("instance", found.instance.name),
        ("virtual stages", f"{found.pipeline.stages}, {found.shape}, {found.pipeline.runs} a device"),
        ("ordinary, best", f"{seconds(report.latency_s)}, bound {seconds(report.lower_bound_s)}, gap {gap}"),
    ]
    if best is not None:
        rows.append(
            (
                "virtual, best",
                f"{seconds(found.seconds(best.latency))}, {best.plan.chunks} chunks, {best.rule}",
            )
        )
    for name, bound in (("virtual, bound", found.bound), ("any arrangement", found.alike)):
        rows.append((name, "-" if bound is None else f"{seconds(found.seconds(bound.ticks))}, {bound.note}"))
    rows += [("verdict", text) for text in found.verdicts]
    out.print(pairs(rows))


COMMANDS = (_virtual,)
