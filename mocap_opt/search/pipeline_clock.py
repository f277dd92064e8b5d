"""When a pipeline is done with requests one after the other, queues, homes and waits for memory left out.

A request cut into given chunks takes a pipeline from the times at which its stages are free to those at
which they are free again: a linear map in (max, +), kept as a matrix of longest paths.  With all KV at home,
no wait for room and unbounded queues that is the event-driven run (formulations/replay.md); searches rank by
it and judge what they find by the replays.
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


def passage(tables: Tables, indices: IntArray) -> IntArray:
    """Longest paths through the chunks of a request, int64[stage, stage + 1], ticks.

    Entry (i, k) is the least time from stage k being free to stage i being free again; the last column begins
    at the request's release.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of its boundaries.
    """
    stages, starts, ends = tables.stages, indices[:-1], indices[1:]
    each = np.arange(stages)[:, None]
    tau = tables.tau(each, starts[None, :], ends[None, :])
    send = tables.send_time(each[:-1], starts[None, :], ends[None, :])
    free = np.full((stages, stages + 1), NEVER, dtype=np.int64)
    free[each[:, 0], each[:, 0]] = 0
    released = np.full(stages + 1, NEVER, dtype=np.int64)
    released[stages] = 0
    for j in range(tau.shape[1]):
        arrived = released
        for i in range(stages):
            free[i] = np.maximum(free[i], arrived) + tau[i, j]
            arrived = free[i] + (send[i, j] if i + 1 < stages else 0)
    return free


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
        """A pipeline that never worked, int64[stage], ticks."""
        return np.zeros(self.requests[0].tables.stages, dtype=np.int64)

    def passage_of(self, number: int) -> IntArray:
        """Longest paths of one request as it is cut; see `passage`."""
        request, cut = self.requests[number], self.cuts[number]
        key = id(request.tables), cut.tobytes()
        if key not in self._known:
            self._known[key] = passage(request.tables, cut)
        return self._known[key]

    def after(self, free: IntArray, number: int) -> IntArray:
        """When the stages are free again after one more request, int64[stage], ticks.

        Parameters
        ----------
        free : int64[stage], ticks
            When they are before.
        number : int
            The request.
        """
        paths = self.passage_of(number)
        ends = (paths[:, :-1] + free).max(axis=1)
        out: IntArray = np.maximum(ends, paths[:, -1] + self.requests[number].release)
        return out

    def ends(self, order: Iterable[int]) -> list[int]:
        """When each request of a pipeline has left, ticks.

        Parameters
        ----------
        order : iterable of int
        """
        free, found = self.idle, []
        for number in order:
            free = self.after(free, number)
            found.append(int(free[-1]))
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
        paths = self.passage_of(number)
        return int(paths[:, :-1].diagonal().max())
