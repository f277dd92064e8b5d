"""Memories without a stage: files, programs, replays and bounds place KV there; brute force is the judge."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from builders import make_tables
from command_line import exit_code, run
from oracle import Optimum, brute_force, least_price, lockstep_price, price_plan
from random_plans import random_plan
from random_pools import with_pool, with_random_pools
from random_tables import TINY_PAIR, random_tables
from simpy_twin import twin
from stream_oracle import brute_force as stream_optimum
from stream_oracle import random_stream
from toy_instances import TOY, merged, toy

from mocap_opt import solve
from mocap_opt.bounds import BOUNDS, Scope, lower_bounds, prove_infeasible
from mocap_opt.bounds.makespan import makespan_bounds
from mocap_opt.bounds.period import period_bounds
from mocap_opt.errors import InputError
from mocap_opt.formulations import joint, joint_cpsat
from mocap_opt.instance import Instance
from mocap_opt.pictures.wafer_geometry import draw_wafer
from mocap_opt.replay.event import replay_event, run_event
from mocap_opt.replay.lockstep import replay_lockstep, run_lockstep
from mocap_opt.schedule.instance_summary import overview
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.verify import memory_use, smallest_interval, violations
from mocap_opt.search.stream_enumeration import solve_exactly
from mocap_opt.solvers.outcome import Status
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.layout import layout
from mocap_opt.tables.tables_file import tables_from_dict, tables_to_dict


@cache
def cases(seed: int, count: int) -> list[tuple[Tables, Optimum | None]]:
    """Tiny instances, every third of one stage, with a memory without a stage; and their lockstep optima."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(count):
        tables = random_tables(rng, TINY_PAIR, f"tiny {n}")
        if n % 3 == 0:
            each = int(rng.integers(1, 4))
            room = each * int(rng.integers(0, 5))
            tables = make_tables(1, 4, max_chunks=3, token_bytes=each, capacity=room)
        tables = with_random_pools(rng, tables, 1)
        found.append((tables, brute_force(tables, lockstep_price)))
    return found


