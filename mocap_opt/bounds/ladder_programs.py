"""Dynamic programs over (position, boundary, level) for the ladder; exact in whole parts of a tick.

Statement and proof: ``formulations/ladder.md``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.ladder_costs import LadderCosts, LadderPrices, Levels
from mocap_opt.flow_shop.arc_set import ArcSet
from mocap_opt.flow_shop.partitions import NEVER
from mocap_opt.memory_budget import require_memory

Mask = npt.NDArray[np.bool_]

BLOCK = 2**21
"""Arcs x levels looked at together."""


class IntervalLadder(Levels):
    """Chunks as intervals of starts by end and level: O(M G K), and a little less than the ladder.

    Parameters
    ----------
    costs : LadderCosts
    levels : int64[level], ticks
    longest : int
        The most grid steps of any chunk.
    most : int, ticks
        The longest time of any chunk.
    nodes : bool[position + 1, G + 1]
        Grid indices that boundaries may take.
    optional : int
        Leading positions that may be empty.
    """

    def __init__(
        self, costs: LadderCosts, levels: IntArray, longest: int, most: int, nodes: Mask, optional: int
    ) -> None:
        super().__init__(costs, levels, optional)
        points = costs.tables.steps + 1
        require_memory("the ladder", (int(nodes.sum()) + 8 * points) * levels.size)
        self.nodes, self.positions = nodes, nodes.shape[0] - 1
        # A chunk fits a level if its time is below the next one.
        below = np.append(levels[1:], most + 1)
        grid = np.arange(points, dtype=np.int64)[:, None]
        least = np.minimum.accumulate(costs.times, axis=0)
        reach = np.minimum.accumulate(costs.times[:, ::-1], axis=1)[:, ::-1]
        self.start = np.empty((points, levels.size), dtype=np.int64)
        self.end = np.empty((points, levels.size), dtype=np.int64)
        for at in range(points):
            # From the latest start to the earliest, and from the earliest end to the latest, times rise.
            self.start[at] = points - np.searchsorted(least[::-1, at], below, side="left")
            self.end[at] = np.searchsorted(reach[at], below, side="left") - 1
        np.maximum(self.start, grid - longest, out=self.start)
        np.minimum(self.end, grid + longest, out=self.end)

    def _window(self, j: int) -> tuple[int, int]:
        at = np.flatnonzero(self.nodes[j])
        return (int(at[0]), int(at[-1]) + 1) if at.size else (0, 0)

    def _own(self, j: int, prices: LadderPrices) -> IntArray:
        """Cost of a chunk at a position by its level and end, without a rise; int64[end, level]."""
        low, high = self._window(j + 1)
        _, each, last = self.costs.affine_message
        tables = self.costs.tables
        pages = prices.per_page[j + 1] * tables.pages[low:high]
        message = last if j == self.positions - 1 else each
        own: IntArray = pages[:, None] + (self.levels + message)[None, :] * prices.parts
        own[~self.nodes[j + 1, low:high]] = NEVER
        return own

    def _message_of_all(self, prices: LadderPrices) -> int:
        return self.costs.affine_message[0] * self.costs.tables.steps * prices.parts

    def forward(self, prices: LadderPrices) -> list[IntArray]:
        """Least cost up to each boundary, by position: int64[node of the window, level]."""
        layer = np.full((1, self.levels.size), NEVER, dtype=np.int64)
        layer[0, 0] = self._message_of_all(prices)
        layers = [layer]
        for j in range(self.positions):
            low, high = self._window(j)
            ends = slice(*self._window(j + 1))
            later = np.full((high - low + 1, self.levels.size), NEVER, dtype=np.int64)
            later[:-1] = self.raised(layer, prices.parts)
            later = np.minimum.accumulate(later[::-1], axis=0)[::-1]
            start = np.clip(self.start[ends] - low, 0, high - low)
            layer = np.take_along_axis(later, start, axis=0) + self._own(j, prices)
            np.minimum(layer, NEVER, out=layer)
            if j < self.optional and ends.start == 0 and ends.stop and low == 0:
                layer[0, 0] = min(int(layer[0, 0]), int(layers[-1][0, 0]))
            layers.append(layer)
        return layers

    def backward(self, prices: LadderPrices) -> Iterator[IntArray]:
        """Least cost from each boundary on, like `forward` but from the last boundary to the first."""
        layer = np.zeros((1, self.levels.size), dtype=np.int64)
        yield layer
        for j in reversed(range(self.positions)):
            low, high = self._window(j + 1)
            starts = slice(*self._window(j))
            earlier = np.full((high - low + 1, self.levels.size), NEVER, dtype=np.int64)
            earlier[1:] = np.minimum(layer + self._own(j, prices), NEVER)
            earlier = np.minimum.accumulate(earlier, axis=0)
            end = np.clip(self.end[starts] + 1 - low, 0, high - low)
            reached = np.take_along_axis(earlier, end, axis=0)
            still_empty = int(layer[0, 0]) if j < self.optional and starts == slice(0, starts.stop) else NEVER
            layer = np.minimum(self.lowered(reached, prices.parts), NEVER)
            if low == 0 and starts.stop:
                layer[0, 0] = min(int(layer[0, 0]), still_empty)
            yield layer

    def boundaries(self, layers: list[IntArray], prices: LadderPrices) -> IntArray:
        """Boundaries of a cheapest partition, int64[position + 1]; they need not rise everywhere.

        Parameters
        ----------
        layers : list of int64[node, level]
            From `forward`.
        prices : LadderPrices
        """
        found = np.zeros(self.positions + 1, dtype=np.int64)
        node, level = 0, int(layers[-1][0].argmin())
        for j in range(self.positions - 1, -1, -1):
            end = self._window(j + 1)[0] + node
            found[j + 1] = end
            low, high = self._window(j)
            if end == 0:
                continue
            reached = self.raised(layers[j], prices.parts)[:, level]
            reached[: max(0, min(int(self.start[end, level]) - low, high - low))] = NEVER
            node, level = self.before(layers[j], reached, level, prices.parts)
        return found

    def pruned(self, layers: list[IntArray], prices: LadderPrices, target: int) -> Mask:
        """Boundaries of partitions that may be faster than a target, bool[position + 1, G + 1].

        Parameters
        ----------
        layers : list of int64[node, level]
            From `forward`.
        prices : LadderPrices
        target : int, ticks
        """
        kept = np.zeros_like(self.nodes)
        for j, after in zip(range(self.positions, -1, -1), self.backward(prices), strict=True):
            least = (layers[j] + after).min(axis=1)
            kept[j, slice(*self._window(j))] = least <= prices.most(target)
        return kept & self.nodes


class ArcLadder(Levels):
    """Chunks one by one: exact in the times that are levels.

    Parameters
    ----------
    costs : LadderCosts
    levels : int64[level], ticks
    arcs : ArcSet
        Connected and not empty.
    """

    def __init__(self, costs: LadderCosts, levels: IntArray, arcs: ArcSet) -> None:
        super().__init__(costs, levels, arcs.positions)
        self.arcs = arcs
        nodes = arcs.nodes
        require_memory("the ladder of arcs", levels.size * sum(map(len, nodes)) + 8 * BLOCK)
        self._position = []
        for j, (start, end) in enumerate(zip(arcs.starts, arcs.ends, strict=True)):
            filled = end > 0
            tail = (end == costs.tables.steps).astype(np.int64)
            own = costs.message[tail, end - start]
            times = np.where(filled, costs.times[start, end], 0)
            level = np.searchsorted(levels, times, side="right") - 1
            self._position.append(
                (np.searchsorted(nodes[j], start), np.searchsorted(nodes[j + 1], end), level, own, filled)
            )

    def _blocks(self, nodes: IntArray) -> Iterator[IntArray]:
        """Arcs in the order of these nodes, in blocks that part no node's arcs."""
        order = np.argsort(nodes, kind="stable")
        each = max(1, BLOCK // self.levels.size)
        first = 0
        while first < order.size:
            past = min(first + each, order.size)
            if past < order.size:
                last = int(np.searchsorted(nodes[order], nodes[order[past]], side="left"))
                past = (
                    last if last > first else int(np.searchsorted(nodes[order], nodes[order[past]], "right"))
                )
            yield order[first:past]
            first = past

    def _pages(self, j: int, prices: LadderPrices) -> IntArray:
        pages: IntArray = prices.per_page[j] * self.costs.tables.pages[self.arcs.nodes[j]]
        return pages

    def _own(self, j: int, arcs: IntArray, parts: int) -> IntArray:
        """Cost of chunks by level, without rise and pages; int64[arc, level], `NEVER` below a chunk's level.

        An empty chunk has level 0 and costs nothing.
        """
        _, _, level, message, filled = self._position[j]
        at = np.arange(self.levels.size)
        own: IntArray = (self.levels[None, :] + message[arcs, None]) * parts
        own[at < level[arcs, None]] = NEVER
        own[~filled[arcs]] = NEVER
        own[~filled[arcs], 0] = 0
        return own

    def forward(self, prices: LadderPrices) -> list[IntArray]:
        """Least cost up to each boundary, by position: int64[node, level]."""
        layer = np.full((1, self.levels.size), NEVER, dtype=np.int64)
        layer[0, 0] = 0
        layers = [layer]
        for j, (start, end, *_) in enumerate(self._position):
            raised = self.raised(layer, prices.parts)
            layer = np.full((self.arcs.nodes[j + 1].size, self.levels.size), NEVER, dtype=np.int64)
            for arcs in self._blocks(end):
                ways = raised[start[arcs]] + self._own(j, arcs, prices.parts)
                ends, first = np.unique(end[arcs], return_index=True)
                layer[ends] = np.minimum.reduceat(ways, first, axis=0)
            layer += self._pages(j + 1, prices)[:, None]
            np.minimum(layer, NEVER, out=layer)
            layers.append(layer)
        return layers

    def backward(self, prices: LadderPrices) -> Iterator[IntArray]:
        """Least cost from each boundary on, like `forward` but from the last boundary to the first."""
        layer = np.zeros((1, self.levels.size), dtype=np.int64)
        yield layer
        for j in reversed(range(self.arcs.positions)):
            start, end, *_ = self._position[j]
            beyond = np.minimum(layer + self._pages(j + 1, prices)[:, None], NEVER)
            reached = np.full((self.arcs.nodes[j].size, self.levels.size), NEVER, dtype=np.int64)
            for arcs in self._blocks(start):
                ways = beyond[end[arcs]] + self._own(j, arcs, prices.parts)
                starts, first = np.unique(start[arcs], return_index=True)
                reached[starts] = np.minimum.reduceat(ways, first, axis=0)
            layer = np.minimum(self.lowered(np.minimum(reached, NEVER), prices.parts), NEVER)
            yield layer

    def boundaries(self, layers: list[IntArray], prices: LadderPrices) -> IntArray:
        """Boundaries of a cheapest partition, int64[position + 1].

        Parameters
        ----------
        layers : list of int64[node, level]
            From `forward`.
        prices : LadderPrices
        """
        nodes = self.arcs.nodes
        found = np.zeros(self.arcs.positions + 1, dtype=np.int64)
        node, level = 0, int(layers[-1][0].argmin())
        for j in range(self.arcs.positions - 1, -1, -1):
            found[j + 1] = nodes[j + 1][node]
            start, end, *_ = self._position[j]
            arcs = np.flatnonzero(end == node)
            ways = self.raised(layers[j], prices.parts)[start[arcs], level]
            best = arcs[int((ways + self._own(j, arcs, prices.parts)[:, level]).argmin())]
            node = int(start[best])
            _, level = self.before(layers[j][[node]], np.zeros(1, dtype=np.int64), level, prices.parts)
        return found

    def pruned(self, layers: list[IntArray], prices: LadderPrices, target: int) -> ArcSet:
        """The arcs of partitions that may be faster than a target.

        Parameters
        ----------
        layers : list of int64[node, level]
            From `forward`.
        prices : LadderPrices
        target : int, ticks
        """
        kept: list[Mask] = []
        for j, after in zip(range(self.arcs.positions - 1, -1, -1), self.backward(prices), strict=False):
            start, end, *_ = self._position[j]
            raised = self.raised(layers[j], prices.parts)
            beyond = np.minimum(after + self._pages(j + 1, prices)[:, None], NEVER)
            mask = np.zeros(start.size, dtype=np.bool_)
            each = max(1, BLOCK // self.levels.size)
            for first in range(0, start.size, each):
                arcs = np.arange(first, min(first + each, start.size))
                ways = np.minimum(raised[start[arcs]] + beyond[end[arcs]], NEVER)
                ways += self._own(j, arcs, prices.parts)
                mask[arcs] = ways.min(axis=1) <= prices.most(target)
            kept.append(mask)
        return self.arcs.where(kept[::-1]).connected()
