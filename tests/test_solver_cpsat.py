"""CP-SAT behind one door: exact rows, checked starts, numbers only after the status."""

from __future__ import annotations

import itertools

import pytest

from mocap_opt.solvers.cpsat import solve
from mocap_opt.solvers.cpsat_model import SAFE_ACTIVITY, build_model, fit
from mocap_opt.solvers.integer_program import Affine, IntegerProgram, total
from mocap_opt.solvers.limits import Limits
from mocap_opt.solvers.outcome import Progress, Status, StopReason


def knapsack(rooms: int = 9) -> tuple[IntegerProgram, list[Affine]]:
    """Cover 9 with 4 x + 3 y at least cost 5 x + 4 y + 100: x = 0, y = 3 or x = 3, y = 0 (15); best 112."""
    program = IntegerProgram()
    x, y = program.decision("x", 0, rooms), program.decision("y", 0, rooms)
    program.require("cover", 4 * x + 3 * y - 9)
    program.objective = 5 * x + 4 * y + 100
    return program, [x, y]


def hard_program() -> IntegerProgram:
    """Spread 40 unlike weights over 7 machines: its optimum takes far longer to prove than a test."""
    return machines([(7919 * n) % 100_003 + 50_000 for n in range(1, 41)], 7)


def machines(weights: list[int], count: int) -> IntegerProgram:
    program = IntegerProgram()
    on = [[program.decision(f"on[{n},{m}]", 0, 1) for m in range(count)] for n in range(len(weights))]
    for n, where in enumerate(on):
        program.require(f"once[{n}]", total((1, w) for w in where) - 1, equality=True)
    makespan = program.largest("makespan")
    for m in range(count):
        load = total((weight, where[m]) for weight, where in zip(weights, on, strict=True))
        program.at_least(f"load[{m}]", makespan, load)
    program.objective = makespan
    return program


def round_robin(program: IntegerProgram, count: int) -> list[int]:
    """Values of all variables with job n on machine n mod count."""
    jobs = sum(name.startswith("on[") for name in program.names) // count
    chosen = {n * count + m: int(n % count == m) for n in range(jobs) for m in range(count)}
    return program.complete(chosen)


# --- exact programs ----------------------------------------------------------------------------


def test_affine_arithmetic_by_hand():
    program = IntegerProgram()
    x, y = program.decision("x", -2, 5), program.decision("y", 0, 3)
    expression = 7 - 2 * (x - y) + y - 1
    assert expression.value([4, 3]) == 6 - 8 + 9
    assert program.bounds(expression) == (6 - 10, 6 + 4 + 9)
    assert (x - x).terms == {}


def test_fixed_decisions_are_constants():
    program = IntegerProgram()
    assert program.decision("x", 4, 4) == Affine({}, 4)
    assert program.names == []