COUNTS = [12, pytest.param(300, marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("solve", [joint.solve_joint, joint_cpsat.solve_joint], ids=["highs", "cpsat"])
def test_programs_agree_with_brute_force(solve, count: int):
    used = 0
    for tables, best in cases(3, count):
        result = solve(tables, None, time_limit_s=60.0, threads=1)
        if best is None:
            assert result.outcome.status is Status.INFEASIBLE, tables.name
            continue
        assert (result.outcome.objective, result.outcome.bound) == (best.value, best.value), tables.name
        assert not violations(tables, result.plan)
        assert replay_lockstep(tables, result.plan).latency == best.value
        used += any(home.memory >= tables.stages for home in result.plan.homes)
    assert used > count / 6


@pytest.mark.parametrize("count", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_no_optimum_beats_a_bound_and_two_per_cent_more_would(count: int):
    beaten = set()
    for tables, best in cases(4, count):
        if best is None:
            continue
        assert prove_infeasible(tables) is None
        anywhere = brute_force(tables, least_price).value
        for bound in lower_bounds(tables, quick=count < 100, without=("energetic_traffic",)):
            limit = anywhere if bound.scope is Scope.ANY_EXECUTION else best.value
            assert bound.ticks <= limit, (bound, tables.name)
            if limit >= 50 and bound.ticks * 1.02 > limit:
                beaten.add(bound.name)
        traffic = BOUNDS["energetic_traffic"](tables)
        run = min(replay_event(tables, best.plan).latency, best.value)
        assert traffic is None or traffic.ticks <= run, tables.name
    assert {"crossing_pooled_memory", "slot_mixture"} <= beaten if count < 100 else len(beaten) >= 8


@pytest.mark.parametrize("count", [20, pytest.param(400, marks=pytest.mark.slow)])
def test_no_run_beats_a_bound(count: int):
    rng = np.random.default_rng(count)
    seen = 0
    for n in range(count):
        tables = with_random_pools(rng, random_tables(rng, name=f"instance {n}"))
        plan = random_plan(tables, rng)
        if plan is None:
            continue
        seen += any(home.memory >= tables.stages for home in plan.homes)
        event, lockstep = replay_event(tables, plan), replay_lockstep(tables, plan)
        assert price_plan(tables, plan, lockstep_price) == lockstep.latency
        for bound in lower_bounds(tables):
            either = min(event.latency, lockstep.latency)
            limit = either if bound.scope is Scope.ANY_EXECUTION else lockstep.latency
            assert bound.ticks <= limit, (bound, tables.name)
        if n % 4 == 0:
            bounded = replace(tables, queue_depth=tables.queue_depth or 2)
            periodic = smallest_interval(bounded, plan)
            if periodic is not None:
                period = run_lockstep(periodic).period
                found, _ = period_bounds(bounded)
                assert all(b.ticks <= period for b in found), tables.name
    assert seen > count / 3


@pytest.mark.parametrize("count", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_streams_agree_with_brute_force_and_no_bound_is_beaten(count: int):
    rng, used = np.random.default_rng(9), 0
    for _ in range(count):
        requests, order_given = random_stream(rng)
        room, rate, port = (int(rng.integers(*limits)) for limits in ((4, 30), (2, 12), (2, 12)))
        pooled = [with_pool(r.tables, 0, capacity=room, rate=rate, port_rate=port) for r in requests]
        requests = tuple(replace(r, tables=tables) for r, tables in zip(requests, pooled, strict=True))
        best, found = stream_optimum(requests, order_given), solve_exactly(requests, order_given)
        assert (best is None) == (found is None)
        if best is None:
            continue
        assert run_lockstep(found).latency == best.makespan
        used += any(home.memory >= found.stages for request in found for home in request.plan.homes)
        fastest = min(run_event(found).completion[-1], best.makespan)
        for bound in makespan_bounds(requests, order_given):
            limit = best.makespan if bound.scope is Scope.LOCKSTEP else fastest
            assert bound.ticks <= limit, bound
    assert used


def test_event_runs_are_those_of_the_twin():
    rng = np.random.default_rng(8)
    for n in range(12):
        tables = with_random_pools(rng, random_tables(rng, TINY_PAIR, f"tiny {n}"), 1)
        plan = random_plan(tables, rng, scatter=0.6)
        if plan is not None:
            run = replay_event(tables, plan)
            assert [[*row] for row in run.end] == twin(tables, plan)[1], tables.name


def test_a_pool_alone_by_hand():
    # One stage, four chunks of one token, tau 2; all KV over links of a byte a tick: 2 + 2 + 2 + 3.
    tables = make_tables(1, 4, linear=2, max_chunks=4, exact=True, capacity=0)
    tables = with_pool(tables, 0, capacity=4, rate=1)
    plan = Plan((0, 1, 2, 3, 4), tuple(Home(0, j, 1, 1) for j in range(4)))
    assert not violations(tables, plan)
    assert memory_use(tables, plan).tolist() == [[0, 0, 0, 0], [1, 2, 3, 4]]
    assert replay_event(tables, plan).latency == replay_lockstep(tables, plan).latency == 9
    assert joint_cpsat.solve_joint(tables, None, time_limit_s=60.0, threads=1).outcome.objective == 9
    assert violations(tables, replace(plan, homes=()))[0].memory == 0
    crowded = replace(tables, capacity=np.array([0, 3]))
    (short,) = violations(crowded, plan)
    assert (short.memory, short.slot, short.bytes_short) == (1, 3, 1)
    assert str(short).startswith("memory 1 (pool 0), slot 3")


@pytest.mark.parametrize(("rate", "latency"), [(1, 35), (2, 35), (3, 30)])
def test_worked_example_of_the_replay_with_a_pool_at_stage_0(rate: int, latency: int):
    # formulations/replay.md, memory 1 with two pages: a page takes 15 ticks there, 30 / rate to the pool.
    tables = make_tables(2, 2, max_chunks=2, token_bytes=30, capacity=[30, 60], link_rate=2)
    assert brute_force(tables, lockstep_price).value == 35
    tables = with_pool(tables, 0, capacity=60, rate=rate)
    best = brute_force(tables, lockstep_price)
    assert best.value == latency
    if rate != 2:  # takes as long either way
        assert any(home.memory == 2 for home in best.plan.homes) == (rate == 3)
    for solve_program in (joint.solve_joint, joint_cpsat.solve_joint):
        assert solve_program(tables, None, time_limit_s=60.0, threads=1).outcome.objective == latency


def test_a_pool_without_room_changes_no_optimum():
    for tables, _ in cases(5, 12):
        stages = tables.stages
        empty = replace(tables, capacity=np.append(tables.capacity[:stages], tables.static[stages:]))
        empty = replace(empty, staging=np.append(tables.staging[:stages], [0]))
        inner = slice(0, stages)
        without = replace(
            empty,
            pools=(),
            share=empty.share[:, inner, inner],
            hop_ticks=empty.hop_ticks[inner, inner],
            **{
                name: getattr(empty, name)[inner]
                for name in "prefix_bytes capacity static staging working_bytes port_rate".split()
            },
        )
        both = [brute_force(each, lockstep_price) for each in (empty, without)]
        assert len({None if best is None else best.value for best in both}) == 1


def test_files_name_pools_and_only_where_there_are_some():
    tables = with_pool(make_tables(2, 4), 1, capacity=7, rate=3)
    data = tables_to_dict(tables)
    assert data["fields"]["pools"]["value"] == ["pool 0"]
    assert [data["dimensions"][axis] for axis in ("stage", "memory", "pool")] == [2, 3, 1]
    again = tables_from_dict(data)
    assert again.pools == tables.pools
    assert np.array_equal(again.share, tables.share)
    plain = tables_to_dict(make_tables(2, 4))
    assert "pools" not in plain["fields"]
    assert "pool" not in plain["dimensions"]


HOST = {
    "name": "host",
    "memory_bytes": 5000,
    "memory_bandwidth": 3e9,
    "link": {"bandwidth": 2e9, "hop_latency": "4 ns"},
}

# --- spare dies ---------------------------------------------------------------------------------

INSTANCES = Path(__file__).parent.parent / "instances"
SPARE = {"spare_dies": "memory"}


def test_spare_dies_are_one_memory_for_each_piece():
    # A row of four dies above another: stages on 0,1 and 1,1 leave a column on the left, 2 x 2 on the right.
    placed = {"stages": 2, "placement": [[[0, 1]], [[1, 1]]], "dies_per_stage": 1}
    instance = toy(pipeline={**placed, **SPARE})
    laid_out, tables = layout(instance), build_tables(instance)
    assert laid_out.pools == (((0, 0), (1, 0)), ((0, 2), (0, 3), (1, 2), (1, 3)))
    assert tables.pools == ("spare dies at 0,0", "spare dies at 0,2")
    assert tables.memory_name(2) == "memory 2 (spare dies at 0,0)"
    assert tables.memory_name(1) == "memory 1"
    die, staging = instance.wafer.die, instance.pipeline.staging_per_die
    assert tables.capacity[2:].tolist() == [2 * die.memory_bytes, 4 * die.memory_bytes]
    assert tables.port_rate[2:].tolist() == [2 * tables.port_rate[0], 4 * tables.port_rate[0]]
    assert tables.reserve(tables.tokens)[2:].tolist() == [2 * staging, 4 * staging]
    assert not tables.static[2:].any()
    # From 0,1 to the column: half each to 0,0 and 1,0, both over the link between 0,1 and 0,0.
    link = tables.links.index("0,1>0,0")
    assert tables.share[link, 0, 2] == tables.share_denominator
    idle = build_tables(toy(pipeline=placed))
    assert idle.pools == ()
    scale = tables.share_denominator // idle.share_denominator
    assert np.array_equal(idle.share * scale, tables.share[:, :2, :2])


def test_all_spare_dies_of_a_switch_are_one_memory_and_cut_off_ones_stay_idle():
    behind = toy(wafer={"topology": "switch", "rows": 1, "cols": 5}, pipeline=SPARE)
    assert layout(behind).pools == (((0, 2), (0, 3), (0, 4)),)
    assert build_tables(behind).memory_name(2) == "memory 2 (spare dies)"
    cut = [[[0, 2], [0, 3]], [[1, 3], [0, 3]]]
    (pool,) = layout(toy(wafer={"dead_links": cut}, pipeline=SPARE)).pools
    assert pool == ((0, 2), (1, 0), (1, 1), (1, 2), (1, 3))


@pytest.mark.parametrize(
    ("name", "idle_s", "memory_s"), [("dead-dies", 37.517, 34.886), ("slow-links", 62.162, 60.694)]
)
def test_known_answers_with_spare_dies(name: str, idle_s: float, memory_s: float):
    data = json.loads((INSTANCES / f"gpt3-175b-watos-{name}.json").read_text(encoding="utf-8"))
    for spare_dies, known in (("idle", idle_s), ("memory", memory_s)):
        data["pipeline"]["spare_dies"] = spare_dies
        solution = solve(Instance.from_dict(data), time_limit_s=60)
        assert solution.report.value_s == pytest.approx(known, rel=1e-4)
        assert solution.report.gap == pytest.approx(0.0, abs=1e-4)
    assert any(home.memory >= solution.tables.stages for home in solution.plan.homes)
    assert not violations(solution.tables, solution.plan)


def test_show_and_pictures_name_spare_dies(tmp_path, capsys):
    instance = toy(pipeline=SPARE)
    (pool,) = overview(instance)["pools"]
    assert (pool["name"], len(pool["dies"])) == ("memory 2 (spare dies)", 6)
    file = tmp_path / "toy.json"
    file.write_text(
        json.dumps(merged(TOY, {"pipeline": SPARE, "wafer": {"pools": [HOST]}})), encoding="utf-8"
    )
    assert "memory 2 (spare dies): 6 dies, 6 MB" in run("show", file, capsys=capsys)[1]
    drawing = draw_wafer(layout(instance))
    assert {die.stage for die in drawing.dies} == {0, 1, 2}
    assert sum(die.memory_only for die in drawing.dies) == 6
    for kind in ("memory", "mesh"):
        assert exit_code("plot", file, "--kind", kind, "--out", tmp_path / f"{kind}.svg") == 0
    assert exit_code("report", file, "--out", tmp_path / "page.html", "--time-limit", 2) == 0


# --- pools off the wafer ------------------------------------------------------------------------


def test_a_pool_is_reached_by_the_nearest_die_with_a_link():
    # Stages of two dies in the first row; links at 0,0 and, one below the last stage's dies, at 1,3.
    instance = toy(wafer={"pools": [{**HOST, "at": [[0, 0], [1, 3]]}]}, pipeline={"dies_per_stage": 2})
    tables = build_tables(instance)
    assert tables.pools == ("host",)
    assert tables.links[-4:] == ("0,0>host", "host>0,0", "1,3>host", "host>1,3")
    rates = {name: int(rate) for name, rate in zip(tables.links, tables.link_rate, strict=True)}
    assert (rates["0,0>host"], rates["0,0>0,1"], tables.port_rate.tolist()) == (2, 1, [2, 2, 3])
    assert (tables.capacity[2], tables.static[2], tables.staging[2]) == (5000, 0, 0)
    parts = {
        way: {tables.links[e]: int(tables.share[e, a, b]) for e in np.flatnonzero(tables.share[:, a, b])}
        for way, (a, b) in {"out": (0, 2), "back": (2, 0), "last": (1, 2)}.items()
    }
    # Of stage 0 one rank is at 0,0, the other a hop away; of stage 1, 0,2 is two hops from both places and
    # takes the first, 0,3 is next to 1,3.
    assert parts["out"] == {"0,1>0,0": 1, "0,0>host": 2}
    assert parts["back"] == {"0,0>0,1": 1, "host>0,0": 2}
    to_first = {"0,2>0,1": 1, "0,1>0,0": 1, "0,0>host": 1}
    assert parts["last"] == {**to_first, "0,3>1,3": 1, "1,3>host": 1}
    assert tables.hop_ticks[:, 2].tolist() == [10 + 4, 20 + 4, 0]
    assert tables_from_dict(tables_to_dict(tables)).links == tables.links


def test_pools_at_every_die_behind_a_switch_and_beside_spare_dies():
    every = build_tables(toy(wafer={"pools": [HOST]}))
    assert sum("host" in name for name in every.links) == 16
    assert every.hop_ticks[:, 2].tolist() == [4, 4, 0]
    behind = build_tables(toy(wafer={"topology": "switch", "rows": 1, "pools": [HOST]}))
    assert behind.links[-2:] == ("switch>host", "host>switch")
    (way,) = [{behind.links[e] for e in np.flatnonzero(behind.share[:, 1, 2])}]
    assert way == {"0,1>switch", "switch>host"}
    both = toy(wafer={"pools": [HOST]}, pipeline=SPARE)
    assert build_tables(both).pools == ("spare dies", "host")
    assert [row["name"] for row in overview(both)["pools"]] == ["memory 2 (spare dies)", "memory 3 (host)"]
    drawing = draw_wafer(layout(both))
    assert [link.name for link in drawing.links] == list(build_tables(both).links)


@pytest.mark.parametrize(
    ("pools", "where"),
    [
        ([HOST, HOST], r"wafer\.pools\[1\]\.name"),
        ([{**HOST, "name": "0,1"}], r"wafer\.pools\[0\]\.name"),
        ([{**HOST, "at": []}], r"wafer\.pools\[0\]\.at: expected at least one die"),
        ([{**HOST, "at": [[7, 7]]}], r"wafer\.pools\[0\]\.at\[0\]"),
        ([{**HOST, "at": [[0, 0], [0, 0]]}], r"wafer\.pools\[0\]\.at\[1\]: expected a living die"),
    ],
)
def test_pools_that_make_no_sense_are_refused(pools: list[dict[str, object]], where: str):
    with pytest.raises(InputError, match=where):
        toy(wafer={"pools": pools})


def test_a_pool_is_used_where_memories_are_too_small_and_answers_without_pools_stay():
    # 1,156 bytes are weights and reserve; the prompt has five pages of 32 bytes on each stage.
    small = {"die": {"memory_bytes": 1200}}
    tight = toy(wafer=small)
    assert tight.fingerprint == toy(wafer={**small, "pools": []}).fingerprint
    alone, helped = (solve(each, time_limit_s=20) for each in (tight, toy(wafer={**small, "pools": [HOST]})))
    assert alone.plan is None
    assert helped.report.gap == pytest.approx(0.0, abs=1e-4)
    assert 2 in {home.memory for home in helped.plan.homes}
