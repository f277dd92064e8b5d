"""What systems that stream weights, export KV or load prefixes report, under stated assumptions."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from published_figures import (
    export_seconds,
    fetching_ahead,
    loading_pays_from,
    room_for_kv,
    tokens_per_npu,
)
from toy_instances import toy

from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.tables import build_tables

INSTANCES = Path(__file__).parent.parent / "instances"


@pytest.mark.parametrize(("flops", "published", "ours"), [(312e12, 6, 5.54), (989e12, 19, 17.56)])
def test_mooncake_loads_a_prefix_rather_than_computing_it(flops: float, published: float, ours: float):
    rate = loading_pays_from(flops)
    assert rate == pytest.approx(ours, rel=1e-3)
    assert rate == pytest.approx(published, rel=0.1)


def test_exports_cost_nothing_and_then_what_the_link_takes():
    base, _ = export_seconds(None)
    found = {rate: export_seconds(rate) for rate in (100, 10, 1, 0.5)}
    assert found[100][0] == pytest.approx(base, rel=1e-3)
    assert found[1][0] / found[0.5][0] == pytest.approx(0.5, rel=0.01)
    for rate in (1, 0.5):
        assert found[rate][1] == pytest.approx(found[rate][0], rel=0.02)


def test_weights_ahead_are_at_most_twice_as_fast_as_on_demand():
    ratios = [fetching_ahead(streamed, chunk) for streamed in (4, 6, 8) for chunk in (2048, 4096, 8192)]
    rooms = [room_for_kv(streamed) for streamed in (4, 6, 8)]
    assert all(1 <= ratio <= 2 for ratio in ratios)
    assert max(ratios) > 1.7
    assert all(a < b for a, b in pairwise(rooms))


def test_tokens_per_npu_from_effective_speed():
    assert tokens_per_npu() == pytest.approx(6688, rel=0.05)


def test_renaming_npus_changes_nothing():
    pool = {"name": "host", "memory_bytes": 5000, "memory_bandwidth": 3e9}
    pool["link"] = {"bandwidth": 2e9, "hop_latency": "4 ns"}
    wafer = {"topology": "switch", "rows": 1, "cols": 8, "pools": [pool]}
    found = set()
    for placement in ([[[0, 0]], [[0, 1]]], [[[0, 6]], [[0, 3]]]):
        pipeline = {"placement": placement}
        tables = build_tables(toy(wafer=wafer, pipeline=pipeline, workload={"export": "host"}))
        plan = Plan((0, 4, 8, 10))
        found.add((replay_event(tables, plan).latency, replay_lockstep(tables, plan).latency))
    assert len(found) == 1
