"""Few requests on several pipelines, exactly in lockstep: every subset, and the best way to share them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from mocap_opt.replay.lockstep import LockstepReplay, run_lockstep
from mocap_opt.schedule.assignment import Assignment
from mocap_opt.schedule.requests import Request
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.search.stream_enumeration import MOST_SCHEDULES, schedules, solve_exactly
from mocap_opt.stopping import AskedToStop, never

MOST_REQUESTS = 10
"""Requests of which all subsets are looked at."""

Subset = frozenset[int]


def enumerable(requests: Sequence[Request], order_given: bool) -> bool:
    """Whether all schedules of all subsets of the requests are few enough to go through.

    Parameters
    ----------
    requests : sequence of Request
    order_given : bool
    """
    return len(requests) <= MOST_REQUESTS and all_schedules(requests, order_given) <= MOST_SCHEDULES


def all_schedules(requests: Sequence[Request], order_given: bool) -> int:
    """Count the schedules of all subsets, at most; no further than past `MOST_SCHEDULES`.

    Parameters
    ----------
    requests : sequence of Request
    order_given : bool
    """
    count = 0
    # The largest first: it alone is usually too much.
    for size in range(len(requests), 0, -1):
        for members in combinations(requests, size):
            count += schedules(members, order_given)
            if count > MOST_SCHEDULES:
                return count
    return count


def least_makespan(
    requests: Sequence[Request],
    pipelines: int,
    order_given: bool,
    fingerprint: str | None = None,
    asked_to_stop: AskedToStop = never,
) -> Assignment | None:
    """Find an assignment of least lockstep makespan; None proves that none is feasible.

    The best stream of every subset is found first; then, pipeline after pipeline, the best subset for it.

    Parameters
    ----------
    requests : sequence of Request
    pipelines : int
    order_given : bool
        Whether those of a pipeline run in the order of the instance.
    fingerprint : str, optional
        For the plans.
    asked_to_stop : callable

    Raises
    ------
    UnfinishedError
        If asked to stop before the end.
    """
    best: dict[Subset, Schedule] = {}
    ends: dict[Subset, int] = {frozenset(): 0}
    for members in _subsets(len(requests)):
        chosen = [requests[r] for r in members]
        found = solve_exactly(chosen, order_given, fingerprint, asked_to_stop)
        if found is not None:
            best[frozenset(members)] = renumbered(found, members)
            ends[frozenset(members)] = run_lockstep(found).latency
    shares = _least_largest(frozenset(range(len(requests))), ends, pipelines)
    if shares is None:
        return None
    return Assignment(tuple(best.get(share) for share in shares))


def most_weight(
    requests: Sequence[Request],
    pipelines: int,
    order_given: bool,
    fingerprint: str | None = None,
    asked_to_stop: AskedToStop = never,
) -> Assignment:
    """Find an assignment of the most weight whose requests all leave in time, in lockstep.

    It is the best where all KV fits at home; homes away are those of least makespan.

    Parameters
    ----------
    requests : sequence of Request
        Each with a time by which it is due.
    pipelines : int
    order_given : bool
    fingerprint : str, optional
    asked_to_stop : callable

    Raises
    ------
    UnfinishedError
        If asked to stop before the end.
    """
    best: dict[Subset, Schedule] = {}
    for members in _subsets(len(requests)):
        subset = frozenset(members)
        if any(subset - {r} and subset - {r} not in best for r in members):
            continue
        found = _in_time(requests, members, order_given, fingerprint, asked_to_stop)
        if found is not None:
            best[subset] = found
    chosen: dict[Subset, tuple[Subset, ...]] = {frozenset(): ()}
    for _ in range(pipelines):
        grown = dict(chosen)
        for taken, shares in chosen.items():
            for subset in best:
                if not taken & subset:
                    grown.setdefault(taken | subset, (*shares, subset))
        chosen = grown
    most = max(chosen, key=lambda taken: sum(requests[r].weight for r in taken))
    streams: list[Schedule | None] = [best[share] for share in chosen[most]]
    return Assignment((*streams, *[None] * (pipelines - len(streams))))


def renumbered(found: Schedule, members: Sequence[int]) -> Schedule:
    """The stream of some requests with the numbers that they have in the instance.

    Parameters
    ----------
    found : Schedule
        Numbered among themselves.
    members : sequence of int
        Their numbers in the instance.
    """
    return replace(found, requests=tuple(replace(each, number=members[each.number]) for each in found))


def _subsets(count: int) -> Iterator[tuple[int, ...]]:
    """Every non-empty one, smaller ones first."""
    for size in range(1, count + 1):
        yield from combinations(range(count), size)


def _in_time(
    requests: Sequence[Request],
    members: Sequence[int],
    order_given: bool,
    fingerprint: str | None,
    asked_to_stop: AskedToStop,
) -> Schedule | None:
    chosen = [requests[r] for r in members]

    def lateness(slots: LockstepReplay) -> int:
        """The largest; being early is worth nothing."""
        ends = zip(slots.schedule, slots.completion, strict=True)
        return max(0, *(end - _due(chosen[each.number]) for each, end in ends))

    found = solve_exactly(chosen, order_given, fingerprint, asked_to_stop, price=lateness)
    if found is None or lateness(run_lockstep(found)) > 0:
        return None
    return renumbered(found, members)


def _due(request: Request) -> int:
    if request.due is None:
        raise ValueError(f"request {request.name} has no time by which it is due")
    return request.due


def _least_largest(
    everything: Subset, ends: Mapping[Subset, int], pipelines: int
) -> tuple[Subset, ...] | None:
    """Shares of least largest end, one for each pipeline; None if some share always has none."""
    known: dict[Subset, tuple[int, tuple[Subset, ...]]] = {frozenset(): (0, ())}
    for _ in range(pipelines):
        grown: dict[Subset, tuple[int, tuple[Subset, ...]]] = {}
        for taken, (largest, shares) in known.items():
            for share, end in ends.items():
                if taken & share:
                    continue
                value = max(largest, end)
                if taken | share not in grown or value < grown[taken | share][0]:
                    grown[taken | share] = value, (*shares, share)
        known = grown
    found = known.get(everything)
    return None if found is None else found[1]
