"""An integer program held exactly, in Python integers, before any solver sees it.

Rows keep their rational coefficients as integers of any size, so that the objective of a plan can
be computed without rounding, whatever a solver's word size.  Every quantity that is not a decision
is *defined*, as a table entry, a sum, a least or a largest value, in an order in which each
needs only earlier ones.  Hence the decisions alone determine all values: that gives complete warm
starts, and exact objectives of plans.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Affine:
    """A sum of integer multiples of variables and a constant.

    Attributes
    ----------
    terms : dict of int to int
        Coefficient of each variable, by the variable's index; never 0.
    constant : int
    """

    terms: Mapping[int, int] = field(default_factory=dict)
    constant: int = 0

    def __add__(self, other: Affine | int) -> Affine:
        """Add."""
        return total([(1, self), (1, other)])

    __radd__ = __add__

    def __sub__(self, other: Affine | int) -> Affine:
        """Subtract."""
        return total([(1, self), (-1, other)])

    def __rsub__(self, other: int) -> Affine:
        """Subtract from a number."""
        return total([(1, other), (-1, self)])

    def __mul__(self, factor: int) -> Affine:
        """Multiply."""
        return total([(factor, self)])

    __rmul__ = __mul__

    def value(self, values: Sequence[int]) -> int:
        """Its value, given the value of every variable by index."""
        return self.constant + sum(c * values[v] for v, c in self.terms.items())


def total(parts: Iterable[tuple[int, Affine | int]]) -> Affine:
    """Sum of multiples of affine expressions and constants, ``(factor, expression)`` each."""
    terms: dict[int, int] = {}
    constant = 0
    for factor, part in parts:
        if isinstance(part, int):
            constant += factor * part
            continue
        constant += factor * part.constant
        for v, c in part.terms.items():
            terms[v] = terms.get(v, 0) + factor * c
    return Affine({v: c for v, c in terms.items() if c}, constant)


@dataclass(frozen=True)
class Row:
    """A constraint ``expression >= 0``, or ``== 0``; `name` starts with its family's name."""

    name: str
    expression: Affine
    equality: bool = False

    def holds(self, values: Sequence[int]) -> bool:
        """Whether the values satisfy it, exactly."""
        value = self.expression.value(values)
        return value == 0 if self.equality else value >= 0


@dataclass(frozen=True)
class TableEntry:
    """``variable = entries[index]``; entries outside the index's bounds are never read."""

    variable: int
    index: int
    entries: tuple[int, ...]


@dataclass(frozen=True)
class Sum:
    """``variable = expression``."""

    variable: int
    expression: Affine


@dataclass(frozen=True)
class Least:
    """``variable = min(expressions)``."""

    variable: int
    expressions: tuple[Affine, ...]


@dataclass(frozen=True)
class Largest:
    """The least whole ``variable >= floor`` with ``factor x variable >= expression`` in every row.

    Programs require only ``>=``, because the objective presses such variables down.
    """

    variable: int
    floor: int = 0
    rows: list[tuple[str, int, Affine]] = field(default_factory=list)


Definition = TableEntry | Sum | Least | Largest


