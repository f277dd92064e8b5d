"""The log of a solve: a line of JSON for every improvement of plan or bound, and every step that begins."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from mocap_opt.cli.outputs import line_writer, tell_failure
from mocap_opt.errors import InputError, Problem
from mocap_opt.files import parse_json, read_text, source_name
from mocap_opt.messages import MOST_PROBLEMS, show
from mocap_opt.solving import Progress

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
