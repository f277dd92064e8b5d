"""The pipeline laid out on the wafer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mocap_opt.errors import InputError, Problem
from mocap_opt.wafer.placement import balanced_layers, place_explicitly, place_on_snake
from mocap_opt.wafer.shares import Shares, link_shares
from mocap_opt.wafer.topology import Die, Topology, build_topology

if TYPE_CHECKING:
    from mocap_opt.instance import Instance


@dataclass(frozen=True, eq=False)
class Layout:
    """Where every stage sits, what it runs, and how stages reach each other.

    Attributes
    ----------
    topology : Topology
        Living dies and links.
    dies : tuple of tuple of Die
        Dies of each stage, in the order of their tensor-parallel ranks.
    layers : tuple of range
        Model layers of each stage, counted from 0.
    unused : tuple of Die
        Living dies that no stage owns, row by row.
    shares : Shares
        Link fractions and hops between every two stages.
    """

    topology: Topology
    dies: tuple[tuple[Die, ...], ...]
    layers: tuple[range, ...]
    unused: tuple[Die, ...]
    shares: Shares

    @property
    def stages(self) -> int:
        """N, the number of stages."""
        return len(self.dies)


def layout(instance: Instance) -> Layout:
    """Lay out an instance's pipeline: dies, layers, routes.

    Raises
    ------
    InputError
        If the dead or slow parts do not fit the wafer, if the stages do not fit what is alive, if
        the layers do not add up to the model's, or if two stages cannot reach each other.
    """
    pipeline = instance.pipeline
    topology = build_topology(instance.wafer)
    sizes = dies_per_stage(pipeline.dies_per_stage, pipeline.stages)
    if isinstance(pipeline.placement, str):
        dies = place_on_snake(topology, sizes)
    else:
        dies = place_explicitly(topology, pipeline.placement, sizes)
    counts = layers_per_stage(pipeline.layers, instance.model.layers, pipeline.stages)
    starts = [sum(counts[:stage]) for stage in range(len(counts))]
    owned = {die for stage in dies for die in stage}
    return Layout(
        topology=topology,
        dies=dies,
        layers=tuple(range(start, start + count) for start, count in zip(starts, counts, strict=True)),
        unused=tuple(die for die in topology.dies if die not in owned),
        shares=link_shares(topology, dies),
    )


def dies_per_stage(given: int | Sequence[int], stages: int) -> tuple[int, ...]:
    """Spread one number of dies over all stages, or take the list of them.

    Raises
    ------
    InputError
        If the list has another length than there are stages.
    """
    if isinstance(given, int):
        return (given,) * stages
    if len(given) != stages:
        found, remedy = f"{len(given)} numbers", "give one number, or one per stage"
        raise InputError([Problem("pipeline.dies_per_stage", found, f"{stages} of them", remedy)])
    return tuple(given)


def layers_per_stage(given: str | Sequence[int], layers: int, stages: int) -> tuple[int, ...]:
    """Spread the model's layers evenly, or take the list of their numbers.

    Raises
    ------
    InputError
        If the list has another length than there are stages, or another sum than the model's layers.
    """
    if isinstance(given, str):
        return balanced_layers(layers, stages)
    if len(given) != stages or sum(given) != layers:
        found = f"{len(given)} numbers with the sum {sum(given)}"
        expected = f"{stages} numbers with the sum {layers}"
        raise InputError(
            [Problem("pipeline.layers", found, expected, 'write "balanced" to spread them evenly')]
        )
    return tuple(given)
