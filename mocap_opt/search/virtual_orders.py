"""Orders of the devices' work for given chunks on virtual stages (formulations/virtual_stages.md).

List scheduling: whenever a device is idle it begins, of all work that could begin, the piece its rule puts
first.  The deepest virtual stage that has work can always begin some, so that no rule ever gets stuck.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.virtual_pipeline import VirtualPipeline
from mocap_opt.replay.virtual import StuckError, VirtualRun, replay_virtual
from mocap_opt.schedule.virtual_plan import Task, VirtualPlan

Key = Callable[[int, int], tuple[int, ...]]
"""Of a virtual stage and a chunk; the least goes first."""

Grid = list[list[int]]
"""Ticks by virtual stage and chunk."""

Orders = tuple[tuple[Task, ...], ...]
"""For every device, its work in order."""


@dataclass(frozen=True)
class Found:
    """A plan with its execution.

    Attributes
    ----------
    plan : VirtualPlan
    run : VirtualRun
    rule : str
        How its orders were found.
    """

    plan: VirtualPlan
    run: VirtualRun
    rule: str

    @property
    def latency(self) -> int:
        """Ticks."""
        return self.run.latency


def what_follows(work: Grid, send: Grid) -> Grid:
    """The longest path from the start of every piece of work to the end, orders of devices left out, ticks.

    Parameters
    ----------
    work, send : list of list of int, ticks
        By virtual stage and chunk.
    """
    stages, chunks = len(work), len(work[0])
    tail = [[0] * (chunks + 1) for _ in range(stages + 1)]
    for u in range(stages - 1, -1, -1):
        for j in range(chunks - 1, -1, -1):
            later = tail[u + 1][j] + send[u][j] if u + 1 < stages else 0
            tail[u][j] = work[u][j] + max(later, tail[u][j + 1])
    return tail


def rules(pipeline: VirtualPipeline, work: Grid, send: Grid) -> Mapping[str, Key]:
    """What goes first, by name.

    Parameters
    ----------
    pipeline : VirtualPipeline
    work, send : list of list of int, ticks
    """
    tail, devices = what_follows(work, send), pipeline.devices

    def groups(size: int) -> Key:
        return lambda u, j: (j // size, u // devices, j, u)

    return {
        "deepest stage first": lambda u, j: (-u, j),
        "shallowest stage first": lambda u, j: (u, j),
        "longest way to go first": lambda u, j: (-tail[u][j], j, u),
        "chunks in groups": groups(devices),
        "chunks in double groups": groups(2 * devices),
    }


def list_orders(pipeline: VirtualPipeline, work: Grid, send: Grid, key: Key, depth: int | None) -> Orders:
    """Let every device begin, whenever it is idle, the piece of work that a rule puts first.

    Parameters
    ----------
    pipeline : VirtualPipeline
    work, send : list of list of int, ticks
    key : callable
    depth : int or None
        Q; None if unbounded.
    """
    stages, chunks = pipeline.stages, len(work[0])
    begun = [0] * stages
    arrived = [chunks] + [0] * (stages - 1)
    idle_at = [0] * pipeline.devices
    orders: list[list[Task]] = [[] for _ in range(pipeline.devices)]
    events: list[tuple[int, int]] = [(0, -1)]  # a time, and the virtual stage at which a chunk arrives
    while events:
        now = events[0][0]
        while events and events[0][0] == now:
            u = heapq.heappop(events)[1]
            if u >= 0:
                arrived[u] += 1
        changed = True
        while changed:
            changed = False
            for i in range(pipeline.devices):
                if idle_at[i] > now:
                    continue
                ready = [
                    (key(u, begun[u]), u)
                    for u in pipeline.hosted[i]
                    if begun[u] < arrived[u]
                    and (depth is None or u + 1 == stages or begun[u] - begun[u + 1] < depth)
                ]
                if not ready:
                    continue
                u = min(ready)[1]
                j = begun[u]
                orders[i].append((u, j))
                begun[u] += 1
                idle_at[i] = now + work[u][j]
                heapq.heappush(events, (idle_at[i], -1))
                if u + 1 < stages:
                    heapq.heappush(events, (idle_at[i] + send[u][j], u + 1))
                changed = True
    return tuple(map(tuple, orders))


def mirrored(pipeline: VirtualPipeline) -> VirtualPipeline:
    """The virtual stages in reverse order."""
    return replace(pipeline, device=pipeline.device[::-1], layers=pipeline.layers[::-1])


def turned(work: Grid, send: Grid) -> tuple[Grid, Grid]:
    """Work and sends as they are seen from the end: last virtual stage and last chunk first.

    Parameters
    ----------
    work, send : list of list of int, ticks
    """
    return [row[::-1] for row in work[::-1]], [row[::-1] for row in [*send[:-1][::-1], send[-1]]]


def best_orders(pipeline: VirtualPipeline, indices: IntArray, only: Iterable[str] | None = None) -> Found:
    """The best of all rules, forwards and backwards, for given chunks.

    Parameters
    ----------
    pipeline : VirtualPipeline
    indices : int64[chunk + 1]
        Boundaries as grid indices.
    only : iterable of str, optional
        Names of the rules to ask; by default all.
    """
    work, send = (each.tolist() for each in pipeline.times(indices))
    boundaries = tuple(pipeline.tables.grid[indices].tolist())
    wanted = None if only is None else set(only)
    best: Found | None = None
    for rule, orders in _proposals(pipeline, work, send):
        if wanted is not None and rule not in wanted:
            continue
        plan = VirtualPlan(boundaries, orders())
        try:
            run = replay_virtual(pipeline, plan)
        except StuckError:
            continue  # orders from the end know no queues
        if best is None or run.latency < best.latency:
            best = Found(plan, run, rule)
    if best is None:
        return best_orders(pipeline, indices)  # what was asked for is stuck; a rule forwards never is
    return best


def _proposals(
    pipeline: VirtualPipeline, work: Grid, send: Grid
) -> Iterator[tuple[str, Callable[[], Orders]]]:
    """Every rule forwards, then from the end, where queues are left out."""
    for name, key in rules(pipeline, work, send).items():
        yield name, partial(list_orders, pipeline, work, send, key, pipeline.tables.queue_depth)
    last, end = len(work) - 1, len(work[0]) - 1
    mirror, seen = mirrored(pipeline), turned(work, send)

    def backwards(key: Key) -> Orders:
        orders = list_orders(mirror, *seen, key, None)
        return tuple(tuple((last - u, end - j) for u, j in order[::-1]) for order in orders)

    for name, key in rules(mirror, *seen).items():
        yield f"{name}, from the end", partial(backwards, key)
