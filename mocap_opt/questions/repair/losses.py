"""What dead dies and links take from a layout and from a plan on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mocap_opt.instance.pipeline import StageLayout
from mocap_opt.schedule.plan import Plan
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.wafer.topology import Die, Topology


@dataclass(frozen=True)
class StageLoss:
    """What one stage loses.

    Attributes
    ----------
    stage : int
    dead : tuple of Die
        Its dies that no longer work.
    left : int
        Its dies that do.
    pieces : int
        Into how many pieces the dead parts break it; 0 if nothing is left.
    layers : int
        That it runs.
    weight_bytes : int
        Weights on the dead dies, which have to be loaded again elsewhere.
    kv_bytes : int
        KV of the plan on the dead dies once all chunks have run, of its own stage and of others.
    """

    stage: int
    dead: tuple[Die, ...]
    left: int
    pieces: int
    layers: int
    weight_bytes: int
    kv_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**asdict(self), "dead": [list(die) for die in self.dead]}


def losses(before: StageLayout, after: Topology, tables: Tables, plan: Plan | None) -> tuple[StageLoss, ...]:
    """List the stages that lose dies or fall apart.

    Parameters
    ----------
    before : StageLayout
    after : Topology
        What is still alive.
    tables : Tables
        Of the layout before.
    plan : Plan or None
        That ran on it.

    Returns
    -------
    tuple of StageLoss
        In pipeline order; a stage's weights and pages are spread evenly over its dies.
    """
    living = set(after.dies)
    kept = [0] * before.stages
    if plan is not None:
        pages = plan.all_pages(tables).sum(axis=1)
        kept = (tables.page_bytes @ pages).tolist()
    found = []
    for stage, dies in enumerate(before.dies):
        dead = tuple(die for die in dies if die not in living)
        left = [die for die in dies if die in living]
        parts = _pieces(after, left)
        if dead or parts > 1:
            part = (len(dead), len(dies))
            found.append(
                StageLoss(
                    stage,
                    dead,
                    len(left),
                    parts,
                    before.layers[stage],
                    *(int(size) * part[0] // part[1] for size in (tables.static[stage], kept[stage])),
                )
            )
    return tuple(found)


def _pieces(topology: Topology, dies: Sequence[Die]) -> int:
    """Into how many pieces joined by living links some dies fall."""
    left, count = list(dies), 0
    while left:
        piece, count = [left.pop()], count + 1
        while more := [die for die in left if topology.connected((*piece, die))]:
            piece += more
            left = [die for die in left if die not in more]
    return count
