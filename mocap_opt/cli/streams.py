"""Streams of requests: how their plans are shown, and the command import-trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mocap_opt.cli import render
from mocap_opt.cli.live import follow
from mocap_opt.cli.options import print_json
from mocap_opt.cli.outputs import require_outputs
from mocap_opt.errors import ExitCode
from mocap_opt.files import write_text_atomically
from mocap_opt.instance import Instance
from mocap_opt.instance.mooncake_trace import read_trace, trace_instance
from mocap_opt.schedule.requests import build_requests
from mocap_opt.schedule.schedule_file import load_stream, save_schedule
from mocap_opt.solvers.outcome import Status
from mocap_opt.units import format_percent

if TYPE_CHECKING:
    from mocap_opt.solving.stream_report import StreamSolution


def solve(
    instance: Instance, *, time_limit_s: float | None, gap: float, seed: int, out: str | None, as_json: bool
) -> ExitCode:
    """Plan a stream, write the plan and show what it costs."""
    from mocap_opt.solving.stream import solve_stream  # noqa: PLC0415 - loads CP-SAT

    limit = 60.0 if time_limit_s is None else time_limit_s
    solution = follow(
        "planning the requests",
        lambda stop, line: solve_stream(
            instance, time_limit_s=limit, gap=gap, seed=seed, callback=line.tell, stop=stop
        ),
    )
    if out is not None and solution.sequence is not None:
        save_schedule(out, solution.sequence, instance.name, instance.fingerprint)
    return _show(solution, as_json)


def evaluate(instance: Instance, plan: str, as_json: bool) -> ExitCode:
    """Read a plan of a stream, verify and replay it."""
    from mocap_opt.solving.stream_report import evaluate_stream  # noqa: PLC0415 - loads CP-SAT

    requests = build_requests(instance)
    sequence = load_stream(plan, requests)
    return _show(evaluate_stream(instance, requests, sequence), as_json)


def _show(solution: StreamSolution, as_json: bool) -> ExitCode:
    report = solution.report
    if as_json:
        print_json(report.to_dict())
    else:
        rows = [
            ("instance", f"{report.instance} ({report.fingerprint}), {report.requests} requests"),
            ("status", Status(report.status).words + (f": {report.reason}" if report.reason else "")),
            *(("breaks", each) for each in report.violations),
        ]
        bound = (
            "-"
            if report.lower_bound_s is None
            else f"{render.seconds(report.lower_bound_s)}  ({report.bound_name}, {report.bound_scope})"
        )
        if report.makespan_s is None and report.lower_bound_s is not None:
            rows.append(("lower bound", bound))
        if report.makespan_s is not None:
            rate = "-" if report.throughput_rps is None else f"{report.throughput_rps:.4g} requests/s"
            rows += [
                ("makespan", f"{render.seconds(report.makespan_s)}  ({report.execution})"),
                ("lockstep", render.seconds(report.lockstep_makespan_s)),
                ("event-driven", render.seconds(report.event_makespan_s)),
                ("lower bound", bound),
                ("gap", format_percent(report.gap)),
                ("mean completion", render.seconds(report.mean_completion_s)),
                ("  lower bound", render.seconds(report.mean_lower_bound_s)),
                ("  gap", format_percent(report.mean_gap)),
                ("p99 completion", render.seconds(report.p99_completion_s)),
                ("  lower bound", render.seconds(report.p99_lower_bound_s)),
                ("  gap", format_percent(report.p99_gap)),
                ("throughput", rate),
            ]
        rows += [("note", note) for note in report.notes]
        render.console().print(render.pairs(rows))
    if report.status == Status.INFEASIBLE.value:
        return ExitCode.INFEASIBLE
    return ExitCode.NO_PLAN if report.makespan_s is None else ExitCode.ANSWERED


@click.command("import-trace", short_help="an instance from a trace of requests")
@click.argument("file", type=click.Path(path_type=str))
@click.option("--model", default="llama-3.1-70b", show_default=True, help="Name of a preset.")
@click.option("--wafer", default="watos-c3", show_default=True, help="Name of a preset.")
@click.option(
    "--take", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many requests."
)
@click.option(
    "--offset", type=click.IntRange(min=0), default=0, show_default=True, help="Leave out so many first."
)
@click.option(
    "--least-tokens",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Leave out shorter prefills.",
)
@click.option(
    "--time-scale",
    type=click.FloatRange(min=0, max=1000),
    default=1.0,
    show_default=True,
    help="Spread or squeeze the arrivals; 0: all at once.",
)
@click.option("--order", type=click.Choice(["given", "free"]), default="given", show_default=True)
@click.option("--stages", type=click.IntRange(1, 512), default=16, show_default=True)
@click.option("--dies-per-stage", type=click.IntRange(1, 1024), default=3, show_default=True)
@click.option("--max-chunks", type=click.IntRange(1, 4096), default=32, show_default=True)
@click.option("--quantum", type=click.IntRange(min=1), default=1024, show_default=True, help="Tokens.")
@click.option("--out", required=True, type=click.Path(path_type=str), help="Write the instance here (JSON).")
def import_trace(
    file: str,
    model: str,
    wafer: str,
    take: int,
    offset: int,
    least_tokens: int,
    time_scale: float,
    order: str,
    stages: int,
    dies_per_stage: int,
    max_chunks: int,
    quantum: int,
    out: str,
) -> ExitCode:
    """Make an instance of requests from the trace FILE, in Mooncake's format.

    One JSON object a line: timestamp (ms), input_length, hash_ids of blocks of 512 tokens.  Leading
    blocks that earlier requests brought become cached prefixes.

    \b
    Example:
      mocap-opt import-trace conversation_trace.jsonl --take 50 --least-tokens 32768 --out chat.json
      mocap-opt solve chat.json
    """  # noqa: D301 - click wants a real backspace
    require_outputs([out], [file])
    data = trace_instance(
        read_trace(file),
        take=take,
        name=Path(out).stem[:200] or "trace",
        model=model,
        wafer=wafer,
        stages=stages,
        dies_per_stage=dies_per_stage,
        max_chunks=max_chunks,
        quantum=quantum,
        offset=offset,
        least_tokens=least_tokens,
        time_scale=time_scale,
        order=order,
    )
    instance = Instance.from_dict(data)
    write_text_atomically(out, json.dumps(data, indent=2) + "\n")
    click.echo(f"{out}: {instance}")
    return ExitCode.ANSWERED


COMMANDS = (import_trace,)
