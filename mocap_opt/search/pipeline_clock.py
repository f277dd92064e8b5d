"""When a pipeline is done with requests one after the other, homes away and waits for memory left out.

A request cut into given chunks takes a pipeline from one state (when its stages are free, and when they
started the last chunks) to the next: a linear map in (max, +), kept as a matrix of longest paths.  With all
KV at home and no wait for room that is the event-driven run (formulations/replay.md); searches rank by it and
judge what they find by the replays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.schedule.requests import Request
from mocap_opt.tables.cost_tables import Tables

NEVER = -(2**61)
"""No path; sums with it stay below any time."""

DEEPEST = 4
"""Queues that are deeper count as unbounded."""


def kept_starts(tables: Tables) -> int:
    """How many last starts of a stage matter: the depth of the queues, none where it is unbounded."""
    depth = tables.queue_depth
    return 0 if depth is None or depth > DEEPEST else depth


def passage(tables: Tables, indices: IntArray) -> IntArray:
    """Longest paths through the chunks of a request, int64[state, state + 1], ticks.

    A state is when each stage is free, then, by stage, its last starts, the latest first.  Entry (i, k) is
    the least time from the k-th of the state before to the i-th of that after; the last column begins at the
    request's release.  Stage i starts chunk j once it is free, the chunk has arrived, and stage i + 1 has
    started chunk j - Q.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of its boundaries.
    """
    stages, depth, starts, ends = tables.stages, kept_starts(tables), indices[:-1], indices[1:]
    each = np.arange(stages)[:, None]
    tau = tables.tau(each, starts[None, :], ends[None, :])
    send = tables.send_time(each[:-1], starts[None, :], ends[None, :])
    size = stages * (1 + depth)
    state = np.full((size, size + 1), NEVER, dtype=np.int64)
    np.fill_diagonal(state, 0)
    free, begun = list(state[:stages]), [list(state[stages + i * depth :][:depth]) for i in range(stages)]
    released = np.full(size + 1, NEVER, dtype=np.int64)
    released[size] = 0
    for j in range(tau.shape[1]):
        arrived = released
        for i in range(stages):
            start = np.maximum(free[i], arrived)
            if depth and i + 1 < stages:
                start = np.maximum(start, begun[i + 1][-1])
            free[i] = start + tau[i, j]
            if depth:
                begun[i] = [start, *begun[i][:-1]]
            arrived = free[i] + (send[i, j] if i + 1 < stages else 0)
    return np.array([*free, *(row for rows in begun for row in rows)], dtype=np.int64)


@dataclass(eq=False)
class PipelineClock:
    """Runs requests, each cut one way at a time, and remembers their passages.

    Attributes
    ----------
    requests : sequence of Request
    cuts : list of int64[chunks + 1]
        How each is cut.
    """

    requests: Sequence[Request]
    cuts: list[IntArray]
    _known: dict[tuple[int, bytes], IntArray] = field(default_factory=dict)

    def cut_like(self, cuts: Sequence[IntArray]) -> PipelineClock:
        """The same requests cut otherwise; passages stay known.

        Parameters
        ----------
        cuts : sequence of int64[chunks + 1]
        """
        return PipelineClock(self.requests, list(cuts), self._known)

    @property
    def idle(self) -> IntArray:
        """A pipeline that never worked, int64[state], ticks."""
        tables = self.requests[0].tables
        return np.zeros(tables.stages * (1 + kept_starts(tables)), dtype=np.int64)

    def left(self, state: IntArray) -> int:
        """When the last request of a state has left, ticks."""
        return int(state[self.requests[0].tables.stages - 1])

    def passage_of(self, number: int) -> IntArray:
        """Longest paths of one request as it is cut; see `passage`."""
        request, cut = self.requests[number], self.cuts[number]
        key = id(request.tables), cut.tobytes()
        if key not in self._known:
            self._known[key] = passage(request.tables, cut)
        return self._known[key]

    def after(self, state: IntArray, number: int) -> IntArray:
        """The state after one more request, int64[state], ticks; see `passage`.

        Parameters
        ----------
        state : int64[state], ticks
            The one before.
        number : int
            The request.
        """
        paths = self.passage_of(number)
        ends = (paths[:, :-1] + state).max(axis=1)
        out: IntArray = np.maximum(ends, paths[:, -1] + self.requests[number].release)
        return out

    def ends(self, order: Iterable[int]) -> list[int]:
        """When each request of a pipeline has left, ticks.

        Parameters
        ----------
        order : iterable of int
        """
        state, found = self.idle, []
        for number in order:
            state = self.after(state, number)
            found.append(self.left(state))
        return found

    def end(self, order: Sequence[int]) -> int:
        """When a pipeline is done, ticks; 0 without requests.

        Parameters
        ----------
        order : sequence of int
        """
        return self.ends(order)[-1] if order else 0

    def work(self, number: int) -> int:
        """Ticks of the stage that a request keeps longest."""
        stages = self.requests[number].tables.stages
        return int(self.passage_of(number).diagonal()[:stages].max())
