"""The command that sweeps counts of chunks and layouts: tradeoff."""

from __future__ import annotations

from typing import Any

import click

from mocap_opt.cli.methods import MethodChoice
from mocap_opt.cli.options import file_argument, json_option, print_json, set_option
from mocap_opt.cli.render import console, percent, seconds, titled
from mocap_opt.errors import ExitCode
from mocap_opt.files import require_writable
from mocap_opt.instance import load_instance
from mocap_opt.plan_io import save_plan
from mocap_opt.tradeoffs import Choice, Sweep, sweep

EXAMPLE = """\b
Example:
  mocap-opt tradeoff instances/gpt3-175b-watos-slack.json --layout auto --method mocap
"""


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
        if choice.outcome in ("solved", "no plan", "no time"):
            row = _row(choice)
            shape = [str(row[key]) for key in ("stages", "dies_per_stage", "chunks")]
            table.add_row(*shape, seconds(row["lower_bound_s"]), seconds(row["latency_s"]), choice.outcome)
    console().print(table)
    left_out = {kind: sum(c.outcome == kind for c in found.choices) for kind in ("pruned", "infeasible")}
    console().print(f"pruned by their bounds: {left_out['pruned']}; infeasible: {left_out['infeasible']}")
    if found.best is not None:
        chosen = " ".join(f"--set {change}" for change in found.best.overrides)
        latency = _row(found.best)["latency_s"]
        console().print(f"best: {chosen}: {seconds(latency)}, gap over all variants {percent(found.gap)}")


@click.command(short_help="counts of chunks and layouts, swept", epilog=EXAMPLE)
@file_argument
@click.option("--chunks", type=click.Choice(["auto"]), help="Every exact count up to max_chunks.")
@click.option("--layout", type=click.Choice(["auto"]), help="All stages x dies per stage that fit the wafer.")
@click.option("--method", type=MethodChoice(), default="auto", show_default=True)
@click.option(
    "--time-limit",
    "time_limit_s",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds for solving, shared by the variants; bounds come on top.",
)
@click.option("--gap", type=click.FloatRange(min=0, max=1), default=1e-4, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=str), help="Write the best variant's plan here (JSON).")
@set_option
@json_option
def tradeoff(
    file: str,
    chunks: str | None,
    layout: str | None,
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
    best plan so far are left out.
    """
    if out is not None:
        require_writable(out)
    instance = load_instance(file, overrides)
    found = sweep(
        instance,
        chunks=chunks is not None,
        layouts=layout is not None,
        method=method,
        time_limit_s=time_limit_s,
        gap=gap,
        seed=seed,
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
    if found.best is not None:
        return ExitCode.ANSWERED
    hopeless = all(choice.outcome == "infeasible" for choice in found.choices)
    return ExitCode.INFEASIBLE if hopeless else ExitCode.NO_PLAN


COMMANDS = (tradeoff,)
