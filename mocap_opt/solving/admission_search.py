"""What a search for the most weight that leaves in time knows so far, and how it searches."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np

from mocap_opt.replay.evaluation import Execution
from mocap_opt.replay.pipelines import AssessedAssignment
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.search.admission_moves import Accepted, accept, exchanged
from mocap_opt.search.admission_rules import RULES
from mocap_opt.search.assignment_enumeration import enumerable, most_weight
from mocap_opt.search.pipeline_clock import PipelineClock
from mocap_opt.search.pipeline_moves import Lists
from mocap_opt.search.stream_candidate import Pricer
from mocap_opt.search.stream_enumeration import UnfinishedError
from mocap_opt.solving.incumbent import Progress
from mocap_opt.solving.pipelines_planner import EXACT_SHARE, REALISED, clocks, realised
from mocap_opt.solving.pipelines_search import PipelinesSearch, Rank

REPAIRS = 4
"""Times that the replays may say who is late, and the clock hear of it, before the next trial."""

TRIED = 4
"""Common longest chunks of a family, the best by what is accepted at first, that are improved."""


@dataclass(eq=False)
class AdmissionSearch(PipelinesSearch):
    """Looks for the most weight that leaves in time; internally, for the least that does not."""

    all_run: ClassVar[bool] = False

    @property
    def total(self) -> int:
        """The weight of all requests."""
        return sum(request.weight for request in self.requests)

    @property
    def dues(self) -> list[int]:
        """When each must have left, ticks."""
        return [due_of(n, request.due) for n, request in enumerate(self.requests)]

    def in_time(self, found: AssessedAssignment, execution: Execution) -> set[int]:
        """Requests that leave by when they are due.

        Parameters
        ----------
        found : AssessedAssignment
        execution : Execution
        """
        dues = self.dues
        return {r for r, end in found.completions(execution).items() if end <= dues[r]}

    def cost(self, found: AssessedAssignment, execution: Execution) -> Fraction:
        """The weight that is rejected or late.

        Parameters
        ----------
        found : AssessedAssignment
        execution : Execution
        """
        weight = sum(self.requests[r].weight for r in self.in_time(found, execution))
        return Fraction(self.total - weight)

    def rank(self, found: AssessedAssignment) -> Rank:
        """By the better execution; of equal ones the fewer that run for nothing."""
        return min(
            (self.cost(found, each), Fraction(len(found.assignment) - len(self.in_time(found, each))))
            for each in Execution
        )

    @property
    def current_gap(self) -> float | None:
        """(most that is possible - accepted) / most that is possible."""
        value, headline = self.value, self.headline
        if value is None or headline is None:
            return None
        most = self.total - headline.ticks
        return float((most - (self.total - value)) / most) if most else 0.0

    def tell(self, source: str) -> None:
        """Pass the present state on to the callback, which knows of times only: in words."""
        if self.callback is None:
            return
        value, headline, said = self.value, self.headline, ""
        if value is not None:
            said = f"{self.total - int(value)} of {self.total} in time"
        if headline is not None:
            said += f", at most {self.total - headline.ticks}"
        doing = f"{self.doing or source}: {said.removeprefix(', ')}" if said else self.doing
        self.callback(Progress(self.deadline.elapsed_s, None, None, self.current_gap, source, doing))


def due_of(number: int, due: int | None) -> int:
    """When a request must have left.

    Parameters
    ----------
    number : int
        For the message.
    due : int or None

    Raises
    ------
    ValueError
        If that is not said.
    """
    if due is None:
        raise ValueError(f"request {number} has no time by which it is due")
    return due


def plan_admission(search: AdmissionSearch, *, seed: int = 0) -> None:
    """Look for the most weight that leaves in time.

    Few requests are solved exactly in lockstep.  Otherwise, and besides, requests are accepted in several
    orders and exchanged by the clock, placed and replayed.

    Parameters
    ----------
    search : AdmissionSearch
        Takes what is found.
    seed : int
        For orders tried.
    """
    search.offer([None] * search.pipelines, "nothing accepted")
    if enumerable(search.requests, search.order_given):
        search.begin("all schedules of all subsets")
        try:
            late = search.deadline.share(EXACT_SHARE)
            found = most_weight(
                search.requests, search.pipelines, search.order_given, search.fingerprint, late
            )
            search.offer(found.pipelines, "all schedules of all subsets")
        except UnfinishedError as error:
            search.notes.append(f"not all schedules were gone through: {error}")
    rng = np.random.default_rng(seed)
    pricer = Pricer(search.requests, search.fingerprint)
    for tried in clocks(search):
        if search.done():
            return
        search.begin("requests accepted one after the other")
        _accepted(search, pricer, tried, rng)


def _accepted(
    search: AdmissionSearch, pricer: Pricer, tried: list[PipelineClock], rng: np.random.Generator
) -> None:
    """Accept by several orders for every clock, improve the best, and let the replays judge them."""
    starts: list[tuple[int, int, Accepted]] = []
    late = search.share(0.5)
    for n, clock in enumerate(tried):
        for priority in _priorities(search, clock):
            found = accept(clock, search.dues, search.pipelines, search.order_given, priority, late)
            starts.append((-_weight(search, found.lists), n, found))
        if late():
            break
    starts.sort(key=lambda each: each[:2])
    chosen = {n: found for _, n, found in reversed(starts)}
    for n in sorted(chosen, key=lambda n: (-_weight(search, chosen[n].lists), n))[:TRIED]:
        if search.done():
            return
        exchanged(chosen[n], search.share(0.5))
        _judged(search, pricer, chosen[n])


def _priorities(search: AdmissionSearch, clock: PipelineClock) -> list[list[int]]:
    """Orders in which requests are asked: most weight for the work, first due, first released."""
    requests, dues = search.requests, search.dues
    numbers = range(len(requests))
    return [
        sorted(numbers, key=lambda r: (clock.work(r) / requests[r].weight, dues[r], r)),
        sorted(numbers, key=lambda r: (dues[r], r)),
        sorted(numbers, key=lambda r: (requests[r].release, r)),
    ]


def _judged(search: AdmissionSearch, pricer: Pricer, found: Accepted) -> None:
    """Place and replay; who is late by the replays is due earlier by the clock, and all is tried again."""
    dues = list(search.dues)
    for _ in range(REPAIRS):
        streams = realised(pricer, found.lists, found.clock.cuts)
        if streams is None:
            return
        search.offer(streams, "accepted and exchanged")
        late = _late(search, found.lists, streams)
        if not late or search.done():
            return
        for number, ticks in late.items():
            dues[number] -= ticks
        lists = [[r for r in order if r not in late] for order in found.lists]
        found = Accepted(found.clock, dues, search.order_given, lists)
        streams = realised(pricer, found.lists, found.clock.cuts)
        if streams is not None:
            search.offer(streams, "late ones left out")
        exchanged(found, search.share(0.5))


def _late(search: AdmissionSearch, lists: Lists, streams: list[Schedule | None]) -> dict[int, int]:
    """Requests that are late in the better replay, and by how much, rounded up."""
    found = search.assessed(streams)
    execution = min(Execution, key=lambda each: search.cost(found, each))
    dues = search.dues
    return {
        r: -int(-(end - dues[r]) // 1) for r, end in found.completions(execution).items() if end > dues[r]
    }


def _weight(search: AdmissionSearch, lists: Lists) -> int:
    return sum(search.requests[r].weight for order in lists for r in order)


def _kept(search: AdmissionSearch, clock: PipelineClock, lists: Lists) -> int:
    """The weight that leaves in time by the clock."""
    dues = search.dues
    return sum(
        search.requests[r].weight
        for order in lists
        for r, end in zip(order, clock.ends(order), strict=True)
        if end <= dues[r]
    )


def plan_by_rejection(search: AdmissionSearch, name: str) -> None:
    """Run a rule of `mocap_opt.search.admission_rules` with the common longest chunk that suits it best.

    Parameters
    ----------
    search : AdmissionSearch
        Takes what is found.
    name : str
    """
    arrivals = sorted(range(len(search.requests)), key=lambda r: (search.requests[r].release, r))
    if search.order_given:
        arrivals.sort()
    pricer = Pricer(search.requests, search.fingerprint)
    for tried in clocks(search):
        ruled = [(RULES[name](clock, search.dues, search.pipelines, arrivals), clock) for clock in tried]
        ruled.sort(key=lambda each: -_kept(search, each[1], each[0]))
        for lists, clock in ruled[:REALISED]:
            streams = realised(pricer, lists, clock.cuts)
            if streams is not None:
                search.offer(streams, name)
            if search.deadline.expired and search.best is not None:
                return
        if search.best is not None:
            return
