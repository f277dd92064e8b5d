"""Answers of every objective: plans read and written, figures printed, exit codes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from mocap_opt.cli import render
from mocap_opt.cli.options import print_json
from mocap_opt.errors import ExitCode
from mocap_opt.instance import Instance
from mocap_opt.instance.objectives import Objective, objective_of
from mocap_opt.pictures.run_view import view_run
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.plan_file import load_plan, save_plan
from mocap_opt.schedule.requests import build_requests
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.schedule_file import load_period, load_stream, save_schedule
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving import Solution
from mocap_opt.tables import build_tables
from mocap_opt.units import format_percent

if TYPE_CHECKING:
    from mocap_opt.solving.api import Answer
    from mocap_opt.solving.stream_report import StreamReport


def exit_code(status: str, value: float | None) -> ExitCode:
    """Exit code of an answer: a plan, a proof that there is none, or neither.

    Parameters
    ----------
    status : str
        As in reports.
    value : float or None
        What the plan achieves; None without one.
    """
    if status == Status.INFEASIBLE.value:
        return ExitCode.INFEASIBLE
    return ExitCode.NO_PLAN if value is None else ExitCode.ANSWERED


def exit_of_several(answered: bool, hopeless: Iterable[bool]) -> ExitCode:
    """Exit code of answers to several variants or methods.

    Parameters
    ----------
    answered : bool
        Whether one of them has a plan.
    hopeless : iterable of bool
        Of each, whether it is proved to have none.
    """
    if answered:
        return ExitCode.ANSWERED
    return ExitCode.INFEASIBLE if all(hopeless) else ExitCode.NO_PLAN


def load_given_plan(path: str, instance: Instance) -> Plan | Schedule:
    """Read a plan of the kind that the instance's objective takes.

    Parameters
    ----------
    path : str
    instance : Instance

    Raises
    ------
    InputError
        If the file is not such a plan.
    """
    objective = objective_of(instance)
    if instance.workload.requests:
        return load_stream(path, build_requests(instance))
    tables = build_tables(instance)
    return load_period(path, tables) if objective is Objective.PERIOD else load_plan(path, tables)


def save_answer(path: str | None, answer: Answer, instance: Instance) -> None:
    """Write the plan of an answer, if there is one and it is wanted.

    Parameters
    ----------
    path : str or None
        None: not wanted.
    answer : Solution, PeriodSolution or StreamSolution
    instance : Instance
    """
    if path is None:
        return
    if isinstance(answer, Solution):
        if answer.plan is not None:
            save_plan(path, answer.plan, instance.name, answer.tables)
        return
    if answer.schedule is not None:
        save_schedule(path, answer.schedule, instance.name, instance.fingerprint)


def print_answer(answer: Answer, as_json: bool, gantt: bool = False) -> ExitCode:
    """Print an answer.

    Parameters
    ----------
    answer : Solution, PeriodSolution or StreamSolution
    as_json : bool
    gantt : bool
        Also as a chart in letters; of a single prompt only.

    Returns
    -------
    ExitCode
    """
    if not isinstance(answer, Solution):
        from mocap_opt.solving.period import PeriodSolution  # noqa: PLC0415 - loaded with the answer

        if isinstance(answer, PeriodSolution):
            return _print_period(answer.report, as_json)
        return _print_stream(answer.report, as_json)
    if as_json:
        print_json(answer.report.to_dict())
    else:
        render.print_solution(answer)
        if gantt and answer.assessment is not None:
            render.print_gantt(view_run(answer.tables, answer.assessment.plan))
    return exit_code(answer.report.status.value, answer.report.latency_s)


def _print_period(fields: dict[str, Any], as_json: bool) -> ExitCode:
    if as_json:
        print_json(fields)
    else:
        for name, value in _period_rows(fields):
            click.echo(f"{name:<18}{value}")
        if fields["methods"]:
            click.echo(f"\n{'method':<18}{'period':>12}{'requests/s':>12}{'latency':>12}{'W':>5}{'idle':>6}")
        for row in fields["methods"]:
            if row["period_s"] is None:
                click.echo(f"{row['method']:<18}{row['reason']}")
            else:
                click.echo(
                    f"{row['method']:<18}{_seconds(row['period_s']):>12}{_rate(row['requests_per_s']):>12}"
                    f"{_seconds(row['request_latency_s']):>12}"
                    f"{row['slots']:>5}{row['idle_slots']:>6}"
                )
    return exit_code(fields["status"], fields["period_s"])


def _period_rows(fields: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("instance", f"{fields['instance']}  [{fields['fingerprint']}]"),
        ("status", Status(fields["status"]).words),
    ]
    if fields["reason"]:
        rows.append(("reason", fields["reason"]))
    if fields["period_s"] is not None:
        by = f", by {fields['found_by']}" if fields["found_by"] else ""
        unsteady = "" if fields["event_steady"] else "not proved to repeat"
        rows += [
            ("period", f"{_seconds(fields['period_s'])}  ({fields['execution']}{by})"),
            ("  lockstep", _seconds(fields["lockstep_period_s"])),
            ("  event-driven", unsteady or _seconds(fields["event_period_s"])),
            ("requests per s", _rate(fields["requests_per_s"])),
            ("  each takes", _seconds(fields["request_latency_s"])),
            ("W", f"{fields['slots']} slots: {fields['chunks']} chunks, {fields['idle_slots']} idle"),
        ]
    if fields["lower_bound_s"] is not None:
        evidence = f"{fields['bound_name']}, {fields['bound_evidence']}"
        rows.append(("lower bound", f"{_seconds(fields['lower_bound_s'])}  ({evidence})"))
    for name, key in (("gap", "gap"), ("lockstep gap", "lockstep_gap")):
        rows.append((name, format_percent(fields[key])))
    rows += [("note", note) for note in fields["notes"]]
    return [*rows, ("time", f"{fields['runtime_s']:.2f} s")]


def _seconds(value: float) -> str:
    return f"{value:.6g} s"


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.5g}"


def _print_stream(report: StreamReport, as_json: bool) -> ExitCode:
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
            # Of another objective the bound and the gap stand with its own figure.
            own = (("lower bound", bound), ("gap", format_percent(report.gap)))
            rows += [
                ("makespan", f"{render.seconds(report.makespan_s)}  ({report.execution})"),
                ("lockstep", render.seconds(report.lockstep_makespan_s)),
                ("event-driven", render.seconds(report.event_makespan_s)),
                *(own if report.objective == Objective.STREAM else ()),
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
    return exit_code(report.status, report.makespan_s)
