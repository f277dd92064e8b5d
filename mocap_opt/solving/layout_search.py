"""Search over layouts: branch and bound on stages, degrees and layers, with solves as its leaves.

Statement: ``formulations/layouts.md``, *Search*.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from mocap_opt.instance import Instance
from mocap_opt.layouts.box_bound import LayoutBounds
from mocap_opt.layouts.layer_times import LayerTimes
from mocap_opt.layouts.space import LayoutBox, Shape, shapes
from mocap_opt.solving.layout_leaves import Leaf, follow, known_leaf, place
from mocap_opt.solving.solution import Query, Solution
from mocap_opt.solving.stage_exchange import exchange_stages
from mocap_opt.stopping import Deadline
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.wafer.placement import balanced_layers
from mocap_opt.wafer.topology import build_topology

MOST_ORDERS = 200
"""Shapes that could stand in more orders are not taken apart: their bound stays as it is."""

PLAN_SHARE, LOOK_SHARE, PROOF_SHARE = 0.4, 0.25, 0.8
"""Parts of the time left for plans of promising layouts, of it for finding them, for branch and bound."""

EXCHANGE_SHARE = 0.6
"""Part of the time left for exchanges of stages, before what is left goes to the best layout."""

MOST_MOVED = 3
"""Layouts whose layers are moved one by one."""

TOLD_EVERY = 64
"""Boxes after which whoever follows is told of the bound."""

MOST_STARTS = 12
"""Layouts that are solved before any branching."""


@dataclass(order=True)
class Node:
    """Layouts not settled yet.

    Attributes
    ----------
    bound_s : Fraction
        No plan of theirs is faster, seconds.
    serial : int
        In the order in which they were made.
    shape : Shape
    box : LayoutBox
    leaf : Leaf or None
        Of a box with one list of layers, once it was looked at.
    rough : bool
        Whether its bound is the roughest there is.
    """

    bound_s: Fraction
    serial: int
    shape: Shape = field(compare=False)
    box: LayoutBox = field(compare=False)
    leaf: Leaf | None = field(compare=False, default=None)
    rough: bool = field(compare=False, default=False)


@dataclass(eq=False)
class LayoutSearch:
    """An anytime search for the best layout and plan.

    Attributes
    ----------
    instance : Instance
        Free, of latency.
    query : Query
    best : Leaf or None
        With the best plan.
    closed_s : Fraction or None
        The least bound of what was set aside because it could not improve the best plan by more than the gap.
    counts : dict
        How many boxes were pruned, and layouts looked at and solved.
    """

    instance: Instance
    query: Query
    best: Leaf | None = None
    closed_s: Fraction | None = None
    heap: list[Node] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("pruned", "bounded", "solved"), 0))
    stuck: list[Node] = field(default_factory=list)
    leaves: dict[tuple[Shape, tuple[int, ...]], Leaf] = field(default_factory=dict)
    _serial: int = 0

    def __post_init__(self) -> None:
        """Take what does not change."""
        self.times = LayerTimes.of(self.instance)
        self.bounds = LayoutBounds(self.times)
        self.topology = build_topology(self.instance.wafer)
        self.layers = self.instance.model.layers

    def run(self) -> None:
        """Bound all shapes, solve promising layouts, then branch until time is up or the gap is reached."""
        deadline = self.query.deadline
        self._open_shapes()
        if self.query.known is not None:
            self._take_known(self.query.known)
        self._start(deadline.share(PLAN_SHARE))
        self._branch(deadline.share(PROOF_SHARE))
        if self.instance.pipeline.placement == "auto" and self.best is not None:
            share = deadline.share(EXCHANGE_SHARE)
            exchange_stages(self.instance, self.topology, self.best, self._solve, share)
        self._finish()

    def bound(self) -> None:
        """Bound all shapes, then branch on their boxes, without any plan."""
        self._open_shapes()
        self._branch(self.query.deadline)

    @property
    def bound_s(self) -> Fraction | None:
        """No plan of any layout is faster, seconds; None if there is no layout with a plan."""
        known = [node.bound_s for node in (*self.heap[:1], *self.stuck)]
        return min([*known, *([] if self.closed_s is None else [self.closed_s])], default=None)

    @property
    def computed(self) -> bool:
        """Whether times are known for any layers and dies; else only the places of stages are open."""
        return self.instance.costs.kind == "roofline"

    @property
    def tables(self) -> Tables:
        """Grid, pages and limits, as in the tables of every layout."""
        if self.computed:
            return self.times.tables
        along_path = self.instance.pipeline.model_copy(update={"placement": "path"})
        placed = (leaf.instance for leaf in self.leaves.values() if leaf.instance is not None)
        return build_tables(next(placed, self.instance.model_copy(update={"pipeline": along_path})))

    def dies(self, shape: Shape) -> int:
        """Dies whose memory layouts of a shape may use, at most."""
        pipeline = self.instance.pipeline
        all_of_them = pipeline.spare_dies == "memory" or (
            pipeline.dies_per_stage == "auto" and pipeline.degree_rule != "any"
        )
        return self.instance.wafer.living_dies if all_of_them else sum(shape.sizes)

    def _target(self) -> Fraction | None:
        """Bounds from here on are as good as the gap asks for."""
        value = None if self.best is None else self.best.value_s
        return None if value is None else value * (1 - Fraction(self.query.asked.gap))

    def _open_shapes(self) -> None:
        """Put every shape on the heap with its roughest bound."""
        for shape in shapes(self.instance):
            if (box := self._whole_box(shape)) is not None:
                bound: Fraction | None = Fraction(0)
                if self.computed:
                    bound = self.bounds.even_split.least(box, ordered=shape.ordered, longest=0)
                if bound is not None:
                    self._push(Node(bound, 0, shape, box, rough=self.computed))

    def _whole_box(self, shape: Shape) -> LayoutBox | None:
        layers = self.instance.pipeline.layers
        if isinstance(layers, str) and layers == "auto":
            return LayoutBox.of(shape.degrees, self.layers).tightened()
        listed = balanced_layers(self.layers, shape.stages) if isinstance(layers, str) else layers
        return LayoutBox(shape.degrees, listed, listed, self.layers)

    def _push(self, node: Node) -> None:
        self._serial += 1
        heapq.heappush(self.heap, replace(node, serial=self._serial))

    def _take_known(self, known: Solution) -> None:
        """Begin with the layout and plan of an earlier answer as the best ones."""
        self.best = known_leaf(self.instance, self.topology, known, self.query.asked.execution)
        self.leaves[self.best.shape, self.best.layers] = self.best
        follow(self.query, self.best, self.bound_s)

    def _start(self, deadline: Deadline) -> None:
        """Look at even layers of promising shapes and at layers moved one by one; solve the best of them."""
        ranked: list[tuple[Fraction, int, Shape, tuple[int, ...]]] = []
        look = deadline.share(LOOK_SHARE)
        for node in sorted(self.heap):
            if (look.expired and ranked) or (ranked and node.bound_s >= min(ranked)[0]):
                break
            for shape, layers in _first_lists(node):
                if (value := self._single(shape, layers)) is not None:
                    ranked.append((value, len(ranked), shape, layers))
        ranked.sort()
        move = deadline.share(LOOK_SHARE)
        moved = [self._moved(*each, move) for each in ranked[:MOST_MOVED]] if self._open_layers else []
        chosen = {(shape, layers): value for value, _, shape, layers in [*moved, *ranked]}
        before = self.counts["solved"]
        for (shape, layers), value in sorted(chosen.items(), key=lambda each: each[1]):
            target = self._target()
            if deadline.expired or self.counts["solved"] - before == MOST_STARTS:
                break
            if (target is None or value < target) and self._leaf(shape, layers, value) is not self.best:
                self._solve(self._leaf(shape, layers, value), max(0.5, deadline.left_s / 6))

    @property
    def _open_layers(self) -> bool:
        return self.instance.pipeline.layers == "auto"

    def _single(self, shape: Shape, layers: tuple[int, ...]) -> Fraction | None:
        box = LayoutBox(shape.degrees, layers, layers, self.layers)
        return self.bounds.latency(box, self.dies(shape)) if self.computed else Fraction(0)

    def _moved(
        self, value: Fraction, serial: int, shape: Shape, layers: tuple[int, ...], deadline: Deadline
    ) -> tuple[Fraction, int, Shape, tuple[int, ...]]:
        """Move layers between stages, one at a time, as long as the bound of the list falls."""
        better = True
        while better and not deadline.expired:
            better = False
            for i in range(shape.stages):
                for k in range(shape.stages):
                    if i == k or layers[i] == 1 or deadline.expired:
                        continue
                    trial = tuple(n - (s == i) + (s == k) for s, n in enumerate(layers))
                    found = self._single(shape, trial)
                    if found is not None and found < value:
                        value, layers, better = found, trial, True
        return value, serial, shape, layers

    def _leaf(self, shape: Shape, layers: tuple[int, ...], bound: Fraction) -> Leaf:
        key = (shape, layers)
        if key not in self.leaves:
            self.leaves[key] = place(self.instance, self.topology, shape, layers)
            self.leaves[key].bound_s = bound
        return self.leaves[key]

    def _solve(self, leaf: Leaf, seconds: float) -> None:
        if leaf.instance is None:
            return
        leaf.solve(self.query, seconds, self.dies(leaf.shape))
        self.counts["solved"] += 1
        value = leaf.value_s
        if value is not None and (self.best is None or value < (self.best.value_s or value + 1)):
            self.best = leaf
            follow(self.query, leaf, self.bound_s)

    def _branch(self, deadline: Deadline) -> None:
        """Take the node with the least bound apart, or solve it, until none could improve the best plan."""
        while self.heap and not deadline.expired:
            node = heapq.heappop(self.heap)
            target = self._target()
            if target is not None and node.bound_s >= target:
                self._set_aside([node, *self.heap])
                self.heap = []
                return
            if node.rough:
                box = self._capped(node.shape, node.box) if node.shape.ordered else node.box
                self._open(node, [] if box is None else [(node.shape, box)])
            elif node.box.single and node.shape.ordered:
                self._take_leaf(node, deadline)
            elif node.shape.ordered:
                self._open(node, ((node.shape, box) for box in node.box.split()))
            elif node.shape.orders <= MOST_ORDERS:
                every = node.shape.in_every_order()
                boxes = ((shape, replace(node.box, degrees=shape.degrees)) for shape in every)
                self._open(node, boxes, rough=self._open_layers)
            else:
                self.stuck.append(node)
            if not self.counts["bounded"] % TOLD_EVERY and self.best is not None:
                follow(self.query, self.best, self.bound_s)

    def _capped(self, shape: Shape, box: LayoutBox) -> LayoutBox | None:
        """Lower the most layers of each stage to what could improve the best plan; None if nothing could."""
        target, before, left = self._target(), 0, box
        for stage in range(box.stages if target is not None and self._open_layers else 0):
            low, high = left.low[stage], left.high[stage]
            while low < high and not self.query.deadline.expired:
                most = before if low <= before < high else (low + high) // 2
                part = left.limited(stage, most + 1, self.layers)
                bound = None if part is None else self.bounds.latency(part, self.dies(shape), enough=target)
                if part is not None and bound is not None and bound < (target or 0):
                    low = most + 1
                    continue
                high, before = most, most - 1
                if part is not None and bound is not None:
                    self._set_aside([Node(bound, 0, shape, part)])
            before = high
            limited = left.limited(stage, 0, high)
            if limited is None:
                return None
            left = limited
        return left

    def _open(self, parent: Node, parts: Iterable[tuple[Shape, LayoutBox]], *, rough: bool = False) -> None:
        """Bound the parts of a node; those left when time is up keep its bound."""
        for shape, box in parts:
            bound: Fraction | None = parent.bound_s
            if not self.query.deadline.expired:
                bound = self.bounds.latency(
                    box,
                    self.dies(shape),
                    self.query.deadline,
                    ordered=shape.ordered,
                    enough=self._target(),
                )
                self.counts["bounded"] += 1
            target = self._target()
            if bound is None:
                self.counts["pruned"] += 1
                continue
            node = Node(max(bound, parent.bound_s), 0, shape, box, rough=rough)
            if target is not None and node.bound_s >= target:
                self._set_aside([node])
            else:
                self._push(node)

    def _set_aside(self, nodes: Sequence[Node]) -> None:
        self.counts["pruned"] += len(nodes)
        least = min(node.bound_s for node in nodes)
        self.closed_s = least if self.closed_s is None else min(self.closed_s, least)

    def _take_leaf(self, node: Node, deadline: Deadline) -> None:
        """Bound a layout by its tables, then solve it, longer each time its turn comes."""
        leaf = node.leaf or self._leaf(node.shape, node.box.low, node.bound_s)
        before = leaf.bound_s = max(leaf.bound_s, node.bound_s)
        if leaf.tables is None and leaf.instance is not None:
            leaf.tighten(deadline, self.dies(leaf.shape))
        elif leaf.instance is None or leaf.spent_s > deadline.left_s / 2 or self.query.quick:
            self.stuck.append(node)
            return
        else:
            self._solve(leaf, max(1.0, 2 * leaf.spent_s))
        target = self._target()
        after = Node(leaf.bound_s, node.serial, node.shape, node.box, leaf)
        if leaf.bound_s == before and leaf.spent_s > 0 and leaf is self.best:
            self.stuck.append(after)
        elif target is not None and leaf.bound_s >= target:
            self._set_aside([after])
        else:
            heapq.heappush(self.heap, after)

    def _finish(self) -> None:
        """Spend what is left on the best layout."""
        deadline = self.query.deadline
        self._raise_nodes()
        if self.best is not None and self.best.value_s is not None and not deadline.expired:
            bound, target = self.bound_s, self._target()
            if bound is not None and target is not None and bound < target:
                self._solve(self.best, deadline.left_s)
                self._raise_nodes()

    def _raise_nodes(self) -> None:
        """Give layouts that were solved their bounds, whose turn in the heap did not come since."""
        for node in (*self.heap, *self.stuck):
            leaf = self.leaves.get((node.shape, node.box.low)) if node.box.single else None
            if leaf is not None and node.shape.ordered:
                node.bound_s = max(node.bound_s, leaf.bound_s)
        heapq.heapify(self.heap)

    def summary(self) -> dict[str, Any]:
        """What is covered, how far the search came, and the gap over all layouts."""
        bound, value = self.bound_s, None if self.best is None else self.best.value_s
        bound = bound if value is None or bound is None else min(bound, value)
        return {
            "covers": covered(self.instance),
            "solved": self.counts["solved"],
            "pruned": self.counts["pruned"],
            "open": len(self.heap) + len(self.stuck),
            "lower_bound_s": None if bound is None else float(bound),
            "gap": None if not value or bound is None else float(1 - bound / value),
        }


def _first_lists(node: Node) -> dict[tuple[Shape, tuple[int, ...]], None]:
    """Even lists of layers of a shape; of unlike degrees also small stages first, extra layers last."""
    shape, box = node.shape, node.box
    found = [(shape, box.balanced(last=last)) for last in (False, True)]
    if not shape.ordered:
        order = sorted(range(shape.stages), key=lambda i: shape.degrees[i])
        ascending = Shape(tuple(shape.sizes[i] for i in order), tuple(shape.degrees[i] for i in order))
        found.insert(0, (ascending, replace(box, degrees=ascending.degrees).balanced(last=True)))
    return dict.fromkeys(found)


def covered(instance: Instance) -> str:
    """What a certificate over the layouts of an instance holds for, in words."""
    pipeline, layers, living = instance.pipeline, instance.model.layers, instance.wafer.living_dies
    counts = pipeline.counts(layers, living)
    stages = f"{counts[0]} to {counts[-1]}" if counts[-1] - counts[0] == len(counts) - 1 > 1 else ""
    said = f"{stages or ' or '.join(map(str, counts))} stages"
    if pipeline.dies_per_stage == "auto":
        allowed = pipeline.allowed_degrees(living // counts[0], instance.model.heads)
        listed = "any degree" if pipeline.degree_rule == "any" else f"degrees {' '.join(map(str, allowed))}"
        said += f", {listed} (of all stages, or two that follow each other)"
    elif isinstance(pipeline.dies_per_stage, int):
        said += f" of {pipeline.dies_per_stage} dies"
    said += ", all lists of layers" if pipeline.layers == "auto" else ", the layers given"
    return f"all layouts with {said}" + (", wherever they lie" if pipeline.placement == "auto" else "")
