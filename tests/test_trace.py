"""The trace of an event-driven run: valid, complete, and the same numbers as the run."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from builders import make_tables
from command_line import exit_code
from random_plans import random_plan
from random_tables import random_instances

from mocap_opt.errors import InputError
from mocap_opt.instance import load_instance
from mocap_opt.replay.accounting import StageAccount
from mocap_opt.replay.event import EventReplay, replay_event
from mocap_opt.replay.trace import trace_events, write_trace
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

INSTANCES = Path(__file__).resolve().parent.parent / "instances"
POOLED = INSTANCES / "tiny-pooled.json"

# Worked out in test_event_contention: chunks end at 1, 4 | 3, 6 | 5, 8; link 1>2 is full from 1 to 4.
TABLES = make_tables(3, 3, linear=1, link_rate={"1>2": 1}, capacity=10**6)
PLAN = Plan((0, 1, 3), (Home(0, 1, 2, 2), Home(1, 0, 2, 1)))


def traced(tables: Tables, plan: Plan) -> tuple[EventReplay, dict]:
    replay = replay_event(tables, plan, log=True)
    return replay, json.loads(json.dumps(trace_events(tables, plan, replay), allow_nan=False))


def picoseconds(event: dict, key: str) -> int:
    """A time of the trace, as the integer it was made from."""
    return round(event[key] * 10**6)


def stage_slices(trace: dict) -> dict[int, list[dict]]:
    """Slices by stage, in the order of the file."""
    found = defaultdict(list)
    for event in trace["traceEvents"]:
        if event["ph"] == "X":
            found[event["tid"]].append(event)
    return found


def counters(trace: dict) -> dict[str, list[tuple]]:
    found = defaultdict(list)
    for event in trace["traceEvents"]:
        if event["ph"] == "C":
            ((unit, value),) = event["args"].items()
            found[event["name"], unit].append((event["ts"], value))
    return found


# --- a case worked by hand ---------------------------------------------------------------------


def test_slices_and_names_of_a_case_worked_by_hand():
    _, trace = traced(TABLES, PLAN)
    shown = {i: [(e["name"], e["ts"], e["dur"]) for e in s] for i, s in stage_slices(trace).items()}
    # A tick is a nanosecond, a trace counts microseconds.
    assert shown == {
        0: [
            ("chunk 0", 0, 0.001),
            ("chunk 1", 0.001, 0.002),
            ("waiting for KV traffic: link 1>2", 0.003, 0.001),
        ],
        1: [
            ("chunk 0", 0.001, 0.001),
            ("waiting for KV traffic: link 1>2", 0.002, 0.001),
            ("waiting for activations", 0.003, 0.001),
            ("chunk 1", 0.004, 0.002),
        ],
        2: [
            ("waiting for admission: stage 0", 0.003, 0.001),
            ("chunk 0", 0.004, 0.001),
            ("waiting for activations", 0.005, 0.001),
            ("chunk 1", 0.006, 0.002),
        ],
    }
    first = stage_slices(trace)[0][1]
    assert (first["cat"], first["args"]) == ("compute", {"chunk": 1, "first token": 1, "tokens": 2})
    assert trace["otherData"]["latency_s"] == pytest.approx(8e-9)
    assert trace["otherData"]["execution"] == "event-driven"


def test_counters_of_a_case_worked_by_hand():
    _, trace = traced(TABLES, PLAN)
    found = counters(trace)
    # 1 byte a tick is 1e9 bytes/s.
    assert found["link 1>2 of 1 GB/s", "bytes/s"] == [(0.001, 1e9), (0.004, 0)]
    # 2 bytes of stage 0 and 1 of stage 1 at 1; stage 0 is through at 4 as stage 2 brings 1; at 6
    # stage 1's goes and stage 2 brings 2.
    held = [(0, 0), (0.001, 3), (0.004, 2), (0.006, 3), (0.008, 0)]
    assert found["memory 2 of 1 MB", "bytes"] == held
    # Stage 0's second chunk and stage 1's first write to memory 2.
    assert found["port of memory 2 of 1,000 EB/s", "bytes/s"] == [(0.001, 1e9), (0.004, 0)]


def test_tracks_are_named_and_in_order():
    _, trace = traced(TABLES, PLAN)
    named = {(e["name"], e["pid"], e["tid"]): e["args"] for e in trace["traceEvents"] if e["ph"] == "M"}
    for i in range(3):
        assert named["thread_name", 1, i] == {"name": f"stage {i}"}
        assert named["thread_sort_index", 1, i] == {"sort_index": i}
    groups = [named["process_name", pid, 0]["name"] for pid in (1, 2, 3, 4)]
    assert groups == ["stages", "memories", "links", "memory ports"]


def test_needs_a_recorded_run():
    with pytest.raises(ValueError, match="log=True"):
        trace_events(TABLES, PLAN, replay_event(TABLES, PLAN))


# --- any run -----------------------------------------------------------------------------------


def assert_well_formed(tables: Tables, plan: Plan) -> None:
    """What every viewer needs, and the run's own accounts to the picosecond."""
    replay, trace = traced(tables, plan)
    tick = tables.tick_s * 10**12
    events = trace["traceEvents"]
    named = [e for e in events if e["ph"] == "M"]
    assert events[: len(named)] == named
    times = [picoseconds(e, "ts") for e in events[len(named) :]]
    assert times == sorted(times)
    assert {e["ph"] for e in events} <= set("MXCsf")
    slices = stage_slices(trace)
    assert sorted(slices) == list(range(tables.stages))
    for i, row in slices.items():
        ends = [picoseconds(e, "ts") + picoseconds(e, "dur") for e in row]
        # Nothing overlaps, and no time between the first chunk and the last is unaccounted for.
        assert [picoseconds(e, "ts") for e in row[1:]] == ends[:-1]
        assert ends[-1] == picosecond(replay.end[i][-1] * tick)
        assert_accounts(row, replay.accounts[i], tick)
    assert_arrows(slices, events, plan)
    for values in counters(trace).values():
        assert all(a[0] < b[0] and a[1] != b[1] for a, b in pairwise(values))
    for (name, unit), values in counters(trace).items():
        if unit == "bytes/s":
            assert values[-1][1] == 0, name


