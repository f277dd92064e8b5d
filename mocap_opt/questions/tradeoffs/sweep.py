"""Variants of an instance by count of chunks and by layout, the ones that cannot win left out by bounds."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mocap_opt.bounds import Scope, best, prove_infeasible
from mocap_opt.errors import InputError, Problem
from mocap_opt.files import read_json
from mocap_opt.instance import Instance
from mocap_opt.instance.objectives import require_supported
from mocap_opt.instance.overrides import apply_overrides
from mocap_opt.instance.pipeline import Pipeline
from mocap_opt.questions.max_context.upper_bounds import path_bound
from mocap_opt.solving import Progress, Solution, solve
from mocap_opt.stopping import Deadline
from mocap_opt.tables import build_tables

NOT_REACHED = "not reached"

BOUNDING = 0.4
"""Part of the time that the bounds of all variants may take before any is solved."""

LEAST_SHARE = 0.1
"""Part of the time left that a variant may take at least, however many are still waiting."""


ONE_STAGE = {"stages": 1, "dies_per_stage": 1}
"""The layout that fits whenever any does."""


@dataclass(frozen=True)
class Choice:
    """A variant and what is known of it.

    Attributes
    ----------
    overrides : tuple of str
        What makes it of the instance.
    stages, dies_per_stage, chunks : int
        `chunks` is the exact count, or the most there may be where counts are not swept.
    bound : Fraction or None
        No plan of this variant is faster in any execution, seconds; None if there is none to say so.
    latency : Fraction or None
        Of the best plan found, seconds; None without a plan or where it was not solved.
    outcome : str
        ``"solved"``, ``"pruned"`` (its bound is no better than another's plan), ``"infeasible"``,
        ``"no plan"`` or ``"not reached"`` (time was up, or the sweep was stopped).
    """

    overrides: tuple[str, ...]
    stages: int
    dies_per_stage: int
    chunks: int
    bound: Fraction | None
    latency: Fraction | None = None
    outcome: str = NOT_REACHED


@dataclass(frozen=True)
class Sweep:
    """All variants and the best of them.

    Attributes
    ----------
    choices : tuple of Choice
        In the order they were looked at, least bound first.
    best : Choice or None
    solution : Solution or None
        Of the best one.
    """

    choices: tuple[Choice, ...]
    best: Choice | None
    solution: Solution | None

    @property
    def bound(self) -> Fraction | None:
        """No plan of any variant is faster, seconds; None if one of them has no bound.

        A pruned variant counts with its own bound, which is no better than the best plan.
        """
        bounds = [choice.bound for choice in self.choices if choice.outcome != "infeasible"]
        known = [bound for bound in bounds if bound is not None]
        return min(known) if known and len(known) == len(bounds) else None

    @property
    def gap(self) -> float | None:
        """(latency - bound) / latency over all variants; None while either is unknown."""
        if self.best is None or self.best.latency is None or self.bound is None:
            return None
        return float(max(1 - self.bound / self.best.latency, Fraction(0)))


def chunk_choices(instance: Instance) -> list[tuple[str, ...]]:
    """Every exact count from 1 to the most the instance allows."""
    return [
        (f"chunking.max_chunks={count}", "chunking.exact=true")
        for count in range(1, instance.chunking.max_chunks + 1)
    ]


def layout_choices(instance: Instance) -> list[tuple[str, ...]]:
    """Every number of stages and dies per stage that fits the wafer's living dies and the layers.

    Stages of too few dies for any of ``pipeline.degrees`` are left out.  Those that put most dies to
    work come first, of these the ones with few stages, which are soon laid out: where time ends a sweep
    they are the ones to have seen.

    Raises
    ------
    InputError
        If the instance lays its stages out by hand, which says nothing about other layouts, or leaves
        something open.
    """
    instance.pipeline.require_fixed()
    pipeline, wafer = instance.pipeline, instance.wafer
    by_hand = {
        "pipeline.layers": pipeline.layers != "balanced",
        "pipeline.placement": not isinstance(pipeline.placement, str),
        "costs.kind": instance.costs.kind != "roofline",
    }
    problems = [
        Problem(path, "figures for one layout", "rules for any layout", "sweep only the chunks")
        for path, given in by_hand.items()
        if given
    ]
    if problems:
        raise InputError(problems)
    dies = wafer.living_dies
    shapes = [
        (stages, width)
        for width in range(1, dies + 1)
        if pipeline.degree(width, instance.model.heads)
        for stages in range(1, min(dies // width, instance.model.layers) + 1)
    ]
    shapes.sort(key=lambda shape: (-shape[0] * shape[1], shape[0]))
    return [(f"pipeline.stages={stages}", f"pipeline.dies_per_stage={width}") for stages, width in shapes]


def sweep(
    instance: Instance,
    *,
    chunks: bool,
    layouts: bool,
    method: str = "auto",
    time_limit_s: float = 60.0,
    gap: float = 1e-4,
    seed: int = 0,
    tell: Callable[[Choice], None] | None = None,
    stop: threading.Event | None = None,
    begin: Callable[[str], None] = lambda doing: None,
    callback: Callable[[Progress], None] | None = None,
) -> Sweep:
    """Solve the variants of an instance in the order of their bounds, as long as they can win.

    Parameters
    ----------
    instance : Instance
    chunks, layouts : bool
        What to vary; at least one.
    method, gap, seed
        As for `mocap_opt.solve`.
    time_limit_s : float
        Wall time; the bounds of all variants may take `BOUNDING` of it, what they leave is shared.
    tell : callable, optional
        Called with every choice as it is settled.
    stop : threading.Event, optional
        Set it from outside to stop early: what is settled stays, the others are not reached.
    begin : callable
        Called, in words, with what is being done.
    callback : callable, optional
        Told how the solve of a variant gets on, as in `mocap_opt.solve`.

    Returns
    -------
    Sweep

    Raises
    ------
    InputError
        If there is nothing to vary or the layout cannot be varied.
    """
    if not (chunks or layouts):
        raise InputError([Problem("sweep", "nothing to vary", "--chunks auto or --layout auto")])
    instance.pipeline.require_fixed()
    kinds: list[Sequence[tuple[str, ...]]] = []
    if layouts:
        kinds.append(layout_choices(instance))
    if chunks:
        kinds.append(chunk_choices(instance))
    require_supported(instance, "tradeoff of chunks and layouts")
    deadline = Deadline(time_limit_s, stop)
    variants: list[tuple[str, ...]] = [sum(parts, ()) for parts in product(*kinds)]
    waiting = _by_bound(instance, variants, deadline.share(BOUNDING), begin)
    settled: list[Choice] = []
    winner: tuple[Choice, Solution] | None = None
    for number, choice in enumerate(waiting):
        share = deadline.share(max(1 / (len(waiting) - number), LEAST_SHARE))
        known = None if winner is None else winner[0].latency
        begin(_doing(number, len(waiting), choice, known))
        done, solution = _settle(instance, choice, known, method, share, gap, seed, callback)
        settled.append(done)
        if solution is not None and done.latency is not None and (known is None or done.latency < known):
            winner = done, solution
        if tell is not None:
            tell(done)
    return Sweep(tuple(settled), winner and winner[0], winner and winner[1])


def _doing(number: int, total: int, choice: Choice, known: Fraction | None) -> str:
    """What is being done, in words."""
    best_so_far = "" if known is None else f", best {float(known):.5g} s"
    return f"variant {number + 1} of {total}: {' '.join(choice.overrides)}{best_so_far}"


def _by_bound(
    instance: Instance,
    variants: Sequence[tuple[str, ...]],
    deadline: Deadline,
    begin: Callable[[str], None],
) -> list[Choice]:
    """Choices with their quick bounds, least first; those that cannot be laid out are left out.

    Those that are left at the deadline have no bound and come last.
    """
    choices: list[Choice] = []
    for number, overrides in enumerate(variants):
        variant = instance.replace(*overrides)
        if deadline.expired:
            shape = (variant.pipeline.count, variant.pipeline.dies[0], variant.chunking.max_chunks)
            choices.append(Choice(overrides, *shape, None))
            continue
        begin(f"bound {number + 1} of {len(variants)}")
        try:
            tables = build_tables(variant)
        except InputError:
            # Living dies may not form connected stages of this size: not a layout of this wafer.
            continue
        shape = (variant.pipeline.count, variant.pipeline.dies[0], variant.chunking.max_chunks)
        if prove_infeasible(tables, deadline) is not None:
            choices.append(Choice(overrides, *shape, None, outcome="infeasible"))
            continue
        least = path_bound(tables, deadline)
        choices.append(Choice(overrides, *shape, None if least is None else least * tables.tick_s))
    return sorted(choices, key=lambda choice: (choice.bound is None, choice.bound or 0))


def _settle(
    instance: Instance,
    choice: Choice,
    known: Fraction | None,
    method: str,
    deadline: Deadline,
    gap: float,
    seed: int,
    callback: Callable[[Progress], None] | None,
) -> tuple[Choice, Solution | None]:
    """Solve a choice unless it is infeasible, cannot win, or there is no time."""
    if choice.outcome == "infeasible":
        return choice, None
    if known is not None and choice.bound is not None and choice.bound >= known:
        return replace(choice, outcome="pruned"), None
    if deadline.expired:
        return choice, None
    variant = instance.replace(*choice.overrides)
    solution = solve(
        variant,
        method,
        time_limit_s=deadline.left_s,
        gap=gap,
        seed=seed,
        callback=callback,
        stop=deadline.stop,
    )
    tick = solution.tables.tick_s
    proved = best(solution.bounds, {Scope.ANY_EXECUTION})
    bound = choice.bound
    if proved is not None:
        bound = max(proved.ticks * tick, choice.bound or Fraction(0))
    if solution.assessment is None:
        return replace(choice, bound=bound, outcome="no plan"), None
    return replace(
        choice, bound=bound, latency=solution.assessment.latency * tick, outcome="solved"
    ), solution


def load_for_any_layout(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Instance:
    """Read an instance file for a sweep of layouts.

    Parameters
    ----------
    path : path
    overrides : iterable of str
        As for `mocap_opt.load_instance`.

    Returns
    -------
    Instance
        With its own layout if that fits the wafer and the layers, otherwise with one stage on one die.

    Raises
    ------
    InputError
        If something else is wrong than that the layout does not fit, or it is missing.
    """
    data, folder = apply_overrides(read_json(path), overrides), Path(path).parent
    try:
        return Instance.from_dict(data, folder)
    except InputError:
        pipeline = data.get("pipeline", {})
        if not _only_too_large(pipeline):
            raise
        try:
            return Instance.from_dict({**data, "pipeline": {**pipeline, **ONE_STAGE}}, folder)
        except InputError:
            # Other things are wrong as well; all of them are listed with the layout as it is.
            pass
        raise


def _only_too_large(pipeline: Any) -> bool:
    """Whether a pipeline is well formed but for its size, and laid out by rules."""
    if not isinstance(pipeline, Mapping):
        return False
    try:
        read = Pipeline.model_validate({"stages": 1, **pipeline})
    except (ValidationError, InputError):
        return False
    return read.layers == "balanced" and isinstance(read.placement, str)
