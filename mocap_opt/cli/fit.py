"""Commands about one's own timings: fit, timings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import click

from mocap_opt.calibration import (
    FORMS,
    NAMES,
    Fit,
    FormChoice,
    Timings,
    Weighting,
    fit_timings,
    lattice,
    read_timings,
)
from mocap_opt.calibration.choice import AUTO, COEFFICIENTS
from mocap_opt.calibration.choice import fit as fit_all_forms
from mocap_opt.calibration.sample import sample_timings, timings_csv
from mocap_opt.cli.options import file_argument, json_option, print_json, set_option
from mocap_opt.cli.outputs import require_outputs
from mocap_opt.cli.render import console, pairs, titled
from mocap_opt.errors import ExitCode, InputError, Problem
from mocap_opt.files import write_text_atomically
from mocap_opt.instance import Instance, load_instance
from mocap_opt.optional_dependencies import require
from mocap_opt.units import format_percent
from mocap_opt.units import format_seconds_aligned as seconds

FORMATS = ("png", "svg", "pdf")
WORST = 5
"""Chunks shown that fit worst."""
FIT_EXAMPLE = """\b
TIMINGS.csv has the columns chunk_tokens, prefix_tokens (tokens before the chunk), seconds (of one
stage) and, where stages differ, stage (from 0).  Lines that start with # are skipped.

\b
Examples:
  mocap-opt fit instances/timings/llama-3.1-70b-pjlab.csv --plot residuals.png
  mocap-opt fit instances/timings/llama-3.1-70b-pjlab.csv \\
      --instance instances/llama-3.1-70b-pjlab-128k.json --out fitted.json
  mocap-opt fit prefix-free.csv --hold prefix
  mocap-opt fit instances/measured/deepseek-v3.2-h200-sglang-tp8.csv --form auto --out times.json
  mocap-opt fit instances/measured/deepseek-v3.2-h200-sglang-tp8.csv --form switched-floor --break 2048
"""
TIMINGS_EXAMPLE = """\b
Examples:
  mocap-opt timings instances/llama-3.1-70b-pjlab-128k.json --out measure.csv
  mocap-opt timings instances/llama-3.1-70b-pjlab-128k.json --noise 0.02 --seed 7 --out synthetic.csv
