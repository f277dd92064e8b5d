"""Rows of a Pyomo model's families in exact integers, before they are scaled for any solver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyomo.environ as pyo

from mocap_opt.formulations.rows import Family, Terms
from mocap_opt.solvers.integer_program import Affine, IntegerProgram, total


@dataclass(frozen=True, eq=False)
class ExactRows:
    """The rows of a model's families as an integer program.

    Attributes
    ----------
    program : IntegerProgram
        Every variable is a decision.
    variables : tuple of Pyomo variables
        By index in the program.
    """

    program: IntegerProgram
    variables: tuple[Any, ...]

    def load(self, values: Sequence[int]) -> None:
        """Set the model's variables to values by index."""
        for variable, value in zip(self.variables, values, strict=True):
            variable.set_value(value, skip_validation=True)


def exact_rows(model: pyo.ConcreteModel, families: Sequence[Family]) -> ExactRows:
    """Take the rows of families over a model whose times are whole ticks, before anything is scaled.

    Parameters
    ----------
    model : ConcreteModel
        With variables and objective; rows it may have already do not count.  A variable without an upper
        limit is one that the objective presses down onto the rows in which it stands, alone of its kind.
    families : sequence of Family
    """
    program, variables = IntegerProgram(), list(model.component_data_objects(pyo.Var))
    known, pressed = pyo.ComponentMap(), set[int]()
    for variable in variables:
        lower, upper = variable.bounds
        index = len(program.names)
        # Not `decision`: fixed variables keep their place.
        program.names.append(variable.name)
        program.lower.append(int(lower))
        program.upper.append(0 if upper is None else int(upper))
        known[variable] = index
        if upper is None:
            pressed.add(index)

    def affine(terms: Terms) -> Affine:
        pairs = zip(terms.coefs, terms.variables, strict=True)
        return total([(1, terms.constant), *((coef, Affine({known[each]: 1})) for coef, each in pairs)])

    named: list[tuple[str, Affine, bool]] = []
    for name, family in families:
        for row in family(model):
            left = affine(row.terms)
            for v in pressed & left.terms.keys():
                least = program.bounds(total([(1, left), (-left.terms[v], Affine({v: 1}))]))[0]
                program.upper[v] = max(program.upper[v], -(least // left.terms[v]))
            named.append((f"{name}[{row.index}]", left, row.equal))
    for label, left, equal in named:
        program.require(label, left, equality=equal)
    objective = model.latency.expr
    program.objective = affine(
        Terms(0, [int(coef) for coef in objective.linear_coefs], list(objective.linear_vars))
    )
    return ExactRows(program, tuple(variables))
