"""Longest time of a chunk over the stages, by plain integer lookups.

Trial searches ask for single chunks thousands of times; lists and `bisect` answer in a microsecond
where an array call takes ten.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from mocap_opt.tables import IntArray, Tables


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
    profile = np.concatenate(parts, axis=1)
    kept: list[int] = []
    for i in np.argsort(-profile.sum(axis=1), kind="stable"):
        if not any(np.all(profile[k] >= profile[i]) for k in kept):
            kept.append(int(i))
    return sorted(kept)


class ChunkClock:
    """Times of chunks: the longest of tau + send over the stages.

    Parameters
    ----------
    tables : Tables

    Attributes
    ----------
    stages : list of int
        The stages that can be the slowest (see `leading_stages`).
    work : float
        Compute of the whole prompt summed over all stages, over the same of the slowest stage,
        minus 1: how often the longest chunk is paid beyond the sum of all chunks.  N - 1 if the
        stages are alike.
    """

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.steps = tables.steps
        self.stages = leading_stages(tables)
        self._rows = [self._lists(i) for i in self.stages]
        whole = tables.tau(np.arange(tables.stages), 0, tables.steps).astype(float)
        self.work = float(whole.sum() / max(whole.max(), 1.0)) - 1.0

    def _lists(self, i: int) -> tuple[list[int], ...]:
        t = self.tables
        fixed = t.length_cost[i] + t.send[i]
        return (
            t.phi[i].tolist(),
            t.memory_side[i].tolist(),
            t.prefix_cost[i].tolist(),
            *(t.full_block[i, tail].tolist() for tail in (0, 1)),
            *(fixed[tail].tolist() for tail in (0, 1)),
        )

    def time(self, start: int, end: int) -> int:
        """Longest of tau + send over the stages for the chunk between two grid indices, ticks."""
        tail, length, longest = int(end == self.steps), end - start, 0
        for phi, memory, prefix, *by_length in self._rows:
            compute = phi[end] - phi[start] + by_length[tail][length]
            slowest = compute if compute > memory[end] else memory[end]
            here: int = slowest + prefix[start] + by_length[2 + tail][length]
            if here > longest:
                longest = here
        return longest

    def remaining(self, end: int) -> int:
        """Least time any partition of the first `end` steps takes on the slowest stage, ticks."""
        return max(rows[0][end] - rows[0][0] for rows in self._rows)

    def least_start(self, end: int, limit: int, floor: int, ceiling: int) -> int | None:
        """Least start in [floor, ceiling] of a chunk that ends at `end` and takes at most `limit`.

        Times are taken to fall as the chunk gets shorter (a cost per token of prefix can break
        that; then the start found need not be the least).  None if even the start at `ceiling` is
        too early.
        """
        if self.time(floor, end) <= limit:
            return floor
        if self.time(ceiling, end) > limit:
            return None
        # Compute alone gives a start that is never too late; the rest of tau moves it a little.
        guess = max(bisect_left(r[0], r[0][end] - limit, floor, ceiling) for r in self._rows)
        bad, good, stride = max(guess - 1, floor), ceiling, 1
        while bad + stride < ceiling:
            if self.time(bad + stride, end) <= limit:
                good = bad + stride
                break
            bad += stride
            stride *= 2
        while good - bad > 1:
            middle = (bad + good) // 2
            if self.time(middle, end) <= limit:
                good = middle
            else:
                bad = middle
        return good

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


def sums(tables: Tables, indices: IntArray) -> int:
    """Sum over the chunks of the longest tau over the stages, ticks."""
    stage = np.arange(tables.stages)[:, None]
    return int(tables.tau(stage, indices[None, :-1], indices[None, 1:]).max(axis=0).sum())
