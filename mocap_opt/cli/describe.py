"""Commands that search nothing: instances and tables shown, made or handed over; methods, steps, words."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from mocap_opt.cli import render
from mocap_opt.cli.first_instance import config_options
from mocap_opt.cli.options import file_argument, json_option, print_json, set_option
from mocap_opt.cli.outputs import load_given_plan, require_outputs
from mocap_opt.errors import ExitCode
from mocap_opt.files import source_name, write_text_atomically
from mocap_opt.glossary import TERMS
from mocap_opt.instance import Instance, json_schema, load_instance
from mocap_opt.instance.from_config import load_first
from mocap_opt.instance.layer_profile import prompt_selection
from mocap_opt.instance.mooncake_trace import read_trace, trace_instance
from mocap_opt.schedule.instance_summary import efficiency_note, open_questions, overview, ring_note
from mocap_opt.schedule.plan_layout import decided
from mocap_opt.schedule.requests import build_requests
from mocap_opt.solvers.versions import versions as installed_versions
from mocap_opt.solving import STEPS
from mocap_opt.tables import build_tables
from mocap_opt.tables.prompt_parts import prompt_parts
from mocap_opt.tables.tables_file import save_tables
from mocap_opt.units import format_seconds

METHODS_EXAMPLES = """\b
Examples:
  mocap-opt methods
  mocap-opt methods --json
"""
STEPS_EXAMPLES = """\b
Examples:
  mocap-opt steps
  mocap-opt solve instances/bench/S-links.json --without boundary_slp --show-steps
  mocap-opt solve instances/bench/S-links.json --only first_heuristics --only quick_bounds
"""


@click.command("check", short_help="list every problem of an instance file")
@file_argument
@config_options
@set_option
@json_option
def _check(file: str, overrides: tuple[str, ...], settings: dict[str, Any], as_json: bool) -> ExitCode:
    """Check the instance FILE; list every problem with its place, value and remedy."""
    instance = load_first(file, overrides, settings)
    said: dict[str, Any] = {"instance": instance.name, "fingerprint": instance.fingerprint, "ok": True}
    if instance.pipeline.free:
        said["open"] = open_questions(instance)
    elif instance.workload.requests:
        build_requests(instance)
    elif prompt_selection(instance.model) is not None:
        prompt_parts(instance)
    elif note := ring_note(build_tables(instance)):
        said["notes"] = [note]
    if as_json:
        print_json(said)
    else:
        notes = [f"note: {note}" for note in said.get("notes", ())]
        click.echo("\n".join([f"{source_name(file)}: ok\n{instance}", *notes]))
    return ExitCode.ANSWERED


@click.command("show", short_help="sizes, defaults, where memory and time go")
@file_argument
@click.argument("plan", required=False, type=click.Path(path_type=str))
@config_options
@set_option
@json_option
def _show(
    file: str, plan: str | None, overrides: tuple[str, ...], settings: dict[str, Any], as_json: bool
) -> ExitCode:
    """Show the instance FILE: sizes, every default, and where memory and time go.

    With a PLAN, reserves and times are those of its chunks and, where the instance leaves its pipeline
    open, of its layout.  Without one an open instance shows what there is to decide.
    """
    instance = load_first(file, overrides, settings)
    if plan is None:
        sections = {"open": open_questions(instance)} if instance.pipeline.free else overview(instance)
    else:
        schedule = load_given_plan(plan, instance)
        longest = max(schedule, key=lambda request: request.tables.tokens)
        sections = overview(decided(instance, schedule), longest.plan.boundaries)
    note = efficiency_note(instance)
    sections |= {"notes": [note]} if note else {}
    if as_json:
        print_json({"instance": instance.to_dict(), "fingerprint": instance.fingerprint, **sections})
    else:
        render.print_overview(instance, sections)
    return ExitCode.ANSWERED


@click.command("schema", short_help="JSON Schema of instance files")
def _schema() -> ExitCode:
    """Print the JSON Schema of instance files, for editors to check against."""
    print_json(json_schema())
    return ExitCode.ANSWERED


@click.command("versions", short_help="of this package, its solvers and libraries")
@json_option
def _versions(as_json: bool) -> ExitCode:
    """Show the versions of this package, its solvers and libraries."""
    found = installed_versions()
    if as_json:
        print_json(found)
    else:
        render.console().print(
            render.pairs([(name, version or "not installed") for name, version in found.items()])
        )
    return ExitCode.ANSWERED


@click.command("tables", short_help="every integer table as JSON")
@file_argument
@click.option("--out", required=True, type=click.Path(path_type=str), help="Write the tables here (JSON).")
@set_option
def _tables(file: str, out: str, overrides: tuple[str, ...]) -> ExitCode:
    """Write every integer table of the instance FILE, with axes and units.

    With them any program can recompute memory, slots and times of a plan; the format is described in
    formulations/notation.md.
    """
    require_outputs([out], [file])
    instance = load_instance(file, overrides)
    made = build_tables(instance)
    save_tables(out, made, instance.fingerprint)
    click.echo(
        f"{out}: tables of {instance.name}, {made.stages} stages, {made.steps} grid steps, "
        f"{len(made.links)} links, ticks of {format_seconds(made.tick_s)}"
    )
    return ExitCode.ANSWERED


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
def _import_trace(
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


@click.command(
    "methods", short_help="every method and program, and where each comes from", epilog=METHODS_EXAMPLES
)
@json_option
def _methods(as_json: bool) -> ExitCode:
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


@click.command("steps", short_help="the steps of a solve, in order", epilog=STEPS_EXAMPLES)
@json_option
def _steps(as_json: bool) -> ExitCode:
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


@click.command("glossary", short_help="the words used here and what the field calls them")
@json_option
def _glossary(as_json: bool) -> ExitCode:
    """List the words of this package, the standard term for each, and what it means."""
    if as_json:
        print_json([asdict(term) for term in TERMS])
        return ExitCode.ANSWERED
    table = render.titled("Glossary")
    for header in ("word", "in the field", "meaning"):
        table.add_column(header, overflow="fold", no_wrap=header == "word")
    for term in TERMS:
        table.add_row(Text(term.name), Text(term.field), Text(term.meaning))
    render.console().print(table)
    return ExitCode.ANSWERED


COMMANDS = (_check, _show, _schema, _versions, _tables, _import_trace, _methods, _steps, _glossary)
