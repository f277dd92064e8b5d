"""Instances at the edge of what is allowed: no links at all, and work that rounds to no time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from builders import make_tables
from contention_free_oracle import contention_free_latency
from oracle import brute_force, lockstep_price
from toy_instances import toy

from mocap_opt import build_tables, solve
from mocap_opt.formulations import contention_free, contention_free_cpsat, joint, joint_cpsat
from mocap_opt.instance import Instance
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.search.boundary_slp import boundary_slp_plans
from mocap_opt.solvers.outcome import Status

PROGRAMS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "joint-highs": (joint.solve_joint, lockstep_price),
    "joint-cpsat": (joint_cpsat.solve_joint, lockstep_price),
    "contention-free-highs": (contention_free.solve_contention_free, contention_free_latency),
    "contention-free-cpsat": (contention_free_cpsat.solve_contention_free, contention_free_latency),
}


def one_die() -> Instance:
    """A wafer of a single die, no links; short of memory for one long chunk."""
    return toy(
        wafer={"rows": 1, "cols": 1, "die": {"memory_bytes": 2000}},
        pipeline={"stages": 1, "queue_depth": 1},
    )


def timeless() -> Instance:
    """Times far below a tick: every table of times is zero."""
    return toy(
        wafer={"link": {"hop_latency": 0, "bandwidth": "1 TB/s"}, "die": {"memory_bandwidth": "1 TB/s"}},
        pipeline={"stages": 1},
        costs={"kind": "coefficients", "stages": {"linear": 1e-15}},
        tick="1 ns",
    )


INSTANCES = {"one die": one_die, "timeless": timeless}


def test_the_instances_are_degenerate() -> None:
    assert build_tables(one_die()).links == ()
    assert not build_tables(timeless()).phi.any()


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("kind", INSTANCES)
def test_every_program_agrees_with_brute_force(kind: str, program: str) -> None:
    tables = build_tables(INSTANCES[kind]())
    run, price = PROGRAMS[program]
    best = brute_force(tables, price)
    assert best is not None
    outcome = run(tables, None, time_limit_s=60, threads=1).outcome
    assert (outcome.status, outcome.objective, outcome.bound) == (Status.OPTIMAL, best.value, best.value)


@pytest.mark.parametrize("solver", ["highs", "cpsat"])
@pytest.mark.parametrize("kind", INSTANCES)
def test_solve_proves_its_plan(kind: str, solver: str) -> None:
    report = solve(INSTANCES[kind](), solver=solver, time_limit_s=60).report
    assert report.status is Status.OPTIMAL
    assert report.gap == 0
    assert report.latency_s == report.lower_bound_s


def test_balancing_boundaries_when_chunks_take_no_time() -> None:
    tables = make_tables(2, 8, linear=0, max_chunks=4)
    plans = boundary_slp_plans(tables, Plan((0, 2, 4, 8)))
    assert all(violations(tables, plan) == [] for plan in plans)
