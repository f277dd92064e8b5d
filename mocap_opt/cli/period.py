"""What `solve` and `evaluate` do where the instance's objective is the period."""

from __future__ import annotations

from typing import Any

import click

from mocap_opt.cli.live import follow
from mocap_opt.cli.options import print_json
from mocap_opt.errors import ExitCode
from mocap_opt.instance import Instance
from mocap_opt.schedule.schedule_file import load_period, save_schedule
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.period import evaluate_period, solve_period
from mocap_opt.tables import build_tables
from mocap_opt.units import format_percent

DEFAULT_TIME_LIMIT_S = 60.0


def solve_for_period(
    instance: Instance,
    method: str,
    *,
    time_limit_s: float | None,
    gap: float,
    seed: int,
    solver: str,
    out: str | None,
    as_json: bool,
) -> ExitCode:
    """Find a periodic plan, print the answer and write the plan.

    Parameters
    ----------
    instance : Instance
    method : str
        A name that `solve` takes.
    time_limit_s, gap, seed, solver, out, as_json
        As for `solve`.

    Raises
    ------
    InputError
        If queues are unbounded.
    """
    limit = DEFAULT_TIME_LIMIT_S if time_limit_s is None else time_limit_s
    solution = follow(
        "bounds on the period",
        lambda stop, line: solve_period(
            instance,
            method,
            solver=solver,
            time_limit_s=limit,
            gap=gap,
            seed=seed,
            callback=line.tell,
            stop=stop,
        ),
    )
    if out is not None and solution.periodic is not None:
        save_schedule(out, solution.periodic, instance.name, instance.fingerprint)
    return _print(solution.report, as_json)


def evaluate_for_period(instance: Instance, path: str, as_json: bool) -> ExitCode:
    """Verify and replay a periodic plan read from a file; parameters as for `solve_for_period`."""
    periodic = load_period(path, build_tables(instance))
    return _print(evaluate_period(instance, periodic).report, as_json)


def _print(fields: dict[str, Any], as_json: bool) -> ExitCode:
    if as_json:
        print_json(fields)
    else:
        for name, value in _rows(fields):
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
    if fields["status"] == Status.INFEASIBLE.value:
        return ExitCode.INFEASIBLE
    return ExitCode.NO_PLAN if fields["period_s"] is None else ExitCode.ANSWERED


def _rows(fields: dict[str, Any]) -> list[tuple[str, str]]:
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
