"""Orders of the devices for given chunks on virtual stages, a job shop (formulations/virtual_stages.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.virtual_pipeline import VirtualPipeline
from mocap_opt.replay.virtual import VirtualRun, replay_virtual
from mocap_opt.schedule.virtual_plan import Task, VirtualPlan
from mocap_opt.solvers.cpsat import solve_model
from mocap_opt.solvers.cpsat_model import cp_model
from mocap_opt.solvers.limits import Limits
from mocap_opt.solvers.outcome import SolveOutcome

MOST_TASKS = 2000
"""Pieces of work beyond which no model is built."""


@dataclass(eq=False)
class DeviceOrders:
    """The model under construction.

    Attributes
    ----------
    pipeline : VirtualPipeline
    work, send : list of list of int, ticks
        By virtual stage and chunk.
    model : cp_model.CpModel
    start : dict of (int, int) to variable
        When each piece of work begins, ticks.
    latency : variable or None
        Made last.
    """

    pipeline: VirtualPipeline
    work: list[list[int]]
    send: list[list[int]]
    model: cp_model.CpModel
    horizon: int
    start: dict[Task, cp_model.IntVar] = field(default_factory=dict)
    latency: cp_model.IntVar | None = None

    @property
    def stages(self) -> int:
        """V."""
        return len(self.work)

    @property
    def chunks(self) -> int:
        """M."""
        return len(self.work[0])

    def after(self, task: Task, before: Task, delay: int, name: str) -> None:
        """Let a piece of work begin no earlier than so long after another begins.

        Parameters
        ----------
        task, before : (int, int)
        delay : int, ticks
        name : str
        """
        self.model.add(self.start[task] >= self.start[before] + delay).with_name(name)


def chunks_in_order(orders: DeviceOrders) -> None:
    """A virtual stage does its chunks one after the other, in order."""
    for u, j in orders.start:
        if j:
            orders.after((u, j), (u, j - 1), orders.work[u][j - 1], f"chunks_in_order[{u},{j}]")


def activations_arrive(orders: DeviceOrders) -> None:
    """A chunk begins on the next virtual stage once its activations have arrived there."""
    for u, j in orders.start:
        if u:
            taken = orders.work[u - 1][j] + orders.send[u - 1][j]
            orders.after((u, j), (u - 1, j), taken, f"activations_arrive[{u},{j}]")


def queues_have_room(orders: DeviceOrders) -> None:
    """A chunk begins once the one Q before it has begun on the next virtual stage."""
    depth = orders.pipeline.tables.queue_depth
    for u, j in orders.start:
        if depth is not None and j >= depth and u + 1 < orders.stages:
            orders.after((u, j), (u + 1, j - depth), 0, f"queues_have_room[{u},{j}]")


def devices_do_one_thing(orders: DeviceOrders) -> None:
    """What a device does never overlaps."""
    for i, hosted in enumerate(orders.pipeline.hosted):
        intervals = [
            orders.model.new_fixed_size_interval_var(start, orders.work[u][j], f"busy[{u},{j}]")
            for (u, j), start in orders.start.items()
            if u in hosted
        ]
        orders.model.add_no_overlap(intervals).with_name(f"devices_do_one_thing[{i}]")


def latency_covers_all(orders: DeviceOrders) -> None:
    """The latency is the end of the last chunk on the last virtual stage."""
    u, j = orders.stages - 1, orders.chunks - 1
    orders.latency = orders.model.new_int_var(0, orders.horizon, "latency")
    end = orders.start[u, j] + orders.work[u][j]
    orders.model.add(orders.latency >= end).with_name("latency_covers_all")
    orders.model.minimize(orders.latency)


FAMILIES: tuple[tuple[str, Callable[[DeviceOrders], None]], ...] = (
    ("chunks_in_order", chunks_in_order),
    ("activations_arrive", activations_arrive),
    ("queues_have_room", queues_have_room),
    ("devices_do_one_thing", devices_do_one_thing),
    ("latency_covers_all", latency_covers_all),
)


def build(pipeline: VirtualPipeline, indices: IntArray, horizon: int) -> DeviceOrders:
    """Build the model of given chunks.

    Parameters
    ----------
    pipeline : VirtualPipeline
    indices : int64[chunk + 1]
        Boundaries as grid indices.
    horizon : int, ticks
        The latency of a known plan: nothing later is looked at.

    Raises
    ------
    ValueError
        If there are more than `MOST_TASKS` pieces of work.
    """
    work, send = (each.tolist() for each in pipeline.times(indices))
    orders = DeviceOrders(pipeline, work, send, cp_model.CpModel(), horizon)
    if orders.stages * orders.chunks > MOST_TASKS:
        raise ValueError(f"{orders.stages * orders.chunks} pieces of work, at most {MOST_TASKS}")
    for u in range(orders.stages):
        for j in range(orders.chunks):
            orders.start[u, j] = orders.model.new_int_var(0, horizon, f"start[{u},{j}]")
    for _, add in FAMILIES:
        add(orders)
    return orders


def solve_orders(
    pipeline: VirtualPipeline, known: VirtualPlan, limits: Limits | None = None
) -> tuple[VirtualPlan, VirtualRun, SolveOutcome]:
    """Find the best orders for the chunks of a known plan; never worse than it.

    Parameters
    ----------
    pipeline : VirtualPipeline
    known : VirtualPlan
        Without violations.
    limits : Limits, optional

    Returns
    -------
    plan : VirtualPlan
    run : VirtualRun
    outcome : SolveOutcome
        Its bound, ticks, covers every order of these chunks; memory is left out.
    """
    run = replay_virtual(pipeline, known)
    orders = build(pipeline, known.grid_indices(pipeline), run.latency)
    result = solve_model(orders.model, [*run.start.ravel().tolist(), run.latency], limits)
    plan = known if result.values is None else VirtualPlan(known.boundaries, _read(orders, result.values))
    return plan, replay_virtual(pipeline, plan), result.outcome


def _read(orders: DeviceOrders, values: Sequence[int]) -> tuple[tuple[Task, ...], ...]:
    """What every device does, by start; chunks of no length in the order of their stages and places."""
    begun = {task: values[variable.index] for task, variable in orders.start.items()}
    return tuple(
        tuple(sorted((task for task in begun if task[0] in hosted), key=lambda task: (begun[task], task)))
        for hosted in orders.pipeline.hosted
    )
