"""Requests on several pipelines by brute force: every assignment, order, division, idle slot and home.

Shares no code with the package's searches and bounds: streams are those of `stream_oracle`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from stream_oracle import all_homes, brute_force, price, random_stream, schedules

from mocap_opt.schedule.requests import Request


class TooManyHomesError(Exception):
    """More choices of homes than the oracle is given."""


@dataclass
class Budget:
    """Choices of homes that may still be looked at, of all schedules of a case together."""

    left: int

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise TooManyHomesError


def shares(count: int, pipelines: int):
    """Every way to send requests to pipelines."""
    for chosen in product(range(pipelines), repeat=count):
        yield [tuple(r for r in range(count) if chosen[r] == p) for p in range(pipelines)]


def least_makespan(requests, pipelines, order_given, most_homes):
    """Least lockstep makespan; None if no assignment is feasible."""
    known, budget = {(): 0}, Budget(most_homes)

    def end(members):
        if members not in known:
            best = brute_force(tuple(requests[r] for r in members), order_given, budget.spend)
            known[members] = None if best is None else best.makespan
        return known[members]

    found = [[end(members) for members in each] for each in shares(len(requests), pipelines)]
    return min((max(ends) for ends in found if None not in ends), default=None)


def all_in_time(requests, order_given, budget):
    """Whether some lockstep schedule on one pipeline has them all leave by when they are due."""

    def late(ends, turns):
        # Turns know their request by tables and release only, so orders are gone through with indices.
        return any(end > due for end, due in zip(ends, turns, strict=True))

    for turns in schedules(requests, order_given):
        dues = dues_of(turns, requests)
        cost = price(turns)
        if late(cost([{} for _ in turns]), dues):
            continue
        for homes in all_homes(turns, lambda _: budget.spend() is None):
            budget.spend()
            if not late(cost(homes), dues):
                return True
    return False


def dues_of(turns, requests):
    """When each turn's request is due; requests of equal tables and release differ in nothing else."""
    left = list(requests)
    found = []
    for turn in turns:
        at = next(n for n, r in enumerate(left) if r.tables is turn.tables and r.release == turn.release)
        found.append(left.pop(at).due)
    return found


def most_weight(requests, pipelines, order_given, most_homes):
    """The most weight that can leave in time in lockstep; pipeline `pipelines` stands for being rejected."""
    known, budget = {(): True}, Budget(most_homes)

    def possible(members):
        if members not in known:
            known[members] = all_in_time(tuple(requests[r] for r in members), order_given, budget)
        return known[members]

    best = 0
    for each in shares(len(requests), pipelines + 1):
        weight = sum(requests[r].weight for members in each[:-1] for r in members)
        if weight > best and all(map(possible, each[:-1])):
            best = weight
    return best


def random_requests(rng: np.random.Generator) -> tuple[tuple[Request, ...], bool, int]:
    """Two to four tiny requests, whether their order is given, and two or three pipelines."""
    requests, order_given = random_stream(rng)
    if len(requests) == 2 and rng.random() < 0.7:
        first = requests[int(rng.integers(2))]
        more = [replace(first, release=int(rng.integers(0, 60)), name="r2")]
        if rng.random() < 0.3:
            more.append(replace(requests[1], release=int(rng.integers(0, 60)), name="r3"))
        requests = (*requests, *more)
    return requests, order_given, 3 if len(requests) > 2 and rng.random() < 0.2 else 2


def with_limits(requests, rng: np.random.Generator):
    """The same requests, each with a time by which it is due and a weight; releases all unlike."""
    made = []
    for n, each in enumerate(requests):
        alone = brute_force((replace(each, release=0),), True)
        least = 50 if alone is None else alone.makespan
        release = each.release + 100 * n if rng.random() < 0.1 else each.release + n
        due = release + int(least * rng.uniform(0.9, 2.6))
        made.append(replace(each, release=release, due=due, weight=int(rng.integers(1, 4))))
    return tuple(made)
