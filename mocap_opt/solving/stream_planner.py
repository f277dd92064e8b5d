"""Plan a stream: divisions, homes, order and slots of all its requests together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.requests import Request
from mocap_opt.search.rounds import run_rounds
from mocap_opt.search.stream_candidate import Candidate, Pricer
from mocap_opt.search.stream_divisions import Chunking, Options, families, within
from mocap_opt.search.stream_local_search import Moves
from mocap_opt.solving.methods import plan_alone
from mocap_opt.solving.schedule_search import StreamSearch
from mocap_opt.tables.cost_tables import Tables

TRIALS = 16
"""Common longest chunks that are tried, evenly spaced in their logarithm."""

STARTING_SHARE = 0.25
"""Part of the time left that pricing starts may take."""

OWN_SHARE = 0.2
"""Part of the time left that planning every kind of request alone may take."""

IMPROVED = 4
"""Starts that a round of the local search improves, best first; each the best of its family and order."""

REPLAYED = 4
"""Local searches that end a round, judged by the replays: of the best sequence and of perturbed copies."""

STALLED = 12
"""Perturbations in a row without a better sequence that end a round."""


def plan_stream(search: StreamSearch, *, seed: int = 0) -> None:
    """Look for a sequence that is good by the search's goal.

    For every order and family of divisions to start from, each request is divided so that no chunk is
    longer than a common trial; and every request gets the plan that is best for it alone.  A local
    search improves the best of these, then again and again a perturbed copy of the best sequence.  It
    compares latencies in lockstep, and at the end of every round the better of both replays.

    Parameters
    ----------
    search : StreamSearch
        Takes what is found.  Even with no time left one family of divisions is tried.
    seed : int
        For the moves tried.
    """
    pricer = Pricer(search.requests, search.fingerprint, search.goal.ranked)
    options: list[Options] = [()] * len(search.requests)
    search.begin("common longest chunks")
    pool = list(_starts(search, pricer, options))
    if not search.done():
        search.begin("plans of requests alone")
        pool += _alone(search, pricer, options, seed)
    if pool and not search.done():
        search.begin("local search")
        _improve(search, pricer, sorted(pool, key=lambda start: start.rank), options, seed)


def _starts(search: StreamSearch, pricer: Pricer, options: list[Options]) -> Iterator[Candidate]:
    """Price starts, offer the best of every family and order; put their divisions among the options.

    Yields
    ------
    Candidate
        The best of every family and order.
    """
    kinds, of = unlike_tables(search.requests)
    late, found = search.share(STARTING_SHARE), False
    for family in families(kinds):
        chosen = [family[kind] for kind in of]
        for r, more in enumerate(chosen):
            options[r] += more
        for order in _orders(search.requests, chosen, search.order_given):
            best: Candidate | None = None
            for trial in spread_trials(chosen):
                made = pricer.candidate(order, [within(chosen[r], trial).indices for r in order])
                if made is not None and (best is None or made.rank < best.rank):
                    best = made
                if late() and (found or best is not None):
                    break
            if best is not None:
                found = True
                search.offer(best, "common longest chunk")
                yield best
            if late() and found:
                return
        if search.deadline.expired or (late() and found):
            return


def _alone(search: StreamSearch, pricer: Pricer, options: list[Options], seed: int) -> Iterator[Candidate]:
    """Start from the plan that is best for each request alone, its homes kept or found anew."""
    kinds, of = unlike_tables(search.requests)
    alone = _own_plans(search, kinds, seed)
    plans: list[Plan | None] = [alone[kind] for kind in of]
    for r, plan in enumerate(plans):
        if plan is not None:
            options[r] += (Chunking(plan.grid_indices(search.requests[r].tables), 0),)
    if not any(plans) or not all(options):
        return
    last = [each[-1:] for each in options]
    for order in _orders(search.requests, last, search.order_given):
        cuts = [last[r][0].indices for r in order]
        for kept in (None, [plans[r] for r in order]):
            made = pricer.candidate(order, cuts, kept)
            if made is not None:
                search.offer(made, "plans of requests alone")
                yield made


def _own_plans(search: StreamSearch, kinds: Sequence[Tables], seed: int) -> list[Plan | None]:
    """Plan every kind of request as if it were alone; None where no plan was found, or no time was left."""
    late = search.share(OWN_SHARE)
    found: list[Plan | None] = []
    for number, tables in enumerate(kinds):
        if late.expired:
            found.append(None)
            continue
        part = late.share(1 / (len(kinds) - number))
        found.append(plan_alone(tables, part, seed=seed, threads=search.threads))
    return found


def _improve(
    search: StreamSearch, pricer: Pricer, pool: Sequence[Candidate], options: Sequence[Options], seed: int
) -> None:
    """Iterated local search from the starts: perturb the best sequence and improve it again, in rounds."""
    moves = Moves(pricer, options, search.order_given, np.random.default_rng(seed))
    waiting, best = list(pool), pool[0]

    def one_round(strength: int) -> None:
        nonlocal best
        for _ in range(min(IMPROVED, len(waiting))):
            if search.done():
                return
            improved = moves.improve(waiting.pop(0), search.done)
            search.offer(improved, "local search")
            best = min(best, improved, key=lambda candidate: candidate.rank)
        stalled = 0
        while stalled < STALLED and not search.done():
            improved = moves.improve(moves.perturb(best, strength), search.done)
            better = improved.rank < best.rank
            # A sequence that is better event-driven counts as well, and is perturbed next.
            faster = search.offer(improved, "perturbed local search")
            best = improved if better or faster else best
            stalled = 0 if better or faster else stalled + 1
        _improve_replayed(strength)

    def _improve_replayed(strength: int) -> None:
        """Improve the best sequence, then perturbed copies of it, by the better of both replays."""
        for turn in range(REPLAYED):
            if search.best is None or search.done():
                return
            start = Candidate.of(search.best.schedule, search.goal.ranked)
            moves.improve(moves.perturb(start, strength) if turn else start, search.done, _replayed_rank)

    def _replayed_rank(candidate: Candidate) -> tuple[Fraction | int, ...]:
        return search.judge(candidate, "local search, replayed")

    def value() -> tuple[Fraction | int, ...] | float:
        return float("inf") if search.rank is None else search.rank

    ended = run_rounds(one_round, value=value, starts_left=lambda: bool(waiting), done=search.done)
    search.notes.append(ended)


def unlike_tables(requests: Sequence[Request]) -> tuple[list[Tables], list[int]]:
    """The unlike tables, and which of them each request has."""
    number: dict[int, int] = {}
    kinds: list[Tables] = []
    for request in requests:
        if id(request.tables) not in number:
            number[id(request.tables)] = len(kinds)
            kinds.append(request.tables)
    return kinds, [number[id(request.tables)] for request in requests]


def _orders(
    requests: Sequence[Request], options: Sequence[Options], order_given: bool
) -> list[tuple[int, ...]]:
    """Orders to start from: the given one; where it is free also by release, and dispatched by work.

    Whenever the first stage is free, dispatching takes the request of the least, or of the most, work
    among those released.
    """
    numbers = tuple(range(len(requests)))
    if order_given:
        return [numbers]
    by_release = tuple(sorted(numbers, key=lambda r: (requests[r].release, r)))
    work = [
        float(r.tables.tau(0, o[0].indices[:-1], o[0].indices[1:]).sum())
        for r, o in zip(requests, options, strict=True)
    ]
    found = [by_release, numbers]
    for sign in (1, -1):
        left, order, now = list(by_release), [], 0.0
        while left:
            there = [r for r in left if requests[r].release <= now] or left[:1]
            chosen = min(there, key=lambda r: (sign * work[r], r))
            left.remove(chosen)
            order.append(chosen)
            now = max(now, float(requests[chosen].release)) + work[chosen]
        found.append(tuple(order))
    return list(dict.fromkeys(found))


def spread_trials(options: Sequence[Options], count: int = TRIALS) -> list[int]:
    """Common longest chunks to try, evenly spaced in their logarithm.

    Parameters
    ----------
    options : sequence of Options
        Of every request.
    count : int
        How many at most.
    """
    longest = np.unique([option.longest for each in options for option in each])
    if longest.size <= count:
        return [int(t) for t in longest]
    wanted = np.geomspace(max(int(longest[0]), 1), int(longest[-1]), count)
    return [
        int(t) for t in np.unique(longest[np.minimum(np.searchsorted(longest, wanted), longest.size - 1)])
    ]