"""


@click.command(
    "fit", short_help="coefficients, or a table of times, from measured chunk times", epilog=FIT_EXAMPLE
)
@click.argument("timings_path", metavar="TIMINGS.csv", type=click.Path(path_type=str))
@click.option(
    "--hold",
    "held",
    multiple=True,
    type=click.Choice(NAMES),
    help="Hold a coefficient at 0, for instance prefix where no chunk was measured after one.",
)
@click.option(
    "--weights",
    type=click.Choice([each.value for each in Weighting]),
    default=Weighting.RELATIVE.value,
    show_default=True,
    help="Whose squares are least: residuals as parts of the time, or in seconds.",
)
@click.option(
    "--form",
    type=click.Choice([AUTO, *FORMS]),
    help="Give the costs this form, the one that predicts best what was left out if auto: as a table of "
    "times, as coefficients if engine.",
)
@click.option(
    "--break",
    "breaks",
    multiple=True,
    type=click.IntRange(min=1),
    metavar="TOKENS",
    help="Where kernels switch, prefix and chunk together, of the switched forms; may be repeated. "
    "Default: searched.",
)
@click.option("--instance", "file", type=click.Path(path_type=str), help="An instance to give the costs to.")
@click.option("--table", is_flag=True, help="Write the times themselves instead of coefficients.")
@click.option(
    "--out",
    type=click.Path(path_type=str),
    help="Write the costs here (JSON), or with --instance the instance that has them.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=str),
    help="Draw measured and fitted times and what is left over, of --form (default: auto) (.png, .svg or "
    ".pdf).",
)
@json_option
def _fit(
    timings_path: str,
    held: tuple[str, ...],
    weights: str,
    form: str | None,
    breaks: tuple[int, ...],
    file: str | None,
    table: bool,
    out: str | None,
    plot: str | None,
    as_json: bool,
) -> ExitCode:
    """Fit the cost of chunks to measured times.

    A chunk of l tokens after h takes constant + prefix h + linear l + quadratic (2 h l + l^2) seconds,
    no coefficient negative.  Other forms are fitted beside it, and each is judged by rows, whole lengths
    and whole prefixes that were left out.  --out writes coefficients; with --form the times that a form
    predicts, with --table the times as they are, interpolated between the lengths and prefixes measured.
    """
    _refuse(file, out, plot, table, form, held, weights)
    require_outputs([out, plot], [timings_path, *([] if file is None else [file])])
    timings = read_timings(timings_path)
    fits = fit_timings(timings, held=held, weighting=Weighting(weights))
    choice, missing = _choice(timings, form, breaks)
    costs = _costs(timings, fits, table) if form is None or choice is None else choice.costs()
    written = {"costs": costs} if file is None else _with_costs(load_instance(file), costs)
    if plot is not None:
        require("matplotlib", "plots")
        from mocap_opt.pictures import plots  # noqa: PLC0415 - matplotlib is optional and slow to load

        if choice is None:
            drawn = plots.residuals_figure(timings.source, fits)
        else:
            drawn = plots.form_figure(choice.chosen)
        plots.save_figure(drawn, plot)
    if out is not None:
        write_text_atomically(out, json.dumps(written, indent=2) + "\n")
    if as_json:
        forms = {"forms": [], "reason": missing} if choice is None else choice.to_dict()
        answer = {"timings": timings.source, "fits": [each.to_dict() for each in fits]}
        print_json(answer | forms | {"costs": costs})
    else:
        _print(timings, fits)
        _print_forms(choice, missing)
        click.echo("\n".join(path for path in (out, plot) if path is not None), nl=bool(out or plot))
    return ExitCode.ANSWERED


def _choice(
    timings: Timings, form: str | None, breaks: Sequence[int]
) -> tuple[FormChoice | None, str | None]:
    """All forms, or the one that was asked for; or why there is none where nobody asked for any.

    Raises
    ------
    InputError
        If a form or a break was asked for, and the timings are not enough for it.
    """
    try:
        return fit_all_forms(timings, form=form or AUTO, breaks=breaks), None
    except InputError as error:
        if form is not None or breaks:
            raise
        return None, "; ".join(str(problem) for problem in error.problems)


def _refuse(
    file: str | None,
    out: str | None,
    plot: str | None,
    table: bool,
    form: str | None,
    held: Sequence[str],
    weights: str,
) -> None:
    problems = []
    if plot is not None and PurePath(plot).suffix.lower().lstrip(".") not in FORMATS:
        problems.append(Problem("--plot", repr(plot), "a name that ends in .png, .svg or .pdf"))
    for option, given in (("--instance", file is not None), ("--table", table)):
        if given and out is None:
            problems.append(Problem(option, "no --out", "a place for the result", "add --out NEW.json"))
    if form is not None:
        for option, given in (
            ("--table", table),
            ("--hold", bool(held)),
            ("--weights", weights != Weighting.RELATIVE.value),
        ):
            if given:
                remedy = f"leave out --form or {option}"
                problems.append(Problem(option, f"with --form {form}", "either of them", remedy))
    if problems:
        raise InputError(problems)


def _costs(timings: Timings, fits: Sequence[Fit], table: bool) -> dict[str, Any]:
    """Costs as an instance takes them."""
    if table:
        return {"kind": "measured", "stages": lattice(timings)}
    if fits[0].stage is None:
        return {"kind": "coefficients", "stages": fits[0].coefficients}
    stages = [each.stage for each in fits]
    if stages != list(range(len(fits))):
        found = ", ".join(str(stage) for stage in stages[:20])
        raise InputError([Problem(f"{timings.source}, stage", found, "every stage from 0 up")])
    return {"kind": "coefficients", "stages": [each.coefficients for each in fits]}


def _with_costs(instance: Instance, costs: dict[str, Any]) -> dict[str, Any]:
    """Give an instance other costs, in plain figures; attention is counted as it was measured."""
    changed = Instance.from_dict({**instance.to_dict(), "costs": costs, "attention": "causal"})
    return changed.to_dict()


def _print(timings: Timings, fits: Sequence[Fit]) -> None:
    """One fit with its errors, or a row per stage; then the chunks that fit worst."""
    figures = [found.to_dict() for found in fits]
    single = fits[0].stage is None
    table = titled(f"{timings.source}: {timings.length.size} rows")
    if single:
        for heading in ("coefficient", "value", "standard error", "unit"):
            table.add_column(heading, justify="right" if heading in ("value", "standard error") else "left")
        for name, value in fits[0].coefficients.items():
            error = fits[0].standard_errors[name]
            shown = "at 0" if error is None else f"{error:.2g}"
            table.add_row(name, f"{value:.6g}", shown, figures[0]["units"][name])
    else:
        for heading in ("stage", *NAMES, "largest", "RMS"):
            table.add_column(heading, justify="right")
        for found, row in zip(fits, figures, strict=True):
            values = [f"{found.coefficients[name]:.4g}" for name in NAMES]
            off = [
                format_percent(row["largest_relative_residual"]),
                format_percent(row["rms_relative_residual"]),
            ]
            table.add_row(str(found.stage), *values, *off)
    console().print(table)
    largest = max(row["largest_relative_residual"] for row in figures)
    rms = max(row["rms_relative_residual"] for row in figures)
    rows = [
        (
            "residuals",
            f"largest {format_percent(largest)}, RMS {'' if single else 'at most '}{format_percent(rms)}",
        )
    ]
    worst = sorted(
        ((row, found["stage"]) for found in figures for row in found["worst_rows"]),
        key=lambda each: -abs(each[0]["relative_residual"]),
    )
    for n, (row, stage) in enumerate(worst[:WORST]):
        chunk = f"{row['chunk_tokens']:,} tokens after {row['prefix_tokens']:,}"
        times = f"{seconds(row['seconds'])}, fitted {seconds(row['fitted_s'])}"
        where = "" if stage is None else f" on stage {stage}"
        text = f"{chunk}{where}: {times} ({100 * row['relative_residual']:+.2f} %)"
        rows.append(("" if n else "worst", text))
    console().print(pairs(rows))


def _print_forms(choice: FormChoice | None, missing: str | None) -> None:
    """A row per form, then which one is chosen, why, and what was searched for it."""
    if choice is None:
        console().print(pairs([("forms", f"not fitted: {missing}")]))
        return
    table = titled("forms: residuals of the fit, RMS of what was left out")
    for heading in ("form", "parameters", "RMS", "largest", "rows", "lengths", "prefixes"):
        table.add_column(heading, justify="left" if heading == "form" else "right")
    for found in choice.fits:
        left_out = ["-" if rms is None else format_percent(rms) for rms in found.held_out_by_kind.values()]
        fitted = [str(found.size), format_percent(found.rms), format_percent(found.largest)]
        table.add_row(found.name, *fitted, *left_out)
    console().print(table)
    chosen = choice.chosen
    searched = [
        f"{name.replace('_1', '').replace('_', ' ')} {value:,.0f} tokens"
        for name, value in next(iter(chosen.stages.values())).parameters.items()
        if name.startswith(("tile", "window", "break"))
    ]
    rows = [("form", f"{chosen.name}: {choice.reason}"), ("", chosen.form.formula)]
    rows += [("", ", ".join(searched))] if searched else []
    if len(chosen.stages) > 1:
        worst = max(chosen.to_dict()["rms_by_stage"], key=lambda each: each["rms"])
        text = f"RMS {format_percent(worst['rms'])}, largest {format_percent(worst['largest'])}"
        rows.append(("worst stage", f"{worst['stage']}: {text}"))
    if chosen.name != COEFFICIENTS and choice.asked == AUTO:
        rows.append(("", "--form auto --out FILE writes its times"))
    console().print(pairs(rows))


@click.command(
    "timings", short_help="which chunks to measure, and what they should take", epilog=TIMINGS_EXAMPLE
)
@file_argument
@click.option(
    "--noise",
    type=click.FloatRange(min=0, max=1),
    default=0.0,
    show_default=True,
    help="Multiply times by random factors, the standard deviation of their logarithm.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the noise.")
@click.option("--out", type=click.Path(path_type=str), help="Write the timings here (CSV).")
@set_option
def _timings(file: str, noise: float, seed: int, out: str | None, overrides: tuple[str, ...]) -> ExitCode:
    """List the chunk times that the costs of the instance FILE predict, in the form `fit` reads.

    The lengths and prefixes cover every chunk the instance allows, so the list says what to measure.
    """
    require_outputs([out], [file])
    instance = load_instance(file, overrides)
    timings = sample_timings(instance, noise=noise, seed=seed)
    comments = [
        f"computed from the costs of {instance.name} ({instance.fingerprint}), not measured",
        f"noise {noise:g}, seed {seed}" if noise else "no noise",
    ]
    text = timings_csv(timings, comments)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_text_atomically(out, text)
        click.echo(out)
    return ExitCode.ANSWERED


COMMANDS = (_fit, _timings)
