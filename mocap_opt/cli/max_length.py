"""The command that looks for the longest prompt: max-length."""

from __future__ import annotations

import threading

import click

from mocap_opt.baselines import METHODS
from mocap_opt.cli.live import follow
from mocap_opt.cli.options import (
    MethodChoice,
    file_argument,
    json_option,
    print_json,
    seed_option,
    set_option,
    time_limit_option,
)
from mocap_opt.cli.outputs import csv_text, require_outputs
from mocap_opt.cli.render import console, pairs
from mocap_opt.errors import ExitCode
from mocap_opt.files import write_text_atomically
from mocap_opt.instance import load_instance
from mocap_opt.plugins import HEURISTICS
from mocap_opt.questions.max_context import LongestAnswer, max_length
from mocap_opt.solving.progress_display import Line

CURVE_COLUMNS = (
    "tokens",
    "latency_s",
    "lockstep_latency_s",
    "event_latency_s",
    "lower_bound_s",
    "gap",
    "chunks",
    "found_by",
)
CURVE_POINTS = 12

EXAMPLE = """\b
Examples:
  mocap-opt max-length instances/gpt3-175b-watos-longest.json --equal-chunks
  mocap-opt max-length instances/gpt3-175b-watos-longest.json --latency-factor 1.1 \\
      --set chunking.quantum=4096 --set chunking.shortest=4096 --curve curve.csv
"""


@click.command("max-length", short_help="the longest prompt that fits, and a proof", epilog=EXAMPLE)
@file_argument
@click.option(
    "--method",
    type=MethodChoice(["joint", *METHODS], (HEURISTICS,)),
    default="joint",
    show_default=True,
    help="joint: every rule; or one heuristic by name.",
)
@click.option("--equal-chunks", is_flag=True, help="Exactly max_chunks equal chunks of whole quanta.")
@click.option(
    "--latency-limit",
    "limit_s",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds a prompt may take, however long it is.",
)
@click.option(
    "--latency-factor",
    "factor",
    type=click.FloatRange(min=0, min_open=True),
    help="Times the latency of mocap at the same length with memory unlimited.",
)
@time_limit_option("Seconds of wall time, upper bounds included.", 60.0)
@seed_option
@click.option("--curve", "curve_path", type=click.Path(path_type=str), help="Write latency by length (CSV).")
@click.option("--out", type=click.Path(path_type=str), help="Write the plan of the longest prompt (JSON).")
@set_option
@json_option
def _max_length(
    file: str,
    method: str,
    equal_chunks: bool,
    limit_s: float | None,
    factor: float | None,
    time_limit_s: float,
    seed: int,
    curve_path: str | None,
    out: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> ExitCode:
    """Find the longest prompt of the instance FILE that has a plan, and prove how long it could be.

    The prompt's own length in FILE is ignored.  Without a limit on latency or on the length of a chunk
    the question is refused: a giant chunk would win and mean nothing.
    """
    require_outputs([curve_path, out], [file])
    instance = load_instance(file, overrides)

    def _work(stop: threading.Event, line: Line) -> LongestAnswer:
        return max_length(
            instance,
            method,
            equal_chunks=equal_chunks,
            latency_limit_s=limit_s,
            latency_factor=factor,
            time_limit_s=time_limit_s,
            seed=seed,
            curve_points=0 if curve_path is None else CURVE_POINTS,
            stop=stop,
            tell=line.say,
        )

    answer = follow("the longest prompt", _work)
    if curve_path is not None:
        write_text_atomically(curve_path, csv_text(answer.curve, CURVE_COLUMNS))
    if out is not None and answer.plan is not None:
        answer.save(out)
    if as_json:
        print_json(answer.to_dict())
    else:
        console().print(f"{answer.instance.name}: {answer.found.method}")
        console().print(pairs(answer.rows))
    if answer.plan is not None:
        return ExitCode.ANSWERED
    return ExitCode.INFEASIBLE if answer.upper_bound_tokens == 0 else ExitCode.NO_PLAN


COMMANDS = (_max_length,)
