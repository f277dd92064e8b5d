"""Studies: study run, study ablation, study table, study plot."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from mocap_opt.cli import render
from mocap_opt.cli.bench import bench_instances, family_options
from mocap_opt.cli.options import (
    complete_steps,
    cores_option,
    json_option,
    print_json,
    seed_option,
    time_limit_option,
)
from mocap_opt.cli.outputs import csv_text, require_outputs
from mocap_opt.errors import ExitCode, InputError, MocapError, Problem
from mocap_opt.files import write_text_atomically
from mocap_opt.instance.objectives import OBJECTIVES
from mocap_opt.optional_dependencies import require
from mocap_opt.solving import STEPS
from mocap_opt.solving.steps import chosen_steps
from mocap_opt.studies import frames
from mocap_opt.studies.ablation import COLUMNS, by_step, losses, run_ablation
from mocap_opt.studies.cluster import DaskRunner
from mocap_opt.studies.driver import Runner, Tally, run_study
from mocap_opt.studies.frames import failed, frame_of, outcomes, write_frame
from mocap_opt.studies.runners import LocalRunner, available_cores
from mocap_opt.studies.schema import StudyFile, load_study, results_beside
from mocap_opt.studies.tasks import Settings

if TYPE_CHECKING:
    import pandas as pd

    from mocap_opt.studies.execution import Outcome

EXAMPLES = """\b
Examples:
  mocap-opt study instances/studies/tiny.toml
  mocap-opt study run big.toml --cluster local:8
  mocap-opt study table instances/studies/tiny.toml --format latex --out gaps.tex
  mocap-opt study plot instances/studies/tiny.toml --kind profile --out profile.png
