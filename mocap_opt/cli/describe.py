"""Commands that describe: check, show, schema, versions."""

from __future__ import annotations

import click

from mocap_opt.cli import render
from mocap_opt.cli.options import file_argument, json_option, print_json, set_option
from mocap_opt.errors import ExitCode
from mocap_opt.files import source_name
from mocap_opt.instance import json_schema, load_instance
from mocap_opt.schedule.instance_summary import overview
from mocap_opt.schedule.requests import build_requests
from mocap_opt.solvers.versions import versions as installed_versions
from mocap_opt.tables import build_tables


@click.command(short_help="list every problem of an instance file")
@file_argument
@set_option
@json_option
def check(file: str, overrides: tuple[str, ...], as_json: bool) -> ExitCode:
    """Check the instance FILE; list every problem with its place, value and remedy."""
    instance = load_instance(file, overrides)
    if instance.workload.requests:
        build_requests(instance)
    else:
        build_tables(instance)
    if as_json:
        print_json({"instance": instance.name, "fingerprint": instance.fingerprint, "ok": True})
    else:
        click.echo(f"{source_name(file)}: ok\n{instance}")
    return ExitCode.ANSWERED


@click.command(short_help="sizes, defaults, where memory and time go")
@file_argument
@set_option
@json_option
def show(file: str, overrides: tuple[str, ...], as_json: bool) -> ExitCode:
    """Show the instance FILE: sizes, every default, and where memory and time go."""
    instance = load_instance(file, overrides)
    sections = overview(instance)
    if as_json:
        print_json({"instance": instance.to_dict(), "fingerprint": instance.fingerprint, **sections})
    else:
        render.print_overview(instance, sections)
    return ExitCode.ANSWERED


@click.command(short_help="JSON Schema of instance files")
def schema() -> ExitCode:
    """Print the JSON Schema of instance files, for editors to check against."""
    print_json(json_schema())
    return ExitCode.ANSWERED


@click.command(short_help="of this package, its solvers and libraries")
@json_option
def versions(as_json: bool) -> ExitCode:
    """Show the versions of this package, its solvers and libraries."""
    found = installed_versions()
    if as_json:
        print_json(found)
    else:
        render.console().print(
            render.pairs([(name, version or "not installed") for name, version in found.items()])
        )
    return ExitCode.ANSWERED


COMMANDS = (check, show, schema, versions)
