"""Commands that judge plans: solve, evaluate, compare, bound."""

from __future__ import annotations

import threading
from typing import Any

import click

from mocap_opt.bounds.refinement import Refinement, refinement
from mocap_opt.cli import render
from mocap_opt.cli.first_instance import config_options
from mocap_opt.cli.live import follow
from mocap_opt.cli.options import (
    MethodChoice,
    complete_methods,
    file_argument,
    gantt_option,
    json_option,
    load_instances,
    memory_budget_option,
    print_json,
    set_option,
    solve_options,
    step_options,
    time_limit_option,
    trace_option,
    warn_of_hidden,
)
from mocap_opt.cli.outputs import (
    chunk_list_option,
    exit_code,
    exit_of_several,
    load_given_plan,
    log_progress,
    print_chunk_list,
    refuse_with_chunk_list,
    require_outputs,
    save_answer,
)
from mocap_opt.cli.prompt_selection import solve_prompt_selection
from mocap_opt.errors import ExitCode, InputError, Problem
from mocap_opt.files import write_text_atomically
from mocap_opt.instance import load_instance
from mocap_opt.instance.from_config import load_first
from mocap_opt.instance.layer_profile import prompt_selection
from mocap_opt.instance.objectives import Objective, objective_of, require_supported
from mocap_opt.pictures.run_view import view_run
from mocap_opt.replay.trace import write_trace
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving import EXECUTIONS, Progress, Solution
from mocap_opt.solving import compare as compare_methods
from mocap_opt.solving.api import bound as lower_bounds_of
from mocap_opt.solving.api import evaluate as evaluate_plan
from mocap_opt.solving.api import solve as solve_instance
from mocap_opt.solving.comparison import LAYOUTS, require_methods
from mocap_opt.solving.comparison_frame import comparison_rows
from mocap_opt.solving.methods import EVERY_METHOD
from mocap_opt.solving.progress_display import Line


def _trace(path: str | None, solution: Solution) -> None:
    if path is None:
        return
    if solution.assessment is None:
        click.echo("mocap-opt: no feasible plan, so no trace was written", err=True)
    else:
        write_trace(path, solution.tables, solution.assessment.plan, solution.report.fingerprint)


def _refuse_both(gantt: bool, as_json: bool) -> None:
    if gantt and as_json:
        raise InputError([Problem("--gantt", "--json with it", "only one of the two")])


def _print_answer(answer: Solution, as_json: bool, gantt: bool = False) -> ExitCode:
    """Print an answer, of a single prompt also as a chart in letters."""
    if as_json:
        print_json(answer.report.to_dict())
    else:
        render.print_solution(answer)
        if gantt and answer.assessment is not None:
            render.print_gantt(view_run(answer.tables, answer.assessment.plan))
    return exit_code(answer)


@click.command("solve", short_help="find a plan and prove how good it is")
@file_argument
@config_options
@click.option(
    "--method",
    type=MethodChoice(),
    default="auto",
    show_default=True,
    help="joint: heuristics, searches, bounds, then both programs; auto: joint with the programs chosen by "
    "size; or one heuristic by name.",
)
@click.option(
    "--execution",
    type=click.Choice(EXECUTIONS),
    default="best",
    show_default=True,
    help="Which latency to bring down: the smaller of the two replays, or that of a static schedule.",
)
@solve_options
@click.option("--out", type=click.Path(path_type=str), help="Write the plan here (JSON, decisions only).")
@click.option(
    "--log",
    type=click.Path(path_type=str),
    help="Write a line of JSON here for every better plan or bound and every step that begins; "
    "`plot --kind bounds --from` draws it.",
)
@trace_option
@gantt_option
@chunk_list_option
@step_options
@click.option("--show-steps", is_flag=True, help="Also print what every step cost and gained.")
@set_option
@json_option
def _solve(
    file: str,
    out: str | None,
    log: str | None,
    trace: str | None,
    gantt: bool,
    chunk_list: bool,
    show_steps: bool,
    overrides: tuple[str, ...],
    settings: dict[str, Any],
    as_json: bool,
    **options: Any,
) -> ExitCode:
    """Find a plan for the instance FILE and prove how far from the best possible it is.

    FILE may be a model's config.json with --wafer, --stages and --tokens.  Where its layers choose tokens
    among the whole prompt, two problems in sequence are solved, and both plans shown.
    Ctrl-C (or SIGTERM) stops the search and returns the best plan found so far.
    """
    _refuse_both(gantt, as_json)
    refuse_with_chunk_list(chunk_list, {"--json": as_json, "--gantt": gantt, "--show-steps": show_steps})
    require_outputs([out, log, trace], [file])
    instance = load_first(file, overrides, settings)
    shown = {"log": log, "trace": trace, "gantt": gantt, "chunk_list": chunk_list, "show_steps": show_steps}
    if prompt_selection(instance.model) is not None:
        return solve_prompt_selection(instance, as_json, {**options, **shown, "out": out})
    require_supported(instance, "solve", command=True, **options, **shown)
    with log_progress(log) as note:

        def _search(stop: threading.Event, line: Line) -> Solution:
            def progress(news: Progress) -> None:
                note(news)
                line.tell(news)

            return solve_instance(instance, callback=progress, stop=stop, **options)

        answer = follow("reading the instance", _search)
    save_answer(out, answer)
    _trace(trace, answer)
    if chunk_list:
        print_chunk_list(answer.plan, answer.report.reason)
        return exit_code(answer)
    if show_steps and not as_json:
        render.print_steps(answer.report)
    return _print_answer(answer, as_json, gantt)


