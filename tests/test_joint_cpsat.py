"""The lockstep program for CP-SAT: each family alone, each necessary, and the steps it is solved in."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from builders import make_tables
from oracle import brute_force, lockstep_price, price_plan
from random_tables import random_instances

from mocap_opt.formulations import cpsat_decomposition as steps_cpsat
from mocap_opt.formulations import joint_cpsat
from mocap_opt.formulations.joint_cpsat import FAMILIES, build, solve_joint
from mocap_opt.formulations.plan_cpsat import decisions, read_plan
from mocap_opt.formulations.resources import undominated
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers import cpsat
from mocap_opt.solvers.limits import Limits
from mocap_opt.solvers.outcome import Progress, Status, StopReason
from mocap_opt.tables.cost_tables import Tables

ONE = Limits(threads=1)


def away(**changes: object) -> Tables:
    """Two stages of 1 tick a token, no room at home on stage 0: its KV, 12 bytes a token, moves."""
    settings = {"linear": 1, "token_bytes": 12, "capacity": [0, 48], "link_rate": 100} | changes
    return make_tables(2, 2, max_chunks=2, **settings)  # type: ignore[arg-type]


def shared_link() -> Tables:
    """Three stages; the sends 0 -> 1 and 1 -> 2 both cross link 0>1."""
    tables = make_tables(3, 2, max_chunks=2, exact=True, linear=1, activation_bytes=5, link_rate=1)
    share = tables.share.copy()
    share[0, 1, 2] = 1
    return replace(tables, share=share)


def slow_send() -> Tables:
    """Sends that take longer than their bytes on any link."""
    tables = make_tables(2, 2, linear=1, max_chunks=1)
    return replace(tables, send=tables.send + 7)


NECESSARY = {
    # 2 tokens at 10 ticks on 2 stages, one chunk: 40, two: 30.
    "compute_ends": (make_tables(2, 2, linear=10, max_chunks=2), 30),
    # Chunk 0 writes 12 bytes (12 ticks at 1 byte per tick), chunk 1 writes 12 and reads 12 elsewhere.
    "kv_passes_links": (away(link_rate=1), 12 + 12 + 1),
    # At port 1: 12 bytes in slot 0, 24 in slot 1.  One chunk: 24, then 2.
    "kv_passes_ports": (away(port_rate=[10**12, 1]), 26),
    # 12 bytes take 3 ticks, and none of them overlap: 1 + 3 in slots 0 and 1, then 1.
    "own_kv_delays_compute": (away(link_rate=4, overlap=0), 4 + 4 + 1),
    "messages_end": (slow_send(), 2 + 7 + 2),
    # A token's send takes 5: slots of 1 with exchanges 5, 5 + 5 and 5.
    "activations_pass_links": (shared_link(), 4 + 20),
    # With no KV moved: 3 slots of 1.  With it, 12 bytes at 1 byte per tick in slots 0 and 1.
    "memory_has_room": (away(link_rate=1), 12 + 12 + 1),
    "homes_stay": (away(link_rate=1), 12 + 12 + 1),
}


@pytest.mark.parametrize("name", NECESSARY)
def test_each_family_is_necessary(name: str) -> None:
    tables, optimum = NECESSARY[name]
    assert solve_joint(tables, threads=1).outcome.objective == optimum
    found = brute_force(tables)
    assert found is not None
    assert found.value == optimum
    without = build(tables, families=[family for family in FAMILIES if family[0] != name])
    assert cpsat.solve(without.program, limits=ONE).outcome.objective != optimum


@pytest.mark.parametrize("name", ["pooled_memory_has_room", "paths_take_their_time"])
def test_redundant_families_change_nothing(name: str) -> None:
    rows = 0
    for tables in random_instances(31, 25):
        whole, without = build(tables), build(tables, families=[f for f in FAMILIES if f[0] != name])
        rows += len(whole.program.rows) - len(without.program.rows)
        answers = [cpsat.solve(p.program, limits=ONE).outcome for p in (whole, without)]
        assert answers[0].status == answers[1].status
        assert answers[0].objective == answers[1].objective
    assert rows > 10


@pytest.mark.parametrize(
    ("values", "broken"),
    [
        # p_1, p_2, used_0, used_1 of three chunks that share four tokens.
        ((1, 2, 1, 1), []),
        ((0, 2, 0, 1), []),
        ((0, 0, 0, 0), []),
        ((2, 2, 1, 1), ["boundaries[1]"]),
        ((0, 2, 1, 1), ["boundaries[0]"]),
        ((2, 2, 1, 0), ["empty_chunks_lead[0]", "empty_chunks_lead[1]"]),
        ((1, 2, 0, 1), ["boundaries[0]", "empty_chunks_lead[0]"]),
        ((2, 1, 1, 1), ["boundaries[1]", "steps[1]"]),
    ],
)
def test_boundaries_alone(values: tuple[int, ...], broken: list[str]) -> None:
    plan = build(make_tables(2, 4, max_chunks=3), families=FAMILIES[:2])
    names = ["boundary[1]", "boundary[2]", "used[0]", "used[1]"]
    given = {plan.program.names.index(name): value for name, value in zip(names, values, strict=True)}
    found = plan.program.broken(plan.program.complete(given))
    assert sorted(set(found)) == broken


@pytest.mark.parametrize(
    ("limits", "allowed"),
    [
        ({"max_length": 2}, [(0, 2), (1, 2), (1, 3), (2, 3)]),
        ({"min_length": 2}, [(0, 0), (0, 2)]),
        ({"exact": True}, [(1, 2), (1, 3), (2, 3)]),
        ({"exact": True, "max_length": 1}, []),
    ],
)
def test_lengths_and_counts_alone(limits: dict[str, int], allowed: list[tuple[int, int]]) -> None:
    plan = build(make_tables(2, 4, max_chunks=3, **limits), families=FAMILIES[:2])
    found = []
    for first, second in itertools.combinations_with_replacement(range(5), 2):
        given = dict(
            zip(
                ["boundary[1]", "boundary[2]", "used[0]", "used[1]"],
                [first, second, int(first > 0), int(second > 0)],
                strict=True,
            )
        )
        fixed = {j: mark for j, mark in ((1, first), (2, second)) if not plan.boundary[j].terms}
        if any(plan.boundary[j].constant != mark for j, mark in fixed.items()):
            continue
        values = plan.program.complete(
            {n: given[name] for n, name in enumerate(plan.program.names) if name in given}
        )
        if not plan.program.broken(values):
            found.append((first, second))
    assert found == allowed


def test_homes_and_memory_alone() -> None:
    # Memory 1 holds three tokens' KV; stage 0 has no room for its two.
    tables = make_tables(2, 2, max_chunks=2, exact=True, token_bytes=1, capacity=[1, 3])
    plan = build(tables, families=FAMILIES[:5])

    def broken(*homes: Home) -> list[str]:
        values = plan.program.complete(decisions(plan, Plan((0, 1, 2), homes)))
        return plan.program.broken(values)

    # Stage 0: one page by slot 0, two by slot 1, none from slot 2; stage 1 one slot later.
    assert broken(Home(0, 1, 1, 1)) == []
    assert broken(Home(0, 0, 1, 1)) == []
    assert broken() == ["memory_has_room[0,1]"]
    assert broken(Home(0, 0, 1, 1), Home(0, 1, 1, 1)) == []
    lost = plan.program.complete(decisions(plan, Plan((0, 1, 2), (Home(0, 1, 1, 2),))))
    assert "homes_stay[0,1,0]" in plan.program.broken(lost)
    small = build(replace(tables, capacity=np.array([1, 1])), families=FAMILIES[:5])
    values = small.program.complete(decisions(small, Plan((0, 1, 2), (Home(0, 1, 1, 1),))))
    assert "pooled_memory_has_room[1]" in small.program.broken(values)


def test_objective_of_any_plan_is_its_price() -> None:
    """Whatever the decisions, completing them prices the plan exactly."""
    priced = 0
    for tables in random_instances(17, 60):
        best = brute_force(tables)
        if best is None:
            continue
        plan = build(tables)
        for given in (best.plan, Plan(best.plan.boundaries)):
            if given.homes and not plan.homes:
                continue
            values = plan.program.complete(decisions(plan, given))
            assert plan.program.objective.value(values) == price_plan(tables, given, lockstep_price)
            assert bool(plan.program.broken(values)) == bool(violations(tables, given))
            priced += 1
            if not violations(tables, given):
                assert read_plan(plan, values) == given
    assert priced > 70


def test_agrees_with_brute_force() -> None:
    seen = {True: 0, False: 0}
    for tables in random_instances(5, 60):
        best, result = brute_force(tables), solve_joint(tables, threads=1)
        assert result.outcome.objective == (None if best is None else best.value), tables.name
        assert result.outcome.status is (Status.INFEASIBLE if best is None else Status.OPTIMAL)
        assert result.outcome.bound == result.outcome.objective
        if result.plan is not None:
            assert price_plan(tables, result.plan) == result.outcome.objective
        seen[best is None] += 1
    assert min(seen.values()) >= 5


@pytest.mark.parametrize("workers", [1, 4])
def test_a_start_never_hurts(workers: int) -> None:
    tables = away(link_rate=1)
    everything = Plan((0, 2), (Home(0, 0, 1, 2),))
    result = solve_joint(tables, everything, threads=workers)
    assert result.outcome.start_accepted is True
    assert result.outcome.objective == 25
    stopped = solve_joint(tables, everything, time_limit_s=0.0)
    assert stopped.outcome.objective == price_plan(tables, everything) == 26
    assert stopped.outcome.status is Status.FEASIBLE
    assert stopped.plan == everything


def test_an_infeasible_start_is_refused() -> None:
    with pytest.raises(ValueError, match="the start is not feasible: memory 0"):
        solve_joint(away(), Plan((0, 2)))


def test_needless_homes_of_a_start_come_home() -> None:
    tables = make_tables(2, 2, linear=1, max_chunks=2, token_bytes=3, link_rate=1)
    start = Plan((0, 1, 2), (Home(0, 0, 1, 1),))
    result = solve_joint(tables, start, time_limit_s=0.0)
    assert result.plan == Plan((0, 1, 2))
    assert result.outcome.objective == price_plan(tables, Plan((0, 1, 2))) == 3


def test_known_bounds_settle_and_are_checked() -> None:
    tables = away(link_rate=1)
    best = solve_joint(tables, threads=1).plan
    settled = solve_joint(tables, best, lower_bound=25)
    assert (settled.outcome.status, settled.outcome.stop) == (Status.OPTIMAL, StopReason.OPTIMAL)
    assert settled.outcome.solve_s == 0.0
    with pytest.raises(ValueError, match="lower bound 26 exceeds 25"):
        solve_joint(tables, best, lower_bound=26)


def test_a_bound_above_the_relaxation_is_used_soundly() -> None:
    # Pooled memory without homes allows 3 ticks; the true optimum is 25.
    result = solve_joint(away(link_rate=1), lower_bound=20, threads=1)
    assert (result.outcome.objective, result.outcome.bound) == (25, 25)


def test_too_many_chunks_asked_for() -> None:
    tables = make_tables(2, 3, max_chunks=4, exact=True)
    result = solve_joint(tables)
    assert (result.plan, result.outcome.status) == (None, Status.INFEASIBLE)


def test_stopping_in_the_first_step_keeps_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    run = cpsat.solve

    def counted(program: object, **settings: object) -> cpsat.CpSatResult:
        runs.append(settings)
        return run(program, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(steps_cpsat.cpsat, "solve", counted)
    seen: list[Progress] = []

    def stop(progress: Progress) -> bool:
        seen.append(progress)
        return True

    start = Plan((0, 2), (Home(0, 0, 1, 2),))
    result = solve_joint(away(link_rate=1), start, callback=stop)
    assert result.outcome.stop in (StopReason.INTERRUPTED, StopReason.OPTIMAL)
    assert result.outcome.objective is not None
    assert result.outcome.objective <= 26
    # What the relaxation finds is no plan: only the start is reported.
    assert {p.incumbent for p in seen} <= {26, result.outcome.objective}
    assert len(runs) in (1, 2, 3)


def test_unneeded_links_are_left_out() -> None:
    share = np.array([[1, 0, 2], [2, 0, 4], [0, 3, 0], [0, 0, 0], [1, 0, 2]])
    rate = np.array([1, 2, 5, 1, 4])
    # Rows 0 and 1 are equal relative to their rates, row 4 is a quarter of them, row 3 is unused.
    assert undominated(share, rate) == [0, 2]
    huge = np.array([[2**40, 1], [2**41, 3]])
    assert undominated(huge, np.array([2**30, 2**31])) == [1]


def test_deterministic_runs_repeat() -> None:
    tables = next(t for t in random_instances(2, 50) if joint_cpsat.build(t).homes)
    results = [solve_joint(tables, seed=3, threads=1, deterministic_limit=0.01) for _ in range(2)]
    assert results[0].plan == results[1].plan
    assert results[0].outcome.bound == results[1].outcome.bound
    assert results[0].outcome.nodes == results[1].outcome.nodes


@pytest.mark.slow
def test_a_middling_program_is_solved_with_homes_in_place() -> None:
    """4 stages, 8 chunks, 32 steps, 0.8 of the cache per memory; the pooled optimum has homes."""
    tables = make_tables(
        4,
        32,
        max_chunks=8,
        exact=True,
        linear=1000,
        quadratic=37,
        constant=300,
        token_bytes=10,
        capacity=256,
        activation_bytes=3,
        link_rate=10,
        hop=2,
    )
    result = solve_joint(tables, threads=1)
    assert result.outcome.status is Status.OPTIMAL
    assert result.plan is not None
    assert result.plan.homes
    assert price_plan(tables, result.plan) == result.outcome.objective == result.outcome.bound
