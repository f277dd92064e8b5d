"""Reading ahead, riders, tiles and shares alone, and any two mechanisms together, against brute force."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from contention_free_oracle import contention_free_latency
from oracle import brute_force, least_price, lockstep_price
from random_mechanisms import random_mixture, some_kinds

from mocap_opt.bounds import Scope, lower_bounds, prove_infeasible
from mocap_opt.formulations import (
    benders,
    benders_cpsat,
    contention_free,
    contention_free_cpsat,
    joint,
    joint_cpsat,
)
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers.outcome import Status
from mocap_opt.tables.cost_tables import Tables

WAITING = ("energetic_traffic", "enumerated_partitions")
"""Bounds that know more than the recursion: what links carry, and that memory has to be free."""

ALONE = ("prefetch", "riders", "tiles", "share")
SETS = (*ALONE, "pair")

few_or_all = pytest.mark.parametrize("count", [5, pytest.param(300, marks=pytest.mark.slow)])


@cache
def instances(kind: str, count: int) -> list[Tables]:
    rng = np.random.default_rng([*kind.encode(), count])
    found = []
    for n in range(count):
        kinds = some_kinds(rng, 2) if kind == "pair" else [kind]
        stages, steps = (3, 3) if n % 4 == 3 else (2, 4)
        found.append(random_mixture(rng, kinds, stages=stages, steps=steps))
    return found


@cache
def optimum(kind: str, count: int, n: int, price):
    return brute_force(instances(kind, count)[n], price)


@few_or_all
@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize(
    ("solve", "price"),
    [
        (joint.solve_joint, lockstep_price),
        (benders.solve_decomposition, lockstep_price),
        (joint_cpsat.solve_joint, lockstep_price),
        (benders_cpsat.solve_decomposition, lockstep_price),
        (contention_free.solve_contention_free, contention_free_latency),
        (contention_free_cpsat.solve_contention_free, contention_free_latency),
    ],
    ids=["highs", "highs-decomposed", "cpsat", "cpsat-decomposed", "free-highs", "free-cpsat"],
)
def test_programs_agree_with_brute_force(solve, price, kind: str, count: int):
    solved = 0
    for n, tables in enumerate(instances(kind, count)):
        best = optimum(kind, count, n, price)
        result = solve(tables, None, time_limit_s=60.0, threads=1)
        if best is None:
            assert result.outcome.status is Status.INFEASIBLE, (n, tables.name)
            continue
        solved += 1
        assert result.outcome.objective == best.value, (n, tables.name)
        # What HiGHS claims and a second reading does not confirm is dropped, bound and all.
        known, dropped = result.outcome.bound, "dropped" in result.outcome.message
        assert known == best.value or (dropped and (known or 0) <= best.value), (n, tables.name)
        if price is lockstep_price:
            assert not violations(tables, result.plan)
            assert replay_lockstep(tables, result.plan).latency == best.value
    assert solved > count / 6


@few_or_all
@pytest.mark.parametrize("kind", SETS)
def test_no_optimum_beats_a_bound(kind: str, count: int):
    for n, tables in enumerate(instances(kind, count)):
        best = optimum(kind, count, n, lockstep_price)
        if best is None:
            continue
        assert prove_infeasible(tables) is None
        fastest = optimum(kind, count, n, least_price)
        for bound in lower_bounds(tables, quick=count < 100):
            limit = fastest.value if bound.scope is Scope.ANY_EXECUTION else best.value
            if bound.name in WAITING:
                runs = [replay_event(tables, each.plan).latency for each in (best, fastest)]
                limit = min(*runs, best.value)
            assert bound.ticks <= limit, (n, bound, tables.name)


def test_generated_instances_have_what_they_are_named_after():
    rng = np.random.default_rng(2)
    drawn = {
        kind: [random_mixture(rng, [kind]) for _ in range(20)] for kind in ("prefetch", "riders", "tiles")
    }
    varying = [each.rider_bytes is not None and np.ptp(each.rider_bytes[0, 1:]) for each in drawn["riders"]]
    assert any(varying)
    for kind in ("prefetch", "tiles"):
        assert sum(each.full_block.any() for each in drawn[kind]) > 10
