"""Longest time of a chunk over the stages, by plain integer lookups.

Trial searches ask for single chunks thousands of times; lists and `bisect` answer in a microsecond
where an array call takes ten.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TypeAlias

import numpy as np

from mocap_opt.memory_budget import require_memory
from mocap_opt.tables.cost_tables import Tables

FOREVER = 2**55
"""Ticks of a chunk that is not allowed: more than any plan takes, and no sum of them leaves 64 bits."""

Row: TypeAlias = tuple[
    list[int], list[int], list[int], tuple[list[int], list[int]], tuple[list[int], list[int]]
]
"""Phi, memory side, prefix cost, and by tail the full-block term and c + send, of one stage."""


def leading_stages(tables: Tables) -> list[int]:
    """Stages that can have the longest time of some chunk.

    A stage is left out if another is at least as slow in every part of tau and in the send, so
    that its time is never the longest.  With stages that differ only in speed one remains.
    """
    parts = [
        np.diff(tables.phi, axis=1),
        tables.full_block[:, :, 1:].reshape(tables.stages, -1),
        tables.memory_side[:, 1:],
        tables.prefix_cost,
        tables.length_cost[:, :, 1:].reshape(tables.stages, -1),
        tables.send[:, :, 1:].reshape(tables.stages, -1),
    ]
    if tables.excess is not None:
        parts.append(tables.excess.reshape(tables.stages, -1))
    profile = np.concatenate(parts, axis=1)
    kept: list[int] = []
    for i in np.argsort(-profile.sum(axis=1), kind="stable"):
        if not any(np.all(profile[k] >= profile[i]) for k in kept):
            kept.append(int(i))
    return sorted(kept)


class BottleneckTimes:
    """Times of chunks: the longest of tau + send over the stages.

    Parameters
    ----------
    tables : Tables

    Attributes
    ----------
    stages : list of int
        The stages that can be the slowest (see `leading_stages`).
    remaining : list of int
        Least time any partition of the first g steps takes on the slowest stage, ticks.
    work : float
        Compute of the whole prompt summed over all stages, over the same of the slowest stage,
        minus 1: how often the longest chunk is paid beyond the sum of all chunks.  N - 1 if the
        stages are alike.
    shorter_is_faster : bool
        Whether a chunk that starts later never takes longer.
    """

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.steps = tables.steps
        self.stages = leading_stages(tables)
        self._rows = [self._lists(i) for i in self.stages]
        self._only = self._rows[0] if len(self._rows) == 1 else None
        self.remaining: list[int] = (tables.phi - tables.phi[:, :1])[self.stages].max(axis=0).tolist()
        self.shorter_is_faster = _shorter_is_faster(tables, self.stages)
        listed = tables.excess is not None or tables.between_tokens is not None
        self._listed = _listed_times(tables) if listed else None
        whole = tables.tau(np.arange(tables.stages), 0, tables.steps).astype(float)
        self.work = float(whole.sum() / max(whole.max(), 1.0)) - 1.0

    def _lists(self, i: int) -> Row:
        t = self.tables
        fixed = t.length_cost[i] + t.send[i]
        blocks = t.full_block[i]
        return (
            t.phi[i].tolist(),
            t.memory_side[i].tolist(),
            t.prefix_cost[i].tolist(),
            (blocks[0].tolist(), blocks[1].tolist()),
            (fixed[0].tolist(), fixed[1].tolist()),
        )

    def time(self, start: int, end: int) -> int:
        """Longest of tau + send over the stages for the chunk between two grid indices, ticks.

        Parameters
        ----------
        start, end : int
            Grid indices, start < end.
        """
        if self._listed is not None:
            return self._listed[start][end]
        tail, length = end == self.steps, end - start
        if self._only is not None:
            phi, memory, prefix, blocks, fixed = self._only
            here = phi[end] - phi[start] + blocks[tail][length]
            if memory[end] > here:
                here = memory[end]
            return here + prefix[start] + fixed[tail][length]
        longest = 0
        for phi, memory, prefix, blocks, fixed in self._rows:
            slowest = phi[end] - phi[start] + blocks[tail][length]
            if memory[end] > slowest:
                slowest = memory[end]
            here = slowest + prefix[start] + fixed[tail][length]
            if here > longest:
                longest = here
        return longest

    def least_start(
        self, end: int, limit: int, floor: int, ceiling: int, near: int = 1
    ) -> tuple[int, int, int] | None:
        """Least start in [floor, ceiling] of a chunk that ends at `end` and takes at most `limit`.

        Times are taken to fall as the chunk gets shorter (a cost per token of prefix can break
        that; then the start found need not be the least).

        Parameters
        ----------
        near : int
            About the length to expect, grid steps: the closer, the fewer the lookups.

        Returns
        -------
        start, its time, time from one step before : int, or None if even the start at `ceiling` is too early
            The last is 0 if the start is at `floor`.
        """
        time = self.time
        if not self.shorter_is_faster:
            whole = time(floor, end)
            if whole <= limit:
                return floor, whole, 0
        tail = end == self.steps
        guess = floor
        for phi, _, _, blocks, fixed in self._rows:
            room = limit - fixed[tail][near] - blocks[tail][near]
            start = bisect_left(phi, phi[end] - room, floor, ceiling)
            if start > guess:
                guess = start
        here, stride = time(guess, end), 1
        if here <= limit:
            good, good_time = guess, here
            while True:
                if good == floor:
                    return floor, good_time, 0
                bad = max(good - stride, floor)
                bad_time = time(bad, end)
                if bad_time > limit:
                    break
                good, good_time, stride = bad, bad_time, 2 * stride
        else:
            bad, bad_time = guess, here
            while True:
                if bad == ceiling:
                    return None
                good = min(bad + stride, ceiling)
                good_time = time(good, end)
                if good_time <= limit:
                    break
                bad, bad_time, stride = good, good_time, 2 * stride
        while good - bad > 1:
            middle = (bad + good) // 2
            here = time(middle, end)
            if here <= limit:
                good, good_time = middle, here
            else:
                bad, bad_time = middle, here
        return good, good_time, bad_time

    def longest_within(self, limit: int) -> int:
        """Grid steps of the longest chunk of at most `limit` ticks of compute; 1 at least."""
        phi = self.tables.phi[self.stages]
        low, high = 1, self.steps
        while low < high:
            middle = (low + high + 1) // 2
            if int((phi[:, middle:] - phi[:, :-middle]).max(axis=0).min()) <= limit:
                low = middle
            else:
                high = middle - 1
        return low

    def least_sum(self, count: int) -> float:
        """Least sum of `count` chunk times on the slowest stage, ticks, if c is affine.

        Compute of the whole prompt plus c's intercept per chunk and its slope once.
        """
        t, most = self.tables, 0.0
        lengths = t.lengths[0]
        far = int(np.flatnonzero(t.length_allowed[0])[-1]) if t.length_allowed[0].any() else 0
        for i in self.stages:
            if far < 2:
                slope, intercept = 0.0, float(t.length_cost[i, 1, -1])
            else:
                near, away = float(t.length_cost[i, 0, 1]), float(t.length_cost[i, 0, far])
                slope = (away - near) / float(lengths[far] - lengths[1])
                intercept = near - slope * float(lengths[1])
            total = float(t.phi[i, -1] - t.phi[i, 0]) + slope * t.tokens + count * intercept
            most = max(most, total)
        # Each entry was rounded to a tick.
        return most - count - 1.0


def _shorter_is_faster(tables: Tables, stages: list[int]) -> bool:
    """Whether chunks that start later never take longer, by the tables; measured times are taken to be so."""
    lengthwise = [tables.full_block, tables.length_cost, tables.send] if tables.residual is None else []
    return bool(np.all(np.diff(tables.prefix_cost[stages], axis=1) <= 0)) and all(
        bool(np.all(np.diff(each[stages, :, 1:], axis=2) >= 0)) for each in lengthwise
    )


def _listed_times(tables: Tables) -> list[list[int]]:
    """Longest tau + send over the stages, by start and end: measured times are no sum of short tables.

    Chunks that take too long between tokens take for ever.
    """
    points = tables.steps + 1
    # Lists of numbers take 40 bytes an entry, the arrays they are made from as much again.
    require_memory("the list of chunk times", points**2, 80)
    start, end = np.triu_indices(points, 1)
    longest = np.zeros((points, points), dtype=np.int64)
    for i in range(tables.stages):
        times = tables.tau(i, start, end) + tables.send_time(i, start, end)
        longest[start, end] = np.maximum(longest[start, end], times)
    if tables.between_tokens is not None:
        slow = (
            ~tables.chunk_allowed(start, end)
            & tables.length_allowed[(end == tables.steps).astype(np.int64), end - start]
        )
        longest[start[slow], end[slow]] = FOREVER
    rows: list[list[int]] = longest.tolist()
    return rows
