"""Exact integer programs as CP-SAT models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mocap_opt.errors import SolverUnavailableError
from mocap_opt.solvers.integer_program import Affine, IntegerProgram, Largest, Least, Row, Sum, TableEntry
from mocap_opt.solvers.versions import installed_version
from mocap_opt.stopping import signals_wait

try:
    with signals_wait():
        from ortools.sat.python import cp_model
except ImportError as error:
    found = installed_version("ortools")
    state = "is not installed" if found is None else f"{found} cannot be loaded ({error})"
    raise SolverUnavailableError(f"ortools {state}: pip install 'ortools>=9.15,<9.16'") from error

__all__ = ["SAFE_ACTIVITY", "Built", "build_model", "cp_model", "fit"]

SAFE_ACTIVITY = 2**60
"""Largest activity of a row handed to CP-SAT, which needs sums well inside 64-bit integers."""


@dataclass(frozen=True)
class Built:
    """A program as a CP-SAT model.

    Attributes
    ----------
    model : cp_model.CpModel
    variables : list
        In the program's order.
    relaxed : tuple of str
        Names of rows that were weakened because 64-bit integers could not hold them.
    """

    model: cp_model.CpModel
    variables: list[cp_model.IntVar]
    relaxed: tuple[str, ...]


def build_model(program: IntegerProgram, *, at_least: int | None = None, at_most: int | None = None) -> Built:
    """Write a program as a CP-SAT model; constraints carry the rows' names.

    Parameters
    ----------
    program : IntegerProgram
    at_least, at_most : int, optional
        Known bounds on the optimal objective.
    """
    model = cp_model.CpModel()
    variables = [
        model.new_int_var(low, high, name)
        for low, high, name in zip(program.lower, program.upper, program.names, strict=True)
    ]
    relaxed: list[str] = []

    def expression(affine: Affine) -> cp_model.LinearExprT:
        chosen = [variables[v] for v in affine.terms]
        return cp_model.LinearExpr.weighted_sum(chosen, list(affine.terms.values())) + affine.constant

    for definition in program.definitions:
        name, target = program.names[definition.variable], variables[definition.variable]
        if isinstance(definition, TableEntry):
            model.add_element(variables[definition.index], list(definition.entries), target).with_name(name)
        elif isinstance(definition, Sum):
            row = Row(name, definition.expression - Affine({definition.variable: 1}), equality=True)
            relaxed += _add(model, variables, program, [row])
        elif isinstance(definition, Least):
            model.add_min_equality(target, [expression(e) for e in definition.expressions]).with_name(name)
        elif isinstance(definition, Largest):
            least = [
                Row(row, Affine({definition.variable: factor}) - e) for row, factor, e in definition.rows
            ]
            relaxed += _add(model, variables, program, least)
    known = []
    if at_least is not None:
        known.append(Row("known_lower_bound", program.objective - at_least))
    if at_most is not None:
        known.append(Row("known_upper_bound", at_most - program.objective))
    relaxed += _add(model, variables, program, [*program.rows, *known])
    # Without its constant, so that all of CP-SAT's numbers lack it alike.
    model.minimize(expression(program.objective - program.objective.constant))
    return Built(model, variables, tuple(relaxed))


def _add(
    model: cp_model.CpModel, variables: list[cp_model.IntVar], program: IntegerProgram, rows: Sequence[Row]
) -> list[str]:
    """Add rows; return the names of those that had to be weakened."""
    relaxed = []
    for row in rows:
        terms, right, weakened = fit(program, row.expression, equality=row.equality)
        left = cp_model.LinearExpr.weighted_sum([variables[v] for v in terms], list(terms.values()))
        high = right if row.equality else cp_model.INT_MAX
        model.add_linear_constraint(left, right, high).with_name(row.name)
        if weakened:
            relaxed.append(row.name)
    return relaxed


def fit(
    program: IntegerProgram, affine: Affine, *, equality: bool = False
) -> tuple[dict[int, int], int, bool]:
    """Make a row ``affine >= 0`` fit into 64-bit integers.

    Coefficients are divided by their greatest common divisor and the right side is rounded up,
    which keeps the same integer points.  If sums could still leave the safe range, the row is
    written in the distances of the variables from their lower bounds, divided, and rounded up term
    by term: then every point of the row still satisfies it (an outer relaxation).

    Parameters
    ----------
    program : IntegerProgram
        For the variables' bounds.
    affine : Affine
    equality : bool
        Whether the row is ``affine == 0``.

    Returns
    -------
    terms : dict of int to int
    right : int
        ``sum of terms >= right`` (or ``==``).
    weakened : bool
        Whether points outside the row may satisfy what is returned.

    Raises
    ------
    OverflowError
        If an equality does not fit.
    """
    terms, constant = dict(affine.terms), affine.constant
    divisor = math.gcd(*terms.values()) or 1
    if not equality or constant % divisor == 0:
        terms, constant = {v: c // divisor for v, c in terms.items()}, constant // divisor
    reach = sum(abs(c) * max(abs(program.lower[v]), abs(program.upper[v])) for v, c in terms.items())
    if reach + abs(constant) <= SAFE_ACTIVITY:
        return terms, -constant, False
    if equality:
        raise OverflowError(f"an equality reaches {reach}, beyond 64-bit integers")
    constant += sum(c * program.lower[v] for v, c in terms.items())
    scale = -(-4 * (reach + abs(constant)) // SAFE_ACTIVITY)
    terms = {v: -(-c // scale) for v, c in terms.items()}
    right = sum(c * program.lower[v] for v, c in terms.items()) + constant // -scale
    return {v: c for v, c in terms.items() if c}, right, True
