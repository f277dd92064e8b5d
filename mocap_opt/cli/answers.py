"""Answers of every objective: plans read and written, figures printed, exit codes."""

from __future__ import annotations

from collections.abc import Iterable

from mocap_opt.cli import render
from mocap_opt.cli.options import print_json
from mocap_opt.errors import ExitCode
from mocap_opt.instance import Instance
from mocap_opt.instance.objectives import Objective, objective_of
from mocap_opt.pictures.run_view import view_run
from mocap_opt.schedule.plan_file import save_plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.schedule_file import load_schedule, save_schedule
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving import Solution
from mocap_opt.solving.api import answerer_of


def exit_code(answer: Solution) -> ExitCode:
    """Exit code of an answer: a plan, a proof that there is none, or neither."""
    if answer.report.status is Status.INFEASIBLE:
        return ExitCode.INFEASIBLE
    return ExitCode.NO_PLAN if answer.report.value_s is None else ExitCode.ANSWERED


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


def load_given_plan(path: str, instance: Instance) -> Schedule:
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
    return load_schedule(path, lambda data: answerer_of(instance).read(instance, data, None))


def save_answer(path: str | None, answer: Solution, instance: Instance) -> None:
    """Write the plan of an answer, if there is one and it is wanted.

    Parameters
    ----------
    path : str or None
        None: not wanted.
    answer : Solution
    instance : Instance
    """
    if path is None or answer.schedule is None:
        return
    if objective_of(instance) is Objective.LATENCY:
        save_plan(path, answer.schedule.plan, instance.name, answer.tables)
    else:
        save_schedule(path, answer.schedule, instance.name, instance.fingerprint)


def print_answer(answer: Solution, as_json: bool, gantt: bool = False) -> ExitCode:
    """Print an answer.

    Parameters
    ----------
    answer : Solution
    as_json : bool
    gantt : bool
        Also as a chart in letters; of a single prompt only.

    Returns
    -------
    ExitCode
    """
    if as_json:
        print_json(answer.report.to_dict())
    else:
        render.print_solution(answer)
        if gantt and answer.assessment is not None:
            render.print_gantt(view_run(answer.tables, answer.assessment.plan))
    return exit_code(answer)
