"""A schedule as work for a foreign simulator: resources, flows, computes and precedence, in one JSON file.

What each entry means is said in ``formulations/replay.md``.  Times are ticks; those that are no whole number
are texts such as ``"7/2"``.  The file also holds the starts and ends of our own event-driven replay, rounded
to floating point, so that a reader can compare.
"""

from __future__ import annotations

import json
import os
from fractions import Fraction
from typing import Any

from mocap_opt.files import write_text_atomically
from mocap_opt.replay.event import run_event
from mocap_opt.replay.max_min_fairness import Resources
from mocap_opt.replay.run import loop_length
from mocap_opt.replay.transfers import Messages, schedule_messages
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.tables.cost_tables import Tables

VERSION = 1


def replay_to_dict(schedule: Schedule, name: str, fingerprint: str | None) -> dict[str, Any]:
    """Spell out the event-driven execution of a schedule for any simulator with max-min fair sharing.

    Parameters
    ----------
    schedule : Schedule
        Feasible, its requests once; of a period take the first ones, see
        `mocap_opt.schedule.schedule.identical_requests`.
    name, fingerprint : str
        Of the instance.

    Returns
    -------
    dict
        As JSON holds it: ``resources``, ``routes``, ``chunks``, ``tasks`` and ``expected``.
    """
    tables, messages = schedule.machine, schedule_messages(schedule)
    replay = run_event(schedule)
    stages, chunks = messages.send.shape
    return {
        "version": VERSION,
        "kind": "replay",
        "instance": name,
        "fingerprint": fingerprint,
        "tick_s": str(tables.tick_s),
        "stages": stages,
        "chunks": chunks,
        "queue_depth": tables.queue_depth,
        "loop": loop_length(stages) if tables.loop else None,
        "hop_ticks": [int(tables.hop_ticks[i, i + 1]) for i in range(stages - 1)],
        "release": list(messages.release),
        **_network(tables, messages),
        "tasks": [[_task(messages, i, j) for j in range(chunks)] for i in range(stages)],
        "expected": {
            "start": [[float(time) for time in row] for row in replay.start],
            "end": [[float(time) for time in row] for row in replay.end],
        },
    }


def _network(tables: Tables, messages: Messages) -> dict[str, Any]:
    """Links and ports with their capacities, and what a byte on every route puts on them.

    Links carry parts of messages, counted in whole parts of which `share_denominator` make a byte: their
    capacity is in these parts as well.
    """
    load = Resources(tables, messages.routes).load
    links, unit = len(tables.links), tables.share_denominator
    names = [*(f"link {name}" for name in tables.links), *map(tables.memory_name, range(tables.memories))]
    rates = [*(int(rate) * unit for rate in tables.link_rate), *map(int, tables.port_rate)]
    return {
        "share_denominator": unit,
        "resources": [
            {"name": name, "kind": "link" if n < links else "port", "capacity": rate}
            for n, (name, rate) in enumerate(zip(names, rates, strict=True))
        ],
        "routes": [
            {
                "kind": route.kind.value,
                "source": route.source,
                "destination": route.destination,
                "uses": [[n, part] for n, part in enumerate(column) if part],
            }
            for route, column in zip(messages.routes, load.T.tolist(), strict=True)
        ],
    }


def _task(messages: Messages, stage: int, chunk: int) -> dict[str, Any]:
    """One chunk on one stage."""
    return {
        "compute": _plain(messages.compute[stage][chunk]),
        "at_start": [list(message) for message in messages.released[stage][chunk]],
        "at_end": None if (leaving := messages.activations[stage][chunk]) is None else list(leaving),
        "send_at_least": int(messages.send[stage, chunk]),
        "after": [list(each) for each in messages.admission_predecessors[stage][chunk]],
    }


def _plain(time: Fraction) -> int | str:
    return time.numerator if time.denominator == 1 else str(time)


def save_replay(path: str | os.PathLike[str], data: dict[str, Any]) -> None:
    """Write the file, whole or not at all, one resource, route and stage a line.

    Parameters
    ----------
    path : path
    data : dict
        From `replay_to_dict`.

    Raises
    ------
    InputError
        If the place cannot be written.
    """
    parts = []
    for key, value in data.items():
        text = json.dumps(value)
        if key in ("resources", "routes", "tasks"):
            text = "[" + ",".join(f"\n    {json.dumps(each)}" for each in value) + "\n  ]"
        parts.append(f"  {json.dumps(key)}: {text}")
    write_text_atomically(path, "{\n" + ",\n".join(parts) + "\n}\n")
