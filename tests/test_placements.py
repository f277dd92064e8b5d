"""Placements by rules, and exchanges of stages along paths where links bind."""

from __future__ import annotations

import itertools
import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from test_wafer import topology

import mocap_opt
from mocap_opt.instance import Instance, load_instance
from mocap_opt.layouts.placements import (
    Judged,
    LinkTimes,
    best_placement,
    exchanged,
    paths,
    placements,
    plan_flows,
)
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.tables import build_tables
from mocap_opt.wafer.routing import link_shares
from mocap_opt.wafer.topology import build_topology

INSTANCES = Path(__file__).parent.parent / "instances"


def test_rules_that_place_the_stages():
    dead_dies = build_topology(load_instance(INSTANCES / "gpt3-175b-watos-dead-dies.json").wafer)
    assert list(placements(dead_dies, [4] * 8)) == ["boustrophedon", "path"]
    assert list(placements(dead_dies, [6] * 8)) == ["path"]
    assert placements(dead_dies, [6] * 9) == {}
    assert list(placements(topology("mesh", 3, 4), [2] * 6)) == ["boustrophedon"]


def test_flows_of_a_plan():
    tables = build_tables(load_instance(INSTANCES / "tiny-pooled.json"))
    plan = Plan((0, 1, 3, 4), (Home(0, 0, 1, 1), Home(0, 1, 1, 2)))
    page = int(tables.page_bytes[0])
    flows = plan_flows(tables, plan)
    assert tables.stages == 2
    # Three pages are written to memory 1; chunk 1 reads one of them back and chunk 2 all three.
    assert flows[0, 1] == 4 * int(tables.activation_bytes[0]) + 3 * page
    assert flows[1, 0] == (1 + 3) * page
    assert not flows.diagonal().any()


@pytest.mark.parametrize("seed", range(3))
def test_link_times_are_those_of_the_tables(seed):
    chance = random.Random(seed)
    topo = topology("mesh", 4, 4, dead_dies=[[1, 1]] if seed else [])
    sizes = [chance.randint(1, 3) for _ in range(4)]
    flows = np.array([[chance.randint(0, 9) * 10**9 for _ in sizes] for _ in sizes], dtype=np.int64)
    placed = placements(topo, sizes)["path" if seed else "boustrophedon"]
    shares = link_shares(topo, placed)
    np.fill_diagonal(flows, 0)
    loads = (shares.numerators * flows).sum(axis=(1, 2)) / shares.denominator
    rates = [float(link.bandwidth) for link in topo.links]
    assert LinkTimes(topo, flows, sizes).seconds(placed) == pytest.approx(loads / rates)


def test_paths_visit_every_die_in_unlike_shapes():
    topo = topology("mesh", 5, 4)
    found = paths(topo)
    assert len(found) >= 3
    for path in found:
        assert sorted(path) == list(topo.dies)
        assert all(hop in topo.link_index for hop in pairwise(path))


def test_exchanges_bring_together_what_talks():
    # Stage 0 talks to 2 and 3 only, all on single dies: the best is 0 between them.
    topo = topology("mesh", 1, 4)
    flows = np.zeros((4, 4), dtype=np.int64)
    flows[0, 2] = flows[0, 3] = flows[3, 0] = 10**9
    times = LinkTimes(topo, flows, [1] * 4)
    placed = exchanged(topo, [1] * 4, times)[0]
    col = [dies[0][1] for dies in placed]
    assert abs(col[0] - col[2]) == abs(col[0] - col[3]) == 1
    every = (tuple((die,) for die in order) for order in itertools.permutations(topo.dies))
    assert times.score(placed) == min(map(times.score, every))


def test_exchanges_keep_slow_links_out_of_stages():
    slow = [{"between": [[0, 0], [0, 1]], "bandwidth": "1 GB/s"}]
    topo = topology("mesh", 2, 3, slow_links=slow)
    flows = np.zeros((2, 2), dtype=np.int64)
    flows[0, 1] = 10**9
    placed = exchanged(topo, [2, 2], LinkTimes(topo, flows, [2, 2]))
    assert placed
    assert all({(0, 0), (0, 1)} != set(dies) for each in placed for dies in each)


def test_exchanged_stages_are_whole_and_apart():
    topo = topology("mesh", 4, 5, dead_dies=[[1, 2], [2, 3]])
    sizes = [3, 2, 4, 2]
    flows = np.arange(16, dtype=np.int64).reshape(4, 4) * 10**8
    for placed in exchanged(topo, sizes, LinkTimes(topo, flows, sizes)):
        assert [len(dies) for dies in placed] == sizes
        assert len({die for dies in placed for die in dies}) == sum(sizes)
        assert all(topo.connected(dies) for dies in placed)


