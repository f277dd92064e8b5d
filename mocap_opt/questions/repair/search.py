"""Layouts for what is left of a wafer, and the best of them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mocap_opt.errors import InputError, Problem
from mocap_opt.instance import Instance, StageLayout
from mocap_opt.instance.objectives import require_supported
from mocap_opt.messages import show
from mocap_opt.questions.repair.losses import StageLoss, losses
from mocap_opt.schedule.inputs import as_instance
from mocap_opt.schedule.plan_layout import decided
from mocap_opt.solving.api import evaluate, solve
from mocap_opt.solving.solution import TIME_LIMIT_S, Solution
from mocap_opt.stopping import Deadline
from mocap_opt.tables.layout import layout
from mocap_opt.wafer.path import PLACEMENTS, longest_path
from mocap_opt.wafer.placement import balanced_layers
from mocap_opt.wafer.topology import Die, Topology, build_topology

if TYPE_CHECKING:
    from mocap_opt.schedule.inputs import GivenInstance, GivenPlan
    from mocap_opt.schedule.schedule import Schedule

BEFORE, RULES = 0.2, 0.5
"""Parts of the time left: for the layout before the fault, then for layouts by rule."""

SEARCH = "search"
"""What the search over all layouts is called among the rules."""

Link = tuple[Die, Die]


@dataclass(frozen=True)
class Repair:
    """What a fault costs.

    Attributes
    ----------
    instance : Instance
        Before the fault, its layout decided.
    left : Instance
        After it, with its layout open.
    losses : tuple of StageLoss
    before : Solution
    tried : mapping of str to Solution
        What every layout came to, by its rule; last what the search over all layouts did.
    best : str or None
        The rule with the least latency; None if none has a plan.
    after : Solution or None
        The best answer after the fault, with its gap to a bound on all layouts that `left` allows.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json").replace("wafer.rows=2")
    >>> found = mocap_opt.repair(instance, dead_dies=[(0, 1)], time_limit_s=2)
    >>> [(loss.stage, loss.dead, loss.left) for loss in found.losses]
    [(1, ((0, 1),), 0)]
    >>> found.extra(found.after)
    0.0
    """

    instance: Instance
    left: Instance
    losses: tuple[StageLoss, ...]
    before: Solution
    tried: Mapping[str, Solution]
    best: str | None
    after: Solution | None

    @property
    def repaired(self) -> Instance | None:
        """The instance after the fault with the best layout given."""
        held = None if self.after is None else layout_of(self.after)
        if held is None:
            return None
        data = self.left.to_dict()
        data["pipeline"] = self.left.with_layout(held).to_dict()["pipeline"]
        return Instance.from_dict(data)

    def extra(self, answer: Solution) -> float | None:
        """How much longer an answer takes than the plan before, as a part of it; None without a plan."""
        before, now = self.before.report.latency_s, answer.report.latency_s
        return None if before is None or now is None else now / before - 1

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        layouts = {}
        for name, answer in {"before": self.before, **self.tried}.items():
            held = given_layout(self.instance) if name == "before" else layout_of(answer)
            layouts[name] = {
                "latency_s": answer.report.latency_s,
                "extra": self.extra(answer),
                "lower_bound_s": answer.report.lower_bound_s,
                "gap": answer.report.gap,
                "layout": None if held is None else held.to_dict(),
            }
        return {
            "instance": self.instance.name,
            "losses": [each.to_dict() for each in self.losses],
            "layouts": layouts,
            "best": self.best,
            "covers": self.tried[SEARCH].report.figures.get("layouts", {}).get("covers"),
            "lower_bound_s": None if self.after is None else self.after.report.lower_bound_s,
            "gap": None if self.after is None else self.after.report.gap,
        }


def repair(
    instance: GivenInstance,
    dead_dies: Sequence[Die] = (),
    dead_links: Sequence[Link] = (),
    plan: GivenPlan | Schedule | None = None,
    *,
    time_limit_s: float = TIME_LIMIT_S,
    seed: int = 0,
    stop: threading.Event | None = None,
    tell: Callable[[str], None] = lambda doing: None,
) -> Repair:
    """Find what a fault costs and the best layout for what is left.

    Parameters
    ----------
    instance : Instance or mapping
        Before the fault.
    dead_dies : sequence of Die
        Dies that fail.
    dead_links : sequence of pairs of Die
        Links that fail, in either direction.
    plan : Plan, Schedule or mapping, optional
        What ran; by default the instance is solved first.
    time_limit_s : float
        Wall time, seconds.
    seed : int
    stop : threading.Event, optional
        Set it from outside to stop early with the best so far.
    tell : callable
        Told in words what is being done.

    Raises
    ------
    InputError
        If nothing fails, what fails is not there, no layout fits what is left, or the instance does not ask
        for a latency.

    Examples
    --------
    Two stages on a mesh of 2 x 2 dies; that of the second stage dies, and either die below can take over:

    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json").replace("wafer.rows=2")
    >>> found = mocap_opt.repair(instance, dead_dies=[(0, 1)], time_limit_s=2)
    >>> found.before.report.latency_s, found.after.report.latency_s
    (6.6e-05, 6.6e-05)
    >>> found.repaired.pipeline.placement
    (((0, 0),), ((1, 1),))
    """
    instance = as_instance(instance)
    require_supported(instance, "repair")
    deadline = Deadline(time_limit_s, stop)
    left = after_fault(instance, dead_dies, dead_links)
    tell("the layout before")
    if plan is None:
        before = solve(instance, time_limit_s=deadline.share(BEFORE).left_s, seed=seed, stop=stop)
    else:
        before = evaluate(instance, plan)
    if before.plan is not None:
        instance = decided(instance, before.plan)
    held, topology = given_layout(instance), build_topology(left.wafer)
    choices = choose(left, topology, held)
    left = _narrowed(left, choices.values())
    tried: dict[str, Solution] = {}
    rules = deadline.share(RULES)
    for n, (name, choice) in enumerate(choices.items()):
        tell(name)
        share_s = rules.share(1 / (len(choices) - n)).left_s
        tried[name] = solve(left.with_layout(choice), time_limit_s=share_s, seed=seed, stop=stop)
    tell("all layouts")
    known = _fastest(tried)
    by_rule = None if known is None else tried[known]
    tried[SEARCH] = solve(left, time_limit_s=deadline.left_s, seed=seed, stop=stop, known=by_rule)
    lost, best = losses(held, topology, before.tables, before.plan), _fastest(tried)
    plan = None if best is None else tried[best].plan
    after = None if plan is None else evaluate(left, plan, bounds=tried[SEARCH].lower_bounds)
    return Repair(instance, left, lost, before, tried, best, after)


def _fastest(tried: Mapping[str, Solution]) -> str | None:
    """The first of the rules with the least latency; None if none has a plan."""
    values = {name: answer.report.latency_s for name, answer in tried.items()}
    known = {name: value for name, value in values.items() if value is not None}
    return min(known, key=lambda name: known[name], default=None)


def _narrowed(left: Instance, choices: Iterable[StageLayout]) -> Instance:
    """The instance with the numbers of stages that rules come to, and those between, where they are open."""
    if left.pipeline.stages != "auto" or left.pipeline.layers != "auto":
        return left
    counts = [choice.stages for choice in choices]
    data = left.to_dict()
    data["pipeline"]["stages"] = list(range(min(counts), max(counts) + 1))
    return Instance.from_dict(data)


def given_layout(instance: Instance) -> StageLayout:
    """The layout that a fixed instance has."""
    placed = layout(instance)
    return StageLayout(placed.dies, tuple(map(len, placed.layers)))


def layout_of(answer: Solution) -> StageLayout | None:
    """The layout that the plan of an answer holds."""
    return None if answer.plan is None else answer.plan.layout


def after_fault(instance: Instance, dead_dies: Sequence[Die], dead_links: Sequence[Link]) -> Instance:
    """Take dies and links out, and leave the places of the stages open.

    Parameters
    ----------
    instance : Instance
    dead_dies, dead_links
        As for `repair`.

    Raises
    ------
    InputError
        Listing what is not there, or no longer was; if nothing fails; or if spare dies are memory.
    """
    if not dead_dies and not dead_links:
        raise InputError(
            [Problem("repair", "no dead die or link", "something that fails", "name a dead die")]
        )
    if instance.pipeline.spare_dies == "memory":
        expected = '"idle" in a repair, which counts the KV lost of stages only'
        raise InputError(
            [Problem("pipeline.spare_dies", '"memory"', expected, "--set pipeline.spare_dies=idle")]
        )
    data = instance.to_dict()
    wafer = data["wafer"]
    wafer["dead_dies"] += [list(die) for die in dead_dies]
    wafer["dead_links"] += [[list(die) for die in ends] for ends in dead_links]
    cut = [sorted(ends) for ends in wafer["dead_links"]]
    wafer["slow_links"] = [each for each in wafer["slow_links"] if sorted(each["between"]) not in cut]
    for pool in wafer.get("pools", ()):
        if not isinstance(pool["at"], str):
            pool["at"] = [die for die in pool["at"] if die not in wafer["dead_dies"]]
    pipeline = data["pipeline"]
    pipeline["placement"] = "auto"
    if instance.costs.kind == "roofline" and not instance.pipeline.free:
        pipeline |= {"dies_per_stage": "auto", "layers": "auto", "stages": "auto"}
        sizes = range(1, max(instance.pipeline.dies) + 1)
        heads, rule = instance.model.heads, instance.pipeline
        degrees = {rule.degree(size, heads) for size in instance.pipeline.dies}
        degrees |= {size for size in sizes if heads % size == 0 or rule.degrees == "any"}
        pipeline["degrees"] = sorted(degrees - {0})
    return Instance.from_dict(data)


def choose(left: Instance, topology: Topology, before: StageLayout) -> dict[str, StageLayout]:
    """Lay stages out on what is left, by rules; equal results once.

    Where sizes and layers may change: stages of the size that most had, as many as there is room for on
    either path; as many stages as before along a longest path, its dies spread evenly.  Else the sizes
    and layers before.

    Parameters
    ----------
    left : Instance
        After the fault, with its layout open.
    topology : Topology
        Of its wafer.
    before : StageLayout

    Raises
    ------
    InputError
        If no rule has room for the stages.
    """
    sizes, open_sizes = tuple(map(len, before.dies)), left.pipeline.dies_per_stage == "auto"
    found: dict[str, StageLayout] = {}

    def _add(name: str, rule: str, sizes: Sequence[int], layers: Sequence[int]) -> bool:
        try:
            choice = StageLayout(PLACEMENTS[rule](topology, sizes), tuple(layers))
            left.with_layout(choice)
        except InputError:
            return False
        if choice not in found.values():
            found[name] = choice
        return True

    if not open_sizes:
        for rule in PLACEMENTS:
            _add(rule, rule, sizes, before.layers)
    else:
        size, layers = Counter(sizes).most_common(1)[0][0], left.model.layers
        counts = range(len(sizes), 0, -1)
        any(_add("boustrophedon", "boustrophedon", [size] * n, balanced_layers(layers, n)) for n in counts)
        any(_add("path", "path", [size] * n, late_layers(left, [size] * n)) for n in counts)
        room = min(len(longest_path(topology).dies), sum(sizes))
        if room >= len(sizes):
            spread = sorted(balanced_layers(room, len(sizes)))
            _add("path, small stages first", "path", spread, late_layers(left, spread))
            _add("path, small stages last", "path", spread[::-1], late_layers(left, spread[::-1]))
    if not found:
        expected = "room for its stages along a path through what is left"
        remedy = "give a smaller pipeline by hand"
        raise InputError([Problem("repair", f"stages of {show(sizes)} dies", expected, remedy)])
    return found


def late_layers(left: Instance, sizes: Sequence[int]) -> tuple[int, ...]:
    """Spread layers in proportion to the degrees, at least one each; of equal stages the last get more.

    Late stages start later in any case, so that what they take longer delays less.

    Parameters
    ----------
    left : Instance
    sizes : sequence of int
        Dies of each stage.
    """
    speeds = [left.pipeline.degree(size, left.model.heads) or 1 for size in sizes]
    counts = [1] * len(sizes)
    for _ in range(left.model.layers - len(sizes)):
        counts[min(range(len(sizes)), key=lambda i: ((counts[i] + 1) / speeds[i], -i))] += 1
    return tuple(counts)
