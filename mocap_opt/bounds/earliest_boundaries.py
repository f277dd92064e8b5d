"""Least boundaries of all plans whose chunks cross a range of stages within a limit, all at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.flow_shop.chunk_times import class_members, compute_classes
from mocap_opt.flow_shop.partitions import NEVER
from mocap_opt.memory_budget import require_memory
from mocap_opt.stopping import AskedToStop, never, stop_if
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True, eq=False)
class Crossing:
    """F of formulations/bounds.md: what a chunk around [a, b) adds at least by crossing the stages.

    Attributes
    ----------
    minus : int64[G + 1, G], ticks
        -F by ``[b, a]``, so that rows ascend; -NEVER where no chunk is admissible.
    by_length : int64[G + 1], ticks
        What a chunk of that many steps or more adds at least, wherever it lies; NEVER if there is none.
    """

    minus: IntArray
    by_length: IntArray

    @classmethod
    def of(
        cls, tables: Tables, send: IntArray, s: int, e: int, asked_to_stop: AskedToStop = never
    ) -> Crossing:
        """Tabulate E = work on stages s..e + sends between them - the smaller of tau_s and tau_e.

        One row per end b: O(G^2) times the number of unlike stages.  Raises `StoppedError` between rows
        if asked to stop.
        """
        steps = tables.steps
        require_memory("the table of crossings", (steps + 1) * steps)
        stages = np.arange(s, e + 1)
        _, number = np.unique(compute_classes(tables)[stages], return_inverse=True)
        members = stages[class_members(number)]
        phi, full_block, memory = tables.phi[members], tables.full_block[members], tables.memory_side[members]
        times, first, last = np.bincount(number), number[0], number[-1]
        additive = tables.length_cost[stages].sum(axis=0) + send[s:e].sum(axis=0)
        prefix = tables.prefix_cost[stages].sum(axis=0)
        ends = tables.length_cost[[s, e]]
        end_prefix = tables.prefix_cost[[s, e]]
        same_ends = first == last and np.array_equal(ends[0], ends[1]) and np.array_equal(*end_prefix)
        blocks, reads = bool(full_block.any()), bool((memory > 0).any())
        minus = np.full((steps + 1, steps), -NEVER, dtype=np.int64)
        by_length = np.full(steps + 1, NEVER, dtype=np.int64)
        later = np.full(steps, NEVER, dtype=np.int64)
        for b in range(steps, 0, -1):
            stop_if(asked_to_stop)
            tail = int(b == steps)
            back = slice(b, 0, -1)  # lengths b - a for a = 0 .. b - 1
            slowest = phi[:, b, None] - phi[:, :b]
            if blocks:
                slowest += full_block[:, tail, back]
            if reads:
                np.maximum(slowest, memory[:, b, None], out=slowest)
            if tables.residual is not None:
                slowest += tables.residual[members, :b, b]
            cross = times @ slowest + additive[tail, back] + prefix[:b]
            least = slowest[first] + ends[0, tail, back] + end_prefix[0, :b]
            if not same_ends:
                other = slowest[last] + ends[1, tail, back] + end_prefix[1, :b]
                least = np.minimum(least, other)
            row = np.full(steps, NEVER, dtype=np.int64)
            np.copyto(row[:b], cross - least, where=tables.length_allowed[tail, back])
            np.minimum(by_length[back], row[:b], out=by_length[back])
            later = np.minimum(np.minimum.accumulate(row), later)
            np.negative(later, out=minus[b])
        return cls(minus, np.minimum.accumulate(by_length[::-1])[::-1])

    def walk(self, chunks: int, limit: int, cap: int, limits: LengthLimits) -> LeastBoundaries | None:
        """LeastBoundaries back from the end, each time to the least start that the limits allow.

        Parameters
        ----------
        chunks : int
            How many chunks are owed.
        limit : int, ticks
            D, the most a chunk may add by crossing.
        cap : int
            The most grid steps of any chunk.
        limits : LengthLimits

        Returns
        -------
        LeastBoundaries or None
            None if no plan keeps to the limits.
        """
        boundaries = [0] * (chunks + 1)
        boundaries[chunks] = end = limits.steps
        tight = 0
        for j in range(chunks - 1, -1, -1):
            row = self.minus[end]
            start = max(int(row.searchsorted(-limit)), end - cap, j * limits.least if j else 0)
            most = min(j * limits.most, limits.steps - limits.last_least - (chunks - 1 - j) * limits.least)
            if start > (most if j else 0):
                return None
            # Where the room owed to earlier chunks leads past this end, no chunk is left to be tight.
            tight = max(tight, -int(row[start]))
            boundaries[j] = end = start
        return LeastBoundaries(np.array(boundaries, dtype=np.int64), tight)


@dataclass(frozen=True, eq=False)
class LeastBoundaries:
    """Least boundaries under a limit.

    Attributes
    ----------
    boundaries : int64[chunks + 1]
        No plan within the limit has any boundary below these.
    tight : int, ticks
        The walk is the same for every limit from here up to the one it was made with.
    """

    boundaries: IntArray
    tight: int