def judge_of(instance: Instance, judged: list[float]):
    """Solve the instance with a placement, a few seconds each."""

    def judge(placed) -> Judged:
        data = instance.to_dict()
        data["pipeline"]["placement"] = [[list(die) for die in stage] for stage in placed]
        placed_so = Instance.from_dict(data)
        solution = mocap_opt.solve(placed_so, time_limit_s=4)
        judged.append(solution.report.latency_s)
        return Judged(judged[-1], plan_flows(build_tables(placed_so), solution.plan))

    return judge


def test_a_judge_may_stop_and_links_that_do_not_bind_move_no_stage():
    topo = topology("mesh", 2, 3)
    asked: list[object] = []
    assert best_placement(topo, [1] * 3, [1] * 3, lambda placed: asked.append(placed)) is None
    idle = Judged(1.0, np.zeros((3, 3), dtype=np.int64))
    found = best_placement(topo, [1] * 3, [1] * 3, lambda placed: asked.append(placed) or idle)
    assert found == (placements(topo, [1] * 3)["boustrophedon"], idle)
    assert len(asked) == 2
    hopeless = Judged(float("inf"), None)
    start = (((1, 0),), ((1, 1),), ((1, 2),))
    found = best_placement(
        topo, [1] * 3, [1] * 3, lambda placed: asked.append(placed) or hopeless, first=[start]
    )
    assert found == (start, hopeless)
    assert asked[2:] == [start]


@pytest.mark.slow
def test_slow_links_everywhere_known_answer():
    # In a row 43.10 s; the lower bound of 39.7836 s counts no traffic at all but one hop from stage to stage.
    slow = load_instance(
        INSTANCES / "bench" / "S-links.json", ["wafer.slow_links=[]", 'wafer.link.bandwidth="1.5 GB/s"']
    )
    judged: list[float] = []
    found = best_placement(build_topology(slow.wafer), [1] * 4, [1] * 4, judge_of(slow, judged))
    assert found is not None
    assert found[1].value == min(judged)
    assert found[1].value <= 39.97 * 1.001


@pytest.mark.slow
def test_stages_leave_slow_links():
    slow = load_instance(INSTANCES / "bench" / "S-links.json")
    judged: list[float] = []
    found = best_placement(build_topology(slow.wafer), [1] * 4, [1] * 4, judge_of(slow, judged))
    assert found is not None
    assert found[1].value == pytest.approx(39.2873, rel=1e-4)
    assert judged[0] > 40.97


SLOW_INSIDE = {
    "version": 1,
    "name": "slow-inside",
    "model": "llama-3.1-8b",
    "wafer": {
        "preset": "watos-c3",
        "rows": 2,
        "cols": 4,
        "slow_links": [{"between": [[0, 0], [0, 1]], "bandwidth": "1 GB/s"}],
    },
    "pipeline": {"stages": 2, "dies_per_stage": 2, "placement": "auto"},
    "workload": {"tokens": "32k"},
    "chunking": {"max_chunks": 6, "quantum": 2048},
}


def test_stages_leave_a_slow_link_inside_them_and_bounds_know_of_it():
    # On either rule's path the slow link joins the two dies of stage 0; elsewhere it does no harm.
    elsewhere = [[[1, 0], [1, 1]], [[1, 2], [1, 3]]]
    fixed = {**SLOW_INSIDE, "pipeline": {**SLOW_INSIDE["pipeline"], "placement": elsewhere}}
    known = mocap_opt.solve(fixed, time_limit_s=20).report.latency_s
    report = mocap_opt.solve(SLOW_INSIDE, time_limit_s=20).report
    assert report.lower_bound_s <= known
    assert report.latency_s <= known * 1.0001
    assert report.gap <= 1e-4


@pytest.mark.slow
def test_open_placement_of_slow_links_is_proved():
    data = load_instance(INSTANCES / "bench" / "S-links.json", ["pipeline.placement=auto"])
    report = mocap_opt.solve(data, time_limit_s=60).report
    assert report.latency_s == pytest.approx(39.2873, rel=1e-4)
    assert report.gap <= 1e-4


def test_times_of_given_stages_leave_their_places_open():
    costs = {"kind": "coefficients", "stages": [{"linear": 1e-6}, {"linear": 2e-6}]}
    report = mocap_opt.solve({**SLOW_INSIDE, "costs": costs}, time_limit_s=6).report
    assert report.gap <= 1e-3
    assert report.figures["layouts"]["covers"].endswith("wherever they lie")
    tables, bounds, _ = mocap_opt.bound({**SLOW_INSIDE, "costs": costs}, time_limit_s=2)
    assert 0 < max(bound.ticks for bound in bounds) * tables.tick_s <= report.latency_s
