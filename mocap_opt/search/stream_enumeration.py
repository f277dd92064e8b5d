"""Short streams solved exactly in lockstep: every order, division and idle slot that may win."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import permutations, product
from math import comb, factorial, prod

import numpy as np

from mocap_opt.errors import MocapError
from mocap_opt.flow_shop.partitions import divisions
from mocap_opt.replay.lockstep import LockstepReplay, SlotRows, run_lockstep, slot_rows
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.requests import Request
from mocap_opt.schedule.schedule import Schedule, ScheduledRequest
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.search.stream_candidate import Rank, makespan_first
from mocap_opt.stopping import AskedToStop, StoppedError, never

MOST_SCHEDULES = 20_000
"""Orders x divisions x idle slots that are worth going through."""


def schedules(requests: Sequence[Request], order_given: bool) -> int:
    """Count the schedules that `solve_exactly` would go through, at most: orders x divisions x N^(R - 1).

    Parameters
    ----------
    requests : sequence of Request
        R of them, at least one.
    order_given : bool
        Whether they must run in this order; else there are R! orders.
    """
    orders = 1 if order_given else factorial(len(requests))
    divisions = prod(
        sum(comb(request.tables.steps - 1, m - 1) for m in request.tables.counts) for request in requests
    )
    idle: int = requests[0].tables.stages ** (len(requests) - 1)
    return orders * divisions * idle


class UnfinishedError(MocapError):
    """The search was asked to stop before it had proved anything; the message says how far it had come."""


def solve_exactly(
    requests: Sequence[Request],
    order_given: bool,
    fingerprint: str | None = None,
    asked_to_stop: AskedToStop = never,
    tell: Callable[[Schedule], None] = lambda _: None,
    ranked: Rank = makespan_first,
    price: Callable[[LockstepReplay], int] | None = None,
) -> Schedule | None:
    """Find a sequence that is best in lockstep; None proves that none is feasible.

    With all KV at home a schedule is never dearer than with any other homes, so schedules are taken
    in the order of that price until it reaches the best found; where homes are needed, a program finds
    them: those of least makespan, whatever the rank.  More than N - 1 idle slots between requests never
    help: the stages are empty then.

    Parameters
    ----------
    requests : sequence of Request
    order_given : bool
        Whether they must run in this order.
    fingerprint : str, optional
        For the plans.
    asked_to_stop : callable
        Checked between schedules, and while homes are sought.
    tell : callable
        Called with every sequence that is better than those before.
    ranked : callable
        What the price is: the first entry of the rank of a sequence.
    price : callable, optional
        The price itself instead, such as the largest lateness; no homes make it less than all KV at home.

    Raises
    ------
    UnfinishedError
        If asked to stop before the end.
    ValueError
        If there are more than `MOST_SCHEDULES` schedules.
    """
    if (count := schedules(requests, order_given)) > MOST_SCHEDULES:
        raise ValueError(f"{count} schedules are too many to go through; at most {MOST_SCHEDULES}")
    best: Schedule | None = None
    least = np.iinfo(np.int64).max
    priced: list[tuple[int, Schedule, LockstepReplay]] = []

    def by_rank(slots: LockstepReplay) -> int:
        return int(ranked(slots.latency, sum(slots.completion))[0])

    price = price or by_rank
    makespan = price is by_rank and ranked is makespan_first
    for sequence, slots in _priced(requests, order_given, fingerprint):
        if asked_to_stop():
            raise UnfinishedError(f"stopped after pricing {len(priced)} of at most {count} schedules")
        priced.append((price(slots), sequence, slots))
    priced.sort(key=lambda each: each[0])
    for tried, (home_price, sequence, slots) in enumerate(priced):
        if home_price >= least:
            break
        if asked_to_stop():
            raise UnfinishedError(f"stopped after placing {tried} of {len(priced)} schedules")
        if not schedule_violations(sequence):
            best, least = sequence, home_price
            tell(best)
            continue
        try:
            below = _worst(sequence, slots)
            below = min(least, below) if makespan else below
            found = _with_homes(sequence, slots, below, asked_to_stop)
        except StoppedError as error:
            raise UnfinishedError(f"stopped after placing {tried} of {len(priced)} schedules") from error
        if found is not None and (found_price := price(run_lockstep(found))) < least:
            best, least = found, found_price
            tell(best)
    return best


def _with_homes(
    sequence: Schedule, slots: LockstepReplay, below: int, asked_to_stop: AskedToStop
) -> Schedule | None:
    # OR-Tools takes a second to load, and only tight memories need it.
    from mocap_opt.formulations.stream_homes import best_homes  # noqa: PLC0415

    return best_homes(sequence, slots, below, asked_to_stop)


def _worst(sequence: Schedule, slots: LockstepReplay) -> int:
    """Above any makespan: all KV written once and read with every later chunk, over one slow link."""
    machine = sequence.machine
    rates = [*machine.link_rate.tolist(), *machine.port_rate.tolist()]
    moved = sum(
        int(request.tables.page_bytes.sum()) * int(request.tables.pages[-1]) * request.plan.chunks
        for request in sequence
    )
    share = max(int(machine.share.max(initial=1)), 1)
    slowest = -(-(moved * share + int(slots.port_bytes.sum())) // min(rates))
    ends = sum(request.release for request in sequence) + slots.period
    return int(ends + 2 * sequence.slots * (slowest + 1))


def _priced(
    requests: Sequence[Request], order_given: bool, fingerprint: str | None
) -> Iterator[tuple[Schedule, LockstepReplay]]:
    """Every schedule with all KV at home, and its slots."""
    plans: list[list[tuple[Plan, SlotRows]]] = []
    for request in requests:
        made = [Plan.from_arrays(request.tables, cut, None, fingerprint) for cut in divisions(request.tables)]
        plans.append([(plan, slot_rows(request.tables, plan)) for plan in made])
    numbers = tuple(range(len(requests)))
    for order in [numbers] if order_given else permutations(numbers):
        for chosen in product(*(plans[r] for r in order)):
            for idle in product(range(requests[0].tables.stages), repeat=len(requests) - 1):
                slot = 0
                scheduled: list[ScheduledRequest] = []
                for r, (plan, _), gap in zip(order, chosen, (*idle, 0), strict=True):
                    scheduled.append(requests[r].scheduled(plan, slot, r))
                    slot += plan.chunks + gap
                sequence = Schedule(tuple(scheduled))
                yield sequence, run_lockstep(sequence, [rows for _, rows in chosen])
