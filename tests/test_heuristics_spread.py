"""Homes that share out the links, against the nearest homes on instances where links are scarce."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from random_tables import MIDDLING, random_tables

from mocap_opt.baselines import HOME_RULES, METHODS
from mocap_opt.homes.greedy import greedy
from mocap_opt.homes.link_balanced_greedy import link_balanced_greedy
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations


def test_homes_are_feasible_and_found_wherever_the_nearest_are() -> None:
    rng = np.random.default_rng(31)
    remote = 0
    for _ in range(120):
        tables = random_tables(rng, MIDDLING)
        plan = METHODS["search-greedy"].propose(tables).plan
        if plan is None or not plan.homes:
            continue
        indices = plan.grid_indices(tables)
        pages = link_balanced_greedy(tables, indices).pages
        if pages is None:
            # Pages of unlike sizes may be packed too badly; alike ones always fit.
            assert len(set(tables.page_bytes.tolist())) > 1
            continue
        remote += 1
        assert not violations(tables, Plan.from_arrays(tables, indices, pages))
    assert remote > 15


def test_slots_get_shorter_where_links_are_scarce() -> None:
    rng = np.random.default_rng(33)
    better = worse = 0
    for _ in range(120):
        tables = random_tables(rng, MIDDLING)
        tables = replace(tables, link_rate=np.maximum(tables.link_rate // 2, 1))
        plan = METHODS["search-greedy"].propose(tables).plan
        if plan is None or not plan.homes:
            continue
        indices = plan.grid_indices(tables)
        placed = [rule(tables, indices).pages for rule in (greedy, link_balanced_greedy)]
        if placed[1] is None:
            continue
        near, shared = (
            replay_lockstep(tables, Plan.from_arrays(tables, indices, pages)).latency for pages in placed
        )
        better, worse = better + (shared < near), worse + (shared > near)
    assert better > 2 * worse
    assert better > 10


def test_the_rule_is_to_be_had_by_name() -> None:
    assert HOME_RULES["spread"] is link_balanced_greedy
    rng = np.random.default_rng(35)
    moved = 0
    for _ in range(40):
        tables = random_tables(rng, MIDDLING)
        near, shared = (METHODS[name].propose(tables).plan for name in ("search-greedy", "search-spread"))
        assert (near is None) == (shared is None)
        if near is not None and shared is not None:
            assert near.boundaries == shared.boundaries
            assert not violations(tables, shared)
            moved += near.homes != shared.homes
    assert moved > 2
