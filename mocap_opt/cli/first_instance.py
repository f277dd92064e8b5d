"""Commands on a model's ``config.json``: the options that other commands share, and `instance`."""

from __future__ import annotations

import json
from functools import wraps
from typing import Any, cast

import click

from mocap_opt.cli.options import Command, print_json, set_option
from mocap_opt.cli.outputs import require_outputs
from mocap_opt.errors import ExitCode
from mocap_opt.files import write_text_atomically
from mocap_opt.instance import Instance
from mocap_opt.instance.from_config import SETTINGS, option_of, read_first_instance


def config_options(command: Command) -> Command:
    """Options that make an instance of a model's ``config.json``; the command takes them as ``settings``."""

    @wraps(command)
    def gathered(*arguments: Any, **given: Any) -> Any:
        settings = {name: value for name in SETTINGS if (value := given.pop(name)) is not None}
        return command(*arguments, settings=settings, **given)

    told = {
        "wafer": "of a preset, or figures as JSON",
        "stages": 'number of stages, or "auto"',
        "tokens": 'of the prompt, e.g. "128k"',
        "dies_per_stage": "by default as many as the wafer has for every stage",
        "batch": "prompts side by side; by default 1",
        "max_chunks": "the most chunks; by default 32",
        "quantum": "where chunks may begin, tokens; by default by a rule",
        "page": "of KV, tokens; by default one quantum",
    }
    wrapped: Any = gathered
    for name in reversed(list(SETTINGS)):
        text = f"Where FILE is a model's config.json: {told[name]}."
        wrapped = click.option(option_of(name), name, metavar="VALUE", help=text)(wrapped)
    return cast(Command, wrapped)


INSTANCE_EXAMPLES = """\b
Examples:
  mocap-opt instance config.json --wafer watos-c3 --stages 14 --tokens 128k --out first.json
  mocap-opt instance model-folder --wafer pjlab-5x4 --stages 5 --tokens 64k --set costs.efficiency=0.4
  mocap-opt solve config.json --wafer watos-c3 --stages 14 --tokens 128k
"""


@click.command("instance", short_help="a first instance from a model's config.json", epilog=INSTANCE_EXAMPLES)
@click.argument("file", metavar="CONFIG", type=click.Path(path_type=str))
@config_options
@click.option("--out", type=click.Path(path_type=str), help="Write the instance here (JSON).")
@set_option
def _instance(file: str, out: str | None, overrides: tuple[str, ...], settings: dict[str, Any]) -> ExitCode:
    """Make an instance of a model's CONFIG (config.json or its folder), a wafer, stages and tokens.

    The model's figures stand in it, so that the file can be changed and moved.  Stages get as many dies
    as the wafer has for each, of which as many compute as divide the heads; `--set` changes any field.
    """
    require_outputs([out], [file])
    made = read_first_instance(file, settings, overrides)
    instance = Instance.from_dict(made)
    if out is None:
        print_json(made)
    else:
        write_text_atomically(out, json.dumps(made, indent=2) + "\n")
        click.echo(f"{out}: {instance}")
    return ExitCode.ANSWERED


COMMANDS = (_instance,)
