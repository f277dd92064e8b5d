"""What the steps of the joint method hand on to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from mocap_opt.bounds.ladder import Ladder
from mocap_opt.schedule.plan import Plan
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.solving.programs import Program
from mocap_opt.solving.strategy import Strategy
from mocap_opt.tables.cost_tables import Tables

NamedPlan = tuple[str, Plan]
"""Where a plan comes from, and the plan."""


PROGRAM_STEPS = {
    "contention_free": "contention_free_program",
    "decomposition": "decomposed_program",
    "joint": "lockstep_program",
}
"""The steps that run the programs, by the programs' names."""


@dataclass(eq=False)
class JointSearch:
    """A solve by the joint method.

    Attributes
    ----------
    state : SearchState
        Best plan, best bounds, and the clock.
    strategy : Strategy
        The programs to run.
    seed : int
        Of every search and solver; the rounds after the first have others.
    names : frozenset of str
        The steps that take part.
    passed : set of str
        Those that have had their turn, whether they ran or not.
    starts : list of (str, Plan)
        What the heuristics found, by their names.
    improved : list of (str, Plan)
        What local search and boundary moves made of the most promising of them.
    reasons : list of str
        Why heuristics or programs found no plan.
    placed : set of tuple of int
        Boundaries that have had link-balanced homes.
    solver : str or None
        The solver of the programs, once one has run.
    branched : bool
        Whether `boundary_branching` has run to its end.
    slots_branched : bool
        Whether `slot_branching` has.
    state_space_latency : Fraction or None
        Latency of the best plan, ticks, with which `state_space` has run to its end.
    ladder : Ladder or None
        What the ladder proved for the best static plan it knew.
    ladder_stopped : bool
        Whether it did not end in its share of the time.
    blocking_ladder : Ladder or None
        What the ladder on any execution proved for the best plan it knew.
    round : int
        0 the first time through the table.
    """

    state: SearchState
    strategy: Strategy
    seed: int = 0
    names: frozenset[str] = frozenset()
    passed: set[str] = field(default_factory=set)
    starts: list[NamedPlan] = field(default_factory=list)
    improved: list[NamedPlan] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    placed: set[tuple[int, ...]] = field(default_factory=set)
    solver: str | None = None
    branched: bool = False
    slots_branched: bool = False
    state_space_latency: Fraction | None = None
    ladder: Ladder | None = None
    ladder_stopped: bool = False
    blocking_ladder: Ladder | None = None
    round: int = 0

    @property
    def tables(self) -> Tables:
        """The instance."""
        return self.state.tables

    def awaits(self, program: Program) -> bool:
        """Whether a program is still to come: the strategy has it, and its step takes part."""
        step = PROGRAM_STEPS[program.name]
        return program in self.strategy.programs and step in self.names and step not in self.passed