class IntegerProgram:
    """Variables, definitions, rows and an objective to be minimised.

    Attributes
    ----------
    names : list of str
    lower, upper : list of int
        Bounds of the variables, by index; those of defined ones are derived.
    definitions : list
        In an order in which each needs only decisions and earlier definitions.
    rows : list of Row
        Constraints besides the definitions.
    objective : Affine
        To be minimised.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.lower: list[int] = []
        self.upper: list[int] = []
        self.definitions: list[Definition] = []
        self.rows: list[Row] = []
        self.objective = Affine()
        self._largest: dict[int, Largest] = {}
        self._read: set[int] = set()

    def _new(self, name: str, lower: int, upper: int) -> int:
        self.names.append(name)
        self.lower.append(lower)
        self.upper.append(upper)
        return len(self.names) - 1

    def decision(self, name: str, lower: int, upper: int) -> Affine:
        """Add a decision variable with bounds; a fixed one becomes a constant.

        Parameters
        ----------
        name : str
        lower, upper : int
        """
        if lower == upper:
            return Affine({}, lower)
        return Affine({self._new(name, lower, upper): 1})

    def sum(self, name: str, expression: Affine, least: int, most: int) -> Affine:
        """Add a variable equal to an expression and require it to lie between two values.

        An expression that is a variable or a constant needs no other; it is returned as it is.

        Parameters
        ----------
        name : str
        expression : Affine
        least, most : int
            Bounds required of it.
        """
        low, high = self.bounds(expression)
        if not expression.terms or (list(expression.terms.values()) == [1] and not expression.constant):
            self.require(name, expression - least)
            self.require(name, most - expression)
            return expression
        low, high = max(low, least), min(high, most)
        if low > high:
            self.require(name, Affine({}, -1))
        variable = self._new(name, low, max(low, high))
        self.definitions.append(Sum(variable, expression))
        return Affine({variable: 1})

    def least(self, name: str, expressions: Sequence[Affine]) -> Affine:
        """Add a variable equal to the least of some expressions.

        Parameters
        ----------
        name : str
        expressions : sequence of Affine
            At least one.
        """
        bounds = [self.bounds(e) for e in expressions]
        variable = self._new(name, min(b[0] for b in bounds), min(b[1] for b in bounds))
        self.definitions.append(Least(variable, tuple(expressions)))
        return Affine({variable: 1})

    def largest(self, name: str, floor: int = 0) -> Affine:
        """Add a variable pressed down onto the rows that `at_least` gives it, and onto a floor.

        Parameters
        ----------
        name : str
        floor : int
            Its value if no row asks for more.
        """
        variable = self._new(name, floor, floor)
        self._largest[variable] = Largest(variable, floor)
        self.definitions.append(self._largest[variable])
        return Affine({variable: 1})

    def at_least(self, name: str, target: Affine, expression: Affine, factor: int = 1) -> None:
        """Require ``factor x target >= expression``; `target` comes from `largest`.

        Rows that hold whatever the variables' values are left out.

        Parameters
        ----------
        name : str
            Of the row; starts with its family's name.
        target, expression : Affine
        factor : int
            Above 0.

        Raises
        ------
        ValueError
            If the target's bounds have already been used (they would no longer be right), or if
            the expression needs a variable that was added after the target.
        """
        (variable,) = target.terms
        if max(expression.terms, default=-1) > variable:
            raise ValueError(f"{name}: {self.names[variable]} was added before what it depends on")
        if variable in self._read:
            raise ValueError(f"{name}: the bounds of {self.names[variable]} have been used already")
        highest = self.bounds(expression)[1]
        if highest <= factor * self.lower[variable]:
            return
        self._largest[variable].rows.append((name, factor, expression))
        self.upper[variable] = max(self.upper[variable], -(-highest // factor))

    def entry(
        self, name: str, index: Affine, entries: Sequence[int], present: Affine | None = None
    ) -> Affine:
        """Add a variable equal to a table's entry; a table that is affine needs no variable.

        Parameters
        ----------
        name : str
        index : Affine
            A constant or a single variable, within the table.
        entries : sequence of int
        present : Affine, optional
            A variable that is 0 where the index is 0 and 1 elsewhere; then entry 0 is taken as 0
            and ``entries[0]`` is not read.

        Raises
        ------
        IndexError
            If the index's bounds reach outside the table.
        """
        whole = [0 if present is not None and g == 0 else int(e) for g, e in enumerate(entries)]
        if not index.terms:
            return Affine({}, whole[index.constant])
        ((variable, _),) = index.terms.items()
        low, high = self.lower[variable], self.upper[variable]
        if low < 0 or high >= len(whole):
            raise IndexError(f"{name}: index {low} .. {high} outside a table of {len(whole)} entries")
        read = whole[low : high + 1]
        first = 1 if present is not None and low == 0 else 0
        step = read[-1] - read[-2] if len(read) > first + 1 else 0
        if all(b - a == step for a, b in zip(read[first:], read[first + 1 :], strict=False)):
            offset = read[first] - step * (low + first)
            return total([(step, index), (offset, present if present is not None else 1)])
        result = self._new(name, min(read), max(read))
        self.definitions.append(TableEntry(result, variable, tuple([0] * low + read)))
        return Affine({result: 1})

    def require(self, name: str, expression: Affine, *, equality: bool = False) -> None:
        """Require ``expression >= 0`` (or ``== 0``); rows that hold in any case are left out.

        Parameters
        ----------
        name : str
            Of the row; starts with its family's name.
        expression : Affine
        equality : bool
        """
        if equality or self.bounds(expression)[0] < 0:
            self.rows.append(Row(name, expression, equality))

    def raise_objective(self, floor: int) -> None:
        """Replace the objective by the larger of itself and a floor."""
        raised = self.largest("objective", floor)
        self.at_least("objective", raised, self.objective)
        self.objective = raised

    def bounds(self, expression: Affine) -> tuple[int, int]:
        """Least and largest value of an expression over the variables' bounds."""
        self._read.update(expression.terms)
        low = high = expression.constant
        for v, c in expression.terms.items():
            low += c * (self.lower[v] if c > 0 else self.upper[v])
            high += c * (self.upper[v] if c > 0 else self.lower[v])
        return low, high

    def complete(self, decisions: Mapping[int, int]) -> list[int]:
        """Values of all variables, given those of the decisions, exactly.

        Raises
        ------
        KeyError
            If a decision has no value.
        """
        values = [0] * len(self.names)
        defined = {d.variable for d in self.definitions}
        for v in range(len(values)):
            if v not in defined:
                values[v] = int(decisions[v])
        for definition in self.definitions:
            values[definition.variable] = _evaluate(definition, values)
        return values

    def broken(self, values: Sequence[int]) -> list[str]:
        """Names of the rows and bounds that values from `complete` do not satisfy."""
        outside = [
            n
            for n, a, x, b in zip(self.names, self.lower, values, self.upper, strict=True)
            if not a <= x <= b
        ]
        return outside + [row.name for row in self.rows if not row.holds(values)]


def _evaluate(definition: Definition, values: Sequence[int]) -> int:
    if isinstance(definition, TableEntry):
        index = values[definition.index]
        return definition.entries[index] if 0 <= index < len(definition.entries) else 0
    if isinstance(definition, Sum):
        return definition.expression.value(values)
    if isinstance(definition, Least):
        return min(e.value(values) for e in definition.expressions)
    return max([definition.floor, *(-(-e.value(values) // factor) for _, factor, e in definition.rows)])
