"""Homes by the link-balancing program, and boundaries moved with such homes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from builders import make_tables
from random_tables import MIDDLING, random_tables

from mocap_opt import load_instance
from mocap_opt.arrays import IntArray
from mocap_opt.baselines import METHODS
from mocap_opt.homes.home_search import placement_program
from mocap_opt.homes.link_balanced_greedy import link_balanced_greedy
from mocap_opt.homes.link_balancing_lp import LinkBalancingProgram, link_balancing_lp
from mocap_opt.homes.proposal import HomeRule
from mocap_opt.homes.slot_placement import SlotPlacement
from mocap_opt.replay.evaluation import assess
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.search.boundary_judges import contention_free_judge
from mocap_opt.search.replayed_boundary_search import improve_boundaries
from mocap_opt.stopping import StoppedError
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

BENCH = Path(__file__).parents[1] / "instances" / "bench"


def congested(seed: int, count: int) -> Iterator[tuple[Tables, IntArray]]:
    """Instances with slow links, and boundaries for which some KV has to leave its stage."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        tables = random_tables(rng, MIDDLING)
        tables = replace(tables, link_rate=np.maximum(tables.link_rate // 4, 1))
        plan = METHODS["search-greedy"].propose(tables).plan
        if plan is not None and plan.homes:
            yield tables, plan.grid_indices(tables)


def test_homes_are_feasible_wherever_they_are_found_one_after_the_other() -> None:
    found = 0
    for tables, indices in congested(41, 60):
        one_by_one, shared = (
            rule(tables, indices).pages for rule in (link_balanced_greedy, link_balancing_lp)
        )
        assert shared is not None or one_by_one is None
        if shared is not None:
            found += 1
            assert not violations(tables, Plan.from_arrays(tables, indices, shared))
    assert found > 10


def test_where_links_bind_slots_get_shorter_than_one_after_the_other() -> None:
    tables = build_tables(load_instance(BENCH / "M-links.json"))
    plan = METHODS["search-greedy"].propose(tables).plan
    assert plan is not None
    indices = plan.grid_indices(tables)
    one_by_one, shared = (
        replay_lockstep(tables, Plan.from_arrays(tables, indices, rule(tables, indices).pages)).latency
        for rule in (link_balanced_greedy, link_balancing_lp)
    )
    assert shared < 0.95 * one_by_one


def test_what_the_program_wants_fits_and_stays() -> None:
    for tables, indices in congested(43, 12):
        program = LinkBalancingProgram(tables, indices)
        linear = program.build()
        held = np.zeros(linear.columns)
        assert linear.rows == linear.row_upper.size
        # With nothing moved, only memory rows can be broken, and some are.
        broken = np.flatnonzero(linear.matrix @ held > linear.row_upper)
        assert broken.size
        stage, chunk, memory = program.places
        assert (stage != memory).all()
        assert (np.diff(stage * indices.size + chunk) >= 0).all()


def test_kv_that_fits_at_home_stays_and_what_fits_nowhere_is_said() -> None:
    ample = make_tables(3, 4)
    assert not link_balancing_lp(ample, np.arange(5)).pages.any()
    none = make_tables(2, 4, token_bytes=10, capacity=[10, 10])
    short = link_balancing_lp(none, np.arange(5)).shortage
    assert short is not None
    assert short.bytes_short > 0


def test_it_is_deterministic_and_stops_when_asked() -> None:
    tables, indices = next(congested(47, 40))
    first, second = (link_balancing_lp(tables, indices).pages for _ in range(2))
    assert np.array_equal(first, second)
    with pytest.raises(StoppedError, match="stopped"):
        link_balancing_lp(tables, indices, lambda: True)


def test_placing_keeps_count_of_room() -> None:
    tables, indices = next(congested(53, 40))
    placing = SlotPlacement.begin(tables, indices)
    assert isinstance(placing, SlotPlacement)
    before = placing.free.copy()
    for t in placing.slots:
        for i, left in placing.keep(t):
            spare, some = placing.rooms(i, t)
            assert (spare <= some).all()
            assert some[i] == 0
            assert left > 0
            memory = int(some.argmax())
            assert placing.most(i, t, memory) == some[memory]
            if some[memory]:
                placing.put(i, t, memory, 1)
                used = before[memory] - placing.free[memory]
                assert (used[t : i + placing.chunks] >= tables.page_bytes[i]).all()
                return
    pytest.fail("nothing had to leave")


@pytest.mark.parametrize("rule", [link_balancing_lp, placement_program])
def test_moved_boundaries_are_never_worse_and_mostly_better(rule: HomeRule) -> None:
    better = checked = 0
    for tables, indices in congested(59, 12):
        pages = link_balancing_lp(tables, indices).pages
        if pages is None:
            continue

        def price(plan: Plan, tables: Tables = tables) -> Fraction:
            return assess(tables, plan).latency

        plan = Plan.from_arrays(tables, indices, pages)
        steps = iter(range(30))
        found = improve_boundaries(
            tables,
            plan,
            price,
            rule,
            judge=contention_free_judge(tables),
            asked_to_stop=lambda steps=steps: next(steps, None) is None,
        )
        assert not violations(tables, found)
        assert price(found) <= price(plan)
        checked += 1
        better += price(found) < price(plan)
    assert checked >= 3
    assert better >= 1


def test_placed_homes_are_no_slower_in_lockstep_than_those_they_start_from() -> None:
    gained = 0
    for tables, indices in congested(67, 12):
        first = link_balancing_lp(tables, indices).pages
        if first is None:
            continue
        placed = placement_program(
            tables, indices, first=link_balancing_lp, time_limit_s=None, deterministic_limit=1.0
        ).pages
        assert placed is not None
        before, after = (
            replay_lockstep(tables, Plan.from_arrays(tables, indices, pages)).latency
            for pages in (first, placed)
        )
        assert after <= before
        gained += after < before
    assert gained >= 2


def test_pages_of_a_few_bytes_among_large_ones_are_placed() -> None:
    # On the links they are less than a part in 1e9 of a slot, coefficients that HiGHS does not take.
    tables = build_tables(load_instance(BENCH / "S-links.json"))
    size, ample = tables.page_bytes.copy(), tables.capacity * 5
    size[0] = 3
    plan = METHODS["uniform-greedy"].propose(replace(tables, capacity=ample.copy())).plan
    assert plan is not None
    indices = plan.grid_indices(tables)
    longest = int(np.diff(tables.grid[indices]).max())
    ample[0] = int((tables.static + tables.reserve(longest))[0]) + 30
    tiny = replace(tables, page_bytes=size, capacity=ample, activation_bytes=tables.activation_bytes * 200)
    pages = link_balancing_lp(tiny, indices).pages
    assert pages is not None
    assert not violations(tiny, Plan.from_arrays(tiny, indices, pages))
