"""Answer a stream by the mean completion of its requests (formulations/streams.md).

The completion of a request lasts from its release until it has left, the flow time of scheduling; its mean
differs from that of completion times from 0 on by the mean release, so that both have the same best plans.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from mocap_opt.bounds.mean_completion import mean_completion_bounds
from mocap_opt.instance.objectives import Objective
from mocap_opt.solving.schedule_search import StreamGoal
from mocap_opt.solving.stream import StreamAnswerer


def total_first(makespan: Any, total: Any) -> tuple[Any, Any]:
    """Rank by the sum of completions, then by makespan.

    Parameters
    ----------
    makespan, total : int or Fraction, ticks
        When the last request has left; the sum of all completions.
    """
    return total, makespan


GOAL = StreamGoal(Objective.MEAN_COMPLETION, total_first, mean_completion_bounds, from_release=True)
"""The sum of completions from release on; of equal ones the least makespan."""

ANSWERER = partial(StreamAnswerer, goal=GOAL)
