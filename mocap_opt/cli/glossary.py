"""The glossary in the terminal."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.text import Text

from mocap_opt.cli import render
from mocap_opt.cli.options import json_option, print_json
from mocap_opt.errors import ExitCode
from mocap_opt.glossary import TERMS


@click.command(short_help="the words used here and what the field calls them")
@json_option
def glossary(as_json: bool) -> ExitCode:
    """List the words of this package, the standard term for each, and what it means."""
    if as_json:
        print_json([asdict(term) for term in TERMS])
        return ExitCode.ANSWERED
    table = render.titled("Glossary")
    for header in ("word", "in the field", "meaning"):
        table.add_column(header, overflow="fold", no_wrap=header == "word")
    for term in TERMS:
        table.add_row(Text(term.name), Text(term.field), Text(term.meaning))
    render.console().print(table)
    return ExitCode.ANSWERED


COMMANDS = (glossary,)
