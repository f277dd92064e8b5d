"""Named methods: always verified, never better than brute force, and clear when they fail."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from builders import make_tables
from oracle import brute_force, contention_free_price, is_feasible, price_plan
from random_tables import random_instances, random_tables

from mocap_opt.baselines import BOUNDARY_RULES, HOME_RULES, METHODS
from mocap_opt.baselines.lbcp import reallocation
from mocap_opt.baselines.mbkr import half_apart
from mocap_opt.baselines.mocap import mocap
from mocap_opt.baselines.registry import ENGINE_RULES
from mocap_opt.baselines.uniform import equal_chunks
from mocap_opt.homes.home_search import placement_program
from mocap_opt.homes.thresholds import greatest_thresholds
from mocap_opt.replay.contention_free_makespan import contention_free_latency, contention_free_makespan
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.tables.cost_tables import Tables

SOLVER_FREE = [name for name in METHODS if name != "search-program"]
REALLOCATING = [
    "uniform-greedy",
    "terapipe-greedy",
    "mocap",
    "search-mirror",
    "search-greedy",
    "search-spread",
]

WITHOUT_FIT = [name for name in METHODS if name not in ENGINE_RULES]
"""Methods that need no fit, which a few tokens do not allow."""


def test_the_registry_loads_no_solver() -> None:
    code = (
        "import sys, mocap_opt.baselines as h; assert len(h.METHODS) > 5;"
        "sys.exit(int(any(m in sys.modules for m in ('pyomo', 'highspy', 'ortools', 'pandas'))))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_methods_are_named_and_described() -> None:
    assert all(name == method.name and method.summary for name, method in METHODS.items())
    assert {"gpipe", "uniform", "flops-balanced", "sglang-dynamic", "terapipe", "mocap"} <= set(METHODS)


def test_no_method_beats_brute_force() -> None:
    tried = found = 0
    for tables in random_instances(seed=21, count=60):
        lockstep, free = brute_force(tables), brute_force(tables, contention_free_price)
        for name in SOLVER_FREE:
            proposal = METHODS[name].propose(tables)
            tried += 1
            if proposal.plan is None:
                assert proposal.reason
                continue
            found += 1
            assert is_feasible(tables, proposal.plan)
            assert lockstep is not None
            assert free is not None
            assert replay_lockstep(tables, proposal.plan).latency >= lockstep.value
            assert price_plan(tables, proposal.plan, contention_free_price) >= free.value
    assert tried > found > 200


def test_the_search_finds_a_plan_wherever_brute_force_does() -> None:
    # No guarantee (page sizes and reserves differ), but a regression would show.
    missed = there = 0
    for tables in random_instances(seed=22, count=80):
        if brute_force(tables) is not None:
            there += 1
            missed += METHODS["search-greedy"].propose(tables).plan is None
    assert there > 50
    assert missed <= 1


@pytest.mark.parametrize("name", SOLVER_FREE)
def test_proposals_are_feasible_on_middling_instances(name: str) -> None:
    rng = np.random.default_rng(23)
    for _ in range(25):
        tables = random_tables(rng)
        proposal = METHODS[name].propose(tables)
        assert (proposal.plan is None) == bool(proposal.reason)
        if proposal.plan is not None:
            assert violations(tables, proposal.plan) == []
            assert (
                contention_free_latency(tables, proposal.plan) <= replay_event(tables, proposal.plan).latency
            )


@pytest.mark.parametrize("name", WITHOUT_FIT)
def test_a_hopeless_instance_names_memory_slot_and_bytes(name: str) -> None:
    # 40 bytes of KV a stage and 3 bytes of memory; the first page of stage 0 alone takes 4.
    tables = make_tables(4, 10, max_chunks=5, token_bytes=4, capacity=3)
    proposal = METHODS[name].propose(tables)
    assert proposal.plan is None
    assert "short in slot" in proposal.reason
    assert "memor" in proposal.reason


@pytest.mark.parametrize("name", WITHOUT_FIT)
def test_limits_that_no_chunks_meet_are_named(name: str) -> None:
    tables = make_tables(4, 10, max_chunks=2, max_length=4)
    proposal = METHODS[name].propose(tables)
    assert proposal.plan is None
    assert proposal.reason == "no boundaries of this rule keep to the limits on counts and lengths"


@pytest.mark.parametrize("name", SOLVER_FREE)
def test_methods_are_deterministic(name: str) -> None:
    tables = random_tables(np.random.default_rng(31))
    assert METHODS[name].propose(tables) == METHODS[name].propose(tables)


def tight(**changes: object) -> Tables:
    options: dict[str, object] = {
        "stages": 8,
        "tokens": 256,
        "max_chunks": 16,
        "linear": 300,
        "quadratic": 1,
        "constant": 2000,
        "capacity": 210,
    }
    return make_tables(**(options | changes))  # type: ignore[arg-type]


def test_only_methods_that_move_kv_cope_with_tight_memory() -> None:
    found = {name: METHODS[name].propose(tight()).plan for name in SOLVER_FREE}
    assert {name for name, plan in found.items() if plan is not None} >= {"mocap", "search-greedy"}
    for name in set(SOLVER_FREE) - set(REALLOCATING):
        assert found[name] is None
    assert found["mocap"] is not None
    assert found["mocap"].homes


def test_pooled_memory_is_never_slower_than_pairs_with_ample_links() -> None:
    for capacity in (250, 230, 210, 190):
        tables = tight(capacity=capacity)
        pairs, pooled = (METHODS[name].propose(tables).plan for name in ("mocap", "search-greedy"))
        assert pairs is not None
        assert pooled is not None
        assert replay_event(tables, pooled).latency <= replay_event(tables, pairs).latency


def test_mocap_at_its_fixed_point() -> None:
    # With ample links KV traffic takes no time: the second round confirms the first.
    tables = tight()
    proposal = mocap(tables)
    assert proposal.notes == ("LBCP and MBKR agree after 2 rounds",)
    slack = mocap(tight(capacity=256))
    assert slack.notes == ("LBCP and MBKR agree after 1 round",)
    assert slack.plan is not None
    assert slack.plan.homes == ()


def test_mocap_counts_the_traffic_it_causes() -> None:
    # Ports of 1 byte per tick and no overlap: chunks that read much from the partner are made shorter.
    # Then the plan is better than MBKR on chunks made without a thought of traffic.
    tables = tight(port_rate=1, token_bytes=60, capacity=60 * 225, overlap=0)
    proposal = mocap(tables)
    assert proposal.plan is not None
    blind = mocap(tight(token_bytes=60, capacity=60 * 225, overlap=0)).plan
    assert blind is not None

    def latency(plan: Plan) -> int:
        return contention_free_makespan(tables, plan.grid_indices(tables), plan.remote_pages(tables))

    assert latency(proposal.plan) < latency(blind)


def test_reallocation_by_hand() -> None:
    # Stage 0 keeps 3 of its pages of 5 bytes, stage 1 all: up to b = 5 two pages have gone to memory 1,
    # over a link of 2 bytes a tick: 10 / 2 = 5 ticks, of which a half shows.
    tables = make_tables(2, 6, token_bytes=5, link_rate=2, overlap=Fraction(1, 2))
    traffic = reallocation(tables, np.array([3, 6]), half_apart(2))
    assert traffic is not None
    assert traffic.whole == [0, 0, 0, 0, 3, 5, 8]
    assert traffic.shown == [0, 0, 0, 0, 2, 3, 4]
    assert reallocation(tables, np.array([6, 6]), half_apart(2)) is None


def test_mocap_says_so_if_there_is_no_fixed_point() -> None:
    # Unlike memories: a threshold bends to what the partner sends, and that to the chunks.
    tables = make_tables(
        7,
        132,
        max_chunks=11,
        linear=25,
        constant=96,
        token_bytes=10,
        capacity=[1752, 1488, 1470, 1200, 1089, 1104, 1075],
        working_bytes=2,
        queue_depth=2,
        port_rate=1,
    )
    proposal = mocap(tables)
    assert proposal.notes == ("LBCP and MBKR reached no fixed point in 8 rounds; the best round is kept",)
    assert proposal.plan is not None
    assert is_feasible(tables, proposal.plan)


def test_pairs_that_cannot_hold_the_chunks_make_lbcp_change_them() -> None:
    tables = tight(max_chunks=8, capacity=196, exact=True)
    # M = N = 8 equal chunks of 32: the pair's peak is 6 chunks, 192.  The balanced chunks shrink, so in
    # slot 7 stage 0 has 256 and stage 4 far more than half: they do not fit.
    slack = mocap(tight(max_chunks=8, capacity=256, exact=True)).plan
    assert slack is not None
    partner = half_apart(8)
    assert greatest_thresholds(tables, slack.grid_indices(tables), partner)[1] is not None
    plan = mocap(tables).plan
    assert plan is not None
    assert plan.boundaries[4] < slack.boundaries[4]
    assert greatest_thresholds(tables, equal_chunks(tables, 8), partner)[1] is None


def test_program_homes_are_never_worse_in_lockstep() -> None:
    tables = make_tables(
        3, 8, max_chunks=4, token_bytes=4, capacity=[22, 30, 44], linear=6, link_rate=2, port_rate=3
    )
    indices = equal_chunks(tables, 4)
    prices = {}
    for name in ("greedy", "program"):
        homes = HOME_RULES[name](tables, indices)
        assert homes.pages is not None
        plan = Plan.from_arrays(tables, indices, homes.pages)
        assert violations(tables, plan) == []
        prices[name] = replay_lockstep(tables, plan).latency
    assert prices["program"] <= prices["greedy"]
    better = METHODS["search-program"].propose(tables).plan
    start = METHODS["search-greedy"].propose(tables).plan
    assert better is not None
    assert start is not None
    assert better.boundaries == start.boundaries
    assert replay_lockstep(tables, better).latency <= replay_lockstep(tables, start).latency


def test_program_leaves_kv_at_home_that_fits() -> None:
    tables = make_tables(3, 8, max_chunks=4)
    pages = placement_program(tables, equal_chunks(tables, 4)).pages
    assert pages is not None
    assert not pages.any()


def test_the_page_names_every_rule_and_method() -> None:
    page = (Path(__file__).parent.parent / "formulations" / "heuristics.md").read_text()
    for name in [*BOUNDARY_RULES, *HOME_RULES]:
        assert f"\n| {name} | " in page
    methods = page.split("## Methods")[1]
    named = {name.strip() for row in methods.split("\n| ")[1:] for name in row.split(" |")[0].split(",")}
    assert set(METHODS) <= named
