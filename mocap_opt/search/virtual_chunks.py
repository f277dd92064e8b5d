"""Chunks for virtual stages: known partitions, then boundaries moved (formulations/virtual_stages.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.baselines.engine_chunks import Setting
from mocap_opt.baselines.fixed_size import fixed_size
from mocap_opt.baselines.uniform import equal_chunks
from mocap_opt.chunking.bottleneck_partition import min_max_partition
from mocap_opt.chunking.longest_chunk_time import BottleneckTimes
from mocap_opt.flow_shop.chunk_lengths import LengthLimits, snap
from mocap_opt.flow_shop.virtual_pipeline import VirtualPipeline
from mocap_opt.schedule.virtual_plan import virtual_violations
from mocap_opt.search.virtual_orders import Found, best_orders
from mocap_opt.stopping import AskedToStop
from mocap_opt.tables.cost_tables import Tables

BLENDS = (0.5, 0.75, 1.25)
"""How far from equal lengths towards equal times boundaries are tried, beside 0 and 1."""

RULES_KEPT = 3
"""Rules of orders that moves of boundaries are judged by: those that were best most often."""


def fixed_sizes(tables: Tables) -> dict[int, IntArray]:
    """Chunks of one size, by size, tokens: every size that limits on lengths and counts allow."""
    found = {}
    for steps in range(1, tables.steps + 1):
        indices = fixed_size(tables, Setting(steps * tables.quantum))
        if indices is None or indices.size - 1 not in tables.counts:
            continue
        if (np.diff(indices)[:-1] == steps).all():
            found[steps * tables.quantum] = indices
    return found


def partitions_to_try(tables: Tables) -> Iterator[IntArray]:
    """Chunks of equal lengths, of equal times and blends of both, of every count, int64[chunk + 1] each.

    Parameters
    ----------
    tables : Tables
    """
    clock, limits = BottleneckTimes(tables), LengthLimits.of(tables)
    for count in limits.counts(tables):
        equal = equal_chunks(tables, count)
        if equal is not None:
            yield equal
        trial = min_max_partition(clock, limits, count, exact=True)
        if trial is None or trial.indices is None:
            continue
        yield trial.indices
        even = np.arange(count + 1) * (tables.tokens / count)
        times = tables.grid[trial.indices]
        for blend in BLENDS:
            mixed = snap(tables, limits, np.sort(even + blend * (times - even)))
            if mixed is not None:
                yield mixed


class ChunkSearch:
    """Keeps the best plan, and judges partitions that could beat it.

    Parameters
    ----------
    pipeline : VirtualPipeline
    seed : int

    Attributes
    ----------
    best : Found or None
    judged : int
        Partitions for which orders were made.
    short : str or None
        What memory a plan lacked, where one did.
    """

    def __init__(self, pipeline: VirtualPipeline, seed: int = 0) -> None:
        self.pipeline = pipeline
        self.limits = LengthLimits.of(pipeline.tables)
        self.best: Found | None = None
        self.judged = 0
        self.short: str | None = None
        self._random = np.random.default_rng(seed)
        self._seen: set[bytes] = set()
        self._wins: Counter[str] = Counter()

    def judge(self, indices: IntArray, only: Iterable[str] | None = None) -> bool:
        """Make orders for a partition unless it cannot beat the best; whether it does.

        Parameters
        ----------
        indices : int64[chunk + 1]
        only : iterable of str, optional
            The rules to ask; by default all.
        """
        key = indices.tobytes()
        if key in self._seen:
            return False
        self._seen.add(key)
        if self.best is not None and quick_bound(self.pipeline, indices) >= self.best.latency:
            return False
        self.judged += 1
        found = best_orders(self.pipeline, indices, only)
        self._wins[found.rule] += 1
        if self.best is not None and found.latency >= self.best.latency:
            return False
        return self.offer(found)

    def offer(self, found: Found) -> bool:
        """Take a plan if it is better than the best; whether it is feasible.

        Parameters
        ----------
        found : Found
        """
        broken = virtual_violations(self.pipeline, found.plan)
        if broken:
            self.short = broken[0]
            return False
        if self.best is None or found.latency < self.best.latency:
            self.best = found
        return True

    def try_all(self, partitions: Iterable[IntArray], asked_to_stop: AskedToStop) -> None:
        """Judge partitions, those first that could be fastest.

        Parameters
        ----------
        partitions : iterable of int64[chunk + 1]
        asked_to_stop : callable
            The first one is judged whatever it says.
        """
        ranked = sorted(((quick_bound(self.pipeline, each), n, each) for n, each in enumerate(partitions)))
        for n, (_, _, indices) in enumerate(ranked):
            if n and asked_to_stop():
                return
            self.judge(indices)

    def improve(self, asked_to_stop: AskedToStop) -> None:
        """Move boundaries of the best plan in smaller and smaller steps until none helps.

        Parameters
        ----------
        asked_to_stop : callable
        """
        if self.best is None:
            return
        kept = [rule for rule, _ in self._wins.most_common(RULES_KEPT)]
        longest = int(np.diff(self.best.plan.grid_indices(self.pipeline)).max())
        step = max(1, longest // 4)
        while step:
            better = False
            indices = self.best.plan.grid_indices(self.pipeline)
            for moved in self._moves(indices, step):
                if asked_to_stop():
                    return
                if self.judge(moved, kept):
                    better = True
                    break
            step = step if better else step // 2

    def _moves(self, indices: IntArray, step: int) -> Iterator[IntArray]:
        """Partitions within the limits that differ by a boundary, or by all boundaries up to one."""
        inner = self._random.permutation(np.arange(1, indices.size - 1))
        for j in inner.tolist():
            for sign in (step, -step):
                for part in (slice(j, j + 1), slice(1, j + 1), slice(j, -1)):
                    moved = indices.copy()
                    moved[part] += sign
                    if self._allowed(moved):
                        yield moved
        for j in inner.tolist():
            fewer = np.delete(indices, j)
            if self._allowed(fewer):
                yield fewer
        for j in range(indices.size - 1):
            more = np.insert(indices, j + 1, (indices[j] + indices[j + 1]) // 2)
            if self._allowed(more):
                yield more

    def _allowed(self, indices: IntArray) -> bool:
        tables = self.pipeline.tables
        lengths = np.diff(indices)
        if indices.size - 1 not in tables.counts or lengths.min() < 1:
            return False
        tail = np.zeros(lengths.size, dtype=np.int64)
        tail[-1] = 1
        return bool(tables.length_allowed[tail, lengths].all())


def quick_bound(pipeline: VirtualPipeline, indices: IntArray) -> int:
    """Bound every order of given chunks by each device's work, and the ways to it and from it, ticks.

    Parameters
    ----------
    pipeline : VirtualPipeline
    indices : int64[chunk + 1]
        Boundaries as grid indices.
    """
    work, send = pipeline.times(indices)
    come = np.concatenate([[0], np.cumsum(work[:, 0] + send[:, 0])])
    go = np.concatenate([np.cumsum((work[:, -1] + send[:, -1])[::-1])[::-1], [0]])
    return max(
        int(come[hosted[0]] + work[list(hosted)].sum() + send[hosted[-1], -1] + go[hosted[-1] + 1])
        for hosted in pipeline.hosted
    )
