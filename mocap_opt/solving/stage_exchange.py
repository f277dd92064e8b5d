"""Stages exchanged along paths where links bind: better places for the best layout of a search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import inf

from mocap_opt.instance import Instance, StageLayout
from mocap_opt.layouts.placements import Judged, Placed, best_placement, plan_flows
from mocap_opt.solving.layout_leaves import Leaf
from mocap_opt.stopping import Deadline
from mocap_opt.wafer.topology import Topology

LEAST_SOLVE_S, SOLVE_SHARE = 1.0, 0.2
"""Seconds that a placement gets at least; part of the time left otherwise."""


def exchange_stages(
    instance: Instance,
    topology: Topology,
    best: Leaf,
    solve: Callable[[Leaf, float], None],
    deadline: Deadline,
) -> None:
    """Solve a layout with its stages elsewhere, as long as that brings something.

    Parameters
    ----------
    instance : Instance
        That leaves the placement open.
    topology : Topology
        Of its wafer.
    best : Leaf
        With a plan, and so with a placement.
    solve : callable
        Solves a layout in so many seconds, and keeps it if it is the best.
    deadline : Deadline
        No placement is looked at after it.
    """
    assert best.instance is not None
    held = best.instance.pipeline.placement
    assert not isinstance(held, str)

    def judge(placed: Placed) -> Judged | None:
        leaf = best
        if placed != held:
            if deadline.expired:
                return None
            decided = instance.with_layout(StageLayout(placed, best.layers))
            leaf = replace(
                best, instance=decided, bound_s=Fraction(0), solution=None, spent_s=0.0, tables=None
            )
            solve(leaf, max(LEAST_SOLVE_S, SOLVE_SHARE * deadline.left_s))
        value, answer = leaf.value_s, leaf.solution
        flows = None if answer is None or answer.plan is None else plan_flows(answer.tables, answer.plan)
        return Judged(inf, None) if value is None or flows is None else Judged(float(value), flows)

    best_placement(topology, best.shape.sizes, best.shape.degrees, judge, first=[held])
