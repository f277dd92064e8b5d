"""Jobs on one machine: the least that any schedule of them comes to."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import numpy as np

from mocap_opt.flow_shop.recursion import machine_ends

Job = tuple[int, int, int]
"""When a job can start, its work, and what follows after its end until it is delivered, ticks."""


def ends_in_order(jobs: Sequence[Job]) -> list[int]:
    """Deliveries of jobs run in order, ticks.

    Parameters
    ----------
    jobs : sequence of Job
    """
    release, work, tail = np.array(jobs, dtype=np.int64).T
    delivered: list[int] = (machine_ends(release, work) + tail).tolist()
    return delivered


def least_latest_delivery(jobs: Sequence[Job]) -> int:
    """Least latest delivery with preemption, ticks: always run the longest tail (Jackson's rule).

    Tails may be negative, as long as every job is delivered at 0 or later.

    Parameters
    ----------
    jobs : sequence of Job
    """
    latest = 0

    def _at_end(now: int, job: Job) -> None:
        nonlocal latest
        latest = max(latest, now + job[2])

    _preemptive(jobs, lambda job, left: -job[2], _at_end)
    return latest


def least_sum_of_ends(jobs: Sequence[Job]) -> int:
    """Least sum of the ends, before any tail, with preemption, ticks: shortest remaining time first.

    Parameters
    ----------
    jobs : sequence of Job
    """
    total = 0

    def _at_end(now: int, job: Job) -> None:
        nonlocal total
        total += now

    _preemptive(jobs, lambda job, left: left, _at_end)
    return total


def _preemptive(
    jobs: Sequence[Job], priority: Callable[[Job, int], int], ended: Callable[[int, Job], None]
) -> None:
    """Run the released job of least priority, which may depend on what is left of it; tell of each end."""
    pending = sorted(jobs)
    ready: list[tuple[int, int, Job]] = []
    now = at = 0
    while ready or at < len(pending):
        if not ready:
            now = max(now, pending[at][0])
        while at < len(pending) and pending[at][0] <= now:
            heapq.heappush(ready, (priority(pending[at], pending[at][1]), pending[at][1], pending[at]))
            at += 1
        _, left, job = heapq.heappop(ready)
        until = pending[at][0] if at < len(pending) else now + left
        done = min(left, until - now)
        now += done
        if done < left:
            heapq.heappush(ready, (priority(job, left - done), left - done, job))
        else:
            ended(now, job)
