"""The lockstep program in PyJobShop: never above the optimum, and equal to it where nothing was left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_tables
from oracle import brute_force
from random_tables import random_instances, with_unlimited_rates

from mocap_opt import load_instance, solve
from mocap_opt.formulations import joint_pyjobshop
from mocap_opt.formulations.joint_pyjobshop import mode_count, solve_modes
from mocap_opt.optional_dependencies import ExtraMissingError
from mocap_opt.solvers.limits import Limits
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.plain import refusal

INSTANCES = Path(__file__).parent.parent / "instances"
LIMITS = {"time_limit_s": 60.0, "threads": 1}


def test_a_missing_extra_is_named(monkeypatch):
    def missing(module, extra):
        raise ExtraMissingError(f"{module}: {extra}")

    monkeypatch.setattr(joint_pyjobshop, "require", missing)
    with pytest.raises(ExtraMissingError, match="pyjobshop: baseline"):
        solve_modes(make_tables(), Limits(**LIMITS))


def test_models_with_too_many_modes_are_refused():
    # 3 stages: 5 rows of tasks; 1 chunk of 4 tokens, of 2 the two halves of 3 cuts, and so on.
    small = make_tables(3, 4, max_chunks=1)
    assert mode_count(small) == 5
    assert refusal(small, "plain-pyjobshop") is None
    large = make_tables(3, 1000, max_chunks=8)
    assert "modes, more than 100,000" in refusal(large, "plain-pyjobshop")


def test_it_agrees_with_brute_force_where_homes_and_links_cost_nothing():
    pytest.importorskip("pyjobshop")
    agreed = bounded = 0
    for tables in random_instances(23, 60):
        optimum = brute_force(tables)
        plan, outcome = solve_modes(tables, Limits(**LIMITS))
        if outcome.status is Status.INFEASIBLE:
            assert optimum is None
            continue
        assert outcome.status is Status.OPTIMAL
        if optimum is not None:
            assert outcome.bound <= outcome.objective <= optimum.value
            bounded += 1
        ample = replace(with_unlimited_rates(tables), capacity=np.full(tables.stages, 2**50))
        best = brute_force(ample)
        plan, outcome = solve_modes(ample, Limits(**LIMITS))
        assert best is not None
        assert outcome.objective == outcome.bound == best.value
        assert plan.boundaries[-1] == tables.tokens
        agreed += 1
    assert bounded >= 20
    assert agreed >= 20


@pytest.mark.parametrize(
    ("capacity", "boundaries", "latency"), [(14, (0, 4, 8), 210), (13, (0, 8), 220), (12, (0, 8), 220)]
)
def test_memory_and_reserve_bind(capacity, boundaries, latency):
    # Phi = 10 x, c = 30: two halves take 3 x 70, one chunk 2 x 110.  Either reserve is 8 bytes a stage.  When
    # stage 0 is done, halves hold 8 + 4 bytes of KV, one chunk 8: 2 x (capacity - 8) bytes are there.
    pytest.importorskip("pyjobshop")
    tables = memory_bound(capacity)
    plan, outcome = solve_modes(tables, Limits(**LIMITS))
    assert (plan.boundaries, outcome.objective, outcome.bound) == (boundaries, latency, latency)
    assert brute_force(tables).value == latency


def test_no_room_is_infeasible():
    pytest.importorskip("pyjobshop")
    assert brute_force(memory_bound(11)) is None
    assert solve_modes(memory_bound(11), Limits(**LIMITS))[1].status is Status.INFEASIBLE


def memory_bound(capacity):
    return make_tables(
        2,
        8,
        quantum=2,
        linear=10,
        constant=30,
        capacity=capacity,
        working_bytes=1,
        queue_depth=1,
    )


def test_the_method_reports_its_plan_and_bound():
    pytest.importorskip("pyjobshop")
    report = solve(
        load_instance(INSTANCES / "tiny-slack.json"), "plain-pyjobshop", execution="lockstep", threads=1
    ).report
    assert report.status is Status.OPTIMAL
    assert report.latency_s == report.lower_bound_s == 69e-6
