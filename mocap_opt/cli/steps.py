"""The command ``steps``: the table that the joint method runs."""

from __future__ import annotations

import click
from rich.text import Text

from mocap_opt.cli import render
from mocap_opt.cli.options import json_option, print_json
from mocap_opt.errors import ExitCode
from mocap_opt.solving import STEPS

EXAMPLES = """\b
Examples:
  mocap-opt steps
  mocap-opt solve instances/bench/S-links.json --without boundary_slp --show-steps
  mocap-opt solve instances/bench/S-links.json --only first_heuristics --only quick_bounds
"""


@click.command("steps", short_help="the steps of a solve, in order", epilog=EXAMPLES)
@json_option
def steps(as_json: bool) -> ExitCode:
    """List the steps of the methods auto and joint, in the order in which they run.

    The share is the part of the time left that a step may take; those marked * run again in rounds as long
    as there is time and it helps.
    """
    if as_json:
        print_json(
            [
                {
                    "step": step.name,
                    "raises": step.raises.value,
                    "when": step.when,
                    "share": step.share,
                    "share_without_programs": step.share_without_programs,
                    "rounds": step.rounds,
                    "summary": step.summary,
                }
                for step in STEPS
            ]
        )
        return ExitCode.ANSWERED
    table = render.titled("Steps")
    for header in ("step", "raises", "share", "what it does, and when"):
        table.add_column(header, justify="right" if header == "share" else "left")
    for step in STEPS:
        share = f"{100 * step.share:.0f}"
        if step.share_without_programs is not None:
            share += f"-{100 * step.share_without_programs:.0f}"
        when = "" if step.when == "always" else f"; {step.when}"
        name = Text(f"{step.name}{' *' if step.rounds else ''}", no_wrap=True)
        table.add_row(name, step.raises.value, f"{share} %", Text(f"{step.summary}{when}"))
    render.console().print(table)
    return ExitCode.ANSWERED


COMMANDS = (steps,)
