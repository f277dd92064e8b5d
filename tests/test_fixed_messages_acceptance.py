"""What systems that stream weights, export KV or load prefixes report, under stated assumptions."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from toy_instances import toy

from mocap_opt import load_instance
from mocap_opt.bounds import BOUNDS
from mocap_opt.instance import Instance
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.tables import build_tables
from mocap_opt.tables.stage_costs import linear_flops

INSTANCES = Path(__file__).parent.parent / "instances"


def equal(tokens: int, chunk: int) -> Plan:
    return Plan(tuple(range(0, tokens + 1, chunk)))


@pytest.mark.parametrize(("flops", "published", "ours"), [(312e12, 6, 5.54), (989e12, 19, 17.56)])
def test_mooncake_loads_a_prefix_rather_than_computing_it(flops: float, published: float, ours: float):
    instance = load_instance(INSTANCES / "llama-3.1-70b-h800-prefix-load.json")
    loaded = build_tables(instance)
    alone = ("workload.cached_prefix=0", "workload.prefix_from=null", f"wafer.die.flops={flops}")
    computed = build_tables(instance.replace(*alone))
    rate = int(loaded.prefix_bytes[0]) / computed.seconds(int(computed.phi[0, -1])) / 1e9
    assert rate == pytest.approx(ours, rel=1e-3)
    assert rate == pytest.approx(published, rel=0.1)


def test_exports_cost_nothing_and_then_what_the_link_takes():
    instance = load_instance(INSTANCES / "llama-3.1-70b-a800-export.json")
    data, plan = instance.to_dict(), equal(131072, 4096)
    without = build_tables(instance.replace("workload.export=null"))
    base = without.seconds(replay_event(without, plan).latency)
    found = {}
    for rate in (100, 10, 1, 0.5):
        data["wafer"]["pools"][0]["link"]["bandwidth"] = rate * 1e9
        tables = build_tables(Instance.from_dict(data))
        ticks = min(replay_event(tables, plan).latency, replay_lockstep(tables, plan).latency)
        bound = BOUNDS["fixed_messages"](tables).ticks
        assert bound <= ticks
        found[rate] = tables.seconds(ticks), tables.seconds(bound)
    assert found[100][0] == pytest.approx(base, rel=1e-3)
    assert found[1][0] / found[0.5][0] == pytest.approx(0.5, rel=0.01)
    for rate in (1, 0.5):
        assert found[rate][1] == pytest.approx(found[rate][0], rel=0.02)


def test_weights_ahead_are_at_most_twice_as_fast_as_on_demand():
    instance = load_instance(INSTANCES / "mixtral-8x7b-24gb-streamed.json")
    ratios, rooms = [], []
    for streamed in (4, 6, 8):
        given = f"pipeline.weights.streamed_experts={streamed}"
        ahead, demand = (
            build_tables(instance.replace(given, f"pipeline.weights.overlap={f}")) for f in (1, 0)
        )
        for chunk in (2048, 4096, 8192):
            plan = equal(32768, chunk)
            ratios.append(replay_event(demand, plan).latency / replay_event(ahead, plan).latency)
        rooms.append(int(ahead.free_memory(ahead.reserve(2048))[0]))
    assert all(1 <= ratio <= 2 for ratio in ratios)
    assert max(ratios) > 1.7
    assert all(a < b for a, b in pairwise(rooms))


def test_tokens_per_npu_from_effective_speed():
    stages = {"stages": 1, "dies_per_stage": 32}
    given = {
        "model": "deepseek-v3",
        "wafer": "cloudmatrix-384",
        "pipeline": stages,
        "workload": {"tokens": 4096},
    }
    instance = Instance.from_dict(
        {"version": 1, "name": "cloudmatrix", **given, "chunking": {"max_chunks": 4}}
    )
    flops = linear_flops(instance.model, range(instance.model.layers))
    assert 495e12 / flops == pytest.approx(6688, rel=0.05)
    assert build_tables(instance).pools == ("host",)


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
