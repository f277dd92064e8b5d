"""Variants of an instance by count of chunks and by layout: what each comes to, and what none can do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from typing import TYPE_CHECKING

from mocap_opt.bounds import Scope, best
from mocap_opt.errors import InputError, Problem
from mocap_opt.instance import Instance
from mocap_opt.questions.tradeoffs.axes import Axis, read_axes
from mocap_opt.questions.tradeoffs.layout_choices import (
    LayoutChoice,
    extras_last,
    laid_out,
    layout_choices,
    own_layout,
)
from mocap_opt.questions.tradeoffs.looks import Look, heuristics_for, look, per_request, stamped
from mocap_opt.questions.tradeoffs.result import (
    FIRST_PLAN,
    INFEASIBLE,
    NO_PLAN,
    NOT_PLACED,
    NOT_REACHED,
    PRUNED,
    SOLVED,
    Choice,
    Sweep,
)
from mocap_opt.schedule.inputs import as_instance
from mocap_opt.schedule.plan import Plan
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving import Progress, solve
from mocap_opt.stopping import Deadline
from mocap_opt.tables import build_tables

if TYPE_CHECKING:
    from mocap_opt.schedule.inputs import GivenInstance

LOOKING = 0.6
"""Part of the time in which variants get bounds and a first plan, before any is searched."""

LEAST_SHARE = 0.1
"""Part of the time left that a variant may take at least, however many are still waiting."""


def chunk_choices(instance: Instance) -> list[tuple[str, ...]]:
    """Every exact count from 1 to the most the instance allows."""
    return [
        (f"chunking.max_chunks={count}", "chunking.exact=true")
        for count in range(1, instance.chunking.max_chunks + 1)
    ]


def tradeoff(
    instance: GivenInstance,
    *,
    chunks: bool = False,
    layouts: bool = False,
    axes: Sequence[str] = (Axis.LATENCY,),
    method: str = "auto",
    time_limit_s: float = 60.0,
    gap: float = 1e-4,
    seed: int = 0,
    tell: Callable[[Choice], None] | None = None,
    stop: threading.Event | None = None,
    begin: Callable[[str], None] = lambda doing: None,
    callback: Callable[[Progress], None] | None = None,
) -> Sweep:
    """Bound and plan all variants of an instance, then search those that can be the best.

    Parameters
    ----------
    instance : Instance or mapping
        One that leaves its layout open has the layouts varied that it leaves open.
    chunks, layouts : bool
        What to vary; at least one, unless the layout is left open.
    axes : sequence of str
        ``"latency"``, ``"period"``, ``"cost"`` (die-seconds per token), ``"longest"`` (prompt in exactly
        ``max_chunks`` equal chunks, in tokens).  What searches bring down comes first; the curve is of
        the first two.
    method, gap, seed
        As for `mocap_opt.solve`; a method only where the latency comes first.
    time_limit_s : float
        Wall time; first looks may take `LOOKING` of it, what they leave is shared.
    tell : callable, optional
        Called with every choice as it is settled.
    stop : threading.Event, optional
        Set it from outside to stop early: what is settled stays.
    begin : callable
        Called, in words, with what is being done.
    callback : callable, optional
        Told how the search of a variant gets on, as in `mocap_opt.solve`.

    Returns
    -------
    Sweep

    Raises
    ------
    InputError
        If there is nothing to vary, the layout cannot be varied, or an axis has no meaning here.

    Examples
    --------
    Every number of chunks, with the best plan and the bound of each:

    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json")
    >>> found = mocap_opt.tradeoff(instance, chunks=True)
    >>> found.to_frame()[["chunks", "latency_s"]].to_numpy().tolist()[0]
    [4.0, 6.6e-05]
    """
    instance, wanted = as_instance(instance), read_axes(axes)
    layouts = layouts or instance.pipeline.free
    if not (chunks or layouts):
        raise InputError([Problem("sweep", "nothing to vary", "--chunks auto or --layout auto")])
    if wanted[0] is not Axis.LATENCY and method not in ("auto", "joint"):
        expected = f"none where {wanted[0]} comes first, since methods are about latency"
        raise InputError([Problem("--method", repr(method), expected, "put latency first")])
    shapes = layout_choices(instance) if layouts else [own_layout(instance)]
    counts = chunk_choices(instance) if chunks else [()]
    work = _Work(instance, wanted, method, Deadline(time_limit_s, stop), gap, seed, begin, callback)
    waiting = work.looked_at([(shape, count) for shape, count in product(shapes, counts)])
    for number in range(len(waiting)):
        waiting[number] = work.settled(number, waiting)
        if tell is not None:
            tell(waiting[number])
    return Sweep(instance, wanted, tuple(waiting))


@dataclass(frozen=True)
class _Work:
    """What is asked, and until when."""

    instance: Instance
    axes: tuple[Axis, ...]
    method: str
    deadline: Deadline
    gap: float
    seed: int
    begin: Callable[[str], None]
    callback: Callable[[Progress], None] | None

    def looked_at(self, variants: Iterable[tuple[LayoutChoice, tuple[str, ...]]]) -> list[Choice]:
        """Choices after a first look, least bound first, of equal ones the best value.

        Those left at its end have no bound and come last.

        Layouts in which memory binds are followed by the same with the layers left over on the last stages.
        """
        late = self.deadline.share(LOOKING)
        pending, choices, first = list(variants), [], self.axes[0]
        for number, (shape, count) in enumerate(pending):
            # The list grows by what is added below.
            self.begin(f"first look at variant {number + 1} of {len(pending)}")
            most = int(count[0].partition("=")[2]) if count else self.instance.chunking.max_chunks
            choice, last = self.look(Choice(shape, (*shape.overrides, *count), most), late)
            choices.append(choice)
            pending += [] if last is None else [(last, count)]

        def soon(choice: Choice) -> tuple[bool, Fraction | int, bool, Fraction | int]:
            least, value = choice.least(first), choice.value(first)
            return least is None, least or 0, value is None, value or 0

        return sorted(choices, key=soon)

    def look(self, choice: Choice, late: Deadline) -> tuple[Choice, LayoutChoice | None]:
        """A choice after a first look, if there is time for it, and what `extras_last` makes of it.

        Parameters
        ----------
        choice : Choice
        late : Deadline
        """
        shape = choice.layout
        if shape.problem or late.expired:
            outcome = NOT_PLACED if shape.problem else NOT_REACHED
            return replace(choice, outcome=outcome, reason=shape.problem), None
        try:
            variant = laid_out(self.instance, choice.overrides)
            tables = build_tables(variant)
        except InputError as error:
            if not shape.overrides:
                raise
            said = "; ".join(f"{each.path}: {each.found}" for each in error.problems)
            return replace(choice, outcome=NOT_PLACED, reason=said), None
        seen = look(variant, tables, shape.dies, self.axes, heuristics_for(self.method), late)
        return _after(choice, seen, variant), extras_last(self.instance, shape, tables)

    def settled(self, number: int, waiting: Sequence[Choice]) -> Choice:
        """Search a choice unless it is infeasible, cannot win, or there is no time.

        What time is left is shared by those that can still win.

        Parameters
        ----------
        number : int
            Its place in `waiting`.
        waiting : sequence of Choice
        """
        choice, axis = waiting[number], self.axes[0]
        values = [value for value in (each.value(axis) for each in waiting) if value is not None]
        known = min(values, default=None)
        left = sum(each.may_beat(known, axis) for each in waiting[number:])
        share = self.deadline.share(max(1 / max(left, 1), LEAST_SHARE))
        if not choice.proved and choice.outcome == NOT_REACHED:
            choice = self.look(choice, share)[0]
        if not choice.may_beat(known, axis):
            if not choice.known_to_exist:
                return choice
            return replace(choice, outcome=SOLVED if choice.value(axis) == choice.least(axis) else PRUNED)
        if share.expired or axis is Axis.LONGEST:
            return choice
        so_far = "" if known is None else f", best {float(axis.sign * known):.5g}"
        self.begin(f"variant {number + 1} of {len(waiting)}: {' '.join(choice.overrides)}{so_far}")
        variant = laid_out(self.instance, choice.overrides)
        search = self._solved if axis is Axis.LATENCY else self._with_period
        return search(choice, variant, share)

    def _solved(self, choice: Choice, variant: Instance, deadline: Deadline) -> Choice:
        solution = solve(
            variant,
            self.method,
            time_limit_s=deadline.left_s,
            gap=self.gap,
            seed=self.seed,
            callback=self.callback,
            stop=deadline.stop,
        )
        tick = solution.tables.tick_s
        bound = best(solution.lower_bounds, {Scope.ANY_EXECUTION})
        proved = {} if bound is None else {Axis.LATENCY: bound.ticks * tick}
        found = {} if solution.assessment is None else {Axis.LATENCY: solution.assessment.latency * tick}
        report = solution.report
        searched = _better(choice, found, proved, solution.plan)
        if Axis.LATENCY in searched.found:
            return replace(searched, outcome=SOLVED)
        hopeless = report.status is Status.INFEASIBLE
        return replace(searched, outcome=INFEASIBLE if hopeless else NO_PLAN, reason=report.reason or "")

    def _with_period(self, choice: Choice, variant: Instance, deadline: Deadline) -> Choice:
        from mocap_opt.solving.period_search import best_period  # noqa: PLC0415 - loads CP-SAT

        tables = build_tables(variant)
        search = best_period(tables, deadline=deadline, gap=self.gap, seed=self.seed, callback=self.callback)
        tick, dies, bound, value = tables.tick_s, choice.layout.dies, search.headline, search.value
        proved = {} if bound is None else per_request(variant, dies, bound.ticks * tick)
        found = {} if value is None else per_request(variant, dies, value * tick)
        searched = _better(choice, found, proved)
        if search.infeasible is not None:
            return replace(searched, outcome=INFEASIBLE, reason=search.infeasible)
        return replace(searched, outcome=SOLVED if Axis.PERIOD in searched.found else NO_PLAN)


def _after(choice: Choice, seen: Look, variant: Instance) -> Choice:
    """A choice after a first look."""
    outcome = FIRST_PLAN if seen.plan is not None else NO_PLAN if seen.reason else NOT_REACHED
    return replace(
        choice,
        found=seen.found,
        proved=seen.proved,
        plan=None if seen.plan is None else stamped(seen.plan, variant),
        outcome=INFEASIBLE if seen.infeasible else outcome,
        reason=seen.infeasible or seen.reason,
    )


def _better(
    choice: Choice,
    found: Mapping[Axis, Fraction],
    proved: Mapping[Axis, Fraction],
    plan: Plan | None = None,
) -> Choice:
    """A choice with what a search found, where that is better than what was known."""
    values, bounds = {**choice.found}, {**choice.proved}
    for axis, value in found.items():
        values[axis] = min(values.get(axis, value), value)
    for axis, value in proved.items():
        bounds[axis] = max(bounds.get(axis, value), value)
    improved = plan is not None and values.get(Axis.LATENCY) != choice.latency
    return replace(choice, found=values, proved=bounds, plan=plan if improved else choice.plan)
