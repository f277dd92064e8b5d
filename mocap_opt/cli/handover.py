"""Commands that hand work over to other programs: tables, export."""

from __future__ import annotations

import click

from mocap_opt.cli.options import file_argument, set_option
from mocap_opt.costs import build_tables
from mocap_opt.errors import ExitCode
from mocap_opt.files import require_writable
from mocap_opt.instance import load_instance
from mocap_opt.tables_io import save_tables


@click.command()
@file_argument
@click.option("--out", required=True, type=click.Path(path_type=str), help="Write the tables here (JSON).")
@set_option
def tables(file: str, out: str, overrides: tuple[str, ...]) -> ExitCode:
    """Write every integer table of the instance FILE, with axes and units.

    With them any program can recompute memory, slots and times of a plan; the format is described in
    formulations/notation.md.
    """
    require_writable(out)
    instance = load_instance(file, overrides)
    made = build_tables(instance)
    save_tables(out, made, instance.fingerprint)
    click.echo(
        f"{out}: tables of {instance.name}, {made.stages} stages, {made.steps} grid steps, "
        f"{len(made.links)} links, a tick of {made.tick_s} s"
    )
    return ExitCode.ANSWERED


COMMANDS = (tables,)
