"""Schedules as JSON: order, slots, and a plan for every request; never times.

A stream, whose entries come in the order in which the requests run (``request`` counts those of the instance
from 0)::

    {"version": 1, "kind": "sequence", "instance": "name", "fingerprint": "0123456789abcdef",
     "requests": [{"request": 2, "slot": 0, "boundaries": [0, 4096, 8192], "homes": []}, ...]}

A period is a plan file with ``"slots"``, the slots from one request to the next.  Boundaries and homes are
those of `mocap_opt.schedule.plan_file`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mocap_opt.errors import InputError, Problem
from mocap_opt.files import read_json, source_name, write_text_atomically
from mocap_opt.messages import MOST_PROBLEMS, capped, join_path, show
from mocap_opt.schedule.plan_file import MAX_BYTES, VERSION, naming, plan_from_dict, plan_to_dict
from mocap_opt.schedule.plan_layout import layout_in, with_compact
from mocap_opt.schedule.requests import Request
from mocap_opt.schedule.schedule import Schedule, ScheduledRequest
from mocap_opt.tables.cost_tables import Tables

_KEYS = ("version", "kind", "instance", "fingerprint", "layout", "quantum", "page", "requests")
_ENTRY = ("request", "slot", "boundaries", "homes")


def schedule_to_dict(schedule: Schedule, name: str, fingerprint: str | None) -> dict[str, Any]:
    """Return a stream or a period as JSON holds it.

    Parameters
    ----------
    schedule : Schedule
    name, fingerprint : str
        Of the instance.
    """
    if schedule.endless:
        return {**plan_to_dict(schedule.plan, name, schedule.machine), "slots": schedule.interval}
    entries = []
    for request in schedule:
        plan = plan_to_dict(request.plan, name, request.tables)
        cut = {key: plan[key] for key in ("boundaries", "homes")}
        entries.append({"request": request.number, "slot": request.slot, **cut})
    head: dict[str, Any] = {
        "version": VERSION,
        "kind": "sequence",
        "instance": name,
        "fingerprint": fingerprint,
    }
    if (layout := schedule.requests[0].plan.layout) is not None:
        head["layout"] = layout.to_dict()
    return {**head, "requests": entries}


def period_from_dict(data: Schedule | Mapping[str, Any], tables: Tables) -> Schedule:
    """Read a plan that is repeated without end, if it is not one already.

    Parameters
    ----------
    data : Schedule or mapping
        A mapping is what a plan file with ``slots`` holds.
    tables : Tables

    Raises
    ------
    InputError
        Listing every problem.
    """
    if isinstance(data, Schedule) and data.endless:
        return data
    if not isinstance(data, Mapping):
        expected = "a schedule with an interval or a mapping"
        raise InputError([Problem("plan", type(data).__name__, expected, "Schedule.of(tables, plan, slots)")])
    slots, problems = data.get("slots"), []
    if isinstance(slots, bool) or not isinstance(slots, int) or slots < 1:
        found = "nothing" if slots is None else show(slots)
        remedy = "the slots between requests; a plan made for the objective period has them"
        problems.append(Problem("slots", found, "a whole number >= 1", remedy))
    try:
        plan = plan_from_dict({key: value for key, value in data.items() if key != "slots"}, tables)
    except InputError as error:
        raise InputError([*problems, *error.problems]) from None
    if problems:
        raise InputError(problems)
    return Schedule.of(tables, plan, slots)


def stream_from_dict(data: Mapping[str, Any], requests: Sequence[Request]) -> Schedule:
    """Read a schedule of a stream's requests, each once.

    Parameters
    ----------
    data : mapping
        What a file of `save_schedule` holds.
    requests : sequence of Request
        In the order of the instance.

    Raises
    ------
    InputError
        Listing the problems.
    """
    problems = [
        Problem(
            join_path(key), show(data[key]), f"no such key; the keys here are {', '.join(_KEYS)}", "remove it"
        )
        for key in list(data)[:MOST_PROBLEMS]
        if key not in _KEYS
    ]
    if data.get("version") != VERSION or isinstance(data.get("version"), bool):
        problems.append(Problem("version", show(data.get("version")), str(VERSION)))
    problems += [
        Problem(key, show(data[key]), "a whole number of tokens")
        for key in ("quantum", "page")
        if key in data and (isinstance(data[key], bool) or not isinstance(data[key], int))
    ]
    if data.get("kind") != "sequence":
        remedy = "plans of one prompt belong to instances without workload.requests"
        problems.append(Problem("kind", show(data.get("kind")), '"sequence"', remedy))
    entries = data.get("requests")
    if not isinstance(entries, list) or len(entries) != len(requests):
        found = f"{len(entries)} entries" if isinstance(entries, list) else show(entries)
        problems.append(Problem("requests", found, f"a list with the {len(requests)} requests, each once"))
        raise InputError(capped(problems, "plan"))
    layout = None
    try:
        layout = layout_in(data)
    except InputError as error:
        problems += error.problems
    scheduled: list[ScheduledRequest] = []
    for n, entry in enumerate(entries):
        try:
            taken = [each.number for each in scheduled]
            scheduled.append(stream_entry(entry, f"requests[{n}]", requests, taken))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(capped(problems, "plan"))
    if layout is not None:
        scheduled = [replace(each, plan=replace(each.plan, layout=layout)) for each in scheduled]
    return Schedule(tuple(scheduled))


def stream_entry(
    entry: object, path: str, requests: Sequence[Request], taken: Sequence[int]
) -> ScheduledRequest:
    """Read one request of a stream.

    Parameters
    ----------
    entry : object
        What the file holds.
    path : str
        Where, for messages.
    requests : sequence of Request
        Of the instance.
    taken : sequence of int
        Requests that were read before.

    Raises
    ------
    InputError
        If it is none, or was read before.
    """
    if not isinstance(entry, dict):
        raise InputError([Problem(path, show(entry), f"an object with {', '.join(_ENTRY)}")])
    unknown = [key for key in entry if key not in _ENTRY]
    if unknown:
        expected = f"no such key; the keys here are {', '.join(_ENTRY)}"
        raise InputError(
            [Problem(f"{path}.{join_path(unknown[0])}", show(entry[unknown[0]]), expected, "remove it")]
        )
    number, slot = entry.get("request"), entry.get("slot")
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(requests):
        expected = f"a request from 0 to {len(requests) - 1}"
        raise InputError([Problem(f"{path}.request", show(number), expected)])
    if number in taken:
        raise InputError([Problem(f"{path}.request", f"{number} again", "each request once")])
    if isinstance(slot, bool) or not isinstance(slot, int) or not 0 <= slot < 2**31:
        raise InputError([Problem(f"{path}.slot", show(slot), "a slot, a whole number from 0")])
    parts = {key: entry[key] for key in ("boundaries", "homes") if key in entry}
    with naming(f"{path}."):
        plan = plan_from_dict({"version": VERSION, "kind": "plan", **parts}, requests[number].tables)
    return requests[number].scheduled(plan, slot, number)


def load_schedule(path: str | os.PathLike[str], read: Callable[[Any], Schedule]) -> Schedule:
    """Read a file of `save_schedule`; raises as `read`, each problem with the file's name.

    Parameters
    ----------
    path : path
    read : callable
        What makes a schedule of what the file holds, such as `stream_from_dict` or `period_from_dict`.
    """
    data = read_json(path, max_bytes=MAX_BYTES)
    with naming(f"{source_name(path)}: "):
        return read(data)


def save_schedule(
    path: str | os.PathLike[str],
    schedule: Schedule,
    name: str,
    fingerprint: str | None,
    grid: Mapping[str, int] | None = None,
) -> None:
    """Write a stream or a period, whole or not at all, one request (or home) a line.

    Parameters
    ----------
    path : path
    schedule : Schedule
    name, fingerprint : str
        Of the instance.
    grid : mapping, optional
        `Instance.grid_by_rule`, written along.

    Raises
    ------
    InputError
        If the place cannot be written.
    """
    data = {**schedule_to_dict(schedule, name, fingerprint), **(grid or {})}
    key = "homes" if schedule.endless else "requests"
    lines = ",".join(f"\n    {json.dumps(entry)}" for entry in data.pop(key))
    head = with_compact(data, "layout").removesuffix("\n}")
    write_text_atomically(path, f'{head},\n  "{key}": [{lines}\n  ]\n}}\n')
