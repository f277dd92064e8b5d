"""Starts of chunks cell by cell, the plain reading of the recursion that heuristics compute at once."""

from __future__ import annotations

import numpy as np

from mocap_opt.arrays import IntArray


def starts_from(start: IntArray, work: IntArray, send: IntArray, depth: int | None) -> IntArray:
    """Least starts no earlier than given ones, ticks: raised until nothing changes.

    Parameters
    ----------
    start, work, send : int64[stage, chunk], ticks
        Earliest starts; how long chunks compute, and how long they travel to the next stage.
    depth : int or None
        Chunks that may wait in a queue; None: any number.
    """
    start = start.copy()
    stages, chunks = work.shape
    while True:
        before = start.copy()
        for i in range(stages):
            for j in range(chunks):
                if i:
                    start[i, j] = max(start[i, j], start[i - 1, j] + work[i - 1, j] + send[i - 1, j])
                if j:
                    start[i, j] = max(start[i, j], start[i, j - 1] + work[i, j - 1])
                if depth is not None and i + 1 < stages and j >= depth:
                    start[i, j] = max(start[i, j], start[i + 1, j - depth])
        if np.array_equal(before, start):
            return start
