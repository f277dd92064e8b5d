"""Assignments as JSON: of every pipeline its requests in order, slots, and a plan for each; never times.

A pipeline's list holds what a stream's file does (`mocap_opt.schedule.schedule_file`); a request that is in
no list is rejected::

    {"version": 1, "kind": "assignment", "instance": "name", "fingerprint": "0123456789abcdef",
     "pipelines": [[{"request": 2, "slot": 0, "boundaries": [0, 4096, 8192], "homes": []}, ...], ...]}
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from mocap_opt.errors import InputError, Problem
from mocap_opt.files import write_text_atomically
from mocap_opt.messages import MOST_PROBLEMS, capped, join_path, show
from mocap_opt.schedule.assignment import Assignment
from mocap_opt.schedule.plan_file import VERSION
from mocap_opt.schedule.requests import Request
from mocap_opt.schedule.schedule import Schedule, ScheduledRequest
from mocap_opt.schedule.schedule_file import schedule_to_dict, stream_entry

_KEYS = ("version", "kind", "instance", "fingerprint", "quantum", "page", "pipelines")
KIND = "assignment"


def assignment_to_dict(assignment: Assignment, name: str, fingerprint: str | None) -> dict[str, Any]:
    """Return an assignment as JSON holds it.

    Parameters
    ----------
    assignment : Assignment
    name, fingerprint : str
        Of the instance.
    """
    head = {"version": VERSION, "kind": KIND, "instance": name, "fingerprint": fingerprint}
    lists = [
        [] if stream is None else schedule_to_dict(stream, name, fingerprint)["requests"]
        for stream in assignment.pipelines
    ]
    return {**head, "pipelines": lists}


def assignment_from_dict(data: Mapping[str, Any], requests: Sequence[Request]) -> Assignment:
    """Read an assignment of requests, each at most once.

    Parameters
    ----------
    data : mapping
        What a file of `save_assignment` holds.
    requests : sequence of Request
        In the order of the instance.

    Raises
    ------
    InputError
        Listing the problems.
    """
    known = f"no such key; the keys here are {', '.join(_KEYS)}"
    problems = [
        Problem(join_path(key), show(data[key]), known, "remove it")
        for key in list(data)[:MOST_PROBLEMS]
        if key not in _KEYS
    ]
    if data.get("version") != VERSION or isinstance(data.get("version"), bool):
        problems.append(Problem("version", show(data.get("version")), str(VERSION)))
    if data.get("kind") != KIND:
        remedy = "plans of one pipeline belong to instances with one"
        problems.append(Problem("kind", show(data.get("kind")), f'"{KIND}"', remedy))
    lists = data.get("pipelines")
    if not isinstance(lists, list) or not all(isinstance(each, list) for each in lists):
        expected = "a list of requests for every pipeline, [] where it has none"
        problems.append(Problem("pipelines", show(lists), expected))
        raise InputError(capped(problems, "plan"))
    streams: list[Schedule | None] = []
    taken: list[int] = []
    for p, entries in enumerate(lists):
        scheduled: list[ScheduledRequest] = []
        for n, entry in enumerate(entries):
            try:
                scheduled.append(stream_entry(entry, f"pipelines[{p}][{n}]", requests, taken))
                taken.append(scheduled[-1].number)
            except InputError as error:
                problems += error.problems
            if len(problems) > MOST_PROBLEMS:
                raise InputError(capped(problems, "plan"))
        streams.append(Schedule(tuple(scheduled)) if scheduled else None)
    if problems:
        raise InputError(capped(problems, "plan"))
    return Assignment(tuple(streams))


def save_assignment(
    path: str | os.PathLike[str],
    assignment: Assignment,
    name: str,
    fingerprint: str | None,
    grid: Mapping[str, int] | None = None,
) -> None:
    """Write an assignment, whole or not at all, one request a line.

    Parameters
    ----------
    path : path
    assignment : Assignment
    name, fingerprint : str
        Of the instance.
    grid : mapping, optional
        `Instance.grid_by_rule`, written along.

    Raises
    ------
    InputError
        If the place cannot be written.
    """
    data = {**assignment_to_dict(assignment, name, fingerprint), **(grid or {})}
    lists = [
        "[" + ",".join(f"\n      {json.dumps(entry)}" for entry in entries) + "]"
        for entries in data.pop("pipelines")
    ]
    head = json.dumps(data, indent=2).removesuffix("\n}")
    write_text_atomically(path, f'{head},\n  "pipelines": [\n    ' + ",\n    ".join(lists) + "\n  ]\n}\n")
