"""Mixtures of times, of traffic and of memories for a region of partitions, by column generation.

A linear program mixes the chunks found so far; its duals price all chunks, the cheapest partition at these
prices proves a bound and adds its chunks.  Rows of traffic join where the program's homes break them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.partition_pricing import PartitionPricer
from mocap_opt.bounds.partition_region import Multipliers, PartitionRegion
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.bounds.traffic_master import Arc, TrafficMaster
from mocap_opt.bounds.traffic_rows import Row
from mocap_opt.flow_shop.partitions import NEVER
from mocap_opt.lower_bound import Scope
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables

#: Rounds of column generation for a region, and how close to the program's value they come.
MOST_ROUNDS = 40
CLOSE = 3e-4


@dataclass(eq=False)
class TrafficProgram:
    """Finds mixtures for regions of one instance; what it found serves the next region.

    Attributes
    ----------
    pricer : PartitionPricer
    asked_to_stop : callable
        Asked between rounds.
    arcs : dict of Arc
        Chunks found so far.
    rows : dict of Row
        Rows that had a price.
    """

    pricer: PartitionPricer
    asked_to_stop: AskedToStop = never
    arcs: dict[Arc, None] = field(default_factory=dict)
    rows: dict[Row, None] = field(default_factory=dict)

    def weights(self, region: PartitionRegion, target: int | None = None) -> Multipliers:
        """Mixtures for a region with room in every memory.

        Parameters
        ----------
        region : PartitionRegion
        target : int or None, ticks
            Enough to prove.
        """
        master = TrafficMaster(self.pricer, region, self.asked_to_stop)
        best: tuple[int, Multipliers] | None = None
        rows = dict.fromkeys(row for row in self.rows if master.rows.has(row))
        multipliers = master.even()
        for _ in range(MOST_ROUNDS):
            priced = self.pricer.price(region, multipliers)
            before = priced.before()
            cost = int(before[-1][0])
            if cost == NEVER:
                return multipliers
            value = priced.ticks(cost)
            if best is None or value > best[0]:
                best = value, multipliers
            if self.asked_to_stop() or (target is not None and value >= target):
                break
            self._learn(region, priced.cheapest(before))
            found = master.solve(self.arcs, rows)
            if found is None:
                break
            objective, multipliers, broken, used = found
            if not broken and best[0] >= objective * (1 - CLOSE):
                break
            rows.update(dict.fromkeys(broken))
            self.rows.update(dict.fromkeys(used))
        assert best is not None
        return best[1]

    def _learn(self, region: PartitionRegion, boundaries: IntArray) -> None:
        """Keep the chunks of a partition, and those with boundaries a step away."""
        for j in range(region.positions):
            a, b = int(boundaries[j]), int(boundaries[j + 1])
            for start in {a, a - 1, a + 1} if a else {a}:
                for end in {b, b - 1, b + 1} if j < region.positions - 1 else {b}:
                    self.arcs[region.positions - 1 - j, start, end] = None


def traffic_at(
    tables: Tables, indices: IntArray, scope: Scope, target: int, asked_to_stop: AskedToStop = never
) -> int | None:
    """What no homes of given boundaries beat, ticks; None if some memory has no room.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices.
    scope : Scope
        What it is to hold for.
    target : int, ticks
        Enough to prove.
    asked_to_stop : callable
        As of `TrafficProgram`.
    """
    longest = int(np.diff(indices).max())
    region = PartitionRegion(indices.size - 1, indices, indices, longest, longest)
    pricer = PartitionPricer(Setting(tables, scope), PooledMemory.of(tables))
    if pricer.rooms(region) is None or pricer.room(region) is None:
        return None
    priced = pricer.price(region, TrafficProgram(pricer, asked_to_stop).weights(region, target))
    return priced.ticks(priced.least_cost())