def picosecond(time: Fraction) -> int:
    return int(time + Fraction(1, 2))


def assert_accounts(row: list[dict], account: StageAccount, tick: Fraction) -> None:
    spent: dict[str, int] = defaultdict(int)
    for event in row:
        kind = "computing" if event["cat"] == "compute" else event["name"].split(":")[0]
        spent[kind] += picoseconds(event, "dur")
    expected = {
        "computing": account.computing,
        "waiting for KV traffic": account.kv_total,
        "waiting for activations": account.activations,
        "waiting for queue room": account.queue_room,
        "waiting for admission": account.admission,
    }
    assert set(spent) <= set(expected)
    for kind, ticks in expected.items():
        # Each end of a slice is rounded to a picosecond.
        assert abs(spent[kind] - ticks * tick) <= len(row), kind


def assert_arrows(slices: dict[int, list[dict]], events: list[dict], plan: Plan) -> None:
    """An arrow leaves a chunk's slice and points to the start of that chunk on the next stage."""
    begins = {e["id"]: e for e in events if e["ph"] == "s"}
    ends = {e["id"]: e for e in events if e["ph"] == "f"}
    assert begins.keys() == ends.keys()
    assert len(begins) == (len(slices) - 1) * plan.chunks
    for number, begin in begins.items():
        end, chunk = ends[number], number % plan.chunks
        source, target = (
            next(e for e in slices[arrow["tid"]] if e["cat"] == "compute" and e["args"]["chunk"] == chunk)
            for arrow in (begin, end)
        )
        leaves, left = picoseconds(begin, "ts"), picoseconds(source, "ts")
        assert left <= leaves <= left + picoseconds(source, "dur")
        assert end["tid"] == begin["tid"] + 1
        assert end["ts"] == target["ts"]


def test_random_runs_are_well_formed():
    rng, contended = np.random.default_rng(2), 0
    for tables in random_instances(17, 120):
        # Heavy KV, so that many runs wait for it.
        heavy = {name: 40 * getattr(tables, name) for name in ("page_bytes", "prefix_bytes", "capacity")}
        tables = replace(tables, **heavy, queue_depth=[1, 2, None][int(rng.integers(3))])
        plan = random_plan(tables, rng, scatter=0.6)
        if plan is not None:
            assert_well_formed(tables, plan)
            contended += any(account.kv for account in replay_event(tables, plan).accounts)
    assert contended >= 20


@pytest.mark.parametrize("name", ["gpt3-175b-watos-slack", "gpt3-175b-watos-slow-links", "tiny-detour"])
def test_shipped_instances_are_well_formed(name):
    tables = build_tables(load_instance(INSTANCES / f"{name}.json"))
    plan = random_plan(tables, np.random.default_rng(4), scatter=0.1)
    assert plan is not None
    assert_well_formed(tables, plan)


# --- the file and the commands -----------------------------------------------------------------


def test_the_file_is_the_trace_or_not_there(tmp_path):
    path = tmp_path / "trace.json"
    write_trace(path, TABLES, PLAN, "0123")
    written = json.loads(path.read_text())
    assert written["otherData"].pop("fingerprint") == "0123"
    assert written == traced(TABLES, PLAN)[1]
    with pytest.raises(InputError, match="no such"):
        write_trace(tmp_path / "nowhere" / "trace.json", TABLES, PLAN)
    assert [p.name for p in tmp_path.iterdir()] == ["trace.json"]


def test_solve_and_evaluate_write_the_same_trace(tmp_path, capsys):
    plan, solved, judged = (tmp_path / name for name in ("plan.json", "solved.json", "judged.json"))
    assert exit_code("solve", POOLED, "--out", plan, "--trace", solved) == 0
    assert exit_code("evaluate", POOLED, plan, "--trace", judged, "--json") == 0
    shown = capsys.readouterr().out
    report = json.loads(shown[shown.index("{") :])
    trace = json.loads(judged.read_text())
    assert trace == json.loads(solved.read_text())
    assert trace["otherData"]["latency_s"] == report["event_latency_s"]
    assert trace["otherData"]["fingerprint"] == report["fingerprint"]


def test_without_a_feasible_plan_there_is_no_trace_and_that_is_said(tmp_path, capsys):
    instance = load_instance(POOLED)
    tables = build_tables(instance)
    plan, out = tmp_path / "plan.json", tmp_path / "trace.json"
    assert violations(tables, Plan((0, 2, 4)))
    plan.write_text(json.dumps({"version": 1, "kind": "plan", "boundaries": [0, 2, 4], "homes": []}))
    assert exit_code("evaluate", POOLED, plan, "--trace", out) == 3
    assert "no trace was written" in capsys.readouterr().err
    assert exit_code("solve", INSTANCES / "tiny-hopeless.json", "--trace", out) == 3
    assert "no trace was written" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("place", ["no/such/folder/trace.json", "."])
def test_bad_places_are_refused_before_any_work(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert exit_code("solve", POOLED, "--trace", place) == 2
    assert exit_code("evaluate", POOLED, "plan.json", "--trace", place) == 2
    shown = capsys.readouterr()
    assert shown.err.count("1 problem in the input") == 2
    assert "Traceback" not in shown.err
    assert list(tmp_path.iterdir()) == []
