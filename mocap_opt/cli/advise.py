"""The command that reads a log of chunk times and says what to set: advise."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import click

from mocap_opt.calibration.logs import LOG_FORMS
from mocap_opt.cli.live import follow
from mocap_opt.cli.options import json_option, print_json, seed_option, time_limit_option
from mocap_opt.cli.outputs import require_outputs
from mocap_opt.cli.render import console, titled
from mocap_opt.errors import ExitCode
from mocap_opt.files import write_text_atomically
from mocap_opt.instance import load_instance
from mocap_opt.questions.advise import ENGINES, Advice, advise
from mocap_opt.questions.advise.result import TITLES, setting_text
from mocap_opt.questions.advise.search import TIME_LIMIT_S
from mocap_opt.schedule.plan_file import save_plan
from mocap_opt.solvers.outcome import Status
from mocap_opt.units import Unit, format_percent, parse, parse_tokens
from mocap_opt.units import format_seconds_aligned as seconds

EXAMPLE = """\b
LOG is a file, - for standard input, or a folder of LLMServingSim's.  Its form is told from what it holds:
{forms}

\b
Examples:
  mocap-opt advise timings.csv --engine sglang --stages 4 --tokens 128k
  mocap-opt advise server.log --engine sglang --stages 4 --tokens 128k --prompt 128k --setting 8192:0.75
  mocap-opt advise server.log --engine vllm --stages 8 --tokens 64k --times whole --json
  mocap-opt advise perf/tp1 --engine trtllm --stages 8 --tokens 16k --layers 8 --longest 2048
""".format(forms="\n".join(f"  {name:<14}{form.what}" for name, form in LOG_FORMS.items()))


class _Tokens(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A number of tokens, such as 131072 or 128k."""

    name = "tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a number of tokens.

        Parameters
        ----------
        value : object
            As typed.
        param, ctx
            As click gives them.
        """
        try:
            tokens = parse_tokens(int(value) if str(value).isdigit() else value)
        except ValueError as error:
            self.fail(f"expected {error}, got {value!r}", param, ctx)
        if not 1 <= tokens <= 2**30:
            self.fail(f"expected 1 to {2**30:,} tokens, got {value!r}", param, ctx)
        return tokens


class _Seconds(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A time, such as 200us, or a plain number of seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        """Read a time.

        Parameters
        ----------
        value : object
            As typed.
        param, ctx
            As click gives them.
        """
        if value is None or isinstance(value, float):
            return value
        try:
            time = Fraction(value) if str(value).replace(".", "", 1).isdigit() else parse(value, Unit.SECONDS)
        except ValueError as error:
            self.fail(f"expected {error}, got {value!r}", param, ctx)
        if not 0 <= time <= 1000:
            self.fail(f"expected 0 to 1000 s, got {value!r}", param, ctx)
        return float(time)


@click.command(
    "advise", short_help="what to set a serving engine to, from a log of chunk times", epilog=EXAMPLE
)
@click.argument("log", type=click.Path(path_type=str))
@click.option("--engine", type=click.Choice(list(ENGINES)), required=True, help="Whose setting.")
@click.option("--stages", type=click.IntRange(1, 512), required=True, help="Of the pipeline.")
@click.option("--tokens", type=_Tokens(), required=True, help="Of the prompt to advise on, e.g. 128k.")
@click.option(
    "--setting",
    metavar="BASE[:SMOOTHING]",
    help="In use: the base chunk size, and the smoothing of engines that have one.  [default: the usual one]",
)
@click.option(
    "--format", "form", type=click.Choice(list(LOG_FORMS)), help="Form of LOG.  [default: told from it]"
)
@click.option("--prompt", type=_Tokens(), help="Tokens of every prompt served for LOG, if it does not say.")
@click.option("--layers", type=click.IntRange(1, 4096), help="Layers of a stage, if LOG times single layers.")
@click.option("--model", metavar="NAME|CONFIG", help="Whose layers, if LOG times single kernels.")
@click.option("--tp", type=click.IntRange(1, 4096), help="Dies of a stage, if LOG times single kernels.")
@click.option(
    "--times",
    type=click.Choice(["stage", "whole"]),
    default="stage",
    show_default=True,
    help="What LOG times: one stage, or the whole model, of which each stage takes an equal part.",
)
@click.option("--send", "send_s", type=_Seconds(), help="Of a chunk from stage to stage, e.g. 200us.")
@click.option(
    "--instance",
    "file",
    type=click.Path(path_type=str),
    help="Memory and links to keep to.  [default: ample]",
)
@click.option("--quantum", type=_Tokens(), help="Chunks are multiples of this.  [default: at most 512 steps]")
@click.option("--longest", type=_Tokens(), help="Longest chunk.  [default: the longest measured]")
@click.option("--extrapolate", is_flag=True, help="Use times beyond what was measured.")
@time_limit_option("Seconds of wall time.", TIME_LIMIT_S)
@seed_option
@click.option("--out", type=click.Path(path_type=str), help="Write the best list of chunks as a plan (JSON).")
@click.option(
    "--instance-out", type=click.Path(path_type=str), help="Write what was solved as an instance (JSON)."
)
@json_option
def _advise(
    log: str,
    engine: str,
    stages: int,
    tokens: int,
    file: str | None,
    out: str | None,
    instance_out: str | None,
    times: str,
    as_json: bool,
    **asked: Any,
) -> ExitCode:
    """Say what to set a serving engine to, from a LOG of how long chunks took.

    The engine's setting in use is held to the best setting of its rule, to chunks of one size, to the best
    list of chunks that a search finds, and to a proved bound below which no list comes.
    """
    require_outputs([out, instance_out], [log, *([] if file is None else [file])])
    given = None if file is None else load_instance(file)
    asked |= {"whole": times == "whole", "instance": given}
    found = follow(
        "the log", lambda stop, line: advise(log, engine, stages, tokens, stop=stop, tell=line.say, **asked)
    )
    if out is not None and found.solution.plan is not None:
        save_plan(out, found.solution.plan, found.instance.name, found.solution.tables)
    if instance_out is not None:
        write_text_atomically(instance_out, json.dumps(found.instance.to_dict(), indent=2) + "\n")
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)
    if found.best_list is not None:
        return ExitCode.ANSWERED
    return ExitCode.INFEASIBLE if found.solution.report.status is Status.INFEASIBLE else ExitCode.NO_PLAN


def _print(found: Advice) -> None:
    for note in found.notes:
        click.echo(f"log: {note}")
    table = titled(str(found).partition("\n")[0])
    for heading in ("", "setting", "latency", "gap", "chunks"):
        table.add_column(heading, justify="left" if heading in ("", "setting") else "right")
    for each in found.tried:
        many = str(len(each.lengths)) if each.lengths else "-"
        gap = "-" if each.gap is None else format_percent(each.gap)
        shown = "no plan" if each.latency_s is None else seconds(each.latency_s)
        table.add_row(TITLES[each.name], setting_text(each, found.engine), shown, gap, many)
    console().print(table)
    bound = "unknown" if found.lower_bound_s is None else seconds(found.lower_bound_s)
    report = found.solution.report
    click.echo(f"proved: no list of chunks takes less than {bound} ({report.bound_name or 'no bound'})")
    for sentence in found.sentences():
        click.echo(sentence)
    best = found.best_list
    if best is not None:
        click.echo(f"best list: {','.join(str(each) for each in best.lengths)}")


COMMANDS = (_advise,)
