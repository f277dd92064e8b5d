"""Commands that judge plans: solve, evaluate, compare, bound."""

from __future__ import annotations

import threading

import click

from mocap_opt.cli import render, streams
from mocap_opt.cli.chunk_list import chunk_list_option, print_chunk_list, refuse_with_chunk_list
from mocap_opt.cli.interrupt import interruptible
from mocap_opt.cli.live import follow, live_line
from mocap_opt.cli.methods import MethodChoice, complete_methods, warn_of_hidden
from mocap_opt.cli.options import (
    file_argument,
    gantt_option,
    json_option,
    load_instances,
    memory_budget_option,
    print_json,
    set_option,
    solve_options,
    step_options,
    trace_option,
)
from mocap_opt.cli.outputs import require_outputs
from mocap_opt.cli.progress_log import log_progress
from mocap_opt.errors import ExitCode, InputError, Problem
from mocap_opt.files import write_text_atomically
from mocap_opt.instance import load_instance
from mocap_opt.instance.objectives import Objective, objective_of, require_supported
from mocap_opt.pictures.run_view import view_run
from mocap_opt.replay.trace import write_trace
from mocap_opt.schedule.plan_file import load_plan, save_plan
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving import EXECUTIONS, METHOD_NAMES, Progress, Solution
from mocap_opt.solving import compare as compare_methods
from mocap_opt.solving import evaluate as evaluate_plan
from mocap_opt.solving import solve as solve_instance
from mocap_opt.solving.api import bound as lower_bounds_of
from mocap_opt.solving.comparison import require_methods
from mocap_opt.solving.report import Report
from mocap_opt.tables import build_tables


def exit_code(report: Report) -> ExitCode:
    """Exit code of an answer: a plan, a proof that there is none, or neither."""
    if report.status is Status.INFEASIBLE:
        return ExitCode.INFEASIBLE
    return ExitCode.NO_PLAN if report.latency_s is None else ExitCode.ANSWERED


def _print(solution: Solution, as_json: bool, gantt: bool) -> ExitCode:
    if as_json:
        print_json(solution.report.to_dict())
    else:
        render.print_solution(solution)
        if gantt and solution.assessment is not None:
            render.print_gantt(view_run(solution.tables, solution.assessment.plan))
    return exit_code(solution.report)


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


@click.command(short_help="find a plan and prove how good it is")
@file_argument
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
def solve(
    file: str,
    method: str,
    execution: str,
    solver: str,
    time_limit_s: float | None,
    deterministic_limit: float | None,
    gap: float,
    seed: int,
    threads: int | None,
    memory_budget_bytes: int | None,
    out: str | None,
    log: str | None,
    trace: str | None,
    gantt: bool,
    chunk_list: bool,
    without: tuple[str, ...],
    only: tuple[str, ...],
    show_steps: bool,
    overrides: tuple[str, ...],
    as_json: bool,
) -> ExitCode:
    """Find a plan for the instance FILE and prove how far from the best possible it is.

    Ctrl-C (or SIGTERM) stops the search and returns the best plan found so far.
    """
    _refuse_both(gantt, as_json)
    refuse_with_chunk_list(chunk_list, {"--json": as_json, "--gantt": gantt, "--show-steps": show_steps})
    require_outputs([out, log, trace], [file])
    instance = load_instance(file, overrides)
    require_supported(
        instance,
        "solve",
        command=True,
        method=method,
        solver=solver,
        execution=execution,
        deterministic_limit=deterministic_limit,
        threads=threads,
        log=log,
        trace=trace,
        gantt=gantt,
        chunk_list=chunk_list,
        without=without or None,
        only=only or None,
        show_steps=show_steps,
        memory_budget=memory_budget_bytes,
    )
    objective = objective_of(instance)
    if objective is Objective.STREAM:
        return streams.solve(
            instance, time_limit_s=time_limit_s, gap=gap, seed=seed, out=out, as_json=as_json
        )
    if objective is Objective.PERIOD:
        from mocap_opt.cli.period import solve_for_period  # noqa: PLC0415 - loads both solvers

        return solve_for_period(
            instance,
            method,
            time_limit_s=time_limit_s,
            gap=gap,
            seed=seed,
            solver=solver,
            out=out,
            as_json=as_json,
        )
    with interruptible() as runner:
        with log_progress(log) as note, live_line("reading the instance") as line:

            def progress(news: Progress) -> None:
                note(news)
                line.tell(news)

            def work(stop: threading.Event) -> Solution:
                return solve_instance(
                    instance,
                    method,
                    solver=solver,
                    execution=execution,
                    time_limit_s=time_limit_s,
                    deterministic_limit=deterministic_limit,
                    gap=gap,
                    seed=seed,
                    threads=threads,
                    memory_budget_bytes=memory_budget_bytes,
                    callback=progress,
                    stop=stop,
                    without=without,
                    only=only,
                )

            solution = runner.run(work)
        if out is not None and solution.plan is not None:
            save_plan(out, solution.plan, instance.name, solution.tables)
        _trace(trace, solution)
        if chunk_list:
            print_chunk_list(solution.plan, solution.report.reason)
            return exit_code(solution.report)
        if show_steps and not as_json:
            render.print_steps(solution.report)
        return _print(solution, as_json, gantt)


