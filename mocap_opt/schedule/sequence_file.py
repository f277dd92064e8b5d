"""Plans of streams as JSON: order, slots, and a plan for every request.

::

    {"version": 1, "kind": "sequence", "instance": "name", "fingerprint": "0123456789abcdef",
     "requests": [{"request": 2, "slot": 0, "boundaries": [0, 4096, 8192], "homes": []}, ...]}

The entries come in the order in which the requests run; ``request`` counts those of the instance
from 0.  Boundaries and homes are those of `mocap_opt.schedule.plan_file`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from mocap_opt.errors import InputError, Problem
from mocap_opt.files import read_json, source_name, write_text_atomically
from mocap_opt.messages import MOST_PROBLEMS, capped, join_path, show
from mocap_opt.schedule.plan_file import MAX_BYTES, VERSION, plan_from_dict, plan_to_dict
from mocap_opt.schedule.requests import Request
from mocap_opt.schedule.schedule import Schedule, ScheduledRequest

_KEYS = ("version", "kind", "instance", "fingerprint", "requests")
_ENTRY = ("request", "slot", "boundaries", "homes")


def sequence_to_dict(
    sequence: Schedule, order: Sequence[int], name: str, fingerprint: str | None
) -> dict[str, Any]:
    """Return a sequence as JSON holds it; `sequence_from_dict` reads it back.

    Parameters
    ----------
    sequence : Schedule
    order : sequence of int
        Which request of the instance each is.
    name, fingerprint : str
        Of the instance.
    """
    entries = []
    for number, request in zip(order, sequence, strict=True):
        plan = plan_to_dict(request.plan, name, request.tables)
        entries.append(
            {
                "request": number,
                "slot": request.slot,
                "boundaries": plan["boundaries"],
                "homes": plan["homes"],
            }
        )
    return {
        "version": VERSION,
        "kind": "sequence",
        "instance": name,
        "fingerprint": fingerprint,
        "requests": entries,
    }


def sequence_from_dict(
    data: Mapping[str, Any], requests: Sequence[Request]
) -> tuple[Schedule, tuple[int, ...]]:
    """Read a sequence of the stream's requests.

    Returns
    -------
    sequence : Schedule
    order : tuple of int
        Which request of the instance each is.

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
    if data.get("kind") != "sequence":
        remedy = "plans of one prompt belong to instances without workload.requests"
        problems.append(Problem("kind", show(data.get("kind")), '"sequence"', remedy))
    entries = data.get("requests")
    if not isinstance(entries, list) or len(entries) != len(requests):
        found = f"{len(entries)} entries" if isinstance(entries, list) else show(entries)
        problems.append(Problem("requests", found, f"a list with the {len(requests)} requests, each once"))
        raise InputError(capped(problems, "plan"))
    scheduled: list[ScheduledRequest] = []
    order: list[int] = []
    for n, entry in enumerate(entries):
        try:
            number, request = _entry(entry, f"requests[{n}]", requests, order)
        except InputError as error:
            problems += error.problems
        else:
            order.append(number)
            scheduled.append(request)
    if problems:
        raise InputError(capped(problems, "plan"))
    return Schedule(tuple(scheduled)), tuple(order)


def _entry(
    entry: object, path: str, requests: Sequence[Request], taken: Sequence[int]
) -> tuple[int, ScheduledRequest]:
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
    request = requests[number]
    parts = {key: entry[key] for key in ("boundaries", "homes") if key in entry}
    try:
        plan = plan_from_dict({"version": VERSION, "kind": "plan", **parts}, request.tables)
    except InputError as error:
        raise InputError(
            [Problem(f"{path}.{p.path}", p.found, p.expected, p.remedy) for p in error.problems]
        ) from None
    return number, ScheduledRequest(request.tables, plan, slot, request.release, request.name)


def load_sequence(
    path: str | os.PathLike[str], requests: Sequence[Request]
) -> tuple[Schedule, tuple[int, ...]]:
    """Read a file of `save_sequence`; returns and raises as `sequence_from_dict`."""
    data = read_json(path, max_bytes=MAX_BYTES)
    try:
        return sequence_from_dict(data, requests)
    except InputError as error:
        source = source_name(path)
        raise InputError(
            [Problem(f"{source}: {p.path}", p.found, p.expected, p.remedy) for p in error.problems]
        ) from None


def save_sequence(
    path: str | os.PathLike[str],
    sequence: Schedule,
    order: Sequence[int],
    name: str,
    fingerprint: str | None,
) -> None:
    """Write a sequence, whole or not at all, one request a line.

    Raises
    ------
    InputError
        If the place cannot be written.
    """
    data = sequence_to_dict(sequence, order, name, fingerprint)
    lines = ",\n    ".join(json.dumps(entry) for entry in data.pop("requests"))
    head = json.dumps(data, indent=2).removesuffix("\n}")
    write_text_atomically(path, f'{head},\n  "requests": [\n    {lines}\n  ]\n}}\n')
