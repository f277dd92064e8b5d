"""Plan a stream: divisions, homes, order and slots of all its requests together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mocap_opt.replay.sequence_event import SequenceEvent, replay_sequence_event
from mocap_opt.streams.candidate import Candidate, Pricer
from mocap_opt.streams.chunkings import Chunking, chunkings, within
from mocap_opt.streams.requests import Request
from mocap_opt.streams.verify import sequence_violations
from mocap_opt.tables import IntArray

TRIALS = 16
"""Common longest chunks that are tried, evenly spaced in their logarithm."""

MOVES_OF_ORDER = 0.5
"""Part of the moves that change the order, where it is free."""

NEAR = 4
"""Places by which half of these move a request at most."""

REPLAYED = 3
"""Candidates that are run without barriers, beside the best of each order to start from."""


@dataclass(frozen=True, eq=False)
class Planned:
    """The best sequence found, verified.

    Attributes
    ----------
    candidate : Candidate
    event : SequenceEvent
    """

    candidate: Candidate
    event: SequenceEvent

    @property
    def rank(self) -> tuple[float, float]:
        """Makespan of the better replay, and the sum of its completions."""
        event = self.event.makespan, sum(self.event.completion)
        makespan, total = self.candidate.rank
        return min((float(event[0]), float(event[1])), (float(makespan), float(total)))


def plan_stream(
    requests: Sequence[Request],
    *,
    order_given: bool,
    fingerprint: str | None = None,
    time_limit_s: float = 60.0,
    seed: int = 0,
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> Planned | None:
    """Look for a sequence of small makespan, then of small mean completion.

    For every order to start from, each request is divided so that no chunk takes longer than a common
    trial.  A local search changes the best of these: places of requests where the order is free,
    divisions, boundaries.  The best sequences are run without barriers.

    Parameters
    ----------
    requests : sequence of Request
    order_given : bool
        Whether they must run in this order.
    fingerprint : str, optional
        Of the instance, for the plans.
    time_limit_s : float
        No improving starts once a third of this has passed; the replays come after it.
    seed : int
        For the moves tried.
    asked_to_stop : callable
        Checked between candidates.

    Returns
    -------
    Planned or None
        None if no sequence was found; that proves nothing.
    """
    began = time.monotonic()
    options = _options(requests)
    if not all(options):
        return None
    pricer = Pricer(requests, fingerprint)
    pool: list[Candidate] = []
    for order in _orders(requests, options, order_given):
        for trial in _trials(options):
            made = pricer.candidate(order, [within(options[r], trial).indices for r in order])
            if made is not None:
                pool.append(made)
            if pool and asked_to_stop():
                break
    if not pool:
        return None
    pool.sort(key=lambda candidate: candidate.rank)
    deadline = began + time_limit_s / 3

    def over() -> bool:
        return time.monotonic() >= deadline or asked_to_stop()

    improved = _improve(pricer, pool[0], options, order_given, np.random.default_rng(seed), over)
    best: Planned | None = None
    # The best in lockstep need not be the best without barriers: every order to start from has a turn.
    by_order: dict[tuple[int, ...], Candidate] = {}
    for candidate in pool:
        by_order.setdefault(candidate.order, candidate)
    for candidate in dict.fromkeys([improved, *by_order.values(), *pool[:REPLAYED]]):
        if best is not None and (asked_to_stop() or time.monotonic() - began > time_limit_s / 2):
            break
        wrong = sequence_violations(candidate.sequence)
        if wrong:
            raise AssertionError(f"the planner made an infeasible sequence: {wrong[0]}")
        planned = Planned(candidate, replay_sequence_event(candidate.sequence))
        if best is None or planned.rank < best.rank:
            best = planned
    return best


def _options(requests: Sequence[Request]) -> list[tuple[Chunking, ...]]:
    known: dict[int, tuple[Chunking, ...]] = {}
    for request in requests:
        if id(request.tables) not in known:
            known[id(request.tables)] = chunkings(request.tables)
    return [known[id(request.tables)] for request in requests]


def _orders(
    requests: Sequence[Request], options: Sequence[tuple[Chunking, ...]], order_given: bool
) -> list[tuple[int, ...]]:
    """Orders to start from: the given one; or by release, and dispatched by shortest and by longest work.

    Whenever the first stage is free, dispatching takes the request of the least (the most) work among
    those released.
    """
    numbers = tuple(range(len(requests)))
    if order_given:
        return [numbers]
    by_release = tuple(sorted(numbers, key=lambda r: (requests[r].release, r)))
    work = [
        float(r.tables.tau(0, o[0].indices[:-1], o[0].indices[1:]).sum())
        for r, o in zip(requests, options, strict=True)
    ]
    found = [by_release]
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


def _trials(options: Sequence[tuple[Chunking, ...]]) -> list[int]:
    times = np.unique([option.longest for each in options for option in each])
    if times.size <= TRIALS:
        return [int(t) for t in times]
    wanted = np.geomspace(max(int(times[0]), 1), int(times[-1]), TRIALS)
    return [int(t) for t in np.unique(times[np.minimum(np.searchsorted(times, wanted), times.size - 1)])]


def _improve(
    pricer: Pricer,
    best: Candidate,
    options: Sequence[tuple[Chunking, ...]],
    order_given: bool,
    rng: np.random.Generator,
    over: Callable[[], bool],
) -> Candidate:
    """Change one thing at a time: a request's place, its division or a boundary; keep what is no worse."""
    misses, patience = 0, 20 * len(best.order) + 40
    while misses < patience and not over():
        moved = not order_given and len(best.order) > 1 and rng.random() < MOVES_OF_ORDER
        made = _reordered(pricer, best, rng) if moved else _divided(pricer, best, options, rng)
        if made is None or made.rank > best.rank:
            misses += 1
            continue
        # Equal ranks are taken, to cross plateaus, but count as misses.
        misses = 0 if made.rank < best.rank else misses + 1
        best = made
    return best


