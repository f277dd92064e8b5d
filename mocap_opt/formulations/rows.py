"""Linear rows with integer data, added to a Pyomo model family by family, and the data that families read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import gcd
from typing import Any, Protocol

import pyomo.environ as pyo
from pyomo.core.expr import LinearExpression

from mocap_opt.formulations.layer_tables import LayerTables
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import running
from mocap_opt.tables.cost_tables import Tables

LARGEST_INTEGER = 10**6
"""Rows whose integers are all below this stay in integers; others are divided by their pivot."""

SMALLEST = 1e-9
"""HiGHS ignores coefficients up to this size."""

TICKS_AS_INTEGERS = 2**20
"""Horizons up to this many ticks are modelled in whole ticks."""


@dataclass
class Terms:
    """A linear expression with exact coefficients, in the making."""

    constant: int = 0
    coefs: list[int] = field(default_factory=list)
    variables: list[Any] = field(default_factory=list)

    def add(self, coef: int, variable: Any) -> Terms:
        """Add a multiple of a variable; multiples of 0 are left out.

        Parameters
        ----------
        coef : int
        variable : Pyomo variable
        """
        if coef:
            self.coefs.append(coef)
            self.variables.append(variable)
        return self

    def plus(self, factor: int, other: Terms) -> Terms:
        """Add a multiple of another expression.

        Parameters
        ----------
        factor : int
        other : Terms
        """
        self.constant += factor * other.constant
        for coef, variable in zip(other.coefs, other.variables, strict=True):
            self.add(factor * coef, variable)
        return self


@dataclass(frozen=True)
class Row:
    """``terms >= 0`` or ``terms == 0``.

    Attributes
    ----------
    index : int or tuple of int
        Within its family.
    terms : Terms
    equal : bool
        Whether the terms are 0, or at least 0.
    pivot : int
        What the row is divided by if its integers are large; usually the coefficient of a time.
    """

    index: Any
    terms: Terms
    equal: bool = False
    pivot: int = 1


Family = tuple[str, Callable[[pyo.ConcreteModel], Iterable[Row]]]
"""Name of a family and the function that yields its rows."""


def add_families(model: pyo.ConcreteModel, families: Sequence[Family], without: Iterable[str] = ()) -> None:
    """Add families to a model, each a component with the family's name.

    Parameters
    ----------
    model : ConcreteModel
    families : sequence of Family
    without : iterable of str
        Names of families to leave out, to see what they are good for.

    Raises
    ------
    ValueError
        If a name in `without` is not a family's.
    """
    unknown = set(without) - {name for name, _ in families}
    if unknown:
        raise ValueError(f"no such family: {', '.join(sorted(unknown))}")
    for name, function in families:
        if name not in without:
            rows = {row.index: row for row in function(model)}
            constraint = pyo.Constraint(
                list(rows), rule=lambda block, *index, rows=rows: _constraint(block, rows, index)
            )
            model.add_component(name, constraint)


def _constraint(model: Any, rows: dict[Any, Row], index: tuple[Any, ...]) -> Any:
    row = rows[index[0] if len(index) == 1 else index]
    constant, coefs = _scaled(row)
    coefs = coefs if row.equal else [_visible(coef) for coef in coefs]
    if not coefs:
        if constant == 0 if row.equal else constant >= 0:
            return pyo.Constraint.Feasible
        # Pyomo refuses rows without variables; a false one must still make the model infeasible, and no
        # variable is below 0.
        some = next(model.component_data_objects(pyo.Var))
        return (None, LinearExpression(constant=0, linear_coefs=[1.0], linear_vars=[some]), -1.0)
    body = LinearExpression(constant=0, linear_coefs=coefs, linear_vars=row.terms.variables)
    return (-constant, body, -constant if row.equal else None)


def _scaled(row: Row) -> tuple[float, list[float]]:
    """Divide a row by the common divisor of its integers, and by its pivot if they stay large."""
    terms = row.terms
    divisor = gcd(terms.constant, *terms.coefs) or 1
    largest = max((abs(coef) for coef in terms.coefs), default=0) // divisor
    if largest > LARGEST_INTEGER and row.pivot != 1:
        divisor = row.pivot
        return terms.constant / divisor, [coef / divisor for coef in terms.coefs]
    return terms.constant // divisor, [coef // divisor for coef in terms.coefs]


def _visible(coef: float) -> float:
    """Replace a coefficient that HiGHS would ignore so that ``terms >= 0`` is only weakened.

    All variables are at least 0, so dropping a negative term or raising a positive one is safe.
    """
    if abs(coef) > SMALLEST:
        return coef
    return 0.0 if coef <= 0 else 2 * SMALLEST


@dataclass(frozen=True)
class TimeUnit:
    """The unit of time in a model.

    Attributes
    ----------
    ticks : int
        Ticks per unit of the model's time variables.
    whole : bool
        Whether the time variables are integers (then the unit is a tick, and the model's optimum is
        exact to the tick); otherwise they are continuous.
    """

    ticks: int
    whole: bool

    @classmethod
    def for_horizon(cls, ticks: int) -> TimeUnit:
        """Choose the unit for schedules of about so many ticks."""
        if ticks <= TICKS_AS_INTEGERS:
            return cls(1, True)
        return cls(1 << (ticks // TICKS_AS_INTEGERS).bit_length() + 2, False)

    @property
    def domain(self) -> Any:
        """Pyomo domain of a time variable."""
        return pyo.NonNegativeIntegers if self.whole else pyo.NonNegativeReals

    def bound_ticks(self, bound: float, slots: int) -> int:
        """Turn a solver's lower bound into ticks, rounded up only as far as it is sound.

        The latency is a whole number of ticks, so a bound may be rounded up once the solver's
        tolerance is taken off: 1e-6 for each of two times per slot, and 1e-9 of the sum.

        Parameters
        ----------
        bound : float
            In this unit.
        slots : int
            Rows with a tolerance that a path through the model adds up, two times in each.
        """
        ticks = bound * self.ticks
        slack = 2e-6 * slots * self.ticks + 1e-9 * abs(ticks)
        return max(0, int(-((slack - ticks) // 1)))


Owner = tuple[int, ...]
"""Whose KV it is: ``(stage,)``, or ``(stage, number of layers)`` where layers are decided too."""


class Chunks(Protocol):
    """Boundaries as the homes' families see them: expressions, or numbers where they are fixed."""

    @property
    def count(self) -> int:
        """M, the number of positions."""

    def values(self, boundaries: Sequence[int]) -> Iterable[tuple[Any, float]]:
        """Variables and their values where p_j is grid index ``boundaries[j]``, j = 0..M."""

    def boundaries(self) -> list[int]:
        """Grid indices p_0 .. p_M that the variables' values stand for."""

    def pages(self, boundary: int) -> Terms:
        """Pages of the tokens before a boundary."""

    def kept_pages(self, owner: Owner, boundary: int) -> Terms:
        """Pages before a boundary that an owner has to keep; none if a stage is not that owner.

        Parameters
        ----------
        owner : Owner
        boundary : int
        """

    def tokens(self, chunk: int) -> Terms:
        """Length of a chunk, tokens."""

    def rider_bytes(self, chunk: int) -> Terms:
        """Bytes that tokens decoded with a chunk add to its messages; 0 if it is empty."""

    def used(self, chunk: int) -> Terms:
        """1 if a chunk is not empty."""

    def duration(self, stage: int, chunk: int) -> Terms:
        """Time of a chunk on a stage, in ticks.

        Parameters
        ----------
        stage, chunk : int
        """

    def message(self, stage: int, chunk: int) -> Terms:
        """Time of a chunk's activations on their own after a stage, in ticks.

        Parameters
        ----------
        stage, chunk : int
        """

    def available(self, chunk: int) -> Terms:
        """When the tokens up to a chunk's end exist, in ticks; 0 if it is empty."""

    def own_traffic(self, memory: int, chunk: int) -> Terms:
        """Bytes that a chunk moves through its own stage's memory port; 0 if it is empty.

        Parameters
        ----------
        memory, chunk : int
        """

    def most_pages(self, boundary: int) -> int:
        """Pages that the tokens before a boundary fill at most."""

    def least_work(self, running: Sequence[tuple[int, int]]) -> int:
        """Ticks that work lasts at least if any of these chunks (stage, position) is not empty."""

    def room(self, memory: int) -> Terms:
        """Multiples of the page unit free in a memory for KV and prefix, next to static bytes and reserve."""

    def prefix(self, stage: int, chunk: int) -> Terms:
        """Multiples of the page unit that the cached prefix takes; 0 if the chunk is empty.

        Parameters
        ----------
        stage, chunk : int
        """