def test_definitions_follow_from_decisions():
    program = IntegerProgram()
    x = program.decision("x", 0, 4)
    square = program.entry("square", x, [0, 1, 4, 9, 16])
    shifted = program.sum("shifted", 3 * x + 2, 0, 100)
    least = program.least("least", [square, shifted])
    most = program.largest("most", floor=2)
    program.at_least("half", most, square + 1, factor=2)
    for value in range(5):
        values = program.complete({0: value})
        assert square.value(values) == value**2
        assert shifted.value(values) == 3 * value + 2
        assert least.value(values) == min(value**2, 3 * value + 2)
        assert most.value(values) == max(2, (value**2 + 2) // 2)
        assert program.broken(values) == []


def test_affine_tables_need_no_variable():
    program = IntegerProgram()
    x, used = program.decision("x", 0, 3), program.decision("used", 0, 1)
    assert program.entry("line", x, [5, 8, 11, 14]) == 3 * x + 5
    assert program.entry("jump", x, [99, 8, 11, 14], used) == 3 * x + 5 * used
    assert program.entry("bend", x, [5, 8, 11, 15]).terms.keys() == {2}


def test_broken_rows_are_named():
    program, _ = knapsack()
    assert program.broken(program.complete({0: 1, 1: 1})) == ["cover"]
    assert program.broken(program.complete({0: 0, 1: 10})) == ["y"]


def test_bounds_are_not_widened_after_use():
    program = IntegerProgram()
    x = program.decision("x", 0, 4)
    top = program.largest("top")
    program.bounds(top)
    with pytest.raises(ValueError, match="bounds of top have been used"):
        program.at_least("late", top, x)


def test_definitions_come_in_order():
    program = IntegerProgram()
    top = program.largest("top")
    x = program.decision("x", 0, 4)
    with pytest.raises(ValueError, match="top was added before"):
        program.at_least("early", top, x)


def test_indices_outside_a_table_are_refused():
    program = IntegerProgram()
    x = program.decision("x", 0, 4)
    with pytest.raises(IndexError, match=r"table: index 0 \.\. 4 outside a table of 4 entries"):
        program.entry("table", x, [1, 2, 4, 8])


# --- rows in 64 bits ---------------------------------------------------------------------------


def test_rows_are_divided_and_rounded():
    program = IntegerProgram()
    x, y = program.decision("x", 0, 9), program.decision("y", 0, 9)
    # 6 x + 4 y >= 7 is 3 x + 2 y >= 4 for whole x and y.
    assert fit(program, 6 * x + 4 * y - 7) == ({0: 3, 1: 2}, 4, False)


def test_rows_too_large_are_weakened_only():
    program = IntegerProgram()
    x, y = program.decision("x", -3, 4), program.decision("y", 2, 9)
    big = 2**61
    row = (7 * big + 5) * x - (3 * big - 1) * y + 11 * big + 1
    terms, right, weakened = fit(program, row)
    assert weakened
    inside = cut_off = 0
    for values in itertools.product(range(-3, 5), range(2, 10)):
        holds = row.value(values) >= 0
        kept = sum(c * values[v] for v, c in terms.items()) >= right
        assert kept or not holds
        inside += holds
        cut_off += not kept
    # About 7 x + 11 >= 3 y: none for x < 0, then 2, 5, 7, 8, 8 of the 8 values of y.
    assert inside == 30
    assert cut_off >= 28  # of 34: a weakened row that cut little off would be of no use
    assert sum(abs(c) * 9 for c in terms.values()) + abs(right) <= SAFE_ACTIVITY


def test_equalities_too_large_are_refused():
    program = IntegerProgram()
    x, y = program.decision("x", 0, 4), program.decision("y", 0, 9)
    with pytest.raises(OverflowError, match="beyond 64-bit integers"):
        fit(program, (2**61 + 1) * x - 2**61 * y, equality=True)


def test_weakened_programs_are_priced_exactly():
    program = IntegerProgram()
    x, y = program.decision("x", 0, 5), program.decision("y", 0, 5)
    program.require("five", x + y - 5)
    time_ = program.largest("time")
    # time >= (3 x + 2 y) (10 + 10^-20): at y = 5, 100 and a little more, so 101 ticks.
    huge = 10**21
    program.at_least("time", time_, (3 * x + 2 * y) * (10 * huge + 10), factor=huge)
    program.objective = time_
    assert build_model(program).relaxed == ("time",)
    result = solve(program)
    assert result.outcome.objective == 101
    assert result.outcome.bound in (100, 101)
    assert result.outcome.message == "1 rows weakened to fit 64-bit integers"
    assert result.values is not None
    assert result.values[:2] == (0, 5)


def test_constraints_carry_the_rows_names():
    program, _ = knapsack()
    model = build_model(program, at_least=104, at_most=115).model
    assert [c.name for c in model.proto.constraints] == ["cover", "known_lower_bound", "known_upper_bound"]


# --- runs --------------------------------------------------------------------------------------


def test_optimum_by_hand():
    program, (x, y) = knapsack()
    result = solve(program, limits=Limits(seed=3, threads=1))
    outcome = result.outcome
    assert (outcome.status, outcome.stop) == (Status.OPTIMAL, StopReason.OPTIMAL)
    assert (outcome.objective, outcome.bound) == (112, 112)
    assert result.values is not None
    assert (x.value(result.values), y.value(result.values)) == (0, 3)
    assert (outcome.rows, outcome.columns, outcome.nonzeros) == (1, 2, 2)
    assert (outcome.seed, outcome.threads, outcome.start_accepted) == (3, 1, None)


def test_infeasible_has_no_numbers():
    program, _ = knapsack(rooms=1)
    result = solve(program)
    assert (result.outcome.status, result.outcome.stop) == (Status.INFEASIBLE, StopReason.INFEASIBLE)
    assert (result.outcome.objective, result.outcome.bound, result.values) == (None, None, None)


def test_a_constant_contradiction_is_infeasible():
    program, _ = knapsack()
    program.require("never", Affine({}, -1))
    assert solve(program).outcome.status is Status.INFEASIBLE


def test_unknown_has_no_objective():
    result = solve(hard_program(), limits=Limits(time_limit_s=0.0))
    assert (result.outcome.status, result.outcome.stop) == (Status.UNKNOWN, StopReason.TIME_LIMIT)
    assert (result.outcome.objective, result.values) == (None, None)


def test_a_start_is_kept_where_the_solver_finds_nothing():
    program = hard_program()
    start = round_robin(program, 7)
    result = solve(program, start=start, limits=Limits(time_limit_s=0.0))
    assert result.outcome.start_accepted is True
    assert result.outcome.status is Status.FEASIBLE
    assert result.outcome.objective == program.objective.value(start)
    assert result.values == tuple(start)


def test_never_worse_than_the_start():
    program, _ = knapsack()
    start = program.complete({0: 1, 1: 2})
    result = solve(program, start=start)
    assert result.outcome.start_accepted is True
    assert result.outcome.objective == 112


def test_a_start_that_breaks_a_row_is_not_accepted():
    program, _ = knapsack()
    result = solve(program, start=program.complete({0: 1, 1: 1}))
    assert result.outcome.start_accepted is False
    assert result.outcome.objective == 112


def test_a_known_bound_is_the_least_reported():
    program = hard_program()
    weights = [(7919 * n) % 100_003 + 50_000 for n in range(1, 41)]
    known = -(-sum(weights) // 7)
    result = solve(program, start=round_robin(program, 7), lower_bound=known, limits=Limits(time_limit_s=0.0))
    assert result.outcome.bound == known


def test_a_bound_above_the_start_is_refused():
    program, _ = knapsack()
    with pytest.raises(ValueError, match="lower bound 115 exceeds 113"):
        solve(program, start=program.complete({0: 1, 1: 2}), lower_bound=115)


def test_a_wrong_bound_is_found_out():
    program = machines([3, 3, 2], 2)
    with pytest.raises(RuntimeError, match="bound 6 exceeds a solution of 5"):
        solve(program, lower_bound=6)


def test_the_gap_is_told_from_the_optimum():
    program = hard_program()
    result = solve(program, start=round_robin(program, 7), limits=Limits(gap=0.5, threads=1))
    assert (result.outcome.status, result.outcome.stop) == (Status.FEASIBLE, StopReason.GAP_REACHED)
    assert result.outcome.gap is not None
    assert 0 < result.outcome.gap <= 0.5


def test_deterministic_limit_repeats():
    limits = Limits(seed=7, threads=1, deterministic_limit=0.05)
    first, second = (solve(hard_program(), limits=limits) for _ in range(2))
    assert first.values == second.values
    assert (first.outcome.bound, first.outcome.nodes) == (second.outcome.bound, second.outcome.nodes)
    assert first.outcome.stop is StopReason.NODE_LIMIT


def test_the_callback_stops_the_run():
    seen: list[Progress] = []

    def stop_soon(progress: Progress) -> bool:
        seen.append(progress)
        return progress.incumbent is not None and progress.bound is not None

    program = hard_program()
    result = solve(program, limits=Limits(time_limit_s=60, callback=stop_soon))
    assert result.outcome.stop is StopReason.INTERRUPTED
    assert result.outcome.status is Status.FEASIBLE
    assert [p.elapsed_s for p in seen] == sorted(p.elapsed_s for p in seen)
    bounds = [p.bound for p in seen if p.bound is not None]
    assert bounds == sorted(bounds)
    assert seen[-1].incumbent is not None
    assert result.outcome.objective is not None
    assert result.outcome.objective <= seen[-1].incumbent


def test_errors_of_the_callback_come_back():
    def fail(progress: Progress) -> bool:
        raise ZeroDivisionError("in the callback")

    with pytest.raises(ZeroDivisionError, match="in the callback"):
        solve(hard_program(), limits=Limits(time_limit_s=60, callback=fail))


def test_a_raised_objective_keeps_the_larger():
    program, _ = knapsack()
    program.raise_objective(120)
    assert solve(program).outcome.objective == 120
    program, _ = knapsack()
    program.raise_objective(110)
    assert solve(program).outcome.objective == 112
