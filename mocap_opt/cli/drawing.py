"""Commands that draw: plot, report."""

from __future__ import annotations

import threading
from pathlib import PurePath
from typing import Any

import click
from click.core import ParameterSource

from mocap_opt.baselines.registry import ENGINE_RULES, built_in_name
from mocap_opt.cli.live import follow
from mocap_opt.cli.options import complete_methods, file_argument, set_option, solve_options
from mocap_opt.cli.outputs import load_given_plan, load_progress, require_outputs
from mocap_opt.errors import ExitCode, InputError, MocapError, Problem
from mocap_opt.files import parse_json, read_text, source_name, write_text_atomically
from mocap_opt.instance import Instance, StageLayout, load_instance
from mocap_opt.instance.objectives import Objective, objective_of, require_supported
from mocap_opt.optional_dependencies import require
from mocap_opt.pictures.run_view import RunView, view_answer
from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.plan_layout import decided
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.solving import Progress, Solution, solve_with_each
from mocap_opt.solving.api import evaluate, solve
from mocap_opt.solving.methods import EVERY_METHOD
from mocap_opt.solving.plugin_methods import plugin_names
from mocap_opt.solving.progress_display import Line
from mocap_opt.tables.layout import layout

KINDS = ("gantt", "memory", "mesh", "bounds", "compare")
FORMATS = ("png", "svg", "pdf")
DEFAULT_METHODS = "gpipe,uniform,terapipe,mocap,joint"
methods_option = click.option(
    "--methods",
    default=DEFAULT_METHODS,
    show_default=True,
    metavar="A,B,...",
    shell_complete=complete_methods,
    help="Methods to run where no PLAN is given.",
)
plans_argument = click.argument("plans", nargs=-1, type=click.Path(path_type=str), metavar="[PLAN]...")


class NothingToDrawError(MocapError):
    """There is no plan, or nothing was found out, so there is no picture."""

    exit_code = ExitCode.NO_PLAN


class BrokenPlanError(MocapError):
    """A plan that breaks a rule cannot be drawn; the message lists what it breaks."""

    exit_code = ExitCode.INFEASIBLE


@click.command("plot", short_help="a picture of a plan")
@file_argument
@plans_argument
@click.option("--kind", type=click.Choice(KINDS), required=True, help="What to draw.")
@click.option(
    "--out", type=click.Path(path_type=str), required=True, help="A file ending in .png, .svg or .pdf."
)
@click.option(
    "--execution",
    type=click.Choice([str(e) for e in Execution]),
    help="Which execution to draw; default: the faster one.",
)
@click.option(
    "--pipeline",
    type=click.IntRange(min=0),
    help="Whose stream gantt, memory and mesh draw, of several; default: of the one with the most slots.",
)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=str),
    help="Read instead of solving: a file of `solve --log` (bounds) or output of `compare --json` (compare).",
)
@methods_option
@solve_options
@set_option
def _plot(
    file: str,
    plans: tuple[str, ...],
    kind: str,
    out: str,
    execution: str | None,
    pipeline: int | None,
    source: str | None,
    methods: str,
    overrides: tuple[str, ...],
    **options: Any,
) -> ExitCode:
    """Draw a picture of a PLAN on the instance FILE.

    gantt, memory and mesh take one PLAN, of any objective; without one the instance is solved first.
    Of a period as many requests are drawn as are on the wafer at once, and two more.  bounds draws the best
    plan and the best bound over the time of a solve.  compare sets the PLANs, or else the methods, side by
    side.  Ctrl-C ends a solve and draws what was found.
    """
    if PurePath(out).suffix.lower().lstrip(".") not in FORMATS:
        raise InputError([Problem("--out", repr(out), "a name that ends in .png, .svg or .pdf")])
    if source is not None and kind not in ("bounds", "compare"):
        raise InputError([Problem("--from", repr(source), "--kind bounds or --kind compare with it")])
    if len(plans) > 1 and kind != "compare":
        raise InputError([Problem("PLAN", f"{len(plans)} plans", f"at most one for --kind {kind}")])
    _refuse_beside_plans(plans, options)
    require_outputs([out], [file, *plans, *([] if source is None else [source])])
    require("matplotlib", "plots")
    from mocap_opt.pictures import plots  # noqa: PLC0415 - matplotlib is optional and slow to load

    instance = load_instance(file, overrides)
    require_supported(instance, "solve", command=True, **options)
    _refuse_unlike(instance, kind, pipeline)
    if kind == "bounds":
        progress, end_s = _progress(instance, source, options)
        if all(p.latency_s is None and p.bound_s is None for p in progress):
            raise NothingToDrawError("no plan and no bound was found at any time")
        words = objective_of(instance).record.words
        figure = plots.bounds_figure(instance.name, progress, end_s=end_s, words=words)
    elif kind == "compare":
        if source is None:
            answers = _answers(instance, plans, methods, options)
            rows = [{**answer.report.to_dict(), "method": name} for name, answer in answers]
        else:
            rows = _rows(source, instance)
        figure = plots.compare_figure(instance.name, rows)
    else:
        view = _view(instance, plans[0] if plans else None, execution, pipeline, options)
        if kind == "mesh":
            figure = plots.mesh_figure(layout(decided(instance, view.schedule)), view)
        else:
            figure = (plots.gantt_figure if kind == "gantt" else plots.memory_figure)(view)
    plots.save_figure(figure, out)
    click.echo(out)
    return ExitCode.ANSWERED


