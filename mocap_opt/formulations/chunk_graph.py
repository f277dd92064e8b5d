"""Which chunk may stand at which position: the layered graph the boundary families walk through.

Layer j holds the possible values of boundary p_j, an arc from (j, a) to (j + 1, b) is chunk j =
[a, b), and a plan's boundaries are a path from (0, 0) to (M, G).  The loops at 0 are the empty
leading chunks.  Arcs that no plan, or no plan as good as a known one, can use are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.arc_set import ArcSet
from mocap_opt.formulations.presolve import free_bytes, pooled_bytes
from mocap_opt.formulations.slot_times import message_table
from mocap_opt.memory_budget import require_memory
from mocap_opt.tables.cost_tables import Tables

PRECISION = 10_000
"""`least_latency` is found to one part in so many."""

MOST_ARCS = 4_000_000
"""`windows_within` gives up on graphs with more arcs before pruning: building them takes seconds."""

FAR = np.int64(2) ** 60
"""Stands for "no path" while path lengths are computed; never leaves this module."""


@dataclass(frozen=True, eq=False)
class ChunkGraph:
    """The arcs left after pruning.

    Attributes
    ----------
    layers : int
        M, the number of positions; layers of boundaries run from 0 to M.
    nodes : tuple of lists of int
        Grid indices that p_j may take, by layer.
    arcs : tuple of lists of (int, int)
        Ends (a, b) of the chunks that may stand at position j, by position; (0, 0) is empty.
    """

    layers: int
    nodes: tuple[list[int], ...]
    arcs: tuple[list[tuple[int, int]], ...]

    @classmethod
    def of(cls, arcs: ArcSet) -> ChunkGraph:
        """The graph of chunks that are known to be enough."""
        pairs = zip(arcs.starts, arcs.ends, strict=True)
        return cls(
            arcs.positions,
            tuple(layer.tolist() for layer in arcs.nodes),
            tuple(list(zip(start.tolist(), end.tolist(), strict=True)) for start, end in pairs),
        )

    @property
    def chunks(self) -> int:
        """Number of arcs that are not empty chunks."""
        return sum(end > 0 for layer in self.arcs for _, end in layer)

    @property
    def empty(self) -> bool:
        """Whether no path is left, that is, no plan."""
        return not all(self.arcs)


Arcs = Callable[[int | None], ChunkGraph]
"""From a lockstep latency in ticks to the chunks of all plans no worse than it; None: of all plans."""


LeastTimes = tuple[IntArray, IntArray, IntArray]
"""Least ticks of a chunk [a, b), int64[G + 1, G + 1] each: on the first stage and sent on from there, on the
last one, and through all stages."""


@dataclass(eq=False)
class _Pruning:
    """Alive chunks while the graph is pruned: ``alive[j, a, b]``, loops at 0 included."""

    tables: Tables
    alive: npt.NDArray[np.bool_]
    least_sends: IntArray | None = None
    times: LeastTimes | None = None
    first: IntArray = field(init=False)
    last: IntArray = field(init=False)
    through: IntArray = field(init=False)

    def __post_init__(self) -> None:
        if self.times is not None:
            self.first, self.last, self.through = self.times
            return
        tables = self.tables
        points = tables.steps + 1
        require_memory("the times of all chunks", 4 * tables.stages * points**2)
        a, b = np.triu_indices(points, 1)
        times = np.zeros((tables.stages, points, points), dtype=np.int64)
        sends = np.zeros_like(times)
        by_length = message_table(tables) if self.least_sends is None else self.least_sends
        for i in range(tables.stages):
            times[i, a, b] = tables.tau(i, a, b)
            sends[i, a, b] = by_length[i, (b == tables.steps).astype(np.int64), b - a]
        self.first = times[0] + sends[0] if self.least_sends is None else times[0]
        self.last = times[-1]
        self.through = (times + sends).sum(axis=0)


def chunk_graph(
    tables: Tables,
    *,
    no_worse_than: int | None = None,
    homes: bool = True,
    sends: IntArray | None = None,
    times: LeastTimes | None = None,
) -> ChunkGraph:
    """Build the graph of boundaries and prune it.

    Parameters
    ----------
    tables : Tables
    no_worse_than : int, optional
        Lockstep latency of a known plan, ticks.  Chunks that make every plan worse than that are
        left out; plans as good as it stay.
    homes : bool
        Whether KV may live anywhere (the memories are pooled) or only on its own stage.
    sends : int64[stage, 2, G + 1], optional
        Least send times by ``[stage, tail, k]``: then `no_worse_than` is a contention-free latency,
        in which a stage sends while it computes.
    times : LeastTimes, optional
        Where not those of the tables.
    """
    counts = tables.counts
    layers, points = max(counts, default=0), tables.steps + 1
    if layers == 0 or layers > tables.steps:
        return ChunkGraph(layers, ([0],) * (layers + 1), ([],) * max(layers, 1))
    require_memory("the graph of chunks", (32 + 2 * layers) * points**2, 1)
    chunk = np.zeros((points, points), dtype=np.bool_)
    a, b = np.triu_indices(points, 1)
    tail = (b == tables.steps).astype(np.int64)
    chunk[a, b] = tables.chunk_allowed(a, b)
    chunk[a, b] &= _reserve_fits(tables)[tail, b - a]
    alive = np.repeat(chunk[None], layers, axis=0)
    alive[:-1, 0, 0] = not tables.exact_chunks
    pruning = _Pruning(tables, alive, sends, times)
    before = -1
    while before != (now := int(np.count_nonzero(alive))):
        before = now
        _drop_unreachable(alive)
        _drop_overfull(pruning, homes)
        if no_worse_than is not None:
            _drop_too_slow(pruning, no_worse_than)
    arcs = tuple([(int(a), int(b)) for a, b in np.argwhere(layer)] for layer in alive)
    ends = [{0}, *({b for _, b in layer} for layer in arcs)]
    return ChunkGraph(layers, tuple(sorted(layer) for layer in ends), arcs)


def windows_within(
    tables: Tables, no_worse_than: int, *, sends: IntArray | None = None
) -> list[tuple[int, int]] | None:
    """Least and largest grid index of every boundary over the plans no worse than a known one.

    Parameters
    ----------
    tables, no_worse_than, sends
        As for `chunk_graph`.

    Returns
    -------
    list of (int, int) or None
        For boundaries 0 .. M; None if no path is left, or if the graph is too large to be worth it.
    """
    layers = max(tables.counts, default=0)
    if layers == 0 or layers * (tables.steps + 1) ** 2 > MOST_ARCS:
        return None
    graph = chunk_graph(tables, no_worse_than=no_worse_than, sends=sends)
    return None if graph.empty else [(layer[0], layer[-1]) for layer in graph.nodes]


def least_latency(tables: Tables, at_most: int) -> int:
    """Find a lower bound on the lockstep latency of every feasible plan: the least the graph allows.

    Parameters
    ----------
    tables : Tables
    at_most : int
        Ticks; nothing is looked for beyond it, so if no plan is that fast, the answer is at most
        one more.

    Returns
    -------
    int
        Ticks.  The graph of all plans faster than this is empty.
    """
    excluded, allowed = -1, at_most + 1
    while allowed - excluded > max(1, excluded // PRECISION):
        middle = (excluded + allowed) // 2
        if chunk_graph(tables, no_worse_than=middle).empty:
            excluded = middle
        else:
            allowed = middle
    return excluded + 1


def _reserve_fits(tables: Tables) -> npt.NDArray[np.bool_]:
    """Whether every memory can hold the reserve of a chunk of length ``[tail, k]``, and the prefix."""
    fits = np.zeros((2, tables.steps + 1), dtype=np.bool_)
    for tail, k in np.ndindex(fits.shape):
        room = free_bytes(tables, int(tables.lengths[tail, k])) - tables.prefix_bytes
        fits[tail, k] = bool((room >= 0).all())
    return fits


def _drop_unreachable(alive: npt.NDArray[np.bool_]) -> None:
    """Keep the arcs on paths from (0, 0) to (M, G)."""
    layers, points = alive.shape[:2]
    reached = np.zeros(points, dtype=np.bool_)
    reached[0] = True
    for j in range(layers):
        alive[j] &= reached[:, None]
        reached = alive[j].any(axis=0)
    needed = np.zeros(points, dtype=np.bool_)
    needed[-1] = True
    for j in reversed(range(layers)):
        alive[j] &= needed[None, :]
        needed = alive[j].any(axis=1)


def _drop_overfull(pruning: _Pruning, homes: bool) -> None:
    """Drop the arcs into boundaries that overfill a slot even if all other boundaries are least.

    Slot t holds the pages before p_{t-i+1} of every stage i.  Given p_j = g, later boundaries are
    at least g, and all are at least their least reachable value.
    """
    tables, alive = pruning.tables, pruning.alive
    layers, points = alive.shape[:2]
    if not alive.any(axis=(1, 2)).all():
        return
    least = np.array([0, *(int(np.flatnonzero(layer.any(axis=0))[0]) for layer in alive)])
    stages = np.arange(tables.stages)
    shortest = int(tables.lengths[tables.length_allowed].min())
    pooled = pooled_bytes(tables, shortest)
    single = free_bytes(tables, shortest)[: tables.stages]
    grid = np.arange(points)
    for j in range(1, layers + 1):
        # Boundary j is p_{t-i+1} for stage i = t - j + 1, in each of N slots.
        for t in range(j - 1, j - 1 + tables.stages):
            there = (stages <= t) & (t <= stages + layers - 1)
            index = np.clip(t - stages + 1, 0, layers)
            floor = np.where(
                index[:, None] >= j, np.maximum(least[index][:, None], grid), least[index][:, None]
            )
            held = np.where(there[:, None], tables.page_bytes[:, None] * tables.pages[floor], 0)
            over: IntArray = held.sum(axis=0) - pooled if homes else np.max(held - single[:, None], axis=0)
            alive[j - 1] &= over[None, :] <= 0


def _drop_too_slow(pruning: _Pruning, limit: int) -> None:
    """Drop the arcs through which every path takes longer than the limit.

    In slots 0..j-1 stage 0 runs the chunks before j, in slots j..j+N-1 chunk j passes all stages,
    and after that the last stage runs the chunks after j; the sum of these is a lower bound.  Chunk j
    enters stage 0 no earlier than its tokens exist.
    """
    alive = pruning.alive
    layers, points = alive.shape[:2]
    exist = pruning.tables.available
    exist = np.zeros(points, dtype=np.int64) if exist is None else exist
    before = np.full((layers + 1, points), FAR)
    before[0, 0] = 0
    after = np.full((layers + 1, points), FAR)
    after[layers, -1] = 0
    for j in range(layers):
        ways = np.where(alive[j], np.maximum(before[j][:, None], exist) + pruning.first, FAR)
        before[j + 1] = np.minimum(ways.min(axis=0), FAR)
    for j in reversed(range(layers)):
        ways = np.where(alive[j], pruning.last + after[j + 1][None, :], FAR)
        after[j] = np.minimum(ways.min(axis=1), FAR)
    for j in range(layers):
        entered = np.maximum(before[j][:, None], exist)
        alive[j] &= entered + pruning.through + after[j + 1][None, :] <= limit
