"""Bounds from duals of any origin never exceed the optimum, whatever the duals."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from builders import make_tables
from oracle import brute_force
from scipy import sparse
from scipy.optimize import linprog

from mocap_opt.formulations.joint import build
from mocap_opt.solvers.highs import solve_lp
from mocap_opt.solvers.linear_program import LinearProgram
from mocap_opt.solvers.pyomo_form import compile_model
from mocap_opt.solvers.safe_dual import certified_bound, safe_dual_bound


def test_safe_dual_by_hand():
    # min x + y, x + 2 y >= 4, 0 <= x, y <= 3: y = 2 gives 2, dual 1/2.  A worse dual proves less.
    program = (
        np.array([1.0, 1.0]),
        sparse.csr_array(np.array([[1.0, 2.0]])),
        np.array([4.0]),
        np.array([np.inf]),
        np.zeros(2),
        np.full(2, 3.0),
    )
    assert safe_dual_bound(*program, np.array([0.5])) == 2
    assert safe_dual_bound(*program, np.array([0.25])) == 1
    # Too large: y's reduced cost is -1, at y = 3: 4 - 3 = 1.
    assert safe_dual_bound(*program, np.array([1.0])) == 1
    # A dual that prices the absent upper side counts as 0.
    assert safe_dual_bound(*program, np.array([-7.0])) == 0
    unbounded = (*program[:5], np.array([3.0, np.inf]))
    assert safe_dual_bound(*unbounded, np.array([1.0])) is None
    # Coefficients known to 1 part in 8: 4 y - 4 y / 8, and x, y may each pay up to that much less.
    assert safe_dual_bound(*program, np.array([0.5]), relative_error=Fraction(1, 8)) == 2 - Fraction(
        1, 4
    ) - Fraction(3, 8)
    with pytest.raises(ValueError, match="finite duals"):
        safe_dual_bound(*program, np.array([np.nan]))


@pytest.mark.parametrize("seed", range(25))
def test_safe_dual_never_exceeds_the_optimum_and_reaches_it(seed: int):
    rng = np.random.default_rng(seed)
    rows, columns = int(rng.integers(1, 6)), int(rng.integers(1, 7))
    matrix = rng.integers(-4, 5, (rows, columns)).astype(float)
    inside = rng.uniform(0, 3, columns)
    lower = matrix @ inside - rng.uniform(0, 2, rows)
    upper = np.where(rng.random(rows) < 0.5, np.inf, matrix @ inside + rng.uniform(0, 2, rows))
    cost = rng.integers(-5, 6, columns).astype(float)
    finite = np.isfinite(upper)
    solved = linprog(
        cost,
        A_ub=np.vstack([-matrix, matrix[finite]]),
        b_ub=np.concatenate([-lower, upper[finite]]),
        bounds=[(0, 5)] * columns,
    )
    duals = -solved.ineqlin.marginals[:rows]
    duals[finite] += solved.ineqlin.marginals[rows:]
    program = (cost, sparse.csr_array(matrix), lower, upper, np.zeros(columns), np.full(columns, 5.0))
    assert float(safe_dual_bound(*program, duals)) == pytest.approx(solved.fun, abs=1e-7)
    for _ in range(20):
        wild = duals + rng.normal(0, 3, rows)
        assert float(safe_dual_bound(*program, wild)) <= solved.fun + 1e-9


def whole_prompt_on_two_stages() -> tuple[LinearProgram, int]:
    """The lockstep program of 64 pages on two stages, and its optimum in the program's unit: 4."""
    # One chunk of 64 tokens that takes 2 ticks on each stage; little memory, so that homes matter.
    tables = make_tables(
        2, 64, quantum=64, page=1, max_chunks=1, linear=0, constant=2, token_bytes=1, capacity=[40, 90]
    )
    model = build(tables)
    best = brute_force(tables)
    assert best is not None
    assert model.data.time_unit.ticks == 1
    return compile_model(model).program, int(best.value)


def elastic(program: LinearProgram) -> LinearProgram:
    """By how much all rows together have to be missed."""
    misses = sparse.eye_array(program.rows)
    return LinearProgram(
        np.concatenate([np.zeros(program.columns), np.ones(2 * program.rows)]),
        np.concatenate([program.column_lower, np.zeros(2 * program.rows)]),
        np.concatenate([program.column_upper, np.full(2 * program.rows, np.inf)]),
        np.zeros(program.columns + 2 * program.rows, dtype=np.bool_),
        sparse.csr_array(sparse.hstack([program.matrix, misses, -misses])),
        program.row_lower,
        program.row_upper,
    )


def test_no_duals_certify_more_than_the_optimum_where_pages_are_many() -> None:
    program, optimum = whole_prompt_on_two_stages()
    assert optimum == 4
    assert program.column_upper.max() > 2 * optimum + 1  # a cap of 9 on all columns would cut every plan off
    exact = solve_lp(program).row_duals
    assert exact is not None
    # With page counts capped like times there is no plan, and duals of how far it is from one add up.
    capped = np.minimum(program.column_upper, 2.0 * optimum + 1)
    ray = solve_lp(elastic(replace(program, column_upper=capped))).row_duals
    assert ray is not None
    rng = np.random.default_rng(0)
    wild = [rng.normal(0, scale, program.rows) for scale in (0.1, 1.0, 10.0) for _ in range(100)]
    wild += [exact + part * ray for part in (0.1, 1.0, 10.0)]
    found = [certified_bound(program, duals, 4.0 * optimum) for duals in (exact, *wild)]
    assert found[0] is not None
    assert all(bound is None or bound <= optimum for bound in found)
    # So a cap on page counts would have "proved" more than the optimum.
    sides = (program.cost, program.matrix, program.row_lower, program.row_upper, program.column_lower)
    wrong = [safe_dual_bound(*sides, capped, duals) for duals in wild]
    assert any(bound is not None and bound > optimum for bound in wrong)


def test_columns_are_capped_by_the_objective_alone() -> None:
    # min x, x >= y, y >= 3 as a row; neither column has an upper bound.
    program = LinearProgram(
        np.array([1.0, 0.0]),
        np.zeros(2),
        np.full(2, np.inf),
        np.zeros(2, dtype=np.bool_),
        sparse.csr_array(np.array([[1.0, -1.0], [0.0, 1.0]])),
        np.array([0.0, 3.0]),
        np.full(2, np.inf),
    )
    assert certified_bound(program, np.array([1.0, 1.0]), 100.0) == 3
    # x's reduced cost is -1: the objective caps x at 10, so 2 x 3 - 10.
    assert certified_bound(program, np.array([2.0, 2.0]), 10.0) == -4
    # y has no cost, so nothing caps it, and its reduced cost is -1.
    assert certified_bound(program, np.array([1.0, 2.0]), 10.0) is None
    # No more than what it is asked about.
    assert certified_bound(program, np.array([1.0, 1.0]), 2.0) == 2
