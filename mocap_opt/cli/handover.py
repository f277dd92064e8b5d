"""Commands that hand work over to other programs: tables, export."""

from __future__ import annotations

import click

from mocap_opt.cli.options import file_argument, set_option
from mocap_opt.cli.outputs import require_outputs
from mocap_opt.errors import ExitCode
from mocap_opt.instance import load_instance
from mocap_opt.instance.objectives import require_supported
from mocap_opt.tables import build_tables
from mocap_opt.tables.tables_file import save_tables
from mocap_opt.units import format_seconds


@click.command(short_help="every integer table as JSON")
@file_argument
@click.option("--out", required=True, type=click.Path(path_type=str), help="Write the tables here (JSON).")
@set_option
def tables(file: str, out: str, overrides: tuple[str, ...]) -> ExitCode:
    """Write every integer table of the instance FILE, with axes and units.

    With them any program can recompute memory, slots and times of a plan; the format is described in
    formulations/notation.md.
    """
    require_outputs([out], [file])
    instance = load_instance(file, overrides)
    made = build_tables(instance)
    save_tables(out, made, instance.fingerprint)
    click.echo(
        f"{out}: tables of {instance.name}, {made.stages} stages, {made.steps} grid steps, "
        f"{len(made.links)} links, ticks of {format_seconds(made.tick_s)}"
    )
    return ExitCode.ANSWERED


@click.command(short_help="a program as MPS or LP file")
@file_argument
@click.option(
    "--to", required=True, type=click.Path(path_type=str), help="Write the program here: .mps or .lp."
)
@click.option(
    "--program",
    type=click.Choice(["joint", "contention_free"]),
    default="joint",
    show_default=True,
    help="joint: least lockstep latency; contention_free: a lower bound on every execution.",
)
@click.option("--force", is_flag=True, help="Write it whatever its size.")
@set_option
def export(file: str, to: str, program: str, force: bool, overrides: tuple[str, ...]) -> ExitCode:
    """Write a mixed-integer program of the instance FILE for any solver that reads MPS or LP.

    Programs of more than 2,000,000 non-zeros are refused unless forced.
    """
    # Pyomo takes a second to load, and only this command needs it.
    from mocap_opt.formulations.export import (  # noqa: PLC0415
        MOST_NONZEROS,
        export_program,
        file_format,
    )

    file_format(to)
    require_outputs([to], [file])
    instance = load_instance(file, overrides)
    require_supported(instance, "export")
    made = build_tables(instance)
    written = export_program(
        to,
        made,
        program,
        fingerprint=instance.fingerprint,
        most_nonzeros=None if force else MOST_NONZEROS,
    )
    if written is None:
        click.echo(
            f"mocap-opt: {instance.name} has no program: no boundaries keep to the limits and fit in memory",
            err=True,
        )
        return ExitCode.INFEASIBLE
    size = f"{written.rows:,} rows, {written.columns:,} columns, {written.nonzeros:,} non-zeros"
    click.echo(f"{to}: {program} program of {instance.name}, {size}")
    click.echo(f"objective: {written.objective(made)}")
    return ExitCode.ANSWERED


COMMANDS = (tables, export)