@dataclass(frozen=True)
class Timing:
    """How a program times a plan.

    Attributes
    ----------
    latency : callable
        From tables and plan to the program's exact objective, ticks.
    values : callable
        From model, tables, plan and the number of leading positions that are empty to the variables that are
        times and their ticks.
    rows_per_slot : int
        Rows that a path through the model adds up for each slot, two times each at most.
    """

    latency: Callable[[Tables, Plan], int]
    values: Callable[[Any, Tables, Plan, int], Iterable[tuple[Any, int]]]
    rows_per_slot: int = 1


@dataclass(frozen=True, eq=False)
class ModelData:
    """Data of a model.

    Attributes
    ----------
    tables : Tables
    time_unit : TimeUnit
    chunks : Chunks
    homes : tuple of tuple of int
        By stage, the memories in which its KV may live, its own included; empty tuples where homes
        are not decided at all because everything fits at home.
    timing : Timing
    target : int or None
        Latency that plans must not exceed, ticks.
    interval : int or None
        W, if requests come again without end; slots are then those of an interval.
    layers : LayerTables or None
        Tables for every number of layers of a stage, where these are decided too; `tables` are then those
        of one choice and tell only what does not depend on it.
    """

    tables: Tables
    time_unit: TimeUnit
    chunks: Chunks
    homes: tuple[tuple[int, ...], ...]
    timing: Timing
    target: int | None = None
    interval: int | None = None
    layers: LayerTables | None = None

    @cached_property
    def page_bytes(self) -> dict[Owner, int]:
        """Bytes of a page of every owner of KV, stage by stage."""
        if self.layers is None:
            return {(i,): int(size) for i, size in enumerate(self.tables.page_bytes)}
        return {owner: int(tables.page_bytes[owner[0]]) for owner, tables in self.layers.by_stage.items()}

    @cached_property
    def owners(self) -> list[list[Owner]]:
        """All that each stage may be as an owner of KV."""
        return [[each for each in self.page_bytes if each[0] == i] for i in range(self.tables.stages)]

    def tables_of(self, stage: int) -> list[Tables]:
        """Tables whose entries for a stage may hold."""
        return [self.tables] if self.layers is None else list(self.layers.of_stage(stage).values())

    @property
    def slots(self) -> int:
        """Number of slots, W or M + N - 1."""
        return self.interval or self.chunks.count + self.tables.stages - 1

    def running(self, slot: int) -> list[tuple[int, int]]:
        """Stages at work in a slot with their chunks."""
        return running(self.tables.stages, self.chunks.count, self.slots, slot)

    def bound_ticks(self, bound: float) -> int:
        """A solver's lower bound on the model in ticks, rounded up only as far as it is sound."""
        return self.time_unit.bound_ticks(bound, self.timing.rows_per_slot * self.slots)
