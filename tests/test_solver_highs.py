"""HiGHS gets what it is given, and says no more than it knows."""

from __future__ import annotations

import os
import signal
import sys
import threading

import numpy as np
import pyomo.environ as pyo
import pytest
from scipy import sparse

from mocap_opt.errors import SolverUnavailableError
from mocap_opt.solvers import highs, highs_listener
from mocap_opt.solvers.highs import HighsError, solve_lp, solve_mip
from mocap_opt.solvers.linear_program import LinearProgram
from mocap_opt.solvers.outcome import Progress, Status, StopReason
from mocap_opt.solvers.pyomo_form import compile_model


def program(
    cost: list[float],
    rows: list[list[float]],
    row_lower: list[float] | None = None,
    row_upper: list[float] | None = None,
    *,
    upper: float = 1.0,
    integer: bool = True,
    offset: float = 0.0,
) -> LinearProgram:
    count = len(cost)
    return LinearProgram(
        np.array(cost, dtype=float),
        np.zeros(count),
        np.full(count, upper),
        np.full(count, integer),
        sparse.csr_array(np.array(rows, dtype=float).reshape(len(rows), count)),
        np.full(len(rows), -np.inf) if row_lower is None else np.array(row_lower, dtype=float),
        np.full(len(rows), np.inf) if row_upper is None else np.array(row_upper, dtype=float),
        offset,
    )


