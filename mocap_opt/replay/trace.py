"""An event-driven run as a trace that Perfetto and chrome://tracing open.

Format: Trace Event Format, JSON object form (complete events ``X``, counters ``C``, flow events
``s`` and ``f``, metadata ``M``); times in microseconds.
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from typing import Any

from mocap_opt.replay.event import EventReplay, MessageRecord
from mocap_opt.replay.messages import Kind
from mocap_opt.tables import Tables

STAGES, LINKS, MEMORIES, PORTS = 1, 2, 3, 4
"""Process ids: one group of tracks each."""

Event = dict[str, Any]


def trace_events(tables: Tables, replay: EventReplay) -> dict[str, Any]:
    """One track per stage, counters per link and memory.

    Parameters
    ----------
    tables : Tables
        The tables the run was made with.
    replay : EventReplay
        Recorded with ``log=True``.

    Returns
    -------
    dict
        To be written as JSON.  Stages show the compute of every chunk, what follows it until the
        chunk ends (waiting for KV), and arrows for activations; counters show the rate on every
        link and port that was used, in bytes/s, and the bytes in every memory.

    Raises
    ------
    ValueError
        If the run was not recorded.
    """
    if replay.log is None:
        raise ValueError("the run was not recorded: replay with log=True")
    tick_us = tables.tick_s * 10**6
    events = _names(tables)
    events += _chunks(replay, tick_us)
    events += _arrows(replay, tick_us)
    events += _rates(tables, replay.log, replay.latency, tick_us)
    for k, points in enumerate(replay.memory):
        events += [_counter(MEMORIES, f"memory {k}", at * tick_us, "bytes", held) for at, held in points]
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {
            "instance": tables.name,
            "latency_s": tables.seconds(replay.latency),
            "tick_s": float(tables.tick_s),
        },
    }


def _names(tables: Tables) -> list[Event]:
    groups = {STAGES: "stages", LINKS: "links", MEMORIES: "memories", PORTS: "memory ports"}
    events = [
        {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": name}}
        for pid, name in groups.items()
    ]
    for i in range(tables.stages):
        args = {"name": f"stage {i}"}
        events.append({"ph": "M", "name": "thread_name", "pid": STAGES, "tid": i, "args": args})
    return events


def _chunks(replay: EventReplay, tick_us: Fraction) -> list[Event]:
    events = []
    for i, row in enumerate(replay.start):
        for j, start in enumerate(row):
            computed, end = replay.compute_end[i][j], replay.end[i][j]
            events.append(_slice(i, f"chunk {j}", start, computed, tick_us))
            if end > computed:
                events.append(_slice(i, "KV", computed, end, tick_us))
    return events


def _arrows(replay: EventReplay, tick_us: Fraction) -> list[Event]:
    """From the end of a chunk on one stage to its start on the next."""
    events: list[Event] = []
    chunks = len(replay.start[0])
    for i in range(len(replay.start) - 1):
        for j in range(chunks):
            shared = {"cat": "activations", "name": f"chunk {j}", "id": i * chunks + j, "pid": STAGES}
            events.append({"ph": "s", "tid": i, "ts": float(replay.end[i][j] * tick_us), **shared})
            arrives = float(replay.start[i + 1][j] * tick_us)
            events.append({"ph": "f", "bp": "e", "tid": i + 1, "ts": arrives, **shared})
    return events


def _rates(
    tables: Tables, log: tuple[MessageRecord, ...], latency: Fraction, tick_us: Fraction
) -> list[Event]:
    """Total rate on every link and port, whenever it changes."""
    steps: dict[tuple[int, str], dict[Fraction, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    for message in log:
        route = message.route
        uses = [] if route.port is None else [((PORTS, f"port {route.port}"), Fraction(1))]
        if route.kind is not Kind.OWN:
            for e, share in enumerate(tables.share[:, route.source, route.destination].tolist()):
                if share:
                    part = Fraction(share, tables.share_denominator)
                    uses.append(((LINKS, f"link {tables.links[e]}"), part))
        before = Fraction(0)
        for at, rate in [*((at, rate) for at, rate, _ in message.rates), (message.end, Fraction(0))]:
            for track, part in uses:
                steps[track][at] += part * (rate - before)
            before = rate
    events = []
    for (pid, name), changes in sorted(steps.items()):
        total = Fraction(0)
        for at, change in sorted(changes.items()):
            total += change
            if change and at <= latency:
                events.append(_counter(pid, name, at * tick_us, "bytes/s", float(total / tables.tick_s)))
    return events


def _slice(stage: int, name: str, start: Fraction, end: Fraction, tick_us: Fraction) -> Event:
    times = {"ts": float(start * tick_us), "dur": float((end - start) * tick_us)}
    return {"ph": "X", "cat": "stage", "name": name, "pid": STAGES, "tid": stage, **times}


def _counter(pid: int, name: str, at: Fraction, unit: str, value: float) -> Event:
    return {"ph": "C", "name": name, "pid": pid, "tid": 0, "ts": float(at), "args": {unit: value}}
