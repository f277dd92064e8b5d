"""What solvers find while they run reaches the caller as verified plans and bounds that hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from mocap_opt import load_instance, solve
from mocap_opt.baselines import METHODS
from mocap_opt.instance import Instance
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers import cpsat
from mocap_opt.solvers.highs import solve_mip
from mocap_opt.solvers.integer_program import IntegerProgram, total
from mocap_opt.solvers.limits import Limits
from mocap_opt.solvers.linear_program import LinearProgram
from mocap_opt.solvers.outcome import StopReason
from mocap_opt.solving.incumbent import Progress, SearchState
from mocap_opt.solving.program_steps import worth_building
from mocap_opt.solving.programs import CONTENTION_FREE_PROGRAM, LOCKSTEP_PROGRAM, Solver, run_program
from mocap_opt.stopping import Deadline
from mocap_opt.studies.bench.family import make
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

TINY = Path(__file__).parent.parent / "instances" / "tiny-unequal.json"

SMALL = make("S-unequal", 0)
SMALL["chunking"] = {**SMALL["chunking"], "max_chunks": 4}


def small_tables() -> Tables:
    """Four unlike stages, four chunks: seconds for either solver, and several incumbents."""
    return build_tables(Instance.from_dict(SMALL))


@pytest.mark.parametrize("program", [LOCKSTEP_PROGRAM, CONTENTION_FREE_PROGRAM], ids=lambda p: p.name)
@pytest.mark.parametrize("solver", Solver)
def test_every_plan_told_is_verified_and_replayed(program, solver):
    tables = small_tables()
    start = METHODS["uniform-greedy"].propose(tables).plan
    news: list[Progress] = []

    def listen(progress: Progress) -> None:
        news.append(progress)
        assert state.best is not None
        plan = state.best.plan
        assert violations(tables, plan) == []
        latency = min(replay_lockstep(tables, plan).latency, replay_event(tables, plan).latency)
        assert progress.latency_s == tables.seconds(latency)

    state = SearchState(tables, Deadline(60.0), 0.0, listen, deterministic_limit=1.0)
    state.offer(start, "start")
    result = run_program(state, program, solver, start=start, seed=0)
    streamed = [p for p in news if p.source == f"{program.name} ({solver.value})"]
    assert len({p.latency_s for p in streamed}) > 1
    # The first of them came while the solver still ran: the rest of its time followed.
    assert streamed[0].elapsed_s < state.deadline.elapsed_s
    assert result.plan is not None
    assert [trial.source for trial in state.trials] == ["start", f"{program.name} ({solver.value})"]
    (run,) = state.runs
    assert (run.program, run.solver) == (program.name, solver.value)
    assert run.build_s > 0
    assert run.solve_s > 0
    assert run.nonzeros


def knapsack(items: int = 25) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    return rng.integers(20, 60, (6, items)), rng.integers(20, 60, items)


def test_cpsat_hands_over_every_better_solution_in_order():
    weights, values = knapsack()
    program = IntegerProgram()
    items = [program.decision(f"item[{n}]", 0, 1) for n in range(values.size)]
    for row, weight in enumerate(weights.tolist()):
        load = total((-w, item) for w, item in zip(weight, items, strict=True))
        program.require(f"room[{row}]", load + sum(weight) // 3)
    program.objective = total((-int(v), item) for v, item in zip(values, items, strict=True))
    seen: list[int] = []

    def found(solution: tuple[int, ...]) -> bool:
        assert program.broken(solution) == []
        seen.append(program.objective.value(solution))
        return False

    result = cpsat.solve(program, limits=Limits(threads=1), on_solution=found)
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == result.outcome.objective
    stopped = cpsat.solve(program, limits=Limits(threads=1, time_limit_s=60), on_solution=lambda _: True)
    assert stopped.outcome.stop in (StopReason.INTERRUPTED, StopReason.OPTIMAL)


def test_highs_hands_over_every_better_solution_in_order():
    weights, values = knapsack()
    count = values.size
    program = LinearProgram(
        -values.astype(float),
        np.zeros(count),
        np.ones(count),
        np.ones(count, dtype=bool),
        sparse.csr_array(weights.astype(float)),
        np.full(6, -np.inf),
        weights.sum(axis=1) // 3.0,
    )
    seen: list[float] = []

    def found(solution: np.ndarray) -> bool:
        assert program.violation(solution)[0] <= 1e-6
        seen.append(program.objective(solution))
        return False

    result = solve_mip(program, on_solution=found)
    assert len(seen) > 1
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == pytest.approx(result.outcome.objective)
    assert solve_mip(program, on_solution=lambda _: True).outcome.stop is StopReason.INTERRUPTED


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("solver", Solver)
def test_threads_are_passed_on_and_recorded(threads, solver):
    instance = load_instance(TINY)
    found = solve(
        instance,
        "joint",
        solver=solver.value,
        execution="lockstep",
        threads=threads,
        gap=0.0,
        only=["first_heuristics", "lockstep_program"],
    )
    assert found.report.settings["threads"] == threads
    assert [run.threads for run in found.report.programs] == [threads]


def test_a_program_that_takes_too_long_to_build_is_declined():
    state = SearchState(build_tables(Instance.from_dict(make("L-tight", 0))), Deadline(20.0), 0.0)
    assert not worth_building(state, "joint", Solver.HIGHS)
    assert "joint (highs): not built, about" in state.notes[0]
    assert worth_building(state, "joint", Solver.CPSAT)
    state.deadline = Deadline(1.0)
    assert not worth_building(state, "joint", Solver.CPSAT)
    assert "joint (cpsat): not built, which would take about" in state.notes[1]
    plain = solve(Instance.from_dict(make("M-tight", 0)), "plain-highs", time_limit_s=2.0)
    assert plain.report.programs == []
    assert "building takes about" in plain.report.reason


def test_the_plans_on_the_way_are_no_trials():
    found = solve(load_instance(TINY), "joint", execution="lockstep", gap=0.0)
    sources = [trial.source for trial in found.trials]
    assert sources.count("joint (cpsat)") <= 1
