"""Lower bounds on the completions of a stream's requests, for any execution (formulations/streams.md)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from mocap_opt.bounds.makespan import StreamNeeds, completion_bounds, least_path
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.schedule.requests import Request
from mocap_opt.stopping import AskedToStop, StoppedError, never


def mean_completion_bounds(
    requests: Sequence[Request], order_given: bool, asked_to_stop: AskedToStop = never
) -> list[Bound]:
    """Bound the sum over the requests of the time from release to having left.

    Parameters
    ----------
    requests : sequence of Request
    order_given : bool
        Whether they run in this order; if not, the bounds cover every order.
    asked_to_stop : callable
        Once it says so, what is proved stands and no further bound is begun.

    Returns
    -------
    list of Bound
        In ticks, of the sum; empty if some request has no plan.
    """
    found: list[Bound] = []
    with suppress(StoppedError):
        needs = StreamNeeds.of(requests, asked_to_stop)
        if needs is None:
            return []
        alone = sum(max(int((n.head + n.work + n.tail).max()), least_path([n])) for n in needs.times)
        found.append(Bound("own_times", alone, Scope.ANY_EXECUTION, Evidence.SEARCH, "each request alone"))
        total = completion_bounds(needs, order_given)
        note = "in the order given" if order_given else "shortest remaining time first"
        found.append(Bound("one_machine", total, Scope.ANY_EXECUTION, Evidence.SEARCH, note))
    return found
