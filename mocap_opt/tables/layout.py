"""The pipeline laid out on the wafer."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from mocap_opt.wafer.path import PLACEMENTS
from mocap_opt.wafer.placement import balanced_layers, check_connected, ranks
from mocap_opt.wafer.pools import PoolLink, attach, pool_links
from mocap_opt.wafer.routing import Shares, link_shares
from mocap_opt.wafer.spec import PoolSpec
from mocap_opt.wafer.topology import Die, Topology, build_topology, node_name

if TYPE_CHECKING:
    from mocap_opt.instance import Instance, Pipeline


@dataclass(frozen=True, eq=False)
class Layout:
    """Where every stage sits, what it runs, and how stages reach each other.

    Attributes
    ----------
    topology : Topology
        Living dies and links.
    dies : tuple of tuple of Die
        Dies of each stage, in the order of their tensor-parallel ranks.
    ranks : tuple of tuple of Die
        Those of them that compute and exchange data, as many as the stage's tensor-parallel degree; the
        others add their memory only.
    layers : tuple of range
        Model layers of each stage, counted from 0.
    unused : tuple of Die
        Living dies that no stage owns, row by row.
    pools : tuple of tuple of Die
        Pieces of them that are memories without a stage, where the pipeline says so.
    shares : Shares
        Link fractions and hops between every two memories.
    attached : tuple of PoolSpec
        Memories off the wafer; they follow the other ones.
    pool_links : tuple of PoolLink
        Their links, which follow those of the topology.
    """

    topology: Topology
    dies: tuple[tuple[Die, ...], ...]
    ranks: tuple[tuple[Die, ...], ...]
    layers: tuple[range, ...]
    unused: tuple[Die, ...]
    pools: tuple[tuple[Die, ...], ...]
    shares: Shares
    attached: tuple[PoolSpec, ...] = ()
    pool_links: tuple[PoolLink, ...] = ()

    @property
    def stages(self) -> int:
        """N, the number of stages."""
        return len(self.dies)

    @property
    def pool_names(self) -> tuple[str, ...]:
        """Name of each memory without a stage; by its first die where there are several."""
        spare = [f"spare dies at {node_name(dies[0])}" for dies in self.pools]
        spare = ["spare dies"] if len(spare) == 1 else spare
        return (*spare, *(pool.name for pool in self.attached))


def layout(instance: Instance) -> Layout:
    """Lay out an instance's pipeline: dies, layers, routes.

    Raises
    ------
    InputError
        If the stages do not fit on what is alive, if one is not a connected piece, or if two cannot
        reach each other.
    """
    pipeline = instance.pipeline
    pipeline.require_fixed()
    topology = build_topology(instance.wafer)
    dies = placed_dies(topology, pipeline)
    check_connected(topology, dies)
    heads = instance.model.heads
    computing = tuple(ranks(topology, owned, pipeline.degree(len(owned), heads)) for owned in dies)
    counts = (
        balanced_layers(instance.model.layers, pipeline.count)
        if isinstance(pipeline.layers, str)
        else pipeline.layers
    )
    ends = tuple(accumulate(counts))
    owned = {die for stage in dies for die in stage}
    unused = tuple(die for die in topology.dies if die not in owned)
    pools = _spare_memories(topology, unused, dies[0][0]) if pipeline.spare_dies == "memory" else ()
    memories, attached = (*computing, *pools), instance.wafer.pools
    return Layout(
        topology=topology,
        dies=dies,
        ranks=computing,
        layers=tuple(range(end - count, end) for end, count in zip(ends, counts, strict=True)),
        unused=unused,
        pools=pools,
        attached=attached,
        pool_links=pool_links(topology, attached),
        shares=attach(topology, memories, attached, link_shares(topology, memories)),
    )


def _spare_memories(topology: Topology, unused: tuple[Die, ...], anchor: Die) -> tuple[tuple[Die, ...], ...]:
    """Pieces of the dies without a stage; those that dead links cut off from the stages stay idle."""
    (reached,) = (piece for piece in topology.pieces(topology.dies) if anchor in piece)
    return topology.pieces(set(unused) & set(reached))


def placed_dies(topology: Topology, pipeline: Pipeline) -> tuple[tuple[Die, ...], ...]:
    """Dies of each stage; their layers may be open.

    Parameters
    ----------
    topology : Topology
    pipeline : Pipeline
        With a placement.
    """
    if isinstance(pipeline.placement, tuple):
        return pipeline.placement
    return PLACEMENTS[pipeline.placement](topology, pipeline.dies)
