"""Rules that reject requests as they arrive, without knowing what comes; the optimum beside them knows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from mocap_opt.arrays import IntArray
from mocap_opt.search.pipeline_clock import PipelineClock
from mocap_opt.search.pipeline_moves import Lists, first_free

Rule = Callable[[PipelineClock, Sequence[int], int, Sequence[int]], Lists]
"""From a clock, when requests are due, pipelines and the order of arrival to what each pipeline runs."""


def late_rejection(
    clock: PipelineClock, dues: Sequence[int], pipelines: int, arrivals: Sequence[int]
) -> Lists:
    """Judge when they have left: every request runs, and late ones were run for nothing.

    Parameters
    ----------
    clock : PipelineClock
    dues : sequence of int, ticks
    pipelines : int
    arrivals : sequence of int
    """
    del dues
    return first_free(clock, pipelines, arrivals)


def early_rejection(
    clock: PipelineClock, dues: Sequence[int], pipelines: int, arrivals: Sequence[int]
) -> Lists:
    """Judge at arrival by the load then: the time alone of all that has not left, and its own, must fit.

    Requests overlap in a pipeline, which this load leaves out.

    Parameters
    ----------
    clock : PipelineClock
    dues : sequence of int, ticks
    pipelines : int
    arrivals : sequence of int
    """
    lists: Lists = [[] for _ in range(pipelines)]
    free: list[IntArray] = [clock.idle] * pipelines
    running: list[list[tuple[int, int]]] = [[] for _ in range(pipelines)]
    for number in arrivals:
        now = clock.requests[number].release
        loads = [sum(alone for end, alone in each if end > now) for each in running]
        at = min(range(pipelines), key=lambda p: (loads[p], p))
        own = clock.ends([number])[0] - now
        if now + loads[at] + own > dues[number]:
            continue
        free[at] = clock.after(free[at], number)
        running[at].append((clock.left(free[at]), own))
        lists[at].append(number)
    return lists


def predicted_rejection(
    clock: PipelineClock, dues: Sequence[int], pipelines: int, arrivals: Sequence[int]
) -> Lists:
    """Judge at arrival by when it will leave behind those accepted: rejected if that is late.

    Parameters
    ----------
    clock : PipelineClock
    dues : sequence of int, ticks
    pipelines : int
    arrivals : sequence of int
    """
    lists: Lists = [[] for _ in range(pipelines)]
    free: list[IntArray] = [clock.idle] * pipelines
    for number in arrivals:
        after = [clock.after(each, number) for each in free]
        at = min(range(pipelines), key=lambda p: (clock.left(after[p]), p))
        if clock.left(after[at]) <= dues[number]:
            free[at] = after[at]
            lists[at].append(number)
    return lists


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "late-rejection": late_rejection,
        "early-rejection": early_rejection,
        "predicted-rejection": predicted_rejection,
    }
)
