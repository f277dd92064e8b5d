"""The command ``bench``: the benchmark family, made and run."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import click

from mocap_opt import units
from mocap_opt.cli.options import Command, json_option, load_instances, print_json, seed_option
from mocap_opt.cli.outputs import line_writer, require_outputs, tell_failure
from mocap_opt.errors import ExitCode, InputError, Problem
from mocap_opt.instance import Instance
from mocap_opt.studies.bench.family import SIZES, VARIANTS, make, names, write_family
from mocap_opt.studies.bench.rows import COLUMNS, MEANS, Row, summary
from mocap_opt.studies.bench.run import BenchSettings, bench
from mocap_opt.studies.summary import TIME_SHIFT_S


def _chosen(option: str, text: str | None, known: Sequence[str]) -> tuple[str, ...]:
    if text is None:
        return tuple(known)
    chosen = tuple(part.strip() for part in text.split(",") if part.strip())
    unknown = [part for part in chosen if part not in known]
    if unknown or not chosen:
        raise InputError([Problem(option, repr(", ".join(unknown)), "some of " + ", ".join(known))])
    return chosen


def family_options(command: Command) -> Command:
    """Options that choose instances of the benchmark family."""
    variants = click.option(
        "--variants", metavar="A,B,...", help="Which variants, out of: " + ", ".join(VARIANTS) + "."
    )
    sizes = click.option(
        "--sizes", metavar="S,M,...", help="Which sizes of the family, out of: " + ", ".join(SIZES) + "."
    )
    return sizes(variants(command))


def bench_instances(
    files: Sequence[str], sizes: str | None, variants: str | None, seed: int
) -> list[Instance]:
    """Read the instances given, or make those chosen of the benchmark family.

    Parameters
    ----------
    files : sequence of str
    sizes, variants : str or None
        Names separated by commas; None: all.
    seed : int
        Of the family.

    Raises
    ------
    InputError
        If a file is not an instance, a name is unknown, or there are files and names.
    """
    if files and (sizes or variants):
        raise InputError([Problem("--sizes and --variants", "files with them", "either files or these")])
    if files:
        return load_instances(files)
    chosen = names(_chosen("--sizes", sizes, tuple(SIZES)), _chosen("--variants", variants, VARIANTS))
    return [Instance.from_dict(make(name, seed)) for name in chosen]


@contextmanager
def _row_writer(path: str | None) -> Iterator[Callable[[Row], None]]:
    """Write rows as they come, so that an interrupted benchmark leaves those it finished."""
    if path is None:
        yield lambda row: None
        return
    with line_writer(path, tell_failure) as write:
        write(_csv_line(COLUMNS))
        yield lambda row: write(_csv_line([asdict(row)[name] for name in COLUMNS]))


def _csv_line(cells: Iterable[Any]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


EXAMPLE = """\b
Example:
  mocap-opt bench --sizes S,M --variants tight,links --no-plain --out rows.csv
