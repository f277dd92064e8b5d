"""The command group and the one place where errors become messages and exit codes."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from mocap_opt.cli import (
    advise,
    bench,
    describe,
    drawing,
    explain,
    export,
    first_instance,
    fit,
    max_length,
    repair,
    reproduce,
    solving,
    study,
    tour,
    tradeoff,
    virtual,
)
from mocap_opt.cli.live import terminated_like_interrupted
from mocap_opt.errors import ExitCode, InputError, MocapError
from mocap_opt.files import reason_of, shown_path
from mocap_opt.solvers.versions import package_version
from mocap_opt.solving.progress_display import LOGGER, be_silent

EPILOG = """\b
Exit codes: 0 answered, 2 bad input (every problem is listed), 3 proved infeasible,
4 no plan within the limit, 5 solver unavailable.

FILE may be - for standard input.

\b
Examples:
  mocap-opt solve instances/gpt3-175b-watos-tight.json
  mocap-opt compare instances/tiny-*.json --methods gpipe,mocap,joint
  mocap-opt show instances/gpt3-175b-watos-tight.json --set workload.batch=4
  mocap-opt plot instances/gpt3-175b-watos-tight.json --kind gantt --out gantt.png

\b
TAB completes commands, methods and files with one line where your shell starts:
  bash  ~/.bashrc                   eval "$(_MOCAP_OPT_COMPLETE=bash_source mocap-opt)"
  zsh   ~/.zshrc                    eval "$(_MOCAP_OPT_COMPLETE=zsh_source mocap-opt)"
  fish  ~/.config/fish/config.fish  _MOCAP_OPT_COMPLETE=fish_source mocap-opt | source
"""


class _Group(click.Group):
    """Leaves it to `main` what happens when standard output cannot be written."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OSError as error:
            raise _OutputError(error) from None


def _print_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"mocap-opt {package_version()}")
        ctx.exit()


class _Failures:
    """How to show what goes wrong; the context of every command holds it."""

    traceback = False


def _speak_up(ctx: click.Context, _option: click.Parameter, wanted: int) -> None:
    """Log to standard error, in place of the line that follows long work, and trace failures back."""
    if not wanted:
        return
    ctx.ensure_object(_Failures).traceback = True
    be_silent()
    LOGGER.setLevel(logging.INFO if wanted == 1 else logging.DEBUG)
    if not any(isinstance(each, _ToStandardError) for each in LOGGER.handlers):
        LOGGER.addHandler(_ToStandardError())


@contextmanager
def _verbosity_restored() -> Iterator[None]:
    """Leave the log and the line of a program that calls `main` as they were."""
    level, handlers = LOGGER.level, list(LOGGER.handlers)
    try:
        yield
    finally:
        be_silent(False)
        LOGGER.setLevel(level)
        LOGGER.handlers[:] = handlers


def _hush(_ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        be_silent()


class _ToStandardError(logging.Handler):
    """Writes records to whatever standard error is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one.

        Parameters
        ----------
        record : LogRecord
        """
        click.echo(self.format(record), err=True)


def _add_verbosity(command: click.Command) -> None:
    """Give a command and those in it the options that say how much of the work is shown."""
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        _add_verbosity(inner)
    more = "Log plans and bounds as they come, -vv steps too; of a failure, show the Python traceback."
    command.params += [
        click.Option(["-v", "--verbose"], count=True, expose_value=False, callback=_speak_up, help=more),
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            callback=_hush,
            help="Show no line that follows the work.",
        ),
    ]


class _OutputError(Exception):
    """The system refused to write; what else it refuses is an `InputError` by the time it gets here."""

    def __init__(self, reason: OSError) -> None:
        self.reason = reason


@click.group(
    cls=_Group,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Schedule long-context LLM prefill on wafer-scale chips, with a certified optimality gap."""


for group in (
    tour,
    describe,
    export,
    first_instance,
    solving,
    explain,
    drawing,
    fit,
    advise,
    max_length,
    tradeoff,
    repair,
    virtual,
    study,
    reproduce,
    bench,
):
    for command in group.COMMANDS:
        cli.add_command(command)
_add_verbosity(cli)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.
    """
    failures = _Failures()
    try:
        with _verbosity_restored(), terminated_like_interrupted():
            code = cli.main(arguments, prog_name="mocap-opt", standalone_mode=False, obj=failures)
    except InputError as error:
        count = len(error.problems)
        click.echo(f"mocap-opt: {count} problem{'s' if count != 1 else ''} in the input:", err=True)
        for problem in error.problems:
            click.echo(f"  {problem}", err=True)
        code = _failed(error, failures)
    except MocapError as error:
        click.echo(f"mocap-opt: {error}", err=True)
        code = _failed(error, failures)
    except click.ClickException as error:
        error.show()
        code = ExitCode.BAD_INPUT
    except (click.Abort, KeyboardInterrupt):
        click.echo("mocap-opt: interrupted before any plan was found", err=True)
        code = ExitCode.NO_PLAN
    except _OutputError as error:
        code = _end_of_output(error.reason)
    sys.exit(int(code or 0))


def _failed(error: MocapError, failures: _Failures) -> ExitCode:
    """Exit code of a failure, which is traced back if that was asked for."""
    if failures.traceback:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    return error.exit_code


def _end_of_output(reason: OSError) -> ExitCode:
    """Leave standard output alone from here on: Python would write what is left of it at its end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    if isinstance(reason, BrokenPipeError):
        # The reader has what it wanted (``| head``).
        return ExitCode.ANSWERED
    place = "standard output" if reason.filename is None else shown_path(str(reason.filename))
    with contextlib.suppress(OSError):
        click.echo(f"mocap-opt: {place}: {reason_of(reason)}", err=True)
    return ExitCode.BAD_INPUT
