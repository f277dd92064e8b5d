"""The command ``reproduce``: the comparison with the paper."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

import click

from mocap_opt.cli.options import cores_option, json_option, print_json, time_limit_option
from mocap_opt.cli.outputs import require_outputs
from mocap_opt.cli.study import PICTURES, RETRIES, resumable
from mocap_opt.errors import ExitCode, InputError, Problem
from mocap_opt.optional_dependencies import require
from mocap_opt.studies.driver import finished_runs
from mocap_opt.studies.frames import write_frame
from mocap_opt.studies.paper_comparison.family import (
    FAMILY,
    GRACE_S,
    QUICK,
    TIME_LIMIT_S,
    tasks_of_family,
)
from mocap_opt.studies.paper_comparison.frame import frame_of, read_csv
from mocap_opt.studies.runners import LocalRunner, available_cores
from mocap_opt.studies.schema import results_beside

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = """\b
Examples:
  mocap-opt reproduce --out notebooks/headline.csv
  mocap-opt reproduce --out notebooks/headline.csv --table
  mocap-opt reproduce --quick --out quick.csv --picture quick.png
"""


@click.command("reproduce", epilog=EXAMPLES, short_help="the paper's three ratios over a stated family")
@click.option(
    "--out",
    type=click.Path(path_type=str),
    default="headline.csv",
    show_default=True,
    help="The rows, as CSV; finished runs are kept in NAME.results.sqlite beside it.",
)
@click.option(
    "--table", "only_table", is_flag=True, help="Run nothing: show the tables of an existing --out."
)
@click.option("--quick", is_flag=True, help="Four small instances instead; their averages mean nothing.")
@click.option("--picture", type=click.Path(path_type=str), help="Draw the ratios here: .png, .svg or .pdf.")
@cores_option
@time_limit_option("Seconds of wall time for each run of the joint method.", TIME_LIMIT_S)
@json_option
def _reproduce(
    out: str,
    only_table: bool,
    quick: bool,
    picture: str | None,
    cores: int | None,
    time_limit_s: float,
    as_json: bool,
) -> ExitCode:
    """Set latency, throughput and longest prompts of five methods against the MOCAP paper's ratios.

    The family of instances is this project's own (mocap_opt/studies/paper_comparison/family.py), as the
    paper's is not public.  On two cores the whole takes about 12 minutes.  A study that was stopped in any
    way goes on where it was when started again; to do all runs anew, remove the file of finished runs.
    """
    if PurePath(out).suffix.lower() != ".csv":
        raise InputError([Problem("--out", repr(out), "a name that ends in .csv")])
    if picture is not None:
        if PurePath(picture).suffix.lower() not in PICTURES:
            raise InputError([Problem("--picture", repr(picture), "a name that ends in .png, .svg or .pdf")])
        require_outputs([picture, None if only_table else out])
        require("matplotlib", "plots")
        from mocap_opt.pictures import plots  # noqa: PLC0415 - matplotlib is optional and slow to load

    frame = read_csv(out) if only_table else _run(out, quick, cores, time_limit_s)
    if picture is not None:
        plots.save_figure(plots.paper_comparison_figure(frame), picture)
    _show(frame, as_json)
    return ExitCode.ANSWERED


def _run(out: str, quick: bool, cores: int | None, time_limit_s: float) -> pd.DataFrame:
    require_outputs([out])
    tasks = tasks_of_family(QUICK if quick else FAMILY, time_limit_s)
    runner = LocalRunner(available_cores() if cores is None else cores, grace_s=GRACE_S, retries=RETRIES)
    with resumable() as tell:
        outcomes = finished_runs(tasks, results_beside(out), runner, listener=tell, retry_failed=True)
    write_frame(frame_of(outcomes), out)
    # What is shown is what the file holds.
    return read_csv(out)


def _show(frame: pd.DataFrame, as_json: bool) -> None:
    from mocap_opt.studies.paper_comparison import ratios  # noqa: PLC0415 - loads numpy

    if not as_json:
        click.echo(ratios.report(frame), nl=False)
        return
    parts = {
        "means": ratios.means(frame),
        "best": ratios.best_cases(frame),
        "plans": ratios.plans(frame),
        "mean_reduction": ratios.mean_reductions(frame).to_frame("latency").T,
        "stages": ratios.by_stages(frame, "joint"),
    }
    print_json(
        {
            name: {
                str(row): {str(k): None if v != v else float(v) for k, v in cells.items()}
                for row, cells in part.to_dict("index").items()
            }
            for name, part in parts.items()
        }
    )


COMMANDS = (_reproduce,)
