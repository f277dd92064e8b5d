"""The shipped tiny instances: optima worked out by hand, found by every back end.

All have two stages, unbounded queues, ticks of a microsecond, pages of one token and q = 1.  The link
carries a byte per tick and a token's activations are one byte, so a chunk of l tokens takes l ticks to
reach the second stage (3 + l in tiny-detour): a lockstep plan pays S of them in all.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from oracle import brute_force

from mocap_opt import build_tables, load_instance, solve
from mocap_opt.bounds import prove_infeasible
from mocap_opt.formulations import joint, joint_cpsat
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers.outcome import ProgramResult, Status
from mocap_opt.tables.cost_tables import Tables

INSTANCES = Path(__file__).resolve().parent.parent / "instances"

LOCKSTEP_OPTIMA = {
    # Phi = 10 x, c = 3, S = 4.  m equal chunks: (m + 1) (40/m + 3) + 4.
    # m = 1: 90, m = 2: 73, m = 3 (2 1 1): 23 + 23 + 13 + 13 + 4 = 76, m = 4: 69.
    "tiny-slack": (69, (0, 1, 2, 3, 4)),
    # Phi = x + x^2, S = 6, one inner boundary p: Phi(p) + max(Phi(p), 42 - Phi(p)) + 42 - Phi(p) + 6
    # = 48 + max(Phi(p), 42 - Phi(p)); Phi = 2 6 12 20 30: p = 4 gives 48 + 22.  One chunk: 90.
    "tiny-shrinking": (70, (0, 4, 6)),
    # Static 7 + reserve 4 x 4 leave 6 bytes, three tokens' KV, in each memory.
    # Chunks 2 + 2: slot 1 needs 4 + 2 tokens of KV and finds room for 6; a moved token takes 2 ticks
    # next to compute of 23.  23 x 3 + 4 = 73.
    # One chunk: 2 x 43 + 4 = 90; chunks 3 + 1 need 4 + 3 tokens in slot 1: no room; 1 + 3: 13 + 2 x 33 + 4.
    "tiny-pooled": (73, (0, 2, 4)),
    # Phi = x, a token's KV is 4 bytes: 4 ticks on the link.  Room for three tokens' KV as above.
    # One chunk: slots of max(4, 4) + 4 and max(4, 4): 12.
    # 2 + 2: 2 + 2, then 4 (the moved token) + 2, then 4: 14.  1 + 3: 1 + 1, 4 + 3, 4: 13.  3 + 1: no room.
    "tiny-slow-link": (12, (0, 4)),
    # Phi = x + x^2 + 2 x 3 = x^2 + 7 x, a chunk from a pays 3 + a.  p = 2: chunks of 18 + 3 and 12 + 5:
    # 21 + 21 + 17 + 3 = 62.  p = 1: 8 + 3 and 22 + 4: 11 + 26 + 26 + 3 = 66.  One chunk: 2 x 33 + 3 = 69.
    "tiny-prefix": (62, (0, 2, 3)),
    # Three hops of 1: 2 + 2: 3 x 23 + 2 x 5 = 79.
    # Four chunks: 5 x 13 + 4 x 4 = 81; three: 23 + 23 + 13 + 13 + 5 + 4 + 4 = 85; one: 2 x 43 + 7 = 93.
    "tiny-detour": (79, (0, 2, 4)),
    # Phi = 10 x and 20 x, c = 1, S = 3.  1 + 2: 11, max(21, 21), 41, sends 3: 76.
    # 1 + 1 + 1: 11 + 21 + 21 + 21 + 3 = 77; 2 + 1: 21 + 41 + 21 + 3 = 86; one chunk: 31 + 61 + 3 = 95.
    "tiny-unequal": (76, (0, 1, 3)),
}

EXECUTION_OPTIMA = {
    # Without barriers the first stage never waits: its work, then the last chunk's way through.
    # Four chunks: 4 x 13 + 1 + 13.
    "tiny-slack": 66,
    # Chunks 4 + 2: 20 + 22, or the longer first one twice: 42 + 2 + 22 = 66 > 20 + 4 + 20 + 22.
    "tiny-shrinking": 66,
    # Chunks 2 + 2: 23 + 23 + 2 + 23, if the token that moves does so with the first chunk: with the
    # second it shares the link with the first chunk's activations, which then arrive 2 ticks later.
    "tiny-pooled": 71,
    "tiny-slow-link": 12,
    # Chunks 2 + 1: 21 + 2 + 21 + 17 = 61, against 21 + 17 + 1 + 17.
    "tiny-prefix": 61,
    # Four chunks: 4 x 13 + 4 + 13 = 69; two: 46 + 5 + 23 = 74.
    "tiny-detour": 69,
    # 1 + 1 + 1: the second stage works 3 x 21 from 12 on.  1 + 2: the second chunk arrives at
    # 11 + 21 + 2 = 34, when the first is just through (33), and takes 41.  Both 75.
    "tiny-unequal": 75,
}


def tables_of(name: str) -> Tables:
    return build_tables(load_instance(INSTANCES / f"{name}.json"))


@pytest.fixture(params=["highs", "cpsat"])
def solve_lockstep(request: pytest.FixtureRequest) -> Callable[[Tables], ProgramResult]:
    program = joint.solve_joint if request.param == "highs" else joint_cpsat.solve_joint
    return lambda tables: program(tables, None, time_limit_s=60, gap=0.0, seed=0, threads=1)


@pytest.mark.parametrize("name", LOCKSTEP_OPTIMA)
def test_brute_force_finds_the_optimum_worked_out_by_hand(name):
    optimum = brute_force(tables_of(name))
    value, boundaries = LOCKSTEP_OPTIMA[name]
    assert optimum is not None
    assert (optimum.value, optimum.plan.boundaries) == (value, boundaries)


@pytest.mark.parametrize("name", LOCKSTEP_OPTIMA)
def test_both_solvers_find_it_and_prove_it(name, solve_lockstep):
    tables = tables_of(name)
    result = solve_lockstep(tables)
    value, boundaries = LOCKSTEP_OPTIMA[name]
    assert result.outcome.status is Status.OPTIMAL
    assert result.outcome.objective == value
    assert result.plan is not None
    assert result.plan.boundaries == boundaries
    assert violations(tables, result.plan) == []
    assert replay_lockstep(tables, result.plan).latency == value


@pytest.mark.parametrize("name", EXECUTION_OPTIMA)
@pytest.mark.parametrize("solver", ["highs", "cpsat"])
def test_the_joint_method_finds_and_proves_the_best_execution(name, solver):
    instance = load_instance(INSTANCES / f"{name}.json")
    report = solve(instance, "joint", solver=solver, gap=0.0, time_limit_s=60).report
    assert report.status is Status.OPTIMAL
    assert report.gap == 0.0
    assert report.latency_s == pytest.approx(EXECUTION_OPTIMA[name] * 1e-6, rel=1e-12)


def test_the_hopeless_instance_is_proved_so(solve_lockstep):
    # Static 7 + reserve 16 leave 2 bytes, one token's KV, in each memory: the last slot of stage 0 has
    # all four tokens of its own.
    tables = tables_of("tiny-hopeless")
    assert brute_force(tables) is None
    assert prove_infeasible(tables) is not None
    assert solve_lockstep(tables).outcome.status is Status.INFEASIBLE


def test_every_tiny_instance_is_covered():
    shipped = {file.stem for file in INSTANCES.glob("tiny-*.json")}
    assert shipped == {*LOCKSTEP_OPTIMA, "tiny-hopeless"} == {*EXECUTION_OPTIMA, "tiny-hopeless"}
