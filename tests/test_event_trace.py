"""The trace of an event-driven run: valid, complete, and the same numbers as the run."""

import json
from collections import defaultdict

import pytest
from builders import make_tables

from mocap_opt.plan import Home, Plan
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.trace import trace_events

# Worked out in test_event_contention: chunks end at 1, 4 | 3, 6 | 5, 8; link 1>2 is full from 1 to 4.
TABLES = make_tables(3, 3, linear=1, link_rate={"1>2": 1})
PLAN = Plan((0, 1, 3), (Home(0, 1, 2, 2), Home(1, 0, 2, 1)))


def test_tracks_slices_and_counters():
    replay = replay_event(TABLES, PLAN, log=True)
    trace = json.loads(json.dumps(trace_events(TABLES, replay)))
    events = trace["traceEvents"]
    # A tick is a nanosecond, a trace counts microseconds.
    slices = [(e["tid"], e["name"], e["ts"], e["dur"]) for e in events if e["ph"] == "X"]
    nano = pytest.approx
    assert slices[:4] == [
        (0, "chunk 0", 0, nano(0.001)),
        (0, "chunk 1", nano(0.001), nano(0.002)),
        (0, "KV", nano(0.003), nano(0.001)),
        (1, "chunk 0", nano(0.001), nano(0.001)),
    ]
    names = [e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"]
    assert names == ["stage 0", "stage 1", "stage 2"]
    counters = defaultdict(list)
    for e in events:
        if e["ph"] == "C":
            counters[e["name"]].append((e["ts"], *e["args"].values()))
    # 1 byte a tick is 1e9 bytes/s.
    assert counters["link 1>2"] == [(nano(0.001), nano(1e9)), (nano(0.004), 0)]
    # 2 bytes of stage 0 and 1 of stage 1 at 1; stage 0 is through at 4 as stage 2 brings 1; at 6
    # stage 1's goes and stage 2 brings 2.
    assert counters["memory 2"] == [
        (0, 0),
        (nano(0.001), 3),
        (nano(0.004), 2),
        (nano(0.006), 3),
        (nano(0.008), 0),
    ]
    arrows = [e for e in events if e["ph"] in "sf"]
    assert len(arrows) == 2 * 2 * 2
    assert trace["otherData"]["latency_s"] == pytest.approx(8e-9)


def test_needs_a_recorded_run():
    with pytest.raises(ValueError, match="log=True"):
        trace_events(TABLES, replay_event(TABLES, PLAN))
