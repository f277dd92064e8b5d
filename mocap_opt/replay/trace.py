"""An event-driven run as a trace that Perfetto and chrome://tracing open.

Format: Trace Event Format, JSON object form (complete events ``X``, counters ``C``, flow events
``s`` and ``f``, metadata ``M``).  Times are in microseconds, rounded to a picosecond; the numbers
behind them are exact in `mocap_opt.replay.event.EventReplay`.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

from mocap_opt.files import write_text_atomically
from mocap_opt.replay.activity import Activity, event_activity
from mocap_opt.replay.event import EventReplay, MessageRecord, replay_event
from mocap_opt.replay.transfers import Kind
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.units import format_bandwidth, format_bytes

STAGES, MEMORIES, LINKS, PORTS = 1, 2, 3, 4
"""Process ids: one group of tracks each, shown in this order."""

GROUPS = {STAGES: "stages", MEMORIES: "memories", LINKS: "links", PORTS: "memory ports"}

PICOSECOND = Fraction(1, 10**12)

Event = dict[str, Any]
Timed = tuple[int, Event]
"""An event and its time, picoseconds."""


def write_trace(
    path: str | os.PathLike[str], tables: Tables, plan: Plan, fingerprint: str | None = None
) -> None:
    """Run a feasible plan without barriers and write the trace, whole or not at all.

    Parameters
    ----------
    path : path
    tables : Tables
    plan : Plan
    fingerprint : str, optional
        Of the instance, for people who find the file.

    Raises
    ------
    InputError
        If the place cannot be written.
    ReplayError, ValueError
        If the plan is not feasible.
    """
    trace = trace_events(tables, plan, replay_event(tables, plan, log=True))
    trace["otherData"]["fingerprint"] = fingerprint
    events = ",\n".join(json.dumps(event, allow_nan=False) for event in trace.pop("traceEvents"))
    head = json.dumps(trace, indent=1, allow_nan=False).removesuffix("\n}")
    write_text_atomically(path, f'{head},\n "traceEvents": [\n{events}\n]}}\n')


def trace_events(tables: Tables, plan: Plan, replay: EventReplay) -> dict[str, Any]:
    """Tracks of a run.

    Parameters
    ----------
    tables : Tables
        The tables the run was made with.
    plan : Plan
        The plan that was run.
    replay : EventReplay
        Recorded with ``log=True``.

    Returns
    -------
    dict
        To be written as JSON; after the names, events are in the order of time.

        - A track per stage: a slice for the compute of every chunk and one for every wait, named for
          what is waited for; arrows for activations.  Before a stage's first chunk has arrived and
          after its last has ended the track is empty.
        - A counter per memory, bytes held; per link and memory port that was used, bytes/s.

    Raises
    ------
    ValueError
        If the run was not recorded.
    """
    clock = _Picoseconds(tables)
    timed = [
        *_slices(tables, plan, replay, clock),
        *_arrows(replay, clock),
        *_held(tables, replay, clock),
        *_rates(tables, replay.recorded(), clock),
    ]
    events = [{**event, "ts": at / 10**6} for at, event in sorted(timed, key=lambda item: item[0])]
    return {
        "displayTimeUnit": "ns",
        "otherData": {
            "instance": tables.name,
            "execution": "event-driven",
            "latency_s": tables.seconds(replay.latency),
            "tick_s": float(tables.tick_s),
            "message_ends_rounded": replay.rounded,
        },
        "traceEvents": [*_names(tables), *events],
    }


class _Picoseconds:
    """Ticks as picoseconds."""

    def __init__(self, tables: Tables) -> None:
        self._tick = tables.tick_s / PICOSECOND

    def __call__(self, ticks: Fraction) -> int:
        return int(ticks * self._tick + Fraction(1, 2))


def _names(tables: Tables) -> list[Event]:
    found: list[tuple[str, int, int, dict[str, str | int]]] = []
    for pid, group in GROUPS.items():
        found.append(("process_name", pid, 0, {"name": group}))
        found.append(("process_sort_index", pid, 0, {"sort_index": pid}))
    for i in range(tables.stages):
        found.append(("thread_name", STAGES, i, {"name": f"stage {i}"}))
        found.append(("thread_sort_index", STAGES, i, {"sort_index": i}))
    return [{"ph": "M", "name": what, "pid": pid, "tid": tid, "args": args} for what, pid, tid, args in found]


def _slices(tables: Tables, plan: Plan, replay: EventReplay, clock: _Picoseconds) -> Iterator[Timed]:
    """What every stage does: slices of a track never overlap."""
    for interval in event_activity(Schedule.of(tables, plan), replay):
        begin, end = clock(interval.start), clock(interval.end)
        args: dict[str, Any] = {"chunk": interval.chunk}
        if interval.activity is Activity.COMPUTE:
            name, category = f"chunk {interval.chunk}", "compute"
            first, last = plan.boundaries[interval.chunk : interval.chunk + 2]
            args |= {"first token": first, "tokens": last - first}
        else:
            name, category = interval.activity.value, "wait"
            if interval.cause:
                name = f"{name}: {interval.cause}"
        event = {"ph": "X", "name": name, "cat": category, "pid": STAGES, "tid": interval.stage}
        yield begin, {**event, "dur": (end - begin) / 10**6, "args": args}


def _arrows(replay: EventReplay, clock: _Picoseconds) -> Iterator[Timed]:
    """Activations, from a chunk on one stage to the same chunk on the next."""
    for i, (sender, receiver) in enumerate(pairwise(replay.start)):
        for j, arrives in enumerate(receiver):
            shared = {"cat": "activations", "name": "activations", "id": i * len(receiver) + j, "pid": STAGES}
            # Arrows hang on slices, so this one begins just before the end of the chunk's compute.
            leaves = max(clock(sender[j]), clock(replay.compute_end[i][j]) - 1)
            yield leaves, {"ph": "s", "tid": i, **shared}
            yield clock(arrives), {"ph": "f", "bp": "e", "tid": i + 1, **shared}


def _held(tables: Tables, replay: EventReplay, clock: _Picoseconds) -> Iterator[Timed]:
    """Bytes in every memory, whenever they change."""
    for k, points in enumerate(replay.memory):
        name = f"{tables.memory_name(k)} of {format_bytes(int(tables.capacity[k]))}"
        yield from _counter(MEMORIES, name, "bytes", ((clock(at), held) for at, held in points))


def _rates(tables: Tables, log: Sequence[MessageRecord], clock: _Picoseconds) -> Iterator[Timed]:
    """Total rate on every link and port, whenever it changes."""
    changes: dict[tuple[int, int], dict[Fraction, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    for message in log:
        before = Fraction(0)
        for at, rate in [*((at, rate) for at, rate, _ in message.rates), (message.end, Fraction(0))]:
            for track, part in _uses(tables, message):
                changes[track][at] += part * (rate - before)
            before = rate
    for (pid, n), steps in sorted(changes.items()):
        rates = tables.link_rate if pid == LINKS else tables.port_rate
        most = format_bandwidth(int(rates[n]) / tables.tick_s)
        name = f"link {tables.links[n]}" if pid == LINKS else f"port of {tables.memory_name(n)}"
        total, points = Fraction(0), []
        for at, change in sorted(steps.items()):
            total += change
            points.append((clock(at), float(total / tables.tick_s)))
        yield from _counter(pid, f"{name} of {most}", "bytes/s", points)


def _uses(tables: Tables, message: MessageRecord) -> list[tuple[tuple[int, int], Fraction]]:
    """Links and ports that a message loads, each with the part of its rate."""
    route = message.route
    uses = [] if route.port is None else [((PORTS, route.port), Fraction(1))]
    if route.kind is not Kind.OWN:
        for e, share in enumerate(tables.share[:, route.source, route.destination].tolist()):
            if share:
                uses.append(((LINKS, e), Fraction(share, tables.share_denominator)))
    return uses


def _counter(pid: int, name: str, unit: str, points: Iterable[tuple[int, float]]) -> Iterator[Timed]:
    """Values of a counter; of several at one time the last, and none that changes nothing."""
    shown: float | None = None
    for at, value in dict(points).items():
        if value != shown:
            yield at, {"ph": "C", "name": name, "pid": pid, "tid": 0, "args": {unit: value}}
            shown = value