@click.command(short_help="verify and replay a plan")
@file_argument
@click.argument("plan", type=click.Path(path_type=str))
@trace_option
@gantt_option
@set_option
@json_option
def evaluate(
    file: str, plan: str, trace: str | None, gantt: bool, overrides: tuple[str, ...], as_json: bool
) -> ExitCode:
    """Verify and replay the PLAN on the instance FILE.

    A plan that breaks a rule gives exit code 3 and the list of what it breaks.
    """
    _refuse_both(gantt, as_json)
    require_outputs([trace], [file, plan])
    instance = load_instance(file, overrides)
    require_supported(instance, "evaluate", command=True, trace=trace, gantt=gantt)
    objective = objective_of(instance)
    if objective is Objective.STREAM:
        return streams.evaluate(instance, plan, as_json)
    if objective is Objective.PERIOD:
        from mocap_opt.cli.period import evaluate_for_period  # noqa: PLC0415 - loads both solvers

        return evaluate_for_period(instance, plan, as_json)
    tables = build_tables(instance)
    solution = evaluate_plan(instance, load_plan(plan, tables), tables=tables)
    _trace(trace, solution)
    return _print(solution, as_json, gantt)


@click.command(short_help="methods side by side")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=str))
@click.option(
    "--methods",
    default="gpipe,uniform,terapipe,mocap,joint",
    show_default=True,
    metavar="A,B,...",
    shell_complete=complete_methods,
    help="Which methods, out of: " + ", ".join(METHOD_NAMES) + ", and those of plugins.",
)
@solve_options
@click.option("--csv", "csv_path", type=click.Path(path_type=str), help="Write all columns here.")
@set_option
@json_option
def compare(
    files: tuple[str, ...],
    methods: str,
    solver: str,
    time_limit_s: float | None,
    deterministic_limit: float | None,
    gap: float,
    seed: int,
    threads: int | None,
    memory_budget_bytes: int | None,
    csv_path: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> ExitCode:
    """Solve every FILE with several methods; all gaps on a FILE are against its best bound."""
    require_outputs([csv_path], files)
    names = [name.strip() for name in methods.split(",") if name.strip()]
    if not names:
        raise InputError([Problem("--methods", repr(methods), "names of methods, separated by commas")])
    warn_of_hidden(names)
    require_methods(names)
    instances = load_instances(files, overrides)
    frame = follow(
        "comparing",
        lambda stop, line: compare_methods(
            instances,
            names,
            solver=solver,
            time_limit_s=time_limit_s,
            deterministic_limit=deterministic_limit,
            gap=gap,
            seed=seed,
            threads=threads,
            memory_budget_bytes=memory_budget_bytes,
            callback=line.tell,
            begin=line.say,
            stop=stop,
        ),
    )
    if csv_path is not None:
        write_text_atomically(csv_path, frame.to_csv(index=False))
    records = frame.astype(object).where(frame.notna(), None).to_dict("records")
    rows = [{str(key): value for key, value in record.items()} for record in records]
    if as_json:
        print_json(rows)
    else:
        render.print_comparison(rows)
    if any(row["latency_s"] is not None for row in rows):
        return ExitCode.ANSWERED
    hopeless = all(row["status"] == Status.INFEASIBLE.value for row in rows)
    return ExitCode.INFEASIBLE if hopeless else ExitCode.NO_PLAN


@click.command(short_help="every lower bound, or a proof that no plan exists")
@file_argument
@click.option("--quick", is_flag=True, help="Only the bounds that need no solver.")
@click.option(
    "--time-limit",
    "time_limit_s",
    type=click.FloatRange(min=0),
    help="Seconds of wall time; what a bound has proved by the end of its share stands.  [default: 60]",
)
@memory_budget_option
@set_option
@json_option
def bound(
    file: str,
    quick: bool,
    time_limit_s: float | None,
    memory_budget_bytes: int | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> ExitCode:
    """Compute every lower bound on the instance FILE, or prove it infeasible.

    They are on what its objective minimises: the latency, the period, or the makespan of a stream.
    Ctrl-C (or SIGTERM) stops them and prints what is proved so far.
    """
    instance = load_instance(file, overrides)
    require_supported(instance, "bound", command=True, memory_budget=memory_budget_bytes)
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
    rows = [
        {
            "bound_name": b.name,
            "lower_bound_s": tables.seconds(b.ticks),
            "bound_scope": b.scope.value,
            "bound_evidence": b.evidence.value,
            "note": b.note,
        }
        for b in bounds
    ]
    reason = None if impossible is None else impossible.message
    if as_json:
        print_json(
            {
                "instance": instance.name,
                "fingerprint": instance.fingerprint,
                "status": Status.UNKNOWN.value if impossible is None else Status.INFEASIBLE.value,
                "reason": reason,
                "bounds": rows,
                "notes": notes,
            }
        )
    else:
        render.print_bounds(instance.name, rows, reason, notes)
    return ExitCode.ANSWERED if impossible is None else ExitCode.INFEASIBLE


COMMANDS = (solve, evaluate, compare, bound)
