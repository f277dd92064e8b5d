"""The command that looks for the longest prompt: max-length."""

from __future__ import annotations

import threading
from dataclasses import replace
from fractions import Fraction
from typing import Any

import click

from mocap_opt.baselines import METHODS
from mocap_opt.bounds import Scope, best, lower_bounds, prove_infeasible
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
from mocap_opt.errors import ExitCode, InputError, Problem
from mocap_opt.files import write_text_atomically
from mocap_opt.instance import Instance, load_instance
from mocap_opt.instance.objectives import require_supported
from mocap_opt.plugins import HEURISTICS
from mocap_opt.questions.max_context import (
    LatencyLimit,
    LengthFamily,
    LongestPrompt,
    Point,
    longest_equal,
    longest_prompt,
)
from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.plan_file import save_plan
from mocap_opt.solving.progress_display import Line
from mocap_opt.solving.remedies import infeasible_verdict
from mocap_opt.solving.report import relative_gap
from mocap_opt.stopping import AskedToStop, Deadline, never
from mocap_opt.tables import build_tables
from mocap_opt.units import exact, format_percent
from mocap_opt.units import format_seconds_aligned as seconds

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

SEARCHING = 0.7
"""Part of the time that the search has where a curve is wanted, whose bounds take the rest."""

EXAMPLE = """\b
Examples:
  mocap-opt max-length instances/gpt3-175b-watos-longest.json --equal-chunks
  mocap-opt max-length instances/gpt3-175b-watos-longest.json --latency-factor 1.1 \\
      --set chunking.quantum=4096 --set chunking.shortest=4096 --curve curve.csv
"""


def curve_row(family: LengthFamily, point: Point, asked_to_stop: AskedToStop = never) -> dict[str, Any]:
    """A point of the curve, with the gap to the best bound at its length.

    Parameters
    ----------
    family : LengthFamily
    point : Point
    asked_to_stop : callable
        The bounds keep what they have proved by the time it says so.

    Returns
    -------
    dict
        In tokens and seconds, with the keys `CURVE_COLUMNS`.
    """
    tables, found = family.at(point.tokens), point.assessment
    headline = best(lower_bounds(tables, asked_to_stop=asked_to_stop), {Scope.ANY_EXECUTION})
    return {
        "tokens": point.tokens,
        "latency_s": tables.seconds(found.latency),
        "lockstep_latency_s": tables.seconds(found.lockstep.latency),
        "event_latency_s": tables.seconds(found.latency_in(Execution.EVENT)),
        "lower_bound_s": None if headline is None else tables.seconds(headline.ticks),
        "gap": relative_gap(found.latency, headline),
        "chunks": found.plan.chunks,
        "found_by": point.source,
    }


def _answer(
    instance: Instance, family: LengthFamily, found: LongestPrompt, rule: str, curve: list[dict[str, Any]]
) -> dict[str, Any]:
    plan = None if found.best is None else found.best.assessment
    seconds_of = family.longest.seconds
    return {
        "instance": instance.name,
        "fingerprint": instance.fingerprint,
        "method": found.method,
        "rule": rule,
        "tokens": found.tokens,
        "upper_bound_tokens": found.upper_bound_tokens,
        "gap": found.gap,
        "stopped_by": None if found.stopped_by is None else found.stopped_by.to_dict(),
        "latency_s": None if plan is None else seconds_of(plan.latency),
        "lockstep_latency_s": None if plan is None else seconds_of(plan.lockstep.latency),
        "event_latency_s": None if plan is None else seconds_of(plan.latency_in(Execution.EVENT)),
        "found_by": None if found.best is None else found.best.source,
        "boundaries": None if plan is None else list(plan.plan.boundaries),
        "curve": curve,
    }


