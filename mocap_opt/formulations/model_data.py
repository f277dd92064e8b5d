"""What the families of the Pyomo programs read besides the variables: one frozen record per model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mocap_opt.formulations.rows import Clock, Terms
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import running
from mocap_opt.tables.cost_tables import Tables


class Chunks(Protocol):
    """Boundaries as the homes' families see them: expressions, or numbers where they are fixed."""

    @property
    def count(self) -> int:
        """M, the number of positions."""

    @property
    def least_held(self) -> int:
        """Tokens that the queues hold at least, whatever is chosen."""

    def values(self, boundaries: Sequence[int]) -> Iterable[tuple[Any, float]]:
        """Variables and their values where p_j is grid index ``boundaries[j]``, j = 0..M."""

    def boundaries(self) -> list[int]:
        """Grid indices p_0 .. p_M that the variables' values stand for."""

    def pages(self, boundary: int) -> Terms:
        """Pages of the tokens before a boundary."""

    def tokens(self, chunk: int) -> Terms:
        """Length of a chunk, tokens."""

    def used(self, chunk: int) -> Terms:
        """1 if a chunk is not empty."""

    def duration(self, stage: int, chunk: int) -> Terms:
        """Time of a chunk on a stage, in ticks."""

    def message(self, stage: int, chunk: int) -> Terms:
        """Time of a chunk's activations on their own after a stage, in ticks."""

    def own_traffic(self, memory: int, chunk: int) -> Terms:
        """Bytes that a chunk moves through its own stage's memory port; 0 if it is empty."""

    def most_pages(self, boundary: int) -> int:
        """Pages that the tokens before a boundary fill at most."""

    def least_work(self, running: Sequence[tuple[int, int]]) -> int:
        """Ticks that work lasts at least if any of these chunks (stage, position) is not empty."""

    def reserve_units(self, memory: int) -> Terms:
        """Multiples of the page unit that the reserve takes beyond that of `least_held`."""


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
class Frame:
    """Data of a model.

    Attributes
    ----------
    tables : Tables
    clock : Clock
    chunks : Chunks
    homes : tuple of tuple of int
        By stage, the memories in which its KV may live, its own included; empty tuples where homes
        are not decided at all because everything fits at home.
    timing : Timing
    target : int or None
        Latency that plans must not exceed, ticks.
    interval : int or None
        W, if requests come again without end; slots are then those of an interval.
    """

    tables: Tables
    clock: Clock
    chunks: Chunks
    homes: tuple[tuple[int, ...], ...]
    timing: Timing
    target: int | None = None
    interval: int | None = None

    @property
    def slots(self) -> int:
        """Number of slots, W or M + N - 1."""
        return self.interval or self.chunks.count + self.tables.stages - 1

    def running(self, slot: int) -> list[tuple[int, int]]:
        """Stages at work in a slot with their chunks."""
        return running(self.tables.stages, self.chunks.count, self.slots, slot)

    def bound_ticks(self, bound: float) -> int:
        """A solver's lower bound on the model in ticks, rounded up only as far as it is sound."""
        return self.clock.bound_ticks(bound, self.timing.rows_per_slot * self.slots)
