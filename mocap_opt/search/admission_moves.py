"""Requests accepted one after the other, so that all of them leave in time by the clock; exchanges."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from mocap_opt.arrays import IntArray
from mocap_opt.search.pipeline_clock import PipelineClock
from mocap_opt.search.pipeline_moves import Lists
from mocap_opt.stopping import AskedToStop


@dataclass(eq=False)
class Accepted:
    """Requests that all leave in time by the clock.

    Attributes
    ----------
    clock : PipelineClock
    dues : sequence of int, ticks
        When each request must have left.
    order_given : bool
        Whether those of a pipeline run in the order of the instance.
    lists : list of list of int
        Of every pipeline the requests it runs, in order.
    """

    clock: PipelineClock
    dues: Sequence[int]
    order_given: bool
    lists: Lists
    _free: list[list[IntArray]] = field(init=False)

    def __post_init__(self) -> None:
        """Run what is accepted so far."""
        self._free = [self._run(order) for order in self.lists]

    @property
    def rejected(self) -> list[int]:
        """The requests that run nowhere."""
        running = {r for order in self.lists for r in order}
        return [r for r in range(len(self.dues)) if r not in running]

    def insert(self, number: int) -> bool:
        """Accept one more where it delays the others least, if all leave in time; return whether they do."""
        best: tuple[int, int, int] | None = None
        for pipeline, order in enumerate(self.lists):
            for place in self._places(order, number):
                delay = self._delay(pipeline, order, place, number)
                if delay is not None and (best is None or (delay, pipeline, place) < best):
                    best = delay, pipeline, place
        if best is None:
            return False
        _, pipeline, place = best
        self.lists[pipeline].insert(place, number)
        self._free[pipeline] = self._run(self.lists[pipeline], self._free[pipeline][: place + 1])
        return True

    def exchange(self, number: int, other: int, pipeline: int) -> bool:
        """Accept a request in the place of another, if all leave in time; return whether they do.

        Parameters
        ----------
        number, other : int
            The one that comes, and the one that goes.
        pipeline : int
            Of the one that goes.
        """
        order = [r for r in self.lists[pipeline] if r != other]
        at = self.lists[pipeline].index(other)
        kept = self._free[pipeline]
        self._free[pipeline] = self._run(order, kept[: at + 1])
        for place in self._places(order, number):
            if self._delay(pipeline, order, place, number) is not None:
                order.insert(place, number)
                self.lists[pipeline] = order
                self._free[pipeline] = self._run(order, self._free[pipeline][: place + 1])
                return True
        self._free[pipeline] = kept
        return False

    def _places(self, order: Sequence[int], number: int) -> Iterator[int]:
        """Where a request may be put in: by its number, or by when it is due and by its release."""
        if self.order_given:
            yield bisect_left(order, number)
            return
        requests = self.clock.requests
        by_due = next((n for n, r in enumerate(order) if self.dues[r] > self.dues[number]), len(order))
        release = requests[number].release
        by_release = next((n for n, r in enumerate(order) if requests[r].release > release), len(order))
        yield from dict.fromkeys((by_due, by_release, len(order)))

    def _delay(self, pipeline: int, order: Sequence[int], place: int, number: int) -> int | None:
        """Ticks by which the pipeline is done later; None if one more or one behind it would be late."""
        before = self._free[pipeline]
        free = self.clock.after(before[place], number)
        if self.clock.left(free) > self.dues[number]:
            return None
        for n in range(place, len(order)):
            free = self.clock.after(free, order[n])
            if self.clock.left(free) > self.dues[order[n]]:
                return None
            if (free == before[n + 1]).all():
                return 0
        return self.clock.left(free) - self.clock.left(before[-1])

    def _run(self, order: Sequence[int], known: Sequence[IntArray] = ()) -> list[IntArray]:
        """When the stages are free before each request and at the end."""
        free = list(known) or [self.clock.idle]
        for number in order[len(free) - 1 :]:
            free.append(self.clock.after(free[-1], number))
        return free


def accept(
    clock: PipelineClock,
    dues: Sequence[int],
    pipelines: int,
    order_given: bool,
    priority: Iterable[int],
    asked_to_stop: AskedToStop,
) -> Accepted:
    """Accept requests one after the other, each if it and all before can leave in time.

    Parameters
    ----------
    clock : PipelineClock
    dues : sequence of int, ticks
    pipelines : int
    order_given : bool
    priority : iterable of int
        Requests, in the order in which they are asked.
    asked_to_stop : callable
    """
    found = Accepted(clock, dues, order_given, [[] for _ in range(pipelines)])
    for number in priority:
        if asked_to_stop():
            break
        found.insert(number)
    return found


def exchanged(found: Accepted, asked_to_stop: AskedToStop) -> None:
    """Exchange accepted requests for rejected ones of more weight or less work, then accept what fits.

    Goes on until nothing changes.

    Parameters
    ----------
    found : Accepted
        Changed in place.
    asked_to_stop : callable
    """
    requests, clock = found.clock.requests, found.clock

    def worth(number: int) -> tuple[int, int]:
        return requests[number].weight, -clock.work(number)

    changed = True
    while changed and not asked_to_stop():
        changed = False
        for number in sorted(found.rejected, key=worth, reverse=True):
            if asked_to_stop():
                return
            changed |= found.insert(number) or _exchange(found, number, worth(number))


def _exchange(found: Accepted, number: int, worth: tuple[int, int]) -> bool:
    """Put one rejected request in the place of one that is worth less; whether that was possible."""
    requests, clock = found.clock.requests, found.clock
    release, due = requests[number].release, found.dues[number]
    for pipeline, order in enumerate(found.lists):
        less = [
            r
            for r in order
            if (requests[r].weight, -clock.work(r)) < worth
            and requests[r].release <= due
            and found.dues[r] >= release
        ]
        for other in sorted(less, key=lambda r: (requests[r].weight, -clock.work(r))):
            if found.exchange(number, other, pipeline):
                return True
    return False