def _refuse_unlike(instance: Instance, kind: str, pipeline: int | None) -> None:
    """Refuse pictures that the instance has not: of times where a weight counts, of pipelines not there."""
    record, count = objective_of(instance).record, instance.workload.pipelines
    if kind == "bounds" and record.maximised:
        expected = f"another kind with objective {instance.objective!r}"
        remedy = "a solve tells times only; `compare` and `bound` say what is accepted and what is possible"
        raise InputError([Problem("--kind", repr(kind), expected, remedy)])
    if pipeline is None:
        return
    if kind in ("bounds", "compare"):
        raise InputError([Problem("--pipeline", str(pipeline), "--kind gantt, memory or mesh with it")])
    if pipeline >= count:
        expected = f"less than workload.pipelines, {count}"
        raise InputError([Problem("--pipeline", str(pipeline), expected, "they are counted from 0")])


def _refuse_beside_plans(plans: tuple[str, ...], options: dict[str, Any]) -> None:
    """Refuse options of solving where plans are given: nothing is solved, so they would do nothing."""
    if not plans:
        return
    context = click.get_current_context()
    given = [
        option.opts[0]
        for option in context.command.params
        if option.name in {"methods", *options}
        and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        reason = "no such option with a PLAN, which is judged and not solved for"
        raise InputError([Problem(name, "given", reason, "leave it out") for name in given])


def _view(
    instance: Instance,
    plan: str | None,
    execution: str | None,
    pipeline: int | None,
    options: dict[str, Any],
) -> RunView:
    if plan is not None:
        # Without bounds: nothing of them is drawn.
        answer = evaluate(instance, load_given_plan(plan, instance), bounds=())
        if answer.report.violations:
            raise BrokenPlanError(f"{source_name(plan)}: {'; '.join(answer.report.violations[:10])}")
    else:
        answer = follow(
            "solving", lambda stop, line: solve(instance, callback=line.tell, stop=stop, **options)
        )
    if answer.report.value_s is None or not answer.streams:
        raise NothingToDrawError(answer.report.reason or "no plan found")
    busy = [number for number, _ in answer.streams]
    if pipeline is not None and pipeline not in busy:
        raise NothingToDrawError(
            f"pipeline {pipeline} has nothing to do; those that have: {', '.join(map(str, busy))}"
        )
    return view_answer(answer, None if execution is None else Execution(execution), pipeline)


def _progress(
    instance: Instance, source: str | None, options: dict[str, Any]
) -> tuple[list[Progress], float | None]:
    if source is not None:
        return load_progress(source), None
    found: list[Progress] = []

    def _work(stop: threading.Event, line: Line) -> Solution:
        def news(progress: Progress) -> None:
            found.append(progress)
            line.tell(progress)

        return solve(instance, callback=news, stop=stop, **options)

    return found, follow("solving", _work).report.runtime_s


def _rows(source: str, instance: Instance) -> list[dict[str, Any]]:
    """Rows of `compare --json` that belong to the instance."""
    value = parse_json(read_text(source), source_name(source))
    rows = value if isinstance(value, list) else []
    keys = {"instance", "method", "status", "lower_bound_s", "gap", *objective_of(instance).record.fields}
    fit = [r for r in rows if isinstance(r, dict) and r.keys() >= keys and r["instance"] == instance.name]
    if not fit:
        expected = f"the output of `mocap-opt compare --json` with rows of the instance {instance.name}"
        raise InputError([Problem(source, "no such row", expected)])
    return fit


def _answers(
    instance: Instance, plans: tuple[str, ...], methods: str, options: dict[str, Any]
) -> list[tuple[str, Solution]]:
    """The given plans by their files, or else the methods by their names, all against the same bounds."""
    if plans:
        found: list[tuple[str, Solution]] = []
        for path in plans:
            schedule = load_given_plan(path, instance)
            known = next((answer.lower_bounds for _, answer in found if _alike(answer, schedule)), None)
            answer = evaluate(instance, schedule, bounds=known)
            found.append((source_name(path), answer))
        return found
    names = [name.strip() for name in methods.split(",") if name.strip()]
    known_names = (*EVERY_METHOD, *plugin_names())
    unknown = [name for name in names if built_in_name(name) not in known_names]
    if unknown or not names:
        told = ", ".join(map(repr, unknown)) or repr(methods)
        raise InputError([Problem("--methods", told, "names of methods: " + ", ".join(known_names))])
    answers = follow(
        "comparing",
        lambda stop, line: solve_with_each(
            instance, names, stop=stop, callback=line.tell, begin=line.say, **options
        ),
    )
    return list(zip(names, answers, strict=True))


def _rules(
    instance: Instance, answers: list[tuple[str, Solution]], options: dict[str, Any]
) -> list[tuple[str, Solution]]:
    """What rules of engines give, in the layout of the best plan; its bounds are not computed again."""
    planned = [answer for _, answer in answers if answer.report.value_s is not None]
    best = min(planned, key=lambda answer: answer.report.value_s or 0.0, default=answers[0][1])
    if instance.pipeline.free and best.schedule is None:
        return []
    known = None if instance.pipeline.free else best
    fixed = instance if known is not None else decided(instance, best.schedule)
    limits = {name: options[name] for name in ("time_limit_s", "memory_budget_bytes")}

    def _each(stop: threading.Event, line: Line) -> list[tuple[str, Solution]]:
        found = []
        for name in (*ENGINE_RULES, "terapipe"):
            line.say(f"{instance.name}: {name}")
            found.append((name, solve(fixed, name, known=known, stop=stop, **limits)))
        return found

    return follow("rules of engines", _each)


def _alike(answer: Solution, schedule: Schedule) -> bool:
    """Whether an answer has bounds, and they are those of a schedule's layout."""
    judged = answer.schedule
    return bool(answer.lower_bounds) and judged is not None and _layout_of(judged) == _layout_of(schedule)


def _layout_of(schedule: Schedule) -> StageLayout | None:
    return schedule.requests[0].plan.layout


@click.command("report", short_help="a one-file HTML report")
@file_argument
@plans_argument
@click.option("--out", type=click.Path(path_type=str), required=True, help="The HTML file to write.")
@click.option("--rules", is_flag=True, help="Also what each engine's rule would give (objective latency).")
@methods_option
@solve_options
@set_option
def _report(
    file: str,
    plans: tuple[str, ...],
    out: str,
    rules: bool,
    methods: str,
    overrides: tuple[str, ...],
    **options: Any,
) -> ExitCode:
    """Write one HTML file about the PLANs, or else the methods, on the instance FILE.

    It opens offline and prints on A4: what the best plan comes to and what proves it, in plain words, then
    the timeline, memory and wafer at any instant, the table of methods and gaps, the instance with its
    defaults, versions.  Two PLANs, of whatever layouts, are set side by side.
    """
    _refuse_beside_plans(plans, options)
    require_outputs([out], [file, *plans])
    require("bokeh", "report")
    require("jinja2", "report")
    from mocap_opt.pictures.html import html_report  # noqa: PLC0415 - bokeh is optional and slow to load

    instance = load_instance(file, overrides)
    require_supported(instance, "solve", command=True, **options)
    if rules and objective_of(instance) is not Objective.LATENCY:
        expected = f"no such option with objective {objective_of(instance)}"
        raise InputError([Problem("--rules", "given", expected, "leave it out")])
    answers = _answers(instance, plans, methods, options)
    asked = _rules(instance, answers, options) if rules else []
    write_text_atomically(out, html_report(instance, answers, asked))
    click.echo(out)
    return ExitCode.ANSWERED


COMMANDS = (_plot, _report)
