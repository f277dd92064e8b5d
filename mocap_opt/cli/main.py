"""The command group and the one place where errors become messages and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from mocap_opt.cli import (
    bench,
    describe,
    drawing,
    fit,
    handover,
    max_length,
    methods,
    reproduce,
    solving,
    streams,
    study,
    tradeoff,
)
from mocap_opt.cli.interrupt import terminated_like_interrupted
from mocap_opt.errors import ExitCode, InputError, MocapError

EPILOG = """\b
Exit codes: 0 answered, 2 bad input (every problem is listed), 3 proved infeasible,
4 no plan within the limit, 5 solver unavailable.

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


@click.group(
    epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
def cli() -> None:
    """Schedule long-context LLM prefill on wafer-scale chips, with a certified optimality gap."""


for command in (
    *describe.COMMANDS,
    *solving.COMMANDS,
    *drawing.COMMANDS,
    *fit.COMMANDS,
    *handover.COMMANDS,
    *max_length.COMMANDS,
    *tradeoff.COMMANDS,
    *streams.COMMANDS,
    *study.COMMANDS,
    *reproduce.COMMANDS,
    *bench.COMMANDS,
    *methods.COMMANDS,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.
    """
    try:
        with terminated_like_interrupted():
            code = cli.main(arguments, prog_name="mocap-opt", standalone_mode=False)
    except InputError as error:
        count = len(error.problems)
        click.echo(f"mocap-opt: {count} problem{'s' if count != 1 else ''} in the input:", err=True)
        for problem in error.problems:
            click.echo(f"  {problem}", err=True)
        code = error.exit_code
    except MocapError as error:
        click.echo(f"mocap-opt: {error}", err=True)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = ExitCode.BAD_INPUT
    except (click.Abort, KeyboardInterrupt):
        click.echo("mocap-opt: interrupted before any plan was found", err=True)
        code = ExitCode.NO_PLAN
    except BrokenPipeError:
        # The reader of our output has gone (``| head``); nothing is left to say.
        sys.stderr.close()
        code = ExitCode.ANSWERED
    sys.exit(int(code or 0))
