"""Traffic that lack of room at home forces: no feasible plan does with less."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from random_plans import random_plan
from random_tables import random_tables

from mocap_opt.bounds.forced_traffic import ForcedTraffic, pooled_chunks
from mocap_opt.bounds.makespan import makespan_bounds
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.instance import load_instance
from mocap_opt.replay.contention_free_makespan import durations
from mocap_opt.schedule.requests import build_requests

OVERLAP = Path(__file__).parent / "data" / "stream-overlap.json"


def test_no_feasible_plan_spends_less_time_or_room() -> None:
    rng = np.random.default_rng(21)
    forced_chunks = checked = 0
    for number in range(40):
        tables = random_tables(rng, name=f"instance {number}")
        for _ in range(4):
            plan = random_plan(tables, rng)
            if plan is None:
                break
            indices, pages = plan.grid_indices(tables), plan.remote_pages(tables)
            free = PooledMemory.of(tables).free(plan.longest)
            start, end = indices[:-1], indices[1:]
            checked += 1
            steps = int(np.diff(indices).max())
            assert pooled_chunks(tables, start, end, int(free.sum()), steps).all(), tables.name
            forced = ForcedTraffic.of(tables, free)
            if forced is None:
                continue
            taken = forced.occupancy(start, end, free)
            assert (taken <= durations(tables, indices, pages)).all(), tables.name
            tau = tables.tau(np.arange(tables.stages)[:, None], start, end)
            forced_chunks += int((taken > tau).sum())
    assert checked >= 60
    assert forced_chunks >= 20


def test_chunks_that_need_more_than_all_memories_are_left_out() -> None:
    # Room for one page of four on each of four stages.  Beside the last two pages' chunk the next stage holds
    # two; beside the first two pages' chunk the stage before holds three at least.
    requests = build_requests(load_instance(OVERLAP))
    tables = requests[0].tables
    page = int(tables.page_bytes[0])
    start, end = np.array([0, 0, 2]), np.array([4, 2, 4])
    assert pooled_chunks(tables, start, end, 4 * page, 4).tolist() == [True, False, False]


def test_a_stream_that_cannot_overlap_is_bounded_to_a_hundredth_of_a_per_cent() -> None:
    # The two requests run one after the other, in 165.3297 s: without traffic the bound was 72.3 s.
    requests = build_requests(load_instance(OVERLAP))
    bounds = {bound.name: bound.ticks for bound in makespan_bounds(requests, order_given=True)}
    makespan = 165_329_655_217
    assert 0.9998 * makespan <= bounds["work_and_memory"] <= makespan
