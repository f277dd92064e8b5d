"""What `auto` runs by size, and limits that do not depend on the machine."""

from pathlib import Path

import pytest
from builders import make_tables

from mocap_opt import load_instance, solve
from mocap_opt.errors import InputError
from mocap_opt.replay.evaluation import Execution
from mocap_opt.solving.programs import CONTENTION_FREE_PROGRAM, DECOMPOSED_PROGRAM, LOCKSTEP_PROGRAM, Solver
from mocap_opt.solving.strategy import LARGE, MEDIUM, SMALL, choose, size

TINY = Path(__file__).parent.parent / "instances" / "tiny-unequal.json"


def tables_of(stages, chunks, steps):
    return make_tables(stages, steps, max_chunks=chunks)


ALL = [CONTENTION_FREE_PROGRAM, DECOMPOSED_PROGRAM, LOCKSTEP_PROGRAM]


def programs(tables, execution=None, by_size=True):
    return list(choose(tables, execution, "auto", by_size=by_size).programs)


def test_small_instances_run_all_programs_medium_one_and_large_none():
    small, medium, large = tables_of(4, 8, 32), tables_of(8, 16, 128), tables_of(8, 16, 256)
    assert size(small) <= SMALL < size(medium) <= MEDIUM < size(large)
    assert programs(small) == ALL
    assert programs(medium) == [CONTENTION_FREE_PROGRAM]
    assert programs(large) == []


def test_joint_runs_all_whatever_the_size():
    assert programs(tables_of(16, 32, 1024), by_size=False) == ALL


def test_a_static_schedule_only_gains_from_the_lockstep_programs():
    assert programs(tables_of(16, 32, 1024), Execution.LOCKSTEP) == [DECOMPOSED_PROGRAM]
    assert programs(tables_of(4, 8, 32), Execution.LOCKSTEP) == [DECOMPOSED_PROGRAM, LOCKSTEP_PROGRAM]
    # Where stages are unlike nothing leaves so few chunks that the master could be built.
    medium, large = (make_tables(2, steps, max_chunks=128, linear=[1, 2]) for steps in (512, 513))
    assert size(medium) == LARGE
    assert programs(medium, Execution.LOCKSTEP) == [DECOMPOSED_PROGRAM]
    assert programs(large, Execution.LOCKSTEP) == []
    assert programs(large, Execution.LOCKSTEP, by_size=False) == [DECOMPOSED_PROGRAM, LOCKSTEP_PROGRAM]


def test_programs_come_early_where_they_are_small():
    small, medium = (
        choose(tables_of(*shape), None, "auto", by_size=True) for shape in ((4, 8, 32), (8, 16, 128))
    )
    assert small.early
    assert not medium.early


def test_a_named_solver_is_kept():
    chosen = choose(tables_of(2, 2, 4), None, "highs", by_size=True)
    assert {chosen.solver_of(program) for program in ALL} == {Solver.HIGHS}
    best = choose(tables_of(2, 2, 4), None, "auto", by_size=True)
    assert [best.solver_of(program) for program in ALL] == [Solver.CPSAT, Solver.HIGHS, Solver.CPSAT]


def test_auto_says_what_it_did():
    only = ["first_heuristics", "decomposed_program", "lockstep_program"]
    found = solve(load_instance(TINY), execution="lockstep", gap=0.0, only=only)
    (note,) = [note for note in found.report.notes if note.startswith("auto: ")]
    assert [run.program for run in found.report.programs] == ["decomposition"]
    assert note.startswith("auto: 2 stages x 3 chunks x 3 grid steps: searches, bounds, decomposition with")
    assert note.endswith("; joint not run: the gap was closed without")


def test_auto_says_why_programs_did_not_run():
    closed = solve(load_instance(TINY), gap=1.0)
    assert closed.report.programs == []
    left = "contention_free, decomposition and joint not run"
    assert closed.report.notes[0].endswith(f"{left}: the gap was closed without")
    late = solve(load_instance(TINY), time_limit_s=0.0)
    assert late.report.notes[0].endswith(f"searches, bounds; {left}: time was up")
    large = choose(tables_of(16, 32, 1024), None, "auto", by_size=True)
    assert large.account({}).endswith("alone, no program gains anything at this size")


@pytest.mark.parametrize("solver", ["cpsat", "highs"])
def test_the_same_deterministic_limit_gives_the_same_plan(solver):
    # With the programs stopped early their incumbents are what could differ.
    instance = load_instance(TINY)
    found = [
        solve(instance, "joint", solver=solver, execution="lockstep", deterministic_limit=0.01, seed=3)
        for _ in range(2)
    ]
    assert found[0].plan == found[1].plan
    assert found[0].lower_bounds == found[1].lower_bounds
    assert found[0].report.settings["time_limit_s"] is None


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["cpsat", "highs"])
@pytest.mark.parametrize("execution", ["best", "lockstep"])
def test_the_same_deterministic_limit_gives_the_same_plan_at_16_x_32_x_1024(solver, execution):
    instance = load_instance(TINY.parent / "bench" / "L-tight.json")
    options = {"solver": solver, "execution": execution, "deterministic_limit": 0.01, "seed": 3}
    found = [solve(instance, "joint", **options) for _ in range(2)]
    assert found[0].plan is not None
    assert found[0].plan == found[1].plan
    assert found[0].lower_bounds == found[1].lower_bounds


def test_a_negative_deterministic_limit_is_refused():
    with pytest.raises(InputError, match="deterministic_limit"):
        solve(load_instance(TINY), deterministic_limit=-1.0)
