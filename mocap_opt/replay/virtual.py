"""The execution of a plan for virtual stages, without barriers (formulations/virtual_stages.md).

A device does its work in the order of the plan, each piece as soon as it is idle, the activations have
arrived, and the queue of the next virtual stage has room.  Sends take their uncontended times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.errors import ExitCode, MocapError
from mocap_opt.flow_shop.virtual_pipeline import VirtualPipeline
from mocap_opt.schedule.virtual_plan import VirtualPlan


class StuckError(MocapError):
    """Devices wait for one another in a circle."""

    exit_code = ExitCode.INFEASIBLE


@dataclass(frozen=True, eq=False)
class VirtualRun:
    """When everything happens.

    Attributes
    ----------
    start, end : int64[virtual stage, chunk], ticks
    """

    start: IntArray
    end: IntArray

    @property
    def latency(self) -> int:
        """When the last chunk leaves the last virtual stage, ticks."""
        return int(self.end[-1, -1])


def replay_virtual(pipeline: VirtualPipeline, plan: VirtualPlan) -> VirtualRun:
    """Execute a plan.

    Parameters
    ----------
    pipeline : VirtualPipeline
    plan : VirtualPlan
        Without violations (`mocap_opt.schedule.virtual_plan.virtual_violations`).

    Raises
    ------
    StuckError
        If devices wait for one another in a circle.
    """
    work, send = (each.tolist() for each in pipeline.times(plan.grid_indices(pipeline)))
    stages, chunks, depth = pipeline.stages, plan.chunks, pipeline.tables.queue_depth
    start = [[-1] * chunks for _ in range(stages)]
    done = [0] * pipeline.devices
    idle_at = [0] * pipeline.devices
    waiting = list(range(pipeline.devices))
    while waiting:
        i = waiting.pop()
        order = plan.orders[i]
        while done[i] < len(order):
            u, j = order[done[i]]
            when = idle_at[i]
            if u:
                if start[u - 1][j] < 0:
                    break
                when = max(when, start[u - 1][j] + work[u - 1][j] + send[u - 1][j])
            if depth is not None and j >= depth and u + 1 < stages:
                if start[u + 1][j - depth] < 0:
                    break
                when = max(when, start[u + 1][j - depth])
            start[u][j] = when
            idle_at[i] = when + work[u][j]
            done[i] += 1
            nearby = [pipeline.device[k] for k in (u - 1, u + 1) if 0 <= k < stages]
            waiting += [k for k in nearby if k != i]
    stuck = [i for i, order in enumerate(plan.orders) if done[i] < len(order)]
    if stuck:
        u, j = plan.orders[stuck[0]][done[stuck[0]]]
        never = f"device {stuck[0]} never begins chunk {j} on virtual stage {u}"
        raise StuckError(f"devices wait for one another in a circle: {never}")
    begun = np.array(start, dtype=np.int64)
    return VirtualRun(begun, begun + np.array(work, dtype=np.int64))
