"""What a fault takes from a layout, and the layout that is found for what is left."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command_line import run
from test_wafer import topology

import mocap_opt
from mocap_opt.errors import InputError
from mocap_opt.instance import Instance, StageLayout, load_instance
from mocap_opt.questions.repair import SEARCH, losses, repair
from mocap_opt.questions.repair.search import after_fault, choose, given_layout
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.tables import build_tables
from mocap_opt.wafer.topology import build_topology

INSTANCES = Path(__file__).parent.parent / "instances"
QUICK = ("--time-limit", "3")
SMALL = {
    "version": 1,
    "name": "small",
    "model": "llama-3.1-8b",
    "wafer": {"preset": "watos-c3", "rows": 3, "cols": 4},
    "pipeline": {"stages": 4, "dies_per_stage": 2},
    "workload": {"tokens": "32k"},
    "chunking": {"max_chunks": 6, "quantum": 2048},
}
LARGE = {
    "version": 1,
    "name": "large",
    "model": "gpt3-175b",
    "wafer": "temp-6x8",
    "pipeline": {"stages": 12, "dies_per_stage": 4},
    "workload": {"tokens": "128k"},
    "chunking": {"max_chunks": 32, "quantum": 2048, "shortest": 2048},
    "costs": {"kind": "roofline", "overhead": "50 us", "half_efficiency_tokens": 128},
}


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.json"
    path.write_text(json.dumps(SMALL))
    return path


def test_pools_lose_links_at_dead_dies_and_spare_dies_stay_idle():
    link = {"bandwidth": "32 GB/s", "hop_latency": "2 us"}
    host = {"name": "host", "memory_bytes": "1 TB", "memory_bandwidth": "200 GB/s", "link": link}
    wafer = {**SMALL["wafer"], "pools": [{**host, "at": [[0, 0], [0, 1]]}]}
    left = after_fault(Instance.from_dict({**SMALL, "wafer": wafer}), [(0, 1)], ())
    assert left.pipeline.free
    assert [pool.at for pool in left.wafer.pools] == [((0, 0),)]
    spare = {**SMALL, "pipeline": {**SMALL["pipeline"], "spare_dies": "memory"}}
    with pytest.raises(InputError, match=r"pipeline\.spare_dies: expected \"idle\" in a repair"):
        after_fault(Instance.from_dict(spare), [(0, 1)], ())


def test_losses_by_hand():
    # Stages of two dies side by side in the only row; stage 1 loses a die, the link inside stage 2 breaks.
    tables = build_tables(load_instance(INSTANCES / "tiny-pooled.json"))
    before = StageLayout((((0, 0), (0, 1)), ((0, 2), (0, 3))), (1, 1))
    after = topology("mesh", 1, 4, dead_dies=[[0, 0]], dead_links=[[[0, 2], [0, 3]]])
    # Stage 0 keeps 3 of its pages with stage 1, which holds these and its own 4.
    plan = Plan((0, 2, 4), (Home(0, 0, 1, 1), Home(0, 1, 1, 2)))
    first, second = losses(before, after, tables, plan)
    pages = int(tables.page_bytes[0])
    assert (first.stage, first.dead, first.left, first.pieces) == (0, ((0, 0),), 1, 1)
    assert first.kv_bytes == pages // 2
    assert first.weight_bytes == int(tables.static[0]) // 2
    assert (second.dead, second.left, second.pieces, second.kv_bytes) == ((), 2, 2, 0)
    assert losses(before, after, tables, None)[0].kv_bytes == 0
    assert losses(before, topology("mesh", 1, 4), tables, plan) == ()


def test_rules_lay_stages_out_on_what_is_left():
    large = mocap_opt.Instance.from_dict(LARGE)
    left = after_fault(large, [(0, 0), (0, 4)], [])
    assert set(left.pipeline.open_fields) == {"stages", "dies_per_stage", "layers", "placement"}
    assert left.pipeline.degrees == (1, 2, 3, 4)
    found = choose(left, build_topology(left.wafer), given_layout(large))
    shapes = {name: [len(stage) for stage in each.dies] for name, each in found.items()}
    assert shapes == {
        "boustrophedon": [4] * 10,
        "path": [4] * 11,
        "path, small stages first": [3] * 3 + [4] * 9,
        "path, small stages last": [4] * 9 + [3] * 3,
    }
    assert all(sum(each.layers) == 96 for each in found.values())


def test_given_costs_leave_only_the_places_open():
    data = {**SMALL, "costs": {"kind": "coefficients", "stages": [{"linear": 1e-6}] * 4}}
    found = repair(data, [(0, 1)], time_limit_s=3)
    assert found.left.pipeline.open_fields == ("placement",)
    assert found.after is not None
    assert found.after.report.latency_s == pytest.approx(found.before.report.latency_s, rel=1e-3)


def test_small_repair(small, tmp_path, capsys):
    before = tmp_path / "before.json"
    assert run("solve", small, "--out", before, capsys=capsys)[0] == 0
    out, picture = tmp_path / "after.json", tmp_path / "after.png"
    where = ("--plan", before, "--out", out, "--plot", picture)
    code, shown, _ = run("repair", small, "--dead", "0,1", *where, *QUICK, "--json", capsys=capsys)
    assert code == 0
    answer = json.loads(shown)
    (lost,) = answer["losses"]
    assert (lost["stage"], lost["dead"], lost["left"]) == (0, [[0, 1]], 1)
    latencies = {name: each["latency_s"] for name, each in answer["layouts"].items()}
    best = latencies[answer["best"]]
    assert best == latencies[SEARCH] == min(value for name, value in latencies.items() if name != "before")
    assert answer["covers"].startswith("all layouts with 4 stages")
    assert 0 < answer["lower_bound_s"] <= best
    assert answer["gap"] == pytest.approx(1 - answer["lower_bound_s"] / best)
    repaired = load_instance(out)
    assert (0, 1) in repaired.wafer.dead_dies
    assert not repaired.pipeline.free
    assert mocap_opt.solve(repaired).report.latency_s == pytest.approx(best, rel=1e-3)
    assert picture.stat().st_size > 10_000


def test_a_table_says_what_is_lost(small, capsys):
    code, shown, _ = run("repair", small, "--dead-link", "0,0-0,1", "--dead", "2,3", *QUICK, capsys=capsys)
    assert code == 0
    said = " ".join(shown.split())
    assert "stage 0: loses links, 2 dies are left in 2 pieces; 8 layers" in said
    assert "(best)" in said
    assert re.search(r"at least [\d.]+ m?s for all layouts with .* stages.*: gap", said)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--dead: expected a die or a link that fails"),
        (("--dead", "1"), "expected ROW,COL, got '1'"),
        (("--dead-link", "0,0"), "expected ROW,COL-ROW,COL"),
        (("--dead", "3,0"), "a die of the 3 x 4 wafer"),
        (("--dead", "1,1", "--dead", "1,1"), "each die once"),
        (("--dead-link", "0,0-1,1"), "wafer.dead_links[0]"),
        (("--dead", "0,0", "--plot", "x.gif"), "--plot"),
        (("--dead", "0,0", "--set", "objective=period"), "repair"),
    ],
)
def test_what_cannot_be_repaired_is_refused(small, options, message, capsys):
    code, _, err = run("repair", small, *options, capsys=capsys)
    assert code == 2
    assert message in " ".join(err.split())


def test_no_room_is_refused():
    tight = {**SMALL, "costs": {"kind": "coefficients", "stages": {"linear": 1e-6}}}
    tight["wafer"] = {"preset": "watos-c3", "rows": 1, "cols": 9}
    with pytest.raises(InputError, match="room for its stages"):
        repair(tight, [(0, 3)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dead", "boustrophedon", "best"),
    [([(3, 4), (0, 2)], 0.0607, 0.0337), ([(0, 0), (0, 4)], 0.1328, 0.0454)],
)
def test_two_dead_dies_of_48(dead, boustrophedon, best):
    found = repair(LARGE, dead, time_limit_s=30)
    known = {name: found.extra(answer) for name, answer in found.tried.items()}
    extra = {name: part for name, part in known.items() if part is not None}
    # The search begins with the best layout by rule.
    assert extra[SEARCH] == min(extra.values())
    assert found.after.report.gap <= 0.08
    assert extra["boustrophedon"] == pytest.approx(boustrophedon, abs=1e-3)
    assert min(extra.values()) <= best + 1e-3
    assert found.extra(found.tried[found.best]) == min(extra.values())
