"""Methods by name: the option that takes one, its completion in shells, and the command that lists them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import click
from click.shell_completion import CompletionItem
from rich.text import Text

from mocap_opt.baselines.registry import built_in_name
from mocap_opt.cli import render
from mocap_opt.cli.options import json_option, print_json
from mocap_opt.errors import ExitCode
from mocap_opt.plugins import FORMULATIONS, HEURISTICS, plugins
from mocap_opt.solving import METHOD_NAMES

EXAMPLES = """\b
Examples:
  mocap-opt methods
  mocap-opt methods --json
"""


class MethodChoice(click.Choice):  # type: ignore[type-arg, unused-ignore]
    """A method by name, built in or of a plugin; metadata of plugins is read when one is asked for.

    Parameters
    ----------
    built_in : iterable of str
        The built-in methods that the option takes.
    groups : tuple of str
        The groups of plugins that it takes.
    """

    def __init__(
        self, built_in: Iterable[str] = METHOD_NAMES, groups: tuple[str, ...] = (HEURISTICS, FORMULATIONS)
    ) -> None:
        super().__init__(list(built_in))
        self.groups = groups

    def brought(self) -> list[str]:
        """Names that plugins bring."""
        return [plugin.name for plugin in plugins(*self.groups)]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Take a built-in name or that of a plugin."""
        if built_in_name(str(value)) not in self.choices:
            return click.Choice([*self.choices, *self.brought()]).convert(value, param, ctx)
        warn_of_hidden([str(value)])
        return value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Every name that begins like this."""
        return _completed(incomplete, "", [*self.choices, *self.brought()])


def complete_methods(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the last name of a list with commas."""
    before, comma, last = incomplete.rpartition(",")
    taken = before.split(",")
    names = [name for name in [*METHOD_NAMES, *MethodChoice().brought()] if name not in taken]
    return _completed(last, before + comma, names)


def _completed(begun: str, before: str, names: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(before + name) for name in dict.fromkeys(names) if name.startswith(begun)]


def warn_of_hidden(names: Iterable[str]) -> None:
    """Say on standard error which plugins are not used because a built-in method has their name."""
    for plugin in plugins():
        if plugin.name in METHOD_NAMES and plugin.name in names:
            click.echo(f"mocap-opt: {plugin.name} is the built-in method, not that of {plugin}", err=True)


@click.command(short_help="every method and program, and where each comes from", epilog=EXAMPLES)
@json_option
def methods(as_json: bool) -> ExitCode:
    """List every method (for solve, compare, study) and every model (for mocap_opt.build_model).

    Other packages add to both through the entry points mocap_opt.heuristics and
    mocap_opt.formulations: python -c "help('mocap_opt.plugins')" says how.
    """
    # The programs' registry loads with it, which no other command needs.
    from mocap_opt.solving.catalogue import catalogue  # noqa: PLC0415

    entries = catalogue()
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return ExitCode.ANSWERED
    table = render.titled("Methods and models")
    for header in ("kind", "name", "from", "what it is"):
        table.add_column(header, overflow="fold" if header == "what it is" else "ellipsis")
    for entry in entries:
        text = entry.summary if entry.problem is None else entry.problem
        table.add_row(entry.kind, Text(entry.name), Text(entry.origin), Text(text))
    render.console().print(table)
    return ExitCode.ANSWERED


COMMANDS = (methods,)