"""


@click.command("bench", short_help="the benchmark family, made or run", epilog=EXAMPLE)
@click.argument("files", nargs=-1, type=click.Path(path_type=str))
@click.option("--make", "directory", metavar="DIR", help="Write the 24 instances of the family here instead.")
@family_options
@click.option(
    "--time-limit",
    "time_limit_s",
    type=click.FloatRange(min=0),
    help="Seconds per run; by default 2 for S, 20 for M, 120 for L, 300 for XL, 60 otherwise.",
)
@click.option(
    "--repeat",
    "repeats",
    type=click.IntRange(min=1),
    help="Runs of each method, of which medians are shown; by default 3 for S and M, else 1.",
)
@click.option(
    "--gap",
    type=click.FloatRange(min=0, max=1),
    default=1e-4,
    show_default=True,
    help="Stop a run once (latency - bound) / latency is at most this.",
)
@seed_option
@click.option(
    "--plain/--no-plain", default=True, show_default=True, help="Also run plain-highs and plain-cpsat."
)
@click.option("--out", type=click.Path(path_type=str), help="Write all columns here (CSV), row by row.")
@click.option(
    "--results",
    type=click.Path(path_type=str),
    help="Keep finished runs here (SQLite), so that the same command goes on where it was stopped.",
)
@click.option("--markdown", is_flag=True, help="Print Markdown tables.")
@json_option
def _bench(
    files: tuple[str, ...],
    directory: str | None,
    sizes: str | None,
    variants: str | None,
    time_limit_s: float | None,
    repeats: int | None,
    gap: float,
    seed: int,
    plain: bool,
    out: str | None,
    results: str | None,
    markdown: bool,
    as_json: bool,
) -> ExitCode:
    """Run the joint method and the plain programs on FILES, by default the benchmark family.

    Every run has a process of its own.  Times to a gap are those until a method's best plan so far is
    that close to its own best bound so far; for the plain programs both are of the lockstep execution.
    Ctrl-C ends the benchmark and shows the rows finished until then.
    """
    if markdown and as_json:
        raise InputError([Problem("--markdown", "--json with it", "only one of the two")])
    if directory is not None:
        paths = write_family(directory, seed)
        click.echo(f"{directory}: {len(paths)} instances")
        return ExitCode.ANSWERED
    require_outputs([out, results], files)
    instances = bench_instances(files, sizes, variants, seed)
    settings = BenchSettings(time_limit_s, repeats, gap, plain, seed=seed)
    rows: list[Row] = []
    code = ExitCode.ANSWERED
    with _row_writer(out) as write:
        try:
            tell = partial(click.echo, err=True)
            for row in bench(instances, settings, results=results, tell=tell):
                write(row)
                rows.append(row)
        except KeyboardInterrupt:
            click.echo(f"mocap-opt: interrupted after {len(rows)} rows", err=True)
            code = ExitCode.NO_PLAN
    means = summary(rows)
    if as_json:
        print_json({"rows": [asdict(row) for row in rows], "means": means, "shift_s": TIME_SHIFT_S})
        return code
    _print_table(_row_cells(rows), markdown)
    click.echo(
        f"\nShifted geometric means (shift {TIME_SHIFT_S:g} s; a gap not reached counts as the limit):"
    )
    _print_table(_mean_cells(means), markdown)
    sys.stdout.flush()
    return code


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _row_cells(rows: Sequence[Row]) -> list[list[str]]:
    head = ["instance", "method", "heuristic s", "best s", "bound s", "bound", "gap", "to 5 %", "to 1 %"]
    head += ["to 0.5 %", "to final", "build", "solve", "run", "over", "peak memory", "ample links"]
    cells = [head]
    for row in rows:
        heuristic = _seconds(row.heuristic_latency_s)
        if row.heuristic not in (None, "mocap"):
            heuristic += f" ({row.heuristic})"
        times = (row.to_5_percent_s, row.to_1_percent_s, row.to_half_percent_s, row.to_final_gap_s)
        method = row.method if row.latency_s is not None else f"{row.method}: {row.status}"
        cells.append(
            [
                row.instance,
                method,
                heuristic,
                "-" if row.latency_s is None else f"{row.latency_s:.5g}",
                "-" if row.bound_s is None else f"{row.bound_s:.5g}",
                row.bound_name or "-",
                units.format_percent(row.gap),
                *(_seconds(time) for time in times),
                *(_seconds(time) for time in (row.build_s, row.solve_s, row.runtime_s, row.overrun_s)),
                units.format_bytes(row.peak_memory_bytes),
                _seconds(row.ample_links_ratio),
            ]
        )
    return cells


def _mean_cells(means: Sequence[dict[str, Any]]) -> list[list[str]]:
    cells = [["size", "method", "instances", "median gap", "to 5 %", "to 1 %", "to 0.5 %", "to final", "run"]]
    for mean in means:
        numbers = [_seconds(mean[name]) for name in MEANS]
        cells.append(
            [
                mean["size"],
                mean["method"],
                str(mean["instances"]),
                units.format_percent(mean["median_gap"]),
                *numbers,
            ]
        )
    return cells


def _print_table(cells: list[list[str]], markdown: bool) -> None:
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for number, row in enumerate(cells):
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo("| " + " | ".join(padded) + " |" if markdown else "  ".join(padded).rstrip())
        if markdown and number == 0:
            click.echo("|" + "|".join("-" * (width + 2) for width in widths) + "|")


COMMANDS = (_bench,)