def knapsack(items: int = 60, rows: int = 30, seed: int = 0) -> LinearProgram:
    """A multi-dimensional knapsack that takes HiGHS well over a second."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(1, 50, (rows, items)).astype(float)
    values = -rng.integers(10, 60, items).astype(float)
    return program(list(values), weights.tolist(), row_upper=list(0.3 * weights.sum(axis=1)))


# max 5x + 4y + 3z with 2x + 3y + z <= 5: {x, y} weighs 5 and is worth 9; {x, z} is worth 8.
SMALL = program([-5, -4, -3], [[2, 3, 1]], row_upper=[5], offset=100)


def test_small_program_is_solved_with_its_offset() -> None:
    result = solve_mip(SMALL)
    assert result.outcome.status is Status.OPTIMAL
    assert result.outcome.stop is StopReason.OPTIMAL
    assert (result.outcome.objective, result.outcome.bound) == (91, 91)
    assert result.values is not None
    assert result.values.tolist() == [1, 1, 0]
    assert (result.outcome.rows, result.outcome.columns, result.outcome.nonzeros) == (1, 3, 3)


def test_infeasible_has_neither_objective_nor_bound() -> None:
    outcome = solve_mip(program([1, 1], [[1, 1]], row_lower=[3])).outcome
    assert outcome.status is Status.INFEASIBLE
    assert (outcome.objective, outcome.bound) == (None, None)


def test_unbounded_is_an_error_that_is_said() -> None:
    result = solve_mip(program([-1], [[0]], upper=np.inf))
    assert result.outcome.status is Status.UNKNOWN
    assert result.outcome.stop is StopReason.ERROR
    assert "nbounded" in result.outcome.message


def test_feasible_start_is_accepted() -> None:
    assert solve_mip(knapsack(), start=np.eye(60)[0], node_limit=1).outcome.start_accepted is True


def test_start_survives_a_limit_of_no_time_at_all() -> None:
    start = np.eye(60)[0]
    result = solve_mip(knapsack(), start=start, time_limit_s=0.0)
    assert result.outcome.stop is StopReason.TIME_LIMIT
    assert result.outcome.start_accepted is True
    assert result.values is not None
    assert np.array_equal(result.values, start)


def test_no_start_is_not_a_refused_start() -> None:
    assert solve_mip(SMALL).outcome.start_accepted is None


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ([1, 1, 1], "violates row 0 by 1"),
        ([0.5, 0, 0], "integrality of column 0"),
        ([-1, 0, 0], "violates column 0"),
        ([1, 1], "each of 3 columns"),
        ([1, np.nan, 0], "column 1 has no finite value"),
    ],
)
def test_bad_starts_are_refused_before_highs_sees_them(start: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        solve_mip(SMALL, start=np.array(start, dtype=float))


def test_callback_sees_progress_and_stops_the_run() -> None:
    seen: list[Progress] = []

    def stop_soon(progress: Progress) -> bool:
        seen.append(progress)
        return progress.incumbent is not None and progress.bound is not None

    result = solve_mip(knapsack(), callback=stop_soon, time_limit_s=60)
    assert result.outcome.stop is StopReason.INTERRUPTED
    assert result.outcome.status is Status.FEASIBLE
    assert result.values is not None
    assert seen[-1].gap is not None


def test_unknown_bounds_are_none_in_the_progress() -> None:
    seen: list[Progress] = []
    solve_mip(knapsack(), callback=lambda p: bool(seen.append(p)) or len(seen) > 2, time_limit_s=60)
    assert seen[0].bound is None
    assert all(np.isfinite(v) for p in seen for v in (p.incumbent, p.bound) if v is not None)


def test_exception_of_the_callback_comes_back() -> None:
    def fail(progress: Progress) -> bool:
        raise RuntimeError("broken callback")

    with pytest.raises(RuntimeError, match="broken callback"):
        solve_mip(knapsack(), callback=fail, time_limit_s=60)


def test_ctrl_c_ends_the_run() -> None:
    handler = signal.getsignal(signal.SIGINT)
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        solve_mip(knapsack(), time_limit_s=60)
    timer.join()
    assert signal.getsignal(signal.SIGINT) is handler


def test_gap_limit_is_not_optimality() -> None:
    outcome = solve_mip(knapsack(), gap=0.5, time_limit_s=60).outcome
    assert outcome.stop is StopReason.GAP_REACHED
    assert outcome.status is Status.FEASIBLE
    assert outcome.gap is not None
    assert 0 < outcome.gap <= 0.5


def test_node_limit_repeats_exactly() -> None:
    runs = [solve_mip(knapsack(), node_limit=50, seed=3).outcome for _ in range(2)]
    assert [r.stop for r in runs] == [StopReason.NODE_LIMIT] * 2
    assert runs[0].objective == runs[1].objective
    assert runs[0].bound == runs[1].bound


def test_thread_count_may_change_within_a_process() -> None:
    answers = [solve_mip(SMALL, threads=threads).outcome.objective for threads in (1, 2, 1, 2)]
    assert answers == [91] * 4


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    solve_mip(SMALL, start=np.zeros(3), callback=lambda progress: False)
    solve_lp(SMALL)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_lp_returns_duals() -> None:
    # min 2x + 3y, x + y >= 4, x <= 3: x = 3, y = 1; the row is worth 3, the bound of x -1.
    result = solve_lp(program([2, 3], [[1, 1]], row_lower=[4], upper=3, integer=False))
    assert result.status is Status.OPTIMAL
    assert result.objective == 9
    assert result.primal is not None
    assert result.row_duals is not None
    assert result.column_duals is not None
    assert result.primal.tolist() == [3, 1]
    assert result.row_duals.tolist() == [3]
    assert result.column_duals.tolist() == [-1, 0]


def test_lp_relaxes_integrality() -> None:
    # 5x + 4y + 3z, 2x + 3y + z <= 5, in [0, 1]: x = z = 1, y = 2/3.
    assert solve_lp(SMALL).objective == pytest.approx(100 - 8 - 8 / 3)


def test_infeasible_lp_has_no_duals() -> None:
    result = solve_lp(program([1], [[1]], row_lower=[2], integer=False))
    assert result.status is Status.INFEASIBLE
    assert result.row_duals is None


def test_stopped_lp_has_no_bound() -> None:
    rng = np.random.default_rng(1)
    large = program([1.0] * 300, rng.random((300, 300)).tolist(), row_lower=[50.0] * 300, integer=False)
    result = solve_mip(large, time_limit_s=0.0)
    assert result.outcome.stop is StopReason.TIME_LIMIT
    assert result.outcome.bound is None
    assert result.values is None
    assert solve_lp(large, time_limit_s=0.0).objective is None


def test_model_altered_by_highs_is_an_error() -> None:
    # HiGHS drops coefficients below 1e-9 with a warning; the program would be another one.
    with pytest.raises(HighsError, match="passModel"):
        solve_mip(program([1, 1], [[1e-12, 1]], row_lower=[1]))


def test_missing_highspy_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highspy", None)
    highs.load_highspy.cache_clear()
    try:
        with pytest.raises(SolverUnavailableError, match=r"libhighs\.so\.1.*highspy>=1.12,<1.14"):
            solve_mip(SMALL)
        monkeypatch.setattr(highs_listener, "installed_version", lambda package: None)
        with pytest.raises(SolverUnavailableError, match="highspy is not installed"):
            solve_mip(SMALL)
    finally:
        highs.load_highspy.cache_clear()


def pyomo_model() -> pyo.ConcreteModel:
    model = pyo.ConcreteModel()
    model.x = pyo.Var([0, 1], domain=pyo.Binary)
    model.y = pyo.Var(bounds=(1, 9))
    model.idle = pyo.Var()
    model.both_sides = pyo.Constraint(expr=(2, model.x[0] + model.y, 5))
    model.equal = pyo.Constraint(expr=model.x[0] + model.x[1] == 1)
    model.cost = pyo.Objective(expr=2 * model.x[0] + model.y + 7)
    return model


def test_pyomo_model_arrives_whole() -> None:
    model = pyomo_model()
    compiled = compile_model(model)
    assert sorted(compiled.constraints) == ["both_sides", "both_sides", "equal"]
    result = solve_mip(compiled.program)
    assert result.outcome.objective == 9  # x0 = 0, y = 2
    assert result.values is not None
    compiled.load(result.values)
    assert (model.x[0].value, model.x[1].value, model.y.value) == (0, 1, 2)
    assert model.idle.value is None


def test_start_of_a_pyomo_model_must_be_complete() -> None:
    model = pyomo_model()
    compiled = compile_model(model)
    values = pyo.ComponentMap([(model.x[0], 1), (model.x[1], 0)])
    with pytest.raises(ValueError, match="no value for 1 variables, first y"):
        compiled.column_values(values)
    values[model.y] = 4
    result = solve_mip(compiled.program, start=compiled.column_values(values))
    assert (result.outcome.objective, result.outcome.start_accepted) == (9, True)


def test_maximisation_is_refused() -> None:
    model = pyomo_model()
    model.cost.sense = pyo.maximize
    with pytest.raises(ValueError, match="to be minimised"):
        compile_model(model)


def test_program_checks_its_shapes() -> None:
    with pytest.raises(ValueError, match="row_lower: expected shape"):
        program([1, 1], [[1, 1]], row_lower=[0, 0])
    with pytest.raises(ValueError, match="cost contains NaN"):
        program([np.nan], [[1]])
