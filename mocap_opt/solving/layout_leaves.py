"""One layout of an instance that leaves some open: where its stages lie, its bounds, its plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from mocap_opt.bounds import BOUNDS, Bound, best
from mocap_opt.errors import InputError, Problem
from mocap_opt.instance import Instance
from mocap_opt.instance.pipeline import StageLayout
from mocap_opt.layouts.layer_times import LayerTimes
from mocap_opt.layouts.space import Shape
from mocap_opt.memory_budget import OverBudgetError
from mocap_opt.messages import show
from mocap_opt.solving.incumbent import Progress
from mocap_opt.solving.latency import LatencyAnswerer
from mocap_opt.solving.report import covering
from mocap_opt.solving.solution import Query, Solution, wanted_execution
from mocap_opt.stopping import Deadline
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.wafer.path import PLACEMENTS
from mocap_opt.wafer.pools import pool_bytes
from mocap_opt.wafer.topology import Topology

PLACED = ("path", "boustrophedon")
"""Rules of placement in the order in which ``"auto"`` tries them."""

ALL_LAYOUTS = "layouts"
"""Name of the bound that a search proves."""

QUICK_POOLED = ("crossing_pooled_memory", "path_relaxation")
SLOW_POOLED = ("state_space", "boundary_branching")
"""Bounds that know nothing of links nor of which memory is whose."""


@dataclass(eq=False)
class Leaf:
    """A layout that a search looks at.

    Attributes
    ----------
    shape : Shape
    layers : tuple of int
    instance : Instance or None
        With the layout decided; None where no placement is known.
    bound_s : Fraction
        No plan of these degrees and layers is faster, seconds.
    solution : Solution or None
        The best answer so far.
    spent_s : float
        Time that solves took.
    whole : bool
        Whether its own bounds hold for all placements and sizes that the search covers.
    """

    shape: Shape
    layers: tuple[int, ...]
    instance: Instance | None
    whole: bool
    bound_s: Fraction = Fraction(0)
    solution: Solution | None = None
    spent_s: float = 0.0
    tables: Tables | None = field(default=None, repr=False)

    @property
    def value_s(self) -> Fraction | None:
        """What its best plan takes, seconds."""
        if self.solution is None or self.solution.assessment is None:
            return None
        asked = wanted_execution(self.solution.report.settings.get("execution", "best"))
        return self.solution.assessment.latency_in(asked) * self.solution.tables.tick_s

    def tighten(self, deadline: Deadline, dies: int, names: Sequence[str] = QUICK_POOLED) -> None:
        """Raise the bound by what needs no plan.

        Parameters
        ----------
        deadline : Deadline
        dies : int
            With memory that may be used, at most.
        names : sequence of str
            Of bounds that hold for all placements.
        """
        if self.instance is None:
            return
        if self.tables is None:
            whole = self.whole
            self.tables = build_tables(self.instance) if whole else unplaced(self.instance, dies)
        moved = self.instance.pipeline.spare_dies == "memory" or self.instance.wafer.slow_links
        if moved and not self.whole and not LayerTimes.of(self.instance).one_tick(self.shape.degrees):
            # Slow links and, elsewhere, ports of spare dies ask for another tick, to which times are rounded.
            return
        for name in names:
            if deadline.expired:
                return
            try:
                self._raise(BOUNDS[name](self.tables, asked_to_stop=deadline), self.tables)
            except OverBudgetError:
                continue

    def _raise(self, bound: Bound | None, tables: Tables) -> None:
        if bound is not None:
            self.bound_s = max(self.bound_s, bound.ticks * tables.tick_s)

    def solve(self, query: Query, seconds: float, dies: int) -> None:
        """Look for better plans and bounds.

        Parameters
        ----------
        query : Query
            Of the whole search.
        seconds : float
        dies : int
            With memory that may be used, at most.
        """
        assert self.instance is not None
        deadline = query.deadline.at_most(seconds)
        before = query.deadline.elapsed_s
        part = Query(deadline=deadline, asked=query.asked, known=self.solution)
        found = LatencyAnswerer(self.instance).solve(part)
        self.spent_s += query.deadline.elapsed_s - before
        held, new = self.solution, Leaf(self.shape, self.layers, self.instance, self.whole, solution=found)
        if held is None or self.value_s is None or (new.value_s is not None and new.value_s <= self.value_s):
            self.solution = found
        if self.whole:
            wanted = wanted_execution(query.asked.execution)
            self._raise(best((b for b in found.lower_bounds if b.closes), covering(wanted)), found.tables)
        elif not deadline.stop.is_set():
            first = QUICK_POOLED if self.tables is None else ()
            self.tighten(query.deadline.at_most(seconds), dies, (*first, *SLOW_POOLED))


def place(instance: Instance, topology: Topology, shape: Shape, layers: tuple[int, ...]) -> Leaf:
    """Lay a shape with its layers out, if a rule of placement can.

    Parameters
    ----------
    instance : Instance
        Free.
    topology : Topology
        Of its wafer.
    shape : Shape
    layers : tuple of int
    """
    pipeline = instance.pipeline
    given = pipeline.placement
    even = shape.sizes == shape.degrees or pipeline.dies_per_stage != "auto"
    whole = given != "auto" and even
    if isinstance(given, tuple):
        return Leaf(shape, layers, instance.with_layout(StageLayout(given, layers)), whole)
    for rule in PLACED if given == "auto" else (given,):
        try:
            dies = PLACEMENTS[rule](topology, shape.sizes)
            return Leaf(shape, layers, instance.with_layout(StageLayout(dies, layers)), whole)
        except InputError:
            continue
    return Leaf(shape, layers, None, whole)


def known_leaf(instance: Instance, topology: Topology, known: Solution, execution: str) -> Leaf:
    """Return the layout of an earlier answer with its plan.

    Parameters
    ----------
    instance : Instance
        Free.
    topology : Topology
        Of its wafer.
    known : Solution
        Its bounds on its own layout are kept, not those on all layouts.
    execution : str
        Which latency is asked for.

    Raises
    ------
    InputError
        If it is no answer to the instance with a feasible plan, or is of another execution.
    """
    report = known.report
    found = {"execution": report.settings.get("execution", "best"), "instance": report.fingerprint}
    wanted = {"execution": execution, "instance": instance.fingerprint}
    held = None if known.plan is None or known.assessment is None else known.plan.layout
    if held is None or found != wanted:
        shown = "an answer without a feasible plan in a layout" if found == wanted else show(found)
        expected = f"an answer with a plan and its layout, of {show(wanted)}"
        raise InputError([Problem("known", shown, expected, "leave it out")])
    fixed, sizes = instance.with_layout(held), tuple(map(len, held.dies))
    degrees = tuple(instance.pipeline.degree(size, instance.model.heads) for size in sizes)
    leaf = place(instance, topology, Shape(sizes, degrees), held.layers)
    own = tuple(bound for bound in known.lower_bounds if bound.name != ALL_LAYOUTS)
    return replace(leaf, instance=fixed, solution=replace(known, lower_bounds=own))


def unplaced(instance: Instance, dies: int) -> Tables:
    """Tables whose pooled bounds hold wherever the stages lie and whoever has the spare dies.

    All links are as fast as the fastest, since elsewhere no slow one might stand between the dies of a
    stage; no send takes time; and what all memories together have beside weights and prefixes is given to
    stages in proportion to their activations, so that none runs out of it before all do, staging and a page
    each on top, since whole pages fit differently.

    Parameters
    ----------
    instance : Instance
        With a layout decided.
    dies : int
        With memory that may be used, at most.
    """
    wafer = instance.wafer
    fastest = max([wafer.link.bandwidth, *(link.bandwidth for link in wafer.slow_links)])
    link = wafer.link.model_copy(update={"bandwidth": fastest})
    even = wafer.model_copy(update={"slow_links": (), "link": link})
    tables, die = build_tables(instance.model_copy(update={"wafer": even})), wafer.die
    capacity = tables.static + tables.prefix_bytes + tables.staging
    whole = max(dies * int(die.memory_bytes) + pool_bytes(wafer.pools), int(tables.capacity.sum()))
    left = whole - int((tables.static + tables.prefix_bytes).sum())
    # Without what mini-sequences cap, which is not in proportion to anything; that relaxes the rows.
    tables = replace(tables, buffer_bytes=None, buffer_limit=None, logit_bytes=None)
    working = tables.working_bytes[: tables.stages].tolist()
    working = working if any(working) else [1] * tables.stages
    for i, part in enumerate(working):
        capacity[i] += -(-left * part // sum(working)) + int(tables.page_bytes[i])
    return replace(
        tables, send=np.zeros_like(tables.send), hop_ticks=np.zeros_like(tables.hop_ticks), capacity=capacity
    )


def follow(query: Query, leaf: Leaf, bound_s: Fraction | None) -> None:
    """Tell who follows a search of a better plan or bound.

    Parameters
    ----------
    query : Query
    leaf : Leaf
        With the best plan.
    bound_s : Fraction or None
        On all layouts.
    """
    if query.callback is None:
        return
    value = leaf.value_s
    # What could not improve the best plan may have greater bounds than the plan.
    bound_s = value if value is not None and bound_s is not None and value < bound_s else bound_s
    gap = None if value is None or bound_s is None or not value else float(1 - bound_s / value)
    query.callback(
        Progress(
            query.deadline.elapsed_s,
            None if value is None else float(value),
            None if bound_s is None else float(bound_s),
            gap,
            str(leaf.shape),
        )
    )