def _print(answer: dict[str, Any]) -> None:
    stop = answer["stopped_by"]
    longest = "no plan found" if answer["tokens"] is None else f"{answer['tokens']:,} tokens"
    rows = [
        ("longest", longest),
        ("upper bound", f"{answer['upper_bound_tokens']:,} tokens, {format_percent(answer['gap'])} above"),
        ("rule", answer["rule"]),
        ("latency", seconds(answer["latency_s"])),
        ("found by", answer["found_by"] or "-"),
    ]
    if stop is not None:
        proved = "proved" if stop["proved"] else "not proved for other methods"
        rows.append(("stopped by", f"at {stop['tokens']:,} tokens: {stop['reason']} ({proved})"))
    console().print(f"{answer['instance']}: {answer['method']}")
    console().print(pairs(rows))


def _one_rule(equal: bool, limit_s: float | None, factor: float | None) -> str:
    given = [equal, limit_s is not None, factor is not None]
    if sum(given) > 1:
        raise InputError(
            [
                Problem(
                    "max-length",
                    "several of --equal-chunks, --latency-limit and --latency-factor",
                    "at most one of them",
                )
            ]
        )
    if equal:
        return "exactly M equal chunks"
    if limit_s is not None:
        return f"latency at most {limit_s:g} s"
    if factor is not None:
        return f"latency at most {factor:g} times that of mocap with memory unlimited"
    return "chunks within chunking.longest"


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
    rule = _one_rule(equal_chunks, limit_s, factor)
    require_outputs([curve_path, out], [file])
    instance = load_instance(file, overrides)
    require_supported(instance, "max-length")
    family = LengthFamily.of(instance)
    points = 0 if curve_path is None else CURVE_POINTS

    def _work(stop: threading.Event, line: Line) -> tuple[LongestPrompt, list[dict[str, Any]]]:
        deadline = Deadline(time_limit_s, stop)
        share_s = deadline.share(SEARCHING if points else 1.0).left_s
        asked: dict[str, Any] = {"curve_points": points, "time_limit_s": share_s}
        asked |= {"asked_to_stop": stop.is_set, "tell": line.say}
        if equal_chunks:
            found = longest_equal(family, method, **asked)
        else:
            limit = _limit(family, limit_s, factor)
            found = longest_prompt(family, method, limit, seed=seed, **asked)
            found = found if found.upper_bound_tokens else _explained(instance, found, deadline)
        rows = []
        for number, point in enumerate(found.curve if points else ()):
            line.say(f"bounds at {point.tokens:,} tokens")
            rows.append(curve_row(family, point, deadline.share(1 / (len(found.curve) - number))))
        return found, rows

    found, rows = follow("the longest prompt", _work)
    if curve_path is not None:
        write_text_atomically(curve_path, csv_text(rows, CURVE_COLUMNS))
    if out is not None and found.best is not None:
        longest = instance.replace(f"workload.tokens={found.best.tokens}")
        plan = found.best.assessment.plan
        save_plan(out, plan, longest.name, family.at(found.best.tokens))
    answer = _answer(instance, family, found, rule, rows)
    if as_json:
        print_json(answer)
    else:
        _print(answer)
    if found.best is not None:
        return ExitCode.ANSWERED
    return ExitCode.INFEASIBLE if found.upper_bound_tokens == 0 else ExitCode.NO_PLAN


def _explained(instance: Instance, found: LongestPrompt, deadline: Deadline) -> LongestPrompt:
    """Give the verdict of `solve` where memory has no place for even the shortest prompt."""
    if found.stopped_by is None:
        return found
    shortest = instance.replace(f"workload.tokens={found.stopped_by.tokens}")
    tables = build_tables(shortest)
    proof = prove_infeasible(tables, deadline)
    if proof is None:
        return found
    reason = infeasible_verdict(shortest, tables, proof, deadline)
    return replace(found, stopped_by=replace(found.stopped_by, reason=reason))


def _limit(family: LengthFamily, limit_s: float | None, factor: float | None) -> LatencyLimit | None:
    if limit_s is not None:
        return LatencyLimit(family, ticks=Fraction(exact(limit_s)) / family.longest.tick_s)
    return None if factor is None else LatencyLimit(family, factor=Fraction(exact(factor)))


COMMANDS = (_max_length,)