def _reordered(pricer: Pricer, best: Candidate, rng: np.random.Generator) -> Candidate | None:
    """Two requests swapped, or one taken out and put in elsewhere; near places are tried more often."""
    count = len(best.order)
    at = int(rng.integers(count))
    far = int(rng.integers(1, count)) if rng.random() < 0.5 else int(rng.integers(1, min(count, NEAR + 1)))
    to = (at + far) % count if rng.random() < 0.5 else (at - far) % count
    turns = list(zip(best.order, best.indices, strict=True))
    if rng.random() < 0.5:
        turns[at], turns[to] = turns[to], turns[at]
    else:
        turns.insert(to, turns.pop(at))
    return pricer.candidate([r for r, _ in turns], [cut for _, cut in turns])


def _divided(
    pricer: Pricer, best: Candidate, options: Sequence[tuple[Chunking, ...]], rng: np.random.Generator
) -> Candidate | None:
    """Another division of one request, or one of its boundaries moved."""
    at = int(rng.integers(len(best.order)))
    cuts: list[IntArray] = list(best.indices)
    tables = pricer.requests[best.order[at]].tables
    if rng.random() < 0.5 or cuts[at].size <= 2:
        others = options[best.order[at]]
        cuts[at] = others[int(rng.integers(len(others)))].indices
    else:
        moved = cuts[at].copy()
        moved[int(rng.integers(1, moved.size - 1))] += int(rng.choice([-4, -2, -1, 1, 2, 4]))
        lengths = np.diff(moved)
        if lengths.min() < 1:
            return None
        tail = np.zeros(lengths.size, dtype=np.int64)
        tail[-1] = 1
        if not tables.length_allowed[tail, lengths].all():
            return None
        cuts[at] = moved
    if np.array_equal(cuts[at], best.indices[at]):
        return None
    return pricer.candidate(best.order, cuts)
