"""Plans, logs and lists of chunks, read and written; places for results, refused early; exit codes."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from mocap_opt.errors import ExitCode, InputError, Problem
from mocap_opt.files import (
    parse_json,
    read_text,
    reason_of,
    refusal,
    refuse_special,
    shown_path,
    source_name,
)
from mocap_opt.instance import Instance
from mocap_opt.messages import MOST_PROBLEMS, show
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.plan_layout import decided
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.schedule_file import load_schedule
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving import Progress, Solution
from mocap_opt.solving.api import answerer_of


def require_writable(path: str | os.PathLike[str]) -> None:
    """Refuse a place for a result before long work is done for it.

    Parameters
    ----------
    path : str or path-like
        A file to be written later by `write_text_atomically`.

    Raises
    ------
    InputError
        If its folder is missing or cannot be written, or if it is a folder or a device itself.
    """
    source = shown_path(path)
    if source == "-":
        raise refusal(source, "standard output", "the name of a file", "./- is a file of this name")
    try:
        refuse_special(Path(path))
        folder = Path(path).resolve().parent
        exists, writable = folder.is_dir(), os.access(folder, os.W_OK)
    except (OSError, ValueError, RuntimeError) as error:
        raise refusal(source, reason_of(error), "a place that can be written") from None
    if not exists:
        remedy = "create the directory first"
        raise refusal(source, "no such directory", "a place that can be written", remedy)
    if not writable:
        raise refusal(source, "permission denied", "a place that can be written")


def _has_place(path: str | os.PathLike[str]) -> bool:
    return os.fspath(path) != "-" and "\0" not in os.fspath(path)


def require_outputs(
    outputs: Iterable[str | os.PathLike[str] | None], inputs: Iterable[str | os.PathLike[str]] = ()
) -> None:
    """Refuse places for results that cannot be written, are one another's, or hold what is read.

    Parameters
    ----------
    outputs : iterable of path or None
        None: not wanted.
    inputs : iterable of path

    Raises
    ------
    InputError
        As `require_writable`, or if a file is there twice.
    """
    taken = {os.path.realpath(path): "is read" for path in inputs if _has_place(path)}
    for path in outputs:
        if path is None:
            continue
        require_writable(path)
        source, place = shown_path(path), os.path.realpath(path)
        if place in taken:
            raise refusal(
                source, f"a file that {taken[place]} too", "a file of its own", "choose another name"
            )
        taken[place] = "is written"


@contextmanager
def line_writer(
    path: str | os.PathLike[str], failed: Callable[[str], None]
) -> Iterator[Callable[[str], None]]:
    """Write a file line by line, so that work that is cut short leaves what it had.

    Lines that cannot be written (the disk is full) cost the rest of the file, not the work.

    Parameters
    ----------
    path : path
    failed : callable
        Told why, once, if a line cannot be written.

    Yields
    ------
    callable
        To be given each line, with its end.

    Raises
    ------
    InputError
        If the file cannot be opened.
    """
    require_writable(path)
    source = shown_path(path)
    try:
        # Without a buffer: what failed once must not be tried again at the end.
        stream = open(path, "wb", buffering=0)  # noqa: SIM115 - closed below
    except OSError as error:
        raise refusal(source, reason_of(error), "a place that can be written") from None
    broken = False

    def write(line: str) -> None:
        nonlocal broken
        if broken:
            return
        whole = stream.tell()
        try:
            data = line.encode()
            while data:
                data = data[stream.write(data) or 0 :]
        except OSError as error:
            broken = True
            with contextlib.suppress(OSError):
                stream.truncate(whole)
            failed(f"{source}: {reason_of(error)}; the file ends there, the work goes on")

    with stream:
        yield write


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as CSV under a header.

    Parameters
    ----------
    rows : iterable of mapping
        Their keys are `columns`.
    columns : sequence of str
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def tell_failure(reason: str) -> None:
    """Say on standard error what could not be written."""
    click.echo(f"mocap-opt: {reason}", err=True)


_NUMBERS = ("elapsed_s", "latency_s", "bound_s", "gap")


def progress_line(progress: Progress) -> str:
    """One line of a log, without its end."""
    return json.dumps(asdict(progress), allow_nan=False)


@contextmanager
def log_progress(path: str | os.PathLike[str] | None) -> Iterator[Callable[[Progress], None]]:
    """Write a log line by line, so that a solve that is cut short leaves what it had.

    Parameters
    ----------
    path : path or None
        None writes nothing.

    Yields
    ------
    callable
        To be told of each `Progress`.
    """
    if path is None:
        yield lambda progress: None
        return
    with line_writer(path, tell_failure) as write:
        yield lambda progress: write(progress_line(progress) + "\n")


def load_progress(path: str | os.PathLike[str]) -> list[Progress]:
    """Read a log.

    Raises
    ------
    InputError
        If the file cannot be read, is empty, or has lines that are not of a log.
    """
    source = source_name(path)
    found: list[Progress] = []
    problems: list[Problem] = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if len(problems) == MOST_PROBLEMS:
            break
        place = f"{source}: line {number}"
        value = parse_json(line, place)
        fits = isinstance(value, dict) and isinstance(value.get("source"), str)
        numbers = {key: value.get(key) for key in _NUMBERS} if fits else {}
        if fits and _finite(numbers["elapsed_s"]) and all(n is None or _finite(n) for n in numbers.values()):
            doing = value.get("doing")
            found.append(
                Progress(**numbers, source=value["source"], doing=doing if isinstance(doing, str) else None)
            )
        else:
            problems.append(Problem(place, show(value), "a line of `mocap-opt solve --log`"))
    if not found and not problems:
        problems.append(Problem(source, "no line", "a log of `mocap-opt solve --log`"))
    if problems:
        raise InputError(problems)
    return found


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


chunk_list_option = click.option(
    "--chunk-list",
    is_flag=True,
    help="Print the lengths of the chunks alone on standard output: tokens, first to last, separated by "
    "commas.  The first one is what engines with a single setting take (SGLang --chunked-prefill-size, "
    "vLLM and ATOM --max-num-batched-tokens).",
)


def print_chunk_list(plan: Plan | None, reason: str | None) -> None:
    """Print the lengths of chunks alone on standard output.

    Parameters
    ----------
    plan : Plan or None
    reason : str or None
        Why there is no plan, which goes to standard error.
    """
    if plan is None:
        click.echo(f"mocap-opt: no chunks to list: {reason or 'no plan found'}", err=True)
    else:
        click.echo(",".join(str(b - a) for a, b in pairwise(plan.boundaries)))


def refuse_with_chunk_list(asked: bool, others: dict[str, bool]) -> None:
    """Refuse what would print beside the list, or has no single list.

    Parameters
    ----------
    asked : bool
        Whether the list is wanted.
    others : dict of str to bool
        Options and other causes, and whether they are there.

    Raises
    ------
    InputError
        Listing those that are.
    """
    found = [name for name, there in others.items() if asked and there]
    if found:
        raise InputError(
            [Problem("--chunk-list", f"{name} with it", "only one of the two") for name in found]
        )


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
    return load_schedule(path, lambda data: answerer_of(decided(instance, data)).read(data))


def save_answer(path: str | None, answer: Solution) -> None:
    """Write the plan of an answer, if there is one and it is wanted.

    Parameters
    ----------
    path : str or None
        None: not wanted.
    answer : Solution
    """
    if path is not None and (answer.schedule is not None or answer.assignment is not None):
        answer.save(path)


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
