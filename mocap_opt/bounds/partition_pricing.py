"""What mixtures of paths or of slots, and prices on pooled memory, ask for the partitions of a region.

Statement and proof: ``formulations/bounds.md``, `path_relaxation`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.partition_region import Multipliers, PartitionRegion
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.bounds.priced_partitions import PricedPartitions, StageClasses
from mocap_opt.bounds.traffic_weights import CountedTraffic, TrafficPrices
from mocap_opt.lower_bound import Scope
from mocap_opt.tables.cost_tables import Tables

#: Lengths of the longest chunk up to which whole units of memory are counted for each.
EXACT_ROOMS = 64


@dataclass(frozen=True, eq=False)
class PartitionPricer:
    """Prices partitions of one instance under mixtures.

    Attributes
    ----------
    setting : Setting
    memory : PooledMemory
    """

    setting: Setting
    memory: PooledMemory

    @property
    def tables(self) -> Tables:
        """The instance."""
        return self.setting.tables

    @cached_property
    def classes(self) -> StageClasses:
        """Stages that are alike."""
        return StageClasses.of(self.tables)

    @cached_property
    def most_parts(self) -> int:
        """Parts a unit of flow may have so that all sums stay below 2^59; a power of two."""
        tables = self.tables
        chunk = sum(
            int(np.abs(part).max())
            for part in (
                2 * tables.phi,
                tables.full_block,
                tables.memory_side,
                tables.prefix_cost,
                tables.length_cost,
                tables.send,
                *(() if tables.excess is None else (tables.excess,)),
            )
        )
        # A path has N + M - 1 nodes, and so has a mixture of paths; there are as many slots.
        whole = max(1, chunk * (tables.stages + max(tables.counts)))
        return 1 << max(0, 58 - whole.bit_length())

    def room(self, region: PartitionRegion) -> IntArray | None:
        """Units of KV that fit the pool, int64[slot], at most; None if some memory has no room.

        Slots are counted from that of the first position, empty or not.
        """
        return self._room(region, self.least_longest(region), self.memory)

    def _room(self, region: PartitionRegion, longest: int, memory: PooledMemory) -> IntArray | None:
        # Surely there are only the last `fewest` chunks, and with them the prefixes.
        room = memory.room(region.fewest, longest)
        if room is None:
            return None
        without_prefix = memory.free(longest) // memory.unit * memory.unit
        lead = np.full(region.optional, int(without_prefix.sum()), dtype=np.int64)
        units: IntArray = -(-np.concatenate([lead, room]) // self.memory.unit)
        return units

    def room_and_reserve(self, region: PartitionRegion) -> IntArray | None:
        """Units of KV, and of what the longest chunk takes by `reserve_rate`, that fit the pool, int64[slot].

        What tokens take counts from `least_longest` on.  None if some memory has no room.
        """
        least, rate = self.least_longest(region), self.reserve_rate(region)
        if region.long - region.short > EXACT_ROOMS:
            return self._room(region, least, replace(self.memory, unit=1))
        if self.room(region) is None:
            return None
        most = np.zeros(region.positions + self.tables.stages - 1, dtype=np.int64)
        for steps in range(region.short, region.long + 1):
            room = self._room(region, int(self.tables.lengths[1, steps]), self.memory)
            if room is None:
                break
            taken = rate * (int(self.tables.lengths[0, steps]) - least)
            most = np.maximum(most, room - (-taken // self.memory.unit))
        return most

    def least_longest(self, region: PartitionRegion) -> int:
        """Tokens of the longest chunk of a region's partitions, at least."""
        return int(self.tables.lengths[1, region.short])

    def reserve_rate(self, region: PartitionRegion) -> int:
        """Bytes that every token of the longest chunk takes of all memories; 0 where some takes none.

        Of activations alone: buffers and rings only take more.  0 too where no KV has homes.
        """
        tables = self.tables
        if tables.queue_depth is None or not tables.page_bytes.any():
            return 0
        held = 2 * tables.queue_depth * int(tables.lengths[0, region.long])
        return 2 * tables.queue_depth * int(tables.working_bytes.sum()) if held <= tables.tokens else 0

    def ample(self, region: PartitionRegion) -> bool:
        """Whether no partition of the region lacks room, or the longest chunk does not change the room."""
        most, least = self.room(region), self.least_room(region)
        if most is None or least is None:
            return False
        return self.fits_all(region) or np.array_equal(least, most)

    def least_room(self, region: PartitionRegion) -> IntArray | None:
        """As `room`, for the longest chunk that the region allows."""
        return self.room(replace(region, short=region.long))

    def fits_all(self, region: PartitionRegion) -> bool:
        """Whether no partition of the region lacks room."""
        least = self.least_room(region)
        return least is not None and bool((self.memory.need(region.high) // self.memory.unit <= least).all())

    def price(self, region: PartitionRegion, weights: Multipliers) -> PricedPartitions:
        """Tabulate what a mixture asks for chunks and boundaries of a region.

        Parameters
        ----------
        region : PartitionRegion
            With room in every memory.
        multipliers : Multipliers
            A price for each slot of the region.

        Raises
        ------
        ValueError
            If the region has no room, or sums of the prices could leave 64 bits.
        """
        tables, flow = self.tables, weights.flow
        nodes, last = flow.nodes, region.positions - 1
        spread = int(weights.length_prices.sum())
        room = self.room_and_reserve(region) if spread else self.room(region)
        if room is None or room.size != weights.slot_prices.size:
            raise ValueError("expected a region with room, and a price for each of its slots")
        unit_pages = tables.page_bytes // self.memory.unit
        per_unit = sum(weights.slot_prices.tolist())
        worst = per_unit * max(int(unit_pages.sum()) * int(tables.pages[-1]), int(room.max()))
        worst = max(worst, spread * int(tables.lengths[0, region.long]))
        if min(weights.slot_prices.min(), weights.length_prices.min()) < 0 or worst >= 2**59:
            raise ValueError("expected prices >= 0 whose sums stay below 2^59")
        if flow.parts > self.most_parts:
            raise ValueError("expected parts whose sums stay below 2^59")
        if spread * self.memory.unit > per_unit * self.reserve_rate(region):
            raise ValueError("expected lengths to be worth no more than the memory they take")
        # Chunk by chunk: all that depends on the length alone, on the start alone, on the end alone.
        tail = (np.arange(region.positions) == last).astype(np.int64)
        by_length = nodes.T @ tables.length_cost[:, 0] + flow.down.T @ self.setting.send[:-1, 0]
        by_length[last] = nodes[:, last] @ tables.length_cost[:, 1]
        by_length[last] += flow.down[:, last] @ self.setting.send[:-1, 1]
        by_length += weights.length_prices[:, None] * tables.lengths[tail]
        by_start = nodes.T @ tables.prefix_cost
        per_class = np.zeros((self.classes.first.size, region.positions), dtype=np.int64)
        np.add.at(per_class, self.classes.kind, nodes)
        per_page: IntArray = np.correlate(weights.slot_prices, unit_pages, mode="valid")
        room_value = sum(p * r for p, r in zip(weights.slot_prices.tolist(), room.tolist(), strict=True))
        if weights.memory_prices is not None:
            traffic = self._traffic(region, weights, weights.memory_prices)
            by_start -= traffic.pages[:, None] * tables.pages
            per_page += traffic.pages
            by_length += traffic.lengths[np.arange(region.positions), tail]
            room_value += traffic.room
        return PricedPartitions(
            self.tables,
            self.classes,
            region,
            flow.parts,
            by_length,
            by_start,
            per_class,
            per_page,
            room_value + spread * self.least_longest(region),
            weights.memory_prices is not None and self.setting.scope is Scope.ANY_EXECUTION,
        )

    def _traffic(self, region: PartitionRegion, weights: Multipliers, prices: IntArray) -> TrafficPrices:
        """What links, ports and single memories ask for."""
        flow, room = weights.flow, self.rooms(region)
        if room is None or room.shape != prices.shape:
            raise ValueError("expected room in every memory, and a price for each in each slot")
        counted = CountedTraffic.of(flow.nodes.shape, flow.traffic, flow.delays)
        return TrafficPrices.of(self.tables, counted, prices, room, self.memory.unit)

    def rooms(self, region: PartitionRegion) -> IntArray | None:
        """Units of KV that fit each memory, int64[memory, slot], at most; None if one has no room.

        Parameters
        ----------
        region : PartitionRegion
        """
        tables, unit = self.tables, self.memory.unit
        free = self.memory.free(self.least_longest(region))
        without = free - tables.prefix_bytes
        if (without < 0).any():
            return None
        room = np.repeat(free[:, None] // unit, tables.stages + region.positions - 1, axis=1)
        for k in range(tables.stages):
            # Surely there are only the last `fewest` chunks, and with them the prefix.
            room[k, k + region.optional : k + region.positions] = without[k] // unit
        return room
