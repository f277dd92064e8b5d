"""Plans for virtual stages, and whether they are feasible (formulations/virtual_stages.md)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.virtual_pipeline import VirtualPipeline
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.units import format_shortage

Task = tuple[int, int]
"""A virtual stage and a chunk."""


@dataclass(frozen=True)
class VirtualPlan:
    """Boundaries, and the order in which every device does its work; KV stays at home.

    Attributes
    ----------
    boundaries : tuple of int, tokens
        0 first, S last, strictly increasing.
    orders : tuple of tuple of (int, int)
        For every device its (virtual stage, chunk) pairs in order.
    """

    boundaries: tuple[int, ...]
    orders: tuple[tuple[Task, ...], ...]

    @cached_property
    def chunks(self) -> int:
        """The number of chunks."""
        return len(self.boundaries) - 1

    def grid_indices(self, pipeline: VirtualPipeline) -> IntArray:
        """Boundaries as grid indices, int64[chunks + 1]; ValueError if one is not on the grid.

        Parameters
        ----------
        pipeline : VirtualPipeline
        """
        return Plan(self.boundaries).grid_indices(pipeline.tables)


def virtual_violations(pipeline: VirtualPipeline, plan: VirtualPlan) -> list[str]:
    """Everything that makes a plan infeasible, in words; an empty list means feasible.

    Whether orders of several devices wait for one another in a circle is for the replay to say.

    Parameters
    ----------
    pipeline : VirtualPipeline
    plan : VirtualPlan
        Anything of the right types.
    """
    found = [v.message for v in violations(pipeline.tables, Plan(plan.boundaries)) if v.rule != "capacity"]
    if found:
        return found
    found = _order_violations(pipeline, plan)
    return found or _memory_violations(pipeline, plan)


def _order_violations(pipeline: VirtualPipeline, plan: VirtualPlan) -> list[str]:
    """Devices whose order is not one of all their work, chunks and a chunk's runs in causal order."""
    if len(plan.orders) != pipeline.devices:
        return [f"orders of {len(plan.orders)} devices, not of {pipeline.devices}"]
    found = []
    for i, order in enumerate(plan.orders):
        wanted = {(u, j) for u in pipeline.hosted[i] for j in range(plan.chunks)}
        if len(order) != len(wanted) or set(order) != wanted:
            found.append(f"device {i}: its order is not every chunk on each of its virtual stages, once")
            continue
        place = {task: n for n, task in enumerate(order)}
        before = [((u, j - 1), (u, j)) for u, j in wanted if j]
        before += [((a, j), (b, j)) for a, b in pairwise(pipeline.hosted[i]) for j in range(plan.chunks)]
        wrong = sorted(second for first, second in before if place[first] > place[second])
        if wrong:
            u, j = wrong[0]
            found.append(f"device {i}: chunk {j} on virtual stage {u} comes before what it needs")
    return found


def device_memory(pipeline: VirtualPipeline, plan: VirtualPlan) -> list[IntArray]:
    """Bytes in every device's memory while it does each piece of its work, whatever the timing.

    Parameters
    ----------
    pipeline : VirtualPipeline
    plan : VirtualPlan
        With orders of all devices.

    Returns
    -------
    list of int64[place in the device's order], bytes
        Weights, reserve, and of every virtual stage the KV of its chunks so far and its prefix, from its
        first chunk to its last.
    """
    indices = plan.grid_indices(pipeline)
    pages = np.diff(pipeline.tables.pages[indices]).tolist()
    fixed = pipeline.static + pipeline.reserve(int(np.diff(plan.boundaries).max()))
    kept = []
    for i, order in enumerate(plan.orders):
        held, use = int(fixed[i]), []
        for u, j in order:
            size, prefix = int(pipeline.page_bytes[u]), int(pipeline.prefix_bytes[u])
            held += size * pages[j] + (prefix if j == 0 else 0)
            use.append(held)
            if j + 1 == plan.chunks:
                held -= size * sum(pages) + prefix
        kept.append(np.array(use, dtype=np.int64))
    return kept


def _memory_violations(pipeline: VirtualPipeline, plan: VirtualPlan) -> list[str]:
    found = []
    for i, use in enumerate(device_memory(pipeline, plan)):
        needed, there = int(use.max()), int(pipeline.tables.capacity[i])
        if needed > there:
            u, j = plan.orders[i][int(use.argmax())]
            shortage = format_shortage(needed, there)
            found.append(f"memory of device {i}, chunk {j} on virtual stage {u}: {shortage}")
    return found
