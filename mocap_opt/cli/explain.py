"""The command that says why: explain."""

from __future__ import annotations

import threading
from typing import Any

import click
from rich.text import Text

from mocap_opt.cli import render
from mocap_opt.cli.live import follow
from mocap_opt.cli.options import file_argument, json_option, print_json, set_option, solve_options
from mocap_opt.cli.outputs import exit_code, load_given_plan, require_outputs
from mocap_opt.errors import ExitCode, InputError, Problem
from mocap_opt.files import write_text_atomically
from mocap_opt.instance import Instance, load_instance
from mocap_opt.instance.objectives import require_supported
from mocap_opt.questions.explain import Explanation, explain
from mocap_opt.questions.explain.question import EACH_S
from mocap_opt.questions.explain.result import Part
from mocap_opt.solving import Solution
from mocap_opt.solving.api import evaluate, solve
from mocap_opt.solving.progress_display import Line

EXAMPLES = """\b
Examples:
  mocap-opt explain instances/tiny-slow-link.json
  mocap-opt explain instances/gpt3-175b-watos-heads.json plan.json --each 10
  mocap-opt explain instances/gpt3-175b-watos-slack.json --each 0 --out why.txt
"""


@click.command(
    "explain", short_help="why it takes so long, what would help, why the bound stops", epilog=EXAMPLES
)
@file_argument
@click.argument("plan", required=False, type=click.Path(path_type=str))
@click.option(
    "--execution",
    type=click.Choice(["best", "lockstep"]),
    default="best",
    show_default=True,
    help="Which latency: the smaller of the two replays, or that of a static schedule; without a PLAN.",
)
@click.option(
    "--each",
    "each_s",
    type=click.FloatRange(min=0),
    default=EACH_S,
    show_default=True,
    help="Seconds for every change that is solved; 0 leaves changes out.",
)
@solve_options
@click.option("--out", type=click.Path(path_type=str), help="Write the text here instead of printing it.")
@set_option
@json_option
def _explain(
    file: str,
    plan: str | None,
    execution: str,
    each_s: float,
    out: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> ExitCode:
    """Explain the PLAN on the instance FILE; without a PLAN, the best one found.

    FILE is solved first in any case, so that a PLAN is set against every bound.
    Which chain of chunks, sends and waits makes the latency; what stages do; which memory is fullest; what
    each bound counts and leaves out; and what a little more of every resource would bring, by solving the
    changed instance anew.  For the latency of one prompt.  Ctrl-C (or SIGTERM) explains what is known.
    """
    require_outputs([out], [file, *([] if plan is None else [plan])])
    instance = load_instance(file, overrides)
    require_supported(instance, "explain", command=True)
    if plan is not None and execution != "best":
        raise InputError([Problem("--execution", execution, "the faster replay of a PLAN", "leave it out")])
    given = None if plan is None else load_given_plan(plan, instance)

    def _work(stop: threading.Event, line: Line) -> Explanation:
        asked: dict[str, Any] = {"gap": options["gap"], "seed": options["seed"], "each_s": each_s}
        asked |= {"stop": stop, "tell": line.say}

        def solved(what: Instance) -> Solution:
            line.say("solving")
            return solve(what, execution=execution, callback=line.tell, stop=stop, **options)

        if given is None:
            return explain(solved(instance), **asked)
        answer = evaluate(instance, given)
        feasible = answer.assessment is not None
        return explain(answer, known=solved(answer.instance or instance) if feasible else None, **asked)

    found = follow("reading the instance", _work)
    if out is not None:
        write_text_atomically(out, f"{found}\n")
    if as_json:
        print_json(found.to_dict())
    elif out is None:
        for part in found.parts:
            _print(part)
    return exit_code(found.solution)


def _print(part: Part) -> None:
    out = render.console()
    if part.headers:
        table = render.titled(part.title)
        for header in part.headers:
            table.add_column(header)
        for row in part.rows:
            table.add_row(*map(Text, row))
        out.print(table)
    else:
        out.print(Text(part.title))
        if part.rows:
            out.print(render.pairs([(name, value) for name, value in part.rows]))
    for sentence in part.lines:
        out.print(Text(sentence))
    out.print()


COMMANDS = (_explain,)