"""
PICTURES = (".png", ".svg", ".pdf")
KINDS = ("profile", "time-profile", "gaps", "gap-over-time")

REPORT_EVERY_S = 30.0
GRACE_S = 30.0
"""A run of an ablation is killed so long after its limit."""

RETRIES = 3


class InterruptedStudyError(MocapError):
    """Ctrl-C ended a study; what was finished is kept."""

    exit_code = ExitCode.NO_PLAN


def counts(tally: Tally) -> str:
    """How many runs are finished, in words."""
    text = f"{tally.before + tally.done} of {tally.total} runs finished"
    if tally.before:
        text += f", {tally.before} of them before"
    return text + (f", {tally.failed} failed" if tally.failed else "")


def _left(tally: Tally) -> str:
    if tally.left_s is None:
        return ""
    minutes, seconds = divmod(round(tally.left_s), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left"


@contextmanager
def resumable() -> Iterator[Callable[[Tally], None]]:
    """Follow a study that may be stopped by Ctrl-C.

    Yields
    ------
    callable
        To be told counts, failures and time left: a bar on a terminal, now and then a line elsewhere.

    Raises
    ------
    InterruptedStudyError
        In place of KeyboardInterrupt.
    """
    with _progress() as tell:
        try:
            yield tell
        except KeyboardInterrupt:
            raise InterruptedStudyError(
                "study interrupted; finished runs are kept, start it again to go on"
            ) from None


@contextmanager
def _progress() -> Iterator[Callable[[Tally], None]]:
    console = render.console(sys.stderr)
    if not console.is_terminal:
        last = time.monotonic()

        def line(tally: Tally) -> None:
            nonlocal last
            if tally.done and tally.left and time.monotonic() - last >= REPORT_EVERY_S:
                last = time.monotonic()
                click.echo(f"{counts(tally)}, {_left(tally)}", err=True)

        yield line
        return
    bar = Progress(
        BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"), console=console, transient=True
    )
    with bar:
        shown = bar.add_task("", total=None, note="")

        def update(tally: Tally) -> None:
            note = ", ".join(filter(None, [f"{tally.failed} failed" if tally.failed else "", _left(tally)]))
            bar.update(shown, total=tally.total, completed=tally.before + tally.done, note=note)

        yield update


study_argument = click.argument("study", type=click.Path(path_type=str))
out_option = click.option(
    "--out", type=click.Path(path_type=str), help="Write it here instead of printing it."
)


class NoRunsError(MocapError):
    """A study has no finished run to show."""

    exit_code = ExitCode.NO_PLAN


class _RunByDefault(click.Group):
    """``study FILE`` means ``study run FILE``."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of a line.

        Parameters
        ----------
        ctx : click.Context
        args : list of str
            What stands behind ``study``.
        """
        if args and self.get_command(ctx, args[0]) is None:
            args = ["run", *args]
        return super().resolve_command(ctx, args)


@click.group(
    cls=_RunByDefault,
    epilog=EXAMPLES,
    short_help="many runs, each kept as it ends; tables and pictures of them",
)
def study() -> None:
    """Run a study (`mocap-opt study FILE` is short for `study run FILE`) and show its results.

    A study file lists instances, methods, solvers, seeds and limits; every combination is one run.
    """


@study.command("run", short_help="do the runs that are not finished yet")
@study_argument
@cores_option
@click.option(
    "--scheduler", metavar="tcp://HOST:PORT", help="Use the Dask scheduler at this address instead."
)
@click.option("--cluster", metavar="local:N", help="Use a Dask cluster of N processes on this machine.")
@click.option("--retry-failed", is_flag=True, help="Do failed runs again.")
@json_option
def _run(
    study: str,
    cores: int | None,
    scheduler: str | None,
    cluster: str | None,
    retry_failed: bool,
    as_json: bool,
) -> ExitCode:
    """Do every run of the study file STUDY that is not finished yet.

    Finished runs are added one at a time to the results file, by default NAME.results.sqlite beside
    NAME.toml.  A study that was stopped in any way goes on where it was when started again.
    """
    file = load_study(study)
    runner = _runner(file, cores, scheduler, cluster)
    with resumable() as show:
        tally = run_study(file, runner, listener=show, retry_failed=retry_failed)
    summary = {
        "results": str(file.results_path),
        "runs": tally.total,
        "finished_before": tally.before,
        "done": tally.done,
        "failed": tally.failed,
        "elapsed_s": tally.elapsed_s,
    }
    if as_json:
        print_json(summary)
    else:
        click.echo(f"{counts(tally)}; results in {file.results_path}")
    return ExitCode.ANSWERED


def _runner(file: StudyFile, cores: int | None, scheduler: str | None, cluster: str | None) -> Runner:
    given = {"--cores": cores, "--scheduler": scheduler, "--cluster": cluster}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise InputError([Problem(named[0], f"{' and '.join(named[1:])} with it", "only one of them")])
    if scheduler is not None:
        return DaskRunner(scheduler=scheduler, retries=file.study.retries)
    if cluster is not None:
        place, _, number = cluster.partition(":")
        if place != "local" or not number.isdecimal() or not 0 < len(number) < 5 or int(number) == 0:
            raise InputError(
                [Problem("--cluster", repr(cluster), "local: and a number of processes", "local:2")]
            )
        return DaskRunner(workers=int(number), retries=file.study.retries)
    return LocalRunner(
        available_cores() if cores is None else cores,
        grace_s=file.study.grace_s,
        retries=file.study.retries,
    )


@study.command("ablation", short_help="what each step of a solve is worth")
@click.argument("files", nargs=-1, type=click.Path(path_type=str))
@family_options
@click.option(
    "--step",
    "steps",
    multiple=True,
    metavar="STEP",
    shell_complete=complete_steps,
    help="Leave out this step, and no others; `mocap-opt steps` lists them.  May be given several times.",
)
@time_limit_option("Seconds of wall time per run.", 10.0)
@seed_option
@cores_option
@click.option(
    "--out",
    type=click.Path(path_type=str),
    default="ablation.csv",
    show_default=True,
    help="A row per step and instance, as CSV; finished runs are kept in NAME.results.sqlite beside it.",
)
@json_option
def _ablation(
    files: tuple[str, ...],
    sizes: str | None,
    variants: str | None,
    steps: tuple[str, ...],
    time_limit_s: float,
    seed: int,
    cores: int | None,
    out: str,
    as_json: bool,
) -> ExitCode:
    """Solve FILES, by default the benchmark family, without each step in turn, and show what that loses.

    Steps that do not run on an instance lose nothing there and are passed over.  Losses are relative to the
    solve with all steps under the same limit; a negative one is a gain.  A study that was stopped in any way
    goes on where it was when started again.
    """
    require_outputs([out], files)
    instances = bench_instances(files, sizes, variants, seed)
    chosen_steps(STEPS, only=steps)
    settings = Settings("auto", "auto", "best", seed, time_limit_s, 1e-4, 1)
    runner = LocalRunner(available_cores() if cores is None else cores, grace_s=GRACE_S, retries=RETRIES)
    with resumable() as show:
        outcomes = run_ablation(instances, settings, results_beside(out), runner, steps=steps, listener=show)
    rows = losses(outcomes)
    write_text_atomically(out, csv_text(rows, COLUMNS))
    if as_json:
        print_json(rows)
    else:
        click.echo(frames.markdown(by_step(rows)), nl=False)
    return ExitCode.ANSWERED


def _held(study: str) -> tuple[pd.DataFrame, list[Outcome]]:
    given = outcomes(study)
    if not given:
        raise NoRunsError(f"{study}: no finished run with the versions installed; run the study first")
    return frame_of(given), given


@study.command("table", short_help="gaps, wins and means as a table, or all rows")
@study_argument
@click.option(
    "--kind",
    type=click.Choice(["gaps", "standings", "contributions", "rows", "failures"]),
    default="gaps",
    show_default=True,
    help="gaps: per instance; standings: per method; contributions: which step of the joint method supplied "
    "plan and bound; rows: every run; failures: those without an answer.",
)
@click.option(
    "--format", "form", type=click.Choice(["markdown", "latex"]), default="markdown", show_default=True
)
@out_option
@json_option
def _table(study: str, kind: str, form: str, out: str | None, as_json: bool) -> ExitCode:
    """Print a table of STUDY, a study file or a results file.

    An --out that ends in .csv or .parquet gets every row with every column.
    """
    from mocap_opt.studies import summary  # noqa: PLC0415 - loads numpy

    require_outputs([out], [study])
    frame, _ = _held(study)
    if out is not None and PurePath(out).suffix.lower() in (".csv", ".parquet"):
        write_frame(frame, out)
        click.echo(out)
        return ExitCode.ANSWERED
    if kind in ("rows", "failures"):
        chosen = failed(frame) if kind == "failures" else frame
        labels = summary.instance_labels(frame)[chosen.index]
        figures = [record.fields[0] for record in OBJECTIVES.values()]
        known = [name for name in figures if name in frame and frame[name].notna().any()]
        columns = ["seed", "outcome", "status", *known, "gap", "runtime_s", "reason"]
        shown: pd.DataFrame = chosen[columns].assign(method=summary.contender_names(frame)[chosen.index])
        shown = shown[["method", *columns]].set_index(labels.rename("instance"))
        text: pd.DataFrame = frames.rows_as_text(shown)
    elif kind == "contributions":
        shown = summary.contributions(frame)
        text = frames.rows_as_text(shown)
    elif kind == "standings":
        shown = summary.standings(frame)
        text = frames.standings_as_text(shown)
    else:
        shown = summary.gaps(frame)
        text = frames.gaps_as_text(shown)
    if as_json:
        plain = shown.reset_index().astype(object)
        print_json(_plain(plain.where(plain.notna(), None).to_dict("records")))
        return ExitCode.ANSWERED
    write = frames.markdown if form == "markdown" else frames.latex
    written = write(text)
    if kind == "contributions":
        written += "\n" + write(summary.contribution_counts(shown))
    if out is None:
        click.echo(written, nl=False)
    else:
        write_text_atomically(out, written)
        click.echo(out)
    return ExitCode.ANSWERED


def _plain(records: list[dict[Any, Any]]) -> list[dict[str, Any]]:
    return [{str(k): v.item() if hasattr(v, "item") else v for k, v in record.items()} for record in records]


@study.command("plot", short_help="performance profiles, gaps, gaps over time")
@study_argument
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default="profile",
    show_default=True,
    help="profile: of latencies; time-profile: of run times; gaps: per instance; gap-over-time: medians.",
)
@click.option(
    "--out", type=click.Path(path_type=str), required=True, help="A file ending in .png, .svg or .pdf."
)
def _plot(study: str, kind: str, out: str) -> ExitCode:
    """Draw a picture of STUDY, a study file or a results file."""
    if PurePath(out).suffix.lower() not in PICTURES:
        raise InputError([Problem("--out", repr(out), "a name that ends in .png, .svg or .pdf")])
    require_outputs([out], [study])
    require("matplotlib", "plots")
    from mocap_opt.pictures import plots  # noqa: PLC0415 - matplotlib is optional and slow to load

    frame, given = _held(study)
    title = PurePath(study).name.split(".")[0]
    plots.save_figure(plots.study_figure(title, kind, frame, given), out)
    click.echo(out)
    return ExitCode.ANSWERED


COMMANDS = (study,)
