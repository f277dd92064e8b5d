"""The command export: programs for other solvers, replays for other simulators."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

import click

from mocap_opt.cli.options import file_argument, set_option
from mocap_opt.cli.outputs import load_given_plan, require_outputs
from mocap_opt.errors import ExitCode, InputError, Problem
from mocap_opt.instance import load_instance
from mocap_opt.instance.objectives import Objective, objective_of, require_supported
from mocap_opt.replay.replay_file import replay_to_dict, save_replay
from mocap_opt.schedule.schedule import first_requests
from mocap_opt.solving.api import evaluate
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables


@click.command("export", short_help="a program as MPS or LP file, or a plan for a foreign simulator")
@file_argument
@click.argument("plan", required=False, type=click.Path(path_type=str), metavar="[PLAN]")
@click.option(
    "--to",
    required=True,
    type=click.Path(path_type=str),
    help="Write the program here, .mps or .lp, or the replay of a PLAN, .json.",
)
@click.option(
    "--program",
    type=click.Choice(["joint", "joint_layers", "contention_free", "period"]),
    help="joint: least lockstep latency (default); joint_layers: the same with the layers of each stage as "
    'decisions, for pipeline.layers "auto"; contention_free: a lower bound on every execution; '
    "period: least lockstep period (default, and the only one, with objective period).",
)
@click.option(
    "--interval",
    type=click.IntRange(min=1),
    metavar="W",
    help="For the program period, slots from one request to the next; default: as in the best plan of the "
    "heuristics.",
)
@click.option("--force", is_flag=True, help="Write it whatever its size.")
@set_option
def _export(
    file: str,
    plan: str | None,
    to: str,
    program: str | None,
    interval: int | None,
    force: bool,
    overrides: tuple[str, ...],
) -> ExitCode:
    """Write a mixed-integer program of the instance FILE for any solver that reads MPS or LP.

    With a PLAN and a name that ends in .json, write what its event-driven execution is made of, for a
    simulator of one's own: links and memory ports with capacities, flows with their bytes, computes, what
    waits for what, and the times of our replay to compare with.

    The program period is that of one interval W; the least over all W is the least period.  Programs of
    more than 2,000,000 non-zeros are refused unless forced.
    """
    if plan is not None or PurePath(to).suffix == ".json":
        refused = {"--program": program, "--interval": interval, "--force": force or None}
        return _export_replay(file, plan, to, refused, overrides)
    # Pyomo takes a second to load, and only this command needs it.
    from mocap_opt.formulations.export import (  # noqa: PLC0415
        MOST_NONZEROS,
        export_program,
        file_format,
    )
    from mocap_opt.formulations.layer_tables import layer_tables  # noqa: PLC0415

    file_format(to)
    require_outputs([to], [file])
    instance = load_instance(file, overrides)
    require_supported(instance, "export")
    program = _program(objective_of(instance), program, interval)
    layers = layer_tables(instance) if program == "joint_layers" else None
    made = build_tables(instance) if layers is None else layers.tables
    if program == "period" and interval is None:
        interval = _heuristic_interval(made)
    written = export_program(
        to,
        made,
        program,
        interval=interval,
        layers=layers,
        fingerprint=instance.fingerprint,
        most_nonzeros=None if force else MOST_NONZEROS,
    )
    apart = "" if interval is None else f" for requests {interval} slots apart"
    if written is None:
        click.echo(
            f"mocap-opt: {instance.name} has no program{apart}: no boundaries keep to the limits and fit in "
            "memory",
            err=True,
        )
        return ExitCode.INFEASIBLE
    size = f"{written.rows:,} rows, {written.columns:,} columns, {written.nonzeros:,} non-zeros"
    click.echo(f"{to}: {program} program of {instance.name}{apart}, {size}")
    click.echo(f"objective: {written.objective(made)}")
    return ExitCode.ANSWERED


def _program(objective: Objective, program: str | None, interval: int | None) -> str:
    """The program to write, of those that minimise something of the objective."""
    known = ("period",) if objective is Objective.PERIOD else ("joint", "joint_layers", "contention_free")
    if program is not None and program not in known:
        remedy = "--set objective=" + ("latency" if objective is Objective.PERIOD else "period")
        raise InputError(
            [Problem("--program", program, f"{' or '.join(known)} with objective {objective}", remedy)]
        )
    if interval is not None and objective is not Objective.PERIOD:
        expected = f"no such option with objective {objective}"
        raise InputError([Problem("--interval", str(interval), expected, "leave it out")])
    return known[0] if program is None else program


def _heuristic_interval(tables: Tables) -> int:
    """W of the heuristics' plan of least period."""
    from mocap_opt.solving.period_search import HEURISTICS, PeriodSearch  # noqa: PLC0415 - as above

    search = PeriodSearch(tables)
    search.run_methods(HEURISTICS)
    if search.best is None:
        remedy = "give the slots from one request to the next"
        raise InputError([Problem("--interval", "nothing", "W, as no heuristic has a plan", remedy)])
    return search.best.schedule.slots


def _export_replay(
    file: str, plan: str | None, to: str, refused: Mapping[str, object], overrides: tuple[str, ...]
) -> ExitCode:
    """Write what the event-driven execution of a plan is made of."""
    problems = [
        Problem(name, "given", "no such option with a PLAN, which is no program", "leave it out")
        for name, value in refused.items()
        if value is not None
    ]
    if plan is None:
        problems.append(Problem("PLAN", "none", "the plan whose replay is written to a .json file"))
    elif PurePath(to).suffix != ".json":
        problems.append(Problem("--to", repr(to), "a name that ends in .json for the replay of a PLAN"))
    if problems or plan is None:
        raise InputError(problems)
    require_outputs([to], [file, plan])
    instance = load_instance(file, overrides)
    require_supported(instance, "evaluate", command=True)
    answer = evaluate(instance, load_given_plan(plan, instance), bounds=())
    if answer.schedule is None or answer.report.violations:
        raise InputError(
            [Problem(plan, each, "a plan that breaks no rule") for each in answer.report.violations]
        )
    schedule = first_requests(answer.schedule)
    data = replay_to_dict(schedule, instance.name, instance.fingerprint)
    save_replay(to, data)
    flows = sum(len(task["at_start"]) + (task["at_end"] is not None) for row in data["tasks"] for task in row)
    click.echo(
        f"{to}: replay of {instance.name}, {data['stages']} stages x {data['chunks']} chunks, "
        f"{flows:,} flows on {len(data['routes'])} routes over {len(data['resources'])} links and ports"
    )
    return ExitCode.ANSWERED


COMMANDS = (_export,)
