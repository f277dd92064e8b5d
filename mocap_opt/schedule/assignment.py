"""Requests on several equal pipelines, each with a stream of its own; those that run nowhere are rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from mocap_opt.schedule.schedule import Schedule, ScheduledRequest
from mocap_opt.schedule.verify import Violation, schedule_violations


@dataclass(frozen=True)
class Assignment:
    """Which pipeline runs which requests, in which order and how.

    Attributes
    ----------
    pipelines : tuple of Schedule or None
        The stream of each; None: it has nothing to do.  Each begins its slots at 0.
    """

    pipelines: tuple[Schedule | None, ...]

    def __iter__(self) -> Iterator[tuple[int, ScheduledRequest]]:
        """Go through the requests that run, each with its pipeline."""
        for number, stream in enumerate(self.pipelines):
            for request in stream or ():
                yield number, request

    def __len__(self) -> int:
        """Return how many requests run."""
        return sum(1 for _ in self)

    @property
    def streams(self) -> list[Schedule]:
        """The streams of the pipelines that have something to do."""
        return [stream for stream in self.pipelines if stream is not None]

    @property
    def accepted(self) -> frozenset[int]:
        """The requests that run, by their number in the instance."""
        return frozenset(request.number for _, request in self)


def assignment_violations(
    assignment: Assignment, *, requests: int, pipelines: int, all_run: bool, order_given: bool
) -> list[Violation]:
    """Everything that makes an assignment infeasible; an empty list means feasible.

    Parameters
    ----------
    assignment : Assignment
    requests, pipelines : int
        Of the instance.
    all_run : bool
        Whether none may be rejected.
    order_given : bool
        Whether those of a pipeline must run in the order of the instance.
    """
    found = []
    if len(assignment.pipelines) != pipelines:
        message = f"{len(assignment.pipelines)} pipelines, but the instance has {pipelines}"
        found.append(Violation("pipelines", message))
    times = Counter(request.number for _, request in assignment)
    found += [
        Violation("pipelines", f"request {number} runs {count} times")
        for number, count in sorted(times.items())
        if count > 1
    ]
    missing = [number for number in range(requests) if number not in times] if all_run else []
    found += [Violation("pipelines", f"request {number} runs on no pipeline") for number in missing]
    for number, stream in enumerate(assignment.pipelines):
        if stream is None:
            continue
        if order_given and any(a > b for a, b in pairwise(stream.order)):
            message = f"pipeline {number}: its requests do not run in the order given"
            found.append(Violation("pipelines", message))
        for each in schedule_violations(stream):
            message = f"pipeline {number}: {each.message}"
            found.append(Violation(each.rule, message, each.memory, each.slot, each.bytes_short))
    return found
