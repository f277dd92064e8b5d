"""What the chunk searches leave out cannot win: without the pruning they find the same plans, later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import make_tables
from random_tables import Size, random_tables

from mocap_opt.arrays import IntArray
from mocap_opt.baselines import METHODS
from mocap_opt.chunking import chunk_count_search as sweeping
from mocap_opt.chunking.bottleneck_partition import TrialPruning, min_max_partition
from mocap_opt.chunking.chunk_count_search import _CountSearch
from mocap_opt.chunking.longest_chunk_time import BottleneckTimes
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.homes.slot_placement import pooled_shortage
from mocap_opt.schedule.plan import Plan
from mocap_opt.tables.cost_tables import Tables

LONG = Size(stages=(4, 10), steps=(60, 160), max_chunks=(8, 40), quanta=(1, 4))


def scarce(count: int) -> list[Tables]:
    """Instances whose memories hold 0.5 to 0.95 of a stage's cache, half with a reserve that varies."""
    rng = np.random.default_rng(41)
    found = []
    for n in range(count):
        tables = random_tables(rng, LONG, f"scarce {n}")
        working = rng.integers(0, 2, tables.stages) if n % 2 else np.zeros(tables.stages, dtype=np.int64)
        tables = replace(tables, working_bytes=working, queue_depth=2)
        needed = tables.static + tables.reserve(-(-tables.tokens // tables.max_chunks)) + tables.prefix_bytes
        part = float(rng.uniform(0.5, 0.95)) * tables.page_bytes * tables.pages[-1]
        found.append(replace(tables, capacity=needed + part.astype(np.int64)))
    return found


def trials(
    monkeypatch: pytest.MonkeyPatch, instances: list[Tables], name: str
) -> tuple[list[Plan | None], int]:
    """Plans of a method, and how many counts had their least trial searched for."""
    searched = 0

    def counted(*args: object, **options: object) -> object:
        nonlocal searched
        searched += len(args) == 4  # not those that a method makes itself, with a memory rule
        return min_max_partition(*args, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(sweeping, "min_max_partition", counted)
        plans = [METHODS[name].propose(tables).plan for tables in instances]
    return plans, searched


@pytest.mark.parametrize("name", ["mocap", "search-greedy"])
def test_refuted_counts_never_held_the_plan(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    instances = scarce(26)
    plans, searched = trials(monkeypatch, instances, name)
    monkeypatch.setattr(TrialPruning, "refute", lambda *_: False)
    everything, all_searched = trials(monkeypatch, instances, name)
    assert everything == plans
    assert sum(plan is not None for plan in plans) > 9
    assert searched < 0.7 * all_searched


@pytest.mark.parametrize("name", ["mocap", "search-greedy"])
def test_limits_ruled_out_together_never_held_the_plan(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    instances = scarce(26)[1::2]
    asked = 0
    lacking = _CountSearch.lacking

    def each_alone(
        self: _CountSearch, bounded: LengthLimits, shorter: int, count: int, *, closely: bool = False
    ) -> int:
        nonlocal asked
        asked += closely
        return lacking(self, bounded, shorter, count, closely=True) if closely else 0

    def as_it_is(
        self: _CountSearch, bounded: LengthLimits, shorter: int, count: int, *, closely: bool = False
    ) -> int:
        nonlocal asked
        asked += closely
        return lacking(self, bounded, shorter, count, closely=closely)

    found: dict[str, tuple[list[Plan | None], int]] = {}
    for title, judge in (("alone", each_alone), ("together", as_it_is)):
        asked = 0
        monkeypatch.setattr(_CountSearch, "lacking", judge)
        found[title] = [METHODS[name].propose(tables).plan for tables in instances], asked
    assert found["alone"][0] == found["together"][0]
    assert found["together"][1] < found["alone"][1]


def test_a_refuted_trial_by_hand() -> None:
    # Phi = x, 12 steps, 2 stages of 9 pages each, pooled: slot M - 1 holds p_M + p_{M-1} <= 18, so the last
    # chunk has at least 6 steps.  Within a trial of 5 the walk's last chunk has 5: refuted, and so are
    # all of 3 chunks or more (12 in chunks of at most 5).  A trial of 6 is not.
    tables = make_tables(2, 12, max_chunks=6, linear=1, capacity=9)

    def rows(indices: IntArray, longest: int | None) -> object:
        return pooled_shortage(tables, indices, longest)

    refuted = TrialPruning(BottleneckTimes(tables), LengthLimits.of(tables), rows)  # type: ignore[arg-type]
    assert not refuted.refute(6, 6)
    assert refuted.refute(6, 4)
    refuted.extend()
    assert (refuted.trial, refuted.count, refuted.chunks) == (5, 6, 3)
    assert [count for count in range(1, 8) if refuted.covers(count)] == [3, 4, 5, 6]
    assert refuted.includes(6, 5)
    assert not refuted.includes(6, 6)
    assert not refuted.includes(7, 5)
