"""The command that finds a layout for what a fault leaves: repair."""

from __future__ import annotations

import json
import re
from pathlib import PurePath
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
from mocap_opt.cli.outputs import load_given_plan, require_outputs
from mocap_opt.cli.render import console, titled
from mocap_opt.errors import ExitCode, InputError, Problem
from mocap_opt.files import write_text_atomically
from mocap_opt.instance import load_instance
from mocap_opt.instance.objectives import require_supported
from mocap_opt.optional_dependencies import require
from mocap_opt.pictures.run_view import view_answer
from mocap_opt.questions.repair import SEARCH, Repair, StageLoss, repair
from mocap_opt.tables.layout import layout
from mocap_opt.units import decimal_bytes, format_percent
from mocap_opt.units import format_seconds_aligned as seconds
from mocap_opt.wafer.topology import Die, node_name

FORMATS = ("png", "svg", "pdf")

EXAMPLE = """\b
Examples:
  mocap-opt repair instances/gpt3-175b-watos-tight.json --dead 3,4 --dead 0,2 --out repaired.json
  mocap-opt repair instances/gpt3-175b-watos-tight.json --dead-link 0,3-0,4 --plot repair.png
"""


class _DieName(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A die, or two dies that a link joins, by row and column."""

    def __init__(self, form: str, dies: int) -> None:
        self.name = form
        self.dies = dies

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a die or a link.

        Parameters
        ----------
        value : object
            Text as typed.
        param, ctx
            As click gives them.
        """
        if not isinstance(value, str):
            return value
        if not re.fullmatch("-".join([r"\d+,\d+"] * self.dies), value):
            self.fail(f"expected {self.name}, got {value!r}", param, ctx)
        found: list[Die] = []
        for name in value.split("-"):
            row, col = name.split(",")
            found.append((int(row), int(col)))
        return found[0] if self.dies == 1 else tuple(found)


@click.command("repair", short_help="the best layout after dies or links fail", epilog=EXAMPLE)
@file_argument
@click.option("--dead", multiple=True, type=_DieName("ROW,COL", 1), help="A die that fails; several times.")
@click.option(
    "--dead-link",
    multiple=True,
    type=_DieName("ROW,COL-ROW,COL", 2),
    help="A link that fails; several times.",
)
@click.option("--plan", type=click.Path(path_type=str), help="What ran; without it FILE is solved first.")
@time_limit_option("Seconds of wall time.", 60.0)
@seed_option
@click.option("--out", type=click.Path(path_type=str), help="Write the repaired instance (JSON).")
@click.option(
    "--plot",
    type=click.Path(path_type=str),
    help="Draw the wafer before and after: a file ending in .png, .svg or .pdf.",
)
@set_option
@json_option
def _repair(
    file: str,
    dead: tuple[Die, ...],
    dead_link: tuple[tuple[Die, Die], ...],
    plan: str | None,
    time_limit_s: float,
    seed: int,
    out: str | None,
    plot: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> ExitCode:
    """Find what a fault takes from the instance FILE, and the best layout for what is left.

    Numbers of stages, their dies, layers and places may change; where costs are given for the stages as they
    are, their places alone.  Layouts are tried by rule, then searched for; the gaps in the table are those of
    the layouts, the last line holds for all.
    """
    if not dead and not dead_link:
        raise InputError([Problem("--dead", "nothing", "a die or a link that fails", "write --dead 3,4")])
    if plot is not None and PurePath(plot).suffix.lower().lstrip(".") not in FORMATS:
        raise InputError([Problem("--plot", repr(plot), "a name that ends in .png, .svg or .pdf")])
    require_outputs([out, plot], [file, *([] if plan is None else [plan])])
    if plot is not None:
        require("matplotlib", "plots")
    instance = load_instance(file, overrides)
    require_supported(instance, "repair")
    given = None if plan is None else load_given_plan(plan, instance)
    found = follow(
        "the layout before",
        lambda stop, line: repair(
            instance, dead, dead_link, given, time_limit_s=time_limit_s, seed=seed, stop=stop, tell=line.say
        ),
    )
    repaired = found.repaired
    if out is not None and repaired is not None:
        write_text_atomically(out, json.dumps(repaired.to_dict(), indent=2) + "\n")
    if plot is not None and found.after is not None and found.before.report.value_s is not None:
        _draw(found, plot)
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)
    return ExitCode.NO_PLAN if found.after is None else ExitCode.ANSWERED


def _draw(found: Repair, path: str) -> None:
    from mocap_opt.pictures import plots  # noqa: PLC0415 - matplotlib is optional and slow to load

    assert found.after is not None
    assert found.repaired is not None
    sides = [(found.instance, found.before), (found.repaired, found.after)]
    figure = plots.repair_figure([(layout(instance), view_answer(answer)) for instance, answer in sides])
    plots.save_figure(figure, path)


def _print(found: Repair) -> None:
    for loss in found.losses:
        console().print(f"stage {loss.stage}: {_loss(loss)}")
    if not found.losses:
        console().print("no stage loses a die or falls apart")
    table = titled(f"{found.instance.name}: layouts before and after")
    table.add_column("layout")
    for column in ("stages", "dies", "layers", "latency", "longer by", "gap"):
        table.add_column(column, justify="right")
    answer = found.to_dict()
    for name, row in answer["layouts"].items():
        held = row["layout"]
        shape = ["-"] * 3
        if held is not None:
            dies = sorted({len(stage) for stage in held["dies"]})
            shape = [str(len(held["dies"])), _span(dies), _span(sorted(held["layers"]))]
        # The bound of the search holds for all layouts, those of the others for theirs.
        gap = "-" if name == SEARCH else format_percent(row["gap"])
        times = [seconds(row["latency_s"]), format_percent(row["extra"]), gap]
        table.add_row(f"{name} (best)" if name == found.best else name, *shape, *times)
    console().print(table)
    if found.after is not None:
        report = found.after.report
        least, gap = seconds(report.lower_bound_s), format_percent(report.gap)
        console().print(f"at least {least} for {answer['covers']}: gap {gap}")


def _span(numbers: list[int]) -> str:
    return str(numbers[0]) if numbers[0] == numbers[-1] else f"{numbers[0]} to {numbers[-1]}"


def _loss(loss: StageLoss) -> str:
    dead = " ".join(node_name(die) for die in loss.dead)
    said = f"loses {dead or 'links'}, {loss.left} dies are left"
    if loss.pieces > 1:
        said += f" in {loss.pieces} pieces"
    return (
        f"{said}; {loss.layers} layers; {decimal_bytes(loss.weight_bytes)} of weights and "
        f"{decimal_bytes(loss.kv_bytes)} of KV on dead dies"
    )


COMMANDS = (_repair,)