@click.command("evaluate", short_help="verify and replay a plan")
@file_argument
@click.argument("plan", type=click.Path(path_type=str))
@trace_option
@gantt_option
@set_option
@json_option
def _evaluate(
    file: str, plan: str, trace: str | None, gantt: bool, overrides: tuple[str, ...], as_json: bool
) -> ExitCode:
    """Verify and replay the PLAN on the instance FILE.

    A plan that breaks a rule gives exit code 3 and the list of what it breaks.
    """
    _refuse_both(gantt, as_json)
    require_outputs([trace], [file, plan])
    instance = load_instance(file, overrides)
    require_supported(instance, "evaluate", command=True, trace=trace, gantt=gantt)
    answer = evaluate_plan(instance, load_given_plan(plan, instance))
    _trace(trace, answer)
    return _print_answer(answer, as_json, gantt)


@click.command("compare", short_help="methods side by side")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=str))
@config_options
@click.option(
    "--methods",
    default="gpipe,uniform,terapipe,mocap,joint",
    show_default=True,
    metavar="A,B,...",
    shell_complete=complete_methods,
    help="Which methods, out of: " + ", ".join(EVERY_METHOD) + ", and those of plugins.",
)
@click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    default="given",
    show_default=True,
    help="auto: also search stages, dies, layers and places; a row whose gap is over all layouts.",
)
@solve_options
@click.option("--csv", "csv_path", type=click.Path(path_type=str), help="Write all columns here.")
@set_option
@json_option
def _compare(
    files: tuple[str, ...],
    methods: str,
    layout: str,
    csv_path: str | None,
    overrides: tuple[str, ...],
    settings: dict[str, Any],
    as_json: bool,
    **options: Any,
) -> ExitCode:
    """Solve every FILE with several methods; all gaps on a FILE are against its best bound."""
    require_outputs([csv_path], files)
    names = [name.strip() for name in methods.split(",") if name.strip()]
    if not names:
        raise InputError([Problem("--methods", repr(methods), "names of methods, separated by commas")])
    warn_of_hidden(names)
    require_methods(names)
    instances = load_instances(files, overrides, settings)
    for instance in instances:
        require_supported(instance, "compare", command=True, **options)
    frame = follow(
        "comparing",
        lambda stop, line: compare_methods(
            instances,
            names,
            layout=layout,
            full=True,
            callback=line.tell,
            begin=line.say,
            stop=stop,
            **options,
        ),
    )
    if csv_path is not None:
        write_text_atomically(csv_path, frame.to_csv(index=False))
    rows = comparison_rows(frame)
    if as_json:
        print_json(rows)
    else:
        render.print_comparison(rows)
    return exit_of_several(
        any(row[Objective(row["objective"]).record.fields[0]] is not None for row in rows),
        (row["status"] == Status.INFEASIBLE.value for row in rows),
    )


@click.command("bound", short_help="every lower bound, or a proof that no plan exists")
@file_argument
@config_options
@click.option("--quick", is_flag=True, help="Only the bounds that need no solver.")
@time_limit_option(
    "Seconds of wall time; what a bound has proved by the end of its share stands.  [default: 60]"
)
@memory_budget_option
@set_option
@json_option
def _bound(
    file: str,
    quick: bool,
    time_limit_s: float | None,
    memory_budget_bytes: int | None,
    overrides: tuple[str, ...],
    settings: dict[str, Any],
    as_json: bool,
) -> ExitCode:
    """Compute every lower bound on the instance FILE, or prove it infeasible.

    They are on what its objective minimises: the latency, the period, or the makespan of a stream.
    Ctrl-C (or SIGTERM) stops them and prints what is proved so far.
    """
    instance = load_first(file, overrides, settings)
    require_supported(instance, "bound", command=True)
    notes: list[str] = []
    tables, bounds, impossible = follow(
        "bounds",
        lambda stop, line: lower_bounds_of(
            instance,
            quick=quick,
            time_limit_s=time_limit_s,
            memory_budget_bytes=memory_budget_bytes,
            stop=stop,
            on_note=notes.append,
            on_bound=line.say,
        ),
    )
    weight = sum(request.weight for request in instance.workload.requests)
    maximised = objective_of(instance).record.maximised
    rows: list[dict[str, Any]] = [
        {
            "bound_name": b.name,
            **(
                {"upper_bound": weight - b.ticks} if maximised else {"lower_bound_s": tables.seconds(b.ticks)}
            ),
            "bound_scope": b.scope.value,
            "bound_evidence": b.evidence.value,
            "note": b.note,
        }
        for b in bounds
    ]
    reason = None if impossible is None else impossible.message
    refined: dict[str, Any] = {}
    if instance.objective == Objective.LATENCY.value:
        found = refinement(instance, tables) if impossible is None else Refinement(reason=reason)
        refined = {
            "refinement_bound_s": None if found.bound is None else tables.seconds(found.bound.ticks),
            "refinement_unknown": found.reason,
        }
    if as_json:
        print_json(
            {
                "instance": instance.name,
                "fingerprint": instance.fingerprint,
                "status": Status.UNKNOWN.value if impossible is None else Status.INFEASIBLE.value,
                "reason": reason,
                "bounds": rows,
                **refined,
                "notes": notes,
            }
        )
    else:
        render.print_bounds(instance.name, rows, reason, notes, refined)
    return ExitCode.ANSWERED if impossible is None else ExitCode.INFEASIBLE


COMMANDS = (_solve, _evaluate, _compare, _bound)
